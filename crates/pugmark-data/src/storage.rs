//! Files by name, on a disk or in a bucket, without `async`.
//!
//! A [`Storage`] is a folder: `photos`, `s3://bucket/prefix` or, to read, `https://host/path`. What is written in it appears
//! whole or not at all: on a disk by a temporary name, a sync and a rename, in a bucket because a PUT and the completion of a
//! multipart upload are atomic. Requests that fail on the way are tried again with growing pauses.

mod error;
mod local;
mod profile;
mod remote;

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use error::StorageError;
use remote::Remote;

/// How buckets are reached. What is not set here comes from the `AWS_*` variables, then from the profile in `~/.aws`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Default, Debug)]
#[serde(default)]
pub struct StorageOptions {
    /// The server, for stores other than AWS: `http://localhost:9000`.
    pub s3_endpoint: Option<String>,
    /// AWS region.
    pub s3_region: Option<String>,
    /// Put the bucket into the host name instead of the path.
    pub s3_virtual_host: bool,
    /// Send no credentials: for public buckets.
    pub s3_anonymous: bool,
}

/// Whether a path names something on a network: `s3://...` or `https://...`.
pub fn is_url(path: &Path) -> bool {
    path.to_str().is_some_and(|text| ["s3://", "http://", "https://"].iter().any(|s| text.starts_with(s)))
}

/// A file in a storage.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// Its name below the storage's folder, with forward slashes.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// What the server calls this version of it; none on a disk.
    pub etag: Option<String>,
}

/// A folder on a disk or in a bucket.
#[derive(Clone, Debug)]
pub struct Storage {
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    Local(PathBuf),
    Remote(Arc<Remote>),
}

impl Storage {
    /// The folder that `place` names. Nothing is asked of it yet, nothing made.
    ///
    /// # Errors
    /// A URL that is none, settings that contradict each other, no credentials.
    pub fn open(place: &Path, options: &StorageOptions) -> Result<Self, StorageError> {
        let kind = match place.to_str() {
            Some(url) if is_url(place) => Kind::Remote(Arc::new(Remote::open(url, options)?)),
            _ => Kind::Local(place.to_owned()),
        };
        Ok(Self { kind })
    }

    /// The folder, where it is on a disk.
    pub fn folder(&self) -> Option<&Path> {
        match &self.kind {
            Kind::Local(folder) => Some(folder),
            Kind::Remote(_) => None,
        }
    }

    /// Every file below the folder, sorted by key; in a local folder without names that begin with a dot.
    ///
    /// # Errors
    /// If the folder cannot be listed. One that does not exist has no files.
    pub fn list(&self) -> Result<Vec<Entry>, StorageError> {
        let mut entries = match &self.kind {
            Kind::Local(folder) => local::list(folder)?,
            Kind::Remote(remote) => remote.list()?,
        };
        entries.sort_unstable();
        Ok(entries)
    }

    /// What is known of a file; none if there is none.
    ///
    /// # Errors
    /// If the storage does not answer, or refuses.
    pub fn head(&self, key: &str) -> Result<Option<Entry>, StorageError> {
        match &self.kind {
            Kind::Local(folder) => local::head(folder, key),
            Kind::Remote(remote) => remote.head(key),
        }
    }

