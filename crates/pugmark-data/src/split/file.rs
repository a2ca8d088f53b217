//! `split.csv`: which photo is in which part.

use std::collections::HashMap;
use std::path::Path;

use super::{Split, SplitError, joined};
use crate::dataset::{Dataset, counted};
use crate::error::DataError;
use crate::read::Rows;

/// A split as its file has it.
struct Found {
    split: Split,
    /// Ids that are not in the data set, with their rows.
    unknown: Vec<(u64, String)>,
}

impl Split {
    /// A CSV `id,split,class,site` with one row for each sample that is used, and a column `fold` where there are folds.
    pub fn to_csv(&self, dataset: &Dataset) -> String {
        let folds = !self.folds.is_empty();
        let mut text = if folds { "id,split,class,site,fold\n" } else { "id,split,class,site\n" }.to_owned();
        for (index, sample) in dataset.samples.iter().enumerate() {
            if let Some(part) = self.parts[index] {
                let class = sample.class.map_or("", |class| &dataset.classes[class]);
                let site = sample.site.as_deref().unwrap_or_default();
                for field in [&sample.id, part.name(), class, site] {
                    push_quoted(&mut text, field);
                    text.push(',');
                }
                match self.folds.get(index).copied().flatten() {
                    Some(fold) => text.push_str(&fold.to_string()),
                    None if folds => {}
                    None => drop(text.pop()),
                }
                text.push('\n');
            }
        }
        text
    }

    /// Reads what [`Split::to_csv`] wrote; samples without a row are not used, which a warning says.
    ///
    /// # Errors
    /// A file that cannot be read, lacks the columns `id` and `split`, or names an id twice or one that is not
    /// in the data set.
    pub fn from_csv(path: &Path, dataset: &Dataset) -> Result<Self, DataError> {
        let Found { mut split, unknown } = Found::read(path, dataset)?;
        if let Some((row, id)) = unknown.into_iter().next() {
            return Err(DataError::UnknownId { file: path.to_owned(), row, id, other: dataset.root.clone() });
        }
        let unused = split.unused(dataset).len();
        split.warning = (unused > 0).then(|| {
            format!("Not used, being absent from {}: {}.", path.display(), counted(unused, "labelled photo"))
        });
        Ok(split)
    }

    /// Reads a split to train on exactly: of the same photos, with the fold that is val where there are folds.
    ///
    /// With `skip_missing`, photos may be gone from the data set, which a warning says.
    ///
    /// # Errors
    /// As [`Split::from_csv`]; [`SplitError::OtherPhotos`] with every id that only one of the two has; a fold that is not
    /// there, or none where one has to be chosen.
    pub fn exactly(
        path: &Path,
        dataset: &Dataset,
        fold: Option<u32>,
        skip_missing: bool,
    ) -> Result<Self, DataError> {
        let Found { split, unknown } = Found::read(path, dataset)?;
        let missing = split.unused(dataset);
        let mut unknown: Vec<String> = unknown.into_iter().map(|(_, id)| id).collect();
        let mut warnings = Vec::new();
        if skip_missing && !unknown.is_empty() {
            let photos = counted(unknown.len(), "photo");
            warnings.push(format!("In {} but not in the data set: {photos}.", path.display()));
            unknown.clear();
        }
        if !unknown.is_empty() || !missing.is_empty() {
            let (file, data) = (path.to_owned(), dataset.root.clone());
            return Err(SplitError::OtherPhotos { file, data, unknown, missing }.into());
        }
        let folds = split.fold_count();
        let mut split = match fold {
            None if folds > 0 => {
                return Err(SplitError::FoldNotChosen { file: path.to_owned(), folds }.into());
            }
            None => split,
            Some(fold) => split.fold(fold).ok_or_else(|| SplitError::NoSuchFold {
                file: path.to_owned(),
                folds_there: folds,
                fold,
            })?,
        };
        let shared = split.shared_sites(dataset);
        if shared > 0 {
            let sites = counted(shared, "site");
            warnings.push(format!(
                "In more than one part of {}: {sites}. The model can recognise the place instead of the animal, so \
                 the validation number says little about new cameras.",
                path.display()
            ));
        }
        split.warning = joined(warnings);
        Ok(split)
    }

    /// Reads an earlier split, for [`super::SplitOptions::earlier`]; and how many of its photos are gone.
    ///
    /// # Errors
    /// As [`Split::from_csv`], except for ids that are not in the data set.
    pub fn earlier(path: &Path, dataset: &Dataset) -> Result<(Self, usize), DataError> {
        let Found { split, unknown } = Found::read(path, dataset)?;
        Ok((split, unknown.len()))
    }

    /// Labelled samples that are in no part.
    fn unused(&self, dataset: &Dataset) -> Vec<String> {
        let samples = dataset.samples.iter().zip(&self.parts);
        let unused = samples.filter(|(sample, part)| sample.class.is_some() && part.is_none());
        unused.map(|(sample, _)| sample.id.clone()).collect()
    }
}

impl Found {
    fn read(path: &Path, dataset: &Dataset) -> Result<Self, DataError> {
        let index: HashMap<&str, usize> =
            dataset.samples.iter().enumerate().map(|(index, sample)| (sample.id.as_str(), index)).collect();
        let mut rows = Rows::open(path)?;
        let (Some(id), Some(part)) =
            (Rows::column(&rows.header, &["id"]), Rows::column(&rows.header, &["split"]))
        else {
            return Err(DataError::MissingColumns {
                file: rows.file,
                wanted: "id and split",
                found: rows.header,
            });
        };
        let fold = Rows::column(&rows.header, &["fold"]);
        let mut split =
            Self { split: Split::of_parts(vec![None; dataset.samples.len()], "file"), unknown: Vec::new() };
        if fold.is_some() {
            split.split.folds = vec![None; dataset.samples.len()];
        }
        let mut first_rows: HashMap<usize, u64> = HashMap::new();
        while let Some(row) = rows.next()? {
            let file = || path.to_owned();
            let id = row.exact(id);
            let Some(&sample) = index.get(id) else {
                split.unknown.push((row.line, id.to_owned()));
                continue;
            };
            if let Some(first) = first_rows.insert(sample, row.line) {
                return Err(DataError::DuplicateId { file: file(), id: id.to_owned(), first, row: row.line });
            }
            let word = rows.required(&row, part)?;
            split.split.parts[sample] = Some(word.parse().map_err(|_| DataError::UnknownPart {
                file: file(),
                row: row.line,
                column: rows.header[part].clone(),
                value: word.to_owned(),
            })?);
            if let Some(value) = fold.map(|fold| row.value(fold)).filter(|value| !value.is_empty()) {
                let number: Option<u32> = value.parse().ok().filter(|&number| number > 0);
                let wrong = || SplitError::NotAFold { file: file(), row: row.line, value: value.to_owned() };
                split.split.folds[sample] = Some(number.ok_or_else(wrong)?);
            }
        }
        if split.split.fold_count() == 0 {
            split.split.folds.clear();
        }
        Ok(split)
    }
}

/// Appends a CSV field, quoted where it has to be (RFC 4180).
fn push_quoted(text: &mut String, field: &str) {
    if field.contains([',', '"', '\n', '\r']) || field.trim() != field {
        text.push('"');
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(field);
    }
}
