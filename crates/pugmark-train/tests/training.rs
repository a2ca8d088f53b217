//! Whole trainings: what they learn and what they leave.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{CLASSES, Watch, World, result, settings};
use pugmark_data::Part;
use pugmark_engine::Cpu;
use pugmark_model::{Classifier, Model, RunFolder};
use pugmark_train::{BestBy, ClassWeights, Mode, OptimiserKind, Schedule, TrainSettings};

/// The cells of a CSV, header first.
fn csv(path: PathBuf) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
    reader.records().map(|row| row.unwrap().iter().map(String::from).collect()).collect()
}

#[test]
fn learns_and_leaves_a_whole_run() {
    let world = World::new(20);
    let data = world.read();
    let out = world.out("run");
    let settings = TrainSettings { epochs: 4, val: 0.2, test: 0.2, ..settings() };
    let mut watch = Watch::quiet();
    let outcome = watch.train(&data, &settings, &out, Mode::New).unwrap();
    assert_eq!((outcome.epochs_done, outcome.interrupted), (4, false));
    let best = outcome.best.unwrap();
    let test = outcome.test.unwrap();
    // Chance is a third; tinted noise is easy.
    assert!(best.val_acc > 0.8 && test.accuracy > 0.8, "val {}, test {}", best.val_acc, test.accuracy);
    assert!(
        watch.heard("Start { engine: \"cpu") && watch.heard("Validating { epoch: 4, done: 12, total: 12 }")
    );

    let run = RunFolder::open(&out).unwrap();
    let repeated = TrainSettings { data: Some(world.photos()), ..settings };
    assert_eq!(TrainSettings::read(&run.config()).unwrap(), repeated, "config.toml repeats the run");
    let metrics = csv(run.metrics_csv());
    assert_eq!(metrics.len(), 5);
    let json: serde_json::Value = serde_json::from_slice(&fs::read(run.metrics_json()).unwrap()).unwrap();
    assert_eq!(json[3]["epoch"], 4);
    assert_eq!(json[0]["learning_rate"], 0.003, "the decimal of the settings");
    for line in fs::read_to_string(run.log()).unwrap().lines() {
        let _: serde_json::Value = serde_json::from_str(line).unwrap();
    }
    assert_eq!(csv(run.broken()).len(), 1, "nothing is broken");

    let model = Model::read(&run.best()).unwrap();
    assert_eq!((model.card.epoch, &model.card.classes[..]), (best.epoch, &CLASSES.map(String::from)[..]));
    assert_eq!(model.card.metrics["val_acc"], best.val_acc);
    assert_eq!((model.card.data_hash, model.card.split_how.as_str()), (data.hash(), "random"));
    assert_eq!(Model::read(&run.last()).unwrap().card.epoch, 4);

    // predictions.csv: the best model on the test part, one row a photo.
    let rows = csv(run.predictions());
    assert_eq!(rows[0], ["id", "split", "class", "predicted", "blue", "green", "red", "truncated", "reason"]);
    assert_eq!(rows.len() - 1, test.images);
    let right = rows[1..].iter().filter(|row| row[2] == row[3]).count();
    assert_eq!(right as f64 / test.images as f64, test.accuracy);
    for row in &rows[1..] {
        assert_eq!([&row[1], &row[7], &row[8]], ["test", "false", ""]);
        assert!(row[0].starts_with(&row[2]), "the true class is the folder");
        let sum: f64 = row[4..7].iter().map(|p| p.parse::<f64>().unwrap()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "three f32 that sum to 1");
    }
}

#[test]
fn validation_is_that_of_the_saved_model() {
    let world = World::new(8);
    let data = world.read();
    let out = world.out("run");
    let outcome = Watch::quiet().train(&data, &settings(), &out, Mode::New).unwrap();
    assert_eq!(outcome.test, None);
    let best = outcome.best.unwrap();
    // Without a test part the validation part is predicted: the same photos that the metrics are of.
    let rows = csv(out.join("predictions.csv"));
    let (mut loss, mut right) = (0.0, 0);
    for row in &rows[1..] {
        assert_eq!(row[1], "val");
        let class = CLASSES.iter().position(|name| *name == row[2]).unwrap();
        loss -= row[4 + class].parse::<f64>().unwrap().ln();
        right += usize::from(row[2] == row[3]);
    }
    let count = (rows.len() - 1) as f64;
    // Probabilities are rounded to f32, logits to f32 by another batch.
    assert!((loss / count - best.val_loss).abs() < 1e-5, "{} {}", loss / count, best.val_loss);
    assert_eq!(right as f64 / count, best.val_acc);
}

