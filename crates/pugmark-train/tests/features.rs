//! Every feature of the optimisation: interrupted anywhere it ends in the same bytes, and on two threads as on one.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use common::{Watch, World, result, settings};
use pugmark_data::Dataset;
use pugmark_engine::{Cpu, Freeze};
use pugmark_model::Model;
use pugmark_train::{
    BestBy, ClassWeights, Mode, OptimiserKind, Schedule, TrainError, TrainSettings, find_learning_rate, train,
};

/// Three steps an epoch.
fn base() -> TrainSettings {
    TrainSettings { epochs: 3, flip: true, best_by: BestBy::LogLoss, ..settings() }
}

fn features() -> Vec<(&'static str, TrainSettings)> {
    let base = base();
    vec![
        (
            "cosine, warm-up, clipped norm, layer decay",
            TrainSettings {
                schedule: Schedule::Cosine,
                warmup_epochs: 0.5,
                min_learning_rate: 1e-5,
                clip_norm: 0.5,
                layer_decay: 0.8,
                decay_norms: false,
                ..base.clone()
            },
        ),
        (
            "one-cycle, accumulation, adaptive clipping, SGD",
            TrainSettings {
                schedule: Schedule::OneCycle,
                optimiser: OptimiserKind::Sgd,
                learning_rate: 0.05,
                accumulate: 2,
                clip_adaptive: 0.02,
                ..base.clone()
            },
        ),
        (
            "steps, running average, balanced sampling, clipped values",
            TrainSettings {
                schedule: Schedule::Step,
                step_epochs: 1,
                ema: 0.8,
                balanced_sampling: true,
                clip_value: 0.01,
                ..base.clone()
            },
        ),
        (
            "thawed after one epoch, running average",
            TrainSettings { freeze: Freeze::Backbone, unfreeze_after: 1, ema: 0.8, ..base.clone() },
        ),
        (
            "frozen stages, average of the best, effective numbers",
            TrainSettings {
                freeze: Freeze::Stages(2),
                average_best: 2,
                class_weights: ClassWeights::EffectiveNumber,
                ..base.clone()
            },
        ),
        (
            "early stopping, average of the best, accumulation",
            TrainSettings {
                epochs: 50,
                learning_rate: 0.03,
                early_stopping: 1,
                average_best: 3,
                accumulate: 3,
                ..base.clone()
            },
        ),
        (
            "a number of steps, average of the best, running average",
            TrainSettings {
                schedule: Schedule::Cosine,
                max_steps: 7,
                average_best: 3,
                ema: 0.5,
                time_budget: "1000h".parse().unwrap(),
                ..base
            },
        ),
    ]
}

fn train_on(threads: usize, data: &Dataset, settings: &TrainSettings, out: &Path) {
    let engine = Cpu::new(threads).unwrap();
    train(data, settings, out, Mode::New, &engine, &AtomicBool::new(false), &mut common::Deaf).unwrap();
}

#[test]
fn interrupted_or_on_other_threads_every_feature_ends_in_the_same_bytes() {
    let world = World::new(8);
    let data = world.read();
    for (name, settings) in features() {
        let reference = world.out("reference");
        train_on(2, &data, &settings, &reference);
        // In the first epoch, at its end, after everything: stopped once, twice, in the averaging.
        for stops in [&[1][..], &[3], &[2, 3], &[5]] {
            let out = world.out("interrupted");
            let mut mode = Mode::New;
            for &steps in stops {
                let outcome = Watch::stop_after(steps).train(&data, &settings, &out, mode).unwrap();
                // Early stopping may come before the fifth step.
                assert!(outcome.interrupted || steps == 5, "{name}: {stops:?}");
                mode = Mode::Resume;
            }
            Watch::quiet().train(&data, &settings, &out, mode).unwrap();
            assert!(result(&out) == result(&reference), "{name}, stopped after {stops:?} steps");
            let predictions = |run: &Path| fs::read(run.join("predictions.csv")).unwrap();
            assert!(predictions(&out) == predictions(&reference), "{name}, stopped after {stops:?} steps");
            fs::remove_dir_all(out).unwrap();
        }
        fs::remove_dir_all(reference).unwrap();
    }
}

