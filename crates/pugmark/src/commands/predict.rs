//! Photos in, classes out.

mod boxes;
mod burst;
mod files;
mod journal;
mod outputs;
mod rows;
mod sort;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::StorageOptions;
use pugmark_model::{Look, Prediction};

use super::ensemble::Ensemble;
use super::predictions;
use super::{data, photos};
use crate::arguments::PredictArguments;
use crate::error::ExitStatus;
use crate::interrupt;
use crate::memory;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, Sources};
use boxes::Boxes;
use files::{Asked, Files};
use journal::Journal;

/// What a journal answers of these photos, for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn answered(
    out: &Path,
    who: &str,
    items: &[pugmark_data::Item],
    classes: &[String],
) -> anyhow::Result<Vec<String>> {
    let journal = Journal::open(out, who, classes.len(), items, false, false)?;
    let mut rows = Vec::new();
    journal.predictions(items, &mut |prediction| {
        rows.push(rows::Form::Json { top: None, set: None }.row(classes, &prediction)?);
        Ok(())
    })?;
    Ok(rows)
}

/// How many photos were done, and how.
#[derive(Clone, Copy, Default)]
struct Count {
    done: usize,
    broken: usize,
    truncated: usize,
}

impl Count {
    fn add(&mut self, prediction: &Prediction) {
        self.done += 1;
        self.broken += usize::from(prediction.outcome.is_err());
        self.truncated += usize::from(prediction.truncated);
    }
}

pub(crate) fn run(arguments: &PredictArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let inference: InferenceSettings = sources.resolve(&arguments.inference)?.settings;
    let storage: StorageOptions = sources.resolve(&arguments.storage)?.settings;
    data::exists(&arguments.run, "run or model")?;
    let files = Files::new(arguments)?;
    let photos::Found { items, root } = photos::find(&arguments.sources, &storage, printer)?;
    let (items, boxes) = match Boxes::new(&arguments.boxes, &items, printer)? {
        Some((boxes, crops)) => (crops, Some(boxes)),
        None => (items, None),
    };
    let photos = items.len();
    let engine = inference.engine(printer)?;
    // Weights are fitted on more photos than there may be here.
    let most = if arguments.ensemble.fit_weights { usize::MAX } else { photos.max(1) };
    let mut ensemble =
        Ensemble::open(&arguments.run, &arguments.ensemble, &*engine, inference.batch_size.min(most))?;
    let classes = ensemble.card().classes;
    let threshold = |coverage| {
        predictions::set_threshold(&arguments.run, &classes, coverage).map(|(threshold, _)| threshold)
    };
    let set = arguments.sets.map(threshold).transpose()?;
    let stop = interrupt::stop_flag()?;
    let look =
        Look { threads: inference.loader_threads(), mirrored: arguments.ensemble.mirrored, digests: false };
    if arguments.ensemble.fit_weights {
        ensemble.fit(&storage, look, &stop, printer)?;
    }
    if let Some(files) = files {
        let (who, model) = (ensemble.who(&*engine)?, ensemble.name());
        let answer = &mut |rest: files::Rest<'_>, on: files::OnPrediction<'_>| {
            ensemble.predict(rest, Look { digests: true, ..look }, &stop, printer, on)
        };
        let boxes = boxes.as_ref();
        let asked =
            Asked { items: &items, boxes, root: &root, classes: &classes, who: &who, model: &model, set };
        return files.write(&asked, answer, &stop, printer);
    }
    let mut count = Count::default();
    let mut work = |form: rows::Form| {
        ensemble.predict(&mut items.iter().cloned(), look, &stop, printer, &mut |prediction| {
            count.add(&prediction);
            printer.result(&form.row(&classes, &prediction)?)
        })
    };
    let one = photos == 1 && arguments.sources[0].is_file();
    match (arguments.json, one) {
        (true, _) => work(rows::Form::Json { top: arguments.top, set })?,
        (false, true) => work(rows::Form::Top { number: arguments.top.unwrap_or(rows::TOP), set })?,
        (false, false) => {
            printer.result(&rows::header(&classes)?)?;
            work(rows::Form::Csv)?;
        }
    }
    Ok(end(count, (photos, "photos"), None, one, &stop, printer))
}

/// Says what came of it.
fn end(
    count: Count,
    (photos, what): (usize, &str),
    out: Option<&Path>,
    one: bool,
    stop: &AtomicBool,
    printer: &Printer,
) -> ExitStatus {
    let Count { done, broken, truncated } = count;
    if done < photos && stop.load(Ordering::Relaxed) {
        let out = out.map_or_else(String::new, |out| {
            format!(" and in {}; the same command goes on", Journal::path(out).display())
        });
        printer.warning(&format!("interrupted: {done} of {photos} {what} are done{out}"));
        return ExitStatus::Interrupted;
    }
    if !one {
        let out = out.map_or_else(String::new, |out| format!(", written to {}", out.display()));
        let memory =
            memory::peak().map_or_else(String::new, |bytes| format!("; peak memory {} MiB", bytes >> 20));
        printer
            .note(&format!("{done} {what}{out}: {broken} cannot be read, {truncated} are cut off{memory}"));
    }
    if broken == done && done > 0 { ExitStatus::Failed } else { ExitStatus::Done }
}
