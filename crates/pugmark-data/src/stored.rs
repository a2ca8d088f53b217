//! Photos that are no files on a disk: in the shards of a prepared folder, or in a bucket.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use crate::photo::{Limits, Photo, PhotoError, check_size, decode, read_file};
use crate::prepare::{INDEX, PLAN};
use crate::read::is_photo;
use crate::storage::{Entry, Storage, StorageError, StorageOptions};

/// How a photo lies where it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stored {
    /// A part of a shard of a prepared folder.
    Range {
        /// Length of the shard: one that was made again meanwhile has its photos elsewhere.
        shard_bytes: u64,
        /// Its first byte.
        offset: u64,
        /// Its length.
        bytes: u64,
        /// Width and height, where the bytes are pixels (RGB, row by row); else they are an image file.
        pixels: Option<(u32, u32)>,
        /// The original was cut off or damaged.
        truncated: bool,
    },
    /// Not at all: the original could not be decoded, for this reason.
    Broken(String),
    /// In a bucket.
    Object(Arc<Object>),
}

/// A file of a bucket.
#[derive(Clone, Debug)]
pub struct Object {
    storage: Storage,
    entry: Entry,
}

impl Object {
    /// The file that `storage` has listed as `entry`.
    pub fn new(storage: &Storage, entry: Entry) -> Self {
        Self { storage: storage.clone(), entry }
    }

    /// Every photo of a folder in a bucket, by the extensions that name photos; none where `pugmark prepare` has written the
    /// folder, or was writing it.
    ///
    /// # Errors
    /// If it can't be listed.
    pub fn photos(storage: &Storage) -> Result<Option<Vec<Self>>, StorageError> {
        let entries = storage.list()?;
        if entries.iter().any(|entry| [INDEX, PLAN].contains(&entry.key.as_str())) {
            return Ok(None);
        }
        let shown = |key: &str| !key.split('/').any(|name| name.starts_with('.'));
        let photos = entries.into_iter().filter(|entry| shown(&entry.key) && is_photo(Path::new(&entry.key)));
        Ok(Some(photos.map(|entry| Self::new(storage, entry)).collect()))
    }

    /// The file at a URL.
    ///
    /// # Errors
    /// As [`Storage::head`]; [`StorageError::Missing`] if there is none.
    pub fn at(url: &Path, options: &StorageOptions) -> Result<Self, StorageError> {
        let text = url.to_string_lossy();
        let (folder, key) = text.rsplit_once('/').unwrap_or_default();
        let storage = Storage::open(Path::new(folder), options)?;
        let missing = || StorageError::Missing { place: text.clone().into_owned() };
        let entry = storage.head(key)?.ok_or_else(missing)?;
        Ok(Self::new(&storage, entry))
    }

    /// Its URL.
    pub fn place(&self) -> String {
        self.storage.place(&self.entry.key)
    }

    /// What was listed: its size and its version.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its bytes, if it is still the version that was listed.
    pub(crate) fn read(&self, limits: &Limits) -> Result<Vec<u8>, PhotoError> {
        let Entry { key, size, etag } = &self.entry;
        check_size(*size, limits)?;
        let bytes = self.storage.read_version(key, etag.as_deref());
        bytes.map_err(|error| PhotoError::Unfetched(error.to_string()))
    }
}

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.entry == other.entry && self.place() == other.place()
    }
}

impl Eq for Object {}

/// Decodes the photo in `path`, or the one that `stored` describes there.
///
/// # Errors
/// As [`decode_file`](crate::decode_file); [`PhotoError::Unfetched`] for a photo that a bucket does not give;
/// [`PhotoError::Prepared`] for a photo that was found broken when its folder was prepared.
pub fn decode_stored(path: &Path, stored: Option<&Stored>, limits: &Limits) -> Result<Photo, PhotoError> {
    decode_content(read_content(path, stored, limits)?, stored, limits)
}

/// The bytes of the photo in `path`, or of the one that `stored` describes there.
pub(crate) fn read_content(
    path: &Path,
    stored: Option<&Stored>,
    limits: &Limits,
) -> Result<Vec<u8>, PhotoError> {
    match stored {
        None => read_file(path, limits),
        Some(Stored::Object(object)) => object.read(limits),
        Some(Stored::Broken(reason)) => Err(PhotoError::Prepared(reason.clone())),
        Some(&Stored::Range { shard_bytes, offset, bytes, .. }) => {
            check_size(bytes, limits)?;
            let mut file = File::open(path)?;
            if file.metadata()?.len() != shard_bytes {
                return Err(PhotoError::Prepared(
                    "its shard was made again since the folder was read".into(),
                ));
            }
            file.seek(SeekFrom::Start(offset))?;
            let mut content = vec![0; bytes as usize];
            file.read_exact(&mut content)?;
            Ok(content)
        }
    }
}

/// Decodes what [`read_content`] has read.
pub(crate) fn decode_content(
    content: Vec<u8>,
    stored: Option<&Stored>,
    limits: &Limits,
) -> Result<Photo, PhotoError> {
    let Some(&Stored::Range { pixels, truncated, .. }) = stored else { return decode(&content, limits) };
    let Some((width, height)) = pixels else {
        let photo = decode(&content, limits)?;
        return Ok(Photo { truncated: photo.truncated || truncated, ..photo });
    };
    let (width, height) = (width as usize, height as usize);
    if content.len() != width * height * 3 || content.is_empty() {
        return Err(PhotoError::NoPixels);
    }
    Ok(Photo { width, height, rgb: content, truncated })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Stored, decode_stored};
    use crate::photo::Limits;

    #[test]
    fn a_shard_that_was_made_again_gives_no_other_photo() {
        let folder = tempfile::tempdir().unwrap();
        let shard = folder.path().join("train-00000.tar");
        fs::write(&shard, [1, 2, 3, 4, 5, 6]).unwrap();
        let stored = |shard_bytes| {
            Some(Stored::Range { shard_bytes, offset: 3, bytes: 3, pixels: Some((1, 1)), truncated: false })
        };
        let photo = decode_stored(&shard, stored(6).as_ref(), &Limits::default()).unwrap();
        assert_eq!((photo.width, photo.height, photo.rgb), (1, 1, vec![4, 5, 6]));
        fs::write(&shard, [0, 0, 0, 1, 2, 3, 4, 5, 6]).unwrap();
        let error = decode_stored(&shard, stored(6).as_ref(), &Limits::default()).unwrap_err();
        assert!(error.reason().contains("made again"), "{error}");
    }
}
