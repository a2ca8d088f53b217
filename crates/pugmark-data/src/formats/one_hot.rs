//! One-hot CSVs out, as Conser-vision has them: `X_labels.csv` and, with paths and sites, `X_features.csv`.

use std::path::{Path, PathBuf};

use super::file::{Watch, write_csv};
use super::table_csv::{classes, singles};
use super::{Format, FormatError, LabelTable, Written};
use crate::error::DataError;

/// Name of the file of labels after what it is called: `train` in `train_labels.csv`.
const LABELS: &str = "_labels.csv";

/// The file of paths and sites that belongs to a file of labels, if that is called as it must be.
pub fn features_of(labels: &Path) -> Option<PathBuf> {
    let name = labels.file_name()?.to_str()?.strip_suffix(LABELS)?;
    Some(labels.with_file_name(format!("{name}_features.csv")))
}

/// Writes `id,<class...>` with one 1 a row, and `id,filepath,site` beside it.
pub(super) fn write(table: &LabelTable, path: &Path, watch: &Watch<'_, '_>) -> Result<Written, DataError> {
    let Some(features) = features_of(path) else {
        let (action, what) = ("write", format!("one-hot labels to {}", path.display()));
        let hint = "call the file train_labels.csv: paths and sites go to train_features.csv beside it";
        return Err(FormatError::Cannot { action, what, hint }.into());
    };
    let (kept, notes) = singles(table, Format::OneHot)?;
    let blank = Format::OneHot.blank_word();
    let classes = classes(table, &kept, blank);
    let names: Vec<&str> = kept.iter().map(|(photo, _)| photo.name()).collect();
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    let ids: Vec<&str> = match distinct {
        true => names,
        false => kept.iter().map(|(photo, _)| photo.id.as_str()).collect(),
    };
    write_csv(&features, watch, |csv| {
        csv.write_record(["id", "filepath", "site"])?;
        for ((photo, _), id) in kept.iter().zip(&ids) {
            csv.write_record([id, photo.id.as_str(), photo.site.as_deref().unwrap_or_default()])?;
        }
        Ok(())
    })?;
    write_csv(path, watch, |csv| {
        csv.write_record(["id"].iter().chain(&classes))?;
        for ((_, label), id) in kept.iter().zip(&ids) {
            watch.one_more();
            let word = label.word(blank);
            let ones = classes.iter().map(|class| if *class == word { "1.0" } else { "0.0" });
            csv.write_record([*id].into_iter().chain(ones))?;
        }
        Ok(())
    })?;
    Ok(Written { files: vec![path.to_owned(), features], photos: kept.len(), notes })
}
