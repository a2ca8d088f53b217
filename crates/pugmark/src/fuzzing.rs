//! Readers of what a call, a job or a run has in its files, for the fuzz targets.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::Parser;
use pugmark_data::Item;
use pugmark_model::RunFolder;
use pugmark_train::TrainSettings;

use crate::arguments::{Arguments, TrainFlags};
use crate::commands::{predict, predictions, report};
use crate::container::{self, TrainingJob};
use crate::error;
use crate::settings::{Layer, Sources};

type Said<T> = Result<T, String>;

fn said(error: impl Into<anyhow::Error>) -> String {
    error::text(&error.into())
}

fn settings(sources: Sources) -> Said<TrainSettings> {
    let sources = sources.with_recipe(None).map_err(said)?;
    let settings: TrainSettings = sources.resolve(&TrainFlags::default()).map_err(said)?.settings;
    settings.validate().map_err(said)?;
    Ok(settings)
}

/// The settings of a configuration file.
///
/// # Errors
/// What a person is told.
pub fn config(file: &Path) -> Said<TrainSettings> {
    settings(Sources::new(Some(file)).map_err(said)?)
}

/// The settings and the data of the training job that `SAGEMAKER_BASE_DIR` holds.
///
/// # Errors
/// What a person is told.
pub fn training_job() -> Said<(TrainSettings, PathBuf)> {
    let job = TrainingJob::find().map_err(said)?.ok_or("there is no job")?;
    let layer: &Layer = job.settings();
    let settings = settings(Sources::default().with_job(Some(layer)))?;
    Ok((settings, job.data().map_err(said)?))
}

/// Names the outputs of a call by the host of the processing job that `SAGEMAKER_BASE_DIR` holds.
///
/// # Errors
/// What a person is told.
pub fn processing_job(call: &[OsString]) -> Said<()> {
    let mut arguments = Arguments::try_parse_from(call).map_err(said)?;
    container::name_by_host(&mut arguments.command).map_err(said)
}

/// The photos of a channel in Pipe mode, as a folder.
///
/// # Errors
/// What a person is told.
pub fn pipe(stream: &Path, into: &Path) -> Said<PathBuf> {
    container::read_pipe(stream, into).map_err(said)
}

/// How many predictions a file has, after they were measured.
///
/// # Errors
/// What a person is told.
pub fn measured(file: &Path, classes: &[String]) -> Said<usize> {
    let (_, rows) = predictions::read(file, classes).map_err(said)?;
    predictions::evaluation(classes, &rows).map_err(said)?;
    Ok(rows.len())
}

/// What a journal of predictions answers of these photos, as JSON.
///
/// # Errors
/// What a person is told.
pub fn journal(out: &Path, who: &str, items: &[Item], classes: &[String]) -> Said<Vec<String>> {
    predict::answered(out, who, items, classes).map_err(said)
}

/// Draws a run's report, from every file of it.
///
/// # Errors
/// What a person is told.
pub fn report(run: &Path) -> Said<()> {
    let folder = RunFolder::open(run).map_err(said)?;
    report::of_run(&folder).map_err(said)
}
