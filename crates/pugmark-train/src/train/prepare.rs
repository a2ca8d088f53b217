use std::io;
use std::time::Duration;

use pugmark_data::{Augment, Batch, Dataset, Item, Limits, Loader, LoaderSettings, Part, Split, split};
use pugmark_engine::{Engine, Freeze, Loss, ParamRule, TrainingSpec};
use pugmark_graph::{Graph, HeadPolicy, Param, Role, Tensors, fit, read_weights};
use pugmark_model::{FORMAT, ModelCard, RunFolder, loader_threads};

use super::class_weights::class_weights;
use super::features::{Features, PartFeatures};
use super::report::save;
use super::saliency::loader_settings;
use crate::checkpoint::{Checkpoint, Ended, State};
use crate::settings::decimal;
use crate::{ClassWeights, TrainError, TrainSettings, WatchMode};

/// Everything that is known before the first step.
pub(super) struct Prepared {
    pub(super) graph: Graph,
    pub(super) state: State,
    /// Where parameters start.
    pub(super) tensors: Tensors,
    /// Where the optimiser goes on; none at the start of a run.
    pub(super) optimiser: Option<Tensors>,
    /// What was important in the photos when the epoch that is taken up began.
    pub(super) saliency: Tensors,
    pub(super) spec: TrainingSpec,
    pub(super) train: Vec<Item>,
    pub(super) val: Vec<Item>,
    pub(super) test: Vec<Item>,
    pub(super) warnings: Vec<String>,
    pub(super) notes: Vec<String>,
    /// What came before the first step took, without the features of a frozen backbone.
    pub(super) startup: Duration,
    split: Split,
}

/// The photos of a part and what loads them.
pub(super) struct Photos {
    pub(super) part: Part,
    pub(super) items: Vec<Item>,
    pub(super) loader: Loader,
    batch_size: usize,
    threads: usize,
    /// What the backbone says of them, where that is known: the loader then gives nothing but the order.
    features: Option<PartFeatures>,
}

/// A batch: its photos as pixels, or as features without pixels.
pub(super) struct Loaded {
    pub(super) batch: Batch,
    pub(super) features: Vec<f32>,
}

impl Photos {
    /// Threads that load them: none where nothing is to be loaded.
    pub(super) fn threads(&self) -> usize {
        if self.features.is_some() { 0 } else { self.threads }
    }

    /// Batches that are ready; none where nothing is to be loaded.
    pub(super) fn ready(&self) -> Option<usize> {
        self.features.is_none().then(|| self.loader.ready())
    }

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
    pub(super) fn new(
        data: &Dataset,
        settings: &mut TrainSettings,
        engine: &dyn Engine,
    ) -> Result<Self, TrainError> {
        let split = match &settings.split_file {
            Some(file) => Split::exactly(file, data, settings.fold, settings.skip_missing)?,
            None => split(data, &settings.split_settings())?,
        };
        Self::from_the_beginning(data, settings, split, engine)
    }

    /// Settles the batch size in the settings, where it is to be chosen.
    fn from_the_beginning(
        data: &Dataset,
        settings: &mut TrainSettings,
        split: Split,
        engine: &dyn Engine,
    ) -> Result<Self, TrainError> {
        let card = ModelCard {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            architecture: settings.model,
            classes: data.classes.clone(),
            recipe: settings.recipe(),
            temperature: 1.0,
            calibration: None,
            data_hash: data.hash(),
            split_hash: split.hash(data),
            split_how: split.how.clone(),
            metrics: [].into(),
            epoch: 0,
        };
        let graph = settings.model.graph_with(data.classes.len(), settings.graph_settings());
        let mut notes = Vec::new();
        let tensors = match &settings.weights {
            Some(path) => {
                let loaded = read_weights(path)?;
                // The others are those of the file, or `fit` refuses it.
                let initial = graph.initialise_where(settings.seed, |param| param.head);
                let (fitted, report) = fit(&graph, &loaded, initial, HeadPolicy::Replace)?;
                notes.push(format!("weights: {}: {report}", path.display()));
                fitted
            }
            None => graph.initialise(settings.seed),
        };
        let mut prepared = Self::with_split(
            data,
            settings,
            split,
            graph,
            State::new(card, decimal(settings.learning_rate)),
            tensors,
            None,
        )?;
        prepared.state.class_weights.clone_from(&prepared.spec.loss.class_weights);
        prepared.notes = notes;
        if settings.batch_size == 0 {
            let (size, note) = prepared.choose_batch_size(settings, engine)?;
            (settings.batch_size, settings.memory) = (size, 0);
            prepared.notes.push(note);
        }
        let (batch_size, photos) = (settings.batch_size, prepared.train.len());
        // Nobody who has few photos needs to know of the default.
        if batch_size > photos && batch_size != TrainSettings::default().batch_size {
            return Err(TrainError::BatchTooLarge { batch_size, photos });
        }
        Ok(prepared)
    }

