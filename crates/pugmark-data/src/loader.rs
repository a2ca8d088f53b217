//! Batches of decoded, resized, augmented photos.
//!
//! What a batch holds depends on the items, the settings and the epoch alone: not on threads, not on the cache, not on
//! the order in which the items were given.

mod cache;

use std::panic;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use crate::augment::Augment;
use crate::dataset::Sample;
use crate::photo::Limits;
use crate::random::Random;
use crate::recipe::Recipe;
use crate::stored::{Stored, decode_stored};
use cache::{Cache, Prepared};

/// How photos are loaded.
#[derive(Clone, PartialEq, Debug)]
pub struct LoaderSettings {
    /// Items in a batch, at least 1; the last batch may be smaller.
    pub batch_size: usize,
    /// Worker threads; 0 counts as 1. The batches do not depend on it.
    pub threads: usize,
    /// Seeds the order and the augmentation.
    pub seed: u64,
    /// Visit the items in another order each epoch; else in the order they are given.
    pub shuffle: bool,
    /// How a photo becomes pixels.
    pub recipe: Recipe,
    /// Random changes.
    pub augment: Augment,
    /// What is refused before it is decoded.
    pub limits: Limits,
    /// Resized photos, not yet augmented, kept in memory, in bytes; 0 keeps none. The batches do not depend on it.
    pub cache_bytes: u64,
}

/// One photo to load.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Identity: order and augmentation come from (seed, epoch, id).
    pub id: String,
    /// Where the photo is.
    pub path: PathBuf,
    /// How it lies there, where that is a shard.
    pub stored: Option<Stored>,
    /// The class, where it is known.
    pub class: Option<usize>,
}

impl From<&Sample> for Item {
    fn from(sample: &Sample) -> Self {
        let Sample { id, path, stored, class, .. } = sample;
        Self { id: id.clone(), path: path.clone(), stored: stored.clone(), class: *class }
    }
}

/// Some photos, ready for a model.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// `n * height * width * 3` bytes: photo by photo, row by row, red green blue.
    pub pixels: Vec<u8>,
    /// `n` classes, `u32::MAX` where none is known.
    pub labels: Vec<u32>,
    /// `n` indices into the loader's items.
    pub items: Vec<usize>,
    /// Items of this batch that could not be decoded, with the reason: they are in none of the above, so that a batch
    /// may be smaller than asked for, or empty.
    pub broken: Vec<(usize, String)>,
    /// Items of this batch that were decoded in part; they are in the batch.
    pub truncated: Vec<usize>,
}

/// Loads items in batches on worker threads.
pub struct Loader {
    shared: Arc<Shared>,
}

/// What the workers of all epochs read.
struct Shared {
    items: Vec<Item>,
    settings: LoaderSettings,
    cache: Cache,
}

impl Loader {
    /// A loader of `items`, whose ids must differ.
    pub fn new(items: Vec<Item>, settings: LoaderSettings) -> Self {
        let cache = Cache::new(items.len(), settings.cache_bytes);
        Self { shared: Arc::new(Shared { items, settings, cache }) }
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        self.shared.items.len().div_ceil(self.shared.batch_size())
    }

    /// The items of an epoch in its order: batch after batch.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        self.shared.order(epoch)
    }

    /// The batches of an epoch, in order, from `first_batch` on: an epoch that is taken up again goes on as if it had
    /// never stopped. At most two batches a thread are in memory. Dropping the iterator stops its threads.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        let batches = self.batches();
        let threads = self.shared.settings.threads.clamp(1, batches.saturating_sub(first_batch).max(1));
        let order: Arc<[usize]> = self.shared.order(epoch).into();
        let stopped = Arc::new(AtomicBool::new(false));
        // Thread t makes batches t, t + threads, ... and hands each over before it begins the next but one: taking
        // them in turn gives the order back without a queue to sort.
        let workers = (0..threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(1);
                let worker = Worker {
                    shared: Arc::clone(&self.shared),
                    order: Arc::clone(&order),
                    stopped: Arc::clone(&stopped),
                    epoch,
                };
                let turns = (first_batch + thread..batches).step_by(threads);
                (receiver, thread::spawn(move || worker.run(turns, &sender)))
            })
            .collect();
        Epoch { workers, stopped, next: 0, left: batches.saturating_sub(first_batch) }
    }
}

