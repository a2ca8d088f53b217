//! A classifier, measured on labelled photos.

mod calibrate;
mod leakage;

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::Ordering;

use chrono::Timelike;
use pugmark_data::{Dataset, Item, Part, ReadOptions, Sample, Split, StorageOptions};
use pugmark_eval::{
    Acceptance, Beside, Detail, Evaluation, Origins, SECONDS_A_PHOTO, SiteAlone, accept, conformal_set,
    detail, evaluate, share_interval, site_alone,
};
use pugmark_model::{Look, ModelCard, RunFolder};
use pugmark_train::TrainSettings;
use serde::Serialize;

use super::data;
use super::ensemble::{Ensemble, Share};
use super::predictions;
use crate::arguments::EvalArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, ReadSettings, Sources};

/// What is measured.
pub(super) struct Subject {
    data: Dataset,
    /// The samples used.
    indices: Vec<usize>,
    part: Option<Part>,
    /// Those that the run was trained on, where they are of the same data set.
    trained: Vec<usize>,
}

#[derive(Serialize)]
struct Report<'a> {
    run: &'a Path,
    data: &'a Path,
    /// The part of the data set; none for all of it.
    part: Option<Part>,
    architecture: String,
    epoch: u32,
    /// How train and validation were parted when the model was trained.
    split: &'a str,
    /// Where several answer together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ensemble: Vec<Share<'a>>,
    #[serde(flatten)]
    evaluation: Evaluation,
    #[serde(flatten)]
    detail: Detail,
    /// How the last layer itself was calibrated; none where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    calibration: Option<&'a str>,
    /// The logits were divided by it, as validation said; 1 where it found nothing better, or several answer together.
    temperature: f32,
    /// Log loss without it.
    uncalibrated_log_loss: f64,
    /// Which answers need no second look; none where no answer is sure enough.
    accept: Option<Acceptance>,
    /// Sets of classes, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    sets: Option<Sets>,
    /// What the site alone says; none where no site is known, or other data are measured.
    site_alone: Option<SiteAlone>,
    /// Photos that end early; they count.
    truncated: usize,
    /// Photos that cannot be decoded; they do not count.
    broken: Vec<Broken>,
}

impl Subject {
    /// Where the photos of these ids (and classes of the model) are from, and what the sites alone say of them.
    fn origins(&self, card: &ModelCard, ids: &[String], labels: &[usize]) -> (Origins, Option<SiteAlone>) {
        let samples: HashMap<&str, &Sample> = self
            .indices
            .iter()
            .map(|&i| &self.data.samples[i])
            .map(|sample| (sample.id.as_str(), sample))
            .collect();
        let of: Vec<&Sample> = ids.iter().filter_map(|id| samples.get(id.as_str()).copied()).collect();
        let origins = Origins {
            sites: of.iter().map(|sample| sample.site.clone()).collect(),
            hours: of.iter().map(|sample| sample.time.map(|time| time.local.hour())).collect(),
            sequences: of.iter().map(|sample| sample.sequence.clone()).collect(),
        };
        let class = |class: usize| card.classes.iter().position(|known| *known == self.data.classes[class]);
        let trained = self.trained.iter().map(|&index| &self.data.samples[index]);
        let trained: Vec<(Option<&str>, usize)> =
            trained.filter_map(|sample| Some((sample.site.as_deref(), class(sample.class?)?))).collect();
        let photos: Vec<(Option<&str>, usize)> =
            of.iter().map(|sample| sample.site.as_deref()).zip(labels.iter().copied()).collect();
        (origins, site_alone(card.classes.len(), &trained, &photos))
    }
}

/// Sets that should hold the true class of a given share of the photos.
#[derive(Serialize)]
struct Sets {
    wanted: f64,
    /// How probable a class must be to be in.
    threshold: f32,
    /// Whether the threshold was set on these very photos, so that `held` could not be otherwise.
    same: bool,
    /// The share of the photos here whose set holds the true class.
    held: f64,
    /// Classes in a set, on average.
    size: f64,
}

