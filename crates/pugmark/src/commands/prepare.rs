//! From a data set to a prepared folder.

use std::path::Path;
use std::time::{Duration, Instant};

use pugmark_data::prepare::{self, Prepare, Progress};
use pugmark_data::storage::is_url;
use pugmark_data::{Form, Input, Limits, PrepareSettings, ReadOptions, Storage, StorageOptions, Store};
use serde::Serialize;

use super::data;
use crate::arguments::PrepareArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::memory;
use crate::printer::{Printer, duration};
use crate::settings::{ReadSettings, Sources};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    out: &'a Path,
    form: &'a Form,
    #[serde(flatten)]
    result: Prepare,
    seconds: f64,
    photos_per_sec: f64,
    peak_memory_bytes: Option<u64>,
}

pub(crate) fn run(arguments: &PrepareArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let ReadSettings { photos, skip_missing } = sources.resolve(&arguments.read)?.settings;
    let storage: StorageOptions = sources.resolve(&arguments.storage)?.settings;
    let settings = settings(arguments)?;
    if !is_url(&arguments.data) {
        data::exists(&arguments.data, "data set")?;
    }
    if let Some(data) = [Some(&arguments.data), photos.as_ref()]
        .into_iter()
        .flatten()
        .find(|data| is_below(&arguments.out, data))
    {
        let (out, data) = (arguments.out.display(), data.display());
        return Err(WrongCall::new(format!("{out} is in {data}, whose photos it is to hold"))
            .with_hint("give a folder beside it: it would be read as photos the next time")
            .into());
    }
    let out = Storage::open(&arguments.out, &storage)?;
    let options = ReadOptions { photos, skip_missing, allow_empty_class: true, crop: arguments.crop };
    let input = Input::open(&arguments.data, &options, &storage)?;
    data::warn(&input.dataset, printer);
    printer.note(&format!("{} photos to {out}: {}", input.dataset.samples.len(), settings.form));

    let stop = interrupt::stop_flag()?;
    let started = Instant::now();
    let mut bar = printer.progress("photos", input.dataset.samples.len() as u64);
    let result = prepare::prepare(&input, &out, &settings, &stop, &mut |progress| {
        bar.set(
            (progress.skipped + progress.others + progress.done) as u64,
            &message(progress, started.elapsed()),
        );
    })?;
    drop(bar);
    let seconds = started.elapsed().as_secs_f64();
    if arguments.json {
        let photos_per_sec = result.progress.done as f64 / seconds.max(1e-3);
        let (out, form) = (&arguments.out, &settings.form);
        let peak_memory_bytes = memory::peak();
        printer.json(&Report { out, form, result, seconds, photos_per_sec, peak_memory_bytes })?;
    } else {
        printer.result(&text(&arguments.out, &result))?;
    }
    if result.interrupted {
        printer.warning("interrupted: what is finished stays; the same call goes on from there");
        return Ok(ExitStatus::Interrupted);
    }
    let Progress { done, broken, skipped, others, .. } = result.progress;
    Ok(if broken == done && done > 0 && skipped + others == 0 {
        ExitStatus::Failed
    } else {
        ExitStatus::Done
    })
}

/// Whether `out` is `data` or a folder below it, where both are on a disk or both are not.
fn is_below(out: &Path, data: &Path) -> bool {
    if is_url(out) || is_url(data) {
        return out.starts_with(data);
    }
    // What is not there yet lies in the nearest folder that is.
    let there = |path: &Path| path.ancestors().find_map(|path| path.canonicalize().ok());
    let (Ok(out), Ok(data)) = (std::path::absolute(out), data.canonicalize()) else { return false };
    there(&out).is_some_and(|there| there.starts_with(&data))
}

fn settings(arguments: &PrepareArguments) -> Result<PrepareSettings, WrongCall> {
    let (store, quality) = match (arguments.store.as_str(), arguments.quality) {
        ("raw", Some(_)) => {
            return Err(WrongCall::new("--quality is for JPEG, and --store is raw")
                .with_hint("leave one of the two out"));
        }
        ("raw", None) => (Store::Raw, None),
        (_, quality) => (Store::Jpeg, Some(quality.unwrap_or(95))),
    };
    let threads = match arguments.threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Ok(PrepareSettings {
        form: Form { size: arguments.size.0, store, quality, crop: arguments.crop },
        shards: arguments.shards.map(|shards| shards as usize),
        machine: arguments.shard,
        threads,
        limits: Limits::default(),
        overwrite: arguments.overwrite,
    })
}

/// Speed, time left and memory.
fn message(progress: &Progress, elapsed: Duration) -> String {
    let rate = |amount: f64| amount / elapsed.as_secs_f64().max(1e-3);
    let photos = rate(progress.done as f64);
    let left = progress.photos - progress.others - progress.skipped - progress.done;
    let left = Duration::from_secs_f64(left as f64 / photos.max(1e-3));
    let memory = memory::peak().map_or_else(String::new, |bytes| format!(", {} MiB memory", bytes >> 20));
    let megabytes = rate(progress.bytes_read as f64 / 1e6);
    format!("{photos:.1} photos/s, {megabytes:.1} MB/s, {} left{memory}", duration(left))
}

fn text(out: &Path, result: &Prepare) -> String {
    let Progress { done, skipped, others, broken, truncated, bytes_read, bytes_written, .. } =
        result.progress;
    let mut lines = vec![format!(
        "{done} photos done, {skipped} were done before; {broken} cannot be read, {truncated} are cut off"
    )];
    if done > 0 {
        let megabytes = |bytes: u64| bytes as f64 / 1e6;
        lines.push(format!(
            "{:.1} MB read, {:.1} MB written in {} of {} shards",
            megabytes(bytes_read),
            megabytes(bytes_written),
            result.progress.shards_written,
            result.shards
        ));
    }
    if result.complete {
        lines.push(format!("next   pugmark train {}", out.display()));
    } else if !result.interrupted {
        lines.push(format!(
            "{others} photos are the other machines'; the last one to end completes the folder"
        ));
    }
    lines.join("\n")
}
