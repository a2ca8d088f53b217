//! SpeciesNet predictions JSON (<https://github.com/google/cameratrapai>).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::blank;
use super::file::{Watch, folder_of};
use super::json::{self, Lazy};
use super::table::{Words, label};
use super::{
    Annotation, Area, Detection, Format, FormatError, Label, LabelTable, LabelledPhoto, Method, Single,
    TableOptions, Written,
};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::read::as_id;

/// SpeciesNet's own label of an empty frame.
pub(super) const BLANK: &str = "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank";

/// Classes that SpeciesNet lists a photo.
const TOP: usize = 5;

#[derive(Deserialize)]
struct File {
    predictions: Vec<Prediction>,
}

#[derive(Deserialize, Serialize, Default)]
struct Prediction {
    filepath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    failures: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classifications: Option<Classifications>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detections: Option<Vec<Found>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prediction_source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model_version: Option<String>,
}

#[derive(Deserialize, Serialize)]
struct Classifications {
    classes: Vec<String>,
    scores: Vec<f64>,
}

#[derive(Deserialize, Serialize)]
struct Found {
    category: String,
    label: String,
    conf: f64,
    bbox: [f64; 4],
}

/// Reads a file. A photo has one label; its boxes are detections beside it.
pub(super) fn read(path: &Path, options: &TableOptions) -> Result<LabelTable, DataError> {
    let File { predictions } = json::read(path)?;
    let folder = options.photos.clone().unwrap_or_else(|| folder_of(path));
    let mut table = LabelTable::new(path, &folder, Format::SpeciesNet);
    let (mut words, blank) = (Words::default(), blank::word(Format::SpeciesNet, options));
    table.photos.reserve(predictions.len());
    for (index, said) in predictions.into_iter().enumerate() {
        let mut label = |text: &str| label(name(text), &blank, &mut words);
        let mut scores: Vec<(Label, f64)> = Vec::new();
        if let Some(Classifications { classes, scores: given }) = &said.classifications {
            if classes.len() != given.len() {
                let problem = format!("{} classes have {} scores", classes.len(), given.len());
                let hint = "each class has one score";
                let at = format!("predictions[{index}].classifications");
                return Err(FormatError::Entry { file: path.to_owned(), at, problem, hint }.into());
            }
            scores.extend(classes.iter().map(|class| label(class)).zip(given.iter().copied()));
        }
        let first = said
            .prediction
            .as_deref()
            .map(&mut label)
            .or_else(|| scores.first().map(|(best, _)| best.clone()));
        let confidence = said.prediction_score.or_else(|| {
            scores.iter().find(|(label, _)| Some(label) == first.as_ref()).map(|(_, score)| *score)
        });
        if let (Some(first), Some(confidence), [(only, score)]) = (&first, confidence, scores.as_slice())
            && (first, confidence) == (only, *score)
        {
            scores.clear();
        }
        let by = words.known(said.model_version.as_deref().or(options.model.as_deref()));
        let method = Some(Method::Machine);
        let mut annotations = Vec::new();
        if first.is_some() {
            let by = by.clone();
            annotations.push(Annotation {
                label: first,
                confidence,
                scores,
                method,
                by,
                ..Annotation::default()
            });
        }
        annotations.extend(said.detections.into_iter().flatten().map(|found| {
            let [x, y, width, height] = found.bbox;
            Annotation {
                area: Some(Area { x, y, width, height }),
                detection: Some(Detection { category: words.get(&found.label), confidence: found.conf }),
                method,
                by: by.clone(),
                ..Annotation::default()
            }
        }));
        let failed = said.failures.filter(|failures| !failures.is_empty() && annotations.is_empty());
        table.photos.push(LabelledPhoto {
            id: as_id(&said.filepath),
            failure: failed.map(|failures| failures.join(", ")),
            annotations,
            ..LabelledPhoto::default()
        });
    }
    table.check_unique("predictions")?;
    Ok(table)
}

