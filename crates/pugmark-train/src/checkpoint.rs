//! `checkpoint/`: everything an exact resume needs.

mod files;

use std::collections::BTreeMap;

use pugmark_data::Part;
use pugmark_graph::Tensors;
use pugmark_model::ModelCard;
use serde::{Deserialize, Serialize};

use crate::{EpochMetrics, Plateau, TrainSettings};
pub(crate) use files::{keep_candidate, read_candidate};

const FORMAT: u32 = 1;

/// Where a training is and how it got there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    format: u32,
    /// Counts the saves of the run; part of the tensor file's name.
    save: u64,
    /// What all models of the run say about themselves, without metrics.
    pub(crate) card: ModelCard,
    /// Epochs that are trained, validated and saved.
    pub(crate) epochs_done: u32,
    /// Steps done of the epoch after these.
    pub(crate) step: usize,
    /// What was seen in those steps.
    pub(crate) sums: Sums,
    pub(crate) optimiser_steps: u64,
    pub(crate) schedule: Plateau,
    pub(crate) rows: Vec<EpochMetrics>,
    /// The best epoch, from 1.
    pub(crate) best: Option<u32>,
    /// Damaged photos by id.
    pub(crate) damaged: BTreeMap<String, Damage>,
    /// How much each class counts in the loss, as the run began with it.
    #[serde(default)]
    pub(crate) class_weights: Option<Vec<f32>>,
    /// Why there is no step after these.
    #[serde(default)]
    pub(crate) ended: Option<Ended>,
    /// Time that the run took, in seconds.
    #[serde(default)]
    pub(crate) elapsed: f64,
    /// Learning rate of the last step.
    #[serde(default)]
    pub(crate) learning_rate: Option<f64>,
    /// Epochs whose weights are kept to be averaged, the best one first.
    #[serde(default)]
    pub(crate) candidates: Vec<u32>,
    /// The best model where it is what came of them: an epoch's row with the validation of the average.
    #[serde(default)]
    pub(crate) averaged: Option<EpochMetrics>,
}

/// Why a training ends before its last epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// No better epoch for as many as the settings allow.
    EarlyStopping,
    /// All steps that the settings allow are done.
    MaxSteps,
    /// The time that the settings allow is used up.
    TimeBudget,
    /// The watch found something that more steps do not mend.
    Watch,
}

impl Ended {
    /// Why, in words.
    pub(crate) fn text(self, settings: &TrainSettings, state: &State) -> String {
        let epoch = state.epochs_done;
        match self {
            Self::EarlyStopping => {
                let best = state.best.unwrap_or(epoch);
                format!("stopped early after epoch {epoch}: none since epoch {best} was better")
            }
            Self::MaxSteps => format!("stopped in epoch {epoch}: {} steps are done", settings.max_steps),
            Self::TimeBudget => {
                format!("stopped in epoch {epoch}: the time of {} is used up", settings.time_budget)
            }
            Self::Watch => format!("stopped by the watch in epoch {epoch}; with `--watch warn` it goes on"),
        }
    }
}

/// Running sums of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// Of the photos' losses.
    pub(crate) loss: f64,
    /// Photos classified rightly.
    pub(crate) correct: u64,
    /// Photos.
    pub(crate) images: u64,
    /// Time spent.
    pub(crate) seconds: f64,
    /// Of that, time spent waiting for photos.
    #[serde(default)]
    pub(crate) waiting: f64,
}

/// What is wrong with a photo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub(crate) part: Part,
    /// It is used as far as it goes.
    pub(crate) used: bool,
    pub(crate) reason: String,
}

/// A whole checkpoint.
pub(crate) struct Checkpoint {
    pub(crate) state: State,
    /// Parameters and running statistics.
    pub(crate) tensors: Tensors,
    /// State of the optimiser.
    pub(crate) optimiser: Tensors,
    /// What was important in the photos when the epoch began; empty between epochs and without KeepAugment.
    pub(crate) saliency: Tensors,
    /// What is missing of the last save, where something is, and what that comes to.
    pub(crate) setback: Option<String>,
}

impl State {
    /// The start of a run.
    pub(crate) fn new(card: ModelCard, learning_rate: f64) -> Self {
        Self {
            format: FORMAT,
            save: 0,
            card,
            epochs_done: 0,
            step: 0,
            sums: Sums::default(),
            optimiser_steps: 0,
            schedule: Plateau::new(learning_rate),
            rows: Vec::new(),
            best: None,
            damaged: BTreeMap::new(),
            class_weights: None,
            ended: None,
            elapsed: 0.0,
            learning_rate: None,
            candidates: Vec::new(),
            averaged: None,
        }
    }

    /// Whether no epoch is left to train or to validate.
    pub(crate) fn is_over(&self, epochs: u32) -> bool {
        self.epochs_done >= epochs || (self.ended.is_some() && self.step == 0)
    }

    /// The best epoch's metrics.
    pub(crate) fn best(&self) -> Option<&EpochMetrics> {
        self.rows.iter().find(|row| Some(row.epoch) == self.best)
    }

    /// The best model's metrics: those of the average, where one was made.
    pub(crate) fn best_model(&self) -> Option<&EpochMetrics> {
        self.averaged.as_ref().or(self.best())
    }
}

#[cfg(test)]
pub(crate) mod tests;
