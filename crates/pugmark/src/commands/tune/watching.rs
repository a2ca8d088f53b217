//! What a trial tells while it trains, and what ends it.

use std::fs::{File, OpenOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pugmark_engine::Freeze;
use pugmark_train::{EpochMetrics, Event, Observer, TrainSettings};
use pugmark_tune::{Metrics, StudyError};

use super::words::{METRICS, metrics};
use super::workers::Workers;

const WAIT: Duration = Duration::from_millis(20);

/// Hears a trial's training for the study.
pub(super) struct Watching<'a> {
    workers: &'a Workers<'a>,
    /// None for the training of the best settings at the end.
    pub(super) number: Option<u32>,
    epochs: u32,
    frozen: bool,
    /// Ends the training.
    pub(super) stop: Arc<AtomicBool>,
    /// Held while a frozen backbone's features are computed: those of one trial do for all.
    features: Option<File>,
    /// After which epoch the pruner ended it, and what it had measured.
    pub(super) pruned: Option<(u32, Metrics)>,
    /// Why the study can't be told any more.
    pub(super) failed: Option<StudyError>,
}

impl<'a> Watching<'a> {
    pub(super) fn new(workers: &'a Workers<'a>, number: Option<u32>, settings: &TrainSettings) -> Self {
        Self {
            workers,
            number,
            epochs: settings.epochs,
            frozen: settings.freeze == Freeze::Backbone,
            stop: Arc::default(),
            features: None,
            pruned: None,
            failed: None,
        }
    }

    /// Waits until nobody computes features, on a file system that has locks.
    pub(super) fn wait_for_features(&mut self) {
        if !self.frozen {
            return;
        }
        let path = self.workers.search.folder.join(".features.lock");
        let Ok(file) = OpenOptions::new().append(true).create(true).open(path) else { return };
        while !self.workers.are_stopping() {
            match file.try_lock() {
                Err(std::fs::TryLockError::WouldBlock) => std::thread::sleep(WAIT),
                _ => {
                    self.features = Some(file);
                    break;
                }
            }
        }
    }

    /// Notes an epoch, and asks the pruner.
    pub(super) fn epoch(&mut self, row: &EpochMetrics) {
        let Some(number) = self.number else { return };
        if self.pruned.is_some() || self.failed.is_some() {
            return;
        }
        let measured = metrics(row);
        let mut desk = self.workers.desk();
        if let Err(error) = desk.study.report(number, row.epoch, measured.clone()) {
            self.failed = Some(error);
            self.stop.store(true, Ordering::Relaxed);
            return;
        }
        // Nothing is saved by ending a trial that ends.
        let prunes = |pruner| desk.study.prunes(pruner, number, row.epoch);
        if row.epoch < self.epochs && desk.pruner.as_deref().is_some_and(prunes) {
            self.pruned = Some((row.epoch, measured));
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn status(&self, text: &str) {
        self.workers.status(self.number, text);
    }
}

impl Observer for Watching<'_> {
    fn event(&mut self, event: Event<'_>) {
        if self.workers.are_stopping() {
            self.stop.store(true, Ordering::Relaxed);
        }
        match event {
            Event::Start { .. } => self.features = None,
            Event::Features { done, total, images_per_sec, .. } => {
                self.status(&format!("features of {done}/{total} photos, {images_per_sec:.0}/s"));
            }
            Event::Step { epoch, step, steps, .. } => {
                let epochs = self.epochs;
                self.status(&format!("epoch {epoch}/{epochs}, step {step}/{steps}"));
            }
            Event::Epoch(row) => {
                self.epoch(row);
                self.status(&format!(
                    "epoch {}/{}: {} {:.4}",
                    row.epoch, self.epochs, METRICS[0], row.val_loss
                ));
            }
            Event::Warning(text) => self.workers.say(text.to_owned()),
            Event::BrokenPhoto { id, reason } => self.workers.say(format!("left out: {id}: {reason}")),
            // Findings are in the trial's own files.
            Event::Note(_)
            | Event::Finding(_)
            | Event::Validating { .. }
            | Event::Looking { .. }
            | Event::Searching { .. }
            | Event::Saved(_) => {}
        }
    }
}
