//! `pugmark train --folds`.

use std::fs;

use serde_json::Value;

use crate::harness::Place;

fn train<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let quick = [
        "--model",
        "simple_cnn",
        "--image-size",
        "32",
        "--epochs",
        "8",
        "--batch-size",
        "4",
        "--loader-threads",
        "1",
    ];
    ["train"].iter().chain(arguments).chain(&quick).copied().collect()
}

fn ids(csv: &str) -> Vec<String> {
    csv.lines().skip(1).map(|line| line.split(',').next().unwrap().to_owned()).collect()
}

#[test]
fn every_photo_is_measured_by_the_run_that_did_not_see_it() {
    let place = Place::new();
    place.photos(6);
    place.write("photos/day/broken.png", "no photo");
    place.snapshot_of_figures("folds", &train(&["photos", "--folds", "3", "--out", "cv", "--quiet"]));
    let read = |name: &str| fs::read_to_string(place.path("cv").join(name)).unwrap();

    let split = read("split.csv");
    let predictions = read("predictions.csv");
    let mut expected = ids(&split);
    expected.sort();
    assert_eq!(ids(&predictions), expected, "every photo once, by id");
    let mut csv = csv::Reader::from_reader(split.as_bytes());
    for row in csv.records().map(Result::unwrap) {
        let own = read(&format!("fold-{}/predictions.csv", &row[4]));
        let line = predictions.lines().find(|line| line.starts_with(&row[0])).unwrap();
        assert!(own.lines().any(|other| other == line), "{line} is of fold {}", &row[4]);
    }
    let summary: Value = serde_json::from_str(&read("summary.json")).unwrap();
    assert_eq!(summary["folds"].as_array().unwrap().len(), 3);
    assert_eq!((summary["pooled"]["images"].as_u64(), summary["broken"].as_u64()), (Some(18), Some(1)));
    let accuracies: Vec<f64> =
        summary["folds"].as_array().unwrap().iter().map(|fold| fold["accuracy"].as_f64().unwrap()).collect();
    let mean = accuracies.iter().sum::<f64>() / 3.0;
    assert!((summary["mean"]["accuracy"].as_f64().unwrap() - mean).abs() < 1e-12);
    place.done(&["eval", "cv/fold-1", "--with", "cv/fold-2", "--with", "cv/fold-3"]);

    // The same as one fold of the file by itself.
    place.done(&train(&["photos", "--split-file", "cv/split.csv", "--fold", "2", "--out", "alone"]));
    let best = |run: &str| fs::read(place.path(run).join("best.safetensors")).unwrap();
    assert_eq!(best("alone"), best("cv/fold-2"));

    place.snapshot_of_figures("folds_taken", &train(&["photos", "--folds", "3", "--out", "cv"]));
    place.snapshot(
        "folds_other_count",
        &train(&["photos", "--folds", "4", "--split-file", "cv/split.csv", "--out", "x"]),
    );
    place.done(&train(&["photos", "--folds", "3", "--split-file", "cv/split.csv", "--out", "again"]));
    assert_eq!(fs::read_to_string(place.path("again/predictions.csv")).unwrap(), predictions);
    place.write("cv/notes.txt", "mine");
    let call = train(&["photos", "--folds", "3", "--out", "cv", "--overwrite"]);
    assert!(place.run(&call).stderr.contains("notes.txt"));
    fs::remove_file(place.path("cv/notes.txt")).unwrap();
    place.done(&call);
}

#[test]
fn killed_and_resumed() {
    let place = Place::new();
    place.photos(6);
    let call = train(&["photos", "--folds", "3", "--out", "whole", "--test", "0.2"]);
    place.done(&call);
    let call = train(&["photos", "--folds", "3", "--out", "killed", "--test", "0.2"]);
    let mut child = place.command(&call).spawn().unwrap();
    while !place.path("killed/fold-2/config.toml").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!place.path("killed/summary.json").exists());
    place.done(&["train", "--resume", "killed"]);
    let read = |run: &str, name: &str| fs::read(place.path(run).join(name)).unwrap();
    for name in
        ["predictions.csv", "fold-1/best.safetensors", "fold-2/best.safetensors", "fold-3/last.safetensors"]
    {
        assert!(read("whole", name) == read("killed", name), "{name}");
    }
    // A test part is in no fold.
    let split = fs::read_to_string(place.path("whole/split.csv")).unwrap();
    let tested = split.lines().filter(|line| line.contains(",test,")).count();
    let predictions = fs::read_to_string(place.path("whole/predictions.csv")).unwrap();
    assert!(tested > 0 && predictions.lines().count() + tested == split.lines().count());
}

#[test]
fn overwriting_was_killed() {
    let place = Place::new();
    place.photos(6);
    let call = |run: &'static str| train(&["photos", "--folds", "2", "--seed", "5", "--out", run]);
    place.done(&call("whole"));
    place.done(&train(&["photos", "--folds", "2", "--out", "killed"]));
    let before = fs::read(place.path("killed/fold-1/best.safetensors")).unwrap();
    let mut child = place.command(&[&call("killed")[..], &["--overwrite"]].concat()).spawn().unwrap();
    while !fs::read(place.path("killed/fold-1/best.safetensors")).is_ok_and(|bytes| bytes != before) {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    place.done(&["train", "--resume", "killed"]);
    for name in ["predictions.csv", "fold-1/last.safetensors", "fold-2/best.safetensors"] {
        let read = |run: &str| fs::read(place.path(run).join(name)).unwrap();
        assert!(read("whole") == read("killed"), "{name}");
    }
}

#[test]
fn wrong_folds() {
    let place = Place::new();
    place.photos(2);
    place.snapshot("folds_and_find", &train(&["photos", "--folds", "3", "--find-learning-rate"]));
    place.snapshot("folds_one", &train(&["photos", "--folds", "1"]));
    place.snapshot(
        "folds_and_fold",
        &train(&["photos", "--folds", "3", "--split-file", "f.csv", "--fold", "1"]),
    );
    let rows: String = (0..6)
        .map(|n| format!("day/0{}.png,day,S{}\nnight/0{}.png,night,S{}\n", n % 2, n % 2, n % 2, n % 2))
        .take(2)
        .collect();
    place.write("photos/labels.csv", format!("filepath,label,site\n{rows}"));
    place.snapshot("folds_more_than_sites", &train(&["photos/labels.csv", "--folds", "3"]));
    place.done(&["split", "photos", "--out", "plain.csv"]);
    place.snapshot(
        "folds_of_a_split_without",
        &train(&["photos", "--folds", "3", "--split-file", "plain.csv"]),
    );
    place.write("full/mine.txt", "");
    place.snapshot(
        "folds_in_a_full_folder",
        &train(&["photos", "--folds", "2", "--split", "random", "--out", "full"]),
    );
}
