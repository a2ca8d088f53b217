//! A model and its thread: photos wait in a bounded queue, the thread takes as many as there are, up to a batch.
//!
//! The thread makes up its batch itself when it is free: a batch that was made ahead, as a queue of one prefetched batch has
//! it, would be closed too early, and all there is to prepare is a copy of some hundred kilobytes.

use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pugmark_data::Recipe;
use pugmark_engine::Cpu;
use pugmark_eval::Combine;
use pugmark_eval::explain::{Grid, Picture, Scale, overlay};
use pugmark_model::{GradCam, Model, ModelCard, ModelError, Panel};
use tokio::sync::oneshot;

use crate::drift::Drift;
use crate::error::{RequestError, ServeError};
use crate::metrics::Metrics;
use crate::settings::Settings;

/// A photo as the models see it: one picture for each different recipe.
pub(crate) type Pictures = Vec<Vec<u8>>;

/// What the model says of a photo, and what it took.
#[derive(Debug)]
pub(crate) struct Looked {
    /// One a class.
    pub(crate) probabilities: Vec<f32>,
    pub(crate) queued: Duration,
    /// When the model began with it.
    pub(crate) begun: Instant,
    pub(crate) model: Duration,
    /// Photos in its batch.
    pub(crate) batch: usize,
}

struct Job {
    pictures: Pictures,
    since: Instant,
    reply: oneshot::Sender<Result<Looked, RequestError>>,
}

/// A model, or several that answer together, with a thread that runs them. The thread ends when the last worker is dropped.
pub(crate) struct Worker {
    paths: Vec<PathBuf>,
    cards: Vec<ModelCard>,
    recipes: Vec<Recipe>,
    engine: Cpu,
    drift: Drift,
    queue: SyncSender<Job>,
    thread: JoinHandle<()>,
    /// Made when it is asked for.
    grad_cam: Mutex<Option<GradCam>>,
}

impl Worker {
    /// Opens the models, runs them once so that the first answer takes no longer than others, and starts their thread.
    pub(crate) fn start(
        paths: &[PathBuf],
        engine: &Cpu,
        settings: &Settings,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, ServeError> {
        let batch = settings.batch.max(1);
        let mut panel = Panel::open(paths, engine, batch)?;
        let (cards, recipes): (Vec<_>, _) = (panel.cards().cloned().collect(), panel.recipes());
        let blank: Pictures =
            recipes.iter().map(|recipe| vec![0; recipe.width * recipe.height * 3]).collect();
        panel.probabilities(1, &blank)?;
        let (queue, jobs) = sync_channel(settings.photos.max(1));
        let (delay, metrics) = (settings.batch_delay, Arc::clone(metrics));
        let thread = thread::Builder::new()
            .name("model".into())
            .spawn(move || {
                while let Some(batch) = next_batch(&jobs, batch, delay) {
                    answer(&mut panel, batch, &metrics);
                }
            })
            .map_err(ServeError::Start)?;
        let drift = Drift::new(paths, &cards[0].classes);
        let (paths, engine, grad_cam) = (paths.to_vec(), engine.clone(), Mutex::new(None));
        Ok(Self { paths, cards, recipes, engine, drift, queue, thread, grad_cam })
    }

    /// Waits until the thread has ended, and with it the model's memory is free.
    pub(crate) fn end(self) {
        let Self { queue, thread, .. } = self;
        drop(queue);
        // Its panic was printed.
        let _ = thread.join();
    }

    /// What the models say about themselves; the first names the classes.
    pub(crate) fn cards(&self) -> &[ModelCard] {
        &self.cards
    }

    /// Names of the classes.
    pub(crate) fn classes(&self) -> &[String] {
        &self.cards[0].classes
    }

    /// The recipes that make a photo's pictures, in their order.
    pub(crate) fn recipes(&self) -> &[Recipe] {
        &self.recipes
    }

    /// Where the models were read from.
    pub(crate) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Its last answers.
    pub(crate) fn drift(&self) -> &Drift {
        &self.drift
    }

    /// Asks the model about a photo.
    pub(crate) async fn look(&self, pictures: Pictures) -> Result<Looked, RequestError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { pictures, since: Instant::now(), reply };
        // Whoever comes here holds one of as many permits as the queue has places; a model that was read again begins with an
        // empty queue.
        self.queue.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => RequestError::Busy("the queue is full"),
            TrySendError::Disconnected(_) => RequestError::Internal("the model's thread has ended".into()),
        })?;
        answer.await.map_err(|_| RequestError::Internal("the model's thread has ended".into()))?
    }

    /// The heat map of the first model for a class over the photo, by Grad-CAM. Blocks.
    pub(crate) fn heat(&self, pictures: &Pictures, class: usize) -> Result<Picture, RequestError> {
        let failed = |error: ModelError| RequestError::Internal(error.to_string());
        let mut place = self.grad_cam.lock().unwrap_or_else(PoisonError::into_inner);
        let grad_cam = match &mut *place {
            Some(grad_cam) => grad_cam,
            None => {
                let model = Model::open(&self.paths[0]).map_err(failed)?;
                if model.card != self.cards[0] {
                    return Err(RequestError::Unavailable(
                        "the model's file has changed and is not read again yet",
                    ));
                }
                place.insert(GradCam::new(&model, &self.engine).map_err(failed)?)
            }
        };
        // The first member's recipe is the first.
        let (pixels, recipe) = (&pictures[0], &self.recipes[0]);
        let map = grad_cam.map(pixels, class).map_err(failed)?;
        let [height, width] = map.shape[..] else { unreachable!("a map has two dimensions") };
        let values = Grid { width, height, values: map.values }.enlarged(recipe.width, recipe.height);
        let picture = Picture::new(pixels.clone(), recipe.width, recipe.height);
        Ok(overlay(&picture, &values, Scale::Positive))
    }
}

