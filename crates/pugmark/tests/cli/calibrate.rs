//! `pugmark eval --calibrate vector`: a model that is calibrated class by class.

use std::fs;

use pugmark_graph::read_metadata;
use serde_json::Value;

use crate::harness::Place;

/// Twelve drawn sites to train and validate on, and others; trained until it is too sure.
#[test]
fn calibration_helps_on_unseen_sites() {
    let place = Place::new();
    place.done(&["demo", "--out", "demo", "--world-only", "--sites", "12"]);
    let world = |part: &str| format!("demo/world/{part}_labels.csv");
    let (train, test) = (world("train"), world("test"));
    let settings = ["--model", "simple_cnn", "--image-size", "32", "--epochs", "8", "--precision", "f32"];
    let overfitted = ["--batch-size", "16", "--learning-rate", "0.002", "--out", "run"];
    place.done(&[&["train", &train], &settings[..], &overfitted].concat());

    let call = ["eval", "run", &test, "--calibrate", "vector", "--out", "vector.safetensors"];
    let ended = place.done(&[&call[..], &["--json"]].concat());
    let said: Value = serde_json::from_str(&ended.stdout).unwrap();
    let loss = |photos: &str, how: &str| said[photos][how]["log_loss"].as_f64().unwrap();
    let [fitted, other] = ["fitted", "other"].map(|photos| {
        let losses = ["uncalibrated", "temperature", "vector"].map(|how| loss(photos, how));
        println!("{photos}: {losses:.4?}");
        losses
    });
    assert!(fitted[0] > fitted[1] && fitted[1] > fitted[2], "{fitted:?}");
    assert!(other[0] > other[1], "{other:?}");
    let warned = ended.stderr.contains("the temperature alone is better");
    assert_eq!(warned, other[2] > other[1], "{}", ended.stderr);

    // What is promised is what the file gives; f32 weights are rounded once more.
    let json = |run: &str, data: &[&str]| -> Value {
        let call = [&["eval", run], data, &["--json"]].concat();
        serde_json::from_str(&place.done(&call).stdout).unwrap()
    };
    let (own, new) = (json("run", &[]), json("vector.safetensors", &[&test]));
    for (what, promised, given) in [
        ("the run", fitted[1], &own["log_loss"]),
        ("the run without its temperature", fitted[0], &own["uncalibrated_log_loss"]),
        ("the new model", other[2], &new["log_loss"]),
    ] {
        let given = given.as_f64().unwrap();
        assert!((promised - given).abs() < 1e-5 * given, "{what}: {promised} {given}");
    }
    let how = format!("vector scaling on {} validation photos", said["fitted"]["images"]);
    // Behind it stands which scales and shifts.
    assert!(new["calibration"].as_str().unwrap().starts_with(&how), "{}", new["calibration"]);
    assert_eq!(new["temperature"], 1.0);
    assert_eq!(new["accuracy"], said["other"]["vector"]["accuracy"]);
    let card: Value =
        serde_json::from_str(&read_metadata(&place.path("vector.safetensors")).unwrap()["pugmark"]).unwrap();
    assert_eq!((&card["calibration"], &card["temperature"]), (&new["calibration"], &Value::from(1.0)));

    let text = place.done(&[&call[..], &["--overwrite"]].concat()).stdout;
    assert_eq!(text.matches("vector scaling").count(), 2, "{text}");
    let text = place.done(&["eval", "vector.safetensors", &test]).stdout;
    assert!(text.contains("Its last layer is calibrated by vector scaling on"), "{text}");
}

#[test]
fn what_stops_it() {
    let place = Place::new();
    place.photos(4);
    let quick = ["--model", "simple_cnn", "--image-size", "32", "--epochs", "1", "--loader-threads", "1"];
    place.done(&[&["train", "photos", "--out", "run"], &quick[..]].concat());
    place.write("taken.safetensors", "mine");
    fs::create_dir(place.path("folder")).unwrap();
    let cases: [(&str, &[&str]); 6] = [
        ("calibrate_without_out", &["run"]),
        ("calibrate_a_model_file", &["run/best.safetensors", "photos", "--out", "x.safetensors"]),
        ("calibrate_onto_a_file", &["run", "--out", "taken.safetensors"]),
        ("calibrate_onto_a_folder", &["run", "--out", "folder", "--overwrite"]),
        ("calibrate_no_folder", &["run", "--out", "no/x.safetensors"]),
        ("calibrate_no_such_part", &["run", "--part", "test", "--out", "x.safetensors"]),
    ];
    for (name, arguments) in cases {
        place.snapshot(name, &[&["eval", "--calibrate", "vector"], arguments].concat());
    }
    assert!(!place.path("x.safetensors").exists());
    assert_eq!(fs::read_to_string(place.path("taken.safetensors")).unwrap(), "mine");
    place.snapshot_of_figures(
        "calibrate_few_photos",
        &["eval", "run", "--calibrate", "vector", "--out", "x.safetensors"],
    );
}
