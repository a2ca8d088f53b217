//! What a loader's threads do with their time.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What is done for a photo, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Bytes from a file, or a photo from the cache.
    Read,
    /// Bytes to pixels.
    Decode,
    /// Pixels to the size that is kept.
    Resize,
    /// Random changes, mixing included.
    Augment,
}

impl Stage {
    /// In the order they are done.
    pub const ALL: [Self; 4] = [Self::Read, Self::Decode, Self::Resize, Self::Augment];
}

/// How long a thread worked on a batch, and on what.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchTime {
    /// Its place in the epoch, from 0.
    pub batch: usize,
    /// The thread, from 0.
    pub thread: usize,
    /// When the thread began with it.
    pub began: Instant,
    /// When it was whole.
    pub ended: Instant,
    /// Seconds in each of [`Stage::ALL`].
    pub seconds: [f64; 4],
}

/// Off until it is asked for.
#[derive(Debug, Default)]
pub(super) struct Clock {
    on: AtomicBool,
    /// In milliseconds, before each photo is read.
    sleep: AtomicU64,
    times: Mutex<Vec<BatchTime>>,
    ready: AtomicUsize,
}

impl Clock {
    pub(super) fn turn_on(&self) {
        let sleep = std::env::var("PUGMARK_LOADER_SLEEP_MS").ok().and_then(|text| text.parse().ok());
        self.sleep.store(sleep.unwrap_or(0), Ordering::Relaxed);
        self.on.store(true, Ordering::Relaxed);
    }

    pub(super) fn take(&self) -> Vec<BatchTime> {
        std::mem::take(&mut *self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A batch begins.
    pub(super) fn laps(&self) -> Laps {
        let now = self.on.load(Ordering::Relaxed).then(Instant::now);
        let sleep = Duration::from_millis(self.sleep.load(Ordering::Relaxed));
        Laps { began: now, since: now, sleep, seconds: [0.0; 4] }
    }

    /// A batch is whole.
    pub(super) fn keep(&self, laps: Laps, batch: usize, thread: usize) {
        let Laps { began: Some(began), since: Some(ended), seconds, .. } = laps else { return };
        let time = BatchTime { batch, thread, began, ended, seconds };
        self.times.lock().unwrap_or_else(PoisonError::into_inner).push(time);
    }

    pub(super) fn made(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn taken(&self) {
        // Two epochs of a loader at once share the count.
        let _ = self.ready.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ready| ready.checked_sub(1));
    }

    pub(super) fn none_ready(&self) {
        self.ready.store(0, Ordering::Relaxed);
    }

    pub(super) fn ready(&self) -> usize {
        self.ready.load(Ordering::Relaxed)
    }
}

/// A lap clock for one batch; does nothing where the loader is not timed.
pub(super) struct Laps {
    began: Option<Instant>,
    since: Option<Instant>,
    sleep: Duration,
    seconds: [f64; 4],
}

impl Laps {
    /// What was done since the last lap was that.
    pub(super) fn lap(&mut self, stage: Stage) {
        if let Some(since) = &mut self.since {
            let now = Instant::now();
            self.seconds[stage as usize] += (now - *since).as_secs_f64();
            *since = now;
        }
    }

    pub(super) fn sleep(&self) {
        if !self.sleep.is_zero() {
            thread::sleep(self.sleep);
        }
    }
}
