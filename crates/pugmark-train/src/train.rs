mod batch_size;
pub(crate) mod class_weights;
mod features;
mod find;
mod predictions;
mod prepare;
mod report;
mod saliency;
mod session;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use pugmark_data::{Dataset, Part};
use pugmark_engine::Engine;
use pugmark_eval::Evaluation;
use pugmark_model::RunFolder;
use serde::{Deserialize, Serialize};

use crate::checkpoint::Ended;
use crate::profile::{Phase, Recorder};
use crate::{EpochMetrics, Event, Finding, Observer, TrainError, TrainSettings};
use features::Features;
use predictions::Predictions;
pub use predictions::predictions_csv;
use prepare::Prepared;
use report::Report;
use session::Session;

pub use find::{RatePoint, RateSearch, find_learning_rate};

/// What is done with the run folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A new run; the folder must be absent or empty.
    New,
    /// A new run in place of the one that is there.
    Overwrite,
    /// The run that is there goes on.
    Resume,
}

/// How a training ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The run folder.
    pub run: PathBuf,
    /// Epochs that are trained, validated and saved.
    pub epochs_done: u32,
    /// It was stopped before the end; [`Mode::Resume`] goes on.
    pub interrupted: bool,
    /// The best epoch; with the validation of the average of several, where that is the best model.
    pub best: Option<EpochMetrics>,
    /// The best model on the test part; none where there is no test part or nothing was left to do.
    pub test: Option<Evaluation>,
    /// What the watch found.
    pub findings: Vec<Finding>,
    /// What of it ended the training, with [`crate::WatchMode::Stop`].
    pub stopped_by: Option<Finding>,
}

/// Trains a model into the run folder `out`. When `stop` becomes true, the step in progress is finished and everything
/// saved.
///
/// # Errors
/// See [`TrainError`]. Whatever goes wrong, what the run saved before is whole.
pub fn train(
    data: &Dataset,
    settings: &TrainSettings,
    out: &Path,
    mode: Mode,
    engine: &dyn Engine,
    stop: &AtomicBool,
    observer: &mut dyn Observer,
) -> Result<Outcome, TrainError> {
    let started = Instant::now();
    settings.validate()?;
    let mut settings = settings.resolved(data);
    // Nothing is made or deleted before data, settings and weights are known to be good.
    let (mut prepared, folder) = match mode {
        Mode::New => {
            RunFolder::vacant(out)?;
            let prepared = Prepared::new(data, &mut settings, engine)?;
            (prepared, RunFolder::create(out)?)
        }
        Mode::Overwrite => {
            RunFolder::replaceable(out)?;
            let prepared = Prepared::new(data, &mut settings, engine)?;
            (prepared, RunFolder::overwrite(out)?)
        }
        Mode::Resume => {
            let folder = RunFolder::resume(out)?;
            (Prepared::resume(data, &mut settings, &folder, engine)?, folder)
        }
    };
    let settings = &settings;
    // First of all what makes the folder a run, so that a kill from here on leaves one to resume.
    if !prepared.is_finished(settings) {
        prepared.write(data, settings, &folder)?;
    }
    prepared.startup = started.elapsed();
    let finished = prepared.is_finished(settings);
    let profile = Recorder::new(settings.profile && !finished, started);
    let mut report = Report::new(&folder, profile, observer)?;
    let outcome = run(settings, prepared, &folder, engine, stop, &mut report);
    let saved = report.profile.save(&folder);
    report.end(&outcome)?;
    // The training's own error is the one to tell.
    outcome.and_then(|outcome| saved.map(|()| outcome))
}

fn run(
    settings: &TrainSettings,
    prepared: Prepared,
    folder: &RunFolder,
    engine: &dyn Engine,
    stop: &AtomicBool,
    report: &mut Report<'_>,
) -> Result<Outcome, TrainError> {
    for text in &prepared.warnings {
        report.event(Event::Warning(text))?;
    }
    for text in &prepared.notes {
        report.event(Event::Note(text))?;
    }
    let mut outcome = Outcome {
        run: folder.path().into(),
        epochs_done: prepared.state.epochs_done,
        interrupted: false,
        best: prepared.state.best_model().cloned(),
        test: None,
        findings: Vec::new(),
        stopped_by: None,
    };
    let finished = prepared.is_finished(settings);
    if finished {
        let text = match prepared.state.ended {
            Some(ended) => format!("the run is finished: {}", ended.text(settings, &prepared.state)),
            None => format!(
                "the run is finished: {} of {} epochs are trained; more `--epochs` train on",
                outcome.epochs_done, settings.epochs
            ),
        };
        report.event(Event::Note(&text))?;
        if folder.predictions().exists() {
            return Ok(outcome);
        }
    }
    // What the best model is shown at the end.
    let (part, items) = match prepared.test.as_slice() {
        [] => (Part::Val, prepared.val.clone()),
        test => (Part::Test, test.to_vec()),
    };
    let mut damaged = prepared.state.damaged.clone();
    let mut features = None;
    if !finished {
        if settings.feature_views().is_some() {
            report.profile.enter(Phase::Features);
        }
        match Features::gather(settings, &prepared, engine, stop, report)? {
            ControlFlow::Break(()) => return Ok(Outcome { interrupted: true, ..outcome }),
            ControlFlow::Continue(gathered) => features = gathered,
        }
        report.profile.enter(Phase::StartUp);
        let mut session = Session::new(settings, prepared, features.as_ref(), folder, engine, stop, report)?;
        outcome.interrupted = session.train()?.is_break();
        let state = session.state();
        outcome.epochs_done = state.epochs_done;
        outcome.best = state.best_model().cloned();
        damaged = state.damaged.clone();
        let ended = state.ended;
        (outcome.findings, outcome.stopped_by) = session.into_findings();
        outcome.stopped_by = outcome.stopped_by.filter(|_| ended == Some(Ended::Watch));
    }
    if !outcome.interrupted {
        report.profile.enter(Phase::Prediction);
        let predictions = Predictions { settings, folder, part, items, features: features.as_ref(), stop };
        match predictions.write(engine, &mut damaged, report)? {
            ControlFlow::Break(()) => outcome.interrupted = true,
            ControlFlow::Continue(evaluation) => outcome.test = evaluation,
        }
    }
    Ok(outcome)
}
