//! Copies of requests for a model that nobody waits for: its answers are counted and kept, and never sent.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use futures_util::FutureExt;
use pugmark_data::{Limits, decode};
use pugmark_engine::Cpu;
use pugmark_eval::Combine;
use pugmark_model::Panel;

use crate::answer::{Answer, Form, Said, Style, most_likely};
use crate::app::App;
use crate::body::Held;
use crate::capture::{Capture, Record};
use crate::drift::brightness;
use crate::error::{RequestError, ServeError};
use crate::input::{self, Asked};
use crate::log::INFERENCE_ID;
use crate::metrics::Metrics;
use crate::photo::Source;
use crate::settings::{Settings, Shape};

/// Copies that wait; more are dropped, and counted.
const WAITING: usize = 64;

/// A model that sees copies of requests.
#[derive(Debug, Clone)]
pub struct ShadowSettings {
    /// What metrics and captured data call it.
    pub name: String,
    /// A run or a model file.
    pub model: PathBuf,
    /// Its share of the requests, from 0 to 1.
    pub share: f64,
    /// What runs it: an engine of its own, so that it takes no more threads than that has.
    pub engine: Cpu,
}

/// A request that was answered.
struct Copy {
    headers: HeaderMap,
    body: Arc<Held>,
    /// What the model in charge said of each photo: its most likely class and that one's probability.
    said: Vec<Option<(String, f32)>>,
}

enum Message {
    Copy(Copy),
    /// The model was read again.
    Model(Box<Panel>),
}

/// Hands copies to the thread that runs the model.
pub(crate) struct Shadow {
    settings: ShadowSettings,
    turns: AtomicU64,
    place: Mutex<Option<(SyncSender<Message>, JoinHandle<()>)>>,
    /// What waits is not looked at any more.
    stop: Arc<AtomicBool>,
}

impl Shadow {
    /// Opens the model and starts its thread.
    pub(crate) fn start(
        of: &ShadowSettings,
        settings: &Settings,
        metrics: &Arc<Metrics>,
        capture: Option<&Arc<Capture>>,
    ) -> Result<Self, ServeError> {
        let panel = open(of)?;
        let (sender, messages) = sync_channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let mut looker = Looker {
            name: of.name.as_str().into(),
            panel,
            limits: settings.limits.photo,
            top: settings.top,
            shape: settings.shape,
            metrics: Arc::clone(metrics),
            capture: capture.cloned(),
        };
        let ended = Arc::clone(&stop);
        let run = move || looker.run(&messages, &ended);
        let thread = thread::Builder::new().name("shadow".into()).spawn(run).map_err(ServeError::Start)?;
        let place = Mutex::new(Some((sender, thread)));
        Ok(Self { settings: of.clone(), turns: AtomicU64::new(0), place, stop })
    }

    /// Whether the next request is copied: turns go by the multiples of the golden ratio, as those of variants.
    pub(crate) fn turn(&self) -> bool {
        crate::app::place(&self.turns) < self.settings.share
    }

    /// Takes a copy, unless too many wait or there is no memory for its body.
    pub(crate) fn take(
        &self,
        app: &App,
        headers: &HeaderMap,
        body: Option<Arc<Held>>,
        answers: &[Answer],
        classes: &[String],
    ) {
        let said = answers.iter().map(|answer| {
            let probabilities = &answer.outcome.as_ref().ok()?.probabilities;
            let best = most_likely(probabilities)[0];
            Some((classes[best].clone(), probabilities[best]))
        });
        let mut kept = HeaderMap::new();
        for name in [CONTENT_TYPE, INFERENCE_ID] {
            if let Some(value) = headers.get(&name) {
                kept.insert(name, value.clone());
            }
        }
        let copy = body.map(|body| Copy { headers: kept, body, said: said.collect() });
        let taken = copy.is_some_and(|copy| self.send(Message::Copy(copy)));
        app.metrics.copied(taken);
    }

    fn send(&self, message: Message) -> bool {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        place.as_ref().is_some_and(|(sender, _)| sender.try_send(message).is_ok())
    }

    /// The model as its file has it now.
    pub(crate) fn open_again(&self) -> Result<Box<Panel>, ServeError> {
        open(&self.settings).map(Box::new)
    }