/// The next photos to look at, in the order of their arrival: at least one, at most `most`. None when nobody can ask any more.
fn next_batch(jobs: &Receiver<Job>, most: usize, delay: Duration) -> Option<Vec<Job>> {
    let mut batch = Vec::with_capacity(most);
    while batch.is_empty() {
        let first = jobs.recv().ok()?;
        let until = first.since + delay;
        batch.push(first);
        while batch.len() < most {
            let left = until.saturating_duration_since(Instant::now());
            match jobs.recv_timeout(left) {
                Ok(job) => batch.push(job),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        // Nobody waits for these any more.
        batch.retain(|job| !job.reply.is_closed());
    }
    Some(batch)
}

/// Looks at a batch and tells everybody what came of it.
fn answer(panel: &mut Panel, batch: Vec<Job>, metrics: &Metrics) {
    let (begun, images) = (Instant::now(), batch.len());
    let of = |recipe: usize| batch.iter().map(|job| &job.pictures[recipe][..]).collect::<Vec<_>>().concat();
    let pixels: Pictures = (0..batch[0].pictures.len()).map(of).collect();
    // The next forward pass overwrites whatever a panic leaves half done.
    let rows = panic::catch_unwind(AssertUnwindSafe(|| panel.probabilities(images, &pixels)))
        .map_err(|_| RequestError::Internal("the model failed".into()))
        .and_then(|rows| rows.map_err(|error| RequestError::Internal(error.to_string())));
    let model = begun.elapsed();
    metrics.batch(images, model);
    let members = panel.cards().count();
    let weights = vec![1.0 / members as f64; members];
    for (place, Job { since, reply, .. }) in batch.into_iter().enumerate() {
        let queued = begun - since;
        metrics.queued(queued);
        let looked = rows.as_ref().map(|rows| Looked {
            probabilities: Combine::Mean.probabilities(&weights, &rows[place]),
            queued,
            begun,
            model,
            batch: images,
        });
        // Whoever asked may be gone.
        let _ = reply.send(looked.map_err(Clone::clone));
    }
}
