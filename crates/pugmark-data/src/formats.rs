//! Label formats: what other tools read and write, through one [`LabelTable`].
//!
//! Every reader gives a table, every writer takes one, and every format has a validator of its own, written from its
//! specification. What a format calls an empty frame is mapped in one place, [`Format::blank_word`].

mod blank;
mod camtrap;
mod coco;
mod crop;
mod dataset;
mod detect;
mod error;
mod file;
mod json;
mod megadetector;
mod one_hot;
mod predictions;
mod speciesnet;
mod submission;
mod table;
mod table_csv;
mod validate;
mod zamba;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use camtrap::{Contributor, Deployment, Package};
pub use crop::{CropBox, Pixels};
pub use detect::detect;
pub(crate) use detect::is_json;
pub use error::FormatError;
pub use file::Step;
pub use one_hot::features_of;
pub use table::{Annotation, Area, Detection, Label, LabelTable, LabelledPhoto, Method, Single, Word};

pub use validate::{Finding, Report, Severity, validate};

use file::Watch;

use crate::dataset::{Note, ReadOptions};
use crate::error::DataError;

/// A way to write down labels or predictions.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Format {
    /// A folder for each class; read only.
    Folders,
    /// What `pugmark prepare` writes; read only.
    Prepared,
    /// `filepath,label[,split][,site]`, as zamba reads it.
    Csv,
    /// `id` and one column of 0 and 1 a class, as Conser-vision has it, with `id,filepath,site` beside it.
    OneHot,
    /// COCO Camera Traps JSON.
    Coco,
    /// Camtrap DP 1.0: a folder of `datapackage.json` and three tables.
    CamtrapDp,
    /// MegaDetector results JSON, as Timelapse and AddaxAI read it.
    MegaDetector,
    /// SpeciesNet predictions JSON.
    SpeciesNet,
    /// PyTorch-Wildlife's `path,classification,label[,Location][,Photo_time]`.
    PytorchWildlife,
    /// zamba's `filepath,detection_category,...,<class...>`; read only.
    ZambaPredictions,
    /// What `pugmark predict` writes; read only.
    Predictions,
    /// A competition's submission: `id` and the probability of each class; written and checked only.
    Submission,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 12] = [
        Self::Folders,
        Self::Prepared,
        Self::Csv,
        Self::OneHot,
        Self::Coco,
        Self::CamtrapDp,
        Self::MegaDetector,
        Self::SpeciesNet,
        Self::PytorchWildlife,
        Self::ZambaPredictions,
        Self::Predictions,
        Self::Submission,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Folders => "folders",
            Self::Prepared => "prepared",
            Self::Csv => "csv",
            Self::OneHot => "one-hot",
            Self::Coco => "coco",
            Self::CamtrapDp => "camtrap-dp",
            Self::MegaDetector => "megadetector",
            Self::SpeciesNet => "speciesnet",
            Self::PytorchWildlife => "pytorch-wildlife",
            Self::ZambaPredictions => "zamba-predictions",
            Self::Predictions => "predictions",
            Self::Submission => "submission",
        }
    }

    /// The name in a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Self::Folders => "a folder for each class",
            Self::Prepared => "prepared folder",
            Self::Csv => "table of labels",
            Self::OneHot => "one-hot CSV",
            Self::Coco => "COCO Camera Traps",
            Self::CamtrapDp => "Camtrap DP",
            Self::MegaDetector => "MegaDetector results",
            Self::SpeciesNet => "SpeciesNet predictions",
            Self::PytorchWildlife => "PyTorch-Wildlife labels",
            Self::ZambaPredictions => "zamba predictions",
            Self::Predictions => "pugmark predictions",
            Self::Submission => "submission",
        }
    }

    /// Whether [`read_table`] reads it.
    pub fn is_read(self) -> bool {
        self != Self::Submission
    }

    /// Whether [`write_table`] writes it.
    pub fn is_written(self) -> bool {
        !matches!(self, Self::Folders | Self::Prepared | Self::ZambaPredictions | Self::Predictions)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    /// Reads a name of the command line; `zamba` is another for `csv`.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|format| format.name() == name);
        known.or((name == "zamba").then_some(Self::Csv)).ok_or_else(|| format!("`{name}` is no known format"))
    }
}