#[test]
fn loader_threads_and_cache_change_nothing() {
    let world = World::new(8);
    let data = world.read();
    let base = TrainSettings { flip: true, rotation: 10.0, jitter: 0.2, ..settings() };
    let mut results = [(1, 0), (4, 0), (1, 64), (4, 64)].map(|(loader_threads, cache_mib)| {
        let out = world.out(&format!("run-{loader_threads}-{cache_mib}"));
        let settings = TrainSettings { loader_threads, cache_mib, ..base.clone() };
        Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap();
        result(&out)
    });
    let [first, others @ ..] = &mut results;
    for other in others {
        assert!(first == other);
    }
    let settings = TrainSettings { seed: 4, ..base };
    Watch::quiet().train(&data, &settings, &world.out("seed"), Mode::New).unwrap();
    assert!(*first != result(&world.out("seed")), "the seed matters");
}

#[test]
fn every_setting_trains() {
    let world = World::new(6);
    // One photo less makes the classes uneven.
    fs::remove_file(world.photos().join("red/000.png")).unwrap();
    let data = world.read();
    let base = TrainSettings { epochs: 1, ..settings() };
    let cases = [
        TrainSettings { optimiser: OptimiserKind::Sgd, learning_rate: 0.05, ..base.clone() },
        TrainSettings { optimiser: OptimiserKind::Sgd, momentum: 0.0, ..base.clone() },
        TrainSettings { schedule: Schedule::Plateau, best_by: BestBy::LogLoss, ..base.clone() },
        TrainSettings { class_weights: ClassWeights::Balanced, label_smoothing: 0.1, ..base.clone() },
        TrainSettings { grayscale: true, ..base.clone() },
        TrainSettings { freeze: pugmark_engine::Freeze::Backbone, ..base.clone() },
        TrainSettings { batch_size: 12, ..base.clone() },
    ];
    let mut seen = Vec::new();
    for (number, settings) in cases.into_iter().enumerate() {
        let out = world.out(&number.to_string());
        let mut watch = Watch::quiet();
        watch.train(&data, &settings, &out, Mode::New).unwrap();
        let frozen = settings.freeze == pugmark_engine::Freeze::Backbone;
        assert_eq!(watch.heard("only the head learns"), frozen, "a warning");
        let model = Model::read(&out.join("last.safetensors")).unwrap();
        let start = settings.model.graph(3).initialise(settings.seed);
        for name in ["block1.conv.weight", "block4.bn.running_mean", "fc.weight"] {
            let moved = model.tensors[name] != start[name];
            assert_eq!(moved, !frozen || name == "fc.weight", "case {number}: {name}");
        }
        let bytes = fs::read(out.join("last.safetensors")).unwrap();
        assert!(!seen.contains(&bytes), "case {number} is like an earlier one");
        seen.push(bytes);
    }
}

#[test]
fn weights_of_another_run_are_started_from() {
    let world = World::new(6);
    let data = world.read();
    let first = world.out("first");
    let settings = TrainSettings { epochs: 1, ..settings() };
    Watch::quiet().train(&data, &settings, &first, Mode::New).unwrap();
    let weights = first.join("last.safetensors");
    // A learning rate that changes no f32 shows where the second training starts.
    let settings = TrainSettings {
        weights: Some(weights.clone()),
        learning_rate: 1e-30,
        freeze: pugmark_engine::Freeze::Backbone,
        ..settings
    };
    let mut watch = Watch::quiet();
    watch.train(&data, &settings, &world.out("second"), Mode::New).unwrap();
    assert!(watch.heard("tensors loaded"));
    let tensors = |path| Model::read(path).unwrap().tensors;
    assert!(tensors(&world.out("second").join("last.safetensors")) == tensors(&weights));
}

