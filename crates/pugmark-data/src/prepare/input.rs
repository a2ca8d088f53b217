//! Where the photos of a data set come from: a disk or a bucket.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

use super::PrepareError;
use crate::dataset::{Dataset, Note, ReadOptions, counted};
use crate::error::DataError;
use crate::read::read;
use crate::storage::{Entry, Storage, StorageError, StorageOptions, is_url};

/// Tables larger than this are no labels.
const LARGEST_TABLE: u64 = 1 << 30;

/// Requests for the versions of single files that are on their way at once.
const REQUESTS_AT_ONCE: usize = 16;

/// A data set and where its photos are.
pub struct Input {
    /// The data set. The path of a photo in a bucket is its URL.
    pub dataset: Dataset,
    /// Of each sample.
    pub(super) origins: Vec<Origin>,
}

/// Where a photo is.
#[derive(Clone, Debug)]
pub(super) enum Origin {
    File(PathBuf),
    Object { storage: Arc<Storage>, entry: Entry },
}

impl Origin {
    /// Its size; 0 where that is not known.
    pub(super) fn size_hint(&self) -> u64 {
        match self {
            Self::File(path) => fs::metadata(path).map_or(0, |metadata| metadata.len()),
            Self::Object { entry, .. } => entry.size,
        }
    }
}

impl Input {
    /// Reads the labels of `data`, a folder or table on a disk or in a bucket; its photos may be in another place, which
    /// [`ReadOptions::photos`] names.
    ///
    /// # Errors
    /// As [`crate::read`]; a bucket that cannot be listed; a folder that is prepared already.
    pub fn open(data: &Path, options: &ReadOptions, storage: &StorageOptions) -> Result<Self, PrepareError> {
        let mounted = is_url(data).then(|| Mount::new(data, storage)).transpose()?;
        let photos = match &options.photos {
            Some(photos) if is_url(photos) => Some(Mount::new(photos, storage)?),
            _ => None,
        };
        let mut options = options.clone();
        if let Some(photos) = &photos {
            options.photos = Some(photos.path.clone());
        }
        let mounts: Vec<&Mount> = mounted.iter().chain(&photos).collect();
        let path = mounted.as_ref().map_or(data, |mount| &mount.path);
        let mut dataset = read(path, &options).map_err(|error| renamed(error, &mounts))?;
        if super::is_prepared(&dataset) {
            return Err(PrepareError::AlreadyPrepared { data: data.display().to_string() });
        }
        dataset.root = data.to_owned();
        for note in &mut dataset.notes {
            note.text = in_words(&note.text, &mounts);
        }
        dataset.notes.extend(mounts.iter().filter_map(|mount| mount.note()));
        let mut origins = Vec::with_capacity(dataset.samples.len());
        for sample in &mut dataset.samples {
            let object = mounts.iter().find_map(|mount| mount.find(&sample.path));
            if let Some(Origin::Object { storage, entry }) = &object {
                sample.path = storage.place(&entry.key).into();
            }
            origins.push(object.unwrap_or_else(|| Origin::File(sample.path.clone())));
        }
        complete(&mut origins)?;
        Ok(Self { dataset, origins })
    }
}

/// [`crate::read`], which also takes what [`Input::open`] takes, for those who want the labels alone.
///
/// # Errors
/// As [`Input::open`].
pub fn read_data(
    data: &Path,
    options: &ReadOptions,
    storage: &StorageOptions,
) -> Result<Dataset, PrepareError> {
    Ok(Input::open(data, options, storage)?.dataset)
}

/// Asks for the versions of files where the listing of their bucket does not tell them, as AWS's does.
fn complete(origins: &mut [Origin]) -> Result<(), StorageError> {
    let untold =
        |origin: &&mut Origin| matches!(origin, Origin::Object { entry, .. } if entry.etag.is_none());
    let mut untold: Vec<&mut Origin> = origins.iter_mut().filter(untold).collect();
    if untold.is_empty() {
        return Ok(());
    }
    let ask = |origins: &mut [&mut Origin]| -> Result<(), StorageError> {
        for origin in origins {
            if let Origin::Object { storage, entry } = origin {
                let found = storage.head(&entry.key)?;
                *entry = found.ok_or_else(|| StorageError::Missing { place: storage.place(&entry.key) })?;
            }
        }
        Ok(())
    };
    let share = untold.len().div_ceil(REQUESTS_AT_ONCE);
    thread::scope(|scope| {
        let threads: Vec<_> =
            untold.chunks_mut(share).map(|origins| scope.spawn(move || ask(origins))).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(asked) => asked,
            Err(panic) => panic::resume_unwind(panic),
        })
    })
}

