use std::path::PathBuf;

use clap::Args;

use super::{ConfigFlags, EnsembleFlags, InferenceFlags, ReadFlags, StorageFlags};

/// Measure a trained classifier: accuracy, log loss, precision, recall and F1 of each class, confusion matrix
///
/// Without DATA on the validation part of the run's own data. The best epoch was chosen on that part, so its numbers are a
/// little too good; `--part test` or DATA from other places tell more.
#[derive(Args, Debug)]
pub(crate) struct EvalArguments {
    /// A run folder or a model file
    pub(crate) run: PathBuf,

    /// Another labelled data set: a folder or a CSV file; all its labelled photos are used
    #[arg(value_name = "DATA")]
    pub(crate) dataset: Option<PathBuf>,

    /// Part of the data to measure on [default: val, with DATA everything]
    #[arg(long, value_name = "PART", value_parser = ["train", "val", "test"])]
    pub(crate) part: Option<String>,

    /// Say how sure an answer must be so that this share of the accepted ones is right
    #[arg(long, value_name = "X", default_value_t = 0.95, value_parser = share)]
    pub(crate) accept: f64,

    /// Tell how often the set of classes that holds the true one this often on the run's held-out photos does so here, and how
    /// large it is
    #[arg(long, value_name = "X", value_parser = share, conflicts_with_all = ["with", "mirrored"])]
    pub(crate) sets: Option<f64>,

    /// Tell how much better the recipe looks on a random split than on one that keeps places apart: from RUN and a run
    /// beside it that differs in the split alone
    #[arg(long, conflicts_with_all = ["dataset", "part", "with", "mirrored", "sets"])]
    pub(crate) leakage_gap: bool,

    /// Train that other run if there is none
    #[arg(long, requires = "leakage_gap")]
    pub(crate) train: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) calibration: CalibrationFlags,

    #[command(flatten)]
    pub(crate) ensemble: EnsembleFlags,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) read: ReadFlags,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    #[command(flatten)]
    pub(crate) inference: InferenceFlags,
}

/// A model with other probabilities.
#[derive(Args, Debug)]
#[command(next_help_heading = "Calibration")]
pub(crate) struct CalibrationFlags {
    /// Write RUN's best model with a scale and a shift for each class's logit instead of one temperature for all, fitted on the
    /// validation part of RUN's own data, and say what that changes there and on DATA or another `--part`
    #[arg(long, value_name = "HOW", value_parser = ["vector"], requires = "out")]
    #[arg(conflicts_with_all = ["with", "mirrored", "sets", "leakage_gap"])]
    pub(crate) calibrate: Option<String>,

    /// The model file to write
    #[arg(long, value_name = "PATH", requires = "calibrate")]
    pub(crate) out: Option<PathBuf>,

    /// Replace it
    #[arg(long, requires = "calibrate")]
    pub(crate) overwrite: bool,
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&value) { Ok(value) } else { Err("it must be between 0 and 1".to_owned()) }
}
