//! What the watch keeps of a training: the lines of a run's `watch.jsonl`, from which its rules are told again.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Record {
    /// The training begins, or goes on after an interruption.
    Start(Start),
    /// What the numbers of the samples that follow belong to.
    Names {
        /// Activations, in the order they run.
        layers: Vec<Name>,
        /// Trained weights of convolutions and linear layers, and layer scales.
        weights: Vec<Name>,
    },
    /// One step in full.
    Sample(Box<Sample>),
    /// Losses and times of the steps up to one.
    Steps {
        /// The last of them.
        step: u64,
        /// Its epoch.
        epoch: u32,
        /// Whether the first of them begins an epoch: it waits for the first photos.
        begins: bool,
        /// Loss of each.
        losses: Vec<Number>,
        /// Milliseconds that each took, with waiting for its photos.
        milliseconds: Vec<Number>,
    },
    /// What process and machine did in the seconds before.
    System(System),
    /// An epoch is validated.
    Epoch {
        /// From 1.
        epoch: u32,
        /// Optimiser steps done.
        step: u64,
        /// Mean over the epoch.
        train_loss: f64,
        /// Mean over the validation part.
        val_loss: f64,
        /// Of each class: photos validated, those classified rightly, the class most of the others were taken for, and how many.
        classes: Vec<[u64; 4]>,
    },
    /// A step failed for a number that is none.
    NotFinite {
        /// The step that failed.
        step: u64,
        /// Its epoch.
        epoch: u32,
        /// The first tensor in which one was found.
        tensor: String,
    },
}

/// What is known before the first step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Start {
    /// Seconds since 1970.
    pub time: f64,
    /// Seconds from the beginning of the training to here, without those in which features were computed.
    pub startup: f64,
    /// Steps done before.
    pub step: u64,
    /// Epoch that comes next, from 1.
    pub epoch: u32,
    /// Epochs in all.
    pub epochs: u32,
    /// Optimiser steps of an epoch.
    pub epoch_steps: u64,
    /// Steps in which the learning rate rises.
    pub warmup_steps: u64,
    /// Photos to train on, of each class.
    pub photos: Vec<u64>,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Rare classes count or come more often.
    pub balanced: bool,
    /// The training ends by itself when it gets no better.
    pub early_stopping: bool,
    /// The first learning rate.
    pub learning_rate: f64,
    /// Steps between two samples.
    pub every: u64,
}

/// A tensor's name and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Name {
    /// torchvision's name.
    pub name: String,
    /// `weight`, `layer scale`, or an activation: `input`, `ReLU`, `GELU`, `SiLU`, `sigmoid`.
    pub kind: String,
    /// Of a weight: the residual block it belongs to.
    pub block: usize,
    /// Of a weight: how many.
    pub values: usize,
}

/// One watched step; the lists are those of the last [`Record::Names`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// From 1.
    pub step: u64,
    /// From 1.
    pub epoch: u32,
    /// Before the step.
    pub loss: Number,
    /// Of the step.
    pub learning_rate: f64,
    /// Of all parameters together.
    pub gradient_norm: Number,
    /// Mean and standard deviation of each colour of the normalised pictures; empty where the model is given features.
    pub input: Vec<[Number; 2]>,
    /// Activations.
    pub layers: Vec<Layer>,
    /// Weights.
    pub weights: Vec<Weight>,
}

/// An activation in a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[Number; 3]", into = "[Number; 3]")]
pub struct Layer {
    /// Over all channels.
    pub mean: f64,
    /// Over all channels.
    pub std: f64,
    /// Share of the channels that a ReLU lets pass for less than 1 % of their values, or of the values that saturate a
    /// sigmoid.
    pub share: f64,
}

/// A channel is inactive below this share: SageMaker Debugger's `threshold_inactivity` of 1 %.
pub const INACTIVE: f64 = 0.01;

