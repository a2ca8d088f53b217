//! A tiny data set, an observer that interrupts, and a training call.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]
#![allow(dead_code, reason = "each test file uses its share")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use image::{Rgb, RgbImage};
use pugmark_data::{Dataset, Random, ReadOptions};
use pugmark_engine::Cpu;
use pugmark_graph::Architecture;
use pugmark_train::{Event, Mode, Observer, Outcome, TrainError, TrainSettings, train};

pub const CLASSES: [&str; 3] = ["blue", "green", "red"];

/// Photos of noise with a tint: a class folder each.
pub struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// `photos` of each class.
    pub fn new(photos: usize) -> Self {
        let world = Self { folder: tempfile::tempdir().unwrap() };
        for (class, name) in CLASSES.iter().enumerate() {
            fs::create_dir_all(world.photos().join(name)).unwrap();
            for number in 0..photos {
                world.photo(&format!("{name}/{number:03}.png"), 2 - class);
            }
        }
        world
    }

    /// Draws a photo with a tint of one channel.
    pub fn photo(&self, id: &str, channel: usize) {
        let mut random = Random::new(11, 0, id);
        let picture = RgbImage::from_fn(36, 28, |_, _| {
            let mut pixel = [0; 3].map(|_: u8| random.below(160) as u8);
            pixel[channel] += 95;
            Rgb(pixel)
        });
        picture.save(self.photos().join(id)).unwrap();
    }

    pub fn photos(&self) -> PathBuf {
        self.folder.path().join("photos")
    }

    pub fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn read(&self) -> Dataset {
        pugmark_data::read(&self.photos(), &ReadOptions::default()).unwrap()
    }
}

/// A training of seconds: 5 steps an epoch with 12 photos of each class.
pub fn settings() -> TrainSettings {
    TrainSettings {
        model: Architecture::SimpleCnn,
        epochs: 2,
        batch_size: 6,
        image_size: 16,
        learning_rate: 0.003,
        loader_threads: 1,
        checkpoint_minutes: 0.0,
        seed: 3,
        ..TrainSettings::default()
    }
}

type React<'a> = Box<dyn FnMut(&Event<'_>, &AtomicBool) + 'a>;

/// Keeps what happened; `react` may stop the training.
pub struct Watch<'a> {
    pub events: Vec<String>,
    pub stop: AtomicBool,
    react: React<'a>,
}

impl<'a> Watch<'a> {
    pub fn new(react: impl FnMut(&Event<'_>, &AtomicBool) + 'a) -> Self {
        Self { events: Vec::new(), stop: AtomicBool::new(false), react: Box::new(react) }
    }

    pub fn quiet() -> Self {
        Self::new(|_, _| {})
    }

    /// Stops after so many steps.
    pub fn stop_after(steps: usize) -> Self {
        let mut done = 0;
        Self::new(move |event, stop| {
            done += usize::from(matches!(event, Event::Step { .. }));
            stop.store(done >= steps, Ordering::Relaxed);
        })
    }

    /// Trains on one compute thread.
    pub fn train(
        &mut self,
        data: &Dataset,
        settings: &TrainSettings,
        out: &Path,
        mode: Mode,
    ) -> Result<Outcome, TrainError> {
        let engine = Cpu::new(1).unwrap();
        let Self { events, stop, react } = self;
        let stop = &*stop;
        train(data, settings, out, mode, &engine, stop, &mut Ears { events, stop, react })
    }

    /// Lends its ears to something else that tells events.
    pub fn listen<R>(&mut self, run: impl FnOnce(&mut dyn Observer) -> R) -> R {
        let Self { events, stop, react } = self;
        run(&mut Ears { events, stop, react })
    }

    /// Whether an event says so.
    pub fn heard(&self, text: &str) -> bool {
        self.events.iter().any(|event| event.contains(text))
    }
}

/// Hears nothing.
pub struct Deaf;

impl Observer for Deaf {
    fn event(&mut self, _: Event<'_>) {}
}

struct Ears<'e, 'a> {
    events: &'e mut Vec<String>,
    stop: &'e AtomicBool,
    react: &'e mut React<'a>,
}

impl Observer for Ears<'_, '_> {
    fn event(&mut self, event: Event<'_>) {
        self.events.push(format!("{event:?}"));
        (self.react)(&event, self.stop);
    }
}

/// What must not depend on interruptions: both models, and the metrics without times.
pub fn result(run: &Path) -> (Vec<u8>, Vec<u8>, Vec<Vec<String>>) {
    let read = |name: &str| fs::read(run.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    let metrics = String::from_utf8(read("metrics.csv")).unwrap();
    let rows: Vec<Vec<String>> =
        metrics.lines().map(|line| line.split(',').map(String::from).collect()).collect();
    let lasting =
        ["epoch", "train_loss", "train_acc", "val_loss", "val_acc", "val_macro_f1", "learning_rate"];
    assert_eq!(rows[0][..lasting.len()], lasting);
    let rows = rows.into_iter().map(|row| row[..lasting.len()].to_vec()).collect();
    (read("best.safetensors"), read("last.safetensors"), rows)
}
