//! Whether settings make sense.

mod steps;

use std::fmt::Display;

use thiserror::Error;

use super::TrainSettings;

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("setting `{name}` is {value}: {why}")]
pub struct SettingsError {
    /// Its name in settings files; the flag has dashes for underscores.
    pub name: &'static str,
    /// The value given.
    pub value: String,
    /// What it must be.
    pub why: String,
}

impl TrainSettings {
    /// Checks every setting by itself and the sizes against the model.
    ///
    /// # Errors
    /// The first setting that makes no sense.
    pub fn validate(&self) -> Result<(), SettingsError> {
        let share = |value: f64| (0.0..1.0).contains(&value);
        let checks: [(&'static str, &dyn Display, bool, &str); 10] = [
            ("epochs", &self.epochs, self.epochs > 0, "it must be 1 or more"),
            (
                "learning_rate",
                &self.learning_rate,
                self.learning_rate > 0.0 && self.learning_rate.is_finite(),
                "it must be above 0",
            ),
            (
                "weight_decay",
                &self.weight_decay,
                self.weight_decay >= 0.0 && self.weight_decay.is_finite(),
                "it must be 0 or more",
            ),
            ("momentum", &self.momentum, share(self.momentum.into()), "it must be at least 0 and below 1"),
            (
                "image_size",
                &self.image_size,
                (1..=4096).contains(&self.image_size),
                "it must be from 1 to 4096 pixels",
            ),
            (
                "label_smoothing",
                &self.label_smoothing,
                share(self.label_smoothing.into()),
                "it must be at least 0 and below 1",
            ),
            (
                "val",
                &self.val,
                self.val > 0.0 && share(self.val),
                "it must be a share between 0 and 1, such as 0.25",
            ),
            (
                "test",
                &self.test,
                share(self.test) && self.val + self.test < 1.0,
                "it must be a share that leaves, together with `val`, photos to train on",
            ),
            (
                "seed",
                &self.seed,
                i64::try_from(self.seed).is_ok(),
                "it must be below 2^63, the largest number in TOML",
            ),
            (
                "checkpoint_minutes",
                &self.checkpoint_minutes,
                self.checkpoint_minutes >= 0.0 && self.checkpoint_minutes.is_finite(),
                "it must be 0 or more",
            ),
        ];
        for (name, value, valid, why) in checks {
            if !valid {
                return Err(SettingsError { name, value: value.to_string(), why: why.into() });
            }
        }
        self.validate_augmentation()?;
        self.validate_steps()?;
        if let (Some(fold), None) = (self.fold, &self.split_file) {
            let why = "it is one of a file's folds: name the file with `--split-file`".into();
            return Err(SettingsError { name: "fold", value: fold.to_string(), why });
        }
        for (name, value) in [("stochastic_depth", self.stochastic_depth), ("dropout", self.dropout)] {
            if let Some(value) = value.filter(|&value| !share(value.into())) {
                let why = "it must be at least 0 and below 1".into();
                return Err(SettingsError { name, value: value.to_string(), why });
            }
        }
        if let Some(value) = self.stochastic_depth.filter(|_| !self.model.has_stochastic_depth()) {
            let why = format!("{} has no stochastic depth: leave it out", self.model);
            return Err(SettingsError { name: "stochastic_depth", value: value.to_string(), why });
        }
        self.check_cache_features()?;
        self.model.graph(2).shapes(self.image_size, self.image_size).map(drop).map_err(|e| SettingsError {
            name: "image_size",
            value: self.image_size.to_string(),
            why: format!("{} can't take it: {e}", self.model),
        })
    }
}
