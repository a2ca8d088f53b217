//! Where the time of a training goes: what `--profile` measures and the run's `profile.json` tells.
//!
//! The thread that trains is always in exactly one [`Phase`], so that phases add up to the time the training took. What
//! the loader's threads do meanwhile is told beside them.

mod machine;
mod recorder;
mod spread;
mod steps;
mod summary;
mod trace;
mod verdict;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pugmark_engine::OperatorGroup;
use serde::{Deserialize, Serialize};

use crate::TrainError;

pub(crate) use recorder::Recorder;
pub use spread::Spread;
pub use steps::{Cause, Histogram, Outlier};
pub use trace::TRACED_STEPS;

/// What the thread that trains is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Settings, split, weights and plans, before the first step.
    StartUp,
    /// The features of a frozen backbone.
    Features,
    /// What KeepAugment asks the model before an epoch.
    Saliency,
    /// Waiting for the loader's next batch.
    Loading,
    /// From pixels to the loss.
    Forward,
    /// From the loss to the gradients.
    Backward,
    /// Moving the parameters, and packing them for the kernels.
    Optimiser,
    /// The validation part, its loading included.
    Validation,
    /// Models, checkpoints, metrics and this profile.
    Saving,
    /// The best model's predictions at the end.
    Prediction,
    /// Counting, telling, and whatever else is in none of these.
    Other,
}

impl Phase {
    /// All of them, in the order of a training.
    pub const ALL: [Self; 11] = [
        Self::StartUp,
        Self::Features,
        Self::Saliency,
        Self::Loading,
        Self::Forward,
        Self::Backward,
        Self::Optimiser,
        Self::Validation,
        Self::Saving,
        Self::Prediction,
        Self::Other,
    ];

    /// The phase in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartUp => "start-up",
            Self::Features => "features of the backbone",
            Self::Saliency => "what is important (KeepAugment)",
            Self::Loading => "waiting for photos",
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Optimiser => "optimiser",
            Self::Validation => "validation",
            Self::Saving => "saving",
            Self::Prediction => "predictions",
            Self::Other => "other",
        }
    }
}

/// `profile.json`: one process's part of a training. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Of this file.
    pub format: u32,
    /// Of pugmark.
    pub version: String,
    /// The device in words.
    pub engine: String,
    /// Cores that the process may use.
    pub cores: usize,
    /// Seconds since 1970 when the training began.
    pub began: f64,
    /// From then until this was written.
    pub seconds: f64,
    /// The epoch that was trained first; above 1 in a resumed run, whose earlier epochs are not in here.
    pub first_epoch: u32,
    /// What limits the training and what to do about it, in one sentence.
    pub verdict: String,
    /// Time in each phase; they add up to [`Profile::seconds`].
    pub phases: Vec<PhaseTime>,
    /// The loader's threads in the epochs; none where features took the place of photos.
    pub loader: Option<LoaderTime>,
    /// The steps; none where there was none.
    pub steps: Option<StepTimes>,
    /// Operators of a mean step, the slowest first.
    pub operators: Vec<OperatorGroup>,
    /// What the system said of process and machine, each second; empty where it says nothing.
    pub system: Vec<Metric>,
    /// The rules of SageMaker Debugger's profiler that have a meaning here, and one of ours, by name.
    pub rules: BTreeMap<String, Rule>,
}

/// Time in a phase.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PhaseTime {
    /// The phase.
    pub phase: Phase,
    /// Seconds in it.
    pub seconds: f64,
}

/// What the loader's threads did, in thread-seconds: beside the phases, not among them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoaderTime {
    /// How many there were.
    pub threads: usize,
    /// Batches they made.
    pub batches: u64,
    /// Reading files, or photos from the cache.
    pub read: f64,
    /// Bytes to pixels.
    pub decode: f64,
    /// Pixels to the size that is kept.
    pub resize: f64,
    /// Random changes.
    pub augment: f64,
    /// With nothing to do, since enough batches were ready.
    pub idle: f64,
    /// Batches that were ready when one was asked for.
    pub ready: Spread,
    /// The same over time: seconds since the beginning, and the mean around then.
    pub ready_over_time: Vec<[f64; 2]>,
}

/// The steps in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepTimes {
    /// How many.
    pub count: u64,
    /// Photos in them.
    pub images: u64,
    /// From one step's end to the next one's, waiting for photos and checkpoints included.
    pub seconds: Spread,
    /// Photos a second.
    pub images_per_sec: f64,
    /// The same if no step had to wait for photos: at least that with a loader that costs nothing, since its threads then
    /// leave the cores to the engine.
    pub images_per_sec_without_loading: f64,
    /// Steps that took no longer than [`StepTimes::outlier_above`].
    pub histogram: Histogram,
    /// Longer steps are outliers; none where there are too few to say.
    pub outlier_above: Option<f64>,
    /// How that was found, in words.
    pub outlier_rule: String,
    /// How many there are.
    pub outlier_count: u64,
    /// The longest of them, the longest first.
    pub outliers: Vec<Outlier>,
}

/// A figure of the process or the machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// What it is, in words.
    pub name: String,
    /// `%`, `MiB` or `MiB/s`.
    pub unit: String,
    /// Over the samples.
    pub values: Spread,
}

/// A rule's answer, with the fields of SageMaker Debugger's rule reports.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rule {
    /// How often it fired.
    pub rule_triggered: u64,
    /// Values beyond its threshold.
    pub violations: u64,
    /// What it saw.
    pub details: serde_json::Value,
    /// Values it looked at.
    pub datapoints: u64,
    /// Its thresholds, `name:value` a line.
    pub rule_parameters: String,
}

impl Profile {
    /// Reads a run's `profile.json`.
    ///
    /// # Errors
    /// [`TrainError::Profile`].
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let failed = |why: String| TrainError::Profile { path: path.into(), why };
        let bytes = fs::read(path).map_err(|error| failed(error.to_string()))?;
        let profile: Self = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        match profile.format {
            FORMAT => Ok(profile),
            other => Err(failed(format!("it has format {other}, and {FORMAT} is known"))),
        }
    }

    /// Seconds in a phase.
    pub fn in_phase(&self, phase: Phase) -> f64 {
        self.phases.iter().find(|time| time.phase == phase).map_or(0.0, |time| time.seconds)
    }
}

const FORMAT: u32 = 1;
