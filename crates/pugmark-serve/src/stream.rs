//! A connection's bytes, and how they end without taking an answer along.
//!
//! Two things make TCP throw away an answer that is on its way: closing where something was sent that nobody has read, and closing
//! just when the next request arrives. So what is left of a refused body is read and thrown away after the answer (nginx calls
//! that a lingering close), and a server that stops says so in its answers (`Connection: close`) and ends a connection without a
//! request when nothing has come for a while and the system holds nothing either.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::server::TlsStream;

use crate::exchange::Exchanges;
use crate::settings::RequestLimits;

/// How long a stopping server waits for the next request of a connection that has none.
pub(crate) const GRACE: Duration = Duration::from_millis(500);
/// How long nothing may come of a body that is thrown away.
const QUIET: Duration = Duration::from_secs(5);
/// Of a body that is refused, this many times the limit is thrown away, so that its sender gets to reading why.
const THROWN_AWAY: usize = 4;

/// Plain or encrypted bytes over TCP.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    fn socket(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn socket(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// A connection's stream.
pub(crate) struct Stream<S> {
    stream: S,
    exchanges: Exchanges,
    /// Ends when the server is asked to stop.
    stopping: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// How long something is still waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// Bytes that may be thrown away, and for how long.
    waste: usize,
    patience: Duration,
    /// When the last byte was sent.
    closed: Option<Instant>,
}

impl<S: Transport> Stream<S> {
    pub(crate) fn new(
        stream: S,
        exchanges: Exchanges,
        mut stopping: watch::Receiver<bool>,
        limits: &RequestLimits,
    ) -> Self {
        let stopping = async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let waste = limits.body.saturating_mul(THROWN_AWAY);
        let (stopping, patience) = (Some(Box::pin(stopping) as _), limits.idle);
        Self { stream, exchanges, stopping, timer: None, waste, patience, closed: None }
    }

    /// Ready where nothing more is waited for: the server stops, no request is under way, and none has come for a while.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.exchanges.are_open() {
            self.timer = None;
            return Poll::Pending;
        }
        if let Some(stopping) = &mut self.stopping {
            ready!(stopping.as_mut().poll(context));
            self.stopping = None;
        }
        ready!(self.timer.get_or_insert_with(|| Box::pin(sleep(GRACE))).as_mut().poll(context));
        self.timer = None;
        // The runtime may not have heard yet of what has come, so the system is asked.
        match SockRef::from(self.stream.socket()).peek(&mut [MaybeUninit::uninit()]) {
            Ok(1..) => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }

    /// Reads what nobody wants; ready at its end or at a limit.
    fn poll_throw_away(&mut self, context: &mut Context<'_>, closed: Instant) -> Poll<()> {
        let mut bytes = [0; 8192];
        loop {
            let mut into = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.stream).poll_read(context, &mut into) {
                Poll::Ready(Ok(())) if !into.filled().is_empty() && self.waste > 0 => {
                    self.waste = self.waste.saturating_sub(into.filled().len());
                    self.timer = None;
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let left = self.patience.saturating_sub(closed.elapsed());
        self.timer.get_or_insert_with(|| Box::pin(sleep(left.min(QUIET)))).as_mut().poll(context)
    }
}

impl<S: Transport> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.timer = None;
            return read;
        }
        self.poll_ended(context).map(Ok)
    }
}

/// `hyper` flushes when it has written all it had, and with that the answers are sent.
impl<S: Transport> AsyncWrite for Stream<S> {
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
            self.exchanges.sent();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match self.closed {
            Some(closed) => closed,
            None => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
                self.timer = None;
                *self.closed.insert(Instant::now())
            }
        };
        match self.exchanges.are_unread() {
            true => self.poll_throw_away(context, closed).map(Ok),
            false => Poll::Ready(Ok(())),
        }
    }
}
