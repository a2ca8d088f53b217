//! The features of a frozen backbone: what its head is given, computed once for each photo and kept.

mod store;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pugmark_data::{Augment, Batch, Item, Limits, Loader, LoaderSettings, Part};
use pugmark_engine::Engine;
use pugmark_graph::{Graph, NodeId};
use pugmark_model::{Model, Prediction, loader_threads, softmax};

use super::prepare::Prepared;
use super::report::Report;
use crate::{CacheFeatures, Event, SettingsError, TrainError, TrainSettings};
use store::Store;

/// Photos that go through the backbone together.
const BATCH: usize = 32;
/// Photos in one file, and the longest time until one is written: what a kill costs at most.
const CHUNK: usize = 1024;
const CHUNK_EVERY: Duration = Duration::from_secs(60);

/// The features of a photo.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    values: Vec<f32>,
    /// The file ends early; what is there was used.
    truncated: bool,
}

/// What is known of a photo: its features, or why it can't be decoded.
type Known = Result<Row, String>;

/// The features of every photo of a training.
pub(super) struct Features {
    /// The head alone.
    pub(super) graph: Graph,
    train: PartFeatures,
    val: PartFeatures,
    test: PartFeatures,
}

/// The features of the photos of a part, view by view.
#[derive(Clone)]
pub(super) struct PartFeatures {
    photos: usize,
    known: Arc<Vec<Known>>,
}

/// One view of the photos of a part: with which random changes, and which of [`PartFeatures`].
struct View<'a> {
    items: &'a [Item],
    augment: Augment,
    epoch: u64,
    known: Vec<Option<Known>>,
}

impl Features {
    /// Reads the features that are kept and computes the others, where the settings let them be kept; breaks off when
    /// stopped, with what was computed saved.
    pub(super) fn gather(
        settings: &TrainSettings,
        prepared: &Prepared,
        engine: &dyn Engine,
        stop: &AtomicBool,
        report: &mut Report<'_>,
    ) -> Result<ControlFlow<(), Option<Self>>, TrainError> {
        let Some((node, views)) = cut(settings, prepared, report)? else {
            return Ok(ControlFlow::Continue(None));
        };
        let Prepared { graph, state, tensors, train, val, test, .. } = prepared;
        let input = state.card.input(BATCH);
        let shape =
            graph.shapes(input.height, input.width).map_err(pugmark_engine::EngineError::from)?[node.0];
        let store = Store::open(settings, &state.card, graph, tensors, &engine.arithmetic())?;

        let mut wanted = Vec::new();
        for epoch in 1..=u64::from(views) {
            wanted.push(View::new(train, settings.augment(), epoch));
        }
        for items in [val, test] {
            wanted.push(View::new(items, Augment::default(), 0));
        }
        let found = store.read(settings.seed, &mut wanted);
        let total: usize = wanted.iter().map(View::missing).sum();
        let started = Instant::now();
        if total > 0 {
            let mut plan = engine.inference(&graph.up_to(node), tensors, &input, &[])?;
            let mut pass = Pass { store: &store, seed: settings.seed, new: Vec::new(), saved: started };
            let mut done = 0;
            for view in &mut wanted {
                let missing: Vec<usize> =
                    (0..view.items.len()).filter(|&item| view.known[item].is_none()).collect();
                let items = missing.iter().map(|&item| view.items[item].clone()).collect();
                for batch in Loader::new(items, loader(settings, prepared, view.augment)).epoch(view.epoch, 0)
                {
                    let images = batch.items.len();
                    let rows = if images > 0 { plan.logits(images, &batch.pixels)? } else { Vec::new() };
                    let rows = batch.items.iter().zip(rows.chunks_exact((rows.len() / images.max(1)).max(1)));
                    let known = rows
                        .map(|(item, row)| {
                            (
                                *item,
                                Ok(Row { values: row.to_vec(), truncated: batch.truncated.contains(item) }),
                            )
                        })
                        .chain(batch.broken.iter().map(|(item, reason)| (*item, Err(reason.clone()))));
                    for (item, known) in known {
                        pass.add(view, missing[item], known);
                        done += 1;
                    }
                    let seconds = started.elapsed().as_secs_f64().max(1e-6);
                    let left = seconds / done as f64 * (total - done) as f64;
                    report.event(Event::Features {
                        done,
                        total,
                        images_per_sec: done as f64 / seconds,
                        left: Duration::try_from_secs_f64(left).ok(),
                    })?;
                    if stop.load(Ordering::Relaxed) {
                        pass.save()?;
                        return Ok(ControlFlow::Break(()));
                    }
                    pass.save_when_due()?;
                }
            }
            pass.save()?;
        }
        let mut views: Vec<Vec<Known>> =
            wanted.into_iter().map(|view| view.known.into_iter().flatten().collect()).collect();
        let width =
            views.iter().flatten().find_map(|known| Some(known.as_ref().ok()?.values.len())).unwrap_or(0);
        report.event(Event::Note(&store.summary(
            found,
            total,
            width,
            started.elapsed(),
            settings.cache_mib,
        )))?;
        let part =
            |items: &[Item], views: Vec<Known>| PartFeatures { photos: items.len(), known: Arc::new(views) };
        let (test_views, val_views) = (views.pop().unwrap_or_default(), views.pop().unwrap_or_default());
        Ok(ControlFlow::Continue(Some(Self {
            graph: graph.from_features(node, shape),
            train: part(train, views.into_iter().flatten().collect()),
            val: part(val, val_views),
            test: part(test, test_views),
        })))
    }

