//! What reading and decoding photos costs a training.

use std::path::Path;
use std::time::Instant;

use pugmark_data::{Augment, Item, Limits, Loader, LoaderSettings, Recipe, photos_below};
use pugmark_engine::Engine;
use pugmark_graph::Architecture;
use pugmark_model::loader_threads;
use serde::Serialize;

use super::{Plan, Resident, median};
use crate::arguments::BenchArguments;
use crate::commands::data;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;

#[derive(Serialize)]
struct Figures {
    version: &'static str,
    model: Architecture,
    engine: String,
    batch: u32,
    image_size: u32,
    /// Photos in a turn, each read and decoded anew.
    photos: usize,
    /// Medians of the turns.
    photos_images_per_sec: f64,
    memory_images_per_sec: f64,
    /// Median of the turns' quotients.
    share: f64,
    /// Share of the turns with photos that went into waiting for them, median.
    waiting: f64,
    rounds: Vec<Turn>,
}

#[derive(Serialize)]
struct Turn {
    photos_images_per_sec: f64,
    memory_images_per_sec: f64,
    waiting: f64,
}

/// Trains in turn on photos from files, beginning each time with none prepared, and on a batch in memory.
pub(super) fn run(
    arguments: &BenchArguments,
    model: Architecture,
    engine: &dyn Engine,
    folder: &Path,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    data::exists(folder, "folder")?;
    let (batch, steps) = (arguments.batch as usize, arguments.steps as usize);
    let mut files = photos_below(folder)?;
    files.truncate(batch * steps);
    // Only whole batches: a smaller one has another speed.
    files.truncate(files.len() / batch * batch);
    if files.is_empty() {
        return Err(WrongCall::new(format!("{} holds less than {batch} photos", folder.display()))
            .with_hint("name a folder with more photos, or pass a smaller --batch")
            .into());
    }
    let item = |(index, path): (usize, _)| Item {
        id: index.to_string(),
        path,
        class: Some(index % arguments.classes as usize),
        stored: None,
        crop: None,
    };
    let items: Vec<Item> = files.into_iter().enumerate().map(item).collect();
    let photos = items.len();
    let settings = LoaderSettings {
        batch_size: batch,
        threads: loader_threads(arguments.loader_threads as usize),
        seed: 0,
        shuffle: true,
        balanced: false,
        recipe: Recipe::imagenet(arguments.image_size as usize),
        augment: Augment { flip: true, ..Augment::default() },
        limits: Limits::default(),
        cache_bytes: 0,
    };
    let loader = Loader::new(items, settings);
    let mut plan = Plan::new(arguments, model, engine)?;
    let resident = Resident::new(arguments);
    for number in 0..arguments.warmup {
        plan.step(&resident.pixels, &resident.labels, number.into())?;
    }

    let mut progress = printer.progress("turns", arguments.rounds.into());
    let mut rounds = Vec::new();
    for round in 0..arguments.rounds {
        let (start, mut clock) = (Instant::now(), Instant::now());
        let mut waited = 0.0;
        for batch in loader.epoch(round.into(), 0) {
            waited += clock.elapsed().as_secs_f64();
            if let Some((index, reason)) = batch.broken.first() {
                anyhow::bail!("photo {index} below {} can't be decoded: {reason}", folder.display());
            }
            plan.step(&batch.pixels, &batch.labels, round.into())?;
            clock = Instant::now();
        }
        let from_files = start.elapsed().as_secs_f64();
        let start = Instant::now();
        for _ in 0..photos / batch {
            plan.step(&resident.pixels, &resident.labels, round.into())?;
        }
        rounds.push(Turn {
            photos_images_per_sec: photos as f64 / from_files,
            memory_images_per_sec: photos as f64 / start.elapsed().as_secs_f64(),
            waiting: waited / from_files,
        });
        progress.set_with_rate(u64::from(round) + 1, "turns");
    }
    drop(progress);
    let of = |value: fn(&Turn) -> f64| median(&rounds.iter().map(value).collect::<Vec<_>>());
    let figures = Figures {
        version: env!("CARGO_PKG_VERSION"),
        model,
        engine: engine.name(),
        batch: arguments.batch,
        image_size: arguments.image_size,
        photos,
        photos_images_per_sec: of(|turn| turn.photos_images_per_sec),
        memory_images_per_sec: of(|turn| turn.memory_images_per_sec),
        share: of(|turn| turn.photos_images_per_sec / turn.memory_images_per_sec),
        waiting: of(|turn| turn.waiting),
        rounds,
    };
    if arguments.json {
        printer.json(&figures)?;
    } else {
        printer.result(&format!(
            "{model} train on {}, batch {batch} at {} px: {:.1} images/s from {photos} photos, {:.1} from memory; \
             share {:.3}, waiting for photos {:.1} % (medians of {} turns)",
            figures.engine,
            arguments.image_size,
            figures.photos_images_per_sec,
            figures.memory_images_per_sec,
            figures.share,
            figures.waiting * 100.0,
            figures.rounds.len(),
        ))?;
    }
    Ok(ExitStatus::Done)
}
