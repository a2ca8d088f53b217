//! What a random split promises that new places do not keep: the same recipe on both splits.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use pugmark_data::{Dataset, SplitBy, SplitOptions, StorageOptions, split_with};
use pugmark_eval::detail;
use pugmark_model::{Model, ModelCard, Prediction, RunFolder};
use pugmark_train::{Mode, TrainSettings, train};
use serde::Serialize;

use super::{data, in_words, own_data, sites_are_apart};
use crate::commands::{predictions, report, train::Progressing};
use crate::engine;
use crate::error::{ExitStatus, Interrupted, WrongCall};
use crate::interrupt;
use crate::printer::Printer;

/// What a run with one of the splits says of the photos it did not train on.
#[derive(Serialize)]
struct Side {
    run: PathBuf,
    /// How the split was made.
    split: String,
    part: &'static str,
    images: usize,
    accuracy: f64,
    /// 95 %; none where there are too few places.
    interval: Option<[f64; 2]>,
    log_loss: f64,
}

/// Both, and the random one less the other.
#[derive(Serialize)]
struct Gap {
    random: Side,
    apart: Side,
    accuracy: f64,
    log_loss: f64,
}

/// Measures the gap of `run`; trains the other one of the two where `may_train` and none is beside it.
pub(super) fn run(
    run: &Path,
    may_train: bool,
    json: bool,
    storage: &StorageOptions,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    // Without a slash at its end, and with a name.
    let run = &match run.file_name() {
        Some(_) => run.components().collect::<PathBuf>(),
        None => run.canonicalize().with_context(|| format!("cannot read {}", run.display()))?,
    };
    let folder = RunFolder::open(run)?;
    let card = Model::read(&folder.best())?.card;
    let random = is_random(&card);
    if !is_given(&card) && !random && !is_apart(&card.split_how) {
        return Err(WrongCall::new(format!(
            "the run's split keeps each {} in one part, not each place",
            card.split_how
        ))
        .with_hint("train with `--split site` or `--split folder`, and compare that run")
        .into());
    }
    if is_given(&card) {
        return Err(WrongCall::new("the run's split was given, by the data set or a file")
            .with_hint("train on the photos alone with `--split random` and with `--split site`, and compare those runs")
            .into());
    }
    let settings = TrainSettings::read(&folder.config())?;
    let other = match beside(run, &folder, &card, random)? {
        Some(other) => other,
        None => {
            let name = if random { "places-apart" } else { "random-split" };
            let mut out = run.as_os_str().to_owned();
            out.push(format!("-{name}"));
            let out = PathBuf::from(out);
            if !may_train {
                let what = if random { "whose places are apart" } else { "with a random split" };
                return Err(WrongCall::new(format!("there is no run {what} beside {}", run.display()))
                    .with_hint(format!("`--train` trains the same recipe once more, in {}", out.display()))
                    .into());
            }
            let split = if random { SplitBy::Auto } else { SplitBy::Random };
            let settings = TrainSettings { split, split_file: None, ..settings };
            trained(&settings, &out, storage, printer)?;
            out
        }
    };
    let (own, other) = (side(run, storage, printer)?, side(&other, storage, printer)?);
    let (random, apart) = if random { (own, other) } else { (other, own) };
    let gap = Gap {
        accuracy: random.accuracy - apart.accuracy,
        log_loss: random.log_loss - apart.log_loss,
        random,
        apart,
    };
    if json {
        printer.json(&gap)?
    } else {
        printer.result(&gap.text())?
    }
    Ok(ExitStatus::Done)
}

/// Whether no place is in two parts of such a split.
fn is_apart(how: &str) -> bool {
    sites_are_apart(how, None) == Some(true)
}

fn is_random(card: &ModelCard) -> bool {
    card.split_how.contains("random")
}

fn is_given(card: &ModelCard) -> bool {
    card.split_how.contains("given") || card.split_how == "file"
}

/// A run beside this one that differs from it in the split alone.
fn beside(run: &Path, own: &RunFolder, card: &ModelCard, random: bool) -> anyhow::Result<Option<PathBuf>> {
    let resolved = run.canonicalize().with_context(|| format!("cannot read {}", run.display()))?;
    let recipe = recipe(&own.config())?;
    let parent = resolved.parent().unwrap_or(&resolved);
    let entries = fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))?;
    let mut names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    names.sort();
    for name in names {
        // As the person names the run.
        let path = run.with_file_name(&name);
        let Ok(folder) = RunFolder::open(&path) else { continue };
        let Ok(Model { card: other, .. }) = Model::read(&folder.best()) else { continue };
        let wanted = if random { is_apart(&other.split_how) } else { is_random(&other) };
        if other.data_hash != card.data_hash
            || !wanted
            || is_given(&other)
            || self::recipe(&folder.config())? != recipe
        {
            continue;
        }
        if !folder.predictions().exists() {
            return Err(WrongCall::new(format!("{} is not trained to its end", path.display()))
                .with_hint(format!("`pugmark train --resume {}` goes on", path.display()))
                .into());
        }
        return Ok(Some(path));
    }
    Ok(None)
}