    /// A run from its checkpoint; from the beginning where nothing was saved yet.
    pub(super) fn resume(
        data: &Dataset,
        settings: &mut TrainSettings,
        folder: &RunFolder,
        engine: &dyn Engine,
    ) -> Result<Self, TrainError> {
        let path = folder.config();
        let run = TrainSettings::read(&path)?;
        if settings.batch_size == 0 {
            // It was chosen when the run began.
            (settings.batch_size, settings.memory) = (run.batch_size, 0);
        }
        if let Some((name, run, asked)) = settings.conflict(&run) {
            return Err(TrainError::SettingChanged { name, run, asked, path });
        }
        let Some(Checkpoint { mut state, tensors, optimiser, saliency, setback }) = Checkpoint::read(folder)?
        else {
            let mut prepared = match &settings.split_file {
                // The file may be gone or another one by now; the run has its own.
                Some(_) if folder.split().exists() => {
                    let split = Split::from_csv(&folder.split(), data)?.called_fold(settings.fold);
                    Self::from_the_beginning(data, settings, split, engine)?
                }
                _ => Self::new(data, settings, engine)?,
            };
            prepared.notes.push("nothing of this run was saved yet: it starts from the beginning".into());
            return Ok(prepared);
        };
        if state.ended == Some(Ended::Watch) && settings.watch != WatchMode::Stop {
            state.ended = None;
        }
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
        let graph = settings.model.graph_with(data.classes.len(), settings.graph_settings());
        let note = match state.step {
            0 => format!("resumed after epoch {}", state.epochs_done),
            step => format!("resumed in epoch {} after step {step}", state.epochs_done + 1),
        };
        let mut prepared = Self::with_split(data, settings, split, graph, state, tensors, Some(optimiser))?;
        prepared.notes.push(note);
        prepared.warnings.extend(setback);
        prepared.saliency = saliency;
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
        if settings.weights.is_none() {
            match settings.freeze {
                Freeze::None => {}
                Freeze::Backbone => warnings.push(
                    "the backbone is frozen and no weights are given: only the head learns, on random features"
                        .into(),
                ),
                Freeze::Stages(_) => warnings.push(
                    "the first stages are frozen and no weights are given: the rest learns on random features"
                        .into(),
                ),
            }
        }
        if settings.balanced_sampling && settings.class_weights != ClassWeights::None {
            warnings.push(
                "balanced sampling and class weights both favour rare classes: together they do it twice"
                    .into(),
            );
        }
        // A run keeps the weights it began with, whatever becomes of their file.
        let class_weights = match &state.class_weights {
            Some(weights) => Some(weights.clone()),
            None => class_weights(&settings.class_weights, &data.classes, &counts)?,
        };
        let spec = TrainingSpec {
            freeze: settings.frozen(state.epochs_done),
            loss: Loss { label_smoothing: settings.label_smoothing, class_weights },
            optimiser: settings.optimiser(),
            rules: rules(&graph, settings),
            clip: settings.clip(),
            average: settings.ema,
            taps: Vec::new(),
        };
        Ok(Self {
            graph,
            state,
            tensors,
            optimiser,
            saliency: Tensors::new(),
            spec,
            train,
            val,
            test,
            warnings,
            notes: Vec::new(),
            startup: Duration::ZERO,
            split,
        })
    }

    /// Photos to train on, of each class.
    pub(super) fn photos_of_class(&self) -> Vec<u64> {
        let of_class = |class| self.train.iter().filter(|item| item.class == Some(class)).count() as u64;
        (0..self.state.card.classes.len()).map(of_class).collect()
    }

