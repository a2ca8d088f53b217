//! MegaDetector results JSON, versions 1.3 to 1.6
//! (<https://github.com/agentmorris/MegaDetector/blob/main/docs/output-format.md>).
//!
//! A classifier of whole photos writes one detection that is the whole photo, with its classes; that is how AddaxAI and
//! Timelapse have it, and it is read as a label of the photo and not as a box.

mod write;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::blank;
use super::file::folder_of;
use super::json;
use super::table::{Words, label};
use super::{
    Annotation, Area, Detection, Format, FormatError, Label, LabelTable, LabelledPhoto, Method, TableOptions,
    Word,
};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::read::as_id;

pub(super) use write::write;

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    info: Info,
    detection_categories: BTreeMap<String, String>,
    #[serde(default)]
    classification_categories: BTreeMap<String, String>,
    images: Vec<Image>,
}

#[derive(Deserialize, Default)]
struct Info {
    detector: Option<String>,
    classifier: Option<String>,
    #[serde(default)]
    detector_metadata: Option<DetectorMetadata>,
}

#[derive(Deserialize, Default)]
struct DetectorMetadata {
    typical_detection_threshold: Option<f64>,
}

#[derive(Deserialize)]
struct Image {
    file: String,
    detections: Option<Vec<Found>>,
    failure: Option<String>,
    width: Option<f64>,
    height: Option<f64>,
    datetime: Option<String>,
}

#[derive(Deserialize)]
struct Found {
    category: String,
    conf: f64,
    bbox: Option<[f64; 4]>,
    classifications: Option<Vec<(String, f64)>>,
}

/// The box that is the whole photo.
const WHOLE: Area = Area { x: 0.0, y: 0.0, width: 1.0, height: 1.0 };

/// Category of the whole photo.
const ANIMAL: &str = "animal";

/// What is looked up while the images are read.
struct Known<'a> {
    path: &'a Path,
    detections: BTreeMap<String, Word>,
    classes: BTreeMap<String, Label>,
    detector: Option<Word>,
    classifier: Option<Word>,
}

/// Reads a file. No detections mean an empty frame, a failure a broken photo.
pub(super) fn read(path: &Path, options: &TableOptions) -> Result<LabelTable, DataError> {
    let File { info, detection_categories, classification_categories, images } = json::read(path)?;
    let folder = options.photos.clone().unwrap_or_else(|| folder_of(path));
    let mut table = LabelTable::new(path, &folder, Format::MegaDetector);
    table.threshold = info.detector_metadata.and_then(|known| known.typical_detection_threshold);
    let (mut words, blank) = (Words::default(), blank::word(Format::MegaDetector, options));
    let known = Known {
        path,
        detections: detection_categories.into_iter().map(|(id, name)| (id, words.get(&name))).collect(),
        classes: classification_categories
            .into_iter()
            .map(|(id, name)| (id, label(&name, &blank, &mut words)))
            .collect(),
        detector: words.known(info.detector.as_deref()),
        classifier: words.known(info.classifier.as_deref().or(options.model.as_deref())),
    };
    let mut videos = Vec::new();
    for (index, image) in images.into_iter().enumerate() {
        if is_video(&image.file) {
            videos.push(as_id(&image.file));
        } else {
            table.photos.push(known.photo(index, image)?);
        }
    }
    table.check_unique("images")?;
    if !videos.is_empty() {
        let text = format!("left out, being no photo: {}", counted(videos.len(), "video"));
        table.notes.push(Note { text, items: videos });
    }
    Ok(table)
}

impl Known<'_> {
    fn photo(&self, index: usize, image: Image) -> Result<LabelledPhoto, DataError> {
        let id = as_id(&image.file);
        let pixels = |side: Option<f64>| side.filter(|side| *side >= 1.0 && *side <= f64::from(u32::MAX));
        let size = pixels(image.width).zip(pixels(image.height));
        let annotations = match (&image.failure, image.detections) {
            (Some(_), _) => Vec::new(),
            (None, None) => {
                return Err(self.wrong(index, "neither `detections` nor `failure` is there".to_owned()));
            }
            (None, Some(found)) if found.is_empty() => {
                let by = self.classifier.clone().or(self.detector.clone());
                vec![Annotation { method: Some(Method::Machine), by, ..Annotation::of(Label::Blank) }]
            }
            (None, Some(found)) => {
                found.into_iter().map(|found| self.annotation(index, found)).collect::<Result<_, _>>()?
            }
        };
        Ok(LabelledPhoto {
            id,
            size: size.map(|(width, height)| (width as u32, height as u32)),
            time: image.datetime.as_deref().and_then(|text| text.parse().ok()),
            failure: image.failure,
            annotations,
            ..LabelledPhoto::default()
        })
    }

    fn annotation(&self, index: usize, found: Found) -> Result<Annotation, DataError> {
        let category = self.detections.get(&found.category).ok_or_else(|| {
            self.wrong(index, format!("category `{}` is not in `detection_categories`", found.category))
        })?;
        let mut scores = Vec::new();
        for (id, score) in found.classifications.unwrap_or_default() {
            let class = self.classes.get(&id).ok_or_else(|| {
                self.wrong(index, format!("classification `{id}` is not in `classification_categories`"))
            })?;
            scores.push((class.clone(), score));
        }
        scores.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let area = found.bbox.map(|[x, y, width, height]| Area { x, y, width, height });
        let best = scores.first().cloned();
        let whole = area == Some(WHOLE) && found.conf == 1.0 && best.is_some() && &**category == ANIMAL;
        if scores.len() == 1 {
            scores.clear();
        }
        let by = if best.is_some() { &self.classifier } else { &self.detector };
        Ok(Annotation {
            confidence: best.as_ref().map(|(_, score)| *score),
            label: best.map(|(class, _)| class),
            scores,
            area: area.filter(|_| !whole),
            detection: (!whole)
                .then(|| Detection { category: Word::clone(category), confidence: found.conf }),
            method: Some(Method::Machine),
            by: by.clone(),
            ..Annotation::default()
        })
    }

    fn wrong(&self, index: usize, problem: String) -> DataError {
        let hint = "`pugmark check FILE --format megadetector` lists everything that is wrong";
        FormatError::Entry { file: self.path.to_owned(), at: format!("images[{index}]"), problem, hint }
            .into()
    }
}

/// Whether a file's name is that of a video.
pub(super) fn is_video(name: &str) -> bool {
    let extensions = ["mp4", "avi", "mpeg", "mpg", "mov", "mkv", "flv"];
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    extensions.iter().any(|known| known.eq_ignore_ascii_case(extension))
}
