//! An event file of a training.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pugmark_graph::Tensors;

use super::event::{Data, Event, Histogram, Value, What};
use super::picture::{Mistakes, sheet};
use super::record::record;
use crate::{EpochMetrics, TrainError};

/// Bins of a histogram; TensorBoard draws thirty.
const BINS: usize = 64;
/// What somebody who watches waits for a step, at most.
const FLUSH: Duration = Duration::from_secs(5);

/// Writes events; steps are counted in batches over all epochs.
#[derive(Debug)]
pub(crate) struct Board {
    path: PathBuf,
    file: BufWriter<File>,
    flushed: Instant,
}

impl Board {
    /// A new file in the folder, which is made. What files there say of steps after `steps_done` counts no more.
    pub(crate) fn create(folder: &Path, steps_done: u64) -> Result<Self, TrainError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| TrainError::Save { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        // TensorBoard reads the files of a folder in the order of their names.
        let (seconds, process) = (now() as u64, std::process::id());
        let mut number = 0;
        let (path, file) = loop {
            let path =
                folder.join(format!("events.out.tfevents.{seconds:010}.{number:03}.pugmark.{process}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(failed(&path)(error)),
            }
        };
        let mut board = Self { path, file: BufWriter::new(file), flushed: Instant::now() };
        board.write(0, What::Version)?;
        board.write(steps_done + 1, What::Start)?;
        board.flush()?;
        Ok(board)
    }

    /// A step.
    pub(crate) fn step(
        &mut self,
        step: u64,
        loss: f64,
        learning_rate: f64,
        images_per_sec: f64,
    ) -> Result<(), TrainError> {
        self.scalars(
            step,
            &[
                ("step/loss", loss),
                ("step/learning_rate", learning_rate),
                ("step/images_per_sec", images_per_sec),
            ],
        )?;
        if self.flushed.elapsed() >= FLUSH { self.flush() } else { Ok(()) }
    }

    /// The end of an epoch: its metrics, and how the parameters are spread.
    pub(crate) fn epoch(
        &mut self,
        step: u64,
        row: &EpochMetrics,
        tensors: &Tensors,
    ) -> Result<(), TrainError> {
        self.scalars(
            step,
            &[
                ("epoch/train_loss", row.train_loss),
                ("epoch/train_acc", row.train_acc),
                ("epoch/val_loss", row.val_loss),
                ("epoch/val_acc", row.val_acc),
                ("epoch/val_macro_f1", row.val_macro_f1),
                ("epoch/learning_rate", row.learning_rate),
                ("epoch/images_per_sec", row.images_per_sec),
                ("epoch/seconds", row.seconds),
                ("epoch/number", row.epoch.into()),
            ],
        )?;
        for (name, tensor) in tensors {
            let Some(histogram) = Histogram::of(&tensor.values, BINS) else { continue };
            self.summary(step, &[Value { tag: name, data: Data::Histogram(&histogram) }])?;
        }
        self.flush()
    }

    /// The first photos of a batch, of `(width, height)` pixels, as the model is given them.
    pub(crate) fn photos(
        &mut self,
        step: u64,
        pixels: &[u8],
        (width, height): (usize, usize),
    ) -> Result<(), TrainError> {
        self.picture(step, "training photos", "As the model is given them, augmented.", pixels, width, height)
    }

    /// The worst mistakes of a validation.
    pub(crate) fn mistakes(
        &mut self,
        step: u64,
        mistakes: &Mistakes,
        classes: &[String],
        (width, height): (usize, usize),
    ) -> Result<(), TrainError> {
        let (pixels, words) = mistakes.show(classes);
        self.picture(step, "worst mistakes in validation", &words, &pixels, width, height)
    }

    fn picture(
        &mut self,
        step: u64,
        tag: &str,
        description: &str,
        pixels: &[u8],
        width: usize,
        height: usize,
    ) -> Result<(), TrainError> {
        let Some(sheet) = sheet(pixels, width, height) else { return Ok(()) };
        let data = Data::Image { height: sheet.height, width: sheet.width, jpeg: &sheet.jpeg, description };
        self.summary(step, &[Value { tag, data }])
    }

    fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<(), TrainError> {
        let values: Vec<Value<'_>> =
            values.iter().map(|&(tag, value)| Value { tag, data: Data::Scalar(value as f32) }).collect();
        self.summary(step, &values)
    }

    fn summary(&mut self, step: u64, values: &[Value<'_>]) -> Result<(), TrainError> {
        self.write(step, What::Summary(values))
    }

    fn write(&mut self, step: u64, what: What<'_>) -> Result<(), TrainError> {
        let bytes = record(&Event { wall_time: now(), step, what }.to_bytes());
        let written = self.file.write_all(&bytes);
        self.saved(written)
    }

    /// Hands what was written to the system, whole records.
    pub(crate) fn flush(&mut self) -> Result<(), TrainError> {
        self.flushed = Instant::now();
        let flushed = self.file.flush();
        self.saved(flushed)
    }

    fn saved(&self, result: io::Result<()>) -> Result<(), TrainError> {
        result.map_err(|source| TrainError::Save { path: self.path.clone(), source })
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
