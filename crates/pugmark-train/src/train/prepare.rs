use std::io;

use pugmark_data::{Augment, Batch, Dataset, Item, Limits, Loader, LoaderSettings, Part, Split, split};
use pugmark_engine::{Freeze, Loss, TrainingSpec};
use pugmark_graph::{Graph, HeadPolicy, Tensors, fit, read_weights};
use pugmark_model::{FORMAT, ModelCard, RunFolder, loader_threads};

use super::features::{Features, PartFeatures};
use super::report::save;
use crate::checkpoint::{Checkpoint, State};
use crate::settings::decimal;
use crate::{ClassWeights, TrainError, TrainSettings};

/// Everything that is known before the first step.
pub(super) struct Prepared {
    pub(super) graph: Graph,
    pub(super) state: State,
    /// Where parameters start.
    pub(super) tensors: Tensors,
    /// Where the optimiser goes on; none at the start of a run.
    pub(super) optimiser: Option<Tensors>,
    pub(super) spec: TrainingSpec,
    pub(super) train: Vec<Item>,
    pub(super) val: Vec<Item>,
    pub(super) test: Vec<Item>,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
    split: Split,
}

/// The photos of a part and what loads them.
pub(super) struct Photos {
    pub(super) part: Part,
    pub(super) items: Vec<Item>,
    pub(super) loader: Loader,
    batch_size: usize,
    /// What the backbone says of them, where that is known: the loader then gives nothing but the order.
    features: Option<PartFeatures>,
}

/// A batch: its photos as pixels, or as features without pixels.
pub(super) struct Loaded {
    pub(super) batch: Batch,
    pub(super) features: Vec<f32>,
}

impl Photos {
    /// The batches of an epoch from `first` on, as [`Loader::epoch`].
    pub(super) fn epoch(&self, epoch: u64, first: usize) -> Box<dyn Iterator<Item = Loaded>> {
        let Some(features) = self.features.clone() else {
            let loaded = |batch| Loaded { batch, features: Vec::new() };
            return Box::new(self.loader.epoch(epoch, first).map(loaded));
        };
        let (items, order, size) = (self.items.clone(), self.loader.order(epoch), self.batch_size);
        Box::new((first..self.loader.batches()).map(move |turn| {
            let chosen = &order[turn * size..order.len().min((turn + 1) * size)];
            let (batch, features) = features.batch(&items, epoch, chosen);
            Loaded { batch, features }
        }))
    }
}

impl Prepared {
    /// A run from the beginning.
    pub(super) fn new(data: &Dataset, settings: &TrainSettings) -> Result<Self, TrainError> {
        let split = match &settings.split_file {
            Some(file) => Split::exactly(file, data, settings.fold, settings.skip_missing)?,
            None => split(data, &settings.split_settings())?,
        };
        Self::from_the_beginning(data, settings, split)
    }

    fn from_the_beginning(
        data: &Dataset,
        settings: &TrainSettings,
        split: Split,
    ) -> Result<Self, TrainError> {
        let card = ModelCard {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            architecture: settings.model,
            classes: data.classes.clone(),
            recipe: settings.recipe(),
            temperature: 1.0,
            data_hash: data.hash(),
            split_hash: split.hash(data),
            split_how: split.how.clone(),
            metrics: [].into(),
            epoch: 0,
        };
        let graph = settings.model.graph(data.classes.len());
        let mut tensors = graph.initialise(settings.seed);
        let mut notes = Vec::new();
        if let Some(path) = &settings.weights {
            let loaded = read_weights(path)?;
            let (fitted, report) = fit(&graph, &loaded, tensors, HeadPolicy::Replace)?;
            tensors = fitted;
            notes.push(format!("weights: {}: {report}", path.display()));
        }
        let mut prepared = Self::with_split(
            data,
            settings,
            split,
            graph,
            State::new(card, decimal(settings.learning_rate)),
            tensors,
            None,
        )?;
        prepared.notes = notes;
        Ok(prepared)
    }

    /// A run from its checkpoint; from the beginning where nothing was saved yet.
    pub(super) fn resume(
        data: &Dataset,
        settings: &TrainSettings,
        folder: &RunFolder,
    ) -> Result<Self, TrainError> {
        let path = folder.config();
        if let Some((name, run, asked)) = settings.conflict(&TrainSettings::read(&path)?) {
            return Err(TrainError::SettingChanged { name, run, asked, path });
        }
        let Some(Checkpoint { mut state, tensors, optimiser }) = Checkpoint::read(&folder.checkpoint())?
        else {
            let mut prepared = match &settings.split_file {
                // The file may be gone or another one by now; the run has its own.
                Some(_) if folder.split().exists() => {
                    let split = Split::from_csv(&folder.split(), data)?.called_fold(settings.fold);
                    Self::from_the_beginning(data, settings, split)?
                }
                _ => Self::new(data, settings)?,
            };
            prepared.notes.push("nothing of this run was saved yet: it starts from the beginning".into());
            return Ok(prepared);
        };
        let changed = |what| TrainError::DataChanged { what, path: folder.path().into() };
        if state.card.classes != data.classes {
            return Err(changed("classes"));
        }
        if state.card.data_hash != data.hash() {
            return Err(changed("photos or labels"));
        }
        let split = Split::from_csv(&folder.split(), data)?;
        if state.card.split_hash != split.hash(data) {
            return Err(changed("split"));
        }
        state.card.version = env!("CARGO_PKG_VERSION").into();
        let graph = settings.model.graph(data.classes.len());
        let note = match state.step {
            0 => format!("resumed after epoch {}", state.epochs_done),
            step => format!("resumed in epoch {} after step {step}", state.epochs_done + 1),
        };
        let mut prepared = Self::with_split(data, settings, split, graph, state, tensors, Some(optimiser))?;
        prepared.notes.push(note);
        Ok(prepared)
    }