/// Stopped in every validation, that of the averages among them.
#[test]
fn interrupted_in_the_averaging() {
    let world = World::new(8);
    let data = world.read();
    let settings = TrainSettings { average_best: 3, ..base() };
    let reference = world.out("reference");
    train_on(1, &data, &settings, &reference);
    let out = world.out("interrupted");
    let mut stopping = Watch::new(|event, stop| {
        let last = matches!(event, pugmark_train::Event::Epoch(row) if row.epoch == 3);
        stop.fetch_or(last, std::sync::atomic::Ordering::Relaxed);
    });
    let outcome = stopping.train(&data, &settings, &out, Mode::New).unwrap();
    assert!(outcome.interrupted && outcome.epochs_done == 3);
    let mut watch = Watch::quiet();
    watch.train(&data, &settings, &out, Mode::Resume).unwrap();
    assert!(!watch.heard("Step {") && watch.heard("average of the"), "{:?}", watch.events);
    assert!(result(&out) == result(&reference));
    // The kept epochs are as many as asked for, and more epochs train on from there.
    let kept = |run: &Path| {
        let names = fs::read_dir(run.join("checkpoint")).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("epoch-")).count()
    };
    assert_eq!(kept(&out), 3);
    let long = TrainSettings { epochs: 5, ..settings };
    Watch::quiet().train(&data, &long, &out, Mode::Resume).unwrap();
    fs::remove_dir_all(&reference).unwrap();
    train_on(1, &data, &long, &reference);
    assert!(result(&out) == result(&reference) && kept(&out) == 3);
}

#[test]
fn the_saved_model_is_the_average() {
    let world = World::new(8);
    let data = world.read();
    let plain = world.out("plain");
    Watch::quiet().train(&data, &base(), &plain, Mode::New).unwrap();
    let ema = world.out("ema");
    Watch::quiet().train(&data, &TrainSettings { ema: 0.9, ..base() }, &ema, Mode::New).unwrap();
    // The training itself is the same, step by step.
    let column =
        |run: &Path, at: usize| -> Vec<String> { result(run).2.iter().map(|row| row[at].clone()).collect() };
    assert_eq!(column(&plain, 1), column(&ema, 1), "train_loss");
    assert_ne!(column(&plain, 3), column(&ema, 3), "val_loss");
    let read = |run: &Path| Model::read(&run.join("last.safetensors")).unwrap().tensors;
    let (plain, ema) = (read(&plain), read(&ema));
    for name in ["fc.weight", "block1.conv.weight", "block1.bn.running_var"] {
        assert!(plain[name] != ema[name], "{name}");
    }
}

#[test]
fn trainings_end_where_they_are_told_to() {
    let world = World::new(8);
    let data = world.read();
    let run = |name: &str, settings: &TrainSettings| {
        let (out, mut watch) = (world.out(name), Watch::quiet());
        let outcome = watch.train(&data, settings, &out, Mode::New).unwrap();
        let mut again = Watch::quiet();
        let more = TrainSettings { epochs: settings.epochs + 5, ..settings.clone() };
        let resumed = again.train(&data, &more, &out, Mode::Resume).unwrap();
        assert!(again.heard("the run is finished: stopped") && resumed.epochs_done == outcome.epochs_done);
        (outcome, watch)
    };
    // Three steps an epoch.
    let (outcome, watch) = run("steps", &TrainSettings { max_steps: 4, ..base() });
    assert!(outcome.epochs_done == 2 && watch.heard("stopped in epoch 2: 4 steps are done"));
    assert!(watch.heard("epoch: 2, step: 1,") && !watch.heard("epoch: 2, step: 2,"));

    // A rate that moves nothing: the first epoch stays the best.
    let still =
        TrainSettings { learning_rate: 1e-30, weight_decay: 0.0, early_stopping: 2, epochs: 9, ..base() };
    let still = TrainSettings { best_by: BestBy::Accuracy, ema: 0.0, freeze: Freeze::Backbone, ..still };
    let (outcome, watch) = run("early", &still);
    assert!(outcome.epochs_done == 3, "{}", outcome.epochs_done);
    assert!(watch.heard("stopped early after epoch 3: none since epoch 1 was better"));

    // Nobody trains a hundred million epochs in a second.
    let endless = TrainSettings { epochs: 100_000_000, time_budget: "1s".parse().unwrap(), ..base() };
    let (outcome, watch) = run("time", &endless);
    assert!(outcome.epochs_done >= 1 && outcome.best.is_some());
    assert!(watch.heard("the time of 1s is used up"));
}

