//! The watch of a training, as people meet it.

use serde_json::Value;

use crate::harness::Place;

const TRAIN: [&str; 16] = [
    "train",
    "photos",
    "--out",
    "run",
    "--model",
    "simple_cnn",
    "--image-size",
    "16",
    "--epochs",
    "2",
    "--batch-size",
    "6",
    "--precision",
    "f32",
    "--watch-every",
    "2",
];

#[test]
fn a_sound_training_is_judged_again() {
    let place = Place::new();
    place.photos(8);
    let trained = place.done(&TRAIN);
    assert!(!trained.stderr.contains("watch:"), "{}", trained.stderr);
    let judged = place.done(&["watch", "run"]).stdout;
    assert!(judged.starts_with("21 rules judged ") && judged.ends_with("nothing was found\n"), "{judged}");
    let eager = place.done(&["watch", "run", "--threshold", "update-ratio.large=0"]).stdout;
    assert!(
        eager.contains("update-ratio: block1.conv.weight, step 1 (epoch 1): the step changes"),
        "{eager}"
    );
    assert!(eager.contains("try    the learning rate is far off"), "{eager}");
    let json = place.done(&["watch", "run", "--threshold", "update-ratio.large=0", "--json"]).stdout;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json.as_array().unwrap().len(), 21);
    let first = &json[0];
    assert_eq!(
        (first["Rule"].as_str(), first["RuleParameters"].as_str()),
        (Some("WeightUpdateRatio"), Some("large:0\nsmall:0.00000001"))
    );
    assert!(first["RuleTriggered"].as_u64().unwrap() > 1 && first["Violations"] == first["Datapoints"]);
    let page = std::fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(
        page.contains("<h2>The watch</h2>") && page.contains("update ratios by step"),
        "the report shows it"
    );
    place.snapshot("watch_no_such_rule", &["watch", "run", "--threshold", "under.ratio=1"]);
    place.snapshot("watch_no_run", &["watch", "photos"]);
}

#[test]
fn stop_ends_with_what_to_try() {
    let place = Place::new();
    place.photos(8);
    let stop = [&TRAIN[..], &["--learning-rate", "1e-14", "--watch", "stop"]].concat();
    let ended = place.run(&stop);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let said = "error: the watch ended the training in step 1: update-ratio: ";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("hint: the learning rate is far off: search for it: pugmark train --config")
    );
    assert!(place.path("run/best.safetensors").exists() && place.path("run/report.html").exists());
    let resumed = place.done(&["train", "--resume", "run", "--watch", "warn"]);
    assert!(resumed.stdout.contains("epoch=2;"), "{}", resumed.stdout);
}

#[test]
fn a_training_that_was_not_watched_is_said_to_be() {
    let place = Place::new();
    place.photos(8);
    place.done(&[&TRAIN[..], &["--watch", "off"]].concat());
    place.snapshot("watch_off", &["watch", "run"]);
    place.snapshot("watch_thresholds", &["train", "photos", "--watch-thresholds", "overfit"]);
}
