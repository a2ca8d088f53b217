//! Values checked against the shapes of a service's model, with the words that AWS refuses them in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use regex::Regex;
use serde_json::Value;

/// What is wrong with a value, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    /// Such as `algorithmSpecification.metricDefinitions.1.member.name`.
    pub(crate) place: String,
    pub(crate) constraint: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value at '{}' failed to satisfy constraint: {}", self.place, self.constraint)
    }
}

/// What came of a check.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Report {
    pub(crate) faults: Vec<Fault>,
    /// Patterns that the `regex` crate does not take: those of lookarounds.
    pub(crate) untaken: usize,
}

impl Report {
    pub(crate) fn unknown(name: &str) -> Self {
        let fault = Fault { place: name.to_owned(), constraint: "It must be in the service's model".into() };
        Self { faults: vec![fault], untaken: 0 }
    }

    /// In AWS's words.
    pub(crate) fn message(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        let errors = if faults.len() == 1 { "error" } else { "errors" };
        format!("{} validation {errors} detected: {}", faults.len(), faults.join("; "))
    }

    fn fault(&mut self, place: &str, constraint: impl Into<String>) {
        self.faults.push(Fault { place: place.to_owned(), constraint: constraint.into() });
    }
}

pub(super) struct Shapes {
    shapes: Value,
    patterns: Mutex<BTreeMap<String, Option<Regex>>>,
}

impl Shapes {
    pub(super) fn new(shapes: Value) -> Self {
        Self { shapes, patterns: Mutex::default() }
    }

    pub(super) fn has_member(&self, shape: &str, name: &str) -> bool {
        !self.shapes[shape]["members"][name].is_null()
    }

    pub(super) fn check(&self, shape: &str, value: &Value) -> Report {
        let mut report = Report::default();
        self.value(shape, value, "", &mut report);
        report
    }

    fn value(&self, name: &str, value: &Value, place: &str, report: &mut Report) {
        let shape = &self.shapes[name];
        match (shape["type"].as_str().unwrap_or_default(), value) {
            ("structure", Value::Object(_)) => self.structure(shape, value, place, report),
            ("list", Value::Array(items)) => {
                range(shape, items.len() as f64, "length", place, report);
                for (number, item) in (1..).zip(items) {
                    self.target(&shape["member"], item, &format!("{place}.{number}.member"), report);
                }
            }
            ("map", Value::Object(entries)) => {
                range(shape, entries.len() as f64, "length", place, report);
                for (key, item) in entries {
                    let entry = format!("{place}.{key}");
                    self.target(&shape["key"], &Value::from(key.as_str()), &format!("{entry}.key"), report);
                    self.target(&shape["value"], item, &format!("{entry}.member"), report);
                }
            }
            ("string", Value::String(text)) => self.string(shape, text, place, report),
            ("integer" | "long", Value::Number(number)) if number.is_i64() || number.is_u64() => {
                range(shape, number.as_f64().unwrap_or(f64::NAN), "value", place, report);
            }
            ("float" | "double", Value::Number(number)) => {
                range(shape, number.as_f64().unwrap_or(f64::NAN), "value", place, report);
            }
            // The JSON protocols have times as numbers and bytes as base64.
            ("boolean", Value::Bool(_)) | ("timestamp", Value::Number(_)) | ("blob", Value::String(_)) => {}
            (kind, _) => report.fault(place, format!("Member must be of the type {kind}")),
        }
    }

    fn target(&self, reference: &Value, value: &Value, place: &str, report: &mut Report) {
        self.value(reference["shape"].as_str().unwrap_or_default(), value, place, report);
    }

    fn structure(&self, shape: &Value, value: &Value, place: &str, report: &mut Report) {
        let members = value.as_object().into_iter().flatten();
        for (name, value) in members.clone() {
            let inner = if place.is_empty() { lower(name) } else { format!("{place}.{}", lower(name)) };
            match &shape["members"][name] {
                Value::Null => report.fault(&inner, "There is no such member"),
                reference => self.target(reference, value, &inner, report),
            }
        }
        for name in shape["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if value[name].is_null() {
                let inner = if place.is_empty() { lower(name) } else { format!("{place}.{}", lower(name)) };
                report.fault(&inner, "Member must not be null");
            }
        }
        if shape["union"] == true && members.count() != 1 {
            report.fault(place, "Exactly one member must be given");
        }
    }

    fn string(&self, shape: &Value, text: &str, place: &str, report: &mut Report) {
        range(shape, text.chars().count() as f64, "length", place, report);
        if let Some(values) = shape["enum"].as_array()
            && !values.iter().any(|value| value == text)
        {
            report.fault(place, format!("Member must satisfy enum value set: {}", shape["enum"]));
        }
        let Some(pattern) = shape["pattern"].as_str() else { return };
        let mut patterns = self.patterns.lock().expect("no check panics");
        let compiled = patterns.entry(pattern.to_owned()).or_insert_with(|| compile(pattern));
        match compiled {
            Some(regex) if regex.is_match(text) => {}
            Some(_) => {
                report.fault(place, format!("Member must satisfy regular expression pattern: {pattern}"));
            }
            None => report.untaken += 1,
        }
    }
}

/// A pattern in Java's words, of the whole text; none where it looks around.
fn compile(pattern: &str) -> Option<Regex> {
    let words = [
        (r"\uD800\uDC00-\uDBFF\uDFFF", r"\x{10000}-\x{10FFFF}"),
        (r"\p{Print}", "[ -~]"),
        (r"\p{ASCII}", r"[\x00-\x7F]"),
        (r"\p{Alnum}", "[0-9A-Za-z]"),
    ];
    let pattern = words.iter().fold(pattern.to_owned(), |pattern, (java, ours)| pattern.replace(java, ours));
    Regex::new(&format!("^(?:{pattern})$")).ok()
}

/// Lengths, counts and numbers have bounds alike.
fn range(shape: &Value, size: f64, what: &str, place: &str, report: &mut Report) {
    let bound = |key: &str| shape[key].as_f64();
    if let Some(least) = bound("min").filter(|least| size < *least) {
        report.fault(place, format!("Member must have {what} greater than or equal to {least}"));
    }
    if let Some(most) = bound("max").filter(|most| size > *most) {
        report.fault(place, format!("Member must have {what} less than or equal to {most}"));
    }
}

/// AWS names a member as Java does.
fn lower(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}
