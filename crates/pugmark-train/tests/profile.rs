//! What `profile` measures, and that it changes nothing.

mod common;

use std::fs;
use std::time::Instant;

use common::{Watch, World, result, settings};
use pugmark_train::profile::{Phase, Profile};
use pugmark_train::{Event, Mode, TrainSettings};
use serde_json::Value;

fn profiled() -> TrainSettings {
    TrainSettings { profile: true, ..settings() }
}

#[test]
fn phases_add_up_to_the_time_it_took() {
    let world = World::new(20);
    let data = world.read();
    let out = world.out("run");
    let settings = TrainSettings { epochs: 3, test: 0.2, keep_augment: true, rotation: 10.0, ..profiled() };
    let clock = Instant::now();
    let outcome = Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap();
    let wall = clock.elapsed().as_secs_f64();
    assert!(!outcome.interrupted);

    let profile = Profile::read(&out.join("profile.json")).unwrap();
    let sum: f64 = profile.phases.iter().map(|time| time.seconds).sum();
    assert!((sum - profile.seconds).abs() < 0.02 * profile.seconds, "{sum} of {}", profile.seconds);
    // What is left is the writing of the profile itself, on a machine that may be busy.
    assert!(profile.seconds <= wall && profile.seconds > 0.25 * wall, "{} of {wall}", profile.seconds);
    for phase in [
        Phase::StartUp,
        Phase::Saliency,
        Phase::Loading,
        Phase::Forward,
        Phase::Backward,
        Phase::Optimiser,
        Phase::Validation,
        Phase::Saving,
        Phase::Prediction,
        Phase::Other,
    ] {
        assert!(profile.in_phase(phase) > 0.0, "{phase:?}: {profile:?}");
    }
    assert_eq!(profile.in_phase(Phase::Features), 0.0);
    let other = profile.in_phase(Phase::Other);
    assert!(other < 0.5 * profile.seconds, "{other} of {} is not accounted for", profile.seconds);

    // Batches of 6 photos, three epochs.
    let steps = profile.steps.unwrap();
    let batches =
        fs::read_to_string(out.join("split.csv")).unwrap().matches(",train,").count().div_ceil(6) as u64;
    assert_eq!(steps.count, 3 * batches);
    let in_steps = [Phase::Loading, Phase::Forward, Phase::Backward, Phase::Optimiser];
    let least: f64 = in_steps.iter().map(|phase| sum_of(&profile.phases, *phase)).sum();
    let all = steps.seconds.mean * steps.count as f64;
    assert!(
        all >= least * 0.999 && all < least + other + sum_of(&profile.phases, Phase::Saving),
        "{all}, {least}"
    );
    assert!(steps.images_per_sec_without_loading >= steps.images_per_sec);
    let loader = profile.loader.unwrap();
    assert_eq!((loader.threads, loader.batches), (1, 3 * batches));
    assert!(loader.decode > 0.0 && loader.augment > 0.0 && loader.idle >= 0.0);
    assert!(loader.ready.max <= 2.0, "a batch in the queue and one in hand: {:?}", loader.ready);
    assert!(!loader.ready_over_time.is_empty());

    // The engine's operators are a part of the three phases, and the larger one.
    let operators: f64 =
        profile.operators.iter().map(|group| group.seconds).sum::<f64>() * steps.count as f64;
    let computed: f64 = in_steps[1..].iter().map(|phase| sum_of(&profile.phases, *phase)).sum();
    assert!((operators - computed).abs() < 0.01 * computed, "{operators} {computed}");
    assert!(profile.operators.iter().any(|group| group.kind.starts_with("conv 3x3") && group.flops > 0.0));
    assert_eq!(
        profile.rules.keys().map(String::as_str).collect::<Vec<_>>(),
        [
            "LoaderBottleneck",
            "MaxInitializationTime",
            "OverallFrameworkMetrics",
            "OverallSystemUsage",
            "StepOutlier"
        ]
    );
    let json: Value = serde_json::from_slice(&fs::read(out.join("profile.json")).unwrap()).unwrap();
    let fields = json["rules"]["StepOutlier"].as_object().unwrap().keys().map(String::as_str);
    let mut fields: Vec<&str> = fields.collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["Datapoints", "Details", "RuleParameters", "RuleTriggered", "Violations"],
        "SageMaker's"
    );
}

fn sum_of(phases: &[pugmark_train::profile::PhaseTime], phase: Phase) -> f64 {
    phases.iter().filter(|time| time.phase == phase).map(|time| time.seconds).sum()
}

