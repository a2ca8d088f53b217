//! A competition's submission: the rows and columns of its `submission_format.csv`, filled with probabilities.

use std::collections::HashMap;
use std::path::Path;

use super::file::{Watch, write_csv};
use super::{Annotation, Format, FormatError, Label, LabelTable, LabelledPhoto, WriteOptions, Written};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::read::Rows;

/// Writes a submission. Rows are joined by id and values by the name of their column, never by position.
///
/// An id stands for the photo of that id or path, for the path without its extension, or for the last part of that.
/// Photos that cannot be read have equal probabilities, as a submission has no other way to say so; they are listed.
pub(super) fn write(
    table: &LabelTable,
    path: &Path,
    options: &WriteOptions,
    watch: &Watch<'_, '_>,
) -> Result<Written, DataError> {
    let Some(format) = &options.submission_format else {
        return Err(FormatError::Needs {
            format: "a submission",
            what: "the competition's submission_format.csv".to_owned(),
            hint: "name it with --submission-format".to_owned(),
        }
        .into());
    };
    let mut rows = Rows::open(format)?;
    let columns = rows.header.clone();
    let blank = Format::Submission.blank_word();
    check_columns(table, format, &columns, blank)?;
    let photos = by_name(table);
    let (mut filled, mut unknown, mut ambiguous, mut even) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let id = rows.required(&row, 0)?.to_owned();
        match photos.get(id.as_str()).map_or(&[][..], Vec::as_slice) {
            [] => unknown.push(id),
            [photo] => match probabilities(photo, &columns[1..], blank) {
                Some(values) => filled.push((id, values)),
                None => {
                    let share = 1.0 / (columns.len() - 1) as f64;
                    even.push(id.clone());
                    filled.push((id, vec![share; columns.len() - 1]));
                }
            },
            [..] => ambiguous.push(id),
        }
    }
    for (what, items) in
        [("rows without a prediction", unknown), ("ids that several photos could be", ambiguous)]
    {
        if !items.is_empty() {
            let hint = "predict every photo of the competition, in a folder that holds no others";
            return Err(FormatError::Unwritable { format: "a submission", what, items, hint }.into());
        }
    }
    write_csv(path, watch, |csv| {
        csv.write_record(&columns)?;
        for (id, values) in &filled {
            watch.one_more();
            csv.write_field(id)?;
            csv.write_record(values.iter().map(f64::to_string))?;
        }
        Ok(())
    })?;
    let mut notes = Vec::new();
    if !even.is_empty() {
        let text = format!("equal probabilities for want of a prediction: {}", counted(even.len(), "photo"));
        notes.push(Note { text, items: even });
    }
    Ok(Written { files: vec![path.to_owned()], photos: filled.len(), notes })
}

/// The columns must be `id` and exactly the classes that are predicted.
fn check_columns(table: &LabelTable, file: &Path, columns: &[String], blank: &str) -> Result<(), DataError> {
    let mut known = table.class_words(true);
    let every = || table.photos.iter().flat_map(|photo| &photo.annotations);
    let is_blank = |one: &Annotation| {
        one.label == Some(Label::Blank) || one.scores.iter().any(|(label, _)| *label == Label::Blank)
    };
    if every().any(is_blank) && !known.contains(&blank) {
        known.push(blank);
    }
    let extra: Vec<String> = known
        .iter()
        .filter(|class| !columns[1..].iter().any(|column| column == *class))
        .map(|&c| c.to_owned())
        .collect();
    if !extra.is_empty() {
        let hint = "the model must have been trained on the competition's classes, in its words";
        let what = "classes that are no column of the submission";
        return Err(FormatError::Unwritable { format: "a submission", what, items: extra, hint }.into());
    }
    if columns.len() < 2 {
        let (file, found) = (file.to_owned(), columns.to_vec());
        return Err(DataError::MissingColumns { file, wanted: "id and one for each class", found });
    }
    Ok(())
}

/// The photos by everything that an id may call them.
fn by_name(table: &LabelTable) -> HashMap<&str, Vec<&LabelledPhoto>> {
    let mut photos: HashMap<&str, Vec<&LabelledPhoto>> = HashMap::new();
    for photo in &table.photos {
        let stem = match photo.id.rsplit_once('.') {
            Some((stem, extension)) if !extension.contains('/') => stem,
            _ => photo.id.as_str(),
        };
        let last = stem.rsplit('/').next().unwrap_or(stem);
        let mut names = vec![photo.id.as_str(), stem, last];
        names.extend(photo.key.as_deref());
        names.sort_unstable();
        names.dedup();
        for name in names {
            photos.entry(name).or_default().push(photo);
        }
    }
    photos
}

/// The probability of each column's class; none where nothing is said of the photo.
fn probabilities(photo: &LabelledPhoto, classes: &[String], blank: &str) -> Option<Vec<f64>> {
    let one = photo.annotations.iter().find(|one| one.label.is_some())?;
    let of = |class: &String| match one.scores.as_slice() {
        [] => f64::from(one.word(blank) == Some(class)),
        scores => {
            scores.iter().find(|(label, _)| label.word(blank) == class).map_or(0.0, |(_, score)| *score)
        }
    };
    Some(classes.iter().map(of).collect())
}
