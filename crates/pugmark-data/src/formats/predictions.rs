//! What `pugmark predict` writes: `id`, the probability of each class, `truncated`, `reason`.

use std::path::Path;

use super::blank;
use super::file::folder_of;
use super::table::{Words, label};
use super::{Annotation, Format, FormatError, Label, LabelTable, LabelledPhoto, Method, TableOptions};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::read::{Row, Rows, as_id};

pub(super) fn is_header(header: &[String]) -> bool {
    matches!(header, [id, _, .., truncated, reason] if id == "id" && truncated == "truncated" && reason == "reason")
}

/// Reads the CSV: the label is the most probable class, the first of equals.
pub(super) fn read(path: &Path, options: &TableOptions) -> Result<LabelTable, DataError> {
    let mut rows = Rows::open(path)?;
    if !is_header(&rows.header) {
        let (file, found) = (path.to_owned(), rows.header);
        return Err(DataError::MissingColumns {
            file,
            wanted: "id, one for each class, truncated and reason",
            found,
        });
    }
    let folder = options.photos.clone().unwrap_or_else(|| folder_of(path));
    let mut table = LabelTable::new(path, &folder, Format::Predictions);
    let (mut words, blank) = (Words::default(), blank::word(Format::Predictions, options));
    let classes = rows.header[1..rows.header.len() - 2].to_vec();
    let labels: Vec<Label> = classes.iter().map(|class| label(class, &blank, &mut words)).collect();
    let by = words.known(options.model.as_deref());
    let (truncated, reason) = (classes.len() + 1, classes.len() + 2);
    let mut cut_off = Vec::new();
    while let Some(row) = rows.next()? {
        let id = as_id(rows.required(&row, 0)?);
        if row.value(truncated) == "true" {
            cut_off.push(id.clone());
        }
        let mut photo = LabelledPhoto { id, ..LabelledPhoto::default() };
        match row.value(reason) {
            "" => {
                let scores = probabilities(&rows, &row, &labels)?;
                let (best, confidence) = scores[0].clone();
                let (confidence, by) = (Some(confidence), by.clone());
                let method = Some(Method::Machine);
                photo.say(Annotation { confidence, scores, method, by, ..Annotation::of(best) });
            }
            why => photo.failure = Some(why.to_owned()),
        }
        table.photos.push(photo);
    }
    table.check_unique("rows")?;
    table.classes = Some(classes);
    if !cut_off.is_empty() {
        let text = format!(
            "predicted from what is left of a file that was cut off: {}",
            counted(cut_off.len(), "photo")
        );
        table.notes.push(Note { text, items: cut_off });
    }
    Ok(table)
}

/// The classes of a row with their probabilities, falling; equals stay in the file's order.
fn probabilities(rows: &Rows, row: &Row, labels: &[Label]) -> Result<Vec<(Label, f64)>, DataError> {
    let mut scores = Vec::with_capacity(labels.len());
    for (index, label) in labels.iter().enumerate() {
        let value = row.value(index + 1);
        let score =
            value.parse::<f64>().ok().filter(|score| (0.0..=1.0).contains(score)).ok_or_else(|| {
                let at = format!("row {}, column `{}`", row.line, rows.header[index + 1]);
                let problem = format!("`{value}` is no probability");
                let hint = "a probability is a number from 0 to 1; a photo without any has a reason";
                FormatError::Entry { file: rows.file.clone(), at, problem, hint }
            })?;
        scores.push((label.clone(), score));
    }
    scores.sort_by(|(_, one), (_, other)| other.total_cmp(one));
    Ok(scores)
}
