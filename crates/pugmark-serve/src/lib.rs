//! The endpoint: photos in over HTTP, probabilities out; and its page.
//!
//! The way of a photo: a request is read within limits ([`RequestLimits`]); what it holds becomes photos; a photo gets room or
//! the request is refused with 429; a thread decodes it, by the recipes of the models alone; the pictures wait
//! in a queue for the model's one thread, which takes what is there as a batch. An answer does not depend on what else is in
//! its batch, bit for bit, because the engine's do not.

mod access;
mod answer;
mod app;
mod body;
mod capture;
mod connection;
mod drift;
mod error;
mod exchange;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod input;
mod log;
mod metrics;
mod models;
mod otlp;
mod page;
mod photo;
mod routes;
mod settings;
mod shadow;
mod stream;
mod trace;
mod worker;

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pugmark_engine::Cpu;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::sleep;

use app::App;
use log::Log;
use otlp::Tracer;

pub use access::{TlsSettings, Token};
pub use app::VariantSettings;
pub use error::ServeError;
pub use log::LogForm;
pub use models::model_in;
pub use otlp::TraceSettings;
pub use settings::{ModelsSettings, RequestLimits, Settings, Shape};
pub use shadow::ShadowSettings;

/// How often a server looks whether it shall stop.
const LISTEN: Duration = Duration::from_millis(20);

/// A server that listens and does not answer yet.
pub struct Server {
    runtime: Runtime,
    listener: TcpListener,
    app: Arc<App>,
    address: SocketAddr,
}

/// Tells a server that runs to open its models again.
#[derive(Clone)]
pub struct Reload(Arc<App>);

impl Server {
    /// Opens the models of all variants, which may be none where others may be loaded by request, and listens.
    ///
    /// # Errors
    /// [`ServeError`]
    pub fn open(variants: &[VariantSettings], settings: Settings, engine: Cpu) -> Result<Self, ServeError> {
        let address = settings.address;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(ServeError::Start)?;
        let listen = |source| ServeError::Listen { address, source };
        // A port that is taken is told before models are opened.
        let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let app = Arc::new(App::new(settings, variants, engine)?);
        Ok(Self { runtime, listener, app, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// To reload the models while [`Server::run`] runs.
    pub fn reload(&self) -> Reload {
        Reload(Arc::clone(&self.app))
    }

    /// Writes a line for every request from now on. Nothing happens where there is a log already.
    ///
    /// # Errors
    /// [`ServeError::Start`]
    pub fn log(&self, form: LogForm, out: impl Write + Send + 'static) -> Result<(), ServeError> {
        let log = Log::start(form, out).map_err(ServeError::Start)?;
        let _ = self.app.log.set(log);
        Ok(())
    }

    /// Sends a span for every request to a collector from now on; `tell` hears why something could not be sent, once. Nothing
    /// happens where that is done already.
    ///
    /// # Errors
    /// [`ServeError::Collector`], [`ServeError::CollectorHeader`] and [`ServeError::Start`]
    pub fn trace(
        &self,
        settings: TraceSettings,
        tell: impl FnOnce(&str) + Send + 'static,
    ) -> Result<(), ServeError> {
        let _ = self.app.tracer.set(Tracer::start(settings, &self.app.metrics, tell)?);
        Ok(())
    }

    /// Answers until `stop` is set; then takes in nothing more, answers what was accepted and returns. The number of requests
    /// that could not be answered within [`Settings::drain`].
    pub fn run(self, stop: &AtomicBool) -> usize {
        let asked = async {
            while !stop.load(Ordering::Relaxed) {
                sleep(LISTEN).await;
            }
        };
        let left = self.runtime.block_on(connection::serve(self.listener, Arc::clone(&self.app), asked));
        if let Some(shadow) = &self.app.shadow {
            shadow.finish();
        }
        if let Some(capture) = &self.app.capture {
            capture.finish();
        }
        if let Some(log) = self.app.log.get() {
            log.finish();
        }
        if let Some(tracer) = self.app.tracer.get() {
            tracer.finish();
        }
        // What is still being decoded has nobody to answer.
        self.runtime.shutdown_background();
        left
    }
}

impl Reload {
    /// Opens all models and certificates again and answers with them from now on. The old ones answer meanwhile, and go on where one cannot be
    /// opened.
    ///
    /// # Errors
    /// [`ServeError::Model`] and [`ServeError::Tls`]
    pub fn now(&self) -> Result<(), ServeError> {
        self.0.reload()
    }
}
