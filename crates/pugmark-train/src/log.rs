//! `log.jsonl`: what happened in a run, one JSON object a line, over all its resumes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::{Event, TrainError};

pub(crate) struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the log to add to it.
    pub(crate) fn open(path: &Path) -> Result<Self, TrainError> {
        let mut log = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map(|file| Self { path: path.into(), file })
            .map_err(|source| TrainError::Save { path: path.into(), source })?;
        if log.cut_off() {
            log.append(b"\n")?;
        }
        Ok(log)
    }

    /// Whether a kill left half a line at the end.
    fn cut_off(&mut self) -> bool {
        let mut last = [0];
        self.file.seek(SeekFrom::End(-1)).is_ok() && self.file.read_exact(&mut last).is_ok() && last != *b"\n"
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), TrainError> {
        self.file.write_all(bytes).map_err(|source| TrainError::Save { path: self.path.clone(), source })
    }

    /// Adds an event; steps are too many to keep.
    pub(crate) fn event(&mut self, event: Event<'_>) -> Result<(), TrainError> {
        let (name, fields) = match event {
            Event::Step { .. }
            | Event::Looking { .. }
            | Event::Features { .. }
            | Event::Validating { .. }
            | Event::Searching { .. } => return Ok(()),
            Event::Warning(text) => ("warning", json!({ "text": text })),
            Event::Note(text) => ("note", json!({ "text": text })),
            Event::Start { engine, parameters, train, val, test, epochs, first_epoch } => (
                "start",
                json!({
                    "version": env!("CARGO_PKG_VERSION"),
                    "engine": engine,
                    "parameters": parameters,
                    "train": train,
                    "val": val,
                    "test": test,
                    "epochs": epochs,
                    "first_epoch": first_epoch,
                }),
            ),
            Event::Finding(finding) => ("finding", serde_json::to_value(finding).unwrap_or_default()),
            Event::Epoch(metrics) => ("epoch", serde_json::to_value(metrics).unwrap_or_default()),
            Event::BrokenPhoto { id, reason } => ("broken_photo", json!({ "id": id, "reason": reason })),
            Event::Saved(path) => ("saved", json!({ "path": path.to_string_lossy() })),
        };
        self.line(name, fields)
    }

    /// Adds the end of the training: `finished`, `interrupted` or `failed`.
    pub(crate) fn end(&mut self, how: &str, why: Option<&TrainError>) -> Result<(), TrainError> {
        self.line(how, why.map_or(json!({}), |error| json!({ "error": error.to_string() })))
    }

    fn line(&mut self, name: &str, mut fields: Value) -> Result<(), TrainError> {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |t| t.as_secs_f64());
        fields["time"] = json!(time);
        fields["event"] = json!(name);
        let mut text = fields.to_string();
        text.push('\n');
        self.append(text.as_bytes())
    }
}
