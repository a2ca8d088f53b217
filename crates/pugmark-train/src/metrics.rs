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
        let mut line = format!("[METRICS] epoch={};", self.epoch);
        let rates = [
            ("train_loss", self.train_loss),
            ("train_acc", self.train_acc),
            ("val_loss", self.val_loss),
            ("val_acc", self.val_acc),
            ("val_macro_f1", self.val_macro_f1),
        ];
        // Writing into a String can't fail.
        for (key, value) in rates {
            let _ = write!(line, " {key}={value:.4};");
        }
        let _ =
            write!(line, " learning_rate={}; images_per_sec={:.1};", self.learning_rate, self.images_per_sec);
        let _ = write!(line, " seconds={:.1};", self.seconds);
        if let Some(mib) = self.peak_memory_mib {
            let _ = write!(line, " peak_memory_mib={mib};");
        }
        line
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
