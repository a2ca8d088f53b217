//! A request from its head until its answer is handed to the system.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;
use std::{io, mem};

use axum::body::{Body, HttpBody};
use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::app::App;
use crate::log::{Entry, Notes};

/// The status of a request whose client left before there was an answer, as web servers count it; nobody is sent it.
const CLIENT_LEFT: u16 = 499;

/// A request that is being answered, also where its connection breaks.
pub(crate) struct InFlight {
    app: Arc<App>,
    begun: Instant,
    /// The route, for the metrics: one that is known, so that nobody can fill them with others.
    route: String,
    /// Until an answer is made.
    entry: Option<Entry>,
    notes: Notes,
}

impl InFlight {
    /// Counts a request, and gives it a place where its handler notes what the log tells of it.
    pub(crate) fn new(app: Arc<App>, request: &mut Request) -> Self {
        app.metrics.in_flight.fetch_add(1, Ordering::Relaxed);
        let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
        let (notes, entry) = (Notes::default(), Some(Entry::new(request)));
        request.extensions_mut().insert(notes.clone());
        Self { app, begun: Instant::now(), route, entry, notes }
    }

    /// Path that is asked, as it is known.
    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    /// An answer is made. What is still to do is to send it.
    pub(crate) fn made(&mut self, answer: &Response) {
        self.counted(answer.status().as_u16(), answer.body().size_hint().exact());
    }

    fn counted(&mut self, status: u16, bytes: Option<u64>) {
        let Some(entry) = self.entry.take() else { return };
        let took = self.begun.elapsed();
        self.app.metrics.request(&self.route, status, took);
        if let Some(log) = self.app.log.get() {
            let lost = !log.take(entry, status, took, bytes, &self.notes);
            self.app.metrics.log_line(lost);
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.counted(CLIENT_LEFT, None);
        self.app.metrics.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests of a connection whose answers are made and not yet sent.
#[derive(Clone, Default)]
pub(crate) struct Unsent(Arc<Mutex<Vec<InFlight>>>);

impl Unsent {
    fn add(&self, request: InFlight) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }

    fn sent(&self) {
        drop(mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// An answer's body, with which its request is in flight.
    pub(crate) fn body(self, body: Body, request: InFlight) -> Body {
        Body::new(Outgoing { body, request: Some((self, request)) })
    }
}

/// The body of an answer. When nothing more of it is to be read, its request is one of the unsent ones.
struct Outgoing {
    body: Body,
    request: Option<(Unsent, InFlight)>,
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
        if let Some((unsent, request)) = self.request.take() {
            unsent.add(request);
        }
    }
}

/// A connection's stream. `hyper` flushes it when it has written all it had, and with that the answers are sent.
pub(crate) struct Stream<S> {
    stream: S,
    unsent: Unsent,
}

impl<S> Stream<S> {
    pub(crate) fn new(stream: S, unsent: Unsent) -> Self {
        Self { stream, unsent }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.unsent.sent();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
