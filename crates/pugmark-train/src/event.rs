use std::path::Path;
use std::time::Duration;

use crate::{EpochMetrics, Finding};

/// What happens in a training, for progress bars and logs.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// Something that makes the numbers less trustworthy.
    Warning(&'a str),
    /// Something worth knowing.
    Note(&'a str),
    /// Features of a frozen backbone were computed, before the first step.
    Features {
        /// Photos done.
        done: usize,
        /// Photos whose features are not known yet; a photo counts once a view.
        total: usize,
        /// Mean so far.
        images_per_sec: f64,
        /// Time until all are done.
        left: Option<Duration>,
    },
    /// Everything is read; the first step comes next.
    Start {
        /// The device in words.
        engine: &'a str,
        /// Trained values of the model, frozen ones included.
        parameters: usize,
        /// Photos of the training part.
        train: usize,
        /// Photos of the validation part.
        val: usize,
        /// Photos of the test part.
        test: usize,
        /// Epochs in all.
        epochs: u32,
        /// The epoch that comes next; above 1 in a resumed run.
        first_epoch: u32,
    },
    /// A step is done.
    Step {
        /// From 1.
        epoch: u32,
        /// Steps done in this epoch.
        step: usize,
        /// Steps of an epoch.
        steps: usize,
        /// Photos in this step.
        images: usize,
        /// Loss of this step.
        loss: f64,
        /// Mean over this epoch so far, without time spent saving.
        images_per_sec: f64,
        /// Share of this epoch's time that went into waiting for photos, in [0, 1].
        waiting: f64,
        /// Time until the last epoch is done; none before anything was measured.
        left: Option<Duration>,
    },
    /// A batch of the validation part is done.
    Validating {
        /// From 1.
        epoch: u32,
        /// Photos done.
        done: usize,
        /// Photos of the part.
        total: usize,
    },
    /// The model was asked what is important in a batch of training photos, before an epoch with KeepAugment.
    Looking {
        /// From 1.
        epoch: u32,
        /// Photos done.
        done: usize,
        /// Photos of the part.
        total: usize,
    },
    /// A step of the learning-rate range test is done.
    Searching {
        /// Steps done.
        step: usize,
        /// Steps in all; the test may end before.
        steps: usize,
        /// Learning rate of this step.
        learning_rate: f64,
        /// Loss before this step.
        loss: f64,
    },
    /// An epoch is done and saved.
    Epoch(&'a EpochMetrics),
    /// The watch found something; told once a rule and tensor.
    Finding(&'a Finding),
    /// A photo can't be decoded and is left out; told once a photo.
    BrokenPhoto {
        /// Its identity in the data set.
        id: &'a str,
        /// Why, in one sentence.
        reason: &'a str,
    },
    /// A model file, the checkpoint folder or the predictions were saved.
    Saved(&'a Path),
}

/// Hears what happens in a training.
pub trait Observer {
    /// Called on the training's thread; the training waits for it.
    fn event(&mut self, event: Event<'_>);
}
