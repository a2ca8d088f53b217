//! COCO Camera Traps JSON out.

use std::collections::HashMap;
use std::path::Path;

use serde::Serialize;

use crate::dataset::{Note, counted};
use crate::error::DataError;
use crate::formats::file::Watch;
use crate::formats::json::{self, Lazy};
use crate::formats::{Annotation, Format, FormatError, LabelTable, LabelledPhoto, Written};

/// Version of the format's description that is followed.
const INFO: Info = Info { version: "1.0", description: "written by pugmark" };

#[derive(Serialize)]
struct File<'a, I: Serialize, A: Serialize> {
    info: &'a Info,
    categories: Vec<Category<'a>>,
    images: I,
    annotations: A,
}

#[derive(Serialize)]
struct Info {
    version: &'static str,
    description: &'static str,
}

#[derive(Serialize)]
struct Category<'a> {
    id: usize,
    name: &'a str,
}

#[derive(Serialize)]
struct Image<'a> {
    id: &'a str,
    file_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    datetime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq_num_frames: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_num: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    corrupt: Option<bool>,
}

#[derive(Serialize)]
struct Said<'a> {
    id: String,
    image_id: &'a str,
    category_id: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
    /// In pixels, where the photo's size is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox: Option<[f64; 4]>,
    /// In shares of width and height, where it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    bbox_relative: Option<[f64; 4]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_level_annotation: Option<bool>,
}

/// Writes a table. Category 0 is `empty`; the others follow in the order of the table's classes.
pub(in crate::formats) fn write(
    table: &LabelTable,
    path: &Path,
    watch: &Watch<'_, '_>,
) -> Result<Written, DataError> {
    let classes = table.class_words(true);
    let empty = Format::Coco.blank_word();
    if classes.contains(&empty) {
        let items = vec![empty.to_owned()];
        let hint = "say with --blank-word that it means no animal, or rename the class";
        return Err(FormatError::Unwritable {
            format: "COCO Camera Traps",
            what: "a class of this name",
            items,
            hint,
        }
        .into());
    }
    let categories =
        [empty].iter().chain(&classes).enumerate().map(|(id, &name)| Category { id, name }).collect();
    let numbers: HashMap<&str, usize> = [empty].iter().chain(&classes).copied().zip(0..).collect();
    let ids = table.keys();
    let mut frames: HashMap<&str, usize> = HashMap::new();
    for sequence in table.photos.iter().filter_map(|photo| photo.sequence.as_deref()) {
        *frames.entry(sequence).or_default() += 1;
    }
    let images = Lazy(|| {
        table.photos.iter().zip(&ids).map(|(photo, id)| {
            watch.one_more();
            image(photo, id, &frames)
        })
    });
    let annotations = Lazy(|| {
        table.photos.iter().zip(&ids).flat_map(|(photo, id)| {
            let named = photo.annotations.iter().filter_map(|one| Some((one, one.word(empty)?)));
            named.enumerate().map(|(index, (one, word))| said(photo, id, index, one, numbers[word]))
        })
    });
    json::write(path, watch, &File { info: &INFO, categories, images, annotations })?;
    let mut notes = Vec::new();
    let nameless =
        table.photos.iter().flat_map(|photo| &photo.annotations).filter(|one| one.word(empty).is_none());
    let nameless = nameless.count();
    if nameless > 0 {
        let text = format!("not written, having no class: {}", counted(nameless, "annotation"));
        notes.push(Note { text, items: Vec::new() });
    }
    Ok(Written { files: vec![path.to_owned()], photos: table.photos.len(), notes })
}

fn image<'a>(photo: &'a LabelledPhoto, id: &'a str, frames: &HashMap<&str, usize>) -> Image<'a> {
    let (width, height) = photo.size.unzip();
    Image {
        id,
        file_name: &photo.id,
        width,
        height,
        datetime: photo.time.map(|time| time.local.format("%Y-%m-%d %H:%M:%S%.f").to_string()),
        seq_id: photo.sequence.as_deref(),
        seq_num_frames: photo.sequence.as_deref().map(|sequence| frames[sequence]),
        frame_num: photo.frame,
        location: photo.site.as_deref(),
        corrupt: photo.failure.is_some().then_some(true),
    }
}

fn said<'a>(
    photo: &LabelledPhoto,
    id: &'a str,
    index: usize,
    one: &Annotation,
    category_id: usize,
) -> Said<'a> {
    let relative = one.area.map(|area| [area.x, area.y, area.width, area.height]);
    let (bbox, bbox_relative) = match photo.size {
        Some((width, height)) => {
            let sides = [width, height, width, height].map(f64::from);
            (relative.map(|area| std::array::from_fn(|side| area[side] * sides[side])), None)
        }
        None => (None, relative),
    };
    Said {
        id: format!("{id}/{index}"),
        image_id: id,
        category_id,
        count: one.count,
        bbox,
        bbox_relative,
        sequence_level_annotation: one.of_sequence.then_some(true),
    }
}
