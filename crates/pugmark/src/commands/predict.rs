//! Photos in, classes out.

mod journal;
mod rows;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use pugmark_data::{Item, StorageOptions};
use pugmark_model::write_atomic_with;

use super::ensemble::Ensemble;
use super::{data, photos};
use crate::arguments::PredictArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::memory;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, Sources};
use journal::Journal;

/// How many photos were done, and how.
#[derive(Clone, Copy, Default)]
struct Count {
    done: usize,
    broken: usize,
    truncated: usize,
}

impl Count {
    fn add(&mut self, broken: bool, truncated: bool) {
        self.done += 1;
        self.broken += usize::from(broken);
        self.truncated += usize::from(truncated);
    }
}

pub(crate) fn run(arguments: &PredictArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let inference: InferenceSettings = sources.resolve(&arguments.inference)?.settings;
    let storage: StorageOptions = sources.resolve(&arguments.storage)?.settings;
    data::exists(&arguments.run, "run or model")?;
    if let Some(out) = &arguments.out
        && out.exists()
        && !arguments.overwrite
    {
        return Err(WrongCall::new(format!("{} exists", out.display()))
            .with_hint("`--overwrite` replaces it, another `--out` keeps it")
            .into());
    }
    let items = photos::items(&arguments.sources)?;
    let photos = items.len();
    let engine = inference.engine()?;
    // Weights are fitted on more photos than there may be here.
    let most = if arguments.ensemble.fit_weights { usize::MAX } else { photos.max(1) };
    let mut ensemble =
        Ensemble::open(&arguments.run, &arguments.ensemble, &engine, inference.batch_size.min(most))?;
    let classes = ensemble.card().classes;
    let stop = interrupt::stop_flag()?;
    let threads = inference.loader_threads();
    if arguments.ensemble.fit_weights {
        ensemble.fit(&storage, threads, &stop, printer)?;
    }
    if let Some(out) = &arguments.out {
        let who = ensemble.who(inference.precision())?;
        let mut journal = Journal::open(out, &who, &items, arguments.overwrite)?;
        let missing = journal.missing();
        if missing.len() < photos {
            printer.note(&format!("{} of {photos} photos are done already", photos - missing.len()));
        }
        let mut next = missing.iter().copied().peekable();
        let is_missing = |(place, item)| next.next_if_eq(&place).is_some().then_some(item);
        let rest: Vec<Item> = items.into_iter().enumerate().filter_map(is_missing).collect();
        let mut places = missing.into_iter();
        ensemble.predict(&rest, threads, &stop, printer, &mut |prediction| {
            let row = rows::Form::Csv.row(&classes, &prediction)?;
            let Some(place) = places.next() else { return Ok(()) };
            journal.add(place, &row, &prediction)
        })?;
        let count = journal.count;
        if count.done == photos {
            let saved = write_atomic_with(out, |file| {
                writeln!(file, "{}", rows::header(&classes)?)?;
                journal.rows(file)
            });
            saved.with_context(|| format!("cannot write {}", out.display()))?;
            journal.remove()?;
        }
        return Ok(end(count, photos, Some(out), false, &stop, printer));
    }
    let mut work = |line: &mut dyn FnMut(&str) -> anyhow::Result<()>, form: rows::Form| {
        let mut count = Count::default();
        ensemble.predict(&items, threads, &stop, printer, &mut |prediction| {
            line(&form.row(&classes, &prediction)?)?;
            count.add(prediction.outcome.is_err(), prediction.truncated);
            Ok(())
        })?;
        anyhow::Ok(count)
    };

    let one = photos == 1 && arguments.sources[0].is_file();
    let stdout = &mut |line: &str| printer.result(line);
    let count = match (arguments.json, one) {
        (true, _) => work(stdout, rows::Form::Json)?,
        (false, true) => work(stdout, rows::Form::Top)?,
        (false, false) => {
            stdout(&rows::header(&classes)?)?;
            work(stdout, rows::Form::Csv)?
        }
    };
    Ok(end(count, photos, None, one, &stop, printer))
}

/// Says what came of it.
fn end(
    count: Count,
    photos: usize,
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
        printer.warning(&format!("interrupted: {done} of {photos} photos are done{out}"));
        return ExitStatus::Interrupted;
    }
    if !one {
        let out = out.map_or_else(String::new, |out| format!(", written to {}", out.display()));
        let memory =
            memory::peak().map_or_else(String::new, |bytes| format!("; peak memory {} MiB", bytes >> 20));
        printer
            .note(&format!("{done} photos{out}: {broken} cannot be read, {truncated} are cut off{memory}"));
    }
    if broken == done { ExitStatus::Failed } else { ExitStatus::Done }
}
