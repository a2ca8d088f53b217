//! `train --profile` and `train --tensorboard`.

use serde_json::Value;

use crate::harness::{Place, ended};

const TRAIN: [&str; 11] = [
    "train",
    "photos",
    "--model",
    "simple_cnn",
    "--image-size",
    "16",
    "--batch-size",
    "4",
    "--cache-mib",
    "0",
    "--profile",
];

fn profile(place: &Place) -> Value {
    serde_json::from_slice(&std::fs::read(place.path("run/profile.json")).unwrap()).unwrap()
}

/// A loader that sleeps for 30 ms before each photo is the limit, and is named.
#[test]
fn a_slow_loader_is_found_and_named() {
    let place = Place::new();
    place.photos(8);
    let mut command =
        place.command(&[&TRAIN[..], &["--out", "run", "--epochs", "2", "--loader-threads", "1"]].concat());
    let said = ended(command.env("PUGMARK_LOADER_SLEEP_MS", "30"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let profile = profile(&place);
    let verdict = profile["verdict"].as_str().unwrap();
    for part in ["Loading photos is the limit", "on reading", "with the loader free you would reach"] {
        assert!(verdict.contains(part), "{part}: {verdict}");
    }
    assert!(said.stderr.contains(verdict), "{}", said.stderr);
    let rule = &profile["rules"]["LoaderBottleneck"];
    assert_eq!(
        (rule["RuleTriggered"].as_u64(), &rule["Details"]["slowest_stage"]),
        (Some(1), &"reading".into())
    );
    // 18 photos, two epochs, 30 ms each.
    assert!(profile["loader"]["read"].as_f64() >= Some(2.0 * 18.0 * 0.03), "{}", profile["loader"]);
    let steps = &profile["steps"];
    assert!(steps["images_per_sec_without_loading"].as_f64() > steps["images_per_sec"].as_f64());
    let report = std::fs::read_to_string(place.path("run/report.html")).unwrap();
    assert!(
        report.contains("Profile: where the time went") && report.contains("Loading photos is the limit")
    );
}

/// With the variable and without `--profile` nothing sleeps and nothing is written.
#[test]
fn nothing_is_measured_unless_it_is_asked_for() {
    let place = Place::new();
    place.photos(4);
    let mut command =
        place.command(&[&TRAIN[..TRAIN.len() - 1], &["--out", "run", "--epochs", "1"]].concat());
    // A day for each photo.
    let said = ended(command.env("PUGMARK_LOADER_SLEEP_MS", "86400000"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for name in ["profile.json", "trace.json", "tensorboard"] {
        assert!(!place.path("run").join(name).exists(), "{name}");
    }
    let config = std::fs::read_to_string(place.path("run/config.toml")).unwrap();
    assert!(!config.contains("profile") && !config.contains("tensorboard"), "{config}");
    assert!(!said.stderr.contains("profile:"), "{}", said.stderr);
}

fn event_files(place: &Place, folder: &str) -> usize {
    let entries = std::fs::read_dir(place.path(folder)).map(|entries| entries.count());
    entries.unwrap_or(0)
}

#[test]
fn event_files_go_where_they_are_asked_for() {
    let place = Place::new();
    place.photos(6);
    let train = &TRAIN[..TRAIN.len() - 1];
    place.done(&[train, &["--out", "run", "--tensorboard", "--epochs", "1"]].concat());
    assert_eq!(event_files(&place, "run/tensorboard"), 1);
    // A resumed run adds a file of its own, and its config still asks for it.
    place.done(&["train", "--resume", "run", "--epochs", "2"]);
    assert_eq!(event_files(&place, "run/tensorboard"), 2);
    place.done(&[train, &["--out", "run", "--tensorboard=all", "--overwrite", "--epochs", "1"]].concat());
    assert_eq!((event_files(&place, "run/tensorboard"), event_files(&place, "all/run")), (0, 1));
    // What is in the way is an error that names it.
    place.write("file", "not a folder");
    let said = place.run(&[train, &["--out", "other", "--tensorboard=file"]].concat());
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("file/other") && said.stderr.contains("hint:"), "{}", said.stderr);
}