/// The last name in `uuid;class;order;family;genus;species;common name`: the common one, else the lowest taxon.
fn name(text: &str) -> &str {
    text.split(';').skip(1).filter(|part| !part.trim().is_empty()).last().unwrap_or(text)
}

/// A class as SpeciesNet writes it. Its ids are known for SpeciesNet's own classes alone; others have none.
fn full_name(label: &Label) -> String {
    match label {
        Label::Blank => BLANK.to_owned(),
        Label::Class(word) => format!(";;;;;;{word}"),
    }
}

/// Writes a table. A photo has one label here; photos with several are left out and listed.
pub(super) fn write(table: &LabelTable, path: &Path, watch: &Watch<'_, '_>) -> Result<Written, DataError> {
    let refused: Vec<String> =
        table.class_words(false).into_iter().filter(|class| class.contains(';')).map(str::to_owned).collect();
    if !refused.is_empty() {
        let (format, what) = ("SpeciesNet predictions", "a semicolon in a class");
        let hint = "it separates the ranks of a name there: rename the class";
        return Err(FormatError::Unwritable { format, what, items: refused, hint }.into());
    }
    let (mut several, mut photos) = (Vec::new(), 0);
    for photo in &table.photos {
        match photo.single(table.threshold()) {
            Single::Several(_) => several.push(photo.id.clone()),
            _ => photos += 1,
        }
    }
    let predictions = Lazy(|| {
        let kept = table.photos.iter().filter_map(|photo| match photo.single(table.threshold()) {
            Single::Several(_) => None,
            Single::Label(label) => Some((photo, Some(label))),
            Single::Unlabelled | Single::Doubtful => Some((photo, None)),
        });
        kept.map(|(photo, label)| {
            watch.one_more();
            prediction(photo, label.as_ref())
        })
    });
    #[derive(Serialize)]
    struct Out<P: Serialize> {
        predictions: P,
    }
    json::write(path, watch, &Out { predictions })?;
    let mut notes = Vec::new();
    if !several.is_empty() {
        let text = format!("not written, several things being on them: {}", counted(several.len(), "photo"));
        notes.push(Note { text, items: several });
    }
    Ok(Written { files: vec![path.to_owned()], photos, notes })
}

fn prediction(photo: &LabelledPhoto, single: Option<&Label>) -> Prediction {
    let said = photo.annotations.iter().find(|one| one.label.as_ref() == single && single.is_some());
    // The label may be that of a detection that nobody named: then it is in the detections alone.
    let confidence = said.map(|one| one.confidence.unwrap_or(1.0));
    let classifications = said.map(|one| match (single, one.scores.as_slice()) {
        (Some(label), []) => (vec![full_name(label)], vec![one.confidence.unwrap_or(1.0)]),
        (_, scores) => scores.iter().take(TOP).map(|(label, score)| (full_name(label), *score)).unzip(),
    });
    let found: Vec<Found> = photo
        .annotations
        .iter()
        .filter_map(|one| {
            let area = one.area?;
            let (label, conf) = match &one.detection {
                Some(found) => (found.category.to_string(), found.confidence),
                None => ("animal".to_owned(), 1.0),
            };
            let category = match label.as_str() {
                "person" | "human" => "2",
                "vehicle" => "3",
                _ => "1",
            };
            let bbox = [area.x, area.y, area.width, area.height];
            Some(Found { category: category.to_owned(), label, conf, bbox })
        })
        .collect();
    let human = said.is_some_and(|one| one.method != Some(Method::Machine));
    Prediction {
        filepath: photo.id.clone(),
        failures: photo.failure.as_ref().map(|_| vec!["CLASSIFIER".to_owned()]),
        classifications: classifications.map(|(classes, scores)| Classifications { classes, scores }),
        detections: (!found.is_empty()).then_some(found),
        prediction: said.and(single).map(full_name),
        prediction_score: confidence,
        prediction_source: said.map(|_| if human { "label" } else { "classifier" }.to_owned()),
        model_version: photo.annotations.iter().find_map(|one| one.by.as_deref()).map(str::to_owned),
    }
}
