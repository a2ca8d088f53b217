mod augment;
mod cache_features;
mod validate;
mod words;

use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};

use pugmark_data::storage::is_url;
use pugmark_data::{Dataset, SplitBy, SplitSettings};
use pugmark_engine::{Clip, DeviceChoice, Freeze, Optimiser, PrecisionChoice};
use pugmark_graph::{Architecture, GraphSettings};
use pugmark_model::RunFolder;
use serde::{Deserialize, Serialize, Serializer};

use crate::{Thresholds, TrainError, WatchMode};

pub use augment::{AutoAugmentKind, ResizeKind};
pub use cache_features::CacheFeatures;
pub use validate::SettingsError;
pub use words::{ClassWeights, TimeBudget};

/// How parameters move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimiserKind {
    /// AdamW (arXiv 1711.05101).
    #[default]
    AdamW,
    /// Stochastic gradient descent with [`TrainSettings::momentum`].
    Sgd,
}

/// How the learning rate changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// It does not.
    #[default]
    Constant,
    /// Halved when the validation loss has not fallen for three epochs: [`crate::Plateau`].
    Plateau,
    /// Times [`TrainSettings::step_factor`] every [`TrainSettings::step_epochs`] epochs.
    Step,
    /// Down to [`TrainSettings::min_learning_rate`] along half a cosine (arXiv 1608.03983), without restarts.
    Cosine,
    /// Up from a twenty-fifth in three tenths of the steps and down to almost nothing (arXiv 1708.07120); momentum stays.
    OneCycle,
}

impl Schedule {
    /// Whether the rates of all steps depend on how many there are.
    fn spans_the_training(self) -> bool {
        matches!(self, Self::Cosine | Self::OneCycle)
    }
}

/// Which epoch is the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BestBy {
    /// The highest validation accuracy; among equals the lowest validation loss, then the earliest.
    #[default]
    Accuracy,
    /// The lowest validation loss; among equals the earliest.
    LogLoss,
}

