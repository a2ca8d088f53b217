mod average;
mod pace;
mod validation;
mod watching;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pugmark_data::{Batch, Random, Saliency};
use pugmark_engine::{Engine, EngineError, Inference, StepOutput, TrainBatch, Training, TrainingSpec};
use pugmark_graph::{Graph, Tensors};
use pugmark_model::{Model, ModelCard, RunFolder};

use super::features::Features;
use super::prepare::{Loaded, Photos, Prepared};
use super::report::{Report, save, save_damaged};
use super::saliency::{self, SaliencyPass};
use crate::checkpoint::{Ended, State, Sums};
use crate::profile::Phase;
use crate::tensorboard::Board;
use crate::watch::{Begun, Finding, Recorder};
use crate::{EpochMetrics, Event, Schedule, TrainError, TrainSettings, memory, metrics};
use pace::Pace;
use validation::Validation;
use watching::{Watching, begun};

/// A training in progress.
pub(super) struct Session<'a, 'o> {
    settings: &'a TrainSettings,
    folder: &'a RunFolder,
    engine: &'a dyn Engine,
    stop: &'a AtomicBool,
    report: &'a mut Report<'o>,
    graph: Graph,
    /// What `training` was made for.
    spec: TrainingSpec,
    photos: (Photos, Photos),
    looking: Option<SaliencyPass>,
    /// What was important in the training photos when the epoch in progress began; none before it was asked.
    saliency: Option<Vec<Option<Saliency>>>,
    training: Box<dyn Training>,
    inference: Box<dyn Inference>,
    /// What is not trained and not in the plans: the backbone whose features are known; else nothing.
    backbone: Tensors,
    state: State,
    pace: Pace,
    watching: Watching,
    saved: Instant,
    unsaved: Unsaved,
    /// How long validation took last time.
    validation: Option<f64>,
}

/// Models of finished epochs that are not on disk yet.
#[derive(Default)]
struct Unsaved {
    /// The last epoch's.
    last: Option<Model>,
    /// The last is the best.
    improved: bool,
    /// The best, where that is an earlier one.
    best: Option<Model>,
}

/// On features an epoch takes less time than saving it: then only so often.
const SAVE_EVERY: Duration = Duration::from_secs(10);

