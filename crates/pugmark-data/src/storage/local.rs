//! Files on a disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::{Entry, StorageError};

/// What the name of a file that is being written ends with.
const SUFFIX: &str = ".new";

pub(super) fn list(folder: &Path) -> Result<Vec<Entry>, StorageError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        let failed = |source| StorageError::Io { path: below.clone(), source };
        let entries = match fs::read_dir(&below) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => folders.push(path),
                Ok(metadata) => {
                    let names: Vec<_> = path.strip_prefix(folder).unwrap_or(&path).iter().collect();
                    let names: Vec<_> = names.iter().map(|name| name.to_string_lossy()).collect();
                    found.push(Entry { key: names.join("/"), size: metadata.len(), etag: None });
                }
                // A dangling link, or deleted meanwhile.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }
    Ok(found)
}

pub(super) fn head(folder: &Path, key: &str) -> Result<Option<Entry>, StorageError> {
    let metadata = if_there(folder, key, fs::metadata(folder.join(key)))?;
    Ok(metadata.map(|metadata| Entry { key: key.to_owned(), size: metadata.len(), etag: None }))
}

pub(super) fn read(folder: &Path, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
    if_there(folder, key, fs::read(folder.join(key)))
}

pub(super) fn read_range(
    folder: &Path,
    key: &str,
    range: Range<u64>,
) -> Result<Option<Vec<u8>>, StorageError> {
    let read = || {
        let mut file = File::open(folder.join(key))?;
        file.seek(SeekFrom::Start(range.start))?;
        let mut bytes = vec![0; range.end.saturating_sub(range.start) as usize];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    };
    if_there(folder, key, read())
}

pub(super) fn delete(folder: &Path, key: &str) -> Result<(), StorageError> {
    if_there(folder, key, fs::remove_file(folder.join(key))).map(drop)
}

/// Links the file to its name, which fails where there is one.
pub(super) fn create(folder: &Path, key: &str, bytes: &[u8]) -> Result<bool, StorageError> {
    let path = folder.join(key);
    let failed = |source| StorageError::Io { path: path.clone(), source };
    // Another process may be creating it too: the name is this one's own.
    let (file, temporary) = start(folder, &format!("{key}.{}", std::process::id()))?;
    let linked = (&file).write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| {
        match fs::hard_link(&temporary, &path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            // A file system without links, whichever way it says so: exclusive, though not whole at once.
            Err(_) => exclusive(&path, bytes),
            Ok(()) => Ok(true),
        }
    });
    discard(&temporary);
    let linked = linked.map_err(failed)?;
    sync_folder(&path).map_err(failed)?;
    Ok(linked)
}

fn exclusive(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    match OpenOptions::new().write(true).create_new(true).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        file => file.and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all())).map(|()| true),
    }
}

/// A file under a temporary name beside its own: a rename is atomic only within a file system.
pub(super) fn start(folder: &Path, key: &str) -> Result<(File, PathBuf), StorageError> {
    let path = folder.join(key);
    let failed = |source| StorageError::Io { path: path.clone(), source };
    let name = path.file_name().ok_or_else(|| failed(ErrorKind::InvalidFilename.into()))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(SUFFIX);
    let temporary = path.with_file_name(hidden);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    // Readable too: what is written is hashed and copied from it.
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(true).open(&temporary).map_err(failed)?;
    Ok((file, temporary))
}

/// Gives a file that was started its own name.
pub(super) fn publish(file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(temporary, path)?;
    sync_folder(path)
}

/// Removes a file that was started. A leftover hides and is overwritten by the next attempt.
pub(super) fn discard(temporary: &Path) {
    if !temporary.as_os_str().is_empty() {
        let _ = fs::remove_file(temporary);
    }
}

/// Makes a rename last through a power cut; only Unix lets a folder be synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    if !cfg!(unix) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn if_there<T>(folder: &Path, key: &str, result: io::Result<T>) -> Result<Option<T>, StorageError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StorageError::Io { path: folder.join(key), source }),
    }
}
