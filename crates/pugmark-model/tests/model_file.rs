//! Model files: what is written is read, and anything else is refused with a reason.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use pugmark_data::Recipe;
use pugmark_engine::Cpu;
use pugmark_graph::{Architecture, write_safetensors};
use pugmark_model::{Classifier, FORMAT, Model, ModelCard, ModelError};
use serde_json::{Value, json};

fn model() -> Model {
    let classes = ["bird", "blank", "hog"].map(String::from).to_vec();
    Model {
        tensors: Architecture::SimpleCnn.graph(classes.len()).initialise(7),
        card: ModelCard {
            format: FORMAT,
            version: "0.1.0".into(),
            architecture: Architecture::SimpleCnn,
            classes,
            recipe: Recipe::imagenet(32),
            temperature: 1.25,
            calibration: None,
            data_hash: "d".into(),
            split_hash: "s".into(),
            split_how: "site".into(),
            metrics: BTreeMap::from([("val_acc".into(), 0.1 + 0.2), ("val_loss".into(), 1.0 / 3.0)]),
            epoch: 3,
        },
    }
}

#[test]
fn what_is_written_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a.safetensors"), folder.path().join("b.safetensors"));
    model().write(&a).unwrap();
    let read = Model::read(&a).unwrap();
    assert_eq!(read, model());
    read.write(&b).unwrap();
    assert_eq!(fs::read(a).unwrap(), fs::read(b).unwrap(), "equal models give equal bytes");
}

/// Writes the model with its card changed.
fn write_changed(path: &Path, model: &Model, change: impl FnOnce(&mut Value)) {
    let mut card = serde_json::to_value(&model.card).unwrap();
    change(&mut card);
    let metadata = BTreeMap::from([("pugmark".to_string(), card.to_string())]);
    write_safetensors(File::create(path).unwrap(), &model.tensors, &metadata).unwrap();
}

#[test]
fn other_files_are_refused_with_a_reason() {
    struct Case {
        what: &'static str,
        change: fn(&mut Value),
        error: &'static str,
    }
    let cases = [
        Case {
            what: "a newer format",
            change: |card| *card = json!({ "format": 2, "version": "9.0.0", "other": true }),
            error: "has model format 2, written by pugmark 9.0.0",
        },
        Case {
            what: "another architecture",
            change: |card| card["architecture"] = json!("resnet18"),
            error: "the weights do not fit the model",
        },
        Case {
            what: "an unknown architecture",
            change: |card| card["architecture"] = json!("alexnet"),
            error: "unknown variant `alexnet`",
        },
        Case {
            what: "another number of classes",
            change: |card| card["classes"] = json!(["a", "b"]),
            error: "fc.weight [3, 256] in the file, [2, 256] in the model",
        },
        Case { what: "no classes", change: |card| card["classes"] = json!([]), error: "0 classes" },
        Case {
            what: "no temperature",
            change: |card| card["temperature"] = json!(0.0),
            error: "3 classes at temperature 0",
        },
        Case { what: "no card", change: |card| *card = json!("x"), error: "is not a pugmark model" },
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    for Case { what, change, error } in cases {
        write_changed(&path, &model(), change);
        let found = Model::read(&path).unwrap_err();
        assert!(found.to_string().contains(error), "{what}: {found}");
        assert!(found.to_string().contains("m.safetensors"), "{what} names the file: {found}");
        assert!(found.hint().is_some(), "{what} has a hint");
    }
}

#[test]
fn files_that_are_no_models() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.safetensors");
    assert!(matches!(Model::read(&path), Err(ModelError::Missing { .. })));
    write_safetensors(File::create(&path).unwrap(), &model().tensors, &BTreeMap::new()).unwrap();
    assert!(matches!(Model::read(&path), Err(ModelError::NotAModel { .. })), "weights without a card");
    model().write(&path).unwrap();
    let whole = fs::read(&path).unwrap();
    for length in [0, 4, 100, whole.len() / 2, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = Model::read(&path).unwrap_err();
        assert!(matches!(error, ModelError::Weights(_)), "cut to {length} bytes: {error}");
    }
}

#[test]
fn a_run_gives_its_best_model() {
    let folder = tempfile::tempdir().unwrap();
    let engine = Cpu::new(1).unwrap();
    let open = || Classifier::open(folder.path(), &engine, 2);
    assert!(matches!(open().err(), Some(ModelError::NotARun { .. })));
    fs::write(folder.path().join("config.toml"), "").unwrap();
    assert!(matches!(open().err(), Some(ModelError::NoBest { .. })));
    model().write(&folder.path().join("best.safetensors")).unwrap();
    assert_eq!(*open().unwrap().card(), model().card);
}

#[test]
fn probabilities_are_the_softmax_of_logits_over_the_temperature() {
    let engine = Cpu::new(1).unwrap();
    let mut classifier = Classifier::from_model(model(), &engine, 2).unwrap();
    let pixels: Vec<u8> = (0..2 * 32 * 32 * 3).map(|i| (i * 37 % 251) as u8).collect();
    let logits = classifier.logits(2, &pixels).unwrap();
    let probabilities = classifier.probabilities(2, &pixels).unwrap();
    for (logits, row) in logits.chunks(3).zip(probabilities.chunks(3)) {
        let exp: Vec<f64> = logits.iter().map(|&v| (f64::from(v) / 1.25).exp()).collect();
        let sum: f64 = exp.iter().sum();
        for (p, e) in row.iter().zip(&exp) {
            // Half a unit in the last place of a f32 below 1.
            assert!((f64::from(*p) - e / sum).abs() < 6e-8, "{logits:?} {row:?}");
        }
    }
    assert!(classifier.probabilities(3, &pixels).is_err(), "more than the batch");
}

#[test]
fn the_last_layer_takes_up_scales_and_shifts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scaled.safetensors");
    let engine = Cpu::new(1).unwrap();
    let (scales, shifts) = ([0.4, 2.5, -0.1_f32], [1.5, 0.0, -3.0_f32]);
    let pixels: Vec<u8> = (0..2 * 32 * 32 * 3).map(|i| (i * 37 % 251) as u8).collect();
    use Architecture::{ConvNextTiny, EfficientNetB0, ResNet18, SimpleCnn, SwinT};
    for architecture in [SimpleCnn, ResNet18, ConvNextTiny, SwinT, EfficientNetB0] {
        let mut model = Model { tensors: architecture.graph(3).initialise(7), ..model() };
        model.card.architecture = architecture;
        let mut plain = Classifier::from_model(model.clone(), &engine, 2).unwrap();
        model.scaled(&scales, &shifts, "vector scaling".into()).write(&path).unwrap();
        let mut scaled = Classifier::open(&path, &engine, 2).unwrap();
        let expected = ModelCard {
            temperature: 1.0,
            calibration: Some("vector scaling".into()),
            ..plain.card().clone()
        };
        assert_eq!(*scaled.card(), expected);
        let logits = plain.logits(2, &pixels).unwrap();
        let rows = scaled.probabilities(2, &pixels).unwrap();
        for (z, row) in logits.chunks(3).zip(rows.chunks(3)) {
            let weight = |class: usize| f64::from(scales[class].mul_add(z[class], shifts[class])).exp();
            let sum: f64 = (0..3).map(weight).sum();
            for (class, &found) in row.iter().enumerate() {
                // Sums of up to 2048 products near 1 in f32, in two roundings of the weights.
                assert!(
                    (f64::from(found) - weight(class) / sum).abs() < 1e-5,
                    "{architecture}: {z:?} {row:?}"
                );
            }
        }
    }
}
