//! The watch of a training: what it leaves alone, what it keeps, and how it ends one.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{Deaf, Watch, World, result, settings};
use pugmark_engine::Cpu;
use pugmark_model::RunFolder;
use pugmark_train::{
    Finding, Mode, OptimiserKind, Record, Sample, Thresholds, TrainError, TrainSettings, WatchMode, Watched,
    read_watch, train,
};

fn watched(run: &Path) -> Watched {
    read_watch(&RunFolder::open(run).unwrap(), &Thresholds::default()).unwrap().unwrap()
}

fn samples(run: &Path) -> Vec<Sample> {
    let of = |record| match record {
        Record::Sample(sample) => Some(*sample),
        _ => None,
    };
    watched(run).records.into_iter().filter_map(of).collect()
}

/// Losses of all steps, however they are grouped.
fn losses(run: &Path) -> Vec<String> {
    let of = |record| match record {
        Record::Steps { losses, .. } => losses.into_iter().map(|loss| format!("{loss:?}")).collect(),
        _ => Vec::new(),
    };
    watched(run).records.into_iter().flat_map(of).collect()
}

fn epochs(run: &Path) -> Vec<Record> {
    let records = watched(run).records.into_iter();
    records.filter(|record| matches!(record, Record::Epoch { .. })).collect()
}

#[test]
fn a_watched_training_ends_in_the_same_bytes_whatever_the_threads_and_interruptions() {
    let world = World::new(12);
    let data = world.read();
    for optimiser in [OptimiserKind::AdamW, OptimiserKind::Sgd] {
        let settings = TrainSettings { optimiser, watch_every: 2, epochs: 3, ..settings() };
        let [off, on, resumed, threads] = ["off", "on", "resumed", "threads"].map(|name| world.out(name));
        let silent = TrainSettings { watch: WatchMode::Off, ..settings.clone() };
        Watch::quiet().train(&data, &silent, &off, Mode::New).unwrap();
        assert!(!off.join("watch.jsonl").exists() && !off.join("watch.json").exists());
        Watch::quiet().train(&data, &settings, &on, Mode::New).unwrap();
        // In the middle of an epoch, and not at a sample; what was not flushed by a kill is cut off.
        Watch::stop_after(8).train(&data, &settings, &resumed, Mode::New).unwrap();
        let file = resumed.join("watch.jsonl");
        let later = "{\"record\":\"steps\",\"step\":11,\"epoch\":2,\"begins\":false,\"losses\":[1,1,1],\"milliseconds\":[1,1,1]}\n{\"rec";
        fs::write(&file, fs::read_to_string(&file).unwrap() + later).unwrap();
        Watch::quiet().train(&data, &settings, &resumed, Mode::Resume).unwrap();
        let engine = Cpu::new(3).unwrap();
        train(&data, &settings, &threads, Mode::New, &engine, &Default::default(), &mut Deaf).unwrap();
        for run in [&on, &resumed, &threads] {
            assert!(result(run) == result(&off), "{}", run.display());
            assert_eq!(samples(run), samples(&on), "{}", run.display());
            assert_eq!(losses(run), losses(&on), "{}", run.display());
            assert_eq!(epochs(run), epochs(&on), "{}", run.display());
        }
        // 27 photos are 5 steps an epoch: the first, and every second.
        let steps: Vec<u64> = samples(&on).iter().map(|sample| sample.step).collect();
        assert_eq!(steps, [1, 2, 4, 6, 8, 10, 12, 14]);
        assert_eq!(losses(&on).len(), 15);
        for run in [off, on, resumed, threads] {
            fs::remove_dir_all(run).unwrap();
        }
    }
}

/// Twice the same network: with SGD the change is the rate times the gradient, and all is what the settings say.
#[test]
fn samples_are_what_the_step_did() {
    let world = World::new(12);
    let run = world.out("run");
    let settings = TrainSettings {
        optimiser: OptimiserKind::Sgd,
        momentum: 0.0,
        weight_decay: 0.0,
        learning_rate: 0.01,
        watch_every: 1,
        epochs: 1,
        ..settings()
    };
    Watch::quiet().train(&world.read(), &settings, &run, Mode::New).unwrap();
    let samples = samples(&run);
    assert_eq!(samples.len(), 5);
    for sample in &samples {
        assert_eq!(sample.learning_rate, 0.01);
        for weight in &sample.weights {
            let change = 0.01 * weight.gradient_norm;
            // Four digits are written, and weights are rounded to f32 when they move.
            assert!((weight.update_norm - change).abs() < 2e-3 * change + 1e-7, "{weight:?}");
        }
        // All gradients together: the biases' are not among them.
        let squares: f64 = sample.weights.iter().map(|weight| weight.gradient_norm.powi(2)).sum();
        assert!(squares.sqrt() <= sample.gradient_norm.0 * 1.001 && squares > 0.0);
        // Photos of noise from 0 to 254 with a tint.
        for [mean, std] in &sample.input {
            assert!(mean.0.abs() < 1.0 && (0.2..2.0).contains(&std.0), "{mean:?} {std:?}");
        }
    }
}

