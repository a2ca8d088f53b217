//! The file of a study: JSON, one record a line, written by every worker and never rewritten.
//!
//! Whoever reads or writes it holds the lock of the study's folder, so that records of several processes neither mix nor
//! race. A kill leaves at most half a line at the end, which the next one to hold the lock cuts off.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::study::{Ending, Limits, Metrics, Plan};
use crate::{Settings, StudyError};

const JOURNAL: &str = "journal.jsonl";
const LOCK: &str = ".lock";
const TRIALS: &str = ".trials";

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Record {
    /// What decides the study; the first line.
    Study(Plan),
    /// When it ends; the last such line counts.
    Limits(Limits),
    /// A trial was given to a worker.
    Begun { number: u32, settings: Settings },
    /// What it measured after an epoch.
    Reported { number: u32, epoch: u32, metrics: Metrics },
    /// It is over.
    Ended {
        number: u32,
        #[serde(flatten)]
        ending: Ending,
    },
}

/// An open journal.
pub(crate) struct Journal {
    folder: PathBuf,
    file: File,
    lock: File,
    /// Up to where it was read, and how many lines that is.
    read: u64,
    lines: usize,
}

/// The folder's lock; dropping it gives it back, as does the end of the process.
pub(crate) struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // The system unlocks a file that is closed, at the latest.
        let _ = self.0.unlock();
    }
}

impl Journal {
    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join(JOURNAL)
    }

    /// Opens the journal of a folder; `create` makes both where they are not there.
    pub(crate) fn open(folder: &Path, create: bool) -> Result<Self, StudyError> {
        let path = Self::path(folder);
        if !create && !path.is_file() {
            return Err(StudyError::NotAStudy { path: folder.into() });
        }
        let failed = |source| StudyError::Io { path: path.clone(), source };
        if create {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let open = |path: &Path| OpenOptions::new().read(true).append(true).create(create).open(path);
        let lock = OpenOptions::new().append(true).create(true).open(folder.join(LOCK)).map_err(failed)?;
        let file = open(&path).map_err(failed)?;
        Ok(Self { folder: folder.into(), file, lock, read: 0, lines: 0 })
    }

    /// Waits for the folder's lock.
    pub(crate) fn lock(&self) -> Result<Held, StudyError> {
        let locks = |source| StudyError::NoLocks { path: self.folder.clone(), source };
        let file = self.lock.try_clone().map_err(|source| self.failed(source))?;
        file.lock().map_err(locks)?;
        Ok(Held(file))
    }

    /// The lock of a trial, unless another process holds it.
    pub(crate) fn lock_trial(&self, number: u32, _held: &Held) -> Result<Option<File>, StudyError> {
        let path = self.trial_lock(number);
        let open = || {
            fs::create_dir_all(self.folder.join(TRIALS))?;
            OpenOptions::new().append(true).create(true).open(&path)
        };
        let file = open().map_err(|source| StudyError::Io { path: path.clone(), source })?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(source)) => {
                Err(StudyError::NoLocks { path: self.folder.clone(), source })
            }
        }
    }

    /// Removes the lock of a trial that has ended: nobody asks for it any more.
    pub(crate) fn forget_trial(&self, number: u32, _held: &Held) {
        let _ = fs::remove_file(self.trial_lock(number));
    }

    fn trial_lock(&self, number: u32) -> PathBuf {
        self.folder.join(TRIALS).join(format!("{number:04}.lock"))
    }

    /// Records that were written since the last call.
    pub(crate) fn news(&mut self, _held: &Held) -> Result<Vec<Record>, StudyError> {
        let mut bytes = Vec::new();
        let mut read = || {
            let end = self.file.metadata()?.len();
            if end < self.read {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it became shorter"));
            }
            self.file.seek(SeekFrom::Start(self.read))?;
            self.file.read_to_end(&mut bytes)?;
            let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
            if whole < bytes.len() {
                bytes.truncate(whole);
                self.file.set_len(self.read + whole as u64)?;
            }
            Ok(())
        };
        read().map_err(|source| self.failed(source))?;
        self.read += bytes.len() as u64;
        let mut records = Vec::new();
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.lines += 1;
            records.push(self.parse(line)?);
        }
        Ok(records)
    }

    /// Appends a record.
    pub(crate) fn append(&mut self, record: &Record, _held: &Held) -> Result<(), StudyError> {
        let mut line = serde_json::to_vec(record).map_err(|error| self.failed(error.into()))?;
        line.push(b'\n');
        // What was reported is in the run as well; the others are worth the wait for the disk.
        let sync = !matches!(record, Record::Reported { .. });
        let written = self.file.write_all(&line).and_then(|()| match sync {
            true => self.file.sync_data(),
            false => Ok(()),
        });
        written.map_err(|source| self.failed(source))?;
        self.read += line.len() as u64;
        self.lines += 1;
        Ok(())
    }

    fn parse(&self, line: &[u8]) -> Result<Record, StudyError> {
        serde_json::from_slice(line).map_err(|error| StudyError::Damaged {
            path: Self::path(&self.folder),
            line: self.lines,
            why: error.to_string(),
        })
    }

    /// What is said of a line that can't come where it stands.
    pub(crate) fn out_of_order(&self) -> StudyError {
        let why = "it can't stand here: a line before it is missing".into();
        StudyError::Damaged { path: Self::path(&self.folder), line: self.lines, why }
    }

    fn failed(&self, source: io::Error) -> StudyError {
        StudyError::Io { path: Self::path(&self.folder), source }
    }
}
