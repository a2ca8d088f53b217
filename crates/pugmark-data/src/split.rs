//! Splitting a data set into train, val and test.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Part};
use crate::error::DataError;

/// What must stay together in one part.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// By site where the data set names sites, else random with a warning.
    #[default]
    Auto,
    /// All photos of a site in one part.
    Site,
    /// Each photo by itself, stratified by class.
    Random,
}

impl FromStr for SplitBy {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "site" => Ok(Self::Site),
            "random" => Ok(Self::Random),
            _ => Err(format!("`{word}` is none of auto, site, random")),
        }
    }
}

/// How to split.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct SplitSettings {
    /// What must stay together.
    pub by: SplitBy,
    /// The validation part's share of the photos, in [0, 1).
    pub val: f64,
    /// The test part's share of the photos, in [0, 1).
    pub test: f64,
    /// Another seed gives another split.
    pub seed: u64,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self { by: SplitBy::Auto, val: 0.25, test: 0.0, seed: 0 }
    }
}

/// Which part every sample is in.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// One entry a sample; none where the sample has no label and is not used.
    pub parts: Vec<Option<Part>>,
    /// "given", "site" or "random".
    pub how: String,
    /// What a person must know before they believe a number from this split.
    pub warning: Option<String>,
}

/// Splits the labelled samples of a data set.
pub fn split(_d: &Dataset, _s: &SplitSettings) -> Result<Split, DataError> {
    Err(DataError::Placeholder)
}

impl Split {
    /// The samples of one part, in the data set's order.
    pub fn indices(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len()).filter(|&index| self.parts[index] == Some(part)).collect()
    }

    /// `id,split,class,site`, one row a used sample.
    pub fn to_csv(&self, _d: &Dataset) -> String {
        String::new()
    }

    /// Reads what [`Split::to_csv`] wrote.
    pub fn from_csv(_path: &Path, _d: &Dataset) -> Result<Self, DataError> {
        Err(DataError::Placeholder)
    }

    /// SHA-256 (hex) over id and part of every used sample, sorted by id.
    pub fn hash(&self, _d: &Dataset) -> String {
        String::new()
    }
}