/// All settings of a run but those that neither change what is learnt nor are the split.
fn recipe(config: &Path) -> anyhow::Result<toml::Table> {
    let text = fs::read_to_string(config).with_context(|| format!("cannot read {}", config.display()))?;
    let mut table: toml::Table = text.parse().with_context(|| format!("cannot read {}", config.display()))?;
    for name in
        ["data", "split", "split_file", "threads", "loader_threads", "cache_mib", "checkpoint_minutes"]
    {
        table.remove(name);
    }
    Ok(table)
}

/// Trains the other run.
fn trained(
    settings: &TrainSettings,
    out: &Path,
    storage: &StorageOptions,
    printer: &Printer,
) -> anyhow::Result<()> {
    let dataset = read(settings, storage, printer)?;
    let split = split_with(&dataset, &settings.split_settings(), &SplitOptions::default())?;
    if settings.split != SplitBy::Random && !is_apart(&split.how) {
        return Err(WrongCall::new(
            "nothing is known of where the photos are from, so that no places can be kept apart",
        )
        .with_hint(
            "name the camera of each photo in a column `site`, or put its photos into a folder of their own",
        )
        .into());
    }
    printer.note(&format!("training the same recipe, {}, in {}", split.how, out.display()));
    let engine = engine::open(settings.device, settings.threads, settings.precision, printer)?;
    let stop: &AtomicBool = &*interrupt::stop_flag()?;
    let mut observer = Progressing::new(printer, stop);
    let outcome = train(&dataset, settings, out, Mode::New, &*engine, stop, &mut observer)?;
    drop(observer);
    if outcome.interrupted {
        return Err(Interrupted(
            "`pugmark train --resume` with that folder goes on; then the same call compares",
        )
        .into());
    }
    report::of_run(&RunFolder::open(out)?)
}

fn read(settings: &TrainSettings, storage: &StorageOptions, printer: &Printer) -> anyhow::Result<Dataset> {
    let data = settings.data.clone().ok_or_else(|| WrongCall::new("the run does not name its data"))?;
    let options = pugmark_data::ReadOptions {
        photos: settings.photos.clone(),
        skip_missing: settings.skip_missing,
        allow_empty_class: settings.allow_empty_class,
        crop: None,
    };
    data::read(&data, &options, storage, printer)
}

/// What a run's predictions say.
fn side(run: &Path, storage: &StorageOptions, printer: &Printer) -> anyhow::Result<Side> {
    let folder = RunFolder::open(run)?;
    let card = Model::read(&folder.best())?.card;
    let (part, rows) = predictions::read(&folder.predictions(), &card.classes)?;
    let subject = own_data(run, part, &card, storage, printer)?;
    let (mut ids, mut labels, mut probabilities) = (Vec::new(), Vec::new(), Vec::new());
    for Prediction { id, class, outcome, .. } in rows {
        if let (Some(class), Ok(row)) = (class, outcome) {
            ids.push(id);
            labels.push(class);
            probabilities.extend(row);
        }
    }
    let evaluation = pugmark_eval::evaluate(&card.classes, &labels, &probabilities)?;
    let (origins, _) = subject.origins(&card, &ids, &labels);
    let detail = detail(&card.classes, &labels, &probabilities, &origins)?;
    let interval = detail.intervals.map(|intervals| intervals.accuracy);
    Ok(Side {
        run: run.to_owned(),
        split: card.split_how,
        part: part.map_or("held-out", in_words),
        images: evaluation.images,
        accuracy: evaluation.accuracy,
        interval,
        log_loss: evaluation.log_loss,
    })
}

impl Gap {
    fn text(&self) -> String {
        let mut text = format!(
            "{:22} {:>6}  {:8}  {:16}  {:8}\n",
            "", "photos", "accuracy", "95 % interval", "log loss"
        );
        for (name, side) in [("random split", &self.random), ("places apart", &self.apart)] {
            let interval =
                side.interval.map_or_else(String::new, |[low, high]| format!("{low:.3} to {high:.3}"));
            // Writing into a String cannot fail.
            let _ = writeln!(
                text,
                "{name:22} {:>6}  {:>8.3}  {interval:16}  {:>8.3}",
                side.images, side.accuracy, side.log_loss
            );
        }
        let _ = writeln!(
            text,
            "{:22} {:>6}  {:>+8.3}  {:16}  {:>+8.3}",
            "leakage gap", "", self.accuracy, "", self.log_loss
        );
        let _ = write!(
            text,
            "\nOf photos held out at random, the model has seen the places and often the very burst.\n\
             New places are what the second line measures. The runs: {} ({}), {} ({}).\n",
            self.random.run.display(),
            self.random.split,
            self.apart.run.display(),
            self.apart.split
        );
        text
    }
}
