//! What the model says of the validation part.

use std::time::Instant;

use pugmark_eval::{Evaluation, evaluate, fit_temperature};
use pugmark_graph::Tensors;
use pugmark_model::softmax;

use super::{Session, steps_done};
use crate::profile::Phase;
use crate::tensorboard::Mistakes;
use crate::train::prepare::Loaded;
use crate::{Event, TrainError};

/// The validation part in numbers.
pub(super) struct Validation {
    pub(super) loss: f64,
    pub(super) accuracy: f64,
    pub(super) macro_f1: f64,
    /// Photos by class and by what they are taken for.
    pub(super) confusion: Vec<Vec<u64>>,
    /// What the logits are to be divided by.
    pub(super) temperature: f32,
    pub(super) seconds: f64,
}

impl Session<'_, '_> {
    /// Runs the validation part; none when stopped. Of a loss that is no number it says nothing else.
    pub(super) fn validate(
        &mut self,
        tensors: &Tensors,
        epoch: u32,
    ) -> Result<Option<Validation>, TrainError> {
        let started = Instant::now();
        self.report.profile.enter(Phase::Validation);
        self.inference.set_tensors(tensors)?;
        let classes = self.state.card.classes.len();
        let (mut labels, mut logits, mut loss) = (Vec::new(), Vec::new(), 0.0);
        let mut done = 0;
        let mut mistakes = self.report.board.is_some().then(Mistakes::default);
        for Loaded { batch, features } in self.photos.1.epoch(0, 0) {
            if self.stopped() {
                return Ok(None);
            }
            self.report.damaged_batch(&mut self.state.damaged, &self.photos.1, &batch)?;
            if !batch.labels.is_empty() {
                let images = batch.labels.len();
                let rows = match features.as_slice() {
                    [] => self.inference.logits(images, &batch.pixels)?,
                    features => self.inference.logits_of_features(images, features)?,
                };
                let bytes = batch.pixels.len() / images;
                for (at, (row, &label)) in rows.chunks_exact(classes).zip(&batch.labels).enumerate() {
                    let of_photo = cross_entropy(row, label as usize);
                    loss += of_photo;
                    if let Some(mistakes) = &mut mistakes {
                        let id = &self.photos.1.items[batch.items[at]].id;
                        let pixels = &batch.pixels[at * bytes..(at + 1) * bytes];
                        mistakes.add(row, label as usize, of_photo, id, pixels);
                    }
                    labels.push(label as usize);
                }
                logits.extend(rows);
            }
            done += batch.items.len() + batch.broken.len();
            let total = self.photos.1.items.len();
            self.report.event(Event::Validating { epoch, done, total })?;
            self.watch_beat()?;
        }
        self.report.profile.enter(Phase::Other);
        self.check_decoded(labels.len() as u64, false)?;
        if let (Some(board), Some(mistakes)) = (&mut self.report.board, mistakes) {
            let step = steps_done(&self.state, self.photos.0.loader.batches());
            let recipe = &self.state.card.recipe;
            let size = (recipe.width, recipe.height);
            board.mistakes(step, &mistakes, &self.state.card.classes, size)?;
        }
        let loss = loss / labels.len() as f64;
        if !loss.is_finite() {
            return Ok(Some(Validation {
                loss,
                accuracy: 0.0,
                macro_f1: 0.0,
                confusion: Vec::new(),
                temperature: 1.0,
                seconds: 0.0,
            }));
        }
        let temperature = fit_temperature(&labels, &logits);
        softmax(&mut logits, classes, temperature);
        let evaluation = evaluate(&self.state.card.classes, &labels, &logits)?;
        let seconds = started.elapsed().as_secs_f64();
        self.validation = Some(seconds);
        let Evaluation { accuracy, macro_f1, confusion, .. } = evaluation;
        Ok(Some(Validation { loss, accuracy, macro_f1, confusion, temperature, seconds }))
    }
}

/// -ln(softmax(logits)[label]).
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - most).exp()).sum();
    sum.ln() - f64::from(logits[label] - most)
}
