//! `pugmark export`.

use std::collections::BTreeMap;
use std::fs;

use pugmark_graph::{Architecture, read_metadata, read_weights, write_safetensors};
use serde_json::Value;

use crate::harness::Place;

/// A run of a small network on three classes.
fn trained() -> Place {
    let place = Place::new();
    place.photos(4);
    let quick = ["--model", "simple_cnn", "--image-size", "32", "--epochs", "1", "--loader-threads", "1"];
    place.done(&[&["train", "photos", "--out", "run"], &quick[..]].concat());
    place
}

#[test]
fn every_format() {
    let place = trained();
    let model = read_weights(&place.path("run/best.safetensors")).unwrap();
    for (format, run, more) in [
        ("onnx", "run", &[][..]),
        ("onnx", "run/last.safetensors", &["--with-preprocessing"]),
        ("safetensors", "run", &[]),
        ("pth", "run/best.safetensors", &[]),
    ] {
        let out = format!("model.{format}");
        let call = ["export", run, "--format", format, "--out", &out, "--overwrite", "--json"];
        let ended = place.done(&[&call[..], more].concat());
        let said: Value = serde_json::from_str(&ended.stdout).unwrap();
        let bytes = fs::metadata(place.path(&out)).unwrap().len();
        assert_eq!(said["format"], format);
        assert_eq!(said["bytes"].as_u64(), Some(bytes));
        assert_eq!(said["classes"], serde_json::json!(["day", "dusk", "night"]));
        assert_eq!(said["with_preprocessing"], !more.is_empty());
        assert!(said["largest_difference"].as_f64() <= said["tolerance"].as_f64());
        assert!(ended.stderr.contains(&format!("{out} is written, ")), "{}", ended.stderr);
        if format != "onnx" {
            assert_eq!(read_weights(&place.path(&out)).unwrap(), model);
            assert!(ended.stderr.contains("bit for bit"), "{}", ended.stderr);
        }
    }
    // Ready for pugmark too, and its classes for anyone.
    let metadata = read_metadata(&place.path("model.safetensors")).unwrap();
    assert_eq!(metadata["classes"], r#"["day","dusk","night"]"#);
    let predict = |model| place.done(&["predict", model, "photos"]).stdout;
    assert_eq!(predict("model.safetensors"), predict("run"));
    let left: Vec<_> =
        fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 5, "photos, run and three files, and nothing else: {left:?}");
}

#[test]
fn what_stops_an_export() {
    let place = trained();
    place.write("taken.onnx", "mine");
    place.write("unfinished/config.toml", "");
    fs::create_dir(place.path("folder")).unwrap();
    let tensors = Architecture::SimpleCnn.graph(3).initialise(0);
    let card = BTreeMap::from([("pugmark".to_owned(), r#"{"format": 99, "version": "9.0.0"}"#.to_owned())]);
    write_safetensors(fs::File::create(place.path("newer.safetensors")).unwrap(), &tensors, &card).unwrap();
    let cases: [(&str, &[&str]); 9] = [
        ("export_no_run", &["nowhere", "--format", "onnx", "--out", "x.onnx"]),
        ("export_no_model", &["unfinished", "--format", "onnx", "--out", "x.onnx"]),
        ("export_not_a_run", &["photos", "--format", "pth", "--out", "x.pth"]),
        ("export_newer", &["newer.safetensors", "--format", "onnx", "--out", "x.onnx"]),
        ("export_exists", &["run", "--format", "onnx", "--out", "taken.onnx"]),
        ("export_no_folder", &["run", "--format", "onnx", "--out", "no/x.onnx"]),
        ("export_onto_a_folder", &["run", "--format", "pth", "--out", "folder", "--overwrite"]),
        (
            "export_preprocessing_of_pth",
            &["run", "--format", "pth", "--out", "x.pth", "--with-preprocessing"],
        ),
        ("export_no_format", &["run", "--format", "tflite", "--out", "x.tflite"]),
    ];
    for (name, arguments) in cases {
        place.snapshot(name, &[&["export"], arguments].concat());
    }
    for left in ["x.onnx", "x.pth", "no", ".folder.new"] {
        assert!(!place.path(left).exists(), "{left} was left behind");
    }
    assert_eq!(fs::read_to_string(place.path("taken.onnx")).unwrap(), "mine");
    assert!(place.path("folder").is_dir());
}
