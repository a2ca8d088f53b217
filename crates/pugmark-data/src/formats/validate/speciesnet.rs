//! Rules of SpeciesNet predictions.

use std::collections::HashMap;
use std::path::Path;

use serde_json::Value;

use super::{Findings, check_relative_box, shown};
use crate::error::DataError;
use crate::formats::json::{Item, walk};

/// What can fail.
const FAILURES: [&str; 3] = ["CLASSIFIER", "DETECTOR", "GEOLOCATION"];

pub(super) fn check(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let (mut files, mut found) = (HashMap::new(), None);
    walk(path, &mut |key, item| match (key, item) {
        ("predictions", Item::Element(index, value)) => {
            prediction(&format!("predictions[{index}]"), index, &value, &mut files, findings);
        }
        ("predictions", Item::End(count)) => found = Some(count),
        ("predictions", Item::Whole(value)) => {
            findings.error("predictions", key, format!("it is {}", shown(&value)), "predictions is a list");
        }
        (_, Item::Element(..)) => {}
        (other, _) => {
            let hint = "the file has one key, `predictions`; a file of `instances` is SpeciesNet's input";
            findings.warning("unknown-key", other, format!("`{other}` is no key of the format"), hint);
        }
    })?;
    if found.is_none() {
        findings.error("predictions", "the file", "there is no list `predictions`", "predictions is a list");
    }
    Ok(found.unwrap_or(0))
}

fn prediction(
    at: &str,
    index: usize,
    value: &Value,
    files: &mut HashMap<String, usize>,
    findings: &mut Findings,
) {
    match value.get("filepath").and_then(Value::as_str) {
        None => findings.error("filepath", at, "`filepath` is missing or no text", "name the photo's path"),
        Some(file) => {
            if let Some(first) = files.insert(file.to_owned(), index) {
                let problem = format!("`{file}` is already predictions[{first}]");
                findings.error("filepath-twice", at, problem, "one photo has one prediction");
            }
        }
    }
    let failures = value.get("failures").and_then(Value::as_array);
    for failure in failures.into_iter().flatten() {
        if !failure.as_str().is_some_and(|failure| FAILURES.contains(&failure)) {
            let hint = "a failure is CLASSIFIER, DETECTOR or GEOLOCATION";
            findings.error("failures", at, format!("{} is no failure", shown(failure)), hint);
        }
    }
    let prediction = value.get("prediction");
    if prediction.is_none() && failures.is_none_or(Vec::is_empty) && value.get("detections").is_none() {
        let hint = "a photo has a prediction, detections or failures";
        findings.warning("nothing-said", at, "nothing is said of the photo", hint);
    }
    if let Some(name) = prediction {
        label(name, &format!("{at}.prediction"), findings);
        if value.get("prediction_score").is_none() {
            findings.error("score-missing", at, "`prediction_score` is missing", "it goes with `prediction`");
        }
    }
    if let Some(number) = value.get("prediction_score") {
        score(number, &format!("{at}.prediction_score"), findings);
    }
    if let Some(both) = value.get("classifications") {
        let list = |key: &str| both.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let (classes, scores) = (list("classes"), list("scores"));
        let at = format!("{at}.classifications");
        if classes.len() != scores.len() {
            let problem = format!("{} classes and {} scores", classes.len(), scores.len());
            findings.error("classifications", at.as_str(), problem, "each class has one score");
        }
        classes.iter().for_each(|name| label(name, &at, findings));
        scores.iter().for_each(|number| score(number, &at, findings));
        let numbers: Vec<f64> = scores.iter().filter_map(Value::as_f64).collect();
        if numbers.windows(2).any(|pair| pair[0] < pair[1]) {
            findings.error("classification-order", at, "scores do not fall", "the best class comes first");
        }
    }
    for (number, found) in value.get("detections").and_then(Value::as_array).into_iter().flatten().enumerate()
    {
        let at = format!("{at}.detections[{number}]");
        for key in ["category", "label"] {
            if found.get(key).and_then(Value::as_str).is_none() {
                findings.error(
                    "detection-keys",
                    at.as_str(),
                    format!("`{key}` is missing or no text"),
                    "write both as texts",
                );
            }
        }
        score(found.get("conf").unwrap_or(&Value::Null), &at, findings);
        let numbers: Vec<Option<f64>> =
            found.get("bbox").and_then(Value::as_array).into_iter().flatten().map(Value::as_f64).collect();
        check_relative_box(&numbers, &at, findings);
    }
}

fn label(value: &Value, at: &str, findings: &mut Findings) {
    let Some(text) = value.as_str() else {
        findings.error("label-text", at, format!("the label is {}", shown(value)), "a label is a text");
        return;
    };
    if text.split(';').count() != 7 {
        let hint = "a label is `id;class;order;family;genus;species;common name`, parts may be empty";
        findings.error("label-parts", at, format!("`{text}` has not seven parts"), hint);
    } else if text.starts_with(';') {
        let hint = "readers that look up SpeciesNet's own ids do not find this class";
        findings.warning("label-id", at, format!("`{text}` has no id"), hint);
    }
    if text.to_lowercase() != text {
        let hint = "SpeciesNet's labels are in small letters, and some readers take no others";
        findings.warning("label-case", at, format!("`{text}` has capitals"), hint);
    }
}

fn score(value: &Value, at: &str, findings: &mut Findings) {
    if !value.as_f64().is_some_and(|score| (0.0..=1.0).contains(&score)) {
        findings.error("score", at, format!("{} is no score", shown(value)), "a score is from 0 to 1");
    }
}