/// Everything that decides a training, with the defaults of the originals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainSettings {
    /// The folder or CSV of the data set. [`crate::train`] is handed the data set itself; this and the three below are kept
    /// so that a run's `config.toml` says how to read it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
    /// The folder that a CSV's photos are below, where it is not the CSV's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photos: Option<PathBuf>,
    /// Rows whose photo does not exist were left out.
    pub skip_missing: bool,
    /// Classes without a photo were kept.
    pub allow_empty_class: bool,
    /// The model.
    pub model: Architecture,
    /// A file of pretrained weights; without one the weights are drawn from the seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
    /// Passes over the training part.
    pub epochs: u32,
    /// Photos in a batch; 0, in files `auto`, takes the largest power of two that fits into memory.
    #[serde(with = "words::batch_size")]
    pub batch_size: usize,
    /// How parameters move.
    pub optimiser: OptimiserKind,
    /// The first learning rate.
    #[serde(serialize_with = "as_decimal")]
    pub learning_rate: f32,
    /// Decoupled for AdamW, added to the gradient for SGD.
    #[serde(serialize_with = "as_decimal")]
    pub weight_decay: f32,
    /// Share of the earlier direction in SGD, in [0, 1).
    #[serde(serialize_with = "as_decimal")]
    pub momentum: f32,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// Epochs in which the learning rate rises to where the schedule begins; may be a part of one.
    pub warmup_epochs: f64,
    /// Where the schedule `cosine` ends.
    #[serde(serialize_with = "as_decimal")]
    pub min_learning_rate: f32,
    /// Epochs between two drops of the schedule `step`.
    pub step_epochs: u32,
    /// What such a drop leaves of the learning rate.
    #[serde(serialize_with = "as_decimal")]
    pub step_factor: f32,
    /// Each block of the model learns at this share of the rate of the next one, the head at the whole rate; in (0, 1].
    #[serde(serialize_with = "as_decimal")]
    pub layer_decay: f32,
    /// Weight decay pulls at norms and biases too, and not at weights alone.
    pub decay_norms: bool,
    /// Largest norm of all gradients together; 0 does not clip.
    #[serde(serialize_with = "as_decimal")]
    pub clip_norm: f32,
    /// Largest value of a gradient; 0 does not clip.
    #[serde(serialize_with = "as_decimal")]
    pub clip_value: f32,
    /// Largest norm of a gradient as a share of its weights' (arXiv 2102.06171); 0 does not clip.
    #[serde(serialize_with = "as_decimal")]
    pub clip_adaptive: f32,
    /// Batches in an optimiser step.
    pub accumulate: usize,
    /// Draw the photos of an epoch, with replacement, so that every class comes equally often.
    pub balanced_sampling: bool,
    /// Decay of the running average of the weights, which is what is evaluated and saved; 0 keeps none.
    #[serde(serialize_with = "as_decimal")]
    pub ema: f32,
    /// The best epochs that are averaged at the end where that is no worse (arXiv 2203.05482, greedy soup); 0 averages none.
    pub average_best: usize,
    /// Ends the training after so many epochs without a better one; 0 does not.
    pub early_stopping: u32,
    /// Ends the training, validation included, after so much time.
    pub time_budget: TimeBudget,
    /// Ends the training after so many optimiser steps; 0 does not.
    pub max_steps: u64,
    /// Trains everything after so many epochs with [`TrainSettings::freeze`]; 0 never does.
    pub unfreeze_after: u32,
    /// Memory that an automatic batch size may take, in MiB; 0 takes what the machine has left.
    pub memory: u64,
    /// Photos are brought to squares of this many pixels.
    pub image_size: usize,
    /// How photos are brought to a square.
    pub resize: ResizeKind,
    /// The short side before the middle is cut out, with [`ResizeKind::CentreCrop`]; without it 8/7 of the square: 256 for 224.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resize_short_side: Option<usize>,
    /// Train on luma instead of colours.
    pub grayscale: bool,
    /// Train on parts of photos, of at least this share of their area, in place of [`TrainSettings::resize`]; 1 takes whole photos.
    #[serde(serialize_with = "as_decimal")]
    pub random_crop: f32,
    /// The largest width over height of such a part, and height over width; at least 1.
    #[serde(serialize_with = "as_decimal")]
    pub random_crop_ratio: f32,
    /// Mirror photos left and right, half of the time.
    pub flip: bool,
    /// Mirror photos top and bottom, half of the time.
    pub vertical_flip: bool,
    /// Rotate photos by up to this many degrees either way.
    #[serde(serialize_with = "as_decimal")]
    pub rotation: f32,
    /// Change brightness, contrast and saturation by up to this share.
    #[serde(serialize_with = "as_decimal")]
    pub jitter: f32,
    /// Turn the hue by up to this share of the circle either way, at most 0.5.
    #[serde(serialize_with = "as_decimal")]
    pub hue: f32,
    /// Make photos gray with this probability.
    #[serde(serialize_with = "as_decimal")]
    pub random_grayscale: f32,
    /// Operations that are drawn, not tuned.
    pub auto_augment: AutoAugmentKind,
    /// Operations a photo with [`AutoAugmentKind::RandAugment`].
    pub randaugment_ops: usize,
    /// Their strength, 0 to 30.
    pub randaugment_magnitude: usize,
    /// Paint a rectangle of the photo over with this probability.
    #[serde(serialize_with = "as_decimal")]
    pub erasing: f32,
    /// Neither cut away nor distort what the model finds important in a photo (arXiv 2011.11778).
    pub keep_augment: bool,
    /// The share of a photo's regions that one must be less important than to be cut away, and more important than to be kept,
    /// in [0, 1).
    #[serde(serialize_with = "as_decimal")]
    pub keep_share: f32,
    /// Mix photos with others, by a share from Beta(mixup, mixup); 0 does not.
    #[serde(serialize_with = "as_decimal")]
    pub mixup: f32,
    /// Paste parts of photos into others, of a share from Beta(cutmix, cutmix); 0 does not.
    #[serde(serialize_with = "as_decimal")]
    pub cutmix: f32,
    /// Share of the label given to all classes alike, in [0, 1).
    #[serde(serialize_with = "as_decimal")]
    pub label_smoothing: f32,
    /// How much a photo of each class counts in the loss.
    pub class_weights: ClassWeights,
    /// Probability with which the model's last block is left out of a step, in [0, 1); it grows evenly from 0 at the
    /// first. Unset, the architecture's own.
    #[serde(serialize_with = "as_decimal_if_set", skip_serializing_if = "Option::is_none")]
    pub stochastic_depth: Option<f32>,
    /// Share of the values in front of the head that a step leaves out, in [0, 1). Unset, the architecture's own.
    #[serde(serialize_with = "as_decimal_if_set", skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
    /// What is not trained.
    pub freeze: Freeze,
    /// Which epoch is the best.
    pub best_by: BestBy,
    /// A file of the split to train on, as `pugmark split` writes it; without one the data set is split by the three below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_file: Option<PathBuf>,
    /// The fold of [`TrainSettings::split_file`] that is val, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fold: Option<u32>,
    /// What stays together when the data set is split.
    pub split: SplitBy,
    /// The validation part's share of the photos, in (0, 1).
    pub val: f64,
    /// The test part's share of the photos, in [0, 1).
    pub test: f64,
    /// Decides weights, split, order, augmentation and dropout.
    pub seed: u64,
    /// What activations are in memory.
    pub precision: PrecisionChoice,
    /// What computes.
    pub device: DeviceChoice,
    /// Compute threads; 0 takes one a core.
    pub threads: usize,
    /// Threads that decode photos; 0 takes one a core, at most eight.
    pub loader_threads: usize,
    /// Memory for resized photos, in MiB.
    pub cache_mib: u64,
    /// Minutes between checkpoints inside an epoch; 0 saves at the end of epochs alone.
    pub checkpoint_minutes: f64,
    /// Measures where the time goes: [`crate::Profile`].
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub profile: bool,
    /// Writes event files for TensorBoard: `run` into the run's own folder, else into one named like the run below this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensorboard: Option<PathBuf>,
    /// The recipe that the other settings were taken from, by name or as a file; kept to be told, never read again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// What the watch does with what it finds; it changes no result but by ending the training.
    pub watch: WatchMode,
    /// Optimiser steps between two that are looked at in full; 0 chooses.
    pub watch_every: u64,
    /// Thresholds of the watch that are not the default.
    pub watch_thresholds: Thresholds,
    /// Whether the features of a frozen backbone are computed once and kept.
    pub cache_features: CacheFeatures,
    /// The folder where features are kept from one training to the next; without one they are kept in memory alone. It
    /// is the machine's and not the training's: no settings file has it.
    #[serde(skip)]
    pub feature_folder: Option<PathBuf>,
}

