//! Requests and answers as SageMaker's data capture writes them: `FOLDER/VARIANT/yyyy/mm/dd/hh/NAME.jsonl`, a line each.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::body::Held;
use crate::metrics::Metrics;
use crate::trace::random;

/// Records that wait for the disk; more are lost, and counted.
const WAITING: usize = 256;

/// A request and its answer. It holds the request's share of memory until it is written.
pub(crate) struct Record {
    pub(crate) variant: Arc<str>,
    pub(crate) input_type: String,
    pub(crate) input: Arc<Held>,
    pub(crate) output_type: &'static str,
    pub(crate) output: String,
    pub(crate) inference_id: Option<String>,
}

/// Hands records to the thread that writes them.
pub(crate) struct Capture(Mutex<Option<(SyncSender<Record>, JoinHandle<()>)>>);

impl Capture {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the folder can't be made.
    pub(crate) fn start(folder: PathBuf, metrics: &Arc<Metrics>) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let (sender, records) = sync_channel(WAITING);
        let metrics = Arc::clone(metrics);
        let thread = thread::Builder::new()
            .name("capture".into())
            .spawn(move || write(&folder, &records, &metrics))?;
        Ok(Self(Mutex::new(Some((sender, thread)))))
    }

    /// Takes a record, unless too many wait: nobody's answer waits for a disk.
    pub(crate) fn take(&self, record: Record, metrics: &Metrics) {
        let place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if place.as_ref().is_none_or(|(sender, _)| sender.try_send(record).is_err()) {
            metrics.capture(false);
        }
    }

    /// Takes nothing more and waits until all is written.
    pub(crate) fn finish(&self) {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = taken {
            drop(sender);
            // Its panic was printed; there is nothing more to write then.
            let _ = thread.join();
        }
    }
}

/// Files that are held open, at most.
const OPEN_FILES: usize = 32;

fn write(folder: &Path, records: &Receiver<Record>, metrics: &Metrics) {
    // The file of each variant and the hour it is for.
    let mut files: BTreeMap<Arc<str>, (String, File)> = BTreeMap::new();
    for record in records {
        let now = DateTime::<Utc>::from(SystemTime::now());
        let hour = now.format("%Y/%m/%d/%H").to_string();
        let mut line = || -> io::Result<()> {
            if files.get(&record.variant).is_none_or(|(of, _)| *of != hour) {
                let below = folder.join(&*record.variant).join(&hour);
                fs::create_dir_all(&below)?;
                let name = below.join(format!("{}-{}.jsonl", now.format("%M-%S-%3f"), random_id()));
                let file = OpenOptions::new().append(true).create_new(true).open(name)?;
                // Models that are loaded by request may have any number of names.
                files.retain(|_, (of, _)| *of == hour);
                if files.len() >= OPEN_FILES {
                    files.clear();
                }
                files.insert(Arc::clone(&record.variant), (hour.clone(), file));
            }
            let Some((_, file)) = files.get_mut(&record.variant) else { return Ok(()) };
            let text = serde_json::to_string(&Line::new(
                &record,
                &now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
            ))?;
            file.write_all((text + "\n").as_bytes())
        };
        let written = line();
        if written.is_err() {
            // The next one begins a new file, after whatever is left of this line.
            files.remove(&record.variant);
        }
        metrics.capture(written.is_ok());
    }
}

/// A random UUID, version 4.
fn random_id() -> String {
    let (high, low) = (random() & !0xF000 | 0x4000, random() >> 2 | 1 << 63);
    let (time, middle, version) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF);
    format!("{time:08x}-{middle:04x}-{version:04x}-{:04x}-{:012x}", low >> 48, low & 0xFFFF_FFFF_FFFF)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    capture_data: Both,
    event_metadata: Metadata,
    event_version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Both {
    endpoint_input: Data,
    endpoint_output: Data,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    observed_content_type: String,
    mode: &'static str,
    data: String,
    encoding: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    event_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference_id: Option<String>,
    inference_time: String,
}

impl Line {
    fn new(record: &Record, time: &str) -> Self {
        let Record { input_type, input, output_type, output, inference_id, .. } = record;
        Self {
            capture_data: Both {
                endpoint_input: Data::new(input_type, "INPUT", &input.bytes),
                endpoint_output: Data::new(output_type, "OUTPUT", output.as_bytes()),
            },
            event_metadata: Metadata {
                event_id: random_id(),
                inference_id: inference_id.clone(),
                inference_time: time.to_owned(),
            },
            event_version: "0",
        }
    }
}

impl Data {
    /// Text where the type says that it is some.
    fn new(content_type: &str, mode: &'static str, bytes: &[u8]) -> Self {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let encoding = match kind.as_str() {
            "text/csv" => "CSV",
            "application/json" | "application/jsonlines" => "JSON",
            _ => "BASE64",
        };
        let (data, encoding) = match std::str::from_utf8(bytes) {
            Ok(text) if encoding != "BASE64" => (text.to_owned(), encoding),
            _ => (BASE64_STANDARD.encode(bytes), "BASE64"),
        };
        Self { observed_content_type: content_type.to_owned(), mode, data, encoding }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_uuids_and_differ() {
        let (one, two) = (random_id(), random_id());
        assert_ne!(one, two);
        let lengths: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        assert!(one.as_bytes()[14] == b'4' && b"89ab".contains(&one.as_bytes()[19]), "{one}");
    }

    #[test]
    fn text_stays_text_and_the_rest_is_base64() {
        let encoding = |kind: &str, bytes: &[u8]| {
            let data = Data::new(kind, "INPUT", bytes);
            (data.encoding, data.data)
        };
        assert_eq!(encoding("application/json; x", b"{}"), ("JSON", "{}".to_owned()));
        assert_eq!(encoding("text/csv", b"a,b"), ("CSV", "a,b".to_owned()));
        assert_eq!(encoding("image/jpeg", b"one"), ("BASE64", "b25l".to_owned()));
        assert_eq!(encoding("application/json", b"\xff"), ("BASE64", "/w==".to_owned()));
    }
}