impl Sets {
    fn new((wanted, threshold, same): (f64, f32, bool), labels: &[usize], rows: &[f32]) -> Self {
        let classes = rows.len() / labels.len().max(1);
        let (mut held, mut size) = (0, 0);
        for (label, row) in labels.iter().zip(rows.chunks_exact(classes.max(1))) {
            let set = conformal_set(row, threshold);
            held += usize::from(set.contains(label));
            size += set.len();
        }
        let mean = |sum: usize| sum as f64 / labels.len().max(1) as f64;
        Self { wanted, threshold, same, held: mean(held), size: mean(size) }
    }
}

#[derive(Serialize)]
struct Broken {
    id: String,
    reason: String,
}

pub(crate) fn run(arguments: &EvalArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let inference: InferenceSettings = sources.resolve(&arguments.inference)?.settings;
    let read: ReadSettings = sources.resolve(&arguments.read)?.settings;
    let storage: StorageOptions = sources.resolve(&arguments.storage)?.settings;
    if arguments.leakage_gap {
        data::exists(&arguments.run, "run")?;
        return leakage::run(&arguments.run, arguments.train, arguments.json, &storage, printer);
    }
    if arguments.calibration.calibrate.is_some() {
        data::exists(&arguments.run, "run")?;
        return calibrate::run(arguments, read, &storage, &inference, printer);
    }
    // The values of --part are those that a part is read from.
    let part = arguments.part.as_deref().and_then(|part| part.parse().ok());
    let engine = inference.engine(printer)?;
    let mut ensemble = Ensemble::open(&arguments.run, &arguments.ensemble, &*engine, inference.batch_size)?;
    let card = ensemble.card();
    let subject = match &arguments.dataset {
        Some(data) => other_data(data, read, part, &storage, printer)?,
        None => own_data(&arguments.run, part, &card, &storage, printer)?,
    };

    let threshold = |wanted| {
        let (threshold, part) = predictions::set_threshold(&arguments.run, &card.classes, wanted)?;
        anyhow::Ok((wanted, threshold, arguments.dataset.is_none() && part == subject.part))
    };
    let sets = arguments.sets.map(threshold).transpose()?;
    let stop = interrupt::stop_flag()?;
    let mirrored = arguments.ensemble.mirrored;
    let look = Look { threads: inference.loader_threads(), mirrored, digests: false };
    if arguments.dataset.is_none() && !arguments.ensemble.fit_weights {
        ensemble.warn_of_other_splits("these photos, and then answers too well", printer);
    }
    if arguments.ensemble.fit_weights {
        ensemble.fit(&storage, look, &stop, printer)?;
    }
    let (mut labels, mut probabilities, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut truncated, mut broken) = (0, Vec::new());
    ensemble.predict(&mut items(&subject, &card)?.into_iter(), look, &stop, printer, &mut |prediction| {
        match (prediction.outcome, prediction.class) {
            (Ok(row), Some(class)) => {
                labels.push(class);
                ids.push(prediction.id);
                probabilities.extend(row);
                truncated += usize::from(prediction.truncated);
            }
            (Err(reason), _) => broken.push(Broken { id: prediction.id, reason }),
            // Only labelled photos were asked for.
            (Ok(_), None) => {}
        }
        Ok(())
    })?;
    if stop.load(Ordering::Relaxed) {
        return Ok(ExitStatus::Interrupted);
    }
    for Broken { id, reason } in &broken {
        printer.warning(&format!("left out: {id}: {reason}"));
    }
    // A mean of several answers has no temperature of its own.
    let temperature = if arguments.ensemble.with.is_empty() && !mirrored { card.temperature } else { 1.0 };
    let evaluation = evaluate(&card.classes, &labels, &probabilities)?;
    let raw = uncalibrated(&probabilities, card.classes.len(), temperature);
    let (origins, site_alone) = subject.origins(&card, &ids, &labels);
    let report = Report {
        run: &arguments.run,
        data: &subject.data.root,
        part: subject.part,
        architecture: card.architecture.to_string(),
        epoch: card.epoch,
        split: &card.split_how,
        ensemble: ensemble.shares(),
        evaluation,
        detail: detail(&card.classes, &labels, &probabilities, &origins)?,
        accept: accept(&labels, &probabilities, arguments.accept),
        sets: sets.map(|sets| Sets::new(sets, &labels, &probabilities)),
        calibration: card.calibration.as_deref(),
        temperature,
        uncalibrated_log_loss: evaluate(&card.classes, &labels, &raw)?.log_loss,
        site_alone,
        truncated,
        broken,
    };
    if arguments.json {
        printer.json(&report)?;
    } else {
        let fitted_here = arguments.ensemble.fit_weights && report.part == Some(Part::Val);
        let line = ensemble.line().map(|line| line + "\n").unwrap_or_default();
        printer
            .result(&(line + &table(&report, arguments.accept, arguments.dataset.is_none(), fitted_here)))?;
    }
    Ok(ExitStatus::Done)
}