    /// Takes a model that was read again. It waits for a place in the queue: blocks.
    pub(crate) fn replace(&self, panel: Box<Panel>) {
        let sender = {
            let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
            place.as_ref().map(|(sender, _)| sender.clone())
        };
        if let Some(sender) = sender {
            // A thread that has ended takes nothing any more.
            let _ = sender.send(Message::Model(panel));
        }
    }

    /// Takes nothing more and waits for the photo that is being looked at.
    pub(crate) fn finish(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let taken = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = taken {
            drop(sender);
            // Its panic was printed.
            let _ = thread.join();
        }
    }
}

fn open(of: &ShadowSettings) -> Result<Panel, ServeError> {
    Ok(Panel::open(std::slice::from_ref(&of.model), &of.engine, 1)?)
}

/// What the thread has.
struct Looker {
    name: Arc<str>,
    panel: Panel,
    limits: Limits,
    top: usize,
    shape: Shape,
    metrics: Arc<Metrics>,
    capture: Option<Arc<Capture>>,
}

impl Looker {
    fn run(&mut self, messages: &Receiver<Message>, stop: &AtomicBool) {
        for message in messages {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            match message {
                Message::Model(panel) => self.panel = *panel,
                Message::Copy(copy) => {
                    // A photo that makes the decoder or the model panic is one without an answer.
                    let looked = panic::catch_unwind(AssertUnwindSafe(|| self.look(copy, stop)));
                    if looked.is_err() {
                        self.metrics.shadowed(None);
                    }
                }
            }
        }
    }

    fn look(&mut self, copy: Copy, stop: &AtomicBool) {
        let Copy { headers, body, said } = copy;
        // All of the body is there, so that reading it never waits.
        let read = input::read(&headers, body.bytes.clone(), &self.limits).now_or_never();
        let Some(Ok(Asked { photos, list, lines, top })) = read else { return };
        let mut answers = Vec::with_capacity(photos.len());
        for (photo, said) in photos.into_iter().zip(said) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let outcome = photo.source.and_then(|source| self.look_at(source));
            if let Some((class, probability)) = said {
                let theirs = outcome.as_ref().ok().map(|theirs| {
                    let own = self.panel_classes();
                    let best = &own[most_likely(&theirs.probabilities)[0]];
                    let same = own.iter().position(|name| *name == class);
                    let given = same.map_or(0.0, |at| theirs.probabilities[at]);
                    (*best == class, (given - probability).abs())
                });
                self.metrics.shadowed(theirs);
            }
            answers.push(Answer { id: photo.id, outcome });
        }
        let Some(capture) = &self.capture else { return };
        let form = if lines { Form::JsonLines } else { Form::Json };
        let classes = self.panel_classes();
        let style = Style { form, shape: self.shape, classes, top: top.unwrap_or(self.top), list };
        let Ok(output) = style.write(&answers) else { return };
        let text = |name| Some(headers.get(name)?.to_str().ok()?.to_owned());
        let record = Record {
            variant: Arc::clone(&self.name),
            input_type: text(CONTENT_TYPE).unwrap_or_default(),
            input: body,
            output_type: form.content_type(),
            output,
            inference_id: text(INFERENCE_ID),
        };
        capture.take(record, &self.metrics);
    }

    fn panel_classes(&self) -> &[String] {
        // A panel has at least one member.
        self.panel.cards().next().map_or(&[], |card| &card.classes)
    }

    fn look_at(&mut self, source: Source) -> Result<Said, RequestError> {
        let photo = match source {
            Source::File(bytes) => decode(&bytes, &self.limits)?,
            Source::Pixels(photo) => photo,
        };
        let recipes = self.panel.recipes();
        let pictures: Vec<_> = recipes.iter().map(|recipe| recipe.apply(&photo)).collect();
        let brightness = brightness(&pictures[0]);
        let failed = |error: pugmark_model::ModelError| RequestError::Internal(error.to_string());
        let rows = self.panel.probabilities(1, &pictures).map_err(failed)?;
        let probabilities = Combine::Mean.probabilities(&[1.0], &rows[0]);
        Ok(Said { probabilities, truncated: photo.truncated, brightness })
    }
}
