//! A prediction as text: a row of a CSV, a JSON object, or a small table.

use pugmark_eval::conformal_set;
use pugmark_model::Prediction;
use serde::{Serialize, Serializer};

/// Classes in the table of one photo, unless another number is asked for.
pub(super) const TOP: usize = 5;

/// How a prediction is written.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Csv,
    /// The most probable classes; all of them where there is no number. And those of the set, where there is a threshold.
    Json {
        top: Option<usize>,
        set: Option<f32>,
    },
    /// As many classes, and the set.
    Top {
        number: usize,
        set: Option<f32>,
    },
}

#[derive(Serialize)]
struct Object<'a> {
    id: &'a str,
    /// The most probable class.
    class: Option<&'a str>,
    /// By class; null where the photo cannot be read.
    probabilities: Option<ByClass<'a>>,
    /// The classes one must reckon with.
    #[serde(skip_serializing_if = "Option::is_none")]
    set: Option<Vec<&'a str>>,
    truncated: bool,
    reason: Option<&'a str>,
}

struct ByClass<'a>(Vec<(&'a str, f32)>);

impl Serialize for ByClass<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// The first row of the CSV.
pub(super) fn header(classes: &[String]) -> anyhow::Result<String> {
    let classes = classes.iter().map(String::as_str);
    csv_row(["id"].into_iter().chain(classes).chain(["truncated", "reason"]))
}

impl Form {
    /// A prediction without a line end.
    pub(super) fn row(self, classes: &[String], prediction: &Prediction) -> anyhow::Result<String> {
        match self {
            Self::Csv => csv(classes, prediction),
            Self::Json { top, set } => Ok(serde_json::to_string(&object(classes, prediction, top, set))?),
            Self::Top { number, set } => Ok(table(classes, prediction, number, set)),
        }
    }
}

fn csv(classes: &[String], prediction: &Prediction) -> anyhow::Result<String> {
    let (cells, reason) = match &prediction.outcome {
        Ok(row) => (row.iter().map(f32::to_string).collect(), ""),
        Err(reason) => (vec![String::new(); classes.len()], reason.as_str()),
    };
    let truncated = if prediction.truncated { "true" } else { "false" };
    let cells = cells.iter().map(String::as_str);
    csv_row([prediction.id.as_str()].into_iter().chain(cells).chain([truncated, reason]))
}

fn csv_row<'a>(cells: impl Iterator<Item = &'a str>) -> anyhow::Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(cells)?;
    let row = String::from_utf8(csv.into_inner().map_err(csv::IntoInnerError::into_error)?)?;
    Ok(row.trim_end_matches('\n').to_owned())
}

fn object<'a>(
    classes: &'a [String],
    prediction: &'a Prediction,
    top: Option<usize>,
    set: Option<f32>,
) -> Object<'a> {
    let row = prediction.outcome.as_deref().ok();
    let by_class = |row: &[f32]| {
        let chosen = match top {
            None => (0..row.len()).collect(),
            Some(number) => ranked(row).into_iter().take(number).collect::<Vec<_>>(),
        };
        ByClass(chosen.into_iter().map(|class| (classes[class].as_str(), row[class])).collect())
    };
    Object {
        id: &prediction.id,
        class: row.and_then(|row| ranked(row).first().map(|&best| classes[best].as_str())),
        probabilities: row.map(by_class),
        set: row.zip(set).map(|(row, threshold)| names(classes, row, threshold)),
        truncated: prediction.truncated,
        reason: prediction.outcome.as_ref().err().map(String::as_str),
    }
}

fn table(classes: &[String], prediction: &Prediction, number: usize, set: Option<f32>) -> String {
    let row = match &prediction.outcome {
        Ok(row) => row,
        Err(reason) => return format!("{}\n  cannot be read: {reason}", prediction.id),
    };
    let best: Vec<usize> = ranked(row).into_iter().take(number).collect();
    let width = best.iter().map(|&class| classes[class].chars().count()).max().unwrap_or(0);
    let mut text = prediction.id.clone();
    if prediction.truncated {
        text.push_str(" (the file is cut off; what is there was used)");
    }
    for class in best {
        text.push_str(&format!("\n  {:<width$}  {:.4}", classes[class], row[class]));
    }
    if let Some(threshold) = set {
        text.push_str(&format!("\n  reckon with {}", names(classes, row, threshold).join(", ")));
    }
    text
}

/// The classes of the set.
fn names<'a>(classes: &'a [String], row: &[f32], threshold: f32) -> Vec<&'a str> {
    conformal_set(row, threshold).into_iter().map(|class| classes[class].as_str()).collect()
}

/// Classes by falling probability; among equals in their order.
pub(super) fn ranked(row: &[f32]) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..row.len()).collect();
    classes.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    classes
}
