//! What can be wrong with a file of labels in another tool's format.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::error::first_few;

/// Why a file cannot be read, or a table not be written, in a format. [`FormatError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FormatError {
    /// No JSON, or not with the fields the format has.
    #[error("{file}: {problem}")]
    Json {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// The contents are those of no format that is known.
    #[error("{file} is in no format that is known: {found}")]
    Unknown {
        /// The file.
        file: PathBuf,
        /// What is in it.
        found: String,
    },
    /// One entry is wrong.
    #[error("{file}, {at}: {problem}")]
    Entry {
        /// The file.
        file: PathBuf,
        /// The place: `images[3]`, or row and column.
        at: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        hint: &'static str,
    },
    /// What was asked for does not exist.
    #[error("cannot {action} {what}")]
    Cannot {
        /// "read" or "write".
        action: &'static str,
        /// What.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// The format demands what is not known.
    #[error("{format} needs {what}")]
    Needs {
        /// The format.
        format: &'static str,
        /// What is missing.
        what: String,
        /// Where it can be said.
        hint: String,
    },
    /// Values that the format has no way to write.
    #[error("{format} cannot hold {what}: {}", first_few(items))]
    Unwritable {
        /// The format.
        format: &'static str,
        /// What they are.
        what: &'static str,
        /// All of them.
        items: Vec<String>,
        /// What to do.
        hint: &'static str,
    },
    /// Nothing is left to be written.
    #[error("none of {photos} photos can be written as {format}: {why}")]
    NothingLeft {
        /// Photos in the table.
        photos: usize,
        /// The format.
        format: &'static str,
        /// What is wrong with all of them.
        why: &'static str,
    },
    /// The file system refuses to write.
    #[error("cannot write {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("interrupted; {path} is as it was")]
    Interrupted {
        /// What was being written.
        path: PathBuf,
    },
}

impl FormatError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Json { .. } => {
                "`pugmark check FILE --format FORMAT` lists everything that is wrong with the file"
            }
            Self::Unknown { .. } => "name the format with --from",
            Self::Entry { hint, .. } | Self::Cannot { hint, .. } | Self::Unwritable { hint, .. } => hint,
            Self::Needs { hint, .. } => hint.as_str(),
            Self::NothingLeft { .. } => "the notes above say what is missing from which photos",
            Self::Write { .. } => {
                "check that the folder exists, that you may write to it and that the disk is not full"
            }
            Self::Interrupted { .. } => return None,
        };
        Some(hint.to_owned())
    }
}
