//! The demo: what a random split promises, and what new sites give.

mod animals;
mod camera;
mod canvas;
mod coats;
mod progress;
mod scene;
mod world;

use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use pugmark_data::{Dataset, Item, ReadOptions, SplitBy};
use pugmark_engine::{Cpu, PrecisionChoice};
use pugmark_eval::{Evaluation, evaluate};
use pugmark_graph::Architecture;
use pugmark_model::{Classifier, RunFolder, write_atomic};
use pugmark_train::{Mode, TrainSettings, train};

use crate::commands::{predictions, report as pages};
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::printer::{Printer, duration};
use progress::{Epochs, watch};
use world::write_world;

pub(crate) use world::WorldSettings;

/// The first line of a demo's README.txt; by it a later demo knows the folder.
const MARK: &str = "This folder was made by `pugmark demo`.";
const README: &str = "README.txt";

/// What the demo does.
pub(crate) struct DemoSettings {
    /// Where it writes.
    pub(crate) out: PathBuf,
    /// Draw the world again even if it is there.
    pub(crate) overwrite: bool,
    /// Draw the world and train nothing.
    pub(crate) world_only: bool,
    /// The photos.
    pub(crate) world: WorldSettings,
    /// The training; its split is set to both kinds in turn.
    pub(crate) training: TrainSettings,
}

impl DemoSettings {
    /// The demo as it is meant: about two minutes on two cores.
    pub(crate) fn new(out: PathBuf, overwrite: bool) -> Self {
        let training = TrainSettings {
            model: Architecture::SimpleCnn,
            image_size: 64,
            epochs: 12,
            batch_size: 16,
            // Chosen with the world, by results: docs/decisions/0003.
            learning_rate: 5e-4,
            flip: true,
            // The same figures on every machine, to rounding.
            precision: PrecisionChoice::F32,
            ..TrainSettings::default()
        };
        Self { out, overwrite, world_only: false, world: WorldSettings::default(), training }
    }
}

/// One split: what its validation part promised, and what new sites gave.
struct Comparison {
    name: &'static str,
    promised: Evaluation,
    gave: Evaluation,
}

/// Draws the world, trains on both splits, tests both on other sites and prints the difference.
pub(crate) fn run(settings: &DemoSettings, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let started = Instant::now();
    let Some(comparisons) = compare(settings, printer, &*interrupt::stop_flag()?)? else {
        printer.note("interrupted; the next demo in this folder starts from the photos that are there");
        return Ok(ExitStatus::Interrupted);
    };
    if settings.world_only {
        let world = settings.out.join("world");
        printer.result(&format!("photos  {}", world.display()))?;
        return Ok(ExitStatus::Done);
    }
    printer.result(&report(settings, &comparisons))?;
    printer.note(&format!("\nThe demo took {}.", duration(started.elapsed())));
    Ok(ExitStatus::Done)
}

