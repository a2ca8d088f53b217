//! Connections: how many, how long, and how they end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::exchange::{Stream, Unsent};
use crate::routes::router;

/// How long connections without a request keep a stopping server waiting.
const QUIET: Duration = Duration::from_millis(300);

/// Serves until `stop`, then answers whatever was accepted. The number of requests that were cut off by the limit on that.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) -> usize {
    let graceful = GracefulShutdown::new();
    let connections = Arc::new(Semaphore::new(app.settings.limits.connections.max(1)));
    let service = TowerToHyperService::new(router(Arc::clone(&app)));
    let limits = app.settings.limits;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.head.max(8192))
        // A client that has nothing more to send still gets its answer.
        .half_close(true);
    let handshake = limits.idle;
    let open = |stream: TcpStream, permit: Option<OwnedSemaphorePermit>| {
        // Answers are small: they shall not wait for more to send.
        let _ = stream.set_nodelay(true);
        // Whoever does not read what it asked for is let go of.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(limits.idle));
        let (unsent, service, http) = (Unsent::default(), service.clone(), http.clone());
        let (tls, watcher, sent) = (app.tls(), graceful.watcher(), unsent.clone());
        let answer = move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(unsent.clone());
            service.call(request)
        };
        let answer = service_fn(answer);
        tokio::spawn(async move {
            let _permit = permit;
            // A connection that breaks is its client's affair.
            let _ = match tls {
                None => {
                    let stream = TokioIo::new(Stream::new(stream, sent));
                    watcher.watch(http.serve_connection(stream, answer)).await
                }
                Some(config) => {
                    let accepted = timeout(handshake, TlsAcceptor::from(config).accept(stream)).await;
                    let Ok(Ok(stream)) = accepted else { return };
                    let stream = TokioIo::new(Stream::new(stream, sent));
                    watcher.watch(http.serve_connection(stream, answer)).await
                }
            };
        });
    };
    let mut stop = std::pin::pin!(stop);
    loop {
        let next = async {
            let permit = Arc::clone(&connections).acquire_owned().await.ok();
            (accept(&listener).await, permit)
        };
        tokio::select! {
            biased;
            () = &mut stop => break,
            (stream, permit) = next => open(stream, permit),
        }
    }
    app.ready.store(false, Ordering::Relaxed);
    // Those that the system has accepted for us: the runtime may not have heard of them yet, so the system is asked.
    if let Ok(listener) = listener.into_std() {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_ok()
                        && let Ok(stream) = TcpStream::from_std(stream)
                    {
                        open(stream, None);
                    }
                }
                Err(error) if is_of_the_client(&error) => {}
                Err(_) => break,
            }
        }
    }
    drain(&app, graceful).await
}

/// The next connection. Where the system has no more of something, it may have later.
async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_the_client(&error) => {}
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

fn is_of_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Waits for the last answers; how many did not come.
async fn drain(app: &App, graceful: GracefulShutdown) -> usize {
    let in_flight = || app.metrics.in_flight.load(Ordering::Relaxed);
    // A connection that was opened and asks nothing is not waited for, unless it begins to.
    let quiet = async {
        let mut since = Instant::now();
        while since.elapsed() < QUIET {
            sleep(Duration::from_millis(10)).await;
            if in_flight() > 0 {
                since = Instant::now();
            }
        }
    };
    let done = async {
        tokio::select! {
            () = graceful.shutdown() => {}
            () = quiet => {}
        }
    };
    let _ = timeout(app.settings.drain, done).await;
    in_flight()
}