/// The probabilities that the same logits give at temperature 1: each to the power of the temperature, scaled to sum to 1.
fn uncalibrated(probabilities: &[f32], classes: usize, temperature: f32) -> Vec<f32> {
    let row = |row: &[f32]| {
        let powers = row.iter().map(move |&p| f64::from(p).powf(f64::from(temperature)));
        let powers: Vec<f64> = powers.collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(move |power| (power / sum) as f32)
    };
    probabilities.chunks_exact(classes).flat_map(row).collect()
}

/// Another data set: all of it, or the part that its folders or its column name.
fn other_data(
    data: &Path,
    read: ReadSettings,
    part: Option<Part>,
    storage: &StorageOptions,
    printer: &Printer,
) -> anyhow::Result<Subject> {
    let ReadSettings { photos, skip_missing } = read;
    let options = ReadOptions { photos, skip_missing, allow_empty_class: true, crop: None };
    let data = data::read(data, &options, storage, printer)?;
    let indices = data.samples.iter().enumerate().filter(|(_, sample)| sample.class.is_some());
    let indices: Vec<_> =
        indices.filter(|(_, sample)| part.is_none() || sample.part == part).map(|(i, _)| i).collect();
    if indices.is_empty()
        && let Some(part) = part
    {
        return Err(WrongCall::new(format!(
            "{} names no labelled photo of its {part} part",
            data.root.display()
        ))
        .with_hint("leave --part out to measure on all labelled photos")
        .into());
    }
    Ok(Subject { data, indices, part, trained: Vec::new() })
}

/// A part of the data that the run was trained on.
pub(super) fn own_data(
    run: &Path,
    part: Option<Part>,
    card: &ModelCard,
    storage: &StorageOptions,
    printer: &Printer,
) -> anyhow::Result<Subject> {
    let name_data = || format!("name a data set: `pugmark eval {} DATA`", run.display());
    if !run.is_dir() {
        return Err(WrongCall::new(format!("{} is a model file and has no data of its own", run.display()))
            .with_hint(name_data())
            .into());
    }
    let folder = RunFolder::open(run)?;
    let config = folder.config();
    let TrainSettings { data, photos, skip_missing, allow_empty_class, .. } = TrainSettings::read(&config)?;
    let data = data.ok_or_else(|| {
        WrongCall::new(format!("{}: the setting `data` is missing", config.display())).with_hint(name_data())
    })?;
    let options = ReadOptions { photos, skip_missing, allow_empty_class, crop: None };
    let data = data::read(&data, &options, storage, printer)?;
    if data.hash() != card.data_hash {
        printer.warning("photos or labels have changed since the training");
    }
    let part = part.unwrap_or(Part::Val);
    let split = Split::from_csv(&folder.split(), &data)?;
    let indices = split.indices(part);
    if indices.is_empty() {
        return Err(WrongCall::new(format!("the run has no {} part", in_words(part)))
            .with_hint("train with `--test 0.2` or the like to keep a test part")
            .into());
    }
    Ok(Subject { data, indices, part: Some(part), trained: split.indices(Part::Train) })
}

