//! A training that was interrupted or killed and resumed ends in the same bytes as one that was not.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::Ordering;

use common::{Watch, World, result, settings};
use pugmark_data::Dataset;
use pugmark_train::{
    AutoAugmentKind, BestBy, Event, Mode, OptimiserKind, Schedule, TrainError, TrainSettings,
};

/// Everything that draws random numbers or carries state from step to step.
fn rich(optimiser: OptimiserKind) -> TrainSettings {
    TrainSettings {
        epochs: 3,
        optimiser,
        schedule: Schedule::Plateau,
        flip: true,
        rotation: 10.0,
        jitter: 0.2,
        label_smoothing: 0.1,
        best_by: BestBy::LogLoss,
        ..settings()
    }
}

fn undisturbed(world: &World, data: &Dataset, settings: &TrainSettings) -> std::path::PathBuf {
    let out = world.out("undisturbed");
    Watch::quiet().train(data, settings, &out, Mode::New).unwrap();
    out
}

fn assert_same(a: &Path, b: &Path, when: &str) {
    let (a, b) = (result(a), result(b));
    assert_eq!(a.2, b.2, "metrics, {when}");
    assert!(a.0 == b.0, "best.safetensors, {when}");
    assert!(a.1 == b.1, "last.safetensors, {when}");
}

#[test]
fn interrupted_after_any_step() {
    let world = World::new(8);
    let data = world.read();
    for optimiser in [OptimiserKind::AdamW, OptimiserKind::Sgd] {
        let settings = rich(optimiser);
        let reference = undisturbed(&world, &data, &settings);
        // 3 steps an epoch: in an epoch, at its end, in the next, in the last validation.
        for steps in [1, 3, 5, 9] {
            let out = world.out("interrupted");
            let outcome = Watch::stop_after(steps).train(&data, &settings, &out, Mode::New).unwrap();
            assert!(outcome.interrupted);
            assert_eq!(
                outcome.epochs_done as usize,
                (steps - 1) / 3,
                "the epoch of step {steps} is not done"
            );
            let mut watch = Watch::quiet();
            // What the result does not depend on may change.
            let other = TrainSettings { loader_threads: 3, cache_mib: 0, ..settings.clone() };
            let outcome = watch.train(&data, &other, &out, Mode::Resume).unwrap();
            assert!(!outcome.interrupted && watch.heard("resumed in epoch"));
            assert_same(&reference, &out, &format!("{optimiser:?}, stopped after {steps} steps"));
            fs::remove_dir_all(out).unwrap();
        }
        fs::remove_dir_all(reference).unwrap();
    }
}

/// Somebody copied the run while it trained, and a file of its last save did not come along.
#[test]
fn copied_while_it_saved() {
    let world = World::new(8);
    let data = world.read();
    let settings = TrainSettings { average_best: 2, ..rich(OptimiserKind::AdamW) };
    let reference = undisturbed(&world, &data, &settings);
    // The first epoch's save stays behind that of the second.
    for name in ["checkpoint/tensors-2.safetensors", "checkpoint/epoch-2.safetensors"] {
        let out = world.out("copied");
        let mut killed = Watch::new(|event, _| {
            if matches!(event, Event::Epoch(row) if row.epoch == 2) {
                resume_unwind(Box::new("killed"));
            }
        });
        let training = AssertUnwindSafe(|| killed.train(&data, &settings, &out, Mode::New));
        assert!(catch_unwind(training).is_err());
        fs::remove_file(out.join(name)).unwrap();
        let mut watch = Watch::quiet();
        watch.train(&data, &settings, &out, Mode::Resume).unwrap();
        assert!(watch.heard("the save before it is taken") && watch.heard(name), "{:?}", watch.events);
        assert_same(&reference, &out, &format!("without {name}"));
        fs::remove_dir_all(out).unwrap();
    }
}

/// Everything that changes photos, and what is important in them, asked from the model before the second and third epoch.
fn augmented() -> TrainSettings {
    TrainSettings {
        random_crop: 0.3,
        vertical_flip: true,
        hue: 0.1,
        random_grayscale: 0.2,
        auto_augment: AutoAugmentKind::RandAugment,
        erasing: 0.5,
        keep_augment: true,
        mixup: 0.2,
        cutmix: 1.0,
        ..rich(OptimiserKind::AdamW)
    }
}

