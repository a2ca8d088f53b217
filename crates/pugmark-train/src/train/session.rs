use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pugmark_data::{Batch, Random, Saliency};
use pugmark_engine::{Engine, EngineError, Inference, StepOutput, TrainBatch, Training};
use pugmark_eval::evaluate;
use pugmark_graph::Tensors;
use pugmark_model::{Model, ModelCard, RunFolder, softmax};

use super::prepare::{Photos, Prepared};
use super::report::{Report, save, save_damaged};
use super::saliency::{self, SaliencyPass};
use crate::checkpoint::{State, Sums};
use crate::{EpochMetrics, Event, Schedule, TrainError, TrainSettings, memory, metrics};

/// A training in progress.
pub(super) struct Session<'a, 'o> {
    settings: &'a TrainSettings,
    folder: &'a RunFolder,
    stop: &'a AtomicBool,
    report: &'a mut Report<'o>,
    photos: (Photos, Photos),
    looking: Option<SaliencyPass>,
    /// What was important in the training photos when the epoch in progress began; none before it was asked.
    saliency: Option<Vec<Option<Saliency>>>,
    training: Box<dyn Training>,
    inference: Box<dyn Inference>,
    state: State,
    saved: Instant,
    /// How long validation took last time.
    validation: Option<f64>,
}

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
        folder: &'a RunFolder,
        engine: &dyn Engine,
        stop: &'a AtomicBool,
        report: &'a mut Report<'o>,
    ) -> Result<Self, TrainError> {
        let (train_photos, val_photos, looking) = prepared.photos(settings);
        let Prepared { graph, state, tensors, optimiser, saliency, spec, train, val, test, .. } = prepared;
        let saliency = saliency::from_tensors(&saliency, train.len());
        let looking = looking.map(|loading| {
            SaliencyPass::new(engine, &graph, &tensors, &state.card, settings, (train.clone(), loading))
        });
        let input = state.card.input(settings.batch_size);
        let mut training = engine.training(&graph, &tensors, &input, &spec)?;
        if let Some(optimiser) = optimiser {
            training.restore(&tensors, &optimiser, state.optimiser_steps)?;
        }
        let inference = engine.inference(&graph, &tensors, &input, &[])?;
        report.event(Event::Start {
            engine: &engine.name(),
            parameters: graph.parameter_count(),
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
            photos: (train_photos, val_photos),
            looking: looking.transpose()?,
            saliency,
            training,
            inference,
            state,
            saved: Instant::now(),
            validation: None,
        })
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Trains the epochs that are left; breaks off when stopped, with everything saved.
    pub(super) fn train(&mut self) -> Result<ControlFlow<()>, TrainError> {
        while self.state.epochs_done < self.settings.epochs {
            if self.epoch()?.is_break() {
                self.checkpoint()?;
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn epoch(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let steps = self.photos.0.loader.batches();
        if self.look()?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        if self.state.step < steps {
            let mut clock = Instant::now();
            for batch in self.photos.0.loader.epoch(self.number().into(), self.state.step) {
                self.state.sums.waiting += clock.elapsed().as_secs_f64();
                if self.stopped() {
                    return Ok(ControlFlow::Break(()));
                }
                let output = self.step(&batch)?;
                self.state.step += 1;
                self.state.sums.seconds += clock.elapsed().as_secs_f64();
                clock = Instant::now();
                self.tell_step(steps, batch.labels.len(), output.map_or(0.0, |o| o.loss))?;
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

    /// Asks the model what is important in the training photos, with the parameters that the epoch begins with: a checkpoint
    /// inside the epoch keeps the answer. The first epoch does without where the parameters are random and know nothing.
    fn look(&mut self) -> Result<ControlFlow<()>, TrainError> {
        let epoch = self.number();
        let Some(looking) = &mut self.looking else { return Ok(ControlFlow::Continue(())) };
        if self.saliency.is_none() && (epoch > 1 || self.settings.weights.is_some()) {
            let clock = Instant::now();
            let total = self.photos.0.items.len();
            let saliency = looking.run(&self.training.tensors(), epoch, |done| {
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

    /// The epoch in progress, from 1.
    fn number(&self) -> u32 {
        self.state.epochs_done + 1
    }

    /// One optimiser step; none where no photo of the batch can be decoded.
    fn step(&mut self, batch: &Batch) -> Result<Option<StepOutput>, TrainError> {
        self.report.damaged_batch(&mut self.state.damaged, &self.photos.0, batch)?;
        if batch.labels.is_empty() {
            return Ok(None);
        }
        let (epoch, step) = (self.number(), self.state.step);
        let seed =
            Random::new(self.settings.seed, epoch.into(), &format!("dropout of step {step}")).next_u64();
        let rate = self.state.schedule.rate();
        let train_batch = TrainBatch { pixels: &batch.pixels, labels: &batch.labels, seed };
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
        for batch in self.photos.1.loader.epoch(0, 0) {
            if self.stopped() {
                return Ok(None);
            }
            self.report.damaged_batch(&mut self.state.damaged, &self.photos.1, &batch)?;
            if !batch.labels.is_empty() {
                let mut logits = self.inference.logits(batch.labels.len(), &batch.pixels)?;
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
        self.saliency = None;
        state.sums = Sums::default();
        state.rows.push(row.clone());

        let card = ModelCard { metrics: row.repeatable(), epoch: row.epoch, ..state.card.clone() };
        let model = Model { card, tensors };
        if improved {
            model.write(&self.folder.best())?;
            self.report.event(Event::Saved(&self.folder.best()))?;
        }
        model.write(&self.folder.last())?;
        save(self.folder.metrics_csv(), metrics::to_csv(&self.state.rows))?;
        save(self.folder.metrics_json(), metrics::to_json(&self.state.rows))?;
        save_damaged(self.folder, &self.state.damaged)?;
        self.save_checkpoint(model.tensors)?;
        self.report.event(Event::Epoch(&row))
    }

    fn checkpoint_is_due(&self) -> bool {
        let minutes = self.settings.checkpoint_minutes;
        minutes > 0.0 && self.saved.elapsed().as_secs_f64() >= minutes * 60.0
    }

    /// Saves where the training is inside an epoch.
    fn checkpoint(&mut self) -> Result<(), TrainError> {
        save_damaged(self.folder, &self.state.damaged)?;
        self.save_checkpoint(self.training.tensors())?;
        self.report.event(Event::Saved(&self.folder.checkpoint()))
    }

    fn save_checkpoint(&mut self, tensors: Tensors) -> Result<(), TrainError> {
        self.saved = Instant::now();
        let saliency = match (&self.saliency, self.state.step) {
            (Some(saliency), 1..) => saliency::to_tensors(saliency),
            // Asked again.
            _ => Tensors::new(),
        };
        self.state.save(&self.folder.checkpoint(), tensors, self.training.state(), saliency)
    }
}

/// -ln(softmax(logits)[label]).
fn cross_entropy(logits: &[f32], label: usize) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&v| f64::from(v - most).exp()).sum();
    sum.ln() - f64::from(logits[label] - most)
}