#[test]
fn a_resumed_run_has_the_rest_of_its_time() {
    let world = World::new(8);
    let data = world.read();
    let settings = TrainSettings { time_budget: "1h".parse().unwrap(), ..base() };
    let out = world.out("run");
    Watch::stop_after(1).train(&data, &settings, &out, Mode::New).unwrap();
    let path = out.join("checkpoint/state.json");
    let mut state: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert!(state["elapsed"].as_f64().unwrap() > 0.0);
    state["elapsed"] = 3600.0.into();
    fs::write(&path, state.to_string()).unwrap();
    let mut watch = Watch::quiet();
    let outcome = watch.train(&data, &settings, &out, Mode::Resume).unwrap();
    assert!(outcome.epochs_done == 1 && watch.heard("the time of 1h is used up"));
    assert!(watch.heard("step: 2,") && !watch.heard("step: 3,"));
}

#[test]
fn thawing_trains_everything_from_then_on() {
    let world = World::new(8);
    let data = world.read();
    let settings = TrainSettings { freeze: Freeze::Backbone, unfreeze_after: 2, ..base() };
    let (out, mut watch) = (world.out("run"), Watch::quiet());
    let model = |run: &Path| Model::read(&run.join("last.safetensors")).unwrap().tensors;
    let start = settings.model.graph(3).initialise(settings.seed);
    let mut seen = Vec::new();
    let mut looking = Watch::new(|event, _| {
        if matches!(event, pugmark_train::Event::Epoch(_)) {
            seen.push(model(&out)["block1.conv.weight"] == start["block1.conv.weight"]);
        }
    });
    looking.train(&data, &settings, &out, Mode::New).unwrap();
    assert!(looking.heard("the whole model is trained from epoch 3 on"));
    drop(looking);
    assert_eq!(seen, [true, true, false]);
    // A resume after that does not say it again.
    fs::remove_file(out.join("predictions.csv")).unwrap();
    let long = TrainSettings { epochs: 4, ..settings };
    watch.train(&data, &long, &out, Mode::Resume).unwrap();
    assert!(!watch.heard("the whole model is trained"));
}

#[test]
fn the_batch_size_is_chosen_by_memory_once() {
    let world = World::new(24);
    let data = world.read();
    let auto = TrainSettings { epochs: 2, batch_size: 0, cache_mib: 1, ..settings() };
    let chosen = |name: &str, memory: u64| {
        let out = world.out(name);
        let settings = TrainSettings { memory, ..auto.clone() };
        Watch::stop_after(1).train(&data, &settings, &out, Mode::New).map(|_| out)
    };
    let size = |out: &Path| TrainSettings::read(&out.join("config.toml")).unwrap().batch_size;
    let plenty = chosen("plenty", 100_000).unwrap();
    assert_eq!(size(&plenty), 32, "the largest power of two among 54 photos");
    let error = chosen("nothing", 1).unwrap_err();
    let TrainError::Memory { needed, given: 1 } = error else { panic!("{error}") };
    assert!(needed > 1 && error.hint().is_some_and(|hint| hint.contains("--memory")));
    let scarce = chosen("scarce", needed).unwrap();
    assert!(size(&scarce) < 32, "{}", size(&scarce));
    // It goes on with what was chosen, on a machine of any size, and so does what it says of itself.
    let config = TrainSettings::read(&scarce.join("config.toml")).unwrap();
    Watch::stop_after(1).train(&data, &config, &scarce, Mode::Resume).unwrap();
    Watch::quiet().train(&data, &auto, &scarce, Mode::Resume).unwrap();
    let same = TrainSettings { batch_size: size(&scarce), ..auto };
    let reference = world.out("reference");
    Watch::quiet().train(&data, &same, &reference, Mode::New).unwrap();
    assert!(result(&reference) == result(&scarce));
}