impl Default for TrainSettings {
    fn default() -> Self {
        Self {
            data: None,
            photos: None,
            skip_missing: false,
            allow_empty_class: false,
            model: Architecture::ResNet18,
            weights: None,
            epochs: 5,
            batch_size: 32,
            optimiser: OptimiserKind::AdamW,
            learning_rate: 0.001,
            weight_decay: 0.01,
            momentum: 0.9,
            schedule: Schedule::Constant,
            warmup_epochs: 0.0,
            min_learning_rate: 0.0,
            step_epochs: 0,
            step_factor: 0.1,
            layer_decay: 1.0,
            decay_norms: true,
            clip_norm: 0.0,
            clip_value: 0.0,
            clip_adaptive: 0.0,
            accumulate: 1,
            balanced_sampling: false,
            ema: 0.0,
            average_best: 0,
            early_stopping: 0,
            time_budget: TimeBudget::default(),
            max_steps: 0,
            unfreeze_after: 0,
            memory: 0,
            image_size: 224,
            resize: ResizeKind::Squash,
            resize_short_side: None,
            grayscale: false,
            random_crop: 1.0,
            random_crop_ratio: 4.0 / 3.0,
            flip: false,
            vertical_flip: false,
            rotation: 0.0,
            jitter: 0.0,
            hue: 0.0,
            random_grayscale: 0.0,
            auto_augment: AutoAugmentKind::None,
            randaugment_ops: 2,
            randaugment_magnitude: 9,
            erasing: 0.0,
            keep_augment: false,
            keep_share: 0.6,
            mixup: 0.0,
            cutmix: 0.0,
            label_smoothing: 0.0,
            class_weights: ClassWeights::None,
            stochastic_depth: None,
            dropout: None,
            freeze: Freeze::None,
            best_by: BestBy::Accuracy,
            split_file: None,
            fold: None,
            split: SplitBy::Auto,
            val: 0.25,
            test: 0.0,
            seed: 0,
            precision: PrecisionChoice::Auto,
            device: DeviceChoice::Cpu,
            threads: 0,
            loader_threads: 0,
            cache_mib: 1024,
            checkpoint_minutes: 10.0,
            profile: false,
            tensorboard: None,
            recipe: None,
            watch: WatchMode::default(),
            watch_every: 0,
            watch_thresholds: Thresholds::default(),
            cache_features: CacheFeatures::Auto,
            feature_folder: None,
        }
    }
}

/// The f64 of the decimal that people write for a f32: 0.001 and not 0.0010000000474974513.
pub(crate) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

fn as_decimal<S: Serializer>(value: &f32, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(decimal(*value))
}

fn as_decimal_if_set<S: Serializer>(value: &Option<f32>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(decimal).serialize(serializer)
}

/// [`TrainSettings::tensorboard`] for the run's own folder.
const IN_THE_RUN: &str = "run";

