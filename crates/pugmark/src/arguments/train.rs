mod steps;

use std::path::PathBuf;

use clap::builder::{BoolishValueParser, PossibleValuesParser, RangedU64ValueParser};
use clap::{Args, value_parser};
use pugmark_engine::{DeviceChoice, Freeze};
use pugmark_graph::Architecture;
use pugmark_train::{CacheFeatures, Thresholds};
use serde::Serialize;

pub(super) use self::steps::word;
use self::steps::{StepFlags, batch_size};
use super::{ConfigFlags, DataFlags, PRECISIONS, StorageFlags};

/// Train a classifier on labelled photos
///
/// DATA is a folder with one folder of photos a class (also with `train`, `val` and `test` folders above them), a CSV with
/// an `id` and one 0/1 column a class, a CSV with `filepath,label` and optional `split` and `site` columns, a Camtrap DP
/// package, a JSON file of COCO Camera Traps, MegaDetector or SpeciesNet, or what `pugmark prepare` has written, also in a
/// bucket (`s3://...`) or on a web server (`https://...`), from where it is fetched first.
///
/// One `[METRICS]` line an epoch goes to stdout. Ctrl-C finishes the step, saves, and says how to go on.
///
/// In a container of SageMaker's, `pugmark train` alone does what `/opt/ml` says.
#[derive(Args, Debug)]
pub(crate) struct TrainArguments {
    /// The data set: a folder, a CSV or a JSON file
    #[arg(value_name = "DATA", conflicts_with = "data")]
    pub(crate) dataset: Option<PathBuf>,

    /// Folder of the run [default: runs/NAME-1, or the next free number]
    #[arg(long, value_name = "FOLDER", visible_alias = "output-dir")]
    pub(crate) out: Option<PathBuf>,

    /// Also copy the best model into this folder, where the older scripts put it
    #[arg(long, value_name = "FOLDER")]
    pub(crate) model_dir: Option<PathBuf>,

    /// Go on with an interrupted run, exactly as if it had not been interrupted; RUN may be left out after `--out`
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with_all = ["overwrite", "config", "recipe", "folds"])]
    pub(crate) resume: Option<Option<PathBuf>>,

    /// Train once for each of so many folds, in RUN/fold-1 and so on, and measure each photo by the run that did not see it
    #[arg(long, value_name = "K", conflicts_with_all = ["fold", "val"], value_parser = value_parser!(u32).range(2..))]
    pub(crate) folds: Option<u32>,

    /// Replace the run in the folder
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Try learning rates from 1e-7 to 10 in 100 steps, say which to take, and train nothing: `learning-rate.csv` and
    /// `learning-rate.html` go to `--out`
    #[arg(long, conflicts_with_all = ["resume", "model_dir", "folds"])]
    pub(crate) find_learning_rate: bool,

    /// For older scripts: as `--device auto`
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[arg(value_parser = BoolishValueParser::new(), hide_possible_values = true)]
    pub(crate) use_cuda: Option<bool>,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    #[command(flatten)]
    pub(crate) training: TrainFlags,
}

/// Every setting of a training. The names are those of the TOML keys with `-` for `_`.
#[derive(Args, Serialize, Debug, Default)]
pub(crate) struct TrainFlags {
    #[command(flatten)]
    #[serde(flatten)]
    data: DataFlags,

    /// Architecture
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    #[arg(value_parser = PossibleValuesParser::new(Architecture::ALL.map(Architecture::name)))]
    model: Option<String>,

    /// Weights to start from: a `.pth`, `.safetensors` or model file, or a NAME of `pugmark weights list`
    #[arg(long, value_name = "FILE|NAME", help_heading = "Model")]
    weights: Option<String>,

    /// What is not trained: `none`, `backbone` (the head alone is trained), or so many first stages
    #[arg(long, value_name = "PART|N", value_parser = word::<Freeze>, help_heading = "Model")]
    freeze: Option<String>,

    /// Chance with which a step leaves out the last block of a model that has stochastic depth [default: the model's own]
    #[arg(long, value_name = "X", help_heading = "Model")]
    stochastic_depth: Option<f64>,

    /// Share of the values in front of the last layer that a step leaves out [default: the model's own]
    #[arg(long, value_name = "X", help_heading = "Model")]
    dropout: Option<f64>,

    /// Settings to start from: a NAME of `pugmark recipes`, a TOML file, or `none`; flags, variables and `--config` go
    /// before it
    #[arg(long, value_name = "NAME|FILE", help_heading = "Model")]
    recipe: Option<String>,

    /// Whether a frozen backbone's features are computed once and kept: `auto` does where that changes nothing, a number
    /// keeps those of so many randomly changed views of each photo
    #[arg(long, value_name = "auto|off|K", value_parser = cache_features, help_heading = "Model")]
    cache_features: Option<String>,

