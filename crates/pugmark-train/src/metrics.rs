use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;

use serde::{Deserialize, Serialize};

use crate::BestBy;

/// One epoch in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// From 1.
    pub epoch: u32,
    /// Mean over the epoch's photos of the loss that was trained, taken before each step moved the parameters.
    pub train_loss: f64,
    /// Share of the epoch's photos that were classified rightly in the same passes.
    pub train_acc: f64,
    /// Log loss of the validation part: plain cross-entropy, without class weights or label smoothing.
    pub val_loss: f64,
    /// Share of the validation part that is classified rightly.
    pub val_acc: f64,
    /// Mean over classes of the F1 on the validation part.
    pub val_macro_f1: f64,
    /// Learning rate of the epoch.
    pub learning_rate: f64,
    /// Training photos a second, without validation.
    pub images_per_sec: f64,
    /// Time of the epoch with validation, in seconds.
    pub seconds: f64,
    /// Most memory the process has held so far; none where the system does not say.
    pub peak_memory_mib: Option<u64>,
}

impl EpochMetrics {
    /// The line for people and for SageMaker's regular expressions: every key distinct, every value ended by `;`.
    pub fn line(&self) -> String {
        let mut line = "[METRICS]".to_owned();
        for (key, figure) in FIGURES {
            if let Some(value) = figure(self) {
                // Writing into a String can't fail.
                let _ = write!(line, " {key}={value};");
            }
        }
        line
    }

    /// Every key that [`Self::line`] may have, in its order.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        FIGURES.into_iter().map(|(key, _)| key)
    }

    /// How SageMaker reads the line: the `MetricDefinitions` of a job. A key ends no other one, and a number ends at a semicolon.
    pub fn definitions() -> Vec<MetricDefinition> {
        let definition = |key: &str| MetricDefinition {
            name: key.to_owned(),
            regex: format!(r"\[METRICS\].* {key}=([-+.0-9eE]+);"),
        };
        Self::keys().map(definition).collect()
    }

    /// What goes into a model file: only what is the same each time the training is repeated.
    pub(crate) fn repeatable(&self) -> BTreeMap<String, f64> {
        [
            ("train_loss", self.train_loss),
            ("train_acc", self.train_acc),
            ("val_loss", self.val_loss),
            ("val_acc", self.val_acc),
            ("val_macro_f1", self.val_macro_f1),
        ]
        .map(|(key, value)| (key.to_string(), value))
        .into()
    }

    /// Whether this epoch beats an earlier one.
    pub(crate) fn beats(&self, earlier: &Self, by: BestBy) -> bool {
        match by {
            BestBy::Accuracy if self.val_acc != earlier.val_acc => self.val_acc > earlier.val_acc,
            BestBy::Accuracy | BestBy::LogLoss => self.val_loss < earlier.val_loss,
        }
    }
}

/// An item of SageMaker's `MetricDefinitions`.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
#[serde(rename_all = "PascalCase")]
pub struct MetricDefinition {
    /// What the metric is called.
    pub name: String,
    /// What finds it in a line; the first group is the number.
    pub regex: String,
}

/// A key of the line, and how its value is written.
type Figure = (&'static str, fn(&EpochMetrics) -> Option<String>);

/// The line: what prints it also tells SageMaker how to read it.
const FIGURES: [Figure; 10] = [
    ("epoch", |row| Some(row.epoch.to_string())),
    ("train_loss", |row| Some(format!("{:.4}", row.train_loss))),
    ("train_acc", |row| Some(format!("{:.4}", row.train_acc))),
    ("val_loss", |row| Some(format!("{:.4}", row.val_loss))),
    ("val_acc", |row| Some(format!("{:.4}", row.val_acc))),
    ("val_macro_f1", |row| Some(format!("{:.4}", row.val_macro_f1))),
    ("learning_rate", |row| Some(row.learning_rate.to_string())),
    ("images_per_sec", |row| Some(format!("{:.1}", row.images_per_sec))),
    ("seconds", |row| Some(format!("{:.1}", row.seconds))),
    ("peak_memory_mib", |row| row.peak_memory_mib.map(|mib| mib.to_string())),
];

/// The rows as CSV with a header.
pub(crate) fn to_csv(rows: &[EpochMetrics]) -> io::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for row in rows {
        csv.serialize(row)?;
    }
    csv.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// The rows as a JSON array.
pub(crate) fn to_json(rows: &[EpochMetrics]) -> io::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(rows)?;
    json.push(b'\n');
    Ok(json)
}