impl Shared {
    fn batch_size(&self) -> usize {
        self.settings.batch_size.max(1)
    }

    /// Indices of the items in the order of an epoch.
    fn order(&self, epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        if self.settings.shuffle {
            order.sort_by_cached_key(|&item| {
                let id = &self.items[item].id;
                // The prefix keeps it apart from the augmentation, which would else depend on the place.
                (Random::new(self.settings.seed, epoch, &format!("order {id}")).next_u64(), id.clone())
            });
        }
        order
    }

    /// A photo at the recipe's size, or why there is none.
    fn prepare(&self, item: usize) -> Result<Prepared, String> {
        let LoaderSettings { recipe, limits, .. } = &self.settings;
        let Item { path, stored, .. } = &self.items[item];
        let photo = decode_stored(path, stored.as_ref(), limits).map_err(|error| error.reason())?;
        Ok(Prepared { rgb: recipe.apply(&photo), truncated: photo.truncated })
    }
}

struct Worker {
    shared: Arc<Shared>,
    order: Arc<[usize]>,
    stopped: Arc<AtomicBool>,
    epoch: u64,
}

impl Worker {
    fn run(&self, turns: impl Iterator<Item = usize>, sender: &SyncSender<Batch>) {
        for turn in turns {
            let Some(batch) = self.batch(turn) else { return };
            // Nobody takes batches any more.
            if sender.send(batch).is_err() {
                return;
            }
        }
    }

    /// A batch; none if the epoch was dropped meanwhile.
    fn batch(&self, turn: usize) -> Option<Batch> {
        let Shared { items, settings, cache } = &*self.shared;
        let LoaderSettings { recipe, augment, seed, .. } = settings;
        let size = self.shared.batch_size();
        let chosen = &self.order[turn * size..self.order.len().min((turn + 1) * size)];
        let mut batch = Batch::default();
        batch.pixels.reserve_exact(chosen.len() * recipe.width * recipe.height * 3);
        for &index in chosen {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            match cache.get_or_prepare(index, || self.shared.prepare(index)) {
                Ok(Prepared { mut rgb, truncated }) => {
                    let mut random = Random::new(*seed, self.epoch, &items[index].id);
                    augment.apply(&mut rgb, recipe.width, recipe.height, &mut random);
                    batch.pixels.extend_from_slice(&rgb);
                    batch.labels.push(items[index].class.map_or(u32::MAX, |class| class as u32));
                    batch.items.push(index);
                    if truncated {
                        batch.truncated.push(index);
                    }
                }
                Err(reason) => batch.broken.push((index, reason)),
            }
        }
        Some(batch)
    }
}

/// The batches of one epoch.
pub struct Epoch {
    workers: Vec<(Receiver<Batch>, JoinHandle<()>)>,
    stopped: Arc<AtomicBool>,
    /// Whose turn it is.
    next: usize,
    left: usize,
}

impl Iterator for Epoch {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.left = self.left.checked_sub(1)?;
        let turn = self.next;
        self.next = (turn + 1) % self.workers.len();
        match self.workers[turn].0.recv() {
            Ok(batch) => Some(batch),
            // A worker ends early only by a panic, which must not look like the end of the epoch.
            Err(_) => match self.workers.swap_remove(turn).1.join() {
                Err(panic) => panic::resume_unwind(panic),
                Ok(()) => unreachable!("a worker hands over all its batches"),
            },
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Epoch {}

impl Drop for Epoch {
    /// Stops the workers and waits for them: at most for one photo each.
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        for (receiver, worker) in self.workers.drain(..) {
            drop(receiver);
            // A panic was passed on when its batch was asked for; nobody asks any more.
            let _ = worker.join();
        }
    }
}
