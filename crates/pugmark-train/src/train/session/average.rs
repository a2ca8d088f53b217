//! The average of the best epochs.

use std::ops::ControlFlow;

use pugmark_graph::{Tensor, Tensors};
use pugmark_model::{Model, ModelCard};

use super::{Session, Validation};
use crate::checkpoint::{keep_candidate, read_candidate};
use crate::{EpochMetrics, Event, TrainError};

impl Session<'_, '_> {
    /// Keeps the weights of the epoch that is just done, if it is among the best ones.
    pub(super) fn keep_candidate(&mut self, epoch: u32, tensors: &Tensors) -> Result<(), TrainError> {
        let most = self.settings.average_best;
        if most == 0 {
            return Ok(());
        }
        let by = self.settings.best_by;
        let state = &mut self.state;
        let row = |epoch: u32| state.rows.iter().find(|row| row.epoch == epoch);
        let beaten = |other: &u32| match (row(epoch), row(*other)) {
            (Some(new), Some(old)) => new.beats(old, by),
            _ => false,
        };
        let place = state.candidates.iter().position(beaten).unwrap_or(state.candidates.len());
        state.candidates.insert(place, epoch);
        state.candidates.truncate(most);
        state.averaged = None;
        if state.candidates.contains(&epoch) {
            keep_candidate(&self.folder.checkpoint(), epoch, &self.whole(tensors.clone()))?;
        }
        Ok(())
    }

    /// Greedy soup (arXiv 2203.05482): from the best epoch on, each of the next best is averaged in where validation does not
    /// get worse. Running statistics are averaged with the weights. The best model becomes what comes out; breaks off when
    /// stopped.
    pub(super) fn average_best(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let epochs = self.state.candidates.clone();
        let row = |epoch: &u32| self.state.rows.iter().find(|row| row.epoch == *epoch).cloned();
        let Some((first, mut best)) = epochs.first().and_then(|epoch| Some((*epoch, row(epoch)?))) else {
            return Ok(ControlFlow::Continue(()));
        };
        let folder = self.folder.checkpoint();
        let alone = best.clone();
        let mut soup = Soup::new(read_candidate(&folder, first)?);
        let mut tensors = soup.mean();
        let mut taken = vec![first];
        let Some(Validation { mut temperature, .. }) = self.validate(&tensors, self.state.epochs_done)?
        else {
            return Ok(ControlFlow::Break(()));
        };
        for &epoch in &epochs[1..] {
            let with = soup.with(&read_candidate(&folder, epoch)?);
            let mean = with.mean();
            let Some(validation) = self.validate(&mean, self.state.epochs_done)? else {
                return Ok(ControlFlow::Break(()));
            };
            let Validation { loss, accuracy, macro_f1, temperature: fitted, .. } = validation;
            let row =
                EpochMetrics { val_loss: loss, val_acc: accuracy, val_macro_f1: macro_f1, ..best.clone() };
            if loss.is_finite() && !best.beats(&row, self.settings.best_by) {
                (soup, tensors, best, temperature) = (with, mean, row, fitted);
                taken.push(epoch);
            }
        }
        let metrics = best.repeatable();
        let card = ModelCard { metrics, temperature, epoch: first, ..self.state.card.clone() };
        Model { card, tensors: self.whole(tensors) }.write(&self.folder.best())?;
        self.report.event(Event::Saved(&self.folder.best()))?;
        self.state.averaged = Some(best.clone());
        self.save()?;
        let text = match taken.as_slice() {
            [_] => format!(
                "no average of the best epochs ({}) is as good in validation as epoch {first}: it is the best model",
                list(&epochs)
            ),
            _ => format!(
                "the best model is the average of the epochs {}, of {} tried: validation accuracy {:.4} after {:.4}, loss {:.4} after {:.4}",
                list(&taken),
                list(&epochs),
                best.val_acc,
                alone.val_acc,
                best.val_loss,
                alone.val_loss
            ),
        };
        self.report.event(Event::Note(&text))?;
        Ok(ControlFlow::Continue(()))
    }
}

fn list(epochs: &[u32]) -> String {
    epochs.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
}

/// Sums of several models' tensors.
struct Soup {
    sum: Vec<(String, Vec<usize>, Vec<f64>)>,
    models: f64,
}

impl Soup {
    fn new(tensors: Tensors) -> Self {
        let sum = tensors.into_iter().map(|(name, Tensor { shape, values })| {
            (name, shape, values.into_iter().map(f64::from).collect())
        });
        Self { sum: sum.collect(), models: 1.0 }
    }

    /// One more model of the same graph.
    fn with(&self, tensors: &Tensors) -> Self {
        let add = |(name, shape, sum): &(String, Vec<usize>, Vec<f64>)| {
            let values = tensors.get(name).map_or(&[][..], |tensor| &tensor.values);
            let sum = sum.iter().zip(values).map(|(sum, &value)| sum + f64::from(value)).collect();
            (name.clone(), shape.clone(), sum)
        };
        Self { sum: self.sum.iter().map(add).collect(), models: self.models + 1.0 }
    }

    fn mean(&self) -> Tensors {
        let mean = |(name, shape, sum): &(String, Vec<usize>, Vec<f64>)| {
            let values = sum.iter().map(|sum| (sum / self.models) as f32).collect();
            (name.clone(), Tensor { shape: shape.clone(), values })
        };
        self.sum.iter().map(mean).collect()
    }
}
