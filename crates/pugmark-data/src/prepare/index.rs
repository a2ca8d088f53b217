//! The file that says what a prepared folder holds.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::form::Form;
use super::listing::{Listing, hex};
use super::plan::Shard;
use crate::dataset::Dataset;
use crate::error::DataError;

const FORMAT: &str = "pugmark-prepared";
const VERSION: u32 = 1;

/// What readers of prepared folders call them.
pub(crate) const PREPARED: &str = "prepared folder";

/// Whether a data set was read from a prepared folder.
pub(crate) fn is_prepared(dataset: &Dataset) -> bool {
    dataset.format == PREPARED
}

/// What a prepared folder holds.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(crate) struct Index {
    format: String,
    version: u32,
    pub(crate) form: Form,
    /// In the order of the data set: a photo's class is an index into them.
    pub(crate) classes: Vec<String>,
    pub(crate) photos: usize,
    pub(crate) shards: Vec<IndexedFile>,
    pub(crate) tables: Vec<IndexedFile>,
}

/// A file of a prepared folder.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(crate) struct IndexedFile {
    /// What the tables call it.
    pub(crate) name: String,
    /// Below the folder, with forward slashes.
    pub(crate) file: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl Index {
    pub(super) fn new(
        form: &Form,
        classes: &[String],
        shards: &[Shard<'_>],
        listings: &[Listing],
        tables: &[(&'static str, String)],
    ) -> Self {
        let shard = |(shard, listing): (&Shard<'_>, &Listing)| IndexedFile {
            name: shard.name.clone(),
            file: shard.tar(),
            bytes: listing.bytes,
            sha256: listing.sha256.clone(),
        };
        let table = |(name, text): &(&'static str, String)| IndexedFile {
            name: (*name).to_owned(),
            file: (*name).to_owned(),
            bytes: text.len() as u64,
            sha256: hex(&Sha256::digest(text.as_bytes())),
        };
        Self {
            format: FORMAT.into(),
            version: VERSION,
            form: form.clone(),
            classes: classes.to_vec(),
            photos: listings.iter().map(|listing| listing.photos.len()).sum(),
            shards: shards.iter().zip(listings).map(shard).collect(),
            tables: tables.iter().map(table).collect(),
        }
    }

    /// The index in `text`, the contents of `file`; none if it is some other file of that name.
    pub(crate) fn parse(text: &[u8], file: &Path) -> Result<Option<Self>, DataError> {
        let damaged = |problem: String| DataError::Prepared { file: file.to_owned(), problem };
        let Ok(value) = serde_json::from_slice::<serde_json::Value>(text) else { return Ok(None) };
        if value["format"] != FORMAT {
            return Ok(None);
        }
        if value["version"] != VERSION {
            return Err(damaged(format!("version {}, where this pugmark knows {VERSION}", value["version"])));
        }
        let index: Self = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        // They become paths: an index from elsewhere must not lead out of its folder.
        let outside = |file: &&IndexedFile| file.file.split('/').any(|step| matches!(step, "" | "." | ".."));
        match index.shards.iter().chain(&index.tables).find(outside) {
            Some(file) => Err(damaged(format!("`{}` is no file below it", file.file))),
            None => Ok(Some(index)),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        // Words and numbers: they can always be written.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
