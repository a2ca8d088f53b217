//! Batches of decoded, resized, augmented photos.
//!
//! What a batch holds depends on the items, the settings and the epoch alone: not on threads, not on the cache, not on
//! the order in which the items were given.

mod cache;
mod clock;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread::{self, JoinHandle};

use crate::augment::{Augment, Augmented, Mixed, Saliency, mix};
use crate::dataset::Sample;
use crate::digest::Digest;
use crate::formats::CropBox;
use crate::photo::{Limits, Photo, PhotoError, decode, read_file};
use crate::random::Random;
use crate::recipe::Recipe;
use crate::stored::{Stored, decode_content, read_content};
use cache::Cache;
pub use clock::{BatchTime, Stage};
use clock::{Clock, Laps};

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
    /// Draw as many items as there are, with replacement, every class as likely as any other that has one.
    pub balanced: bool,
    /// How a photo becomes pixels.
    pub recipe: Recipe,
    /// Random changes.
    pub augment: Augment,
    /// What is refused before it is decoded.
    pub limits: Limits,
    /// Photos as [`Augment::prepare`] leaves them, not yet augmented, kept in memory, in bytes; 0 keeps none. The batches do
    /// not depend on it.
    pub cache_bytes: u64,
}

/// One photo to load.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// Identity: order and augmentation come from (seed, epoch, id).
    pub id: String,
    /// Where the photo is.
    pub path: PathBuf,
    /// How it lies there, where that is no file on a disk.
    pub stored: Option<Stored>,
    /// The part of it that counts; all of it where there is none. Boxed, as there may be a million items, most without.
    pub crop: Option<Box<CropBox>>,
    /// The class, where it is known.
    pub class: Option<usize>,
}

impl From<&Sample> for Item {
    fn from(sample: &Sample) -> Self {
        let Sample { id, path, stored, crop, class, .. } = sample;
        Self {
            id: id.clone(),
            path: path.clone(),
            stored: stored.clone(),
            crop: crop.map(Box::new),
            class: *class,
        }
    }
}

/// Some photos, ready for a model.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Batch {
    /// `n * height * width * 3` bytes: photo by photo, row by row, red green blue.
    pub pixels: Vec<u8>,
    /// `n` classes, `u32::MAX` where none is known.
    pub labels: Vec<u32>,
    /// Where the photos are mixed: what else is in each.
    pub mixed: Option<Mixed>,
    /// `n` indices into the loader's items.
    pub items: Vec<usize>,
    /// Items of this batch that could not be decoded, with the reason: they are in none of the above, so that a batch
    /// may be smaller than asked for, or empty.
    pub broken: Vec<(usize, String)>,
    /// Items of this batch that were decoded in part; they are in the batch.
    pub truncated: Vec<usize>,
    /// Of a loader [`with_digests`](Loader::with_digests): those of this batch's files that could be read.
    pub digests: Vec<(usize, Digest)>,
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
    saliency: RwLock<Arc<[Option<Saliency>]>>,
    digests: bool,
    clock: Clock,
}

impl Loader {
    /// A loader of `items`, whose ids must differ.
    pub fn new(items: Vec<Item>, settings: LoaderSettings) -> Self {
        Self::build(items, settings, false)
    }

    /// As [`Loader::new`]; batches have the digests of the files. Photos are not kept in memory.
    pub fn with_digests(items: Vec<Item>, settings: LoaderSettings) -> Self {
        Self::build(items, settings, true)
    }

    fn build(items: Vec<Item>, settings: LoaderSettings, digests: bool) -> Self {
        let cache = Cache::new(items.len(), settings.cache_bytes);
        let saliency = RwLock::new(vec![None; items.len()].into());
        let clock = Clock::default();
        Self { shared: Arc::new(Shared { items, settings, cache, saliency, digests, clock }) }
    }

    /// Times what the threads do in the epochs that begin from now on; the batches do not change.
    ///
    /// `PUGMARK_LOADER_SLEEP_MS` then delays the reading of every photo, to see what a slower disk would do.
    pub fn time(&self) {
        self.shared.clock.turn_on();
    }

    /// The batches that were finished since this was asked last, in no order; none unless they are [timed](Loader::time).
    pub fn take_times(&self) -> Vec<BatchTime> {
        self.shared.clock.take()
    }

    /// Batches of the epoch in progress that are made and not yet taken: at most two a thread.
    pub fn ready(&self) -> usize {
        self.shared.clock.ready()
    }

