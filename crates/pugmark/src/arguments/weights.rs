use std::path::PathBuf;

use clap::{Args, Subcommand};

/// List, fetch and verify published weights to start a training from
///
/// Files are kept in a cache folder (`pugmark doctor` shows where) and checked against their published SHA-256 before use.
#[derive(Args, Debug)]
pub(crate) struct WeightsArguments {
    #[command(subcommand)]
    pub(crate) command: WeightsCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum WeightsCommand {
    /// List the known weights and which of them are here
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Download weights into the cache; an interrupted download goes on where it stopped
    Fetch {
        /// A name of `pugmark weights list`
        name: String,
    },
    /// Check a file: a known checksum, and what is inside
    Verify {
        /// A `.pth` or `.safetensors` file
        file: PathBuf,
    },
}
