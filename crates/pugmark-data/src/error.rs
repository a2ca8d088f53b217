//! What can be wrong with a data set.

use std::fmt::Write as _;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::dataset::counted;
use crate::formats::FormatError;
use crate::split::SplitError;

/// A row of a CSV and what it names, for errors that list several.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowName {
    /// Line in the file; the header is line 1. 0 in a file that is no table.
    pub row: u64,
    /// The id or path in that row.
    pub name: String,
}

/// Why a data set cannot be read or split: what, and in which file, row and column. Rows are lines of the
/// file, the header being 1. [`DataError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// There is nothing at the path.
    #[error("{path} does not exist")]
    NotFound {
        /// The path that was given.
        path: PathBuf,
    },
    /// A folder was expected.
    #[error("{path} is not a folder")]
    NotAFolder {
        /// The path that was given.
        path: PathBuf,
    },
    /// The system refuses to read a file or folder.
    #[error("cannot read {path}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// No photo below the folder.
    #[error("no photos found below {folder}")]
    NoPhotos {
        /// The folder that was searched.
        folder: PathBuf,
    },
    /// Boxes were asked for, and the labels have none.
    #[error("{path} has no boxes to cut out")]
    NoBoxes {
        /// The labels.
        path: PathBuf,
    },
    /// Photos, but neither class folders nor a CSV of labels.
    #[error("{folder} holds {} but no labels", counted(*photos, "photo"))]
    NoLabels {
        /// The folder that was searched.
        folder: PathBuf,
        /// Photos below it.
        photos: usize,
    },
    /// A class without a photo.
    #[error("{} no photo in {place}: {}", class_count(classes.len()), first_few(classes))]
    EmptyClass {
        /// The data set's folder or CSV, or its train folder.
        place: PathBuf,
        /// The classes.
        classes: Vec<String>,
    },
    /// Rows whose photo does not exist.
    #[error("{file}: {} of its photos cannot be found below {photos}: {}", rows.len(), first_few_rows(rows))]
    MissingPhotos {
        /// The CSV.
        file: PathBuf,
        /// The folder in which they should be.
        photos: PathBuf,
        /// The rows, all of them.
        rows: Vec<RowName>,
    },
    /// Two files could be the photo of one row.
    #[error("{file}, row {row}: `{id}` could be {first} or {second}")]
    AmbiguousPhoto {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// Its id.
        id: String,
        /// A photo of that name.
        first: PathBuf,
        /// Another photo of that name.
        second: PathBuf,
    },
    /// One photo in two rows.
    #[error("{file}, row {row}: `{id}` is already in row {first}")]
    DuplicateId {
        /// The CSV.
        file: PathBuf,
        /// The id or path.
        id: String,
        /// The row that has it first.
        first: u64,
        /// The row that repeats it.
        row: u64,
    },
    /// A one-hot row without a 1.
    #[error("{file}, row {row}: `{id}` has no class: none of its columns is 1")]
    NoClass {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// Its id.
        id: String,
    },
    /// A one-hot row with more than one 1.
    #[error("{file}, row {row}: `{id}` has several classes: {}", classes.join(", "))]
    SeveralClasses {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// Its id.
        id: String,
        /// The classes whose column is 1.
        classes: Vec<String>,
    },
    /// A one-hot value that is neither 0 nor 1.
    #[error("{file}, row {row}, column `{column}`: `{value}` is neither 0 nor 1")]
    OneHotValue {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// The class.
        column: String,
        /// What stands there.
        value: String,
    },
    /// An empty id, path or label.
    #[error("{file}, row {row}, column `{column}`: empty")]
    EmptyValue {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// The column.
        column: String,
    },
    /// A split that is not train, val or test.
    #[error("{file}, row {row}, column `{column}`: `{value}` is not a part of a split")]
    UnknownPart {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// The column.
        column: String,
        /// What stands there.
        value: String,
    },
    /// An id that is not in the data set or the joined table.
    #[error("{file}, row {row}: `{id}` is not in {other}")]
    UnknownId {
        /// The CSV.
        file: PathBuf,
        /// The row.
        row: u64,
        /// The id.
        id: String,
        /// Where it was looked up.
        other: PathBuf,
    },
    /// A CSV whose header is not that of a table of labels.
    #[error("{file}: no column {wanted} (its columns are {})", first_few(found))]
    MissingColumns {
        /// The CSV.
        file: PathBuf,
        /// What was looked for.
        wanted: &'static str,
        /// What is there.
        found: Vec<String>,
    },
    /// A CSV with a header only.
    #[error("{file} has no rows")]
    NoRows {
        /// The CSV.
        file: PathBuf,
    },
    /// A CSV that cannot be read as one: not UTF-8, or rows of different lengths.
    #[error("{file}, row {row}: {problem}")]
    Csv {
        /// The CSV.
        file: PathBuf,
        /// The row, as far as it is known.
        row: u64,
        /// What is wrong.
        problem: String,
    },
    /// Several CSVs could be the table of labels.
    #[error("{folder} holds several tables of labels: {}", first_few(files))]
    SeveralTables {
        /// The folder.
        folder: PathBuf,
        /// Their names.
        files: Vec<String>,
    },
    /// The data set names no sites.
    #[error("{data} names no sites to split by")]
    NoSites {
        /// The data set.
        data: PathBuf,
    },
    /// A folder whose preparation has not come to its end.
    #[error("{folder} is not prepared to its end")]
    Unfinished {
        /// The folder.
        folder: PathBuf,
    },
    /// A place on a network that must be a prepared folder.
    #[error("{folder} is not a prepared folder: it has no index.json")]
    NotPrepared {
        /// Its URL.
        folder: PathBuf,
    },
    /// A file of a prepared folder that is not as it was written.
    #[error("{file}: {problem}")]
    Prepared {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A data set in a bucket that cannot be read.
    #[error("{problem}")]
    InBucket {
        /// What is wrong, with the URL.
        problem: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Shares outside [0, 1) or too large together.
    #[error("val = {val} and test = {test} leave nothing to train on")]
    Shares {
        /// The share of the validation part.
        val: f64,
        /// The share of the test part.
        test: f64,
    },
    /// The data set cannot be split that way, or a file of a split not be used.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// A file of another tool's format, or one that cannot be written in it.
    #[error(transparent)]
    Format(#[from] FormatError),
}

impl DataError {
    /// What to do about it, in one or two plain sentences.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::InBucket { hint, .. } => return hint.clone(),
            Self::Unfinished { .. } => {
                "run the same `pugmark prepare` again, on every machine that has a part of it"
            }
            Self::NotPrepared { .. } => {
                "training needs the photos beside it: `pugmark prepare` them, or copy them here"
            }
            Self::Prepared { .. } => {
                "run the same `pugmark prepare` again; with --overwrite from the beginning"
            }
            Self::NotFound { .. } => "check the spelling; a relative path starts from the current folder",
            Self::NotAFolder { .. } => "give the folder that the photos are below",
            Self::Io { .. } => "check that you may read it and that the disk is well",
            Self::NoPhotos { .. } => {
                "photos end in .jpg .jpeg .png .ppm .bmp .pgm .tif .tiff .webp or .gif; names that begin with a \
                 dot are skipped"
            }
            Self::NoBoxes { .. } => {
                "boxes are in the JSON of MegaDetector, SpeciesNet and COCO Camera Traps and in Camtrap DP packages; \
                 without `--crop` whole photos are used"
            }
            Self::NoLabels { .. } => {
                "put the photos of each class in a folder of its name, or give a CSV with the columns \
                 filepath,label"
            }
            Self::EmptyClass { .. } => "remove the class, add photos, or pass --allow-empty-class",
            Self::MissingPhotos { .. } => {
                "name the folder that the paths start from with --photos, or leave these rows out with \
                 --skip-missing"
            }
            Self::AmbiguousPhoto { .. } => "name the folder that holds only the right ones with --photos",
            Self::DuplicateId { .. } => "keep one of the two rows",
            Self::NoClass { .. } => "set the column of its class to 1, or remove the row",
            Self::SeveralClasses { .. } => "one photo has one class here: keep a single 1, or remove the row",
            Self::OneHotValue { .. } => {
                "a label is 0 or 1 (0.0 and 1.0 will do); a file of probabilities is a prediction, not labels"
            }
            Self::EmptyValue { .. } => "fill it in, or remove the row",
            Self::UnknownPart { .. } => {
                "write train, val or test (valid, validation and holdout are understood)"
            }
            Self::UnknownId { .. } => "the two files must be about the same photos",
            Self::MissingColumns { .. } => {
                "labels are filepath,label (and split, site if known), or id and one column of 0 and 1 for each \
                 class"
            }
            Self::NoRows { .. } => "a table of labels has one row a photo below its header",
            Self::Csv { .. } => "save the file as UTF-8 with commas, and quote values that hold a comma",
            Self::SeveralTables { .. } => "give the one that is meant instead of the folder",
            Self::NoSites { .. } => {
                "add a column `site` that names the camera of each photo, or pass --split random"
            }
            Self::Format(error) => return error.hint(),
            Self::Shares { .. } => "val and test are shares of all photos, such as 0.25 and 0.1",
            Self::Split(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}

/// How many of a long list an error spells out.
const SPELLED_OUT: usize = 5;

pub(crate) fn first_few(names: &[String]) -> String {
    let mut text =
        names.iter().take(SPELLED_OUT).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SPELLED_OUT {
        let _ = write!(text, " and {} more", names.len() - SPELLED_OUT);
    }
    text
}

fn first_few_rows(rows: &[RowName]) -> String {
    let first = rows.iter().take(SPELLED_OUT).map(|RowName { row, name }| match row {
        0 => format!("`{name}`"),
        row => format!("`{name}` (row {row})"),
    });
    let mut text = first.collect::<Vec<_>>().join(", ");
    if rows.len() > SPELLED_OUT {
        let _ = write!(text, " and {} more", rows.len() - SPELLED_OUT);
    }
    text
}

fn class_count(count: usize) -> String {
    if count == 1 { "a class has".to_owned() } else { format!("{count} classes have") }
}
