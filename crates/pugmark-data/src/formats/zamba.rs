//! Predictions of zamba: for photos `filepath,detection_category,detection_conf,x1,y1,x2,y2,<class...>` with boxes in
//! pixels, one row a box; for videos `filepath,<class...>`.

use std::collections::HashMap;
use std::path::Path;

use super::blank;
use super::crop::PhotoSizes;
use super::file::folder_of;
use super::table::{Words, label};
use super::{
    Annotation, Area, Detection, Format, FormatError, Label, LabelTable, LabelledPhoto, Method, TableOptions,
};
use crate::error::DataError;
use crate::read::{Row, Rows, as_id};

/// Columns that are no class.
const NO_CLASS: [&str; 8] = ["filepath", "detection_category", "detection_conf", "x1", "y1", "x2", "y2", ""];

/// What older versions put before a class.
const PREFIX: &str = "species_";

/// Whether a table's columns are those of predictions: a path, no label, and a detection for each row.
pub(super) fn is_header(header: &[String]) -> bool {
    let column = |name: &str| Rows::column(header, &[name]).is_some();
    column("filepath") && !column("label") && column("detection_category") && column("detection_conf")
}

/// Reads the CSV; the label of a box is its most probable class.
pub(super) fn read(path: &Path, options: &TableOptions) -> Result<LabelTable, DataError> {
    let mut rows = Rows::open(path)?;
    let column = |name: &str| Rows::column(&rows.header, &[name]);
    let Some(file) = column("filepath") else {
        let (file, found) = (path.to_owned(), rows.header);
        return Err(DataError::MissingColumns { file, wanted: "filepath and one for each class", found });
    };
    let (category, conf) = (column("detection_category"), column("detection_conf"));
    let corners: Option<Vec<usize>> = ["x1", "y1", "x2", "y2"].map(column).into_iter().collect();
    let folder = options.photos.clone().unwrap_or_else(|| folder_of(path));
    let mut table = LabelTable::new(path, &folder, Format::ZambaPredictions);
    let (mut words, blank) = (Words::default(), blank::word(Format::ZambaPredictions, options));
    let mut classes = Vec::new();
    let mut labels: Vec<(usize, Label)> = Vec::new();
    for (index, name) in rows.header.iter().enumerate() {
        if !NO_CLASS.contains(&name.as_str()) {
            let name = name.strip_prefix(PREFIX).unwrap_or(name);
            classes.push(name.to_owned());
            labels.push((index, label(name, &blank, &mut words)));
        }
    }
    let by = words.known(options.model.as_deref());
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut sizes = PhotoSizes::new(&folder);
    while let Some(row) = rows.next()? {
        let id = as_id(rows.required(&row, file)?);
        let place = *places.entry(id.clone()).or_insert_with(|| {
            table.photos.push(LabelledPhoto { size: sizes.of(&id), id, ..LabelledPhoto::default() });
            table.photos.len() - 1
        });
        let photo = &mut table.photos[place];
        let mut scores = labels
            .iter()
            .map(|(index, label)| Ok((label.clone(), number(&rows, &row, *index)?)))
            .collect::<Result<Vec<_>, DataError>>()?;
        scores.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let area = match &corners {
            Some(corners) => {
                let corners = corners.iter().map(|&index| number(&rows, &row, index));
                let corners: Vec<f64> = corners.collect::<Result<_, _>>()?;
                let (x, y) = (corners[0], corners[1]);
                sizes.relative(photo, Area { x, y, width: corners[2] - x, height: corners[3] - y })
            }
            None => None,
        };
        let detection = match (category, conf) {
            (Some(category), Some(conf)) => {
                let category = words.get(category_name(row.value(category)));
                Some(Detection { category, confidence: number(&rows, &row, conf)? })
            }
            _ => None,
        };
        let best = scores.first().cloned();
        photo.say(Annotation {
            confidence: best.as_ref().map(|(_, score)| *score),
            label: best.map(|(label, _)| label),
            scores,
            area,
            detection,
            method: Some(Method::Machine),
            by: by.clone(),
            ..Annotation::default()
        });
    }
    table.notes.extend(sizes.note());
    table.classes = Some(classes);
    Ok(table)
}

/// MegaDetector's numbers as words.
fn category_name(text: &str) -> &str {
    match text {
        "1" => "animal",
        "2" => "person",
        "3" => "vehicle",
        other => other,
    }
}

fn number(rows: &Rows, row: &Row, column: usize) -> Result<f64, DataError> {
    let value = row.value(column);
    value.parse::<f64>().ok().filter(|number| number.is_finite()).ok_or_else(|| {
        let at = format!("row {}, column `{}`", row.line, rows.header[column]);
        let (file, problem) = (rows.file.clone(), format!("`{value}` is no number"));
        FormatError::Entry { file, at, problem, hint: "correct it, or remove the row" }.into()
    })
}
