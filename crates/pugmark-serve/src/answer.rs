//! Answers, in the form that was asked for.

use std::fmt::Write as _;

use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::error::RequestError;
use crate::settings::Shape;

/// A form of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    JsonLines,
    /// With or without a line of names above.
    Csv {
        header: bool,
    },
}

impl Form {
    /// The form that a request asks for; none where it takes any.
    pub(crate) fn asked(headers: &HeaderMap) -> Result<Option<Self>, RequestError> {
        let said: Vec<&str> =
            headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let said = said.join(",");
        let mut ranges: Vec<(f32, &str)> = said
            .split(',')
            .map(|range| (quality(range), range.trim()))
            .filter(|(_, range)| !range.is_empty())
            .collect();
        if ranges.is_empty() {
            return Ok(None);
        }
        // Stable: of equals the first.
        ranges.sort_by(|a, b| b.0.total_cmp(&a.0));
        for (_, range) in ranges.iter().filter(|(quality, _)| *quality > 0.0) {
            let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
            match parts.next().unwrap_or_default().as_str() {
                "*/*" | "application/*" => return Ok(None),
                "application/json" => return Ok(Some(Self::Json)),
                "application/jsonlines"
                | "application/x-jsonlines"
                | "application/jsonl"
                | "application/x-ndjson" => {
                    return Ok(Some(Self::JsonLines));
                }
                "text/csv" | "text/*" => {
                    return Ok(Some(Self::Csv { header: parts.any(|part| part == "header=present") }));
                }
                _ => {}
            }
        }
        Err(RequestError::NotAcceptable(said))
    }

    /// The content type of answers.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonlines",
            // RFC 4180.
            Self::Csv { header: true } => "text/csv; charset=utf-8; header=present",
            Self::Csv { header: false } => "text/csv; charset=utf-8; header=absent",
        }
    }
}

fn quality(range: &str) -> f32 {
    let value = range.split(';').skip(1).find_map(|part| part.trim().strip_prefix("q="));
    value.map_or(1.0, |value| value.parse().unwrap_or(0.0))
}

/// What is said of a photo.
pub(crate) struct Answer {
    pub(crate) id: Option<String>,
    pub(crate) outcome: Result<Said, RequestError>,
}

/// The model's answer.
pub(crate) struct Said {
    /// One a class.
    pub(crate) probabilities: Vec<f32>,
    pub(crate) truncated: bool,
    /// Of the photo as the model sees it, from 0 to 1.
    pub(crate) brightness: f32,
}

/// How answers are written.
pub(crate) struct Style<'a> {
    pub(crate) form: Form,
    pub(crate) shape: Shape,
    pub(crate) classes: &'a [String],
    pub(crate) top: usize,
    /// As a list, also of one.
    pub(crate) list: bool,
}

impl Style<'_> {
    /// All answers as text.
    pub(crate) fn write(&self, answers: &[Answer]) -> Result<String, RequestError> {
        let rows: Vec<Row<'_>> = answers.iter().map(|answer| Row { answer, style: self }).collect();
        let json = match (self.form, rows.as_slice()) {
            (Form::Csv { header }, _) => return Ok(self.csv(answers, header)),
            (Form::JsonLines, rows) => {
                let lines: Result<Vec<_>, _> = rows.iter().map(serde_json::to_string).collect();
                lines.map(|lines| lines.join("\n"))
            }
            (Form::Json, [row]) if !self.list => serde_json::to_string(row),
            (Form::Json, rows) => serde_json::to_string(&List { predictions: rows }),
        };
        json.map(|text| text + "\n").map_err(|error| RequestError::Internal(error.to_string()))
    }

    /// `id`, `class`, `probability`, one probability a class, `error`.
    fn csv(&self, answers: &[Answer], header: bool) -> String {
        let mut text = String::new();
        if header {
            let classes: String = self.classes.iter().map(|class| cell(class) + ",").collect();
            let _ = writeln!(text, "id,class,probability,{classes}error");
        }
        for (place, Answer { id, outcome }) in answers.iter().enumerate() {
            let id = id.as_deref().map_or_else(|| place.to_string(), cell);
            let _ = match outcome {
                Ok(Said { probabilities, .. }) => {
                    let best = most_likely(probabilities)[0];
                    let all: String = probabilities.iter().map(|value| format!("{value},")).collect();
                    writeln!(text, "{id},{},{},{all}", cell(&self.classes[best]), probabilities[best])
                }
                Err(error) => {
                    writeln!(text, "{id},,,{}{}", ",".repeat(self.classes.len()), cell(&error.message()))
                }
            };
        }
        text
    }
}

/// A cell of a CSV file (RFC 4180).
fn cell(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// Classes, the most likely first; of equals the first.
pub(crate) fn most_likely(probabilities: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]));
    order
}

