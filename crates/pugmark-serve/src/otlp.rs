//! Spans on their way to a collector: OTLP over HTTP, as JSON. No answer waits for it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use ureq::http::{HeaderName, HeaderValue, Response, StatusCode, Uri};
use ureq::{Agent, Error};

use crate::error::ServeError;
use crate::metrics::Metrics;
use crate::trace::{Ended, attributes};

/// Requests whose spans wait; more are lost, and counted.
const WAITING: usize = 2048;
/// Requests whose spans are sent together, at most, and how long the first waits for others.
const TOGETHER: usize = 256;
const PAUSE: Duration = Duration::from_secs(1);
/// How long a collector may take for an answer (what OpenTelemetry has as its standard).
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often something is sent, and the pause after the first time; it doubles.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a collector may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// How long the last spans are waited for at the end.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// How often a thread that pauses looks whether it shall end.
const LISTEN: Duration = Duration::from_millis(20);

/// Where spans go, and whose they are.
#[derive(Debug, Clone)]
pub struct TraceSettings {
    /// The collector's URL for traces, such as `http://localhost:4318/v1/traces`.
    pub url: String,
    /// Headers that it wants, such as one with a key.
    pub headers: Vec<(String, String)>,
    /// What the spans' resource is: `service.name` and others.
    pub resource: Vec<(String, String)>,
}

/// Hands spans to the thread that sends them.
pub(crate) struct Tracer {
    place: Mutex<Option<(SyncSender<Ended>, JoinHandle<()>)>>,
    ending: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Tracer {
    /// Starts the thread. `tell` hears once that something could not be sent, and why.
    pub(crate) fn start(
        settings: TraceSettings,
        metrics: &Arc<Metrics>,
        tell: impl FnOnce(&str) + Send + 'static,
    ) -> Result<Self, ServeError> {
        let wrong = |why: &str| ServeError::Collector { url: settings.url.clone(), why: why.to_owned() };
        let uri: Uri = settings.url.parse().map_err(|_| wrong("it is no URL"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err(wrong("it is no URL of http or https"));
        }
        let header = |(name, value): &(String, String)| {
            let pair = HeaderName::try_from(name).ok().zip(HeaderValue::try_from(value).ok());
            pair.ok_or_else(|| ServeError::CollectorHeader(name.clone()))
        };
        let headers = settings.headers.iter().map(header).collect::<Result<_, _>>()?;
        let mut config = Agent::config_builder()
            .user_agent(concat!("pugmark/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_global(Some(TIMEOUT));
        if matches!(uri.host(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            config = config.proxy(None);
        }
        let agent = config.build().new_agent();
        let (sender, ended) = sync_channel(WAITING);
        let ending = Arc::new(AtomicBool::new(false));
        let metrics = Arc::clone(metrics);
        let mut exporter = Exporter {
            agent,
            settings,
            headers,
            ending: Arc::clone(&ending),
            metrics: Arc::clone(&metrics),
            tell: Some(Box::new(tell)),
        };
        let thread = thread::Builder::new().name("otlp".into()).spawn(move || exporter.run(&ended));
        let place = Mutex::new(Some((sender, thread.map_err(ServeError::Start)?)));
        Ok(Self { place, ending, metrics })
    }

    /// Takes a request that has been answered, unless too many wait.
    pub(crate) fn take(&self, ended: Ended) {
        let place = self.place.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = match &*place {
            Some((sender, _)) => sender.try_send(ended).err().map(|error| match error {
                TrySendError::Full(ended) | TrySendError::Disconnected(ended) => ended,
            }),
            None => Some(ended),
        };
        self.metrics.spans(false, lost.map_or(0, |ended| ended.count()));
    }

    /// Takes nothing more and waits until all is sent, but not for long.
    pub(crate) fn finish(&self) {
        let taken = self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((sender, thread)) = taken {
            drop(sender);
            self.ending.store(true, Ordering::Relaxed);
            let until = Instant::now() + LAST_SPANS;
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

/// Hears why something could not be sent.
type Tell = Box<dyn FnOnce(&str) + Send>;

/// What the thread has.
struct Exporter {
    agent: Agent,
    settings: TraceSettings,
    headers: Vec<(HeaderName, HeaderValue)>,
    ending: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    tell: Option<Tell>,
}

impl Exporter {
    fn run(&mut self, ended: &Receiver<Ended>) {
        while let Ok(first) = ended.recv() {
            let mut spans = first.spans();
            let until = Instant::now() + PAUSE;
            for _ in 1..TOGETHER {
                match ended.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(next) => spans.extend(next.spans()),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
                }
            }
            let all = spans.len();
            let sent = all - self.send(spans).min(all);
            self.metrics.spans(true, sent);
            self.metrics.spans(false, all - sent);
        }
    }

    /// Sends spans; how many were not taken.
    fn send(&mut self, spans: Vec<Value>) -> usize {
        let all = spans.len();
        let resource = attributes(self.settings.resource.iter().map(|(key, value)| (&**key, &**value)));
        let scope = json!({"name": "pugmark-serve", "version": env!("CARGO_PKG_VERSION")});
        let scopes = json!([{"scope": scope, "spans": spans}]);
        let body = json!({"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": scopes}]});
        let body = body.to_string();
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let mut request = self.agent.post(&self.settings.url).header("content-type", "application/json");
            for (name, value) in &self.headers {
                request = request.header(name, value);
            }
            let answer = request.send(&body);
            let (why, again, asked) = match answer {
                Ok(answer) if answer.status().is_success() => return rejected(answer),
                Ok(answer) => {
                    let status = answer.status();
                    (format!("the answer is {status}"), comes_back(status), retry_after(&answer))
                }
                Err(error) => (error.to_string(), may_pass(&error), None),
            };
            if let Some(tell) = self.tell.take() {
                tell(&why);
            }
            // Somebody waits for the end.
            if !again || attempt == ATTEMPTS || self.ending.load(Ordering::Relaxed) {
                return all;
            }
            let until = Instant::now() + asked.unwrap_or(pause).min(LONGEST_PAUSE);
            while Instant::now() < until && !self.ending.load(Ordering::Relaxed) {
                thread::sleep(LISTEN);
            }
            pause *= 2;
        }
        all
    }
}

/// The statuses that OTLP wants to be tried again.
fn comes_back(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Whether a failure may be gone another time: that of a network, and not of what is sent.
fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::Timeout(_) | Error::HostNotFound | Error::ConnectionFailed)
}

/// The pause that a collector asks for, in seconds.
fn retry_after<B>(answer: &Response<B>) -> Option<Duration> {
    answer.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Spans that a collector took and does not keep, by its own word.
fn rejected(mut answer: Response<ureq::Body>) -> usize {
    let said = answer.body_mut().with_config().limit(64 << 10).read_to_string().unwrap_or_default();
    let said: Value = serde_json::from_str(&said).unwrap_or_default();
    let rejected = &said["partialSuccess"]["rejectedSpans"];
    let count = rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok());
    count.map_or(0, |count| usize::try_from(count).unwrap_or(usize::MAX))
}