/// Settings that a resumed run may change: the result does not depend on them (on the device in the last digits alone), or only
/// grows, or is checked by the data set's hash.
const FREE_ON_RESUME: [&str; 17] = [
    "epochs",
    "device",
    "memory",
    "threads",
    "loader_threads",
    "cache_mib",
    "checkpoint_minutes",
    "profile",
    "tensorboard",
    "recipe",
    "watch",
    "watch_every",
    "watch_thresholds",
    "data",
    "photos",
    "skip_missing",
    "allow_empty_class",
];

impl TrainSettings {
    /// Reads a settings file, such as a run's `config.toml`; what it leaves out is the default.
    ///
    /// # Errors
    /// [`TrainError::Config`] with line and column.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let failed = |why: String| TrainError::Config { path: path.into(), why };
        let text = fs::read_to_string(path).map_err(|e| failed(e.to_string()))?;
        toml::from_str(&text).map_err(|e| failed(e.to_string().trim_end().into()))
    }

    /// The text of a settings file.
    pub(crate) fn to_toml(&self) -> io::Result<String> {
        toml::to_string(self).map_err(io::Error::other)
    }

    /// What is changed of the architecture.
    pub fn graph_settings(&self) -> GraphSettings {
        GraphSettings { stochastic_depth: self.stochastic_depth, dropout: self.dropout }
    }

    /// How the data set is split.
    pub fn split_settings(&self) -> SplitSettings {
        SplitSettings { by: self.split, val: self.val, test: self.test, seed: self.seed }
    }

    /// These settings with whole paths, so that a run can be repeated from any folder.
    pub fn resolved(&self, data: &Dataset) -> Self {
        let absolute = |path: &Path| match is_url(path) {
            true => path.into(),
            false => path::absolute(path).unwrap_or(path.into()),
        };
        Self {
            data: Some(absolute(self.data.as_deref().unwrap_or(&data.root))),
            photos: self.photos.as_deref().map(absolute),
            weights: self.weights.as_deref().map(absolute),
            split_file: self.split_file.as_deref().map(absolute),
            tensorboard: self.tensorboard.as_deref().map(|folder| match folder.to_str() {
                Some(IN_THE_RUN) => folder.into(),
                _ => absolute(folder),
            }),
            class_weights: self.class_weights.resolved(absolute),
            ..self.clone()
        }
    }

    pub(crate) fn optimiser(&self) -> Optimiser {
        match self.optimiser {
            OptimiserKind::AdamW => Optimiser::AdamW,
            OptimiserKind::Sgd => Optimiser::Sgd { momentum: self.momentum, nesterov: false },
        }
    }

    /// Where the event files of a run go; none where there are none.
    pub(crate) fn tensorboard_folder(&self, run: &RunFolder) -> Option<PathBuf> {
        let folder = self.tensorboard.as_deref()?;
        if folder == Path::new(IN_THE_RUN) {
            return Some(run.tensorboard());
        }
        // `.` and `..` have no name before they are resolved.
        let resolved = run.path().canonicalize().ok();
        let name = resolved.as_deref().unwrap_or(run.path()).file_name().unwrap_or_default();
        Some(folder.join(name))
    }

    /// How gradients are clipped.
    pub(crate) fn clip(&self) -> Clip {
        match (self.clip_norm, self.clip_value, self.clip_adaptive) {
            (norm, ..) if norm > 0.0 => Clip::Norm(norm),
            (_, value, _) if value > 0.0 => Clip::Value(value),
            (.., share) if share > 0.0 => Clip::Adaptive(share),
            _ => Clip::None,
        }
    }

    /// What is frozen after so many epochs.
    pub(crate) fn frozen(&self, epochs_done: u32) -> Freeze {
        match self.unfreeze_after {
            1.. if epochs_done >= self.unfreeze_after => Freeze::None,
            _ => self.freeze,
        }
    }

    /// The first setting that a resumed run must not change and that differs: name, value there, value here.
    pub(crate) fn conflict(&self, run: &Self) -> Option<(String, String, String)> {
        // Both are the same type: what one can't write the other can't, and nothing is compared.
        let (ours, theirs) = (toml::Table::try_from(self).ok()?, toml::Table::try_from(run).ok()?);
        let show = |value: Option<&toml::Value>| value.map_or("not set".into(), toml::Value::to_string);
        let mut names: Vec<&String> = theirs.keys().chain(ours.keys()).collect();
        names.sort();
        // The rates of the steps that are done would have been others in a longer or shorter training.
        let free = |name: &str| {
            FREE_ON_RESUME.contains(&name) && !(name == "epochs" && self.schedule.spans_the_training())
        };
        names
            .into_iter()
            .find(|name| !free(name) && ours.get(*name) != theirs.get(*name))
            .map(|name| (name.clone(), show(theirs.get(name)), show(ours.get(name))))
    }
}