    /// The bytes of a file; none if there is none.
    ///
    /// # Errors
    /// If the storage does not answer, or refuses.
    pub fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        match &self.kind {
            Kind::Local(folder) => local::read(folder, key),
            Kind::Remote(remote) => remote.read(key, None, None),
        }
    }

    /// The bytes of a file that must still be the one of `etag`.
    ///
    /// # Errors
    /// [`StorageError::Changed`] if it is not, [`StorageError::Missing`] if it is gone.
    pub fn read_version(&self, key: &str, etag: Option<&str>) -> Result<Vec<u8>, StorageError> {
        let bytes = match &self.kind {
            Kind::Local(folder) => local::read(folder, key),
            Kind::Remote(remote) => remote.read(key, etag, None),
        };
        bytes?.ok_or_else(|| StorageError::Missing { place: self.place(key) })
    }

    /// Some of the bytes of a file, which must be there.
    ///
    /// # Errors
    /// As [`Storage::read_version`]; a range that the file does not have.
    pub fn read_range(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StorageError> {
        let bytes = match &self.kind {
            Kind::Local(folder) => local::read_range(folder, key, range),
            Kind::Remote(remote) => remote.read(key, None, Some(range)),
        };
        bytes?.ok_or_else(|| StorageError::Missing { place: self.place(key) })
    }

    /// Saves a file, in place of an earlier one.
    ///
    /// # Errors
    /// If it cannot be written; the earlier file is untouched then.
    pub fn write(&self, key: &str, bytes: &[u8]) -> Result<(), StorageError> {
        if let Kind::Remote(remote) = &self.kind {
            return remote.put(key, bytes.to_vec());
        }
        let mut spool = self.spool(key)?;
        spool.write_all(bytes).map_err(|source| self.io(key, source))?;
        spool.finish()
    }

    /// Saves a file that is not there yet; whether it was not. Of several that try at once, one is told yes.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
        match &self.kind {
            Kind::Local(folder) => local::create(folder, key, bytes),
            Kind::Remote(remote) => remote.create(key, bytes),
        }
    }

    /// Deletes a file; no error if there is none.
    ///
    /// # Errors
    /// If the storage does not answer, or refuses.
    pub fn delete(&self, key: &str) -> Result<(), StorageError> {
        match &self.kind {
            Kind::Local(folder) => local::delete(folder, key),
            Kind::Remote(remote) => remote.delete(key),
        }
    }

    /// A file to be written piece by piece, on a disk until [`Spool::finish`].
    ///
    /// # Errors
    /// If the disk cannot take it.
    pub fn spool(&self, key: &str) -> Result<Spool, StorageError> {
        let (file, temporary) = match &self.kind {
            Kind::Local(folder) => local::start(folder, key)?,
            Kind::Remote(_) => {
                let file = tempfile::tempfile()
                    .map_err(|source| StorageError::Io { path: std::env::temp_dir(), source })?;
                (file, PathBuf::new())
            }
        };
        let writer = io::BufWriter::with_capacity(1 << 18, file);
        Ok(Spool { storage: self.clone(), key: key.to_owned(), writer: Some(writer), temporary })
    }

    /// A file of this storage as people read it.
    pub fn place(&self, key: &str) -> String {
        match &self.kind {
            Kind::Local(folder) => folder.join(key).display().to_string(),
            Kind::Remote(remote) => remote.place(key),
        }
    }

    fn io(&self, key: &str, source: io::Error) -> StorageError {
        StorageError::Io { path: self.place(key).into(), source }
    }
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.place("").trim_end_matches('/'))
    }
}

/// A file on its way into a storage. Dropped before [`Spool::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Spool {
    storage: Storage,
    key: String,
    /// None once it is finished.
    writer: Option<io::BufWriter<File>>,
    /// The name it has meanwhile; empty where it has none.
    temporary: PathBuf,
}

impl Spool {
    /// Makes the file visible under its key, whole.
    ///
    /// # Errors
    /// If it cannot be written; an earlier file is untouched then.
    pub fn finish(mut self) -> Result<(), StorageError> {
        let Some(writer) = self.writer.take() else { return Ok(()) };
        let io = |source| self.storage.io(&self.key, source);
        let mut file = writer.into_inner().map_err(|error| {
            local::discard(&self.temporary);
            io(error.into_error())
        })?;
        match &self.storage.kind {
            Kind::Local(folder) => {
                let saved = local::publish(&file, &self.temporary, &folder.join(&self.key));
                if saved.is_err() {
                    local::discard(&self.temporary);
                }
                saved.map_err(io)
            }
            Kind::Remote(remote) => {
                let size = file.stream_position().map_err(io)?;
                let mut source = |offset: u64, bytes: &mut [u8]| {
                    file.seek(io::SeekFrom::Start(offset))?;
                    file.read_exact(bytes)
                };
                remote.upload(&self.key, size, &mut source)
            }
        }
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.writer {
            Some(writer) => writer.write(bytes),
            None => Err(io::ErrorKind::WriteZero.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if self.writer.take().is_some() {
            local::discard(&self.temporary);
        }
    }
}
