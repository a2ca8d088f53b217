//! What all requests share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use pugmark_engine::Cpu;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::capture::Capture;
use crate::error::{RequestError, ServeError};
use crate::metrics::Metrics;
use crate::settings::Settings;
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

/// What all requests share.
pub(crate) struct App {
    pub(crate) settings: Settings,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) capture: Option<Capture>,
    engine: Cpu,
    /// The first is asked where nothing else decides.
    variants: RwLock<Vec<Variant>>,
    /// A permit a KiB of a body.
    pub(crate) bodies: Arc<Semaphore>,
    /// A permit a photo.
    photos: Arc<Semaphore>,
    /// A permit a photo that is being decoded.
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
        let metrics = Arc::new(Metrics::new());
        let capture = |path: &PathBuf| {
            let failed = |source| ServeError::Capture { path: path.clone(), source };
            Capture::start(path.clone(), &metrics).map_err(failed)
        };
        let capture = settings.capture.as_ref().map(capture).transpose()?;
        let start = |variant: &VariantSettings| -> Result<Variant, ServeError> {
            let worker = Worker::start(&variant.models, &engine, &settings, &metrics)?;
            Ok(Variant { name: variant.name.as_str().into(), weight: variant.weight, worker: worker.into() })
        };
        let variants = variants.iter().map(start).collect::<Result<_, _>>()?;
        Ok(Self {
            variants: RwLock::new(variants),
            bodies: Arc::new(Semaphore::new(settings.limits.bodies.div_ceil(1024))),
            photos: Arc::new(Semaphore::new(settings.photos.max(1))),
            decoders: Arc::new(Semaphore::new(settings.decoders.max(1))),
            explaining: Arc::new(Semaphore::new(1)),
            ready: AtomicBool::new(true),
            calls: AtomicU64::new(0),
            metrics,
            capture,
            engine,
            settings,
        })
    }

    /// All variants as they are now.
    pub(crate) fn variants(&self) -> Vec<Variant> {
        self.variants.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The variant of that name; without a name the one whose turn it is.
    ///
    /// Turns go by the multiples of the golden ratio: after any number of requests each variant has had its share to within
    /// a few requests, and its turns are spread evenly.
    pub(crate) fn variant(&self, name: Option<&str>) -> Result<Variant, RequestError> {
        let variants = self.variants.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(name) = name {
            let named = variants.iter().find(|variant| *variant.name == *name).cloned();
            return named.ok_or_else(|| RequestError::NotFound(format!("model or variant `{name}`")));
        }
        const GOLDEN: f64 = 0.618_033_988_749_894_9;
        let turn = self.calls.fetch_add(1, Ordering::Relaxed);
        let total: f64 = variants.iter().map(|variant| variant.weight).sum();
        let mut place = (turn as f64 * GOLDEN).fract() * total;
        for variant in variants.iter() {
            if place < variant.weight {
                return Ok(variant.clone());
            }
            place -= variant.weight;
        }
        variants.first().cloned().ok_or(RequestError::Unavailable("no model is loaded"))
    }

    /// Opens all models again, from where they were read; what is asked meanwhile is answered by the old ones, also where
    /// opening fails. Blocks.
    pub(crate) fn reload(&self) -> Result<(), ServeError> {
        let mut variants = self.variants();
        for variant in &mut variants {
            let paths = variant.worker.paths();
            variant.worker = Worker::start(paths, &self.engine, &self.settings, &self.metrics)?.into();
        }
        *self.variants.write().unwrap_or_else(PoisonError::into_inner) = variants;
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