#[test]
fn interrupted_with_every_augmentation() {
    let world = World::new(8);
    let data = world.read();
    let settings = augmented();
    let reference = undisturbed(&world, &data, &settings);
    // Between epochs, inside the second, and while the model is asked before the third.
    for steps in [3, 4, 5] {
        let out = world.out("interrupted");
        let outcome = Watch::stop_after(steps).train(&data, &settings, &out, Mode::New).unwrap();
        assert!(outcome.interrupted);
        let mut watch = Watch::quiet();
        let other = TrainSettings { loader_threads: 3, cache_mib: 0, ..settings.clone() };
        watch.train(&data, &other, &out, Mode::Resume).unwrap();
        assert_same(&reference, &out, &format!("every augmentation, stopped after {steps} steps"));
        let asked_in_the_second = watch.heard("Looking { epoch: 2");
        assert_eq!(asked_in_the_second, steps == 3, "the checkpoint inside an epoch keeps the answer");
        fs::remove_dir_all(out).unwrap();
    }
    let out = world.out("interrupted");
    let mut watch = Watch::new(|event, stop| {
        stop.store(matches!(event, Event::Looking { epoch: 3, .. }), Ordering::Relaxed);
    });
    let outcome = watch.train(&data, &settings, &out, Mode::New).unwrap();
    assert!(outcome.interrupted && outcome.epochs_done == 2);
    Watch::quiet().train(&data, &settings, &out, Mode::Resume).unwrap();
    assert_same(&reference, &out, "stopped while the model was asked");
}

#[test]
fn keep_augment_asks_the_model_and_changes_the_training() {
    let world = World::new(8);
    let data = world.read();
    let settings = augmented();
    let (with, without) = (world.out("with"), world.out("without"));
    let mut watch = Watch::quiet();
    watch.train(&data, &settings, &with, Mode::New).unwrap();
    assert!(
        !watch.heard("Looking { epoch: 1") && watch.heard("Looking { epoch: 2"),
        "random weights know nothing"
    );
    let mut watch = Watch::quiet();
    let plain = TrainSettings { keep_augment: false, ..settings };
    watch.train(&data, &plain, &without, Mode::New).unwrap();
    assert!(!watch.heard("Looking"));
    let rows = |run: &Path| result(run).2;
    assert_eq!(rows(&with)[1], rows(&without)[1], "the first epoch is the same");
    assert_ne!(rows(&with)[2], rows(&without)[2]);
}

#[test]
fn interrupted_again_and_again() {
    let world = World::new(8);
    let data = world.read();
    let settings = rich(OptimiserKind::AdamW);
    let reference = undisturbed(&world, &data, &settings);
    let out = world.out("interrupted");
    let mut mode = Mode::New;
    let mut trainings = 0;
    // One step a time; a training in which only validation is left has none.
    while Watch::stop_after(1).train(&data, &settings, &out, mode).unwrap().interrupted {
        mode = Mode::Resume;
        trainings += 1;
    }
    assert_eq!(trainings, 9, "one for each step");
    assert_same(&reference, &out, "a step a time");
}

#[test]
fn interrupted_in_validation() {
    let world = World::new(16);
    let data = world.read();
    let settings = settings();
    let reference = undisturbed(&world, &data, &settings);
    let out = world.out("interrupted");
    let mut watch = Watch::new(|event, stop| {
        stop.store(matches!(event, Event::Validating { epoch: 2, .. }), Ordering::Relaxed);
    });
    let outcome = watch.train(&data, &settings, &out, Mode::New).unwrap();
    assert!(outcome.interrupted && outcome.epochs_done == 1);
    let mut watch = Watch::quiet();
    watch.train(&data, &settings, &out, Mode::Resume).unwrap();
    assert!(!watch.heard("Step {"), "only validation was left");
    assert_same(&reference, &out, "stopped in validation");
}

/// A kill leaves the files as they are at that moment; an observer that never returns does the same.
#[test]
fn killed_at_any_event() {
    let world = World::new(8);
    let data = world.read();
    // Saves after every step.
    let settings = TrainSettings { epochs: 2, checkpoint_minutes: 1e-9, ..rich(OptimiserKind::AdamW) };
    let reference = undisturbed(&world, &data, &settings);
    let moments = (0..)
        .take_while(|&moment| {
            let out = world.out(&format!("killed-{moment}"));
            let mut seen = 0;
            let mut watch = Watch::new(|_, _| {
                if seen == moment {
                    resume_unwind(Box::new("killed"));
                }
                seen += 1;
            });
            let training = AssertUnwindSafe(|| watch.train(&data, &settings, &out, Mode::New));
            if catch_unwind(training).is_ok() {
                return false;
            }
            let mode = if out.join("config.toml").exists() { Mode::Resume } else { Mode::New };
            Watch::quiet().train(&data, &settings, &out, mode).unwrap();
            assert_same(&reference, &out, &format!("killed at {:?}", watch.events.last()));
            let predictions = |run: &Path| fs::read(run.join("predictions.csv")).unwrap();
            assert!(predictions(&reference) == predictions(&out));
            true
        })
        .count();
    assert!(moments > 15, "{moments} moments");
}

