//! Reading a data set and telling what is odd about it.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::thread::available_parallelism;

use pugmark_data::prepare::{Fetching, fetch};
use pugmark_data::storage::is_url;
use pugmark_data::{Dataset, Limits, Note, PhotoFacts, ReadOptions, ScanSettings, StorageOptions, scan};
use pugmark_model::hub;

use crate::error::{Interrupted, WrongCall};
use crate::interrupt;
use crate::printer::Printer;

/// More names than this fill a screen and help nobody.
const NAMES: usize = 5;

/// Reads a data set; its notes go to stderr. A prepared folder in a bucket is fetched first.
pub(super) fn read(
    data: &Path,
    options: &ReadOptions,
    storage: &StorageOptions,
    printer: &Printer,
) -> anyhow::Result<Dataset> {
    let local = if is_url(data) { fetched(data, storage, printer)? } else { data.to_owned() };
    exists(&local, "data set")?;
    let mut dataset = pugmark_data::read(&local, options)?;
    dataset.root = data.to_owned();
    warn(&dataset, printer);
    Ok(dataset)
}

/// Reads the labels of a data set, without looking for photos; its notes go to stderr.
pub(super) fn read_labels(data: &Path, options: &ReadOptions, printer: &Printer) -> anyhow::Result<Dataset> {
    exists(data, "data set")?;
    let dataset = pugmark_data::read_labels(data, options)?;
    warn(&dataset, printer);
    Ok(dataset)
}

/// Tells what is odd about a data set.
pub(super) fn warn(dataset: &Dataset, printer: &Printer) {
    dataset.notes.iter().for_each(|note| printer.warning(&sentence(note)));
}

/// The folder in the cache that holds what is prepared at `url`.
pub(super) fn fetched(url: &Path, storage: &StorageOptions, printer: &Printer) -> anyhow::Result<PathBuf> {
    // Beside the weights.
    let cache = hub::cache_dir()?.with_file_name("prepared");
    let stop = interrupt::stop_flag()?;
    let mut bar = None;
    let folder = fetch(url, &cache, storage, &stop, &mut |Fetching { done, total }| {
        let bar = bar.get_or_insert_with(|| printer.progress("MiB fetched", total >> 20));
        bar.set_with_rate(done >> 20, "MiB");
    })?;
    match folder {
        Some(folder) if !stop.load(Ordering::Relaxed) => Ok(folder),
        _ => Err(Interrupted("the same call goes on fetching where this one ended").into()),
    }
}

/// One pass over the photos of a data set, in the order of its samples; none where they are in shards, as `prepare` has
/// left them.
pub(super) fn look(
    dataset: &Dataset,
    threads: usize,
    file_dates: bool,
    printer: &Printer,
) -> anyhow::Result<Option<Vec<PhotoFacts>>> {
    if dataset.samples.iter().any(|sample| sample.stored.is_some()) {
        printer.note(
            "the photos are in shards, and were looked at when they were prepared: only the labels are read",
        );
        return Ok(None);
    }
    let threads = match threads {
        0 => available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let paths: Vec<&Path> = dataset.samples.iter().map(|sample| sample.path.as_path()).collect();
    let stop = interrupt::stop_flag()?;
    let mut progress = printer.progress("photos", paths.len() as u64);
    let settings = ScanSettings { threads, limits: Limits::default(), file_dates };
    let facts = scan(&paths, &settings, &mut |done| {
        progress.set_with_rate(done.photos as u64, "photos");
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match facts {
        Some(facts) => Ok(Some(facts)),
        None => Err(Interrupted("nothing was written; the same call begins again").into()),
    }
}

/// A note as one line.
pub(super) fn sentence(note: &Note) -> String {
    match note.items.as_slice() {
        [] => note.text.clone(),
        items => format!("{}: {}", note.text, some(items)),
    }
}

/// The first names of a list and how many there are besides.
pub(super) fn some(names: &[String]) -> String {
    let more = match names.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names[..names.len().min(NAMES)].join(", ") + &more
}

/// Refuses a path that leads nowhere before anything is started.
pub(super) fn exists(path: &Path, what: &str) -> Result<(), WrongCall> {
    if path.exists() {
        return Ok(());
    }
    Err(WrongCall::new(format!("there is no {what} {}", path.display()))
        .with_hint("check the path; it is looked up from the folder the command runs in"))
}
