use thiserror::Error;

use crate::error::DataError;
use crate::storage::StorageError;

/// Why photos cannot be prepared. [`PrepareError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// The data set cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A folder or bucket does not give or take a file.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The output folder is not empty and was not prepared.
    #[error("{out} holds other files, such as {file}")]
    OtherFiles {
        /// The folder.
        out: String,
        /// One of them.
        file: String,
    },
    /// The output folder was prepared from other photos, of which none is among these.
    #[error("{out} is prepared from other photos: not one of them is in this data set")]
    OtherPhotos {
        /// The folder.
        out: String,
    },
    /// The output folder was begun with other settings.
    #[error("{out} is prepared with {there}, not with {asked}")]
    OtherSettings {
        /// The folder.
        out: String,
        /// Its settings.
        there: String,
        /// Those that were asked for.
        asked: String,
    },
    /// A file of a prepared folder that says something else than pugmark writes.
    #[error("{place}: {problem}")]
    Damaged {
        /// The file.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// What is to be prepared is prepared.
    #[error("{data} is a prepared folder already")]
    AlreadyPrepared {
        /// The data set.
        data: String,
    },
}

impl PrepareError {
    /// What to do about it, in one or two plain sentences.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Data(error) => return error.hint(),
            Self::Storage(error) => return error.hint(),
            Self::OtherFiles { .. } => "give a folder that does not exist yet, or one that is empty",
            Self::OtherPhotos { .. } => "give another folder, or throw the old one away with --overwrite",
            Self::OtherSettings { .. } => {
                "use the same settings to go on, give another folder, or throw the old one away with --overwrite"
            }
            Self::Damaged { .. } => "prepare the folder again; with --overwrite from the beginning",
            Self::AlreadyPrepared { .. } => "train from it as it is, or prepare the photos it was made from",
        };
        Some(hint.to_owned())
    }
}
