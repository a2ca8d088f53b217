//! What all requests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use pugmark_engine::Cpu;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::rustls::ServerConfig;

use crate::access::TlsSettings;
use crate::capture::Capture;
use crate::error::{RequestError, ServeError};
use crate::log::Log;
use crate::metrics::Metrics;
use crate::models::Models;
use crate::otlp::Tracer;
use crate::settings::Settings;
use crate::shadow::Shadow;
use crate::worker::Worker;

/// Models that answer together, and their share of the requests.
#[derive(Debug, Clone)]
pub struct VariantSettings {
    /// What requests and answers call it.
    pub name: String,
    /// Its share of the requests is its weight over the sum of all; at least 0.
    pub weight: f64,
    /// Runs or model files of the same classes; their probabilities are averaged.
    pub models: Vec<PathBuf>,
}

/// A variant that serves.
#[derive(Clone)]
pub(crate) struct Variant {
    pub(crate) name: Arc<str>,
    weight: f64,
    pub(crate) worker: Arc<Worker>,
}

/// The next of the multiples of the golden ratio, modulo 1: they fill the way from 0 to 1 evenly, however many there are.
pub(crate) fn place(turns: &AtomicU64) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_9;
    (turns.fetch_add(1, Ordering::Relaxed) as f64 * GOLDEN).fract()
}

/// What all requests share.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) capture: Option<Arc<Capture>>,
    pub(crate) shadow: Option<Shadow>,
    pub(crate) log: OnceLock<Log>,
    pub(crate) tracer: OnceLock<Tracer>,
    models: Option<Models>,
    tls: Option<RwLock<Arc<ServerConfig>>>,
    pub(crate) engine: Cpu,
    /// The first is asked where nothing else decides.
    variants: RwLock<Vec<Variant>>,
    /// A permit a KiB of a body.
    pub(crate) bodies: Arc<Semaphore>,
    /// A permit a KiB of a body that is kept after its answer.
    pub(crate) copies: Arc<Semaphore>,
    /// A permit a photo.
    photos: Arc<Semaphore>,
    /// A permit a small photo that is decoded by a compute thread, or the next to be: no more of them come before a batch.
    pub(crate) small: Arc<Semaphore>,
    /// A permit a photo that is being decoded on a thread of its own.
    pub(crate) decoders: Arc<Semaphore>,
    /// One map is made at a time.
    pub(crate) explaining: Arc<Semaphore>,
    /// Requests are taken in.
    pub(crate) ready: AtomicBool,
    calls: AtomicU64,
}

