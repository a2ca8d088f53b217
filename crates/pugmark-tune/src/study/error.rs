//! What can go wrong with a study.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a study can't begin or go on. [`StudyError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StudyError {
    /// There is no journal in the folder.
    #[error("{} is no study: it has no journal.jsonl", path.display())]
    NotAStudy {
        /// The folder.
        path: PathBuf,
    },
    /// The folder has something else in it.
    #[error("{} holds other files, `{name}` for one", path.display())]
    OtherFiles {
        /// The folder.
        path: PathBuf,
        /// One of them.
        name: String,
    },
    /// The study in the folder is another one.
    #[error("the study {} is another one: its `{what}` is {theirs}, and {ours} was asked for", path.display())]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
        /// What it is in the study.
        theirs: String,
        /// What it is here.
        ours: String,
    },
    /// A line of the journal can't be read.
    #[error("{}, line {line}: {why}", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// The file system can't lock files.
    #[error("{} can't be locked: {source}", path.display())]
    NoLocks {
        /// The folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

impl StudyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::NotAStudy { .. } => "name the folder that `pugmark tune --out` was given",
            Self::OtherFiles { .. } => "name a new folder with `--out`",
            Self::Other { .. } => {
                "name another `--out` for another study, or go on with this one: `pugmark tune --resume STUDY`"
            }
            Self::Damaged { .. } => {
                "lines are written whole: something else wrote this file. Cut it off before that line, and the study goes on from there"
            }
            Self::NoLocks { .. } => "workers share a study by locks: put it on a disk that has them",
            Self::Io { .. } => {
                "what is in the journal is kept: make the file writable or free some space, and go on with `--resume`"
            }
        };
        Some(text.into())
    }
}
