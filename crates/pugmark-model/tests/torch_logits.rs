//! Real weights on real photos against PyTorch: decoding, resizing, normalising and the network in one.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::env;
use std::path::{Path, PathBuf};

use pugmark_data::{Limits, Recipe, decode_file};
use pugmark_engine::Cpu;
use pugmark_graph::{Architecture, Tensors, read_weights};
use pugmark_model::{Classifier, FORMAT, Model, ModelCard};
use safetensors::SafeTensors;

fn test_data() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data");
    env::var_os("PUGMARK_TEST_DATA").map_or(beside, PathBuf::from)
}

fn classifier(tensors: Tensors) -> Classifier {
    let card = ModelCard {
        format: FORMAT,
        version: "test".into(),
        architecture: Architecture::ResNet18,
        classes: (0..1000).map(|class| class.to_string()).collect(),
        recipe: Recipe::imagenet(224),
        temperature: 1.0,
        calibration: None,
        data_hash: String::new(),
        split_hash: String::new(),
        split_how: String::new(),
        metrics: Default::default(),
        epoch: 0,
    };
    Classifier::from_model(Model { card, tensors }, &Cpu::new(2).unwrap(), 20).unwrap()
}

fn tensor(file: &Path, name: &str) -> Vec<u8> {
    SafeTensors::deserialize(&std::fs::read(file).unwrap()).unwrap().tensor(name).unwrap().data().to_vec()
}

/// The largest difference of a photo's logits as a share of its largest logit; the worst photo counts.
fn worst(found: &[f32], expected: &[u8]) -> f32 {
    let expected: Vec<f32> =
        expected.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(found.len(), expected.len());
    found.chunks(1000).zip(expected.chunks(1000)).fold(0.0, |worst: f32, (found, expected)| {
        let scale = expected.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
        let difference = found.iter().zip(expected).fold(0.0_f32, |m, (f, e)| m.max((f - e).abs()));
        worst.max(difference / scale)
    })
}

/// Each side decodes and resizes by itself. JPEG decoders may differ by a few levels of 255; 2e-2 of the largest logit
/// moves no photo from one class to another that was not a tie.
#[test]
fn logits_of_photos_agree_with_pytorchs() {
    let weights = test_data().join("weights/resnet18-pqf-fp16.pth");
    if !weights.exists() {
        eprintln!("skipped: there is no {}", weights.display());
        return;
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
    let mut classifier = classifier(read_weights(&weights).unwrap());
    let names: Vec<String> =
        serde_json::from_slice(&std::fs::read(fixtures.join("ants_bees_logits.json")).unwrap()).unwrap();
    let recipe = Recipe::imagenet(224);
    let pixels: Vec<u8> = names
        .iter()
        .map(|name| test_data().join("ants-bees/val").join(name))
        .flat_map(|path| recipe.apply(&decode_file(&path, &Limits::default()).unwrap()))
        .collect();
    let logits = classifier.logits(names.len(), &pixels).unwrap();
    let difference = worst(&logits, &tensor(&fixtures.join("ants_bees_logits.safetensors"), "logits"));
    println!("own pixels: largest difference {difference:.1e} of the largest logit");
    assert!(difference < 2e-2, "{difference}");

    // The same pixels, where `bench/logits_torch.py` has written them: what is left is the network's rounding.
    let Some(folder) = env::var_os("PUGMARK_TORCH_LOGITS").map(PathBuf::from) else {
        println!(
            "the same pixels: skipped, PUGMARK_TORCH_LOGITS does not name bench/logits_torch.py's folder"
        );
        return;
    };
    let file = folder.join("logits.safetensors");
    let pixels = tensor(&file, "pixels");
    let logits = classifier.logits(names.len(), &pixels).unwrap();
    let difference = worst(&logits, &tensor(&file, "logits"));
    println!("the same pixels: largest difference {difference:.1e} of the largest logit");
    assert!(difference < 1e-3, "{difference}");
}