impl App {
    /// Opens all models.
    pub(crate) fn new(
        settings: Settings,
        variants: &[VariantSettings],
        engine: Cpu,
    ) -> Result<Self, ServeError> {
        let tls = settings.tls.as_ref().map(TlsSettings::load).transpose()?.map(RwLock::new);
        let metrics = Arc::new(Metrics::new());
        let capture = |path: &PathBuf| {
            let failed = |source| ServeError::Capture { path: path.clone(), source };
            Capture::start(path.clone(), &metrics).map(Arc::new).map_err(failed)
        };
        let capture = settings.capture.as_ref().map(capture).transpose()?;
        let shadow = |of| Shadow::start(of, &settings, &metrics, capture.as_ref());
        let shadow = settings.shadow.as_ref().map(shadow).transpose()?;
        let app = Self {
            variants: RwLock::default(),
            tls,
            log: OnceLock::new(),
            tracer: OnceLock::new(),
            models: settings.models.clone().map(Models::new),
            bodies: Arc::new(Semaphore::new(settings.limits.bodies.div_ceil(1024))),
            copies: Arc::new(Semaphore::new(
                (settings.limits.bodies / 4).max(settings.limits.body).div_ceil(1024),
            )),
            photos: Arc::new(Semaphore::new(settings.photos.max(1))),
            small: Arc::new(Semaphore::new(2 * engine.threads())),
            decoders: Arc::new(Semaphore::new(settings.decoders.max(1))),
            explaining: Arc::new(Semaphore::new(1)),
            ready: AtomicBool::new(true),
            calls: AtomicU64::new(0),
            metrics,
            capture,
            shadow,
            engine,
            settings,
        };
        let start = |variant: &VariantSettings| app.start(&variant.name, variant.weight, &variant.models);
        let variants = variants.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self { variants: RwLock::new(variants), ..app })
    }

    /// Opens the models of a variant.
    pub(crate) fn start(&self, name: &str, weight: f64, models: &[PathBuf]) -> Result<Variant, ServeError> {
        let worker = Worker::start(models, &self.engine, &self.settings, &self.metrics)?;
        Ok(Variant { name: name.into(), weight, worker: worker.into() })
    }

    /// The models that are loaded by request.
    pub(crate) fn models(&self) -> Result<&Models, RequestError> {
        let off = || {
            RequestError::NotFound(
                "model to load or unload: the server was started without `--models`".into(),
            )
        };
        self.models.as_ref().ok_or_else(off)
    }

    /// All variants as they are now.
    pub(crate) fn variants(&self) -> Vec<Variant> {
        self.variants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The variant of that name; without a name the one whose turn it is.
    ///
    /// After any number of requests each variant has had its share to within a few requests, and its turns are spread evenly.
    pub(crate) fn variant(&self, name: Option<&str>) -> Result<Variant, RequestError> {
        let variants = self.variants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = name {
            let named = variants.iter().find(|variant| *variant.name == *name).cloned();
            let named = named.or_else(|| self.models.as_ref()?.get(name));
            return named.ok_or_else(|| RequestError::NotFound(format!("model or variant `{name}`")));
        }
        let total: f64 = variants.iter().map(|variant| variant.weight).sum();
        let mut place = place(&self.calls) * total;
        for variant in variants.iter() {
            if place < variant.weight {
                return Ok(variant.clone());
            }
            place -= variant.weight;
        }
        variants.first().cloned().ok_or_else(|| {
            RequestError::NotFound("model but those of /models: ask /models/NAME/invoke".into())
        })
    }

    /// How TLS is spoken now, where it is.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|config| Arc::clone(&config.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Opens all models and certificates again, from where they were read; what is asked meanwhile is answered by the old ones, also where
    /// opening fails. Blocks.
    pub(crate) fn reload(&self) -> Result<(), ServeError> {
        let tls = self.settings.tls.as_ref().map(TlsSettings::load).transpose()?;
        let mut variants = self.variants();
        for variant in &mut variants {
            let paths = variant.worker.paths();
            variant.worker = Worker::start(paths, &self.engine, &self.settings, &self.metrics)?.into();
        }
        let shadow = self.shadow.as_ref().map(|shadow| Ok::<_, ServeError>((shadow, shadow.open_again()?)));
        let shadow = shadow.transpose()?;
        *self.variants.write().unwrap_or_else(PoisonError::into_inner) = variants;
        if let (Some(place), Some(config)) = (&self.tls, tls) {
            *place.write().unwrap_or_else(PoisonError::into_inner) = config;
        }
        // Last: it waits for a place in the queue.
        if let Some((shadow, panel)) = shadow {
            shadow.replace(panel);
        }
        Ok(())
    }

    /// Room for that many photos, or none at all.
    pub(crate) fn room(&self, photos: usize) -> Result<OwnedSemaphorePermit, RequestError> {
        let most = self.settings.photos.max(1);
        if photos > most {
            return Err(RequestError::TooLarge(format!(
                "the request has {photos} photos, more than the limit of {most}"
            )));
        }
        let room = Arc::clone(&self.photos).try_acquire_many_owned(photos as u32);
        room.map_err(|_| RequestError::Busy("too many photos are waiting"))
    }

    /// Photos that hold room.
    pub(crate) fn waiting(&self) -> usize {
        self.settings.photos.max(1) - self.photos.available_permits()
    }
}
