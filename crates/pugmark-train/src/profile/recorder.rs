//! Measures while a training runs; where it is off, it costs a look at whether it is.

use std::io;
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use pugmark_data::{BatchTime, Stage};
use pugmark_engine::{OperatorSums, OperatorTime, Pass};
use pugmark_model::{RunFolder, write_atomic, write_atomic_with};

use super::machine::Sampler;
use super::steps::{Step, Steps};
use super::trace::Trace;
use super::{Phase, Profile};
use crate::TrainError;

/// Points of the loader's queue over time.
const POINTS: usize = 400;

/// Hears what the training does.
#[derive(Debug)]
pub(crate) struct Recorder(Option<Box<Recording>>);

#[derive(Debug)]
pub(super) struct Recording {
    pub(super) started: Instant,
    /// Seconds since 1970.
    pub(super) began: f64,
    phase: Phase,
    /// When it was entered.
    pub(super) since: Instant,
    pub(super) totals: [f64; Phase::ALL.len()],
    /// The totals when the last step ended.
    before: [f64; Phase::ALL.len()],
    step_began: Instant,
    pub(super) steps: Steps,
    pub(super) operators: OperatorSums,
    pub(super) loader: Loading,
    pub(super) engine: String,
    pub(super) first_epoch: u32,
    pub(super) sampler: Sampler,
    trace: Trace,
}

/// What the loader did.
#[derive(Debug, Default)]
pub(super) struct Loading {
    pub(super) threads: usize,
    pub(super) batches: u64,
    pub(super) seconds: [f64; Stage::ALL.len()],
    /// Between batches.
    pub(super) idle: f64,
    /// Of each thread: when its last batch was whole, and in which epoch.
    last: Vec<Option<(u32, Instant)>>,
    /// Batches ready when one was asked for, and when, in seconds: a mean over `every` of them.
    pub(super) ready: Vec<[f64; 2]>,
    every: usize,
    pending: Vec<[f64; 2]>,
    now_ready: usize,
    /// Batches that were made ahead of their step.
    ahead: Vec<BatchTime>,
}

impl Recorder {
    /// `started` is when the training began.
    pub(crate) fn new(on: bool, started: Instant) -> Self {
        Self(on.then(|| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
            Box::new(Recording {
                started,
                began: now - started.elapsed().as_secs_f64(),
                phase: Phase::StartUp,
                since: started,
                totals: [0.0; Phase::ALL.len()],
                before: [0.0; Phase::ALL.len()],
                step_began: started,
                steps: Steps::default(),
                operators: OperatorSums::default(),
                loader: Loading { every: 1, ..Loading::default() },
                engine: String::new(),
                first_epoch: 1,
                sampler: Sampler::start(),
                trace: Trace::new(started),
            })
        }))
    }

    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// What is known before the first step.
    pub(crate) fn describe(&mut self, engine: &str, first_epoch: u32) {
        if let Some(recording) = &mut self.0 {
            recording.engine = engine.to_owned();
            recording.first_epoch = first_epoch;
        }
    }

    /// From now on the training is in another phase; the one that it was in.
    pub(crate) fn enter(&mut self, phase: Phase) -> Phase {
        self.0.as_mut().map_or(Phase::Other, |recording| recording.enter(phase))
    }

    /// The steps of an epoch begin, with a loader of so many threads.
    pub(crate) fn begin_steps(&mut self, threads: usize) {
        if let Some(recording) = &mut self.0 {
            recording.enter(Phase::Other);
            recording.before = recording.totals;
            recording.step_began = recording.since;
            recording.loader.threads = threads;
            recording.loader.last.resize(threads, None);
        }
    }

    /// The next batch is asked for, while so many are ready; none where no loader is.
    pub(crate) fn wait(&mut self, ready: Option<usize>) {
        if let Some(recording) = &mut self.0 {
            recording.enter(Phase::Loading);
            if let Some(ready) = ready {
                let at = (recording.since - recording.started).as_secs_f64();
                recording.loader.note_ready(at, ready);
            }
        }
    }

    /// The engine's step is done, which began when [`Phase::Forward`] was entered.
    pub(crate) fn computed(&mut self, times: Vec<OperatorTime>) {
        if let Some(recording) = &mut self.0 {
            recording.computed(times);
        }
    }

    /// A step is done: `number`, from 1, is that of its last batch and of `batches` batches; the loader made `times` since the
    /// last step.
    pub(crate) fn step(
        &mut self,
        epoch: u32,
        number: usize,
        batches: usize,
        images: usize,
        times: Vec<BatchTime>,
    ) {
        if let Some(recording) = &mut self.0 {
            recording.step(epoch, number, batches, images, times);
        }
    }

    /// Writes `profile.json` and `trace.json`.
    pub(crate) fn save(&mut self, folder: &RunFolder) -> Result<(), TrainError> {
        let Some(recording) = &mut self.0 else { return Ok(()) };
        let phase = recording.enter(Phase::Saving);
        let profile = Profile::of(recording);
        let failed = |path: PathBuf| |source| TrainError::Save { path, source };
        let path = folder.profile();
        let json = serde_json::to_vec_pretty(&profile).map_err(io::Error::other);
        json.and_then(|json| write_atomic(&path, &json)).map_err(failed(path))?;
        let path = folder.trace();
        let samples = recording.sampler.samples();
        let (engine, threads) = (&recording.engine, recording.loader.threads);
        write_atomic_with(&path, |file| recording.trace.write(file, engine, threads, &samples))
            .map_err(failed(path))?;
        recording.enter(phase);
        Ok(())
    }
}

