use std::io;
use std::path::PathBuf;

use pugmark_data::{DataError, Part};
use pugmark_engine::EngineError;
use pugmark_eval::EvalError;
use pugmark_graph::WeightsError;
use pugmark_model::ModelError;
use thiserror::Error;

use crate::SettingsError;

/// Why a training can't start or go on. [`TrainError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting makes no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// A settings file can't be read.
    #[error("{}: {why}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong, with line and column.
        why: String,
    },
    /// The data set can't be split.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The weights to start from can't be read or do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The run folder or a model file can't be used.
    #[error(transparent)]
    Model(ModelError),
    /// The engine can't run the model.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// Predictions can't be evaluated.
    #[error(transparent)]
    Eval(#[from] EvalError),
    /// A part that is needed has no photo.
    #[error("the {part} part has no photo")]
    EmptyPart {
        /// Train or val.
        part: Part,
    },
    /// Every photo of a part is broken.
    #[error("none of the {photos} photos of the {part} part can be decoded, `{id}` for one: {reason}")]
    NothingDecodes {
        /// Train or val.
        part: Part,
        /// Photos of the part.
        photos: usize,
        /// One of them.
        id: String,
        /// Why it can't be decoded.
        reason: String,
    },
    /// The part to train on has fewer photos than one batch.
    #[error("a batch of {batch_size} is larger than the {photos} photos to train on")]
    BatchTooLarge {
        /// Photos of a batch.
        batch_size: usize,
        /// Photos of the training part.
        photos: usize,
    },
    /// Not even a batch of one photo fits into memory.
    #[error("a batch of one photo needs {needed} MiB of memory, and {given} MiB can be used")]
    Memory {
        /// What is needed, in MiB.
        needed: u64,
        /// What can be used, in MiB.
        given: u64,
    },
    /// The file of class weights can't be used.
    #[error("class weights {}: {why}", path.display())]
    ClassWeights {
        /// The file.
        path: PathBuf,
        /// What is wrong, with row or class.
        why: String,
    },
    /// The loss or its gradient is NaN or infinite.
    #[error("the {what} is {loss} in {place}")]
    NonFiniteLoss {
        /// `loss`, or `norm of the gradient`.
        what: &'static str,
        /// NaN or an infinity.
        loss: f64,
        /// Epoch and step.
        place: String,
        /// Learning rate of the step.
        learning_rate: f64,
        /// The last epoch that is saved; 0 when none is.
        saved_epoch: u32,
    },
    /// A file of the run can't be saved.
    #[error("can't save {}: {source}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The checkpoint of a run can't be read.
    #[error("the checkpoint {} can't be read: {why}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The profile of a run can't be read.
    #[error("the profile {} can't be read: {why}", path.display())]
    Profile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// What the watch kept of a run can't be read.
    #[error("{} can't be read: {why}", path.display())]
    Watch {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        why: String,
    },
    /// A run was to be resumed with other settings.
    #[error("a resumed run keeps its settings: `{name}` is {run} in {} and {asked} was asked for", path.display())]
    SettingChanged {
        /// Name of the setting.
        name: String,
        /// Its value in the run.
        run: String,
        /// The value asked for.
        asked: String,
        /// The run's settings.
        path: PathBuf,
    },
    /// A run was to be resumed on other data.
    #[error("the {what} changed since the run {} was started", path.display())]
    DataChanged {
        /// Photos, labels, classes or split.
        what: &'static str,
        /// The run.
        path: PathBuf,
    },
}

impl From<ModelError> for TrainError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Engine(error) => Self::Engine(error),
            ModelError::Save { path, source } => Self::Save { path, source },
            error => Self::Model(error),
        }
    }
}

impl TrainError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Data(error) => return error.hint(),
            Self::Weights(error) => return error.hint(),
            Self::Model(error) => return error.hint(),
            Self::Eval(error) => return error.hint(),
            Self::Settings(_) | Self::Engine(_) => return None,
            Self::Config { .. } => "`config.toml` of any run shows every setting with its name".into(),
            Self::EmptyPart { part: Part::Val } => "give more photos, a larger `--val`, or a `val` folder".into(),
            Self::EmptyPart { .. } => "give more photos, or smaller `--val` and `--test`".into(),
            Self::NothingDecodes { .. } => {
                "broken.csv in the run lists them all with the reason; check the files and the folder they come from".into()
            }
            Self::BatchTooLarge { photos, .. } => {
                format!("`--batch-size {}` or smaller, or `--batch-size auto`", 1_usize << photos.max(&1).ilog2())
            }
            Self::Memory { .. } => "a smaller `--image-size` or `--model`, or more `--memory`".into(),
            Self::ClassWeights { .. } => {
                "it is a CSV with the columns `class` and `weight` and one row for each class of the data; without a file: none, balanced or effective-number".into()
            }
            Self::NonFiniteLoss { learning_rate, saved_epoch, .. } => {
                let kept = match saved_epoch {
                    0 => "No epoch was finished before".to_string(),
                    epoch => format!("The models of epoch {epoch} are kept"),
                };
                format!(
                    "{kept}. Start again with a lower `--learning-rate` (it is {learning_rate:?}), a tenth for a start, or with `--clip-norm 1`; then look at class weights and at the weights started from"
                )
            }
            Self::Save { .. } => {
                "what was saved before is whole: free some space or make the folder writable, then go on with `--resume`".into()
            }
            Self::Checkpoint { .. } => {
                "the run's models can still be used where they are there; to train again, use `--overwrite` or another `--out`".into()
            }
            Self::Profile { .. } => "delete it, or train with `--profile` again".into(),
            Self::Watch { .. } => "the run itself is whole: with `--watch off` it goes on without the file".into(),
            Self::SettingChanged { .. } => {
                "leave the setting out, or start a new run with another `--out`; epochs, threads, cache and checkpoint times may change".into()
            }
            Self::DataChanged { .. } => "put it back as it was, or start a new run with another `--out`".into(),
        };
        Some(text)
    }
}