    pub(super) fn of(&self, part: Part) -> &PartFeatures {
        match part {
            Part::Train => &self.train,
            Part::Val => &self.val,
            Part::Test => &self.test,
        }
    }

    /// What [`pugmark_model::Classifier::predict`] says of the photos of a part, which are not read again.
    pub(super) fn predict(
        &self,
        model: &Model,
        part: Part,
        items: Vec<Item>,
        engine: &dyn Engine,
    ) -> Result<Vec<Prediction>, TrainError> {
        let Model { card, tensors } = model;
        let classes = card.classes.len();
        let mut plan = engine.inference(&self.graph, tensors, &card.input(BATCH), &[])?;
        let mut predictions = Vec::with_capacity(items.len());
        for (item, known) in items.into_iter().zip(self.of(part).known.iter()) {
            let Item { id, path, class, .. } = item;
            let (outcome, truncated) = match known {
                Ok(Row { values, truncated }) => {
                    let mut row = plan.logits_of_features(1, values)?;
                    softmax(&mut row, classes, card.temperature);
                    (Ok(row), *truncated)
                }
                Err(reason) => (Err(reason.clone()), false),
            };
            predictions.push(Prediction { id, path, class, outcome, truncated, digest: None });
        }
        Ok(predictions)
    }
}

impl PartFeatures {
    /// A batch of the photos at `chosen` in an epoch (from 1; 0 for the photos as they are), without pixels, and its
    /// features.
    pub(super) fn batch(&self, items: &[Item], epoch: u64, chosen: &[usize]) -> (Batch, Vec<f32>) {
        let views = (self.known.len() / self.photos.max(1)).max(1);
        let view = epoch.saturating_sub(1) as usize % views;
        let (mut batch, mut features) = (Batch::default(), Vec::new());
        for &item in chosen {
            match &self.known[view * self.photos + item] {
                Ok(Row { values, truncated }) => {
                    features.extend_from_slice(values);
                    batch.labels.push(items[item].class.map_or(u32::MAX, |class| class as u32));
                    batch.items.push(item);
                    if *truncated {
                        batch.truncated.push(item);
                    }
                }
                Err(reason) => batch.broken.push((item, reason.clone())),
            }
        }
        (batch, features)
    }
}

impl<'a> View<'a> {
    fn new(items: &'a [Item], augment: Augment, epoch: u64) -> Self {
        Self { items, augment, epoch, known: vec![None; items.len()] }
    }

    fn missing(&self) -> usize {
        self.known.iter().filter(|known| known.is_none()).count()
    }
}

/// New features on their way to the store.
struct Pass<'a> {
    store: &'a Store,
    seed: u64,
    new: Vec<(String, Row)>,
    saved: Instant,
}

impl Pass<'_> {
    fn add(&mut self, view: &mut View<'_>, item: usize, known: Known) {
        if let Ok(row) = &known
            && let Some(key) = store::key(&view.items[item], &view.augment, self.seed, view.epoch)
        {
            self.new.push((key, row.clone()));
        }
        view.known[item] = Some(known);
    }

    fn save_when_due(&mut self) -> Result<(), TrainError> {
        if self.new.len() >= CHUNK || self.saved.elapsed() >= CHUNK_EVERY { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> Result<(), TrainError> {
        self.saved = Instant::now();
        self.store.write(std::mem::take(&mut self.new))
    }
}

/// Where the backbone ends and how many views are kept; none where features are not kept.
fn cut(
    settings: &TrainSettings,
    prepared: &Prepared,
    report: &mut Report<'_>,
) -> Result<Option<(NodeId, u32)>, TrainError> {
    let Some(views) = settings.feature_views() else { return Ok(None) };
    let asked = matches!(settings.cache_features, CacheFeatures::Views(_));
    let refuse = |why: String| {
        let value = settings.cache_features.to_string();
        Err(SettingsError { name: "cache_features", value, why }.into())
    };
    let Prepared { graph, train, val, test, state, .. } = prepared;
    let Some(node) = graph.features() else {
        return match asked {
            true => refuse(format!(
                "the backbone of {} is random in training: set `dropout` and `stochastic_depth` to 0, or `cache_features` to \"off\"",
                settings.model
            )),
            false => Ok(None),
        };
    };
    let input = state.card.input(1);
    let values =
        match graph.shapes(input.height, input.width).map_err(pugmark_engine::EngineError::from)?[node.0] {
            pugmark_graph::Shape::Vector { features } => features,
            pugmark_graph::Shape::Image { channels, height, width } => channels * height * width,
        };
    let rows = views as usize * train.len() + val.len() + test.len();
    let mib = (rows * values * 4).div_ceil(1 << 20) as u64;
    if mib <= settings.cache_mib {
        return Ok(Some((node, views)));
    }
    let room = format!("the features take {mib} MiB and `cache_mib` is {}", settings.cache_mib);
    if asked {
        return refuse(format!("{room}: raise `cache_mib`, or keep fewer views"));
    }
    report.event(Event::Note(&format!("{room}: they are computed anew in every epoch")))?;
    Ok(None)
}

fn loader(settings: &TrainSettings, prepared: &Prepared, augment: Augment) -> LoaderSettings {
    LoaderSettings {
        batch_size: BATCH,
        threads: loader_threads(settings.loader_threads),
        seed: settings.seed,
        shuffle: false,
        balanced: false,
        recipe: prepared.state.card.recipe.clone(),
        augment,
        limits: Limits::default(),
        cache_bytes: 0,
    }
}