#[test]
fn damaged_photos_are_left_out_and_listed() {
    let world = World::new(10);
    fs::write(world.photos().join("red/003.png"), "no photo").unwrap();
    fs::write(world.photos().join("blue/004.png"), "").unwrap();
    let data = world.read();
    let out = world.out("run");
    let mut watch = Watch::quiet();
    let settings = TrainSettings { val: 0.3, test: 0.3, ..settings() };
    watch.train(&data, &settings, &out, Mode::New).unwrap();
    for id in ["red/003.png", "blue/004.png"] {
        let said = watch.events.iter().filter(|e| e.starts_with("BrokenPhoto") && e.contains(id)).count();
        assert_eq!(said, 1, "{id} in both epochs is told once");
    }
    let rows = csv(out.join("broken.csv"));
    assert_eq!(rows[0], ["id", "split", "used", "reason"]);
    assert_eq!([&rows[1][0], &rows[2][0]], ["blue/004.png", "red/003.png"]);
    assert!(rows[1..].iter().all(|row| row[2] == "no" && !row[3].is_empty()), "{rows:?}");

    // Predicting everything gives the same reasons, and a broken photo has no probability.
    let mut classifier = Classifier::open(&out, &Cpu::new(1).unwrap(), 4).unwrap();
    let split = pugmark_data::Split::from_csv(&out.join("split.csv"), &data).unwrap();
    let predictions = csv(out.join("predictions.csv"));
    assert_eq!(predictions.len() - 1, split.indices(Part::Test).len());
    let mut broken = Vec::new();
    let items = data.samples.iter().map(pugmark_data::Item::from);
    classifier
        .predict(items.collect(), 2, &mut |p| {
            broken.extend(p.outcome.err().map(|reason| (p.id, reason)));
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    let listed: Vec<_> = rows[1..].iter().map(|row| (row[0].clone(), row[3].clone())).collect();
    assert_eq!(broken, listed);
    for row in &predictions[1..] {
        let reason = broken.iter().find(|(id, _)| *id == row[0]).map(|(_, reason)| reason.as_str());
        assert_eq!(row[8], reason.unwrap_or(""));
        assert_eq!((row[3].is_empty(), row[4].is_empty()), (reason.is_some(), reason.is_some()));
    }
}

#[test]
fn photos_that_end_early_are_used_and_listed() {
    let world = World::new(8);
    let (whole, cut) = (world.photos().join("red/000.png"), world.photos().join("red/cut.jpg"));
    image::open(whole).unwrap().to_rgb8().save(&cut).unwrap();
    let bytes = fs::read(&cut).unwrap();
    fs::write(&cut, &bytes[..bytes.len() * 3 / 4]).unwrap();
    let out = world.out("run");
    let mut watch = Watch::quiet();
    watch.train(&world.read(), &settings(), &out, Mode::New).unwrap();
    assert!(!watch.heard("BrokenPhoto"));
    let rows = csv(out.join("broken.csv"));
    assert_eq!(rows.len(), 2);
    assert_eq!([&rows[1][0], &rows[1][2]], ["red/cut.jpg", "yes"]);
    assert!(rows[1][3].contains("ends early"));
}

#[test]
fn the_metrics_line_is_for_people_and_regular_expressions() {
    let metrics = pugmark_train::EpochMetrics {
        epoch: 3,
        train_loss: 0.28811,
        train_acc: 0.9012,
        val_loss: 0.45361,
        val_acc: 0.8634,
        val_macro_f1: 0.85,
        learning_rate: 0.0005,
        images_per_sec: 97.31,
        seconds: 12.34,
        peak_memory_mib: Some(812),
    };
    assert_eq!(
        metrics.line(),
        "[METRICS] epoch=3; train_loss=0.2881; train_acc=0.9012; val_loss=0.4536; val_acc=0.8634; \
         val_macro_f1=0.8500; learning_rate=0.0005; images_per_sec=97.3; seconds=12.3; peak_memory_mib=812;"
    );
}