#[test]
fn a_finished_run_says_so_and_more_epochs_train_on() {
    let world = World::new(8);
    let data = world.read();
    let short = rich(OptimiserKind::AdamW);
    let long = TrainSettings { epochs: 5, ..short.clone() };
    let reference = undisturbed(&world, &data, &long);
    let out = world.out("short");
    Watch::quiet().train(&data, &short, &out, Mode::New).unwrap();

    let before = result(&out);
    let mut watch = Watch::quiet();
    let outcome = watch.train(&data, &short, &out, Mode::Resume).unwrap();
    assert!(watch.heard("the run is finished: 3 of 3 epochs") && !watch.heard("Start"));
    assert_eq!((outcome.epochs_done, outcome.interrupted, outcome.best.is_some()), (3, false, true));
    assert!(result(&out) == before);

    let outcome = Watch::quiet().train(&data, &long, &out, Mode::Resume).unwrap();
    assert_eq!(outcome.epochs_done, 5);
    assert_same(&reference, &out, "3 epochs and then 2 more");
    assert_eq!(TrainSettings::read(&out.join("config.toml")).unwrap().epochs, 5);
}

#[test]
fn missing_predictions_of_a_finished_run_are_made() {
    let world = World::new(6);
    let data = world.read();
    let settings = TrainSettings { epochs: 1, val: 0.2, test: 0.2, ..settings() };
    let out = world.out("run");
    let first = Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap();
    fs::remove_file(out.join("predictions.csv")).unwrap();
    let again = Watch::quiet().train(&data, &settings, &out, Mode::Resume).unwrap();
    assert!(out.join("predictions.csv").exists());
    assert!(first.test.is_some() && first.test == again.test);
}

#[test]
fn other_settings_or_data_are_refused() {
    let world = World::new(8);
    let data = world.read();
    let out = world.out("run");
    let settings = settings();
    Watch::stop_after(4).train(&data, &settings, &out, Mode::New).unwrap();
    let resume = |data: &Dataset, settings: &TrainSettings| {
        let error = Watch::quiet().train(data, settings, &out, Mode::Resume).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("--out")), "{error}");
        error.to_string()
    };

    let error = resume(&data, &TrainSettings { learning_rate: 0.1, ..settings.clone() });
    assert!(error.contains("`learning_rate` is 0.003") && error.contains("0.1 was asked for"), "{error}");
    let error = resume(&data, &TrainSettings { weights: Some("w.pth".into()), ..settings.clone() });
    assert!(error.contains("`weights` is not set"), "{error}");

    world.photo("red/new.png", 0);
    assert!(resume(&world.read(), &settings).contains("photos or labels changed"));
    fs::rename(world.photos().join("red/new.png"), world.photos().join("new.png")).unwrap();
    let mut renamed = data.clone();
    renamed.classes.swap(0, 1);
    assert!(resume(&renamed, &settings).contains("classes changed"));

    let split = out.join("split.csv");
    let text = fs::read_to_string(&split).unwrap();
    fs::write(&split, text.replacen(",train,", ",val,", 1)).unwrap();
    assert!(resume(&data, &settings).contains("split changed"));
    fs::write(&split, text).unwrap();

    let state = out.join("checkpoint/state.json");
    let json = fs::read_to_string(&state).unwrap();
    fs::write(&state, &json[..json.len() / 2]).unwrap();
    let previous = out.join("checkpoint/previous.json");
    let before = fs::read(&previous).unwrap();
    fs::remove_file(&previous).unwrap();
    let error = Watch::quiet().train(&data, &settings, &out, Mode::Resume).unwrap_err();
    assert!(matches!(error, TrainError::Checkpoint { .. }), "{error}");
    assert!(error.to_string().contains("state.json") && error.hint().is_some());
    fs::write(&previous, before).unwrap();
    fs::write(&state, json).unwrap();

    Watch::quiet().train(&data, &settings, &out, Mode::Resume).expect("all is as it was");
}