    /// Whether nothing is left to train or to average.
    pub(super) fn is_finished(&self, settings: &TrainSettings) -> bool {
        self.state.is_over(settings.epochs) && (settings.average_best == 0 || self.state.averaged.is_some())
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
        // They are of the model that was the best one so far.
        for path in [folder.predictions(), folder.report()] {
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(TrainError::Save { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The photos of the training and of the validation part, and how those of a [`SaliencyPass`] are loaded. Memory goes to
    /// the last first, whose photos are small, then to the training part.
    ///
    /// [`SaliencyPass`]: super::saliency::SaliencyPass
    pub(super) fn photos(
        &self,
        settings: &TrainSettings,
        features: Option<&Features>,
    ) -> (Photos, Photos, Option<LoaderSettings>) {
        let cache = settings.cache_mib.saturating_mul(1 << 20);
        let augment = settings.augment();
        let mut train = LoaderSettings {
            batch_size: settings.batch_size,
            threads: loader_threads(settings.loader_threads),
            seed: settings.seed,
            shuffle: true,
            balanced: settings.balanced_sampling,
            recipe: self.state.card.recipe.clone(),
            augment,
            limits: Limits::default(),
            cache_bytes: 0,
        };
        let looking =
            settings.keep_augment.then(|| loader_settings(&train, &self.graph, cache, self.train.len()));
        let cache = cache - looking.as_ref().map_or(0, |looking| looking.cache_bytes);
        train.cache_bytes = cache.min((self.train.len() * augment.kept_bytes(&train.recipe)) as u64);
        let val = LoaderSettings {
            shuffle: false,
            balanced: false,
            augment: Augment::default(),
            cache_bytes: cache - train.cache_bytes,
            ..train.clone()
        };
        let photos = |part, items: &Vec<Item>, settings: LoaderSettings| Photos {
            part,
            items: items.clone(),
            batch_size: settings.batch_size,
            threads: settings.threads,
            loader: Loader::new(items.clone(), settings),
            features: features.map(|features| features.of(part).clone()),
        };
        (photos(Part::Train, &self.train, train), photos(Part::Val, &self.val, val), looking)
    }
}

fn items(data: &Dataset, indices: &[usize]) -> Vec<Item> {
    indices.iter().map(|&index| Item::from(&data.samples[index])).collect()
}

/// How each parameter's rates differ from the others'; none where they do not.
fn rules(graph: &Graph, settings: &TrainSettings) -> Vec<ParamRule> {
    if settings.layer_decay == 1.0 && settings.decay_norms {
        return Vec::new();
    }
    let last = graph.blocks().saturating_sub(1);
    let rule = |param: &Param| {
        // The head learns at the whole rate, the block before it at one share of it, and so on.
        let learning_rate = settings.layer_decay.powi((last - param.block) as i32);
        let weight = matches!(param.role, Role::ConvWeight | Role::LinearWeight);
        let weight_decay = if weight || settings.decay_norms { 1.0 } else { 0.0 };
        ParamRule { learning_rate, weight_decay }
    };
    graph.params().iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use pugmark_graph::Architecture;

    use super::*;

    #[test]
    fn rates_fall_block_by_block_and_only_weights_decay() {
        let graph = Architecture::ResNet18.graph(3);
        assert_eq!(rules(&graph, &TrainSettings::default()), []);
        let settings = TrainSettings { layer_decay: 0.5, decay_norms: false, ..TrainSettings::default() };
        let rules = rules(&graph, &settings);
        let of = |name: &str| rules[graph.params().iter().position(|p| p.name == name).unwrap()];
        // Ten blocks: the stem, eight residual ones, the head.
        for (name, learning_rate, weight_decay) in [
            ("fc.weight", 1.0, 1.0),
            ("fc.bias", 1.0, 0.0),
            ("layer4.1.conv2.weight", 0.5, 1.0),
            ("layer4.0.downsample.1.weight", 0.25, 0.0),
            ("conv1.weight", 0.5_f32.powi(9), 1.0),
            ("bn1.bias", 0.5_f32.powi(9), 0.0),
        ] {
            assert_eq!(of(name), ParamRule { learning_rate, weight_decay }, "{name}");
        }
    }
}
