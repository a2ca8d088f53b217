//! Rules of COCO Camera Traps.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use serde_json::Value;

use super::{Findings, check_relative_box, shown};
use crate::error::DataError;
use crate::formats::json::{Item, walk};
use crate::time::CaptureTime;

#[derive(Default)]
struct Seen {
    keys: HashSet<String>,
    images: HashMap<String, usize>,
    files: HashMap<String, usize>,
    categories: HashSet<String>,
    names: HashSet<String>,
    annotations: HashSet<String>,
    /// Images and categories that annotations are about, with the first place of each.
    about: HashMap<String, String>,
    of: HashMap<String, String>,
    count: usize,
}

pub(super) fn check(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let mut seen = Seen::default();
    walk(path, &mut |key, item| {
        seen.keys.insert(key.to_owned());
        let Item::Element(index, value) = item else {
            if let (Item::Whole(value), "images" | "annotations" | "categories") = (&item, key) {
                findings.error("lists", key, format!("`{key}` is {}", shown(value)), "it must be a list");
            }
            return;
        };
        let at = format!("{key}[{index}]");
        match key {
            "images" => image(&at, index, &value, &mut seen, findings),
            "annotations" => annotation(&at, &value, &mut seen, findings),
            "categories" => category(&at, &value, &mut seen, findings),
            _ => {}
        }
    })?;
    for key in ["images", "annotations", "categories"] {
        if !seen.keys.contains(key) {
            let hint = "images, annotations and categories must be there";
            findings.error("required-keys", key, format!("`{key}` is missing"), hint);
        }
    }
    if !seen.keys.contains("info") {
        let hint = "add \"info\": {\"version\": \"...\", \"description\": \"...\"}";
        findings.error("info", "info", "`info` is missing", hint);
    }
    for (id, at) in &seen.about {
        if !seen.images.contains_key(id) {
            let hint = "add the image, or remove the annotation";
            findings.error("image-unknown", at.as_str(), format!("image_id {id} is no image"), hint);
        }
    }
    for (id, at) in &seen.of {
        if !seen.categories.contains(id) {
            let hint = "add the category, or remove the annotation";
            findings.error("category-unknown", at.as_str(), format!("category_id {id} is no category"), hint);
        }
    }
    Ok(seen.count)
}

/// An id as it stands there, so that 1 and "1" are told apart.
fn id(value: Option<&Value>) -> String {
    value.map_or_else(String::new, Value::to_string)
}

/// Checks an id of an image or annotation.
fn check_id(value: Option<&Value>, rule: &'static str, at: &str, findings: &mut Findings) {
    match value {
        Some(Value::String(_)) => {}
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
            let hint = "older files have numbers: newer tools want texts, so put them in quotes";
            findings.warning(rule, at, format!("the id is the number {number}"), hint);
        }
        other => {
            let problem = format!("the id is {}", other.map_or("missing".to_owned(), shown));
            findings.error("id", at, problem, "an id is a text");
        }
    }
}

fn image(at: &str, index: usize, value: &Value, seen: &mut Seen, findings: &mut Findings) {
    seen.count += 1;
    check_id(value.get("id"), "image-id-text", at, findings);
    if let Some(first) = seen.images.insert(id(value.get("id")), index) {
        findings.error(
            "image-id-twice",
            at,
            format!("the id is already that of images[{first}]"),
            "ids are unique",
        );
    }
    match value.get("file_name").and_then(Value::as_str) {
        None => findings.error("file-name", at, "`file_name` is missing or no text", "name the photo's path"),
        Some(name) => {
            if name.contains('\\') {
                findings.warning(
                    "backslash",
                    at,
                    format!("`{name}` has backslashes"),
                    "write forward slashes",
                );
            }
            if let Some(first) = seen.files.insert(name.to_owned(), index) {
                let problem = format!("`{name}` is already images[{first}]");
                findings.error("file-name-twice", at, problem, "one photo has one image");
            }
        }
    }
    if value.get("width").is_some() != value.get("height").is_some() {
        findings.error("size", at, "width without height or height without width", "give both or neither");
    }
    match value.get("location") {
        Some(Value::String(_)) => {}
        None => {
            let hint = "name the camera's place: without it, nobody can split by site";
            findings.warning("location", at, "`location` is missing", hint);
        }
        Some(other) => {
            findings.warning(
                "location-text",
                at,
                format!("`location` is {}", shown(other)),
                "a location is a text",
            );
        }
    }
    for key in ["sequence", "sequence_id"] {
        if value.get(key).is_some() {
            findings.error("sequence-key", at, format!("`{key}` is no key of the format"), "call it seq_id");
        }
    }
    if let Some(text) = value.get("datetime").filter(|time| !time.is_null()) {
        let read = text.as_str().map(str::parse::<CaptureTime>);
        if !matches!(read, Some(Ok(_))) {
            let problem = format!("`datetime` is {}", shown(text));
            findings.error("datetime", at, problem, "write it as 2022-12-31 09:52:50");
        }
    }
}

