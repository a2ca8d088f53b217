//! A run's model, calibrated class by class.

use std::fmt::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::{Digest, Item, Loader, Part, StorageOptions};
use pugmark_eval::{Origins, VectorScaling, detail, evaluate, fit_temperature, fit_vector};
use pugmark_model::{Classifier, Model, loader_settings, softmax};
use serde::Serialize;

use super::{Subject, in_words, items, other_data, own_data};
use crate::arguments::EvalArguments;
use crate::error::{ExitStatus, Interrupted, WrongCall};
use crate::interrupt;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, ReadSettings};

/// With fewer photos a class the pull towards the temperature decides most.
const FEW: usize = 10;

#[derive(Serialize)]
struct Report<'a> {
    run: &'a Path,
    out: &'a Path,
    temperature: f32,
    /// One a class.
    scales: Vec<f32>,
    shifts: Vec<f32>,
    /// On the photos that both were fitted on.
    fitted: Measured,
    /// On others, where some were named.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<Measured>,
}

/// Some photos, and what each calibration gives on them.
#[derive(Serialize)]
struct Measured {
    photos: String,
    images: usize,
    uncalibrated: Scores,
    temperature: Scores,
    vector: Scores,
}

#[derive(Serialize)]
struct Scores {
    log_loss: f64,
    calibration_error: f64,
    accuracy: f64,
}

/// Labels, and logits of each class.
struct Answers {
    photos: String,
    labels: Vec<usize>,
    logits: Vec<f32>,
}

pub(super) fn run(
    arguments: &EvalArguments,
    read: ReadSettings,
    storage: &StorageOptions,
    inference: &InferenceSettings,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let EvalArguments { run, dataset, part, calibration, json, .. } = arguments;
    // `--calibrate` requires it.
    let Some(out) = &calibration.out else { unreachable!("--calibrate goes with --out") };
    if !run.is_dir() {
        return Err(WrongCall::new(format!("{} is no run folder", run.display()))
            .with_hint("the fit needs the validation part of a run: name its folder")
            .into());
    }
    writable(out, calibration.overwrite)?;
    let part: Option<Part> = part.as_deref().and_then(|part| part.parse().ok());
    let model = Model::open(run)?;
    let (card, classes) = (&model.card, &model.card.classes);
    let engine = inference.engine(printer)?;
    let mut classifier = Classifier::from_model(model.clone(), &*engine, inference.batch_size)?;
    let stop = interrupt::stop_flag()?;
    let mut answers = |subject: &Subject| {
        let photos = match (dataset, subject.part) {
            (Some(data), None) => data.display().to_string(),
            (_, part) => format!("the {} part", in_words(part.unwrap_or(Part::Val))),
        };
        let (items, threads) = (items(subject, card)?, inference.loader_threads());
        Answers::of(photos, &mut classifier, items, inference.batch_size, threads, &stop, printer)
    };
    let fitted = answers(&own_data(run, None, card, storage, printer)?)?;
    let other = match (dataset, part) {
        (Some(data), part) => Some(other_data(data, read, part, storage, printer)?),
        (None, None | Some(Part::Val)) => None,
        (None, part) => Some(own_data(run, part, card, storage, printer)?),
    };
    let other = other.as_ref().map(answers).transpose()?;
    // Before the fit, as it says what is wrong with answers that are no numbers.
    evaluate(classes, &fitted.labels, &fitted.probabilities(classes.len(), None, 1.0))?;
    let temperature = fit_temperature(&fitted.labels, &fitted.logits);
    let vector = fit_vector(&fitted.labels, &fitted.logits);
    let images = fitted.labels.len();
    if images < FEW * classes.len() {
        printer.warning(&format!(
            "{images} photos for {} classes are few: scales and shifts stay near the temperature",
            classes.len()
        ));
    }
    let measure = |answers: &Answers| answers.measure(classes, temperature, &vector);
    let (fitted, other) = (measure(&fitted)?, other.as_ref().map(measure).transpose()?);
    // The journal of `predict` goes by the card: other scales are another model.
    let values: Vec<u8> =
        [&vector.scales, &vector.shifts].into_iter().flatten().flat_map(|v| v.to_le_bytes()).collect();
    let how = format!("vector scaling on {images} validation photos ({:016x})", Digest::of(&values).short());
    model.clone().scaled(&vector.scales, &vector.shifts, how).write(out)?;
    if let Some(other) = &other
        && other.vector.log_loss > other.temperature.log_loss
    {
        printer
            .warning(&format!("on {} the temperature alone is better: keep the run's model", other.photos));
    }
    printer.note(&format!("{} is written", out.display()));
    let VectorScaling { scales, shifts } = vector;
    let report = Report { run, out, temperature, scales, shifts, fitted, other };
    if *json {
        printer.json(&report)?
    } else {
        printer.result(&table(&report))?
    }
    Ok(ExitStatus::Done)
}

