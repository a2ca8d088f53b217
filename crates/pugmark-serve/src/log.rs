//! A line a request, for people or for programs. It tells of no body, no query and no header but what it names.

use std::fmt::{self, Write as _};
use std::io::{BufWriter, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::Request;
use axum::http::{HeaderName, StatusCode};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::trace::Stage;

/// Lines that wait to be written; more are lost, and counted: no answer waits for whoever reads the log.
const WAITING: usize = 4096;
/// How long the last lines are waited for at the end.
const LAST_LINES: Duration = Duration::from_secs(1);
/// Characters of a path and of an inference id that are logged.
const LONGEST: usize = 200;
/// Asked again and again by whoever watches the server: they are logged where they fail.
const PROBES: [&str; 5] = ["/ping", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"];

/// What the client calls the request.
pub(crate) const INFERENCE_ID: HeaderName = HeaderName::from_static("x-amzn-sagemaker-inference-id");

/// How a request is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// `TIME METHOD PATH STATUS MILLISECONDS`, then `name=value`.
    Text,
    /// An object.
    Json,
}

/// What a handler tells of its request.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Noted {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_in: Option<usize>,
    #[serde(flatten)]
    pub(crate) looked: Option<Looked>,
    /// Where the request's span is to be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
}

/// What became of photos.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Looked {
    pub(crate) variant: String,
    pub(crate) photos: usize,
    /// Photos in the largest batch that one of them was in.
    pub(crate) batch: usize,
    pub(crate) decode_ms: Milliseconds,
    pub(crate) queue_ms: Milliseconds,
    pub(crate) model_ms: Milliseconds,
    /// Decoding, queue and model, for a trace.
    #[serde(skip)]
    pub(crate) stages: Option<[Stage; 3]>,
}

/// A place for notes that a request carries along.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Noted>>);

impl Notes {
    pub(crate) fn of(request: &Request) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }

    pub(crate) fn read(&self) -> Noted {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn write(&self, note: impl FnOnce(&mut Noted)) {
        note(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// A time in milliseconds, to the hundredth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Milliseconds(pub(crate) Duration);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2}", self.0.as_secs_f64() * 1e3)
    }
}

impl Serialize for Milliseconds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64((self.0.as_secs_f64() * 1e5).round() / 1e2)
    }
}

/// What is logged of a request, as far as its head tells it.
pub(crate) struct Entry {
    method: String,
    path: String,
    inference_id: Option<String>,
}

impl Entry {
    /// Whether it is one of those that are asked again and again, and was answered.
    pub(crate) fn is_noise(&self, status: u16) -> bool {
        status == StatusCode::OK.as_u16() && PROBES.contains(&self.path.as_str())
    }

    /// Path that was asked, made harmless.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    pub(crate) fn new(request: &Request) -> Self {
        // A path may hold what moves a terminal's cursor or ends a line.
        let harmless = |letter: char| match letter {
            '\u{2028}' | '\u{2029}' => char::REPLACEMENT_CHARACTER,
            letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
            letter => letter,
        };
        let short = |text: &str| text.chars().take(LONGEST).map(harmless).collect::<String>();
        let id = request.headers().get(INFERENCE_ID).and_then(|id| id.to_str().ok());
        Self {
            method: short(request.method().as_str()),
            path: short(request.uri().path()),
            inference_id: id.map(short),
        }
    }
}

#[derive(Serialize)]
struct Line {
    time: String,
    method: String,
    path: String,
    status: u16,
    total_ms: Milliseconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_out: Option<u64>,
    #[serde(flatten)]
    noted: Noted,
    #[serde(skip_serializing_if = "Option::is_none")]
    inference_id: Option<String>,
}

