//! A data set: a table of labelled photos.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::formats::CropBox;
use crate::stored::Stored;
use crate::time::CaptureTime;

/// What a sample is used for.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Weights are fitted on these.
    Train,
    /// The best epoch is chosen on these.
    Val,
    /// Looked at once, at the end.
    Test,
}

impl Part {
    /// All parts, in order.
    pub const ALL: [Self; 3] = [Self::Train, Self::Val, Self::Test];

    /// "train", "val" or "test".
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Val => "val",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    /// Reads a part in the words data sets use: `valid` and `validation` mean val, zamba's `holdout` means test.
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word.trim().to_ascii_lowercase().as_str() {
            "train" | "training" => Ok(Self::Train),
            "val" | "valid" | "validation" => Ok(Self::Val),
            "test" | "holdout" => Ok(Self::Test),
            _ => Err(format!("`{word}` is none of train, val, test")),
        }
    }
}

/// One photo and what is known of it.
#[derive(Clone, PartialEq, Debug)]
pub struct Sample {
    /// Unique in the data set: the path below the root with forward slashes, or the CSV's id; never the base name alone.
    pub id: String,
    /// Where the photo is.
    pub path: PathBuf,
    /// How it lies there, where that is a shard of a prepared folder and not a file of its own.
    pub stored: Option<Stored>,
    /// The part of the photo that is meant; none for the whole of it.
    pub crop: Option<CropBox>,
    /// Index into [`Dataset::classes`]; none where the label is not known.
    pub class: Option<usize>,
    /// The camera or place, where the data set names it.
    pub site: Option<String>,
    /// The sequence or burst that the photo belongs to, where the data set names it; unique in the data set.
    pub sequence: Option<String>,
    /// When the photo was taken, where the data set says it. What the photo itself says is in its EXIF.
    pub time: Option<CaptureTime>,
    /// The part that a folder or a column fixes.
    pub part: Option<Part>,
}

impl Sample {
    /// A photo of which nothing else is known.
    pub fn new(id: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        let (id, path) = (id.into(), path.into());
        Self {
            id,
            path,
            stored: None,
            crop: None,
            class: None,
            site: None,
            sequence: None,
            time: None,
            part: None,
        }
    }
}

/// Something a person should know about a data set that was read all the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// One sentence, with the count.
    pub text: String,
    /// The files or rows that are meant, all of them.
    pub items: Vec<String>,
}

/// How to read a data set.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ReadOptions {
    /// The folder that a CSV's photos are below; by default the CSV's own folder.
    pub photos: Option<PathBuf>,
    /// Leave rows out whose photo does not exist (with a note) instead of failing.
    pub skip_missing: bool,
    /// Keep a class that has no photo instead of failing.
    pub allow_empty_class: bool,
    /// Take every box of the labels for a photo of its own, with this margin: [`CropBox::margin`].
    pub crop: Option<f64>,
}

/// A table of samples.
#[derive(Clone, PartialEq, Debug)]
pub struct Dataset {
    /// The folder or CSV that was read.
    pub root: PathBuf,
    /// Class names; a sample's class is an index into them. Sorted, unless the file orders them.
    pub classes: Vec<String>,
    /// The samples: sorted by id for folders, in the file's order for CSVs.
    pub samples: Vec<Sample>,
    /// What kind of data set it is, in words.
    pub format: &'static str,
    /// Things a person should know: photos without a label, skipped rows, stray files.
    pub notes: Vec<Note>,
}

impl Dataset {
    /// SHA-256 (hex) over id and class name of every sample, sorted by id: equal for equal labels in any order.
    pub fn hash(&self) -> String {
        let lines = self.samples.iter().map(|sample| {
            let class = sample.class.map_or("", |class| self.classes[class].as_str());
            (sample.id.as_str(), class)
        });
        hash_pairs(lines.collect())
    }

    /// How many of the samples `indices` belong to each class.
    pub fn class_counts(&self, indices: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for &index in indices {
            if let Some(class) = self.samples[index].class {
                counts[class] += 1;
            }
        }
        counts
    }
}

/// A number of things in words: "1 photo", "2 photos".
pub(crate) fn counted(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// SHA-256 (hex) over pairs of strings, sorted; each string is preceded by its length, so that no two lists collide.
pub(crate) fn hash_pairs(mut pairs: Vec<(&str, &str)>) -> String {
    pairs.sort_unstable();
    let mut hash = Sha256::new();
    for text in pairs.iter().flat_map(|&(first, second)| [first, second]) {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
