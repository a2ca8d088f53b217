use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;

use pugmark_data::{Augment, Item, Limits, Loader, LoaderSettings};
use pugmark_engine::{Engine, Inference};

use crate::{Model, ModelCard, ModelError};

/// The one door through which photos become probabilities.
pub struct Classifier {
    card: ModelCard,
    batch: usize,
    plan: Box<dyn Inference>,
}

/// What a model says of one photo.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// Identity of the photo in its data set.
    pub id: String,
    /// Where it is.
    pub path: PathBuf,
    /// Its true class, where it is known.
    pub class: Option<usize>,
    /// One probability a class, or why the photo can't be decoded.
    pub outcome: Result<Vec<f32>, String>,
    /// The file ends early; what is there was used.
    pub truncated: bool,
}

impl Classifier {
    /// Opens a model file, or the best model of a run folder, for at most `batch` photos at a time.
    ///
    /// # Errors
    /// What [`Model::open`] gives, or [`ModelError::Engine`].
    pub fn open(path: &Path, engine: &dyn Engine, batch: usize) -> Result<Self, ModelError> {
        Self::from_model(Model::open(path)?, engine, batch)
    }

    /// A classifier for at most `batch` photos at a time.
    ///
    /// # Errors
    /// [`ModelError::Engine`] when the tensors are not those of the architecture.
    pub fn from_model(model: Model, engine: &dyn Engine, batch: usize) -> Result<Self, ModelError> {
        let Model { card, tensors } = model;
        let graph = card.architecture.graph(card.classes.len());
        let plan = engine.inference(&graph, &tensors, &card.input(batch), &[])?;
        Ok(Self { card, batch, plan })
    }

    /// What the model says about itself.
    pub fn card(&self) -> &ModelCard {
        &self.card
    }

    /// Logits (`images x classes`, not divided by the temperature) of pictures made by the recipe (height x width x RGB
    /// each).
    ///
    /// # Errors
    /// [`ModelError::Engine`] when the sizes do not fit.
    pub fn logits(&mut self, images: usize, pixels: &[u8]) -> Result<Vec<f32>, ModelError> {
        Ok(self.plan.logits(images, pixels)?)
    }

    /// Probabilities (`images x classes`) of pictures made by the recipe: softmax of the logits over the temperature.
    ///
    /// # Errors
    /// As [`Classifier::logits`].
    pub fn probabilities(&mut self, images: usize, pixels: &[u8]) -> Result<Vec<f32>, ModelError> {
        let mut values = self.logits(images, pixels)?;
        softmax(&mut values, self.card.classes.len(), self.card.temperature);
        Ok(values)
    }

    /// Predicts photo files in their order, decoded by `threads` threads (see [`loader_threads`]); `on` may stop it.
    ///
    /// # Errors
    /// As [`Classifier::logits`]; a photo that can't be decoded is a prediction, not an error.
    pub fn predict(
        &mut self,
        items: Vec<Item>,
        threads: usize,
        on: &mut dyn FnMut(Prediction) -> ControlFlow<()>,
    ) -> Result<(), ModelError> {
        let settings = LoaderSettings {
            batch_size: self.batch,
            threads: loader_threads(threads),
            seed: 0,
            shuffle: false,
            balanced: false,
            recipe: self.card.recipe.clone(),
            augment: Augment::default(),
            limits: Limits::default(),
            cache_bytes: 0,
        };
        let classes = self.card.classes.len();
        let loader = Loader::new(items.clone(), settings);
        for batch in loader.epoch(0, 0) {
            let images = batch.items.len();
            let values = if images > 0 { self.probabilities(images, &batch.pixels)? } else { Vec::new() };
            let decoded =
                batch.items.iter().zip(values.chunks_exact(classes)).map(|(&i, row)| (i, Ok(row.to_vec())));
            let broken = batch.broken.iter().map(|(i, reason)| (*i, Err(reason.clone())));
            let mut rows: Vec<_> = decoded.chain(broken).collect();
            rows.sort_by_key(|&(index, _)| index);
            for (index, outcome) in rows {
                let Item { id, path, class, .. } = items[index].clone();
                let truncated = batch.truncated.contains(&index);
                if on(Prediction { id, path, class, outcome, truncated }).is_break() {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Threads that decode photos where a setting says `threads`: 0 takes one a core, at most eight.
pub fn loader_threads(threads: usize) -> usize {
    match threads {
        0 => available_parallelism().map_or(1, usize::from).min(8),
        threads => threads,
    }
}

/// Turns rows of `classes` logits into probabilities, in place: softmax(logits / temperature), computed in f64 so that a
/// row sums to 1 for any number of classes.
pub fn softmax(logits: &mut [f32], classes: usize, temperature: f32) {
    let scaled = |value: f32| f64::from(value) / f64::from(temperature);
    for row in logits.chunks_exact_mut(classes) {
        let most = row.iter().map(|&v| scaled(v)).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|&v| (scaled(v) - most).exp()).sum();
        for value in row {
            *value = ((scaled(*value) - most).exp() / sum) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::softmax;

    #[test]
    fn softmax_of_known_logits() {
        // Probabilities in closed form; f32 keeps 2^-24 of them.
        let cases: [(&[f32], f32, &[f32]); 4] = [
            (&[0.0, 0.0], 1.0, &[0.5, 0.5]),
            (&[0.0, 3.0_f32.ln()], 1.0, &[0.25, 0.75]),
            (&[0.0, 2.0 * 3.0_f32.ln()], 2.0, &[0.25, 0.75]),
            (&[1e30, -1e30, 1e30], 1.0, &[0.5, 0.0, 0.5]),
        ];
        for (logits, temperature, expected) in cases {
            let mut row = logits.to_vec();
            softmax(&mut row, logits.len(), temperature);
            for (value, expected) in row.iter().zip(expected) {
                assert!((value - expected).abs() < 1e-7, "{logits:?} / {temperature}: {row:?}");
            }
        }
    }
}
