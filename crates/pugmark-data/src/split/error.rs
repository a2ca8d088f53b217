//! Why a data set cannot be split, or a file of a split not be used.

use std::path::PathBuf;

use thiserror::Error;

use crate::dataset::counted;
use crate::error::first_few;

/// Why a data set cannot be split, or a file of a split not be used. [`SplitError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Not enough groups for the parts that are wanted.
    #[error("{data}: {} cannot be split into {parts} parts", group_count(*groups, what))]
    TooFewGroups {
        /// The data set.
        data: PathBuf,
        /// What a group is: "site", "sequence" and so on.
        what: &'static str,
        /// Groups there are.
        groups: usize,
        /// Parts that are wanted.
        parts: usize,
    },
    /// Neither sequences nor times.
    #[error("{data} names no sequences and no times to split by")]
    NoSequences {
        /// The data set.
        data: PathBuf,
    },
    /// No folders below those of the classes.
    #[error("{data} has no folders of cameras to split by")]
    NoFolders {
        /// The data set.
        data: PathBuf,
    },
    /// No value of the column to split by.
    #[error("{data}: no photo has a value of the column to split by")]
    NoColumn {
        /// The data set.
        data: PathBuf,
    },
    /// A single fold.
    #[error("one fold is no cross-validation")]
    OneFold,
    /// Folds of a data set that says itself what val is.
    #[error("{data} gives a val part itself, which folds would take apart")]
    ValGiven {
        /// The data set.
        data: PathBuf,
    },
    /// The earlier split has other folds.
    #[error("the earlier split has {} and {} are asked for", folds(*earlier), folds(*asked))]
    OtherFolds {
        /// Folds it has.
        earlier: u32,
        /// Folds asked for.
        asked: u32,
    },
    /// A fold that is not a number from 1.
    #[error("{file}, row {row}, column `fold`: `{value}` is not a fold")]
    NotAFold {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// What stands there.
        value: String,
    },
    /// A split with folds, and nobody says which.
    #[error("{file} has {folds} folds and none is chosen")]
    FoldNotChosen {
        /// The CSV.
        file: PathBuf,
        /// Folds it has.
        folds: u32,
    },
    /// A fold that the split does not have.
    #[error("{file} has {} and no fold {fold}", folds(*folds_there))]
    NoSuchFold {
        /// The CSV.
        file: PathBuf,
        /// Folds it has.
        folds_there: u32,
        /// The fold asked for.
        fold: u32,
    },
    /// The split is of other photos.
    #[error("{file} is not a split of {data}: {}", differences(unknown, missing))]
    OtherPhotos {
        /// The CSV.
        file: PathBuf,
        /// The data set.
        data: PathBuf,
        /// Ids that only the CSV has.
        unknown: Vec<String>,
        /// Ids of labelled photos that only the data set has.
        missing: Vec<String>,
    },
    /// The labels have no such column.
    #[error("{file} has no column `{column}` (its columns are {})", first_few(found))]
    NoSuchColumn {
        /// The CSV.
        file: PathBuf,
        /// The column asked for.
        column: String,
        /// What is there.
        found: Vec<String>,
    },
    /// The labels are no CSV.
    #[error("{data} is not labelled by a CSV, so there is no column to split by")]
    NoTable {
        /// The data set.
        data: PathBuf,
    },
}

impl SplitError {
    /// What to do about it, in one or two plain sentences.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::TooFewGroups { .. } => {
                "pass --split random, and remember that its numbers say nothing about new sites"
            }
            Self::NoSequences { .. } => "split by site, or by random where nothing is known of the photos",
            Self::NoFolders { .. } => {
                "put the photos of each camera in a folder of their own: CLASS/CAMERA/photo.jpg"
            }
            Self::NoColumn { .. } | Self::NoSuchColumn { .. } => {
                "name a column of the labels' CSV with --column NAME"
            }
            Self::OneFold => "ask for two folds or more; five are usual",
            Self::ValGiven { .. } => "leave the val part out of the data set, or do without folds",
            Self::OtherFolds { .. } => "ask for the folds that it has",
            Self::NotAFold { .. } => "a fold is a number from 1; photos of the test part have none",
            Self::FoldNotChosen { folds, .. } => {
                return Some(format!("choose what to validate on: --fold 1 to --fold {folds}"));
            }
            Self::NoSuchFold { folds_there: 0, .. } => "leave --fold out, or split again with --folds",
            Self::NoSuchFold { .. } => "choose one of those; the first is --fold 1",
            Self::OtherPhotos { .. } => {
                "split again; `pugmark split DATA --keep OLD.csv` leaves the photos that were in it where they were"
            }
            Self::NoTable { .. } => "split by site, sequence or folder, or give a CSV of labels",
        };
        Some(hint.to_owned())
    }
}

fn group_count(count: usize, what: &str) -> String {
    // "value of the column" is what people would call a group there.
    let what = if what == "column" { "group" } else { what };
    if count == 1 { format!("a single {what}") } else { format!("{count} {what}s") }
}

fn folds(count: u32) -> String {
    if count == 0 { "no folds".to_owned() } else { counted(count as usize, "fold") }
}

fn differences(unknown: &[String], missing: &[String]) -> String {
    let told = |ids: &[String], which: String, what: &str| {
        let verb = if ids.len() == 1 { "is" } else { "are" };
        (!ids.is_empty()).then(|| format!("{which} {verb} {what}: {}", first_few(ids)))
    };
    let photos = format!("{} of its photos", unknown.len());
    let labelled = counted(missing.len(), "labelled photo") + " of the data set";
    let told = [told(unknown, photos, "not in the data set"), told(missing, labelled, "not in it")]
        .into_iter()
        .flatten();
    told.collect::<Vec<_>>().join("; ")
}
