//! A request from its head until its answer is handed to the system.

use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONNECTION, EXPECT};
use axum::response::Response;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, SizeHint};
use tokio::time::timeout;

use crate::app::App;
use crate::log::{Entry, Notes};
use crate::trace::{Ended, Started, TRACERESPONSE};

/// The status of a request whose client left before there was an answer, as web servers count it; nobody is sent it.
const CLIENT_LEFT: u16 = 499;
/// What is read of a body that nobody wants, so that the connection can go on, and how long that may take.
const SMALL: usize = 64 << 10;
const SHORT: Duration = Duration::from_secs(1);

/// A request that is being answered, also where its connection breaks.
pub(crate) struct InFlight {
    app: Arc<App>,
    open: Arc<AtomicUsize>,
    begun: Instant,
    /// The client sends the body when it is asked to.
    waits: bool,
    /// The route, for the metrics: one that is known, so that nobody can fill them with others.
    route: String,
    /// Until an answer is made.
    entry: Option<Entry>,
    notes: Notes,
    span: Option<Started>,
}

impl InFlight {
    /// Counts a request of a connection, and gives it a place where its handler notes what the log tells of it.
    pub(crate) fn new(app: Arc<App>, exchanges: &Exchanges, request: &mut Request) -> Self {
        app.metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        let open = Arc::clone(&exchanges.0.open);
        open.fetch_add(1, Ordering::Relaxed);
        let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
        let (notes, entry) = (Notes::default(), Some(Entry::new(request)));
        request.extensions_mut().insert(notes.clone());
        let waits = request.headers().contains_key(EXPECT);
        // In this order: a pause between the two moves no span behind its end.
        let (time, begun) = (SystemTime::now(), Instant::now());
        let span = app.tracer.get().and_then(|_| Started::of(request, (begun, time)));
        notes.write(|noted| noted.trace_id = span.as_ref().map(Started::trace_id));
        Self { app, open, begun, waits, route, entry, notes, span }
    }

    /// Path that is asked, as it is known.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// The span, where it will be told.
    fn span_of(&self, answer: &Response) -> Option<&Started> {
        let noise = self.entry.as_ref().is_none_or(|entry| entry.is_noise(answer.status().as_u16()));
        self.span.as_ref().filter(|_| !noise)
    }

    /// An answer is made. What is still to do is to send it.
    fn made(&mut self, answer: &Response) {
        self.counted(answer.status().as_u16(), answer.body().size_hint().exact());
    }

    fn counted(&mut self, status: u16, bytes: Option<u64>) {
        let Some(entry) = self.entry.take() else { return };
        let took = self.begun.elapsed();
        self.app.metrics.request(&self.route, status, took);
        if entry.is_noise(status) {
            return;
        }
        if let (Some(tracer), Some(span)) = (self.app.tracer.get(), self.span.take()) {
            tracer.take(Ended {
                started: span,
                route: self.route.clone(),
                path: entry.path().to_owned(),
                status: Some(status).filter(|status| *status != CLIENT_LEFT),
                bytes_out: bytes,
                took,
                noted: self.notes.read(),
                secure: self.app.settings.tls.is_some(),
            });
        }
        if let Some(log) = self.app.log.get() {
            let lost = !log.take(entry, status, took, bytes, &self.notes);
            self.app.metrics.log_line(lost);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counted(CLIENT_LEFT, None);
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.app.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests and answers of a connection.
#[derive(Clone, Default)]
pub(crate) struct Exchanges(Arc<State>);

#[derive(Default)]
struct State {
    /// Requests that are not answered, or whose answers are not sent.
    open: Arc<AtomicUsize>,
    /// What was not read of the last request's body.
    left: Mutex<Left>,
    /// Those whose answers are made and not sent yet.
    unsent: Mutex<Vec<InFlight>>,
}

/// What is left of a request's body.
#[derive(Default)]
enum Left {
    #[default]
    Nothing,
    Body(Body),
    /// Nobody knows where the next request begins.
    Broken,
}

impl Exchanges {
    /// Whether a request is under way.
    pub(crate) fn are_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }

    /// All that was written is handed to the system.
    pub(crate) fn sent(&self) {
        drop(mem::take(&mut *self.0.unsent.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// A request's body, of which it will be known whether it was read.
    pub(crate) fn incoming(&self, body: Body) -> Body {
        Body::new(Incoming { body, state: Arc::clone(&self.0), ended: false, broken: false })
    }

    /// Whether nothing is left of a request's body. What is small is read for that, unless its client waits to be asked for it.
    async fn is_read(&self, waits: bool) -> bool {
        let left = mem::take(&mut *self.0.left.lock().unwrap_or_else(PoisonError::into_inner));
        let left = match left {
            Left::Nothing => return true,
            Left::Broken => return false,
            Left::Body(body) => body,
        };
        let small = !waits && left.size_hint().lower() <= SMALL as u64;
        small && timeout(SHORT, Limited::new(left, SMALL).collect()).await.is_ok_and(|read| read.is_ok())
    }

    /// An answer that counts as under way until it is sent. It says where the connection ends with it.
    pub(crate) async fn outgoing(self, mut answer: Response, mut request: InFlight) -> Response {
        let ends = !self.is_read(request.waits).await || !request.app.ready.load(Ordering::Relaxed);
        if let Some(header) = request.span_of(&answer).and_then(Started::header) {
            answer.headers_mut().insert(TRACERESPONSE, header);
        }
        request.made(&answer);
        if ends {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer.map(|body| Body::new(Outgoing { body, request: Some((self, request)) }))
    }
}

/// The body of a request.
struct Incoming {
    body: Body,
    state: Arc<State>,
    ended: bool,
    broken: bool,
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.ended |= matches!(frame, Poll::Ready(None));
        self.broken |= matches!(frame, Poll::Ready(Some(Err(_))));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if self.ended || (self.body.is_end_stream() && !self.broken) {
            return;
        }
        let left = if self.broken { Left::Broken } else { Left::Body(mem::take(&mut self.body)) };
        *self.state.left.lock().unwrap_or_else(PoisonError::into_inner) = left;
    }
}

/// The body of an answer. When nothing more of it is to be read, its request is one of the unsent ones.
struct Outgoing {
    body: Body,
    request: Option<(Exchanges, InFlight)>,
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        if let Some((exchanges, request)) = self.request.take() {
            exchanges.0.unsent.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        }
    }
}
