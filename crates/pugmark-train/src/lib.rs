//! Recipes, the training loop, checkpoints and exact resume.
//!
//! [`train`] turns a data set and [`TrainSettings`] into a run folder and tells an [`Observer`] what happens. One seed gives
//! one result, bit for bit: a run that was killed at any moment and resumed ends in the same model files as one that was
//! not.

mod checkpoint;
mod error;
mod event;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod log;
mod memory;
mod metrics;
pub mod profile;
mod recipes;
mod schedule;
mod settings;
mod tensorboard;
mod train;
mod watch;

pub use error::TrainError;
pub use event::{Event, Observer};
pub use metrics::{EpochMetrics, MetricDefinition};
pub use profile::Profile;
pub use recipes::{ShippedRecipe, shipped_recipes};
pub use schedule::{Plateau, Rates};
pub use settings::{
    AutoAugmentKind, BestBy, CacheFeatures, ClassWeights, OptimiserKind, ResizeKind, Schedule, SettingsError,
    TimeBudget, TrainSettings,
};
pub use train::{Mode, Outcome, RatePoint, RateSearch, find_learning_rate, predictions_csv, train};
pub use watch::{
    Finding, Layer, Name, Number, Record, RuleInfo, RuleReport, Rules, Sample, Start, System, Threshold,
    Thresholds, WatchMode, Watched, Weight, read_watch, reports_to_json, watch_rules,
};