impl<'a, 'o> Session<'a, 'o> {
    pub(super) fn new(
        settings: &'a TrainSettings,
        prepared: Prepared,
        features: Option<&Features>,
        folder: &'a RunFolder,
        engine: &'a dyn Engine,
        stop: &'a AtomicBool,
        report: &'a mut Report<'o>,
    ) -> Result<Self, TrainError> {
        let started = Instant::now();
        let (train_photos, val_photos, looking) = prepared.photos(settings, features);
        let (photos, before) = (prepared.photos_of_class(), prepared.startup);
        let Prepared { graph, state, mut tensors, optimiser, saliency, spec, train, val, test, .. } =
            prepared;
        let saliency = saliency::from_tensors(&saliency, train.len());
        let looking = looking.map(|loading| {
            SaliencyPass::new(engine, &tensors, &state.card, settings, (train.clone(), loading))
        });
        let input = state.card.input(settings.batch_size);
        let parameters = graph.parameter_count();
        let mut backbone = Tensors::new();
        let graph = features.map_or(graph, |features| features.graph.clone());
        if features.is_some() {
            for param in graph.params().iter().filter(|param| !param.head) {
                backbone.extend(tensors.remove_entry(&param.name));
            }
        }
        let mut training = engine.training(&graph, &tensors, &input, &spec)?;
        if let Some(optimiser) = optimiser {
            training.restore(&tensors, &optimiser, state.optimiser_steps)?;
        }
        let inference = engine.inference(&graph, &tensors, &input, &[])?;
        report.event(Event::Start {
            engine: &engine.name(),
            parameters,
            train: train.len(),
            val: val.len(),
            test: test.len(),
            epochs: settings.epochs,
            first_epoch: state.epochs_done + 1,
        })?;
        let batches = train_photos.loader.batches();
        if report.profile.is_on() {
            report.profile.describe(&engine.name(), state.epochs_done + 1);
            train_photos.loader.time();
        }
        if let Some(board) = settings.tensorboard_folder(folder) {
            report.board = Some(Board::create(&board, steps_done(&state, batches))?);
        }
        let pace = Pace::new(settings, batches, &state);
        let startup = (before + started.elapsed()).as_secs_f64();
        let begun = Begun { startup, ..begun(settings, &state, photos, pace.epoch_steps()) };
        let watching = Watching::new(Recorder::open(settings, folder, begun)?);
        Ok(Self {
            settings,
            folder,
            engine,
            stop,
            report,
            graph,
            spec,
            photos: (train_photos, val_photos),
            looking: looking.transpose()?,
            saliency,
            training,
            inference,
            backbone,
            state,
            pace,
            watching,
            saved: Instant::now(),
            unsaved: Unsaved::default(),
            validation: None,
        })
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// What the watch found, and what of it ended the training.
    pub(super) fn into_findings(self) -> (Vec<Finding>, Option<Finding>) {
        (self.watching.findings, self.watching.stopped_by)
    }

    /// Trains the epochs that are left, and averages the best ones; breaks off when stopped, with everything saved.
    pub(super) fn train(&mut self) -> Result<ControlFlow<()>, TrainError> {
        while !self.state.is_over(self.settings.epochs) {
            match self.epoch() {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => {
                    self.checkpoint()?;
                    return Ok(ControlFlow::Break(()));
                }
                Err(error) => {
                    // The epochs before are whole; their checkpoint is an earlier one, from which they are made again.
                    if self.unsaved.last.is_some() {
                        self.save_models()?;
                    }
                    return Err(error);
                }
            }
        }
        if self.settings.average_best > 0 && self.state.averaged.is_none() {
            return self.average_best();
        }
        Ok(ControlFlow::Continue(()))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn epoch(&mut self) -> Result<ControlFlow<()>, TrainError> {
        self.thaw()?;
        if self.look()?.is_break() || self.steps()?.is_break() || self.stopped() {
            return Ok(ControlFlow::Break(()));
        }
        self.check_decoded(self.state.sums.images, true)?;
        let tensors = self.training.averaged_tensors()?;
        let number = self.number();
        match self.validate(&tensors, number)? {
            None => Ok(ControlFlow::Break(())),
            Some(Validation { loss, .. }) if !loss.is_finite() => {
                Err(self.not_finite("loss", loss, format!("the validation of epoch {number}")))
            }
            Some(validation) => self.finish(tensors, &validation).map(ControlFlow::Continue),
        }
    }

    /// Asks the model what is important in the training photos, with the parameters that the epoch begins with: a checkpoint
    /// inside the epoch keeps the answer. The first epoch does without where the parameters are random and know nothing.
    fn look(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let epoch = self.number();
        let Some(looking) = &mut self.looking else { return Ok(ControlFlow::Continue(())) };
        if self.saliency.is_none() && (epoch > 1 || self.settings.weights.is_some()) {
            let clock = Instant::now();
            self.report.profile.enter(Phase::Saliency);
            let total = self.photos.0.items.len();
            let saliency = looking.run(&self.training.tensors()?, |done| {
                self.report.event(Event::Looking { epoch, done, total })?;
                Ok::<_, TrainError>(!self.stop.load(Ordering::Relaxed))
            })?;
            let Some(saliency) = saliency else { return Ok(ControlFlow::Break(())) };
            self.saliency = Some(saliency);
            self.state.sums.seconds += clock.elapsed().as_secs_f64();
        }
        if let Some(saliency) = &self.saliency {
            self.photos.0.loader.set_saliency(saliency.clone());
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Trains everything from here on, where it is time to. What was frozen starts without any state of the optimiser.
    fn thaw(&mut self) -> Result<(), TrainError> {
        let freeze = self.settings.frozen(self.state.epochs_done);
        if freeze == self.spec.freeze {
            return Ok(());
        }
        self.spec.freeze = freeze;
        let (tensors, state) = (self.training.tensors()?, self.training.state()?);
        let input = self.state.card.input(self.settings.batch_size);
        self.training = self.engine.training(&self.graph, &tensors, &input, &self.spec)?;
        self.training.restore(&tensors, &state, self.state.optimiser_steps)?;
        let text = format!("the whole model is trained from epoch {} on", self.number());
        self.report.event(Event::Note(&text))
    }

    /// The steps that are left of the epoch, or of the training; breaks off when stopped.
    fn steps(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let batches = self.photos.0.loader.batches();
        if self.state.step >= batches || self.state.ended.is_some() {
            return Ok(ControlFlow::Continue(()));
        }
        let mut clock = Instant::now();
        let mut step = Vec::with_capacity(self.settings.accumulate);
        self.training.time_operators(self.report.profile.is_on());
        self.report.profile.begin_steps(self.photos.0.threads());
        self.report.profile.wait(self.photos.0.ready());
        let mut before = self.state.sums;
        for loaded in self.photos.0.epoch(self.number().into(), self.state.step) {
            self.report.profile.enter(Phase::Other);
            self.state.sums.waiting += clock.elapsed().as_secs_f64();
            if self.stopped() {
                return Ok(ControlFlow::Break(()));
            }
            step.push(loaded);
            if step.len() < self.settings.accumulate && self.state.step + step.len() < batches {
                self.state.sums.seconds += clock.elapsed().as_secs_f64();
                clock = Instant::now();
                self.report.profile.wait(self.photos.0.ready());
                continue;
            }
            let images = step.iter().map(|loaded: &Loaded| loaded.batch.labels.len()).sum();
            if self.state.step == 0 {
                self.show_photos(&step)?;
            }
            let output = self.step(&step)?;
            let parts = step.len();
            self.state.step += parts;
            step.clear();
            self.state.sums.seconds += clock.elapsed().as_secs_f64();
            self.watch_step(output.as_ref(), &before)?;
            before = self.state.sums;
            clock = Instant::now();
            self.tell_step(batches, images, output.map_or(0.0, |o| o.loss))?;
            let (epoch, loaded) = (self.number(), self.photos.0.loader.take_times());
            self.report.profile.step(epoch, self.state.step, parts, images, loaded);
            self.state.ended = self.pace.ended(&self.state, self.closing()).or(self.watching.ended());
            if self.state.ended == Some(Ended::Watch)
                && self.state.step >= batches
                && epoch >= self.settings.epochs
            {
                self.state.ended = None;
            }
            if self.state.ended.is_some() {
                break;
            }
            if self.checkpoint_is_due() {
                self.checkpoint()?;
                clock = Instant::now();
            }
            self.report.profile.wait(self.photos.0.ready());
        }
        self.report.profile.enter(Phase::Other);
        Ok(ControlFlow::Continue(()))
    }

    /// Seconds that validation takes after the last step, that of averages included.
    fn closing(&self) -> f64 {
        let Sums { images, seconds, .. } = self.state.sums;
        // Without a backward pass a photo takes about a third of the time.
        let guess = self.photos.1.items.len() as f64 * seconds / images.max(1) as f64 / 3.0;
        self.validation.unwrap_or(guess) * (self.settings.average_best + 1) as f64
    }

    /// The epoch in progress, from 1.
    fn number(&self) -> u32 {
        self.state.epochs_done + 1
    }

    /// One optimiser step; none where no photo of the batches can be decoded.
    fn step(&mut self, loaded: &[Loaded]) -> Result<Option<StepOutput>, TrainError> {
        let (epoch, rate) = (self.number(), self.pace.rate(&self.state));
        let mut parts = Vec::with_capacity(loaded.len());
        for (Loaded { batch, features }, step) in loaded.iter().zip(self.state.step..) {
            self.report.damaged_batch(&mut self.state.damaged, &self.photos.0, batch)?;
            if !batch.labels.is_empty() {
                parts.push(train_batch(batch, features, self.settings.seed, epoch, step));
            }
        }
        self.state.learning_rate = Some(rate);
        if parts.is_empty() {
            return Ok(None);
        }
        self.watch_next();
        self.report.profile.enter(Phase::Forward);
        let output = self.training.accumulated_step(&parts, rate as f32, self.settings.weight_decay);
        if self.report.profile.is_on() {
            self.report.profile.computed(self.training.operator_times());
        }
        let (what, value) = match output {
            Ok(output) if output.loss.is_finite() => {
                self.count(&parts, &output);
                return Ok(Some(output));
            }
            Ok(StepOutput { loss, .. }) | Err(EngineError::NonFiniteLoss { loss }) => ("loss", loss),
            Err(EngineError::NonFiniteGradient { norm }) => ("norm of the gradient", norm),
            Err(error) => return Err(error.into()),
        };
        self.watch_failure(&parts, rate, what)?;
        let (step, steps) = (self.state.step + 1, self.photos.0.loader.batches());
        Err(self.not_finite(what, value, format!("epoch {epoch}, step {step} of {steps}")))
    }

    /// Adds a step to the sums of the epoch.
    fn count(&mut self, parts: &[TrainBatch<'_>], output: &StepOutput) {
        self.state.optimiser_steps = self.training.steps();
        let labels =
            parts.iter().flat_map(|part| (0..part.labels.len()).map(|image| main_label(part, image)));
        let count: usize = parts.iter().map(|part| part.labels.len()).sum();
        let Sums { loss, correct, images, .. } = &mut self.state.sums;
        *loss += output.loss * count as f64;
        *images += count as u64;
        let classes = output.logits.len() / count;
        for (row, label) in output.logits.chunks_exact(classes).zip(labels) {
            let best = (1..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            *correct += u64::from(best == label as usize);
        }
    }

    fn not_finite(&self, what: &'static str, loss: f64, place: String) -> TrainError {
        let saved_epoch = self.state.epochs_done;
        let learning_rate = self.state.learning_rate.unwrap_or(self.state.schedule.rate());
        TrainError::NonFiniteLoss { what, loss, place, learning_rate, saved_epoch }
    }

    fn tell_step(&mut self, steps: usize, images: usize, loss: f64) -> Result<(), TrainError> {
        let Sums { images: done, seconds, waiting, .. } = self.state.sums;
        let images_per_sec = done as f64 / seconds;
        let epoch = self.number();
        let epochs_after = f64::from(self.settings.epochs - epoch);
        let train = self.photos.0.items.len() as f64;
        let left = train * (steps - self.state.step) as f64 / steps as f64 + train * epochs_after;
        // Without a backward pass a photo takes about a third of the time.
        let validation = self.validation.unwrap_or(self.photos.1.items.len() as f64 / images_per_sec / 3.0);
        let left = left / images_per_sec + validation * (epochs_after + 1.0);
        let left = self.pace.within_budget(Duration::try_from_secs_f64(left).ok());
        let (rate, done) = (self.state.learning_rate.unwrap_or_default(), steps_done(&self.state, steps));
        self.report.board(|board| board.step(done, loss, rate, images_per_sec))?;
        self.report.event(Event::Step {
            epoch,
            step: self.state.step,
            steps,
            images,
            loss,
            images_per_sec,
            waiting: waiting / seconds,
            left,
        })
    }

    /// Without a photo there is nothing to learn or to measure.
    fn check_decoded(&self, images: u64, train: bool) -> Result<(), TrainError> {
        if images > 0 {
            return Ok(());
        }
        let photos = if train { &self.photos.0 } else { &self.photos.1 };
        save_damaged(self.folder, &self.state.damaged)?;
        let (id, reason) = self
            .state
            .damaged
            .iter()
            .find(|(_, damage)| damage.part == photos.part)
            .map(|(id, damage)| (id.clone(), damage.reason.clone()))
            .unwrap_or_default();
        Err(TrainError::NothingDecodes { part: photos.part, photos: photos.items.len(), id, reason })
    }

    /// Closes the epoch: metrics, models, checkpoint.
    fn finish(&mut self, tensors: Tensors, validation: &Validation) -> Result<(), TrainError> {
        let closing = self.closing();
        let steps = steps_done(&self.state, self.photos.0.loader.batches());
        let state = &mut self.state;
        let Sums { loss, correct, images, seconds, .. } = state.sums;
        let row = EpochMetrics {
            epoch: state.epochs_done + 1,
            train_loss: loss / images as f64,
            train_acc: correct as f64 / images as f64,
            val_loss: validation.loss,
            val_acc: validation.accuracy,
            val_macro_f1: validation.macro_f1,
            learning_rate: state.learning_rate.unwrap_or(state.schedule.rate()),
            images_per_sec: images as f64 / seconds,
            seconds: seconds + validation.seconds,
            peak_memory_mib: memory::peak_mib(),
        };
        let improved = state.best().is_none_or(|best| row.beats(best, self.settings.best_by));
        if improved {
            state.best = Some(row.epoch);
        }
        if self.settings.schedule == Schedule::Plateau {
            state.schedule.step(row.val_loss);
        }
        state.epochs_done = row.epoch;
        state.step = 0;
        self.report.board(|board| board.epoch(steps, &row, &tensors))?;
        self.saliency = None;
        state.sums = Sums::default();
        state.rows.push(row.clone());
        let patience = self.settings.early_stopping;
        if patience > 0 && state.best.is_some_and(|best| row.epoch - best >= patience) {
            state.ended = state.ended.or(Some(Ended::EarlyStopping));
        }
        state.ended = state.ended.or(self.pace.ended(state, closing));
        self.watch_epoch(&validation.confusion)?;
        self.keep_candidate(row.epoch, &tensors)?;

        let (metrics, temperature) = (row.repeatable(), validation.temperature);
        let card = ModelCard { metrics, temperature, epoch: row.epoch, ..self.state.card.clone() };
        let Unsaved { last, improved: last_is_best, best } = std::mem::take(&mut self.unsaved);
        let best = if improved { None } else { best.or(last.filter(|_| last_is_best)) };
        self.unsaved = Unsaved { last: Some(Model { card, tensors }), improved, best };
        let on_features = !self.backbone.is_empty();
        let more = !self.state.is_over(self.settings.epochs);
        if !(on_features && more && self.saved.elapsed() < SAVE_EVERY) {
            self.save()?;
        }
        self.report.event(Event::Epoch(&row))?;
        self.tell_end()
    }

    /// Says why the training ends, where it does before its last epoch.
    fn tell_end(&mut self) -> Result<(), TrainError> {
        let Some(ended) = self.state.ended else { return Ok(()) };
        self.report.event(Event::Note(&ended.text(self.settings, &self.state)))
    }

    fn checkpoint_is_due(&self) -> bool {
        let minutes = self.settings.checkpoint_minutes;
        minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= minutes * 60.0
    }

    /// Saves where the training is inside an epoch.
    fn checkpoint(&mut self) -> Result<(), TrainError> {
        self.save()?;
        self.report.event(Event::Saved(&self.folder.checkpoint()))
    }

    /// Saves the models that are not on disk yet, and last the checkpoint.
    fn save(&mut self) -> Result<(), TrainError> {
        let phase = self.report.profile.enter(Phase::Saving);
        self.save_watch()?;
        let finished = self.save_models()?;
        // At the end of an epoch they are those of its model, unless that is an average.
        let tensors = match finished {
            Some(tensors) if self.state.step == 0 && self.spec.average == 0.0 => tensors,
            _ => self.whole(self.training.tensors()?),
        };
        self.saved = Instant::now();
        let saliency = match (&self.saliency, self.state.step) {
            (Some(saliency), 1..) => saliency::to_tensors(saliency),
            // Asked again.
            _ => Tensors::new(),
        };
        self.state.elapsed = self.pace.elapsed();
        self.state.save(&self.folder.checkpoint(), tensors, self.training.state()?, saliency)?;
        self.report.profile.save(self.folder)?;
        self.report.board(Board::flush)?;
        self.report.profile.enter(phase);
        Ok(())
    }

    /// Saves the models that are not on disk yet, with the metrics; the tensors of the last one.
    fn save_models(&mut self) -> Result<Option<Tensors>, TrainError> {
        let Unsaved { last, improved, best } = std::mem::take(&mut self.unsaved);
        let [last, best] = [last, best]
            .map(|model| model.map(|Model { card, tensors }| Model { card, tensors: self.whole(tensors) }));
        if let Some(best) = best.as_ref().or(last.as_ref().filter(|_| improved)) {
            best.write(&self.folder.best())?;
            self.report.event(Event::Saved(&self.folder.best()))?;
        }
        if let Some(last) = &last {
            last.write(&self.folder.last())?;
            save(self.folder.metrics_csv(), metrics::to_csv(&self.state.rows))?;
            save(self.folder.metrics_json(), metrics::to_json(&self.state.rows))?;
        }
        save_damaged(self.folder, &self.state.damaged)?;
        Ok(last.map(|model| model.tensors))
    }

    /// Shows the first photos of an epoch on TensorBoard.
    fn show_photos(&mut self, loaded: &[Loaded]) -> Result<(), TrainError> {
        let Some(first) = loaded.first() else { return Ok(()) };
        let recipe = &self.state.card.recipe;
        let step = steps_done(&self.state, self.photos.0.loader.batches()) + 1;
        self.report.board(|board| board.photos(step, &first.batch.pixels, (recipe.width, recipe.height)))
    }

    /// Parameters with the backbone's, where the plans lack those.
    fn whole(&self, mut tensors: Tensors) -> Tensors {
        tensors.extend(self.backbone.clone());
        tensors
    }
}

/// Batches of the run so far, where an epoch has so many.
fn steps_done(state: &State, batches: usize) -> u64 {
    u64::from(state.epochs_done) * batches as u64 + state.step as u64
}

/// The label that a picture has the larger share of.
fn main_label(batch: &TrainBatch<'_>, image: usize) -> u32 {
    match batch.mixed {
        Some((second, shares)) if shares[image] < 0.5 => second[image],
        _ => batch.labels[image],
    }
}

/// A batch as the engine takes it; `step` is its number in the epoch.
pub(super) fn train_batch<'a>(
    batch: &'a Batch,
    features: &'a [f32],
    seed: u64,
    epoch: u32,
    step: usize,
) -> TrainBatch<'a> {
    let seed = Random::new(seed, epoch.into(), &format!("dropout of step {step}")).next_u64();
    let mixed = batch.mixed.as_ref().map(|mixed| (&mixed.labels[..], &mixed.share[..]));
    TrainBatch { pixels: &batch.pixels, features, labels: &batch.labels, mixed, seed }
}