/// The files of a bucket as a folder of empty files, but for its tables, which are whole: all readers of labels can read it.
struct Mount {
    storage: Arc<Storage>,
    url: String,
    folder: TempDir,
    /// What stands for the URL: the folder, or a table in it.
    path: PathBuf,
    entries: HashMap<PathBuf, Entry>,
    /// Keys that cannot be a file in a folder.
    odd: Vec<String>,
}

impl Mount {
    fn new(url: &Path, options: &StorageOptions) -> Result<Self, PrepareError> {
        let text = url.to_string_lossy();
        let (place, file) = match text.rsplit_once('/') {
            Some((place, file)) if is_table(file) => (place, Some(file)),
            _ => (&*text, None),
        };
        let storage = Arc::new(Storage::open(Path::new(place), options)?);
        let listed = storage.list()?;
        if listed.is_empty() {
            return Err(DataError::NotFound { path: url.to_owned() }.into());
        }
        let io = |source| StorageError::Io { path: std::env::temp_dir(), source };
        let folder = tempfile::Builder::new().prefix("pugmark-").tempdir().map_err(io)?;
        let path = file.map_or(folder.path().to_owned(), |file| folder.path().join(file));
        let mut mount = Self {
            url: place.trim_end_matches('/').to_owned(),
            path,
            entries: HashMap::with_capacity(listed.len()),
            odd: Vec::new(),
            storage,
            folder,
        };
        // Consoles make an empty file for each folder.
        let parents: BTreeSet<String> = listed.iter().flat_map(|entry| parents(&entry.key)).collect();
        for parent in &parents {
            fs::create_dir_all(mount.folder.path().join(parent)).map_err(io)?;
        }
        for entry in listed {
            if parents.contains(&entry.key) {
                continue;
            }
            let path = mount.folder.path().join(&entry.key);
            let table = is_table(&entry.key) && !entry.key.contains('/') && entry.size <= LARGEST_TABLE;
            let bytes = match table {
                true => mount.storage.read_version(&entry.key, entry.etag.as_deref())?,
                false => Vec::new(),
            };
            // Buckets take names that disks do not.
            match fs::write(&path, bytes) {
                Ok(()) => drop(mount.entries.insert(path, entry)),
                Err(_) => mount.odd.push(entry.key),
            }
        }
        Ok(mount)
    }

    fn find(&self, path: &Path) -> Option<Origin> {
        let entry = self.entries.get(path)?.clone();
        Some(Origin::Object { storage: Arc::clone(&self.storage), entry })
    }

    fn note(&self) -> Option<Note> {
        let count = counted(self.odd.len(), "file");
        let text = format!("not used, their names being none for a disk: {count} of {}", self.url);
        (!self.odd.is_empty()).then(|| Note { text, items: self.odd.clone() })
    }
}

fn is_table(key: &str) -> bool {
    let extension = key.rsplit_once('.').map_or("", |(_, extension)| extension);
    ["csv", "json"].iter().any(|known| known.eq_ignore_ascii_case(extension))
}

/// The folders that a file is in.
fn parents(key: &str) -> impl Iterator<Item = String> {
    key.match_indices('/').map(|(at, _)| key[..at].to_owned())
}

/// A text with the URLs for the folders that stand for them.
fn in_words(text: &str, mounts: &[&Mount]) -> String {
    mounts.iter().fold(text.to_owned(), |text, mount| {
        text.replace(&*mount.folder.path().to_string_lossy(), &mount.url)
    })
}

fn renamed(error: DataError, mounts: &[&Mount]) -> DataError {
    if mounts.is_empty() {
        return error;
    }
    DataError::InBucket { problem: in_words(&error.to_string(), mounts), hint: error.hint() }
}
