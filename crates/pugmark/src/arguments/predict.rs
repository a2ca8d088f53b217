use std::path::PathBuf;

use clap::Args;

use super::{ConfigFlags, EnsembleFlags, InferenceFlags, StorageFlags};

/// Classify photos
///
/// One photo gives its five most likely classes. A folder (with all folders below it) or several photos give a CSV with one
/// row a photo: id, the probability of each class, whether the file was cut off, and the reason where a photo cannot be
/// read. Such photos do not stop the work.
#[derive(Args, Debug)]
pub(crate) struct PredictArguments {
    /// A run folder or a model file
    pub(crate) run: PathBuf,

    /// Photos, folders of photos, and folders that `pugmark prepare` has written
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<PathBuf>,

    /// CSV file to write instead of stdout; every answer is kept at once in FILE.journal, so that the same command goes on
    /// after a kill
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) out: Option<PathBuf>,

    /// Replace that file
    #[arg(long, requires = "out")]
    pub(crate) overwrite: bool,

    /// Print one JSON object a line for each photo
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) ensemble: EnsembleFlags,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    #[command(flatten)]
    pub(crate) inference: InferenceFlags,
}
