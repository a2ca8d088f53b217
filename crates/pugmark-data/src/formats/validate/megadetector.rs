//! Rules of MegaDetector results, versions 1.3 to 1.6.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde_json::{Map, Value};

use super::{Findings, check_relative_box, shown};
use crate::error::DataError;
use crate::formats::json::{Item, walk};
use crate::formats::megadetector::is_video;

/// Keys that every reader knows.
const KEYS: [&str; 5] = [
    "info",
    "images",
    "detection_categories",
    "classification_categories",
    "classification_category_descriptions",
];

#[derive(Default)]
struct Seen {
    version: Option<f64>,
    categories: HashMap<String, Vec<String>>,
    /// First place of each category that an image uses, by list and id.
    used: BTreeMap<(&'static str, String), String>,
    files: HashMap<String, usize>,
    videos: Vec<(String, Map<String, Value>)>,
    keys: Vec<String>,
    images: usize,
}

pub(super) fn check(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let mut seen = Seen::default();
    walk(path, &mut |key, item| match (key, item) {
        (_, Item::End(count)) => {
            seen.keys.push(key.to_owned());
            if key == "images" {
                seen.images = count;
            }
        }
        ("images", Item::Element(index, value)) => image(index, &value, &mut seen, findings),
        (_, Item::Element(..)) => {}
        (key, Item::Whole(value)) => {
            seen.keys.push(key.to_owned());
            match key {
                "info" => info(&value, &mut seen, findings),
                "images" => {
                    let hint = "images is a list with one entry a file";
                    findings.error("images-list", "images", format!("it is {}", shown(&value)), hint);
                }
                "detection_categories" | "classification_categories" => {
                    categories(key, &value, &mut seen, findings);
                }
                _ => {}
            }
        }
    })?;
    for key in ["info", "images", "detection_categories"] {
        if !seen.keys.iter().any(|known| known == key) {
            let hint = "info, detection_categories and images must be there";
            findings.error("required-keys", key, format!("`{key}` is missing"), hint);
        }
    }
    for key in seen.keys.iter().filter(|key| !KEYS.contains(&key.as_str())) {
        let hint = "put what is your own into `info`, where no reader minds it";
        findings.warning("unknown-key", key.as_str(), format!("`{key}` is no key of the format"), hint);
    }
    for ((list, id), at) in &seen.used {
        if !seen.categories.get(*list).is_some_and(|ids| ids.contains(id)) {
            findings.error(
                "category-unknown",
                at.as_str(),
                format!("`{id}` is not in `{list}`"),
                "add it to that list",
            );
        }
    }
    check_videos(&seen, findings);
    Ok(seen.images)
}

fn info(value: &Value, seen: &mut Seen, findings: &mut Findings) {
    let Some(info) = value.as_object() else {
        findings.error("info-object", "info", format!("it is {}", shown(value)), "info is an object");
        return;
    };
    let at = "info.format_version";
    let version = match info.get("format_version") {
        None => {
            findings.error("format-version", at, "it is missing", "write \"format_version\": \"1.6\"");
            return;
        }
        Some(Value::String(text)) => text.trim().parse::<f64>().ok(),
        Some(Value::Number(number)) => number.as_f64(),
        Some(_) => None,
    };
    let Some(version) = version else {
        let problem = format!("{} is no version", shown(&info["format_version"]));
        findings.error("format-version", at, problem, "write \"format_version\": \"1.6\"");
        return;
    };
    seen.version = Some(version);
    if version < 1.3 {
        findings.error(
            "format-version",
            at,
            format!("version {version} is older than 1.3"),
            "write version 1.6",
        );
    }
    if !info["format_version"].is_string() {
        let (problem, hint) = ("the version is a number, not a text", "put it in quotes: \"1.6\"");
        // Before 1.6 both were written.
        if version >= 1.6 {
            findings.error("format-version-text", at, problem, hint);
        } else {
            findings.warning("format-version-text", at, problem, hint);
        }
    }
}

fn categories(list: &str, value: &Value, seen: &mut Seen, findings: &mut Findings) {
    let Some(object) = value.as_object() else {
        let hint = "categories are an object of id and name, such as {\"1\": \"animal\"}";
        findings.error("categories-object", list, format!("it is {}", shown(value)), hint);
        return;
    };
    for (id, name) in object {
        let at = format!("{list}.{id}");
        if id.parse::<i64>().is_err() {
            findings.error(
                "category-id",
                at.as_str(),
                format!("`{id}` is no whole number"),
                "ids are texts like \"1\"",
            );
        } else if id == "0" && list == "detection_categories" {
            findings.warning(
                "category-zero",
                at.as_str(),
                "category \"0\" is reserved for nothing",
                "start with \"1\"",
            );
        }
        match name.as_str() {
            None => findings.error(
                "category-name",
                at.as_str(),
                format!("the name is {}", shown(name)),
                "names are texts",
            ),
            Some(name) if name.trim().is_empty() => {
                findings.error("category-name", at.as_str(), "the name is empty", "give the category a name");
            }
            Some(_) => {}
        }
    }
    seen.categories.insert(list.to_owned(), object.keys().cloned().collect());
}

fn image(index: usize, value: &Value, seen: &mut Seen, findings: &mut Findings) {
    let at = format!("images[{index}]");
    let Some(image) = value.as_object() else {
        findings.error("image-object", at, format!("it is {}", shown(value)), "an image is an object");
        return;
    };
    let Some(file) = image.get("file").and_then(Value::as_str) else {
        findings.error("file", at, "`file` is missing or no text", "name the photo's path below the folder");
        return;
    };
    if file.contains('\\') {
        let hint = "write paths with forward slashes: other systems do not find them otherwise";
        findings.warning("backslash", at.as_str(), format!("`{file}` has backslashes"), hint);
    }
    if file.starts_with('/') || file.as_bytes().get(1) == Some(&b':') {
        let hint = "Timelapse and others look for the path below the folder that the file is in";
        findings.warning("absolute-path", at.as_str(), format!("`{file}` is no relative path"), hint);
    }
    if let Some(first) = seen.files.insert(file.to_owned(), index) {
        let problem = format!("`{file}` is already images[{first}]");
        findings.error("file-twice", at.as_str(), problem, "one file has one entry: merge the two");
    }
    let detections = image.get("detections");
    match image.get("failure") {
        None | Some(Value::Null) => match detections {
            Some(Value::Array(_)) => {}
            _ => {
                let hint =
                    "a photo on which nothing was found has \"detections\": []; a broken one has a failure";
                findings.error(
                    "detections-list",
                    at.as_str(),
                    "`detections` is no list, and there is no failure",
                    hint,
                );
            }
        },
        Some(Value::String(_)) => match detections {
            Some(Value::Null) => {}
            None => {
                let hint = "write \"detections\": null beside the failure";
                findings.warning("failure-without-null", at.as_str(), "a failure without `detections`", hint);
            }
            Some(_) => {
                let hint = "write \"detections\": null: an empty list says that the photo is empty";
                findings.error(
                    "failure-and-detections",
                    at.as_str(),
                    "a failure and `detections` that are not null",
                    hint,
                );
            }
        },
        Some(other) => {
            findings.error(
                "failure-text",
                at.as_str(),
                format!("`failure` is {}", shown(other)),
                "a failure is a text",
            );
        }
    }
    for (number, found) in detections.and_then(Value::as_array).into_iter().flatten().enumerate() {
        detection(&format!("{at}.detections[{number}]"), found, seen, findings);
    }
    if is_video(file) {
        seen.videos.push((at, image.clone()));
    }
}

fn detection(at: &str, value: &Value, seen: &mut Seen, findings: &mut Findings) {
    match value.get("category") {
        Some(Value::String(id)) => {
            seen.used.entry(("detection_categories", id.clone())).or_insert_with(|| at.to_owned());
        }
        other => {
            let problem = format!("`category` is {}", other.map_or("missing".to_owned(), shown));
            findings.error("detection-category", at, problem, "a category is an id as a text, such as \"1\"");
        }
    }
    match value.get("conf") {
        Some(Value::Number(conf)) if conf.is_f64() => {
            // Known to be a number of this kind.
            let conf = conf.as_f64().unwrap_or_default();
            if !(0.0..=1.0).contains(&conf) {
                findings.error("conf-range", at, format!("`conf` is {conf}"), "confidence is from 0 to 1");
            }
        }
        other => {
            let problem = format!("`conf` is {}", other.map_or("missing".to_owned(), shown));
            findings.error("conf-float", at, problem, "write a number with a decimal point: 1.0, not 1");
        }
    }
    match value.get("bbox").and_then(Value::as_array) {
        Some(numbers) => {
            let numbers: Vec<Option<f64>> = numbers.iter().map(Value::as_f64).collect();
            check_relative_box(&numbers, at, findings);
        }
        None => findings.error(
            "bbox",
            at,
            "`bbox` is missing",
            "write [left, top, width, height] in shares of the photo",
        ),
    }
    let mut last = f64::INFINITY;
    for (number, pair) in
        value.get("classifications").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let at = format!("{at}.classifications[{number}]");
        let (id, score) = (pair.get(0).and_then(Value::as_str), pair.get(1).and_then(Value::as_f64));
        let (Some(id), Some(score)) = (id, score) else {
            let hint = "a classification is [id, confidence] with the id as a text: [\"3\", 0.9]";
            findings.error("classification", at, format!("it is {}", shown(pair)), hint);
            continue;
        };
        if !(0.0..=1.0).contains(&score) {
            findings.error(
                "classification-range",
                at.as_str(),
                format!("confidence {score}"),
                "it is from 0 to 1",
            );
        }
        if score > last {
            let hint = "readers take the first for the best: sort them by falling confidence";
            findings.error("classification-order", at.as_str(), "classifications do not fall", hint);
        }
        last = score;
        seen.used.entry(("classification_categories", id.to_owned())).or_insert(at);
    }
}

/// Videos have had fields of their own since 1.4; the version may stand after the images.
fn check_videos(seen: &Seen, findings: &mut Findings) {
    let version = seen.version.unwrap_or(1.6);
    for (at, video) in &seen.videos {
        for (key, since) in [("frame_rate", 1.4), ("frames_processed", 1.5)] {
            if version >= since && !video.contains_key(key) {
                let problem = format!("a video without `{key}`");
                findings.error(
                    "video-fields",
                    at.as_str(),
                    problem,
                    "videos need frame_rate and frames_processed",
                );
            }
        }
        let detections = video.get("detections").and_then(Value::as_array).into_iter().flatten();
        if version >= 1.4 && detections.into_iter().any(|found| found.get("frame_number").is_none()) {
            let hint = "each detection of a video has a frame_number";
            findings.error(
                "video-frames",
                at.as_str(),
                "a detection in a video without `frame_number`",
                hint,
            );
        }
    }
}