/// The work without the words; none when `stop` was set.
fn compare(
    settings: &DemoSettings,
    printer: &Printer,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Vec<Comparison>>> {
    claim(&settings.out)?;
    let world = settings.out.join("world");
    let drawn = fs::read_to_string(world.join(README)).ok();
    if settings.overwrite || drawn.is_none() {
        // What an interrupted or earlier demo left; `claim` has made sure that it is a demo's.
        if world.exists() {
            fs::remove_dir_all(&world).with_context(|| format!("cannot delete {}", world.display()))?;
        }
        let photos = settings.world.photos.iter().sum();
        let drawn =
            watch(printer, "drawing photos", photos, stop, |on| write_world(&world, &settings.world, on));
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        drawn.with_context(|| format!("cannot write to {}", world.display()))?;
    } else if drawn.is_some_and(|text| text.contains(&settings.world.to_string())) {
        printer.note(&format!("the photos of the earlier demo are used: {}", world.display()));
    } else {
        return Err(WrongCall::new(format!(
            "{} holds another world than the one asked for",
            world.display()
        ))
        .with_hint("`--overwrite` draws it anew, another `--out` keeps it")
        .into());
    }
    if settings.world_only {
        return Ok(Some(Vec::new()));
    }

    let read = |name: &str| pugmark_data::read(&world.join(name), &ReadOptions::default());
    let (data, unseen) = (read("train_labels.csv")?, read("test_labels.csv")?);
    let engine = Cpu::new(settings.training.threads)?;
    let mut comparisons = Vec::new();
    for (name, split) in [("random split", SplitBy::Random), ("split by site", SplitBy::Site)] {
        let run = settings.out.join(if split == SplitBy::Site { "site-split" } else { "random-split" });
        let training = TrainSettings { split, ..settings.training.clone() };
        let mut epochs = Epochs::new(printer, name, training.epochs);
        let outcome = train(&data, &training, &run, Mode::Overwrite, &engine, stop, &mut epochs)?;
        drop(epochs);
        if outcome.interrupted {
            return Ok(None);
        }
        let folder = RunFolder::open(&run)?;
        // What the best model, calibrated, says of its validation part.
        let (_, rows) = predictions::read(&folder.predictions(), &data.classes)?;
        let promised = predictions::evaluation(&data.classes, &rows)?;
        pages::of_run(&folder)?;
        let mut classifier = Classifier::open(&run, &engine, training.batch_size)?;
        let Some(gave) = test(&mut classifier, &unseen, stop)? else { return Ok(None) };
        comparisons.push(Comparison { name, promised, gave });
    }
    Ok(Some(comparisons))
}

/// Makes the folder the demo's own, or refuses it.
fn claim(out: &Path) -> anyhow::Result<()> {
    let readme = out.join(README);
    let ours = fs::read_to_string(&readme).is_ok_and(|text| text.starts_with(MARK));
    let taken = out.is_file() || fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some());
    if taken && !ours {
        return Err(WrongCall::new(format!("{} exists and is not an earlier demo's", out.display()))
            .with_hint("name another folder with `--out FOLDER`")
            .into());
    }
    let text = format!(
        "{MARK}\n\n\
         world/         photos and labels; its README.txt tells more\n\
         random-split/  the run whose validation photos were drawn at random\n\
         site-split/    the run whose validation photos come from sites of their own\n"
    );
    fs::create_dir_all(out)
        .and_then(|()| write_atomic(&readme, text.as_bytes()))
        .with_context(|| format!("cannot write to {}", out.display()))
}

/// Evaluates a model on sites it has never seen; none when interrupted. Photos that cannot be decoded do not count.
fn test(
    classifier: &mut Classifier,
    unseen: &Dataset,
    stop: &AtomicBool,
) -> anyhow::Result<Option<Evaluation>> {
    let items = unseen.samples.iter().map(Item::from);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (mut labels, mut probabilities) = (Vec::new(), Vec::new());
    classifier.predict(items.collect(), threads, &mut |prediction| {
        if let (Ok(row), Some(class)) = (prediction.outcome, prediction.class) {
            labels.push(class);
            probabilities.extend(row);
        }
        if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    if stop.load(Ordering::Relaxed) {
        return Ok(None);
    }
    Ok(Some(evaluate(&unseen.classes, &labels, &probabilities)?))
}

/// The table, what it means, and what to do next.
fn report(settings: &DemoSettings, comparisons: &[Comparison]) -> String {
    let [_, new_sites] = settings.world.sites;
    let out = settings.out.display();
    let new_sites = format!("{new_sites} new sites gave");
    let mut text = format!("\n{:18} {:<21}    {new_sites}\n", "", "validation promised");
    let column = "accuracy  log loss";
    let _ = writeln!(text, "{:18} {column}     {column}", "");
    // Writing into a String cannot fail.
    for Comparison { name, promised, gave } in comparisons {
        let _ = writeln!(
            text,
            "{name:18} {:>8.3}  {:>8.3}     {:>8.3}  {:>8.3}",
            promised.accuracy, promised.log_loss, gave.accuracy, gave.log_loss
        );
    }
    if let Some(Comparison { gave, .. }) = comparisons.first() {
        let floors = gave.floors;
        let _ = writeln!(text, "{:18} {:>31.3}", "most common class", floors.majority_accuracy);
        let uniform = format!("1/{} for each class", gave.per_class.len());
        let _ = writeln!(text, "{uniform:18} {:>41.3}", floors.uniform_log_loss);
    }
    let _ = write!(
        text,
        "\n\
         The random split checked the model on sites, and on bursts of photos, that it\n\
         had trained on. The split by site checked it on other sites, as yours will be:\n\
         a rougher number, and the honest one.\n\
         \n\
         photos  {out}/world\n\
         runs    {out}/random-split\n\
        \x20       {out}/site-split\n\
         \n\
         next    pugmark eval {out}/site-split {out}/world/test_labels.csv\n\
        \x20       pugmark predict {out}/site-split {out}/world/test_features --out predictions.csv\n\
        \x20       pugmark train FOLDER-WITH-YOUR-PHOTOS\n"
    );
    text
}

#[cfg(test)]
mod tests;
