//! Which format a file is in, from what is in it.

use std::path::Path;

use super::{Format, FormatError, json, predictions, zamba};
use crate::error::DataError;
use crate::prepare::{INDEX, PLAN};
use crate::read::{Rows, metadata};

/// The format of a file or folder, from its contents: the keys of a JSON file, the header of a CSV.
///
/// # Errors
/// If it cannot be read, or is in no format that is known.
pub fn detect(path: &Path) -> Result<Format, DataError> {
    if metadata(path)?.is_dir() {
        let has = |name: &str| path.join(name).is_file();
        return Ok(if has(PLAN) && has(INDEX) {
            Format::Prepared
        } else if has("datapackage.json") {
            Format::CamtrapDp
        } else {
            folder(path)
        });
    }
    if is_json(path) { of_json(path) } else { of_csv(path) }
}

/// A folder with a table of labels is that table; the reader finds which, and says if there are several.
fn folder(path: &Path) -> Format {
    let table =
        ["train_labels.csv", "labels.csv"].iter().map(|name| path.join(name)).find(|file| file.is_file());
    table.and_then(|table| of_csv(&table).ok()).unwrap_or(Format::Folders)
}

/// Whether a file's name is that of a JSON file.
pub(crate) fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

fn of_key(key: &str) -> Option<Format> {
    match key {
        "predictions" => Some(Format::SpeciesNet),
        "detection_categories" => Some(Format::MegaDetector),
        "categories" | "annotations" => Some(Format::Coco),
        "resources" | "profile" => Some(Format::CamtrapDp),
        _ => None,
    }
}

fn of_json(path: &Path) -> Result<Format, DataError> {
    let keys = json::keys(path, |key| of_key(key).is_some())?;
    keys.last().and_then(|key| of_key(key)).ok_or_else(|| {
        let found = match keys.as_slice() {
            [] => "it is empty".to_owned(),
            keys => format!("its keys are {}", keys.join(", ")),
        };
        FormatError::Unknown { file: path.to_owned(), found }.into()
    })
}

fn of_csv(path: &Path) -> Result<Format, DataError> {
    let header = Rows::open(path)?.header;
    let column = |name: &str| Rows::column(&header, &[name]).is_some();
    Ok(if predictions::is_header(&header) {
        Format::Predictions
    } else if zamba::is_header(&header) {
        Format::ZambaPredictions
    } else if column("path") && column("label") && (column("classification") || column("photo_time")) {
        Format::PytorchWildlife
    } else if column("label") {
        Format::Csv
    } else if header.len() > 1 && header[0].eq_ignore_ascii_case("id") {
        Format::OneHot
    } else {
        let found = format!("its columns are {}", header.join(", "));
        return Err(FormatError::Unknown { file: path.to_owned(), found }.into());
    })
}
