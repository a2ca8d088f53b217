//! Batches of decoded, resized, augmented photos.

use std::path::PathBuf;

use crate::augment::Augment;
use crate::photo::Limits;
use crate::recipe::Recipe;

/// How photos are loaded.
#[derive(Clone, PartialEq, Debug)]
pub struct LoaderSettings {
    /// Items in a batch; the last one may be smaller.
    pub batch_size: usize,
    /// Worker threads; 0 counts as 1. The batches do not depend on it.
    pub threads: usize,
    /// Seeds the order and the augmentation.
    pub seed: u64,
    /// Visit the items in another order each epoch.
    pub shuffle: bool,
    /// How a photo becomes pixels.
    pub recipe: Recipe,
    /// Random changes.
    pub augment: Augment,
    /// What is refused before it is decoded.
    pub limits: Limits,
    /// Resized photos kept in memory, in bytes; 0 keeps none. The batches do not depend on it.
    pub cache_bytes: u64,
}

/// One photo to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Identity: order and augmentation come from (seed, epoch, id).
    pub id: String,
    /// Where the photo is.
    pub path: PathBuf,
    /// The class, where it is known.
    pub class: Option<usize>,
}

/// Some photos, ready for a model.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// `n * height * width * 3` bytes.
    pub pixels: Vec<u8>,
    /// `n` classes, `u32::MAX` where none is known.
    pub labels: Vec<u32>,
    /// `n` indices into the loader's items.
    pub items: Vec<usize>,
    /// Items of this batch that could not be decoded, with the reason: they are in none of the above.
    pub broken: Vec<(usize, String)>,
    /// Items of this batch whose file ends early; they are in the batch.
    pub truncated: Vec<usize>,
}

/// Loads items in batches on worker threads.
pub struct Loader {
    items: Vec<Item>,
    settings: LoaderSettings,
}

impl Loader {
    /// A loader of `items`.
    pub fn new(items: Vec<Item>, settings: LoaderSettings) -> Self {
        Self { items, settings }
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        self.items.len().div_ceil(self.settings.batch_size)
    }

    /// The batches of an epoch, from `first_batch` on, in order. Dropping the iterator stops the workers.
    pub fn epoch(&self, _epoch: u64, _first_batch: usize) -> Epoch {
        Epoch {}
    }
}

/// The batches of one epoch.
pub struct Epoch {}

impl Iterator for Epoch {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        None
    }
}
