//! Photos in, classes out.

mod rows;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::{Item, StorageOptions, photos_below};
use pugmark_model::write_atomic_with;

use super::data;
use super::ensemble::Ensemble;
use crate::arguments::PredictArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::memory;
use crate::printer::Printer;
use crate::settings::{InferenceSettings, Sources};

/// How many photos were done, and how.
#[derive(Default)]
struct Count {
    done: usize,
    broken: usize,
    truncated: usize,
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
    let items = items(&arguments.sources)?;
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
    let mut work = |line: &mut dyn FnMut(&str) -> anyhow::Result<()>, form: rows::Form| {
        let mut count = Count::default();
        ensemble.predict(&items, threads, &stop, printer, &mut |prediction| {
            line(&form.row(&classes, &prediction)?)?;
            count.done += 1;
            count.broken += usize::from(prediction.outcome.is_err());
            count.truncated += usize::from(prediction.truncated);
            Ok(())
        })?;
        anyhow::Ok(count)
    };

    let one = photos == 1 && arguments.sources[0].is_file();
    let stdout = &mut |line: &str| printer.result(line);
    let count = match &arguments.out {
        None if arguments.json => work(stdout, rows::Form::Json)?,
        None if one => work(stdout, rows::Form::Top)?,
        None => {
            stdout(&rows::header(&classes)?)?;
            work(stdout, rows::Form::Csv)?
        }
        Some(out) => {
            let mut count = Count::default();
            write_atomic_with(out, |file| {
                let mut line = |line: &str| Ok(writeln!(file, "{line}")?);
                line(&rows::header(&classes)?)?;
                count = work(&mut line, rows::Form::Csv)?;
                anyhow::Ok(())
            })
            .map_err(|error| match error.is::<io::Error>() {
                true => error.context(format!("cannot write {}", out.display())),
                false => error,
            })?;
            count
        }
    };
    Ok(end(&count, photos, arguments.out.as_deref(), one, &stop, printer))
}

/// Says what came of it.
fn end(
    count: &Count,
    photos: usize,
    out: Option<&Path>,
    one: bool,
    stop: &AtomicBool,
    printer: &Printer,
) -> ExitStatus {
    let Count { done, broken, truncated } = *count;
    if done < photos && stop.load(Ordering::Relaxed) {
        let out = out.map_or_else(String::new, |out| format!(" and in {}", out.display()));
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

/// Every photo that `sources` name, in their order. Below one folder, the id is the path below it; in a prepared one it is
/// what it was there; otherwise the path.
fn items(sources: &[PathBuf]) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    for source in sources {
        data::exists(source, "photo or folder")?;
        if let Some(prepared) = pugmark_data::read_prepared(source)? {
            items.extend(prepared.samples.iter().map(|sample| Item { class: None, ..Item::from(sample) }));
            continue;
        }
        let root = if sources.len() == 1 && source.is_dir() { source.as_path() } else { Path::new("") };
        items.extend(photos_below(source)?.into_iter().map(|path| {
            let below = path.strip_prefix(root).unwrap_or(&path);
            Item { id: below.to_string_lossy().replace('\\', "/"), path, stored: None, class: None }
        }));
    }
    Ok(items)
}