    /// Passes over the training part
    #[arg(long, value_name = "N", help_heading = "Training")]
    epochs: Option<u32>,

    /// Photos in one batch; `auto` takes the largest power of two that fits into memory
    #[arg(long, value_name = "N|auto", value_parser = batch_size, help_heading = "Training")]
    batch_size: Option<String>,

    /// Optimiser
    #[arg(long, value_name = "NAME", value_parser = ["adamw", "sgd"], help_heading = "Training")]
    optimiser: Option<String>,

    /// Length of a step
    #[arg(long, value_name = "X", help_heading = "Training")]
    learning_rate: Option<f64>,

    /// Pull of the parameters towards zero
    #[arg(long, value_name = "X", help_heading = "Training")]
    weight_decay: Option<f64>,

    /// Share of the earlier direction in a step of `sgd`
    #[arg(long, value_name = "X", help_heading = "Training")]
    momentum: Option<f64>,

    /// The learning rate over time: `plateau` halves it after two epochs without a lower validation loss, `step` drops it
    /// every `--step-epochs`, `cosine` lowers it to `--min-learning-rate`, `one-cycle` raises it first
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    #[arg(value_parser = ["constant", "plateau", "step", "cosine", "one-cycle"])]
    schedule: Option<String>,

    /// Share of the label that is spread over all classes
    #[arg(long, value_name = "X", help_heading = "Training")]
    label_smoothing: Option<f64>,

    /// `balanced` lets rare classes count as much as frequent ones, `effective-number` less so where photos are many; a CSV
    /// with the columns `class` and `weight` says it outright
    #[arg(long, value_name = "HOW|FILE", help_heading = "Training")]
    class_weights: Option<String>,

    /// What makes an epoch the best one
    #[arg(long, value_name = "METRIC", value_parser = ["accuracy", "log-loss"], help_heading = "Training")]
    best_by: Option<String>,

    /// Seed of everything random
    #[arg(long, value_name = "N", value_parser = seed(), help_heading = "Training")]
    seed: Option<u64>,

    #[command(flatten)]
    #[serde(flatten)]
    steps: StepFlags,

    /// Photos are brought to this many pixels a side
    #[arg(long, value_name = "PIXELS", help_heading = "Photos")]
    image_size: Option<u32>,

    /// How they are: stretched, the middle of the scaled photo, or scaled to fit in between black bars
    #[arg(long, value_name = "HOW", value_parser = ["squash", "centre-crop", "letterbox"])]
    #[arg(help_heading = "Photos")]
    resize: Option<String>,

    /// Short side of the scaled photo before `centre-crop` takes its middle [default: 8/7 of the image size, 256 for 224]
    #[arg(long, value_name = "PIXELS", help_heading = "Photos")]
    resize_short_side: Option<u32>,