    fn with_split(
        data: &Dataset,
        settings: &TrainSettings,
        split: Split,
        graph: Graph,
        state: State,
        tensors: Tensors,
        optimiser: Option<Tensors>,
    ) -> Result<Self, TrainError> {
        let [train, val, test] = Part::ALL.map(|part| items(data, &split.indices(part)));
        for (part, items) in [(Part::Train, &train), (Part::Val, &val)] {
            if items.is_empty() {
                return Err(TrainError::EmptyPart { part });
            }
        }
        let counts = data.class_counts(&split.indices(Part::Train));
        let mut warnings: Vec<String> = split.warning.iter().cloned().collect();
        let absent: Vec<&str> = data
            .classes
            .iter()
            .zip(&counts)
            .filter(|(_, n)| **n == 0)
            .map(|(name, _)| name.as_str())
            .collect();
        if !absent.is_empty() {
            warnings
                .push(format!("no photo to train on for: {}; the model can't learn them", absent.join(", ")));
        }
        if settings.freeze == Freeze::Backbone && settings.weights.is_none() {
            warnings.push(
                "the backbone is frozen and no weights are given: only the head learns, on random features"
                    .into(),
            );
        }
        let spec = TrainingSpec {
            freeze: settings.freeze,
            loss: Loss {
                label_smoothing: settings.label_smoothing,
                class_weights: (settings.class_weights == ClassWeights::Balanced).then(|| balanced(&counts)),
            },
            optimiser: settings.optimiser(),
            taps: Vec::new(),
        };
        Ok(Self {
            graph,
            state,
            tensors,
            optimiser,
            spec,
            train,
            val,
            test,
            warnings,
            notes: Vec::new(),
            split,
        })
    }

    /// Whether no epoch is left.
    pub(super) fn is_finished(&self, settings: &TrainSettings) -> bool {
        self.state.epochs_done >= settings.epochs
    }

    /// Saves what makes the folder a run: the settings and the split. Predictions of fewer epochs are deleted.
    pub(super) fn write(
        &self,
        data: &Dataset,
        settings: &TrainSettings,
        folder: &RunFolder,
    ) -> Result<(), TrainError> {
        let head = format!(
            "# pugmark {}: `pugmark train --config config.toml` trains the same model again.\n\n",
            self.state.card.version
        );
        save(folder.config(), settings.to_toml().map(|text| (head + &text).into_bytes()))?;
        save(folder.split(), Ok(self.split.to_csv(data).into_bytes()))?;
        match std::fs::remove_file(folder.predictions()) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(TrainError::Save { path: folder.predictions(), source })
            }
            _ => Ok(()),
        }
    }

    /// The photos of the training and of the validation part.
    pub(super) fn photos(&self, settings: &TrainSettings, features: Option<&Features>) -> (Photos, Photos) {
        let cache = settings.cache_mib.saturating_mul(1 << 20);
        let bytes = (self.train.len() * settings.image_size * settings.image_size * 3) as u64;
        let train = LoaderSettings {
            batch_size: settings.batch_size,
            threads: loader_threads(settings.loader_threads),
            seed: settings.seed,
            shuffle: true,
            recipe: self.state.card.recipe.clone(),
            augment: settings.augment(),
            limits: Limits::default(),
            cache_bytes: cache.min(bytes),
        };
        let val = LoaderSettings {
            shuffle: false,
            augment: Augment::default(),
            cache_bytes: cache - train.cache_bytes,
            ..train.clone()
        };
        let photos = |part, items: &Vec<Item>, settings: LoaderSettings| Photos {
            part,
            items: items.clone(),
            batch_size: settings.batch_size,
            loader: Loader::new(items.clone(), settings),
            features: features.map(|features| features.of(part).clone()),
        };
        (photos(Part::Train, &self.train, train), photos(Part::Val, &self.val, val))
    }
}

fn items(data: &Dataset, indices: &[usize]) -> Vec<Item> {
    indices.iter().map(|&index| Item::from(&data.samples[index])).collect()
}

/// scikit-learn's `balanced` class weights.
fn balanced(counts: &[usize]) -> Vec<f32> {
    let photos: usize = counts.iter().sum();
    let weight = |&count: &usize| match count {
        0 => 1.0,
        count => (photos as f64 / (counts.len() * count) as f64) as f32,
    };
    counts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn balanced_weights() {
        // sklearn.utils.class_weight.compute_class_weight("balanced", ...) on 6, 3 and 1 labels.
        assert_eq!(super::balanced(&[6, 3, 1]), [10.0 / 18.0, 10.0 / 9.0, 10.0 / 3.0]);
        assert_eq!(super::balanced(&[2, 0]), [0.5, 1.0]);
    }
}