#[derive(Serialize)]
struct List<'a> {
    predictions: &'a [Row<'a>],
}

struct Row<'a> {
    answer: &'a Answer,
    style: &'a Style<'a>,
}

#[derive(Serialize)]
struct Top<'a> {
    class: &'a str,
    probability: f32,
}

/// Probabilities by class, in the model's order.
struct ByClass<'a>(&'a [String], &'a [f32]);

impl Serialize for ByClass<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().zip(self.1))
    }
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Some(id) = &self.answer.id {
            map.serialize_entry("id", id)?;
        }
        let Style { classes, shape, top, .. } = *self.style;
        match (&self.answer.outcome, shape) {
            (Ok(Said { probabilities, .. }), Shape::Flat) => {
                for (class, probability) in classes.iter().zip(probabilities) {
                    map.serialize_entry(&format!("{class}_probability"), probability)?;
                }
            }
            (Ok(Said { probabilities, truncated, .. }), Shape::Full) => {
                let order = most_likely(probabilities);
                let named = |&k: &usize| Top { class: &classes[k], probability: probabilities[k] };
                map.serialize_entry("class", &classes[order[0]])?;
                map.serialize_entry("probability", &probabilities[order[0]])?;
                map.serialize_entry("top", &order.iter().take(top).map(named).collect::<Vec<_>>())?;
                map.serialize_entry("probabilities", &ByClass(classes, probabilities))?;
                map.serialize_entry("truncated", truncated)?;
            }
            (Err(error), _) => {
                map.serialize_entry("error", &error.message())?;
                map.serialize_entry("hint", error.hint())?;
                map.serialize_entry("status", &error.status().as_u16())?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn forms_by_accept() {
        let csv = |header| Form::Csv { header };
        let cases = [
            ("", Ok(None)),
            ("*/*", Ok(None)),
            ("text/html, application/json;q=0.9", Ok(Some(Form::Json))),
            ("text/csv;q=0.5, application/x-ndjson", Ok(Some(Form::JsonLines))),
            ("TEXT/CSV; header=present", Ok(Some(csv(true)))),
            ("text/csv", Ok(Some(csv(false)))),
            ("application/json;q=0, text/csv", Ok(Some(csv(false)))),
            ("image/png", Err(406)),
            ("application/json;q=x", Err(406)),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            if !accept.is_empty() {
                headers.insert(ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(Form::asked(&headers).map_err(|error| error.status().as_u16()), expected, "{accept}");
        }
    }

    fn written(form: Form, shape: Shape, list: bool) -> String {
        let classes = ["a,b".to_owned(), "c".to_owned(), "\"d\"".to_owned()];
        let said = Said { probabilities: vec![0.25, 0.5, 0.25], truncated: true, brightness: 0.5 };
        let mut answers = vec![Answer { id: Some("x/y.jpg".into()), outcome: Ok(said) }];
        if list {
            answers.push(Answer { id: None, outcome: Err(RequestError::Bad("no, \"not\"".into())) });
        }
        Style { form, shape, classes: &classes, top: 2, list }.write(&answers).unwrap()
    }

    #[test]
    fn answers_to_the_byte() {
        let one = "{\"id\":\"x/y.jpg\",\"class\":\"c\",\"probability\":0.5,\"top\":[{\"class\":\"c\",\"probability\":0.5},\
                   {\"class\":\"a,b\",\"probability\":0.25}],\"probabilities\":{\"a,b\":0.25,\"c\":0.5,\"\\\"d\\\"\":0.25},\
                   \"truncated\":true}";
        assert_eq!(written(Form::Json, Shape::Full, false), format!("{one}\n"));
        let hint = RequestError::Bad(String::new()).hint();
        let two = format!("{{\"error\":\"no, \\\"not\\\"\",\"hint\":\"{hint}\",\"status\":400}}");
        assert_eq!(written(Form::Json, Shape::Full, true), format!("{{\"predictions\":[{one},{two}]}}\n"));
        assert_eq!(written(Form::JsonLines, Shape::Full, true), format!("{one}\n{two}\n"));
        let flat = "{\"id\":\"x/y.jpg\",\"a,b_probability\":0.25,\"c_probability\":0.5,\"\\\"d\\\"_probability\":0.25}\n";
        assert_eq!(written(Form::Json, Shape::Flat, false), flat);
        let rows = "x/y.jpg,c,0.5,0.25,0.5,0.25,\n1,,,,,,\"no, \"\"not\"\"\"\n";
        assert_eq!(written(Form::Csv { header: false }, Shape::Full, true), rows);
        let header = "id,class,probability,\"a,b\",c,\"\"\"d\"\"\",error\n";
        assert_eq!(written(Form::Csv { header: true }, Shape::Full, true), format!("{header}{rows}"));
    }
}
