//! What lies in a shard, and what it was made from.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::form::Form;
use super::input::Origin;
use super::plan::Shard;
use super::{PrepareError, PrepareSettings};
use crate::dataset::{Part, Sample};
use crate::formats::CropBox;
use crate::photo::{Limits, PhotoError};
use crate::storage::{Entry, Storage};

/// What is known of a photo besides its pixels.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(super) struct Described {
    pub(super) id: String,
    /// Its name in the shard: a hash of the id, since names of files in a tar are short and have no dots.
    pub(super) key: String,
    pub(super) class: Option<usize>,
    pub(super) label: Option<String>,
    pub(super) split: Option<Part>,
    pub(super) site: Option<String>,
    pub(super) sequence: Option<String>,
    pub(super) time: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) crop: Option<CropBox>,
}

/// What became of a photo.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// Where it lies in the shard.
    Packed { width: usize, height: usize, truncated: bool, offset: u64, bytes: u64 },
    /// Why it does not.
    Broken { reason: String },
}

/// A photo of a shard.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) photo: Described,
    /// Bytes of the original.
    pub(super) source_bytes: u64,
    /// Which version of it: the SHA-256 of a file on a disk, the ETag of one in a bucket.
    pub(super) version: String,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

/// A shard as it is; it stands beside the shard and is written after it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(super) struct Listing {
    pub(super) name: String,
    pub(super) form: Form,
    /// Of the shard.
    pub(super) bytes: u64,
    pub(super) sha256: String,
    pub(super) photos: Vec<Row>,
}

impl Described {
    pub(super) fn new(sample: &Sample, classes: &[String], key: String) -> Self {
        Self {
            id: sample.id.clone(),
            key,
            class: sample.class,
            label: sample.class.map(|class| classes[class].clone()),
            split: sample.part,
            site: sample.site.clone(),
            sequence: sample.sequence.clone(),
            time: sample.time.map(|time| time.to_string()),
            crop: sample.crop,
        }
    }
}

impl Listing {
    /// The listing of a shard, if both are there; none also where it cannot be understood, so that it is made again.
    /// `there` is what the folder holds, sorted by key.
    pub(super) fn read(
        out: &Storage,
        there: &[Entry],
        shard: &Shard<'_>,
        form: &Form,
    ) -> Result<Option<Self>, PrepareError> {
        let size = |key: &str| {
            let at = there.binary_search_by(|entry| entry.key.as_str().cmp(key)).ok()?;
            Some(there[at].size)
        };
        let (Some(_), Some(bytes)) = (size(&shard.listing()), size(&shard.tar())) else { return Ok(None) };
        let Some(text) = out.read(&shard.listing())? else { return Ok(None) };
        let listing = serde_json::from_slice::<Self>(&text).ok();
        let whole = |listing: &Self| {
            listing.bytes == bytes
                && listing.form == *form
                && listing.name == shard.name
                && listing.matches(shard)
        };
        Ok(listing.filter(whole))
    }

    /// Whether it lists the photos that the shard should have, as far as can be told without reading them.
    fn matches(&self, shard: &Shard<'_>) -> bool {
        let same = |(row, (photo, origin)): (&Row, &(Described, &Origin))| {
            let version = match origin {
                Origin::File(_) => true,
                Origin::Object { entry, .. } => {
                    entry.size == row.source_bytes && object_version(entry.etag.as_deref()) == row.version
                }
            };
            row.photo == *photo && version
        };
        self.photos.len() == shard.photos.len() && self.photos.iter().zip(&shard.photos).all(same)
    }

    /// Whether the files it was made from are still the same; reads those that are on a disk.
    pub(super) fn is_current(&self, shard: &Shard<'_>, settings: &PrepareSettings) -> bool {
        let next = AtomicUsize::new(0);
        let check = || {
            while let at = next.fetch_add(1, Ordering::Relaxed)
                && at < self.photos.len()
            {
                if let Origin::File(path) = shard.photos[at].1
                    && FileRead::new(path, &settings.limits).version != self.photos[at].version
                {
                    return false;
                }
            }
            true
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..settings.threads.max(1)).map(|_| scope.spawn(check)).collect();
            // A thread that panicked did not find them the same.
            threads.into_iter().all(|thread| thread.join().unwrap_or(false))
        })
    }

    pub(super) fn to_json(&self) -> String {
        // Words and numbers: they can always be written.
        let mut text = serde_json::to_string(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// A file as it was found on a disk.
pub(super) struct FileRead {
    pub(super) size: u64,
    pub(super) version: String,
    /// Its bytes, or why there are none.
    pub(super) bytes: Result<Vec<u8>, String>,
}

impl FileRead {
    pub(super) fn new(path: &Path, limits: &Limits) -> Self {
        let unread = |size, error: PhotoError| {
            let reason = error.reason();
            Self { size, version: format!("unread:{size}:{reason}"), bytes: Err(reason) }
        };
        match fs::metadata(path) {
            Err(error) => unread(0, error.into()),
            // A pipe would wait for ever.
            Ok(metadata) if !metadata.is_file() => unread(0, PhotoError::NotAFile),
            Ok(metadata) if metadata.len() > limits.max_bytes => {
                let (bytes, max_bytes) = (metadata.len(), limits.max_bytes);
                unread(bytes, PhotoError::TooManyBytes { bytes, max_bytes })
            }
            Ok(metadata) => match fs::read(path) {
                Err(error) => unread(metadata.len(), error.into()),
                Ok(bytes) => Self {
                    size: bytes.len() as u64,
                    version: format!("sha256:{}", hex(&Sha256::digest(&bytes))),
                    bytes: Ok(bytes),
                },
            },
        }
    }
}

pub(super) fn object_version(etag: Option<&str>) -> String {
    format!("etag:{}", etag.unwrap_or("none").trim_matches('"'))
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
