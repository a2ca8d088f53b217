//! One trial: a training that tells the study what it measures, and that the study may end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use pugmark_engine::Engine;
use pugmark_model::{ModelError, RunFolder};
use pugmark_train::{EpochMetrics, Mode, Outcome, TrainError, TrainSettings, train};
use pugmark_tune::{Ending, Metrics, Settings, State};

use super::watching::Watching;
use super::words::metrics;
use super::workers::Workers;

/// How long a run may still be locked by a process that was killed.
const DYING: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_millis(20);

/// The run of a trial.
pub(super) fn folder(study: &Path, number: u32) -> PathBuf {
    study.join(format!("trial-{number:04}"))
}

/// Trains a trial to its end, or until the work is to stop: then another worker takes it up.
pub(super) fn run(
    workers: &Workers<'_>,
    engine: &dyn Engine,
    number: u32,
    values: &Settings,
    taken_up: bool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    let ending = ending(workers, engine, number, values, taken_up)?;
    let mut desk = workers.desk();
    match ending {
        Some((state, metrics, why)) => {
            desk.study
                .end(number, Ending { state, metrics, why, seconds: started.elapsed().as_secs_f64() })?;
        }
        None => desk.study.release(number),
    }
    Ok(())
}

type HowItEnded = (State, Metrics, Option<String>);

fn ending(
    workers: &Workers<'_>,
    engine: &dyn Engine,
    number: u32,
    values: &Settings,
    taken_up: bool,
) -> anyhow::Result<Option<HowItEnded>> {
    let search = workers.search;
    let settings = search.settings(values)?;
    // What makes no sense together is found by trying: the ranges one by one were checked.
    if let Err(error) = settings.validate() {
        return Ok(Some((State::Failed, Metrics::new(), Some(error.to_string()))));
    }
    let run = folder(&search.folder, number);
    let mut watching = Watching::new(workers, Some(number), &settings);
    if taken_up {
        for row in rows(&run)? {
            watching.epoch(&row);
        }
    }
    let outcome = match watching.pruned.is_none() && watching.failed.is_none() {
        true => Some(training(workers, engine, &settings, &run, &mut watching)),
        false => None,
    };
    let Watching { pruned, failed, .. } = watching;
    if let Some(error) = failed {
        return Err(error.into());
    }
    if let Some((epoch, metrics)) = pruned {
        return Ok(Some((
            State::Pruned,
            metrics,
            Some(format!("after epoch {epoch} of {}", settings.epochs)),
        )));
    }
    match outcome {
        None => Ok(None),
        Some(Ok(outcome)) if outcome.interrupted => Ok(None),
        Some(Ok(outcome)) => {
            let why =
                outcome.stopped_by.map(|found| format!("the watch ended it: {}: {}", found.rule, found.text));
            Ok(Some(match outcome.best.as_ref().map(metrics) {
                Some(metrics) => (State::Complete, metrics, why),
                None if why.is_some() => (State::Failed, Metrics::new(), why),
                None => (State::Complete, Metrics::new(), None),
            }))
        }
        Some(Err(error)) if is_the_settings_fault(&error) || weights_are_searched(workers, &error) => {
            Ok(Some((State::Failed, Metrics::new(), Some(error.to_string()))))
        }
        Some(Err(error)) => Err(error).with_context(|| format!("trial {number}")),
    }
}

/// Trains into a run folder, from where it was left if it was begun.
pub(super) fn training(
    workers: &Workers<'_>,
    engine: &dyn Engine,
    settings: &TrainSettings,
    run: &Path,
    watching: &mut Watching<'_>,
) -> Result<Outcome, TrainError> {
    let search = workers.search;
    watching.wait_for_features();
    let since = Instant::now();
    loop {
        let mode = if RunFolder::open(run).is_ok() { Mode::Resume } else { Mode::New };
        let stop = Arc::clone(&watching.stop);
        let outcome = train(&search.dataset, settings, run, mode, engine, &stop, watching);
        match outcome {
            // Another process may train the best settings again: then its run is read.
            Err(TrainError::Model(ModelError::InUse { .. }))
                if since.elapsed() < DYING || watching.number.is_none() && !workers.are_stopping() =>
            {
                std::thread::sleep(WAIT);
            }
            outcome => return outcome,
        }
    }
}

/// Whether other settings may fare better; else every trial would end like this one.
fn is_the_settings_fault(error: &TrainError) -> bool {
    matches!(
        error,
        TrainError::Settings(_)
            | TrainError::NonFiniteLoss { .. }
            | TrainError::BatchTooLarge { .. }
            | TrainError::Memory { .. }
            | TrainError::Engine(_)
    )
}

/// Weights that do not fit the model are no trial's fault but where one of the two is searched.
fn weights_are_searched(workers: &Workers<'_>, error: &TrainError) -> bool {
    let mut names = workers.search.plan.space.parameters.iter().map(|parameter| parameter.name.as_str());
    matches!(error, TrainError::Weights(_)) && names.any(|name| matches!(name, "weights" | "model"))
}

/// The epochs of a run that was begun.
fn rows(run: &Path) -> anyhow::Result<Vec<EpochMetrics>> {
    let Ok(folder) = RunFolder::open(run) else { return Ok(Vec::new()) };
    let file = folder.metrics_json();
    match std::fs::read(&file) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).with_context(|| format!("cannot read {}", file.display()))
        }
        Err(_) => Ok(Vec::new()),
    }
}
