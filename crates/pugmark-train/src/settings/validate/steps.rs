//! Whether the settings of the steps make sense, by themselves and together.

use std::fmt::Display;

use pugmark_engine::Freeze;

use super::SettingsError;
use crate::{Schedule, TrainSettings};

impl TrainSettings {
    /// Checks what decides the steps: schedule, clipping, averaging, where they end.
    pub(super) fn validate_steps(&self) -> Result<(), SettingsError> {
        let positive = |value: f32| value >= 0.0 && value.is_finite();
        let scheduled = |schedule| self.schedule == schedule;
        let off_or_more = "it must be 0 (off) or more";
        let checks: [(&'static str, &dyn Display, bool, &str); 20] = [
            (
                "warmup_epochs",
                &self.warmup_epochs,
                self.warmup_epochs >= 0.0 && self.warmup_epochs < f64::from(self.epochs),
                "it must be 0 or more, and less than `epochs`",
            ),
            (
                "min_learning_rate",
                &self.min_learning_rate,
                (0.0..=self.learning_rate).contains(&self.min_learning_rate),
                "it must be 0 or more, and at most `learning_rate`",
            ),
            (
                "min_learning_rate",
                &self.min_learning_rate,
                self.min_learning_rate == 0.0 || scheduled(Schedule::Cosine),
                "only the schedule `cosine` ends at it",
            ),
            (
                "step_epochs",
                &self.step_epochs,
                self.step_epochs == 0 || scheduled(Schedule::Step),
                "only the schedule `step` takes it",
            ),
            (
                "step_epochs",
                &self.step_epochs,
                self.step_epochs > 0 || !scheduled(Schedule::Step),
                "the schedule `step` needs the epochs between two drops",
            ),
            (
                "step_factor",
                &self.step_factor,
                self.step_factor > 0.0 && self.step_factor < 1.0,
                "it must be between 0 and 1",
            ),
            (
                "layer_decay",
                &self.layer_decay,
                self.layer_decay > 0.0 && self.layer_decay <= 1.0,
                "it must be above 0 and at most 1 (off)",
            ),
            ("clip_norm", &self.clip_norm, positive(self.clip_norm), off_or_more),
            ("clip_value", &self.clip_value, positive(self.clip_value), off_or_more),
            ("clip_adaptive", &self.clip_adaptive, positive(self.clip_adaptive), off_or_more),
            ("accumulate", &self.accumulate, self.accumulate > 0, "it must be 1 (off) or more"),
            ("ema", &self.ema, (0.0..1.0).contains(&self.ema), "it must be at least 0 (off) and below 1"),
            (
                "average_best",
                &self.average_best,
                self.average_best != 1 && self.average_best <= 100,
                "it must be 0 (off) or from 2 to 100 epochs",
            ),
            (
                "freeze",
                &self.freeze,
                self.freezable().is_none_or(|stages| (1..=stages).contains(&self.frozen_stages())),
                "",
            ),
            (
                "unfreeze_after",
                &self.unfreeze_after,
                self.unfreeze_after == 0 || self.freeze != Freeze::None,
                "nothing is frozen: set `freeze` to backbone or to a number of stages",
            ),
            (
                "unfreeze_after",
                &self.unfreeze_after,
                self.unfreeze_after == 0 || self.unfreeze_after < self.epochs,
                "it must be less than `epochs`, or nothing is ever thawed",
            ),
            (
                "clip_value",
                &self.clip_value,
                self.clip_value == 0.0 || self.clip_norm == 0.0,
                "`clip_norm` is set too: choose one",
            ),
            (
                "clip_adaptive",
                &self.clip_adaptive,
                self.clip_adaptive == 0.0 || (self.clip_norm == 0.0 && self.clip_value == 0.0),
                "`clip_norm` or `clip_value` is set too: choose one",
            ),
            (
                "batch_size",
                &self.batch_size,
                self.batch_size.checked_mul(self.accumulate).is_some_and(|photos| photos <= 1 << 20),
                "a step of more than a million photos, `accumulate` counted, is no step",
            ),
            (
                "memory",
                &self.memory,
                self.memory == 0 || self.batch_size == 0,
                "it chooses the batch size where `batch_size` is `auto`",
            ),
        ];
        for (name, value, valid, why) in checks {
            if !valid {
                let why = match (name, self.freezable()) {
                    ("freeze", Some(stages)) => {
                        format!("{} has {stages} stages before its head: 1 to {stages}", self.model)
                    }
                    _ => why.into(),
                };
                return Err(SettingsError { name, value: value.to_string(), why });
            }
        }
        Ok(())
    }

    /// Stages of the model that can be frozen; none where none is to be.
    fn freezable(&self) -> Option<usize> {
        matches!(self.freeze, Freeze::Stages(_)).then(|| self.model.graph(2).stages() - 1)
    }

    fn frozen_stages(&self) -> usize {
        if let Freeze::Stages(stages) = self.freeze { stages } else { 0 }
    }
}