/// The photos with their classes as the model numbers them.
pub(super) fn items(subject: &Subject, card: &ModelCard) -> Result<Vec<Item>, WrongCall> {
    let classes: Vec<Option<usize>> =
        subject.data.classes.iter().map(|name| card.classes.iter().position(|known| known == name)).collect();
    let mut unknown: Vec<String> = Vec::new();
    let mut items = Vec::new();
    for &index in &subject.indices {
        let sample = &subject.data.samples[index];
        let Some(class) = sample.class else { continue };
        if classes[class].is_none() && !unknown.contains(&subject.data.classes[class]) {
            unknown.push(subject.data.classes[class].clone());
        }
        items.push(Item { class: classes[class], ..Item::from(sample) });
    }
    if unknown.is_empty() {
        return Ok(items);
    }
    unknown.sort();
    Err(WrongCall::new(format!(
        "{} has classes that the model does not know: {}",
        subject.data.root.display(),
        data::some(&unknown)
    ))
    .with_hint(format!("the model knows {}", data::some(&card.classes))))
}

fn table(report: &Report<'_>, wanted: f64, own: bool, fitted_here: bool) -> String {
    let what = match (report.part, own) {
        (Some(part), true) => format!("the {} part of the run's own data", in_words(part)),
        (Some(part), false) => format!("the {} part", in_words(part)),
        (None, _) => "all labelled photos".to_owned(),
    };
    let mut text = format!(
        "{} (epoch {} of {}) on {what}: {}\n",
        report.architecture,
        report.epoch,
        report.run.display(),
        report.data.display()
    );
    if own && report.part == Some(Part::Val) {
        text.push_str(
            "The best epoch and its temperature were chosen on these photos: expect a little\nless on others.\n",
        );
    }
    if own && fitted_here {
        text.push_str("So were the weights of the models.\n");
    }
    if own && sites_are_apart(report.split, report.site_alone.as_ref()) == Some(false) {
        text.push_str("Photos of one place are in every part of this split: expect less at new places.\n");
    }
    if let Some(how) = report.calibration {
        let _ = writeln!(text, "Its last layer is calibrated by {how}.");
    }
    if report.temperature != 1.0 {
        let _ = writeln!(
            text,
            "Calibrated at temperature {:.3}; without that the log loss is {:.4}.",
            report.temperature, report.uncalibrated_log_loss
        );
    }
    text += &accepted(report, wanted);
    if let Some(Sets { wanted, threshold, same, held, size }) = &report.sets {
        let here = if *same { "on these, which set it," } else { "here" };
        let _ = writeln!(
            text,
            "Sets of the classes that are {threshold:.4} or more probable should hold the true one on {} % of photos\n\
             like those held out: {here} they do on {:.1} %, with {size:.2} classes each.",
            wanted * 100.0,
            held * 100.0
        );
    }
    let beside = Beside { detail: Some(&report.detail), site_alone: report.site_alone.as_ref() };
    text + "\n" + &report.evaluation.table(beside)
}

/// Which answers need no second look, and what that leaves for a person.
fn accepted(report: &Report<'_>, wanted: f64) -> String {
    let percent = wanted * 100.0;
    let Some(accepted) = report.accept else {
        return format!("For {percent} % right of what is accepted it is never sure enough.\n");
    };
    let [low, high] = share_interval(accepted.right, accepted.accepted).map(|end| end * 100.0);
    format!(
        "For {percent} % right of what is accepted: take what it is at least {} sure of. Here\n\
         {:.1} % of that is right ({low:.0} to {high:.0} of 100 for so many), and {} of {} photos remain for a\n\
         person: {} at {SECONDS_A_PHOTO} seconds a photo.\n",
        accepted.confidence as f32,
        accepted.right * 100.0,
        accepted.remain,
        report.evaluation.images,
        accepted.time()
    )
}

/// Whether no place of the measured photos was trained on, as far as that is known. `how` is how the split was made.
pub(super) fn sites_are_apart(how: &str, site_alone: Option<&SiteAlone>) -> Option<bool> {
    let says = |words: &[&str]| words.iter().any(|word| how.contains(word));
    match site_alone {
        Some(site) => Some(site.known == 0.0),
        None if says(&["random", "sequence", "burst"]) => Some(false),
        None if says(&["site", "folder"]) => Some(true),
        None => None,
    }
}

/// The part's name in a sentence.
pub(super) fn in_words(part: Part) -> &'static str {
    match part {
        Part::Train => "training",
        Part::Val => "validation",
        Part::Test => "test",
    }
}