/// A rate that is far too small: the training ends after the step, with everything saved, and goes on where it is asked to.
#[test]
fn stop_ends_a_training_that_can_go_on() {
    let world = World::new(12);
    let (data, run) = (world.read(), world.out("run"));
    let tiny = TrainSettings { learning_rate: 1e-14, watch_every: 1, watch: WatchMode::Stop, ..settings() };
    let mut watch = Watch::quiet();
    let outcome = watch.train(&data, &tiny, &run, Mode::New).unwrap();
    let known = outcome.findings.clone();
    let Finding { rule, step, tensor, command, .. } = outcome.stopped_by.clone().unwrap();
    assert_eq!((rule.as_str(), step, tensor.ends_with("weight")), ("update-ratio", 1, true));
    assert!(command.contains("run/config.toml --find-learning-rate"), "{command}");
    assert_eq!((outcome.epochs_done, outcome.interrupted), (1, false));
    assert!(watch.heard("Finding") && watch.heard("stopped by the watch in epoch 1"));
    for file in
        ["best.safetensors", "last.safetensors", "predictions.csv", "watch.json", "checkpoint/state.json"]
    {
        assert!(run.join(file).exists(), "{file}");
    }
    let log = fs::read_to_string(run.join("log.jsonl")).unwrap();
    assert!(log.lines().any(|line| line.contains("\"finding\"") && line.contains("update-ratio")), "{log}");

    // Nothing is left to do while it is to stop; otherwise it goes on with the next epoch.
    let again = Watch::quiet().train(&data, &tiny, &run, Mode::Resume).unwrap();
    assert_eq!(again.epochs_done, 1);
    let warn = TrainSettings { watch: WatchMode::Warn, ..tiny };
    let outcome = Watch::quiet().train(&data, &warn, &run, Mode::Resume).unwrap();
    assert_eq!((outcome.epochs_done, outcome.stopped_by), (2, None));
    let again = outcome
        .findings
        .iter()
        .any(|new| known.iter().any(|old| (&old.rule, &old.tensor) == (&new.rule, &new.tensor)));
    assert!(!again && !known.is_empty(), "what is known is told once");
}

#[test]
fn an_explosion_is_found_where_it_happens() {
    let world = World::new(12);
    let (data, run) = (world.read(), world.out("run"));
    let high = TrainSettings { optimiser: OptimiserKind::Sgd, learning_rate: 1e30, ..settings() };
    let mut watch = Watch::quiet();
    let error = watch.train(&data, &high, &run, Mode::New).unwrap_err();
    assert!(matches!(error, TrainError::NonFiniteLoss { .. }), "{error}");
    let watched = watched(&run);
    let found = watched.findings().into_iter().find(|finding| finding.rule == "exploding-tensor").unwrap();
    assert!(found.tensor.ends_with("(ReLU)"), "{found:?}");
    assert!(found.command.contains("--learning-rate 1e29 "), "{}", found.command);
    assert!(watch.heard("exploding-tensor"));
}

#[test]
fn thresholds_are_tried_on_a_run_that_is_there() {
    let world = World::new(12);
    let run = world.out("run");
    let mut own = settings();
    own.watch_thresholds = "class-imbalance.photos=1,class-imbalance.ratio=0.5".parse().unwrap();
    let outcome = Watch::quiet().train(&world.read(), &own, &run, Mode::New).unwrap();
    assert_eq!(outcome.findings.len(), 1, "{:?}", outcome.findings);
    let folder = RunFolder::open(&run).unwrap();
    let with = |text: &str| read_watch(&folder, &text.parse().unwrap()).unwrap().unwrap();
    assert_eq!(with("").findings().len(), 1, "the run's own hold");
    assert!(with("class-imbalance.ratio=2").findings().is_empty());
    let eager = with("update-ratio.large=0");
    let report = eager.reports.iter().find(|report| report.info.id == "update-ratio").unwrap();
    assert!(report.findings.len() > 1 && report.violations == report.datapoints, "{report:?}");
    assert_eq!(eager.reports[0], *report, "what was triggered most comes first");
    let json = report.to_json();
    assert_eq!(json["Rule"], "WeightUpdateRatio");
    assert_eq!(json["RuleTriggered"], report.findings.len());
    assert_eq!(json["RuleParameters"], "large:0\nsmall:0.00000001");
    assert_eq!(json["Details"]["findings"][0]["threshold"], 0.0);
}

#[test]
fn a_damaged_file_is_told_and_harms_nothing_else() {
    let world = World::new(12);
    let (data, run) = (world.read(), world.out("run"));
    Watch::stop_after(3).train(&data, &settings(), &run, Mode::New).unwrap();
    let file = run.join("watch.jsonl");
    fs::write(&file, "{\"record\":\"nonsense\"}\n").unwrap();
    let error = Watch::quiet().train(&data, &settings(), &run, Mode::Resume).unwrap_err();
    assert!(matches!(error, TrainError::Watch { .. }) && error.to_string().contains("line 1"), "{error}");
    assert!(error.hint().unwrap().contains("--watch off"));
    let off = TrainSettings { watch: WatchMode::Off, ..settings() };
    assert_eq!(Watch::quiet().train(&data, &off, &run, Mode::Resume).unwrap().epochs_done, 2);
}

/// A run whose log does not end is held against the clock.
#[test]
fn a_training_that_hangs_is_told_from_outside() {
    let world = World::new(12);
    let run = world.out("run");
    Watch::quiet().train(&world.read(), &settings(), &run, Mode::New).unwrap();
    let file = run.join("watch.jsonl");
    let text = fs::read_to_string(&file).unwrap();
    let time = text.split("\"time\":").nth(1).unwrap().split(',').next().unwrap().to_owned();
    fs::write(&file, text.replace(&time, "1000000000.0")).unwrap();
    assert!(watched(&run).findings().is_empty(), "it is finished");
    let log = fs::read_to_string(run.join("log.jsonl")).unwrap();
    let unfinished: String =
        log.lines().filter(|line| !line.contains("finished")).map(|line| format!("{line}\n")).collect();
    fs::write(run.join("log.jsonl"), unfinished).unwrap();
    let watched = watched(&run);
    assert_eq!(watched.findings()[0].rule, "stalled-training");
    assert!(watched.findings()[0].command.contains("pugmark train --resume"));
}