/// Refuses a file that can't be written, before the work.
fn writable(out: &Path, overwrite: bool) -> Result<(), WrongCall> {
    if out.is_dir() {
        return Err(WrongCall::new(format!("{} is a folder", out.display())).with_hint(format!(
            "name a file in it: `--out {}`",
            out.join("calibrated.safetensors").display()
        )));
    }
    if out.exists() && !overwrite {
        return Err(WrongCall::new(format!("{} exists", out.display()))
            .with_hint("`--overwrite` replaces it, another `--out` keeps it"));
    }
    match out.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => Err(WrongCall::new(format!("there is no folder {}", folder.display()))
            .with_hint("make it, or name another `--out`")),
        None => Ok(()),
    }
}

impl Answers {
    fn of(
        photos: String,
        classifier: &mut Classifier,
        items: Vec<Item>,
        batch: usize,
        threads: usize,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<Self> {
        let mut answers = Self { photos, labels: Vec::new(), logits: Vec::new() };
        let mut progress = printer.progress("photos", items.len() as u64);
        let loader = Loader::new(items.clone(), loader_settings(&classifier.card().recipe, batch, threads));
        for batch in loader.epoch(0, 0) {
            if stop.load(Ordering::Relaxed) {
                return Err(Interrupted("nothing was written; the same call begins again").into());
            }
            for (item, reason) in &batch.broken {
                printer.warning(&format!("left out: {}: {reason}", items[*item].id));
            }
            if !batch.items.is_empty() {
                answers.logits.extend(classifier.logits(batch.items.len(), &batch.pixels)?);
                answers.labels.extend(batch.labels.iter().map(|&label| label as usize));
            }
            progress.set_with_rate(answers.labels.len() as u64, "photos");
        }
        Ok(answers)
    }

    /// Of the logits, or of what the scaling makes of them, over the temperature.
    fn probabilities(&self, classes: usize, vector: Option<&VectorScaling>, temperature: f32) -> Vec<f32> {
        let mut rows = match vector {
            Some(vector) => vector.logits(&self.logits),
            None => self.logits.clone(),
        };
        softmax(&mut rows, classes, temperature);
        rows
    }

    fn measure(
        &self,
        classes: &[String],
        temperature: f32,
        vector: &VectorScaling,
    ) -> anyhow::Result<Measured> {
        let scores = |vector, temperature| {
            let rows = self.probabilities(classes.len(), vector, temperature);
            let evaluation = evaluate(classes, &self.labels, &rows)?;
            let calibration = detail(classes, &self.labels, &rows, &Origins::default())?.calibration;
            anyhow::Ok(Scores {
                log_loss: evaluation.log_loss,
                calibration_error: calibration.expected_error,
                accuracy: evaluation.accuracy,
            })
        };
        Ok(Measured {
            photos: self.photos.clone(),
            images: self.labels.len(),
            uncalibrated: scores(None, 1.0)?,
            temperature: scores(None, temperature)?,
            vector: scores(Some(vector), 1.0)?,
        })
    }
}

fn table(report: &Report<'_>) -> String {
    let mut text = format!("{:<32} {:>9} {:>18} {:>9}\n", "", "log loss", "calibration error", "accuracy");
    let mut part = |measured: &Measured, what: &str| {
        let Measured { photos, images, uncalibrated, temperature, vector } = measured;
        let _ = writeln!(text, "{photos}, {images} photos{what}");
        let name = format!("temperature {:.3}", report.temperature);
        for (name, scores) in
            [("not calibrated", uncalibrated), (name.as_str(), temperature), ("vector scaling", vector)]
        {
            let Scores { log_loss, calibration_error, accuracy } = scores;
            let _ = writeln!(text, "  {name:<30} {log_loss:>9.4} {calibration_error:>18.4} {accuracy:>9.4}");
        }
    };
    part(&report.fitted, ", which both were fitted on");
    if let Some(other) = &report.other {
        part(other, "");
    }
    text.pop();
    text
}