#[test]
fn a_profile_changes_no_byte() {
    let world = World::new(8);
    let data = world.read();
    let base = TrainSettings { flip: true, accumulate: 2, loader_threads: 3, ..settings() };
    let [plain, profiled] = [false, true].map(|profile| {
        let out = world.out(&format!("run-{profile}"));
        let settings = TrainSettings { profile, ..base.clone() };
        Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap();
        assert_eq!(out.join("profile.json").exists(), profile);
        assert_eq!(out.join("trace.json").exists(), profile);
        result(&out)
    });
    assert!(plain == profiled);
}

#[test]
fn batches_that_are_gathered_into_a_step_count_together() {
    let world = World::new(12);
    let data = world.read();
    let out = world.out("run");
    let settings = TrainSettings { accumulate: 2, batch_size: 3, epochs: 1, ..profiled() };
    Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap();
    let profile = Profile::read(&out.join("profile.json")).unwrap();
    // 27 photos to train on: nine batches, five steps.
    let (steps, loader) = (profile.steps.unwrap(), profile.loader.unwrap());
    assert_eq!((steps.count, steps.images, loader.batches), (5, 27, 9));
    let forward = profile.operators.iter().filter(|group| group.pass == pugmark_engine::Pass::Forward);
    assert!(forward.count() > 3);
}

#[test]
fn an_interrupted_run_leaves_its_profile_and_a_resumed_one_a_new_one() {
    let world = World::new(8);
    let data = world.read();
    let out = world.out("run");
    // In the second epoch of three, which have three steps each.
    let outcome =
        Watch::stop_after(4).train(&data, &TrainSettings { epochs: 3, ..profiled() }, &out, Mode::New);
    assert!(outcome.unwrap().interrupted);
    let first = Profile::read(&out.join("profile.json")).unwrap();
    assert_eq!((first.first_epoch, first.steps.unwrap().count), (1, 4));
    let trace: Value = serde_json::from_slice(&fs::read(out.join("trace.json")).unwrap()).unwrap();
    let shown = trace["traceEvents"].as_array().unwrap().iter();
    assert_eq!(shown.filter(|event| event["name"] == "epoch 2, step 1").count(), 1);

    Watch::quiet().train(&data, &TrainSettings { epochs: 3, ..profiled() }, &out, Mode::Resume).unwrap();
    let second = Profile::read(&out.join("profile.json")).unwrap();
    assert_eq!(
        (second.first_epoch, second.steps.unwrap().count),
        (2, 5),
        "what the first process did is not in it"
    );
    // A finished run has nothing to measure, and keeps what it has.
    Watch::quiet().train(&data, &TrainSettings { epochs: 3, ..profiled() }, &out, Mode::Resume).unwrap();
    assert_eq!(Profile::read(&out.join("profile.json")).unwrap().began, second.began);
}

#[test]
fn every_checkpoint_has_the_profile_so_far() {
    let world = World::new(8);
    let data = world.read();
    let out = world.out("run");
    let (mut seen, path) = (Vec::new(), out.join("profile.json"));
    Watch::new(|event, _| {
        if let Event::Epoch(row) = event {
            seen.push((row.epoch, Profile::read(&path).unwrap().steps.unwrap().count));
        }
    })
    .train(&data, &profiled(), &out, Mode::New)
    .unwrap();
    assert_eq!(seen, [(1, 3), (2, 6)]);
}

#[test]
fn the_head_on_kept_features_has_no_loader() {
    let world = World::new(8);
    let data = world.read();
    let out = world.out("run");
    let settings = TrainSettings { freeze: pugmark_engine::Freeze::Backbone, ..profiled() };
    let mut watch = Watch::quiet();
    watch.train(&data, &settings, &out, Mode::New).unwrap();
    assert!(watch.heard("Features {"));
    let profile = Profile::read(&out.join("profile.json")).unwrap();
    assert!(profile.in_phase(Phase::Features) > 0.0 && profile.loader.is_none());
    assert_eq!(profile.steps.unwrap().count, 6);
}

#[test]
fn a_profile_that_cannot_be_read_says_why() {
    let world = World::new(1);
    let path = world.out("profile.json");
    for (text, part) in [("{", "EOF"), ("[]", "invalid"), ("{\"format\":9}", "missing field")] {
        fs::write(&path, text).unwrap();
        let error = Profile::read(&path).unwrap_err();
        assert!(error.to_string().contains(part) && error.hint().unwrap().contains("--profile"), "{error}");
    }
}
