//! Tables of labels: `filepath,label[,split][,site]`.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::files::entries;
use super::{Photos, Rows, Search};
use crate::dataset::{Dataset, Part, Sample};
use crate::error::{DataError, RowName};
use crate::formats::FormatError;
use crate::time::CaptureTime;

/// Where the columns are; others are ignored.
pub(super) struct Columns {
    path: usize,
    label: usize,
    split: Option<usize>,
    site: Option<usize>,
    time: Option<usize>,
}

impl Columns {
    /// Finds the columns by the names that zamba and PyTorch-Wildlife give them.
    pub(super) fn find(header: &[String]) -> Option<Self> {
        Some(Self {
            path: Rows::column(header, &["filepath", "path", "file", "filename"])?,
            label: Rows::column(header, &["label"])?,
            split: Rows::column(header, &["split"]),
            site: Rows::column(header, &["site", "location"]),
            time: Rows::column(header, &["photo_time"]),
        })
    }

    /// The column of the paths.
    pub(super) fn path(&self) -> usize {
        self.path
    }
}

/// The CSVs in a folder that have the columns of a table of labels.
pub(super) fn tables_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    for file in entries(folder)? {
        let is_csv = file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
        if is_csv && Rows::open(&file).is_ok_and(|rows| Columns::find(&rows.header).is_some()) {
            found.push(file);
        }
    }
    Ok(found)
}

pub(super) fn read(mut rows: Rows, columns: &Columns, search: &Search<'_>) -> Result<Dataset, DataError> {
    let (mut labels, mut samples) = (Vec::new(), Vec::new());
    let (mut ids, mut missing, mut repeated) = (Ids::default(), Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let id = as_id(rows.required(&row, columns.path)?);
        if let Err(error) = ids.add(&rows.file, &id, row.line) {
            repeated.push(search.repeated(error)?);
            continue;
        }
        let label = rows.required(&row, columns.label)?;
        let site = columns.site.map(|site| row.value(site)).filter(|site| !site.is_empty());
        let part = match columns.split.map(|split| (split, row.value(split))) {
            None | Some((_, "")) => None,
            Some((split, word)) => Some(word.parse::<Part>().map_err(|_| DataError::UnknownPart {
                file: rows.file.clone(),
                row: row.line,
                column: rows.header[split].clone(),
                value: word.to_owned(),
            })?),
        };
        let time = match columns.time.map(|time| (time, row.value(time))) {
            None | Some((_, "")) => None,
            Some((time, text)) => Some(text.parse::<CaptureTime>().map_err(|error| FormatError::Entry {
                file: rows.file.clone(),
                at: format!("row {}, column `{}`", row.line, rows.header[time]),
                problem: error.to_string(),
                hint: "correct it, or leave it empty where the time is not known",
            })?),
        };
        let path = search.folder.join(&id);
        if search.photos == Photos::Needed && !path.is_file() {
            missing.push(RowName { row: row.line, name: id });
            continue;
        }
        labels.push(label.to_owned());
        samples.push(Sample { site: site.map(str::to_owned), time, part, ..Sample::new(id, path) });
    }
    if samples.is_empty() && missing.is_empty() {
        return Err(DataError::NoRows { file: rows.file });
    }
    let notes = search.missing(missing)?.into_iter().chain(search.note_repeated(repeated)).collect();
    let names: BTreeSet<&String> = labels.iter().collect();
    let classes: Vec<String> = names.into_iter().cloned().collect();
    for (sample, label) in samples.iter_mut().zip(&labels) {
        sample.class = classes.binary_search(label).ok();
    }
    Ok(Dataset { root: PathBuf::new(), classes, samples, format: "table of labels", notes })
}

/// A path as an identity: forward slashes, no `.` and no empty steps.
pub(crate) fn as_id(path: &str) -> String {
    let path = path.replace('\\', "/");
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    let absolute = if path.starts_with('/') { "/" } else { "" };
    format!("{absolute}{}", steps.join("/"))
}

/// The ids that were seen, with their rows.
#[derive(Default)]
pub(super) struct Ids(HashMap<String, u64>);

impl Ids {
    /// Fails if the id was seen before.
    pub(super) fn add(&mut self, file: &Path, id: &str, row: u64) -> Result<(), DataError> {
        match self.0.insert(id.to_owned(), row) {
            None => Ok(()),
            Some(first) => {
                Err(DataError::DuplicateId { file: file.to_owned(), id: id.to_owned(), first, row })
            }
        }
    }
}
