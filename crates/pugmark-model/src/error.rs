use std::io;
use std::path::{Path, PathBuf};

use pugmark_engine::EngineError;
use pugmark_graph::{Architecture, WeightsError};
use thiserror::Error;

/// Why a model file or a run folder can't be used. [`ModelError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A model can't be saved.
    #[error("can't save {}: {source}", path.display())]
    Save {
        /// The file; what was there before is whole.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The system refuses a file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// There is no such file or folder.
    #[error("{}: there is no such file or folder", path.display())]
    Missing {
        /// What was asked for.
        path: PathBuf,
    },
    /// A folder without `config.toml`.
    #[error("{} is not a run folder: it has no config.toml", path.display())]
    NotARun {
        /// The folder.
        path: PathBuf,
    },
    /// A run that has not finished an epoch.
    #[error("the run {} has no best.safetensors: no epoch of it is finished", path.display())]
    NoBest {
        /// The run.
        path: PathBuf,
    },
    /// A new run was to go where one is already.
    #[error("{} holds another run", path.display())]
    HoldsRun {
        /// The folder.
        path: PathBuf,
    },
    /// A run was to go where other files are.
    #[error("{} holds files that are not of a run, such as `{name}`", path.display())]
    HoldsOtherFiles {
        /// The folder.
        path: PathBuf,
        /// One of them.
        name: String,
    },
    /// Another process works in the run.
    #[error("another process is training in {}", path.display())]
    InUse {
        /// The run.
        path: PathBuf,
    },
    /// Not a model file of ours, or a damaged one.
    #[error("{} is not a pugmark model: {why}", path.display())]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A model file of a later version.
    #[error("{} has model format {format}, written by pugmark {version}; this version reads up to {}", path.display(), crate::FORMAT)]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// The version that wrote it.
        version: String,
    },
    /// The tensors are not those of the architecture that the file names.
    #[error("{}: {why}; the file says it is a {architecture} with {classes} classes", path.display())]
    Tensors {
        /// The file.
        path: PathBuf,
        /// The architecture it names.
        architecture: Architecture,
        /// The number of classes it names.
        classes: usize,
        /// Names and shapes that differ.
        why: WeightsError,
    },
    /// A model of an ensemble has other classes than the first.
    #[error("{} and {} know different classes{}{}", first.display(), path.display(), only(first, lacks), only(path, adds))]
    OtherClasses {
        /// The model.
        path: PathBuf,
        /// The first model.
        first: PathBuf,
        /// Classes of the first that this one lacks.
        lacks: Vec<String>,
        /// Classes that the first lacks.
        adds: Vec<String>,
    },
    /// Nothing in the model has more than one pixel, so it looks nowhere in particular.
    #[error(
        "the model sees pictures of {height} x {width} pixels as a single one, and has no feature map to look at"
    )]
    NoFeatureMap {
        /// Rows of its pictures.
        height: usize,
        /// Columns of its pictures.
        width: usize,
    },
    /// The file's tensors can't be read.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The model can't be run.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// The classes that only the model at `path` has, if there are any.
fn only(path: &Path, classes: &[String]) -> String {
    if classes.is_empty() {
        return String::new();
    }
    format!("; only {} has {}", path.display(), classes.join(", "))
}

impl ModelError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Missing { .. } => {
                "check the path; a run folder or a .safetensors file of a run is meant".into()
            }
            Self::NotARun { .. } => "name the folder that `pugmark train` wrote, or a model file in it".into(),
            Self::NoBest { path } => format!("go on with `pugmark train --resume {}`", path.display()),
            Self::HoldsRun { .. } => {
                "`--resume` goes on with it, `--overwrite` deletes it, another `--out` keeps it".into()
            }
            Self::HoldsOtherFiles { .. } => "name a new or empty folder with `--out`; nothing was changed".into(),
            Self::InUse { .. } => "wait for it or stop it, or name another folder with `--out`".into(),
            Self::NotAModel { .. } => {
                "a model file is best.safetensors or last.safetensors of a run; weights to start from go to `pugmark train --weights`".into()
            }
            Self::NewerFormat { version, .. } => format!("use pugmark {version} or later"),
            Self::Tensors { .. } => "the file was changed or damaged: use the one that the training wrote".into(),
            Self::Weights(error) => return error.hint(),
            Self::OtherClasses { .. } => {
                "models answer together only where each knows the same classes, in any order".into()
            }
            Self::NoFeatureMap { .. } => "occlusion and SHAP need none: `--method occlusion`".into(),
            Self::Save { .. } => "the earlier file is whole; free some space or make the folder writable".into(),
            Self::Io { .. } | Self::Engine(_) => return None,
        };
        Some(text)
    }
}