#[test]
fn a_batch_must_not_be_larger_than_the_data() {
    let world = World::new(4);
    let out = world.out("run");
    let settings = TrainSettings { batch_size: 10, ..settings() };
    let error = Watch::quiet().train(&world.read(), &settings, &out, Mode::New).unwrap_err();
    assert_eq!(error.to_string(), "a batch of 10 is larger than the 9 photos to train on");
    assert!(error.hint().unwrap().contains("`--batch-size 8`") && !out.exists());
    // The default is nobody's wish: it takes what there is.
    let settings = TrainSettings { batch_size: TrainSettings::default().batch_size, epochs: 1, ..settings };
    Watch::quiet().train(&world.read(), &settings, &out, Mode::New).unwrap();
}

#[test]
fn class_weights_come_from_a_file_and_stay_with_the_run() {
    let world = World::new(8);
    let data = world.read();
    let path = world.out("weights.csv");
    let settings = TrainSettings { class_weights: ClassWeights::File(path.clone()), ..base() };
    let run = |name: &str| Watch::quiet().train(&data, &settings, &world.out(name), Mode::New);
    fs::write(&path, "class,weight\nred,2\ngreen,1\npurple,1\n").unwrap();
    let error = run("wrong").unwrap_err().to_string();
    assert!(error.contains("no class of the data is called purple; there is no weight for blue"), "{error}");

    fs::write(&path, "class,weight\nred,2\ngreen,1\nblue,0.5\n").unwrap();
    run("reference").unwrap();
    let out = world.out("run");
    let both = TrainSettings { balanced_sampling: true, ..settings.clone() };
    let mut warned = Watch::stop_after(1);
    warned.train(&data, &both, &world.out("both"), Mode::New).unwrap();
    assert!(warned.heard("together they do it twice"));
    Watch::stop_after(4).train(&data, &settings, &out, Mode::New).unwrap();
    fs::remove_file(&path).unwrap();
    Watch::quiet().train(&data, &settings, &out, Mode::Resume).unwrap();
    assert!(result(&out) == result(&world.out("reference")));
}

#[test]
fn a_longer_cosine_is_another_training() {
    let world = World::new(8);
    let data = world.read();
    let out = world.out("run");
    let settings = TrainSettings { schedule: Schedule::Cosine, ..base() };
    Watch::stop_after(2).train(&data, &settings, &out, Mode::New).unwrap();
    let longer = TrainSettings { epochs: 9, ..settings };
    let error = Watch::quiet().train(&data, &longer, &out, Mode::Resume).unwrap_err();
    assert!(error.to_string().contains("`epochs` is 3"), "{error}");
}

#[test]
fn the_range_test_finds_a_rate_and_leaves_nothing() {
    let world = World::new(8);
    let data = world.read();
    let engine = Cpu::new(1).unwrap();
    let settings = TrainSettings { accumulate: 2, ..base() };
    let stop = AtomicBool::new(false);
    let mut watch = Watch::quiet();
    let search = watch.listen(|observer| find_learning_rate(&data, &settings, &engine, &stop, observer));
    let search = search.unwrap().unwrap();
    assert!(search.points.len() > 50 && watch.heard("Searching { step: 50, steps: 100,"));
    let rates: Vec<f64> = search.points.iter().map(|point| point.learning_rate).collect();
    assert!(rates[0] == 1e-7 && (rates[50] - 1e-3).abs() < 1e-12, "half the way in decades");
    assert!((1e-6..1.0).contains(&search.suggestion.unwrap()), "{:?}", search.suggestion);
    let csv = String::from_utf8(search.to_csv().unwrap()).unwrap();
    assert_eq!(csv.lines().next(), Some("learning_rate,loss,smoothed_loss"));
    assert_eq!(csv.lines().count(), search.points.len() + 1);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let stopped = watch.listen(|observer| find_learning_rate(&data, &settings, &engine, &stop, observer));
    assert_eq!(stopped.unwrap(), None);
    assert_eq!(fs::read_dir(world.photos().parent().unwrap()).unwrap().count(), 1, "the photos alone");
}