/// How to read a table.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TableOptions {
    /// The folder that ids are paths below; by default the file's own.
    pub photos: Option<PathBuf>,
    /// The file's word for an empty frame, where it is not [`Format::blank_word`].
    pub blank_word: Option<String>,
    /// The model that made predictions, where the file does not say.
    pub model: Option<String>,
}

/// What a writer needs that no table may have.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WriteOptions {
    /// How far the cameras' clocks were ahead of UTC, in minutes; for photos that do not say themselves.
    pub offset_minutes: Option<i32>,
    /// TOML about the project, for Camtrap DP.
    pub metadata: Option<PathBuf>,
    /// CSV with the coordinates of the deployments, for Camtrap DP.
    pub deployments: Option<PathBuf>,
    /// The competition's `submission_format.csv`.
    pub submission_format: Option<PathBuf>,
}

/// What a writer did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// The files, the main one first.
    pub files: Vec<PathBuf>,
    /// Photos that are in them.
    pub photos: usize,
    /// What could not be written, and what was mapped.
    pub notes: Vec<Note>,
}

/// Reads labels or predictions as a table; photos are not looked for, except where a format gives pixels and only the
/// photo knows its size.
///
/// # Errors
/// Every problem in the file, with row and column or place in the JSON; see [`DataError`].
pub fn read_table(
    path: &Path,
    format: Option<Format>,
    options: &TableOptions,
) -> Result<LabelTable, DataError> {
    let format = match format {
        Some(format) => format,
        None => detect(path)?,
    };
    let mut table = match format {
        Format::Coco => coco::read(path, options),
        Format::CamtrapDp => camtrap::read(path, options),
        Format::MegaDetector => megadetector::read(path, options),
        Format::SpeciesNet => speciesnet::read(path, options),
        Format::Predictions => predictions::read(path, options),
        Format::ZambaPredictions => zamba::read(path, options),
        Format::Folders | Format::Prepared | Format::Csv | Format::OneHot | Format::PytorchWildlife => {
            let read = ReadOptions {
                photos: options.photos.clone(),
                allow_empty_class: true,
                ..ReadOptions::default()
            };
            let dataset = crate::read::read_labels(path, &read)?;
            let folder = options.photos.clone().unwrap_or_else(|| match path.is_dir() {
                true => path.to_owned(),
                false => file::folder_of(path),
            });
            let blank = blank::word(format, options);
            Ok(LabelTable::of_dataset(dataset, &folder, format, &blank))
        }
        Format::Submission => {
            let what = "a submission, which names no photos".to_owned();
            Err(FormatError::Cannot { action: "read", what, hint: "give the predictions it was made from" }
                .into())
        }
    }?;
    blank::note(&mut table, options);
    Ok(table)
}

/// Writes a table as a file or folder at `path`, in place of what is there.
///
/// `step` is called with the number of photos done, now and then; an error of it (Ctrl-C) ends the work and leaves
/// what was at `path` as it was.
///
/// # Errors
/// What the format demands and neither table nor options have, and those of the file system.
pub fn write_table(
    table: &LabelTable,
    format: Format,
    path: &Path,
    options: &WriteOptions,
    step: &mut Step<'_>,
) -> Result<Written, DataError> {
    let watch = &Watch::new(step);
    match format {
        Format::Csv => table_csv::write(table, path, watch),
        Format::PytorchWildlife => table_csv::write_pytorch_wildlife(table, path, watch),
        Format::OneHot => one_hot::write(table, path, watch),
        Format::Coco => coco::write(table, path, watch),
        Format::CamtrapDp => camtrap::write(table, path, options, watch),
        Format::MegaDetector => megadetector::write(table, path, watch),
        Format::SpeciesNet => speciesnet::write(table, path, watch),
        Format::Submission => submission::write(table, path, options, watch),
        Format::Folders | Format::Prepared | Format::ZambaPredictions | Format::Predictions => {
            let what = format.title().to_owned();
            let hint = "choose one of csv, one-hot, coco, camtrap-dp, megadetector, speciesnet, pytorch-wildlife, \
                        submission";
            Err(FormatError::Cannot { action: "write", what, hint }.into())
        }
    }
}