    /// Look at photos without their colours
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new(), help_heading = "Photos")]
    grayscale: Option<bool>,

    /// Train on a random part of each photo, stretched, of at least this share of its area; 1 takes whole photos
    #[arg(long, value_name = "SHARE", help_heading = "Augmentation")]
    random_crop: Option<f64>,

    /// Largest width over height of such a part, and height over width
    #[arg(long, value_name = "X", help_heading = "Augmentation")]
    random_crop_ratio: Option<f64>,

    /// Mirror every other photo
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new(), help_heading = "Augmentation")]
    flip: Option<bool>,

    /// Turn every other photo upside down, as in a mirror
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new(), help_heading = "Augmentation")]
    vertical_flip: Option<bool>,

    /// Turn each photo by up to so many degrees either way
    #[arg(long, value_name = "DEGREES", help_heading = "Augmentation")]
    rotation: Option<f64>,

    /// Change brightness, contrast and saturation by up to this share
    #[arg(long, value_name = "X", help_heading = "Augmentation")]
    jitter: Option<f64>,

    /// Turn the hue by up to this share of the circle, at most 0.5
    #[arg(long, value_name = "X", help_heading = "Augmentation")]
    hue: Option<f64>,

    /// Probability that a photo loses its colours
    #[arg(long, value_name = "P", help_heading = "Augmentation")]
    random_grayscale: Option<f64>,

    /// Operations drawn anew for each photo, with torchvision's tables
    #[arg(long, value_name = "NAME", value_parser = ["none", "randaugment", "trivialaugment"])]
    #[arg(help_heading = "Augmentation")]
    auto_augment: Option<String>,

    /// Operations of `randaugment` on each photo
    #[arg(long, value_name = "N", help_heading = "Augmentation")]
    randaugment_ops: Option<u32>,

    /// Their strength, 0 to 30
    #[arg(long, value_name = "N", help_heading = "Augmentation")]
    randaugment_magnitude: Option<u32>,

    /// Probability that a rectangle of a photo is painted over
    #[arg(long, value_name = "P", help_heading = "Augmentation")]
    erasing: Option<f64>,

    /// Spare what the model finds important when photos are cut, painted over or distorted (KeepAugment)
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new(), help_heading = "Augmentation")]
    keep_augment: Option<bool>,

    /// Share of a photo's regions that one is less important than, to be cut away, or more than, to be kept
    #[arg(long, value_name = "SHARE", help_heading = "Augmentation")]
    keep_share: Option<f64>,

    /// Blend photos with others, labels alike: alpha of the Beta distribution of the share; 0 does not
    #[arg(long, value_name = "ALPHA", help_heading = "Augmentation")]
    mixup: Option<f64>,

    /// Paste parts of photos into others, labels alike: alpha as for `--mixup`; with both, one of them a batch
    #[arg(long, value_name = "ALPHA", help_heading = "Augmentation")]
    cutmix: Option<f64>,

    /// What stays together in one part: `auto` keeps the photos of a site together where sites are known
    #[arg(long, value_name = "BY", help_heading = "Split")]
    #[arg(value_parser = ["auto", "site", "sequence", "folder", "random"])]
    split: Option<String>,

    /// Share of the photos in the validation part
    #[arg(long, value_name = "X", help_heading = "Split")]
    val: Option<f64>,

    /// Share of the photos in the test part
    #[arg(long, value_name = "X", help_heading = "Split")]
    test: Option<f64>,

    /// Take exactly this split, as `pugmark split` writes it, instead of making one
    #[arg(long, value_name = "FILE", help_heading = "Split", conflicts_with_all = ["split", "val", "test"])]
    split_file: Option<PathBuf>,

    /// The fold of that file to validate on; the others are trained on
    #[arg(long, value_name = "I", help_heading = "Split")]
    fold: Option<u32>,

    /// Memory format of activations: bf16 is faster where the processor multiplies it (auto: there alone)
    #[arg(long, value_name = "FORMAT", help_heading = "Machine")]
    #[arg(value_parser = PossibleValuesParser::new(PRECISIONS))]
    precision: Option<String>,

    /// What computes: cpu, cuda (or cuda:N, the GPU of that number), auto (a GPU where there is one)
    #[arg(long, value_name = "DEVICE", help_heading = "Machine")]
    device: Option<DeviceChoice>,

    /// Threads that compute; 0 takes every core
    #[arg(long, value_name = "N", help_heading = "Machine")]
    threads: Option<u32>,

    /// Threads that read and decode photos; 0 chooses
    #[arg(long, value_name = "N", help_heading = "Machine")]
    loader_threads: Option<u32>,

    /// Memory for photos that are decoded once and kept, in MiB
    #[arg(long, value_name = "MIB", help_heading = "Machine")]
    cache_mib: Option<u32>,

    /// Measure where the time goes, into the run's profile.json, trace.json and report.html
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new(), help_heading = "Watching")]
    #[arg(num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    profile: Option<bool>,

    /// Write event files for TensorBoard, into RUN/tensorboard or, named like the run, below FOLDER
    #[arg(long, value_name = "FOLDER", help_heading = "Watching")]
    #[arg(num_args = 0..=1, default_missing_value = "run", require_equals = true)]
    tensorboard: Option<PathBuf>,
    /// What is done with what the watch finds: `stop` ends the training after the step, with everything saved, and exits
    /// with 1
    #[arg(long, value_name = "off|warn|stop", value_parser = ["off", "warn", "stop"], help_heading = "Watching")]
    watch: Option<String>,

    /// Optimiser steps between two that are looked at in full; 0 takes 10 to 50, by the length of an epoch
    #[arg(long, value_name = "N", help_heading = "Watching")]
    watch_every: Option<u32>,

    /// Thresholds of the watch, with commas between them: `overfit.ratio=0.2`; docs/watch.md lists them
    #[arg(long, value_name = "RULE.NAME=X,...", value_parser = word::<Thresholds>, help_heading = "Watching")]
    watch_thresholds: Option<String>,

    /// Minutes between two checkpoints
    #[arg(long, value_name = "MINUTES", help_heading = "Machine")]
    checkpoint_minutes: Option<f64>,
}

impl TrainArguments {
    /// Whether the call says what to train on.
    pub(crate) fn names_data(&self) -> bool {
        self.dataset.is_some() || self.training.data.names_data()
    }
}

impl TrainFlags {
    /// The recipe that the flag names.
    pub(crate) fn recipe(&self) -> Option<&str> {
        self.recipe.as_deref()
    }
}

fn cache_features(text: &str) -> Result<String, String> {
    text.parse::<CacheFeatures>().map(|parsed| parsed.to_string())
}

/// TOML's integers end at 2^63 - 1.
pub(super) fn seed() -> RangedU64ValueParser<u64> {
    RangedU64ValueParser::new().range(0..=i64::MAX as u64)
}
