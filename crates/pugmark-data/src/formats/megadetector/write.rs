//! MegaDetector results JSON out, version 1.6.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use serde::Serialize;

use super::{ANIMAL, WHOLE};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::formats::file::Watch;
use crate::formats::json::{self, Lazy};
use crate::formats::{Annotation, Format, FormatError, Label, LabelTable, LabelledPhoto, Written};

/// The categories that every file has, since other tools know them by number.
const CATEGORIES: [&str; 3] = [ANIMAL, "person", "vehicle"];

#[derive(Serialize)]
struct File<'a, I: Serialize> {
    info: Info<'a>,
    detection_categories: BTreeMap<&'a str, &'a str>,
    classification_categories: BTreeMap<&'a str, &'a str>,
    images: I,
}

#[derive(Serialize)]
struct Info<'a> {
    format_version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detector: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    classifier: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detector_metadata: Option<DetectorMetadata>,
    pugmark: Provenance,
}

#[derive(Serialize)]
struct DetectorMetadata {
    typical_detection_threshold: f64,
}

#[derive(Serialize)]
struct Provenance {
    version: &'static str,
    from: &'static str,
}

#[derive(Serialize)]
struct Image<'a> {
    file: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datetime: Option<String>,
    /// Null beside a failure, empty for an empty frame.
    detections: Option<Vec<Found<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<&'a str>,
}

#[derive(Serialize)]
struct Found<'a> {
    category: &'a str,
    conf: f64,
    bbox: [f64; 4],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classifications: Vec<(&'a str, f64)>,
}

/// Numbers, as texts, of what the detections name.
struct Numbers<'a> {
    detections: HashMap<&'a str, String>,
    classes: HashMap<&'a str, String>,
    blank: &'a str,
}

/// Writes a table. Photos that nobody looked at are left out: an empty list of detections would call them empty.
pub(in crate::formats) fn write(
    table: &LabelTable,
    path: &Path,
    watch: &Watch<'_, '_>,
) -> Result<Written, DataError> {
    let blank = Format::MegaDetector.blank_word();
    let every = || table.photos.iter().flat_map(|photo| &photo.annotations);
    let mut categories = CATEGORIES.to_vec();
    let found: BTreeSet<&str> =
        every().filter_map(|one| one.detection.as_ref()).map(|one| &*one.category).collect();
    categories.extend(found.into_iter().filter(|category| !CATEGORIES.contains(category)));
    let mut classes = table.class_words(false);
    let scored = |one: &Annotation| one.scores.iter().any(|(label, _)| *label == Label::Blank);
    let named = |one: &Annotation| one.label == Some(Label::Blank) && one.area.is_some();
    if every().any(|one| scored(one) || named(one)) && !classes.contains(&blank) {
        classes.push(blank);
    }
    let nameless: Vec<String> = categories
        .iter()
        .chain(&classes)
        .filter(|name| name.trim().is_empty())
        .map(|&name| name.to_owned())
        .collect();
    if !nameless.is_empty() {
        let (format, what) = ("MegaDetector results", "a class without a name");
        return Err(
            FormatError::Unwritable { format, what, items: nameless, hint: "give the class a name" }.into()
        );
    }
    let numbers = Numbers {
        detections: categories
            .iter()
            .zip(1..)
            .map(|(&name, number): (_, u32)| (name, number.to_string()))
            .collect(),
        classes: classes
            .iter()
            .zip(0..)
            .map(|(&name, number): (_, u32)| (name, number.to_string()))
            .collect(),
        blank,
    };
    let images = Lazy(|| {
        table.photos.iter().filter(|photo| is_known(photo)).map(|photo| {
            watch.one_more();
            image(photo, &numbers)
        })
    });
    let by = |with_label: bool| {
        every().filter(|one| one.label.is_some() == with_label).find_map(|one| one.by.as_deref())
    };
    let info = Info {
        format_version: "1.6",
        detector: by(false),
        classifier: by(true),
        detector_metadata: table
            .threshold
            .map(|typical_detection_threshold| DetectorMetadata { typical_detection_threshold }),
        pugmark: Provenance { version: env!("CARGO_PKG_VERSION"), from: table.format.name() },
    };
    let file = File {
        info,
        detection_categories: by_number(&numbers.detections),
        classification_categories: by_number(&numbers.classes),
        images,
    };
    json::write(path, watch, &file)?;
    let unknown: Vec<String> =
        table.photos.iter().filter(|photo| !is_known(photo)).map(|photo| photo.id.clone()).collect();
    let photos = table.photos.len() - unknown.len();
    let mut notes = Vec::new();
    if !unknown.is_empty() {
        let text = format!("not written, nothing being said of them: {}", counted(unknown.len(), "photo"));
        notes.push(Note { text, items: unknown });
    }
    Ok(Written { files: vec![path.to_owned()], photos, notes })
}

fn by_number<'a>(names: &'a HashMap<&'a str, String>) -> BTreeMap<&'a str, &'a str> {
    names.iter().map(|(name, number)| (number.as_str(), *name)).collect()
}

/// Whether anything is said of a photo.
fn is_known(photo: &LabelledPhoto) -> bool {
    photo.failure.is_some() || !photo.annotations.is_empty()
}

fn image<'a>(photo: &'a LabelledPhoto, numbers: &'a Numbers<'_>) -> Image<'a> {
    let (width, height) = photo.size.unzip();
    let is_empty = |one: &&Annotation| one.label == Some(Label::Blank) && one.area.is_none();
    let found =
        photo.annotations.iter().filter(|one| !is_empty(one)).map(|one| found(one, numbers)).collect();
    Image {
        file: &photo.id,
        width,
        height,
        datetime: photo.time.map(|time| time.local.format("%Y:%m:%d %H:%M:%S").to_string()),
        detections: photo.failure.is_none().then_some(found),
        failure: photo.failure.as_deref(),
    }
}

fn found<'a>(one: &Annotation, numbers: &'a Numbers<'_>) -> Found<'a> {
    let class = |label: &Label| numbers.classes[label.word(numbers.blank)].as_str();
    let (category, conf) = match &one.detection {
        Some(found) => (&*found.category, found.confidence),
        None => (ANIMAL, 1.0),
    };
    let classifications = match (&one.label, one.scores.as_slice()) {
        (Some(label), []) => vec![(class(label), one.confidence.unwrap_or(1.0))],
        (_, scores) => scores.iter().map(|(label, score)| (class(label), *score)).collect(),
    };
    let area = one.area.unwrap_or(WHOLE);
    Found {
        category: &numbers.detections[category],
        conf,
        bbox: [area.x, area.y, area.width, area.height],
        classifications,
    }
}
