//! A request from its head until its answer is handed to the system.

use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::app::App;
use crate::log::{Entry, Notes};
use crate::trace::{Ended, Started, TRACERESPONSE};

/// The status of a request whose client left before there was an answer, as web servers count it; nobody is sent it.
const CLIENT_LEFT: u16 = 499;

/// A request that is being answered, also where its connection breaks.
pub(crate) struct InFlight {
    app: Arc<App>,
    open: Arc<AtomicUsize>,
    begun: Instant,
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
        let span = app.tracer.get().and_then(|_| Started::of(request));
        notes.write(|noted| noted.trace_id = span.as_ref().map(Started::trace_id));
        Self { app, open, begun: Instant::now(), route, entry, notes, span }
    }

    /// Path that is asked, as it is known.
    pub(crate) fn route(&self) -> &str {
        &self.route
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
    /// The last request's body was not read to its end.
    unread: AtomicBool,
    /// Those whose answers are made and not sent yet.
    unsent: Mutex<Vec<InFlight>>,
}

impl Exchanges {
    /// Whether a request is under way.
    pub(crate) fn are_open(&self) -> bool {
        self.0.open.load(Ordering::Relaxed) > 0
    }

    /// Whether something of a request was not wanted.
    pub(crate) fn are_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// All that was written is handed to the system.
    pub(crate) fn sent(&self) {
        drop(mem::take(&mut *self.0.unsent.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// A request's body, of which it will be known whether it was read.
    pub(crate) fn incoming(&self, body: Body) -> Body {
        self.0.unread.store(false, Ordering::Relaxed);
        Body::new(Incoming { body, state: Arc::clone(&self.0), ended: false })
    }

    /// An answer that counts as under way until it is sent. It says where the connection ends with it.
    pub(crate) fn outgoing(self, mut answer: Response, mut request: InFlight) -> Response {
        if let Some(header) = request.span.as_ref().and_then(Started::header) {
            answer.headers_mut().insert(TRACERESPONSE, header);
        }
        request.made(&answer);
        if self.are_unread() || !request.app.ready.load(Ordering::Relaxed) {
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
        if !self.ended && !self.body.is_end_stream() {
            self.state.unread.store(true, Ordering::Relaxed);
        }
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
