use std::path::PathBuf;

use clap::Args;

/// Draw a run, or several to compare, as a page that needs no network
///
/// `pugmark train` writes the page of each run itself, as RUN/report.html; this makes it again, from the files of the run alone (and
/// its photos, where they are still there). Several runs become a page that compares them.
#[derive(Args, Debug)]
pub(crate) struct ReportArguments {
    /// Run folders
    #[arg(value_name = "RUN", required = true)]
    pub(crate) runs: Vec<PathBuf>,

    /// The page [default: RUN/report.html, which `train` has drawn already; needed for several runs]
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,

    /// Replace the file
    #[arg(long)]
    pub(crate) overwrite: bool,
}