impl Line {
    fn text(&self, form: LogForm) -> String {
        if form == LogForm::Json {
            // Nothing in it can fail.
            return serde_json::to_string(self).unwrap_or_default() + "\n";
        }
        let Self { time, method, path, status, total_ms, bytes_out, noted, inference_id } = self;
        let mut text = format!("{time} {method} {path} {status} {total_ms} ms");
        let mut add = |name: &str, value: &dyn fmt::Display| {
            let _ = write!(text, " {name}={value}");
        };
        if let Some(bytes) = &noted.bytes_in {
            add("in", bytes);
        }
        if let Some(bytes) = bytes_out {
            add("out", bytes);
        }
        if let Some(Looked { variant, photos, batch, decode_ms, queue_ms, model_ms, .. }) = &noted.looked {
            add("variant", variant);
            add("photos", photos);
            add("batch", batch);
            add("decode", decode_ms);
            add("queue", queue_ms);
            add("model", model_ms);
        }
        if let Some(trace) = &noted.trace_id {
            add("trace", trace);
        }
        if let Some(id) = inference_id {
            add("id", &format_args!("{id:?}"));
        }
        text + "\n"
    }
}

/// Hands lines to the thread that writes them.
pub(crate) struct Log {
    form: LogForm,
    place: Mutex<Option<(SyncSender<String>, JoinHandle<()>)>>,
}

impl Log {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system refuses it.
    pub(crate) fn start(form: LogForm, out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (sender, lines) = sync_channel(WAITING);
        let thread = thread::Builder::new().name("log".into()).spawn(move || write(&lines, out))?;
        Ok(Self { form, place: Mutex::new(Some((sender, thread))) })
    }

    /// Takes a request that has been answered; false where its line is lost.
    pub(crate) fn take(
        &self,
        entry: Entry,
        status: u16,
        took: Duration,
        bytes_out: Option<u64>,
        notes: &Notes,
    ) -> bool {
        let Entry { method, path, inference_id } = entry;
        let time = DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true);
        let noted = notes.read();
        let total_ms = Milliseconds(took);
        let line = Line { time, method, path, status, total_ms, bytes_out, noted, inference_id };
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.as_ref().is_some_and(|(sender, _)| sender.try_send(line.text(self.form)).is_ok())
    }

    /// Takes nothing more and waits until all is written, but not for long.
    pub(crate) fn finish(&self) {
        let taken = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = taken {
            drop(sender);
            // Whoever reads the log too slowly, or not at all, does not keep the process.
            let until = Instant::now() + LAST_LINES;
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Writes what there is, and lets it out when nothing more waits. Where nobody reads any more, it ends.
fn write(lines: &Receiver<String>, out: impl Write) {
    let mut out = BufWriter::new(out);
    while let Ok(line) = lines.recv() {
        let mut written = out.write_all(line.as_bytes());
        while written.is_ok()
            && let Ok(line) = lines.try_recv()
        {
            written = out.write_all(line.as_bytes());
        }
        if written.and_then(|()| out.flush()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_moves_no_cursor() {
        let request = Request::get("/a\u{9b}2J\u{2028}é").body(axum::body::Body::empty()).unwrap();
        assert_eq!(Entry::new(&request).path, "/a\u{fffd}2J\u{fffd}é");
    }

    #[test]
    fn lines_for_people_and_for_programs() {
        let ms = |ms| Milliseconds(Duration::from_micros(ms));
        let looked = Looked {
            variant: "main".into(),
            photos: 1,
            batch: 3,
            decode_ms: ms(1500),
            queue_ms: ms(20),
            model_ms: ms(10_004),
            stages: None,
        };
        let line = Line {
            time: "T".into(),
            method: "POST".into(),
            path: "/invocations".into(),
            status: 200,
            total_ms: ms(12_345),
            bytes_out: Some(7),
            noted: Noted { bytes_in: Some(5), looked: Some(looked), trace_id: Some("4bf9".into()) },
            inference_id: Some("a \"b\"".into()),
        };
        assert_eq!(
            line.text(LogForm::Text),
            "T POST /invocations 200 12.35 ms in=5 out=7 variant=main photos=1 batch=3 decode=1.50 queue=0.02 \
             model=10.00 trace=4bf9 id=\"a \\\"b\\\"\"\n"
        );
        let json: serde_json::Value = serde_json::from_str(&line.text(LogForm::Json)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "time": "T", "method": "POST", "path": "/invocations", "status": 200, "total_ms": 12.35,
                "bytes_out": 7, "bytes_in": 5, "variant": "main", "photos": 1, "batch": 3, "decode_ms": 1.5,
                "queue_ms": 0.02, "model_ms": 10.0, "trace_id": "4bf9", "inference_id": "a \"b\"",
            })
        );
    }
}