fn category(at: &str, value: &Value, seen: &mut Seen, findings: &mut Findings) {
    match value.get("id") {
        Some(Value::Number(number)) if number.is_u64() => {}
        other => {
            let problem = format!("the id is {}", other.map_or("missing".to_owned(), shown));
            findings.error("category-id", at, problem, "a category's id is a whole number from 0 on");
        }
    }
    if !seen.categories.insert(id(value.get("id"))) {
        findings.error("category-id-twice", at, "another category has this id", "ids are unique");
    }
    let Some(name) = value.get("name").and_then(Value::as_str) else {
        findings.error("category-name", at, "`name` is missing or no text", "give the category a name");
        return;
    };
    if !seen.names.insert(name.to_owned()) {
        findings.error(
            "category-name-twice",
            at,
            format!("`{name}` is there twice"),
            "names are unique: merge the two",
        );
    }
    let is_zero = value.get("id").and_then(Value::as_u64) == Some(0);
    if is_zero != name.eq_ignore_ascii_case("empty") {
        let problem = match is_zero {
            true => format!("category 0 is `{name}`"),
            false => "`empty` is not category 0".to_owned(),
        };
        findings.warning("category-zero", at, problem, "category 0 is `empty`, and nothing else is");
    }
}

fn annotation(at: &str, value: &Value, seen: &mut Seen, findings: &mut Findings) {
    check_id(value.get("id"), "annotation-id-text", at, findings);
    if !seen.annotations.insert(id(value.get("id"))) {
        findings.error("annotation-id-twice", at, "another annotation has this id", "ids are unique");
    }
    for (key, places) in [("image_id", &mut seen.about), ("category_id", &mut seen.of)] {
        match value.get(key) {
            None => {
                findings.error("annotation-keys", at, format!("`{key}` is missing"), "say what it is about")
            }
            known => {
                places.entry(id(known)).or_insert_with(|| at.to_owned());
            }
        }
    }
    if let Some(numbers) = value.get("bbox_relative").and_then(Value::as_array) {
        let numbers: Vec<Option<f64>> = numbers.iter().map(Value::as_f64).collect();
        check_relative_box(&numbers, at, findings);
    }
    if let Some(numbers) = value.get("bbox").filter(|bbox| !bbox.is_null()) {
        let numbers: Vec<f64> = numbers.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        match numbers.as_slice() {
            [_, _, width, height] if *width >= 0.0 && *height >= 0.0 => {
                if numbers.iter().all(|number| (0.0..=1.0).contains(number)) && *width > 0.0 {
                    let hint = "bbox is in pixels; shares of the photo belong into bbox_relative";
                    findings.warning("bbox-pixels", at, "every number of `bbox` is from 0 to 1", hint);
                }
            }
            _ => {
                let problem = format!("`bbox` is {}", shown(&value["bbox"]));
                findings.error("bbox", at, problem, "a box is [left, top, width, height] in pixels");
            }
        }
    }
    if let Some(count) = value.get("count").filter(|count| !count.is_null())
        && count.as_i64().is_none()
    {
        findings.error("count", at, format!("`count` is {}", shown(count)), "a count is a whole number");
    }
}