impl Recording {
    fn enter(&mut self, phase: Phase) -> Phase {
        let now = Instant::now();
        self.close(self.phase, (now - self.since).as_secs_f64());
        self.since = now;
        std::mem::replace(&mut self.phase, phase)
    }

    /// Counts time since `since` to a phase.
    fn close(&mut self, phase: Phase, seconds: f64) {
        self.totals[phase as usize] += seconds;
        self.trace.phase(phase, self.since, seconds);
    }

    fn computed(&mut self, times: Vec<OperatorTime>) {
        let now = Instant::now();
        let mut parts = [0.0; 3];
        for time in &times {
            let part = match time.pass {
                Pass::Forward | Pass::Loss => 0,
                Pass::BackwardData | Pass::BackwardWeight => 1,
                Pass::Optimiser | Pass::Prepare => 2,
            };
            parts[part] += time.seconds;
        }
        self.trace.operators(&times, self.since);
        for (phase, seconds) in [Phase::Forward, Phase::Backward, Phase::Optimiser].into_iter().zip(parts) {
            // Operators run one after the other: together they take no longer than the step.
            let seconds = seconds.min((now - self.since).as_secs_f64());
            self.close(phase, seconds);
            self.since += std::time::Duration::from_secs_f64(seconds);
        }
        // What is between the operators.
        self.phase = Phase::Other;
        self.operators.add(times);
    }

    fn step(&mut self, epoch: u32, number: usize, batches: usize, images: usize, times: Vec<BatchTime>) {
        self.enter(Phase::Other);
        self.trace.batches(&times);
        let stages = self.loader.add(epoch, number - batches..number, times);
        let phases = std::array::from_fn(|at| self.totals[at] - self.before[at]);
        let step = Step { epoch, number, phases, stages };
        let ready = self.loader.now_ready;
        self.trace.end_step(epoch, number, ready, self.step_began, step.seconds());
        self.steps.add(step, images);
        self.before = self.totals;
        self.step_began = self.since;
    }
}

impl Loading {
    fn note_ready(&mut self, at: f64, ready: usize) {
        self.now_ready = ready;
        self.pending.push([at, ready as f64]);
        if self.pending.len() < self.every {
            return;
        }
        self.ready.push(mean(&self.pending));
        self.pending.clear();
        if self.ready.len() >= 2 * POINTS {
            self.ready = self.ready.chunks(2).map(mean).collect();
            self.every *= 2;
        }
    }

    /// Counts the batches that were made, and gives what those with the numbers `own` took.
    fn add(
        &mut self,
        epoch: u32,
        own: std::ops::Range<usize>,
        mut times: Vec<BatchTime>,
    ) -> [f64; Stage::ALL.len()] {
        times.sort_by_key(|time| time.ended);
        for time in &times {
            self.batches += 1;
            for (sum, seconds) in self.seconds.iter_mut().zip(time.seconds) {
                *sum += seconds;
            }
            if let Some(last) = self.last.get_mut(time.thread) {
                if let Some((before, ended)) = *last
                    && before == epoch
                {
                    self.idle += time.began.saturating_duration_since(ended).as_secs_f64();
                }
                *last = Some((epoch, time.ended));
            }
        }
        self.ahead.extend(times);
        let mut stages = [0.0; Stage::ALL.len()];
        for time in self.ahead.extract_if(.., |time| time.batch < own.end) {
            if own.contains(&time.batch) {
                for (sum, seconds) in stages.iter_mut().zip(time.seconds) {
                    *sum += seconds;
                }
            }
        }
        stages
    }
}

fn mean(points: &[[f64; 2]]) -> [f64; 2] {
    let of = |at: usize| points.iter().map(|point| point[at]).sum::<f64>() / points.len() as f64;
    [of(0), of(1)]
}
