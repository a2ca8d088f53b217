use std::path::PathBuf;

use clap::Args;
use pugmark_train::Thresholds;

/// Show what the watch found in a training, or would have found with other thresholds
///
/// `pugmark train` watches itself; this judges anew what it kept of its steps in RUN/watch.jsonl, also while it trains, and
/// tells a training that hangs. docs/watch.md explains every rule.
#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    /// A run folder
    pub(crate) run: PathBuf,

    /// A threshold in place of the run's own, such as `overfit.ratio=0.2`; several with commas or as several flags
    #[arg(long = "threshold", value_name = "RULE.NAME=X,...", value_parser = super::train::word::<Thresholds>)]
    pub(crate) thresholds: Vec<String>,

    /// Print every rule as JSON, in SageMaker Debugger's fields
    #[arg(long)]
    pub(crate) json: bool,
}
