//! Readers: a folder or a CSV becomes a [`Dataset`].

use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, ReadOptions};
use crate::error::DataError;

/// Reads the data set at `data`, a folder or a CSV file; its format is found from what is there.
pub fn read(_data: &Path, _options: &ReadOptions) -> Result<Dataset, DataError> {
    Err(DataError::Placeholder)
}

/// Every photo below `path`, sorted by path; a file gives itself.
pub fn photos_below(_path: &Path) -> Result<Vec<PathBuf>, DataError> {
    Err(DataError::Placeholder)
}
