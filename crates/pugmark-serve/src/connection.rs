//! Connections: how many, how long, and how they end.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::app::App;
use crate::exchange::Exchanges;
use crate::routes::router;
use crate::stream::{GRACES, Stream, Transport};

/// Serves until `stop`, then answers whatever was accepted. The number of requests that were cut off by the limit on that.
pub(crate) async fn serve(listener: TcpListener, app: Arc<App>, stop: impl Future<Output = ()>) -> usize {
    let connections = Arc::new(Semaphore::new(app.settings.limits.connections.max(1)));
    // Every connection holds a receiver.
    let (stopping, watching) = watch::channel(false);
    let open = opener(&app, watching);
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
    // Those that the system has accepted for us: the runtime may not have heard of them yet, so the system is asked. Nobody has
    // been told yet to come back by another connection, which would come in between.
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
    app.ready.store(false, Ordering::Relaxed);
    let _ = stopping.send(true);
    drop(open);
    let _ = timeout(app.settings.drain, stopping.closed()).await;
    app.metrics.in_flight.load(Ordering::Relaxed)
}

/// What begins to serve a connection.
fn opener(
    app: &Arc<App>,
    watching: watch::Receiver<bool>,
) -> impl Fn(TcpStream, Option<OwnedSemaphorePermit>) {
    let limits = app.settings.limits;
    let handshake = app.settings.grace * GRACES;
    let service = TowerToHyperService::new(router(Arc::clone(app)));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // With it hyper also reads where it has nothing to do, which is how a `Stream` hears of a stop.
        .header_read_timeout(limits.idle)
        .max_buf_size(limits.head.max(8192))
        // A client that has nothing more to send still gets its answer.
        .half_close(true);
    let app = Arc::clone(app);
    move |stream: TcpStream, permit: Option<OwnedSemaphorePermit>| {
        // Answers are small: they shall not wait for more to send.
        let _ = stream.set_nodelay(true);
        // Whoever does not read what it asked for is let go of.
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(limits.idle));
        let (service, http, tls, mut watching) = (service.clone(), http.clone(), app.tls(), watching.clone());
        let app = Arc::clone(&app);
        let exchanges = Exchanges::default();
        let of = exchanges.clone();
        let answer = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(of.clone());
            service.call(request)
        });
        tokio::spawn(async move {
            // Dropped when the connection has ended.
            let (_permit, _open) = (permit, watching.clone());
            let stream: Box<dyn Transport> = match tls {
                None => Box::new(stream),
                Some(config) => {
                    let accepted = timeout(limits.idle, TlsAcceptor::from(config).accept(stream));
                    let stopping = async {
                        let _ = watching.wait_for(|stopping| *stopping).await;
                        sleep(handshake).await;
                    };
                    let accepted = tokio::select! {
                        accepted = accepted => accepted,
                        () = stopping => return,
                    };
                    let Ok(Ok(stream)) = accepted else { return };
                    Box::new(stream)
                }
            };
            let stream = Stream::new(stream, exchanges, watching, &app.settings);
            let mut connection = http.serve_connection(TokioIo::new(stream), answer);
            // A connection that breaks is its client's affair. After a request with `Upgrade` hyper leaves flushing and closing to
            // whoever takes over; asked again, it does both.
            if (&mut connection).await.is_ok() {
                let _ = connection.await;
            }
        });
    }
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
