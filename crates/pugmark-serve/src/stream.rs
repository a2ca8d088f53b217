//! A connection's bytes, and how they end without taking an answer along.
//!
//! Two things make TCP throw away an answer that is on its way: closing where something was sent that nobody has read, and closing
//! just when the next request arrives. So what comes after the last answer is read and thrown away for a while (nginx calls that a
//! lingering close), and a server that stops says so in its answers (`Connection: close`) and ends a connection without a request
//! when nothing has come for a while and the system holds nothing either.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;

use crate::exchange::Exchanges;
use crate::settings::Settings;

/// How long nothing may come of what is thrown away.
const QUIET: Duration = Duration::from_secs(5);
/// This many times the limit on a body is thrown away, so that who sends a larger one gets to reading why it is refused.
const THROWN_AWAY: usize = 4;
/// A handshake, a head and a lingering close end this many times the grace after the server was asked to stop, whatever comes.
pub(crate) const GRACES: u32 = 6;

/// Plain or encrypted bytes over TCP.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
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
pub(crate) struct Stream {
    stream: Box<dyn Transport>,
    exchanges: Exchanges,
    /// Ends when the server is asked to stop.
    stopping: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    timer: Pin<Box<Sleep>>,
    /// Silence that ends a connection without a request when the server stops.
    grace: Duration,
    /// Since when such a connection waits.
    ending: Option<Instant>,
    /// When the last byte came.
    heard: Instant,
    /// When the last byte was sent.
    closed: Option<Instant>,
    /// Bytes that may be thrown away, and for how long.
    waste: usize,
    patience: Duration,
}

impl Stream {
    pub(crate) fn new(
        stream: Box<dyn Transport>,
        exchanges: Exchanges,
        mut stopping: watch::Receiver<bool>,
        settings: &Settings,
    ) -> Self {
        let stopping = async move {
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let now = Instant::now();
        Self {
            stream,
            exchanges,
            stopping: Some(Box::pin(stopping)),
            timer: Box::pin(sleep_until(now)),
            grace: settings.grace,
            ending: None,
            heard: now,
            closed: None,
            waste: settings.limits.body.saturating_mul(THROWN_AWAY),
            patience: settings.limits.idle,
        }
    }

    /// Ready where the server stops, with since when this connection is ending.
    fn poll_stopping(&mut self, context: &mut Context<'_>) -> Poll<Instant> {
        if let Some(stopping) = &mut self.stopping {
            ready!(stopping.as_mut().poll(context));
            self.stopping = None;
        }
        Poll::Ready(*self.ending.get_or_insert_with(Instant::now))
    }

    fn poll_until(&mut self, context: &mut Context<'_>, until: Instant) -> Poll<()> {
        self.timer.as_mut().reset(until);
        self.timer.as_mut().poll(context)
    }

    /// Ready where nothing more is waited for: the server stops, no request is under way, and none has come for a while.
    fn poll_ended(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.exchanges.are_open() {
            self.ending = None;
            return Poll::Pending;
        }
        let since = ready!(self.poll_stopping(context));
        let until = (since.max(self.heard) + self.grace).min(since + self.grace * GRACES);
        ready!(self.poll_until(context, until));
        // The runtime may not have heard yet of what has come, so the system is asked.
        match SockRef::from(self.stream.socket()).peek(&mut [MaybeUninit::uninit()]) {
            Ok(1..) => Poll::Pending,
            _ => {
                self.patience = Duration::ZERO;
                Poll::Ready(())
            }
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
                    self.heard = Instant::now();
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let mut until = (closed + self.patience).min(self.heard.max(closed) + QUIET);
        if let Poll::Ready(since) = self.poll_stopping(context) {
            until = until.min(since + self.grace * GRACES);
        }
        self.poll_until(context, until)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, into);
        if read.is_ready() {
            self.heard = Instant::now();
            return read;
        }
        self.poll_ended(context).map(Ok)
    }
}

/// `hyper` flushes when it has written all it had, and with that the answers are sent.
impl AsyncWrite for Stream {
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

    /// May be asked again when it is done.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = match self.closed {
            Some(closed) => closed,
            None => {
                ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
                *self.closed.insert(Instant::now())
            }
        };
        ready!(self.poll_throw_away(context, closed));
        self.patience = Duration::ZERO;
        Poll::Ready(Ok(()))
    }
}