/// A weight around a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(from = "[Number; 6]", into = "[Number; 6]")]
pub struct Weight {
    /// Mean of the gradient's absolute values.
    pub gradient_mean: f64,
    /// Euclidean norm of the gradient.
    pub gradient_norm: f64,
    /// Share of the gradient's values that are zero.
    pub gradient_zeros: f64,
    /// Euclidean norm before the step.
    pub norm: f64,
    /// Share of the values that are zero.
    pub zeros: f64,
    /// Euclidean norm of what the step changed.
    pub update_norm: f64,
}

impl From<[Number; 3]> for Layer {
    fn from([mean, std, share]: [Number; 3]) -> Self {
        Self { mean: mean.0, std: std.0, share: share.0 }
    }
}

impl From<Layer> for [Number; 3] {
    fn from(layer: Layer) -> Self {
        [layer.mean, layer.std, layer.share].map(Number)
    }
}

impl From<[Number; 6]> for Weight {
    fn from(numbers: [Number; 6]) -> Self {
        let [gradient_mean, gradient_norm, gradient_zeros, norm, zeros, update_norm] =
            numbers.map(|number| number.0);
        Self { gradient_mean, gradient_norm, gradient_zeros, norm, zeros, update_norm }
    }
}

impl From<Weight> for [Number; 6] {
    fn from(w: Weight) -> Self {
        [w.gradient_mean, w.gradient_norm, w.gradient_zeros, w.norm, w.zeros, w.update_norm].map(Number)
    }
}

/// What process and machine did since the last of these.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct System {
    /// Seconds since 1970.
    pub time: f64,
    /// Optimiser steps done.
    pub step: u64,
    /// Epoch in progress, from 1.
    pub epoch: u32,
    /// Length of the interval in seconds.
    pub seconds: f64,
    /// Share of the cores that this process kept busy, in [0, 1].
    pub cpu: f64,
    /// Share of the machine's cores that anything kept busy, in [0, 1].
    pub machine: f64,
    /// Share of the machine's time that waited for discs, in [0, 1].
    pub io_wait: f64,
    /// Share of the interval in which the training waited for photos, in [0, 1].
    pub waiting: f64,
    /// MiB read from discs.
    pub read_mib: f64,
    /// Memory of the process in MiB.
    pub memory_mib: f64,
}

/// A number with four digits, which is what is written of it; null where it is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl Number {
    /// The number that is left of it in the file: the rules of a training see the same as those of a replay.
    pub fn rounded(self) -> Self {
        if self.0 == 0.0 || !self.0.is_finite() {
            return self;
        }
        Self(format!("{:.3e}", self.0).parse().unwrap_or(self.0))
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.rounded().0 {
            whole if whole.fract() == 0.0 && whole.abs() < 1e6 => serializer.serialize_i64(whole as i64),
            value => serializer.serialize_f64(value),
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // JSON has no NaN: what was none comes back as one.
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or(f64::NAN)))
    }
}

impl Record {
    /// The optimiser step that the line was written after; none of a line that belongs to no step.
    pub fn step(&self) -> Option<u64> {
        match self {
            Self::Start(Start { step, .. })
            | Self::Steps { step, .. }
            | Self::System(System { step, .. })
            | Self::Epoch { step, .. }
            | Self::NotFinite { step, .. } => Some(*step),
            Self::Sample(sample) => Some(sample.step),
            Self::Names { .. } => None,
        }
    }

    /// The part of the line up to a step and before an epoch; none where nothing of it is left. What was written behind the
    /// checkpoint that a training goes on from is trained again.
    pub fn up_to(self, last: u64, next_epoch: u32) -> Option<Self> {
        match self {
            Self::Steps { step, epoch, begins, mut losses, mut milliseconds } if step > last => {
                let left = losses.len().saturating_sub((step - last) as usize);
                losses.truncate(left);
                milliseconds.truncate(left);
                let kept = Self::Steps { step: last, epoch, begins, losses, milliseconds };
                (left > 0).then_some(kept)
            }
            Self::Epoch { epoch, .. } if epoch >= next_epoch => None,
            record if record.step().is_some_and(|step| step > last) => None,
            record => Some(record),
        }
    }
}
