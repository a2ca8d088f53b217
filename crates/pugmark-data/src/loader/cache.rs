//! Resized photos kept from one epoch to the next.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::photo::Photo;

/// Keeps photos until it is full and never throws one out: each is needed once an epoch, in another order each time, so
/// that none is a better guess than those it has.
pub(super) struct Cache {
    slots: Vec<OnceLock<Result<Photo, String>>>,
    free: AtomicU64,
}

impl Cache {
    pub(super) fn new(items: usize, bytes: u64) -> Self {
        let slots = if bytes == 0 { 0 } else { items };
        Self { slots: (0..slots).map(|_| OnceLock::new()).collect(), free: AtomicU64::new(bytes) }
    }

    /// What is kept for an item, else what `prepare` makes.
    pub(super) fn get_or_prepare(
        &self,
        item: usize,
        prepare: impl FnOnce() -> Result<Photo, String>,
    ) -> Result<Photo, String> {
        let Some(slot) = self.slots.get(item) else { return prepare() };
        if let Some(kept) = slot.get() {
            return kept.clone();
        }
        let prepared = prepare();
        let bytes = prepared.as_ref().map_or_else(String::len, |photo| photo.rgb.len()) as u64;
        let take = |free: u64| free.checked_sub(bytes);
        if self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
            && slot.set(prepared.clone()).is_err()
        {
            // Another epoch of the same loader was faster.
            self.free.fetch_add(bytes, Ordering::Relaxed);
        }
        prepared
    }
}
