//! One more column of a data set's CSV.

use std::collections::HashMap;
use std::path::Path;

use super::one_hot::features_file;
use super::table::{Columns, as_id};
use super::{Rows, labels_csv};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::split::SplitError;

/// The values of column `name`, in any case, of the CSV that `dataset` was read from at `data`, or of the features CSV
/// beside it: one a sample, none where it is empty.
///
/// # Errors
/// A data set without a CSV, or without that column; a CSV that cannot be read.
pub fn read_column(data: &Path, dataset: &Dataset, name: &str) -> Result<Vec<Option<String>>, DataError> {
    let is_csv =
        |file: &Path| file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"));
    let labels = labels_csv(data)?.filter(|file| is_csv(file));
    let labels = labels.ok_or_else(|| SplitError::NoTable { data: data.to_owned() })?;
    let mut found = Vec::new();
    for file in [Some(labels.clone()), features_file(&labels)].into_iter().flatten() {
        let mut rows = Rows::open(&file)?;
        let id = Columns::find(&rows.header).map_or(0, |columns| columns.path());
        let Some(column) = Rows::column(&rows.header, &[name]) else {
            found.append(&mut rows.header);
            continue;
        };
        let samples = dataset.samples.iter().enumerate();
        let index: HashMap<&str, usize> =
            samples.map(|(index, sample)| (sample.id.as_str(), index)).collect();
        let mut values = vec![None; dataset.samples.len()];
        while let Some(row) = rows.next()? {
            // Rows that the reader left out have no sample.
            if let Some(&sample) = index.get(as_id(row.value(id)).as_str()) {
                values[sample] = Some(row.value(column)).filter(|value| !value.is_empty()).map(str::to_owned);
            }
        }
        return Ok(values);
    }
    Err(SplitError::NoSuchColumn { file: labels, column: name.to_owned(), found }.into())
}