    /// What is important in each item, for [`Augment::keep`]; epochs that begin from now on use it.
    ///
    /// # Panics
    /// If there is not one for each item.
    pub fn set_saliency(&self, saliency: Vec<Option<Saliency>>) {
        assert_eq!(saliency.len(), self.shared.items.len(), "one for each item");
        *self.shared.saliency.write().unwrap_or_else(PoisonError::into_inner) = saliency.into();
    }

    /// Batches in an epoch.
    pub fn batches(&self) -> usize {
        self.shared.items.len().div_ceil(self.shared.batch_size())
    }

    /// The items of an epoch in its order: batch after batch.
    pub fn order(&self, epoch: u64) -> Vec<usize> {
        self.shared.turns(epoch).into_iter().map(|turn| turn.item).collect()
    }

    /// The batches of an epoch, in order, from `first_batch` on: an epoch that is taken up again goes on as if it had
    /// never stopped. At most two batches a thread are in memory. Dropping the iterator stops its threads.
    pub fn epoch(&self, epoch: u64, first_batch: usize) -> Epoch {
        let batches = self.batches();
        let threads = self.shared.settings.threads.clamp(1, batches.saturating_sub(first_batch).max(1));
        let order: Arc<[Turn]> = self.shared.turns(epoch).into();
        let saliency = Arc::clone(&self.shared.saliency.read().unwrap_or_else(PoisonError::into_inner));
        let stopped = Arc::new(AtomicBool::new(false));
        // Thread t makes batches t, t + threads, ... and hands each over before it begins the next but one: taking
        // them in turn gives the order back without a queue to sort.
        let workers = (0..threads)
            .map(|thread| {
                let (sender, receiver) = sync_channel(1);
                let worker = Worker {
                    thread,
                    shared: Arc::clone(&self.shared),
                    order: Arc::clone(&order),
                    saliency: Arc::clone(&saliency),
                    stopped: Arc::clone(&stopped),
                    epoch,
                };
                let turns = (first_batch + thread..batches).step_by(threads);
                (receiver, thread::spawn(move || worker.run(turns, &sender)))
            })
            .collect();
        let shared = Arc::clone(&self.shared);
        Epoch { workers, stopped, shared, next: 0, left: batches.saturating_sub(first_batch) }
    }
}

/// One place in the order of an epoch.
struct Turn {
    item: usize,
    /// How often the item was drawn before in this epoch: each time it is changed in another way.
    repeat: usize,
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

    /// The order of an epoch, with what is drawn again and again.
    fn turns(&self, epoch: u64) -> Vec<Turn> {
        if !self.settings.balanced {
            return self.order(epoch).into_iter().map(|item| Turn { item, repeat: 0 }).collect();
        }
        let mut classes = BTreeMap::<Option<usize>, Vec<usize>>::new();
        for (index, item) in self.items.iter().enumerate() {
            classes.entry(item.class).or_default().push(index);
        }
        let mut classes: Vec<Vec<usize>> = classes.into_values().collect();
        // What is drawn must not depend on the order in which the items were given.
        classes.iter_mut().for_each(|class| class.sort_by_key(|&item| &self.items[item].id));
        let mut random = Random::new(self.settings.seed, epoch, "balanced order");
        let mut drawn = vec![0; self.items.len()];
        let draw = |_| {
            let class = &classes[random.below(classes.len())];
            let item = class[random.below(class.len())];
            drawn[item] += 1;
            Turn { item, repeat: drawn[item] - 1 }
        };
        (0..self.items.len()).map(draw).collect()
    }

    /// A photo, ready to be augmented, or why there is none.
    fn prepare(&self, item: usize, laps: &mut Laps) -> Result<Photo, String> {
        let LoaderSettings { recipe, augment, limits, .. } = &self.settings;
        let Item { path, stored, crop, .. } = &self.items[item];
        laps.sleep();
        let content = read_content(path, stored.as_ref(), limits);
        laps.lap(Stage::Read);
        let photo = content.and_then(|content| decode_content(content, stored.as_ref(), limits));
        let photo = photo.and_then(|photo| part(photo, crop.as_deref()));
        laps.lap(Stage::Decode);
        let photo = augment.prepare(photo.map_err(|error| error.reason())?, recipe);
        laps.lap(Stage::Resize);
        Ok(photo)
    }

