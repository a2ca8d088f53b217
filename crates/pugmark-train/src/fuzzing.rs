//! Readers of files that this crate keeps to itself, for the fuzz targets.

use std::io;
use std::path::Path;

use pugmark_model::RunFolder;

use crate::checkpoint::Checkpoint;
use crate::train::class_weights;
use crate::{ClassWeights, TrainError, TrainSettings};

/// The weights of these classes in a file.
///
/// # Errors
/// [`TrainError::ClassWeights`].
pub fn class_weights(file: &Path, classes: &[String]) -> Result<Option<Vec<f32>>, TrainError> {
    class_weights::class_weights(&ClassWeights::File(file.into()), classes, &vec![1; classes.len()])
}

/// Whether there is a checkpoint in a run.
///
/// # Errors
/// [`TrainError::Checkpoint`], or that it is no run.
pub fn checkpoint(run: &Path) -> Result<bool, TrainError> {
    Checkpoint::read(&RunFolder::open(run)?).map(|checkpoint| checkpoint.is_some())
}

/// The text of a settings file.
///
/// # Errors
/// Where a setting can't be written.
pub fn to_toml(settings: &TrainSettings) -> io::Result<String> {
    settings.to_toml()
}
