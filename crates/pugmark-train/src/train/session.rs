use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pugmark_data::Random;
use pugmark_engine::{Engine, EngineError, Inference, StepOutput, TrainBatch, Training};
use pugmark_eval::evaluate;
use pugmark_graph::Tensors;
use pugmark_model::{Model, ModelCard, RunFolder, softmax};

use super::features::Features;
use super::prepare::{Loaded, Photos, Prepared};
use super::report::{Report, save, save_damaged};
use crate::checkpoint::{State, Sums};
use crate::{EpochMetrics, Event, Schedule, TrainError, TrainSettings, memory, metrics};

/// A training in progress.
pub(super) struct Session<'a, 'o> {
    settings: &'a TrainSettings,
    folder: &'a RunFolder,
    stop: &'a AtomicBool,
    report: &'a mut Report<'o>,
    photos: (Photos, Photos),
    training: Box<dyn Training>,
    inference: Box<dyn Inference>,
    /// What is not trained and not in the plans: the backbone whose features are known; else nothing.
    backbone: Tensors,
    state: State,
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

/// The validation part in numbers.
struct Validation {
    loss: f64,
    accuracy: f64,
    macro_f1: f64,
    seconds: f64,
}

impl<'a, 'o> Session<'a, 'o> {
    pub(super) fn new(
        settings: &'a TrainSettings,
        prepared: Prepared,
        features: Option<&Features>,
        folder: &'a RunFolder,
        engine: &dyn Engine,
        stop: &'a AtomicBool,
        report: &'a mut Report<'o>,
    ) -> Result<Self, TrainError> {
        let photos = prepared.photos(settings, features);
        let Prepared { graph, state, mut tensors, optimiser, spec, train, val, test, .. } = prepared;
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
        Ok(Self {
            settings,
            folder,
            stop,
            report,
            photos,
            training,
            inference,
            backbone,
            state,
            saved: Instant::now(),
            unsaved: Unsaved::default(),
            validation: None,
        })
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Trains the epochs that are left; breaks off when stopped, with everything saved.
    pub(super) fn train(&mut self) -> Result<ControlFlow<()>, TrainError> {
        while self.state.epochs_done < self.settings.epochs {
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
        Ok(ControlFlow::Continue(()))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn epoch(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let steps = self.photos.0.loader.batches();
        if self.state.step < steps {
            let mut clock = Instant::now();
            for loaded in self.photos.0.epoch(self.number().into(), self.state.step) {
                self.state.sums.waiting += clock.elapsed().as_secs_f64();
                if self.stopped() {
                    return Ok(ControlFlow::Break(()));
                }
                let output = self.step(&loaded)?;
                self.state.step += 1;
                self.state.sums.seconds += clock.elapsed().as_secs_f64();
                clock = Instant::now();
                self.tell_step(steps, loaded.batch.labels.len(), output.map_or(0.0, |o| o.loss))?;
                if self.checkpoint_is_due() {
                    self.checkpoint()?;
                    clock = Instant::now();
                }
            }
        }
        if self.stopped() {
            return Ok(ControlFlow::Break(()));
        }
        self.check_decoded(self.state.sums.images, true)?;
        let tensors = self.training.tensors();
        match self.validate(&tensors)? {
            None => Ok(ControlFlow::Break(())),
            Some(validation) => self.finish(tensors, &validation).map(ControlFlow::Continue),
        }
    }

    /// The epoch in progress, from 1.
    fn number(&self) -> u32 {
        self.state.epochs_done + 1
    }

    /// One optimiser step; none where no photo of the batch can be decoded.
    fn step(&mut self, loaded: &Loaded) -> Result<Option<StepOutput>, TrainError> {
        let Loaded { batch, features } = loaded;
        self.report.damaged_batch(&mut self.state.damaged, &self.photos.0, batch)?;
        if batch.labels.is_empty() {
            return Ok(None);
        }
        let (epoch, step) = (self.number(), self.state.step);
        let seed =
            Random::new(self.settings.seed, epoch.into(), &format!("dropout of step {step}")).next_u64();
        let rate = self.state.schedule.rate();
        let train_batch = TrainBatch { pixels: &batch.pixels, features, labels: &batch.labels, seed };
        let output = match self.training.step(&train_batch, rate as f32, self.settings.weight_decay) {
            Ok(output) if output.loss.is_finite() => output,
            Ok(StepOutput { loss, .. }) | Err(EngineError::NonFiniteLoss { loss }) => {
                let steps = self.photos.0.loader.batches();
                return Err(self.not_finite(loss, format!("epoch {epoch}, step {} of {steps}", step + 1)));
            }
            Err(error) => return Err(error.into()),
        };
        self.state.optimiser_steps = self.training.steps();
        let Sums { loss, correct, images, .. } = &mut self.state.sums;
        *loss += output.loss * batch.labels.len() as f64;
        *images += batch.labels.len() as u64;
        let classes = output.logits.len() / batch.labels.len();
        for (row, &label) in output.logits.chunks_exact(classes).zip(&batch.labels) {
            let best = (1..classes).fold(0, |best, class| if row[class] > row[best] { class } else { best });
            *correct += u64::from(best == label as usize);
        }
        Ok(Some(output))
    }

    fn not_finite(&self, loss: f64, place: String) -> TrainError {
        let State { epochs_done, schedule, .. } = &self.state;
        TrainError::NonFiniteLoss { loss, place, learning_rate: schedule.rate(), saved_epoch: *epochs_done }
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
        let left = Duration::try_from_secs_f64(left).ok();
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

    /// Runs the validation part; none when stopped.
    fn validate(&mut self, tensors: &Tensors) -> Result<Option<Validation>, TrainError> {
        let started = Instant::now();
        self.inference.set_tensors(tensors)?;
        let classes = self.state.card.classes.len();
        let (mut labels, mut probabilities, mut loss) = (Vec::new(), Vec::new(), 0.0);
        let mut done = 0;
        for Loaded { batch, features } in self.photos.1.epoch(0, 0) {
            if self.stopped() {
                return Ok(None);
            }
            self.report.damaged_batch(&mut self.state.damaged, &self.photos.1, &batch)?;
            if !batch.labels.is_empty() {
                let images = batch.labels.len();
                let mut logits = match features.as_slice() {
                    [] => self.inference.logits(images, &batch.pixels)?,
                    features => self.inference.logits_of_features(images, features)?,
                };
                for (row, &label) in logits.chunks_exact(classes).zip(&batch.labels) {
                    loss += cross_entropy(row, label as usize);
                    labels.push(label as usize);
                }
                softmax(&mut logits, classes, self.state.card.temperature);
                probabilities.extend(logits);
            }
            done += batch.items.len() + batch.broken.len();
            let total = self.photos.1.items.len();
            self.report.event(Event::Validating { epoch: self.number(), done, total })?;
        }
        self.check_decoded(labels.len() as u64, false)?;
        let loss = loss / labels.len() as f64;
        if !loss.is_finite() {
            return Err(self.not_finite(loss, format!("the validation of epoch {}", self.number())));
        }
        let evaluation = evaluate(&self.state.card.classes, &labels, &probabilities)?;
        let seconds = started.elapsed().as_secs_f64();
        self.validation = Some(seconds);
        Ok(Some(Validation { loss, accuracy: evaluation.accuracy, macro_f1: evaluation.macro_f1, seconds }))
    }

    /// Closes the epoch: metrics, models, checkpoint.
    fn finish(&mut self, tensors: Tensors, validation: &Validation) -> Result<(), TrainError> {
        let state = &mut self.state;
        let Sums { loss, correct, images, seconds, .. } = state.sums;
        let row = EpochMetrics {
            epoch: state.epochs_done + 1,
            train_loss: loss / images as f64,
            train_acc: correct as f64 / images as f64,
            val_loss: validation.loss,
            val_acc: validation.accuracy,
            val_macro_f1: validation.macro_f1,
            learning_rate: state.schedule.rate(),
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
        state.sums = Sums::default();
        state.rows.push(row.clone());

        let card = ModelCard { metrics: row.repeatable(), epoch: row.epoch, ..state.card.clone() };
        let Unsaved { last, improved: last_is_best, best } = std::mem::take(&mut self.unsaved);
        let best = if improved { None } else { best.or(last.filter(|_| last_is_best)) };
        self.unsaved = Unsaved { last: Some(Model { card, tensors }), improved, best };
        let on_features = !self.backbone.is_empty();
        let more = self.state.epochs_done < self.settings.epochs;
        if !(on_features && more && self.saved.elapsed() < SAVE_EVERY) {
            self.save()?;
        }
        self.report.event(Event::Epoch(&row))
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
        let finished = self.save_models()?;
        // At the end of an epoch they are those of its model.
        let tensors = match finished {
            Some(tensors) if self.state.step == 0 => tensors,
            _ => self.whole(self.training.tensors()),
        };
        self.saved = Instant::now();
        self.state.save(&self.folder.checkpoint(), tensors, self.training.state())
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

    /// Parameters with the backbone's, where the plans lack those.
    fn whole(&self, mut tensors: Tensors) -> Tensors {
        tensors.extend(self.backbone.clone());
        tensors
    }
}

/// -ln(softmax(logits)[label]).
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - most).exp()).sum();
    sum.ln() - f64::from(logits[label] - most)
}