    /// As [`Shared::prepare`], from bytes whose digest goes into `batch`. A part of a shard has none.
    fn digest(&self, item: usize, batch: &mut Batch, laps: &mut Laps) -> Result<Photo, String> {
        let LoaderSettings { recipe, augment, limits, .. } = &self.settings;
        let Item { path, stored, crop, .. } = &self.items[item];
        let bytes = match stored {
            None => read_file(path, limits),
            Some(Stored::Object(object)) => object.read(limits),
            Some(Stored::Range { .. } | Stored::Broken(_)) => return self.prepare(item, laps),
        };
        let bytes = bytes.map_err(|error| error.reason())?;
        batch.digests.push((item, Digest::of(&bytes)));
        let photo = decode(&bytes, limits).and_then(|photo| part(photo, crop.as_deref()));
        Ok(augment.prepare(photo.map_err(|error| error.reason())?, recipe))
    }
}

/// What counts of a photo.
fn part(photo: Photo, crop: Option<&CropBox>) -> Result<Photo, PhotoError> {
    match crop {
        Some(crop) => crop.cut(&photo),
        None => Ok(photo),
    }
}

struct Worker {
    /// From 0.
    thread: usize,
    shared: Arc<Shared>,
    order: Arc<[Turn]>,
    saliency: Arc<[Option<Saliency>]>,
    stopped: Arc<AtomicBool>,
    epoch: u64,
}

impl Worker {
    fn run(&self, turns: impl Iterator<Item = usize>, sender: &SyncSender<Batch>) {
        for turn in turns {
            let Some(batch) = self.batch(turn) else { return };
            self.shared.clock.made();
            // Nobody takes batches any more.
            if sender.send(batch).is_err() {
                return;
            }
        }
    }

    /// A batch; none if the epoch was dropped meanwhile.
    fn batch(&self, turn: usize) -> Option<Batch> {
        let Shared { items, settings, cache, clock, .. } = &*self.shared;
        let mut laps = clock.laps();
        let LoaderSettings { recipe, augment, seed, .. } = settings;
        let size = self.shared.batch_size();
        let chosen = &self.order[turn * size..self.order.len().min((turn + 1) * size)];
        let mut batch = Batch::default();
        let mut moved = Vec::with_capacity(chosen.len());
        batch.pixels.reserve_exact(chosen.len() * recipe.width * recipe.height * 3);
        for &Turn { item: index, repeat } in chosen {
            if self.stopped.load(Ordering::Relaxed) {
                return None;
            }
            let photo = match self.shared.digests {
                true => self.shared.digest(index, &mut batch, &mut laps),
                false => cache.get_or_prepare(index, || self.shared.prepare(index, &mut laps)),
            };
            // From the cache, or into it.
            laps.lap(Stage::Read);
            match photo {
                Ok(photo) => {
                    let truncated = photo.truncated;
                    let id = match repeat {
                        0 => Cow::Borrowed(&items[index].id),
                        repeat => Cow::Owned(format!("{} again {repeat}", items[index].id)),
                    };
                    let mut random = Random::new(*seed, self.epoch, &id);
                    let Augmented { rgb, saliency } =
                        augment.apply(photo, recipe, self.saliency[index].as_ref(), &mut random);
                    batch.pixels.extend_from_slice(&rgb);
                    moved.push(saliency);
                    batch.labels.push(items[index].class.map_or(u32::MAX, |class| class as u32));
                    batch.items.push(index);
                    if truncated {
                        batch.truncated.push(index);
                    }
                    laps.lap(Stage::Augment);
                }
                Err(reason) => batch.broken.push((index, reason)),
            }
        }
        // Photos that can't be decoded are not among them.
        let mut random = Random::new(*seed, self.epoch, &format!("mix of batch {turn}"));
        let size = (recipe.width, recipe.height);
        batch.mixed = mix(augment, size, &mut batch.pixels, &batch.labels, &moved, &mut random);
        laps.lap(Stage::Augment);
        clock.keep(laps, turn, self.thread);
        Some(batch)
    }
}

/// The batches of one epoch.
pub struct Epoch {
    workers: Vec<(Receiver<Batch>, JoinHandle<()>)>,
    stopped: Arc<AtomicBool>,
    shared: Arc<Shared>,
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
            Ok(batch) => {
                self.shared.clock.taken();
                Some(batch)
            }
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
        self.shared.clock.none_ready();
    }
}
