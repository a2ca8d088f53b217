//! COCO Camera Traps JSON, as MegaDetector's `megadetector/data_management/README.md` describes it.

mod write;

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::blank;
use super::crop::PhotoSizes;
use super::file::folder_of;
use super::json::{self, Loose};
use super::table::{Words, label};
use super::{Annotation, Area, Format, FormatError, Label, LabelTable, LabelledPhoto, TableOptions};
use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::read::as_id;

pub(super) use write::write;

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    #[serde(default)]
    annotations: Vec<Said>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: Loose,
    file_name: String,
    width: Option<f64>,
    height: Option<f64>,
    datetime: Option<String>,
    seq_id: Option<Loose>,
    frame_num: Option<i64>,
    location: Option<Loose>,
    corrupt: Option<bool>,
}

#[derive(Deserialize)]
struct Category {
    id: Loose,
    name: String,
}

#[derive(Deserialize)]
struct Said {
    image_id: Loose,
    category_id: Loose,
    count: Option<i64>,
    bbox: Option<Vec<f64>>,
    bbox_relative: Option<Vec<f64>>,
    sequence_level_annotation: Option<bool>,
}

/// Reads a file. Ids and locations that are numbers, as older files have them, are read as texts.
pub(super) fn read(path: &Path, options: &TableOptions) -> Result<LabelTable, DataError> {
    let File { images, annotations, categories } = json::read(path)?;
    let folder = options.photos.clone().unwrap_or_else(|| folder_of(path));
    let mut table = LabelTable::new(path, &folder, Format::Coco);
    let (mut words, blank) = (Words::default(), blank::word(Format::Coco, options));
    let labels: HashMap<String, Label> = categories
        .into_iter()
        .map(|Category { id, name }| (id.0, label(&name, &blank, &mut words)))
        .collect();
    let mut places: HashMap<String, usize> = HashMap::with_capacity(images.len());
    let mut no_times = Vec::new();
    table.photos.reserve(images.len());
    for (index, image) in images.into_iter().enumerate() {
        let photo = photo(image, &mut words, &mut no_times);
        let name = photo.key.clone().unwrap_or_else(|| photo.id.clone());
        if let Some(first) = places.insert(name, index) {
            let name = photo.key.as_ref().unwrap_or(&photo.id);
            let problem = format!("id `{name}` is already that of images[{first}]");
            return Err(entry(
                path,
                format!("images[{index}]"),
                problem,
                "give every image an id of its own",
            ));
        }
        table.photos.push(photo);
    }
    table.check_unique("images")?;
    let mut sizes = PhotoSizes::new(&folder);
    let mut of_sequences = 0;
    for (index, said) in annotations.into_iter().enumerate() {
        let at = || format!("annotations[{index}]");
        let unknown = |what: &str, id: &Loose| {
            let problem = format!("{what} `{}` is not in the file", id.0);
            entry(path, at(), problem, "add what it refers to, or remove the annotation")
        };
        let place = *places.get(&said.image_id.0).ok_or_else(|| unknown("image_id", &said.image_id))?;
        let label =
            labels.get(&said.category_id.0).ok_or_else(|| unknown("category_id", &said.category_id))?;
        let photo = &mut table.photos[place];
        let area = match (&said.bbox_relative, &said.bbox) {
            (Some(relative), _) => Some(area(relative).ok_or_else(|| not_four(path, at()))?),
            (None, Some(pixels)) => {
                let pixels = area(pixels).ok_or_else(|| not_four(path, at()))?;
                photo.size = photo.size.or_else(|| sizes.of(&photo.id));
                sizes.relative(photo, pixels)
            }
            (None, None) => None,
        };
        let of_sequence = said.sequence_level_annotation.unwrap_or(false);
        of_sequences += usize::from(of_sequence);
        let count = said.count.and_then(|count| u32::try_from(count).ok());
        photo.say(Annotation { area, count, of_sequence, ..Annotation::of(label.clone()) });
    }
    table.notes.extend(sizes.note());
    if !no_times.is_empty() {
        let text = format!("the time is not understood and left out: {}", counted(no_times.len(), "photo"));
        table.notes.push(Note { text, items: no_times });
    }
    if of_sequences > 0 {
        let text =
            format!("said of whole sequences, not of single photos: {}", counted(of_sequences, "label"));
        table.notes.push(Note { text, items: Vec::new() });
    }
    Ok(table)
}

fn photo(image: Image, words: &mut Words, no_times: &mut Vec<String>) -> LabelledPhoto {
    let id = as_id(&image.file_name);
    let pixels = |side: Option<f64>| side.filter(|side| *side >= 1.0 && *side <= f64::from(u32::MAX));
    let size =
        pixels(image.width).zip(pixels(image.height)).map(|(width, height)| (width as u32, height as u32));
    let time = image.datetime.as_deref().filter(|text| !text.trim().is_empty()).and_then(|text| {
        let time = text.parse().ok();
        if time.is_none() {
            no_times.push(format!("{id} ({text})"));
        }
        time
    });
    LabelledPhoto {
        key: (image.id.0 != id).then_some(image.id.0),
        size,
        site: words.known(image.location.as_ref().map(|text| text.0.as_str())),
        sequence: words.known(image.seq_id.as_ref().map(|text| text.0.as_str())),
        frame: image.frame_num.and_then(|number| u32::try_from(number).ok()),
        time,
        failure: image.corrupt.unwrap_or(false).then(|| CORRUPT.to_owned()),
        id,
        ..LabelledPhoto::default()
    }
}

/// Why a photo is not used that the file calls corrupt.
const CORRUPT: &str = "marked as corrupt";

fn area(numbers: &[f64]) -> Option<Area> {
    let [x, y, width, height] = *numbers else { return None };
    Some(Area { x, y, width, height })
}

fn not_four(path: &Path, at: String) -> DataError {
    let problem = "a box is not four numbers".to_owned();
    entry(path, at, problem, "a box is [left, top, width, height]")
}

fn entry(path: &Path, at: String, problem: String, hint: &'static str) -> DataError {
    FormatError::Entry { file: path.to_owned(), at, problem, hint }.into()
}
