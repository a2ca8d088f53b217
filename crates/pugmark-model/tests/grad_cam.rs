//! Grad-CAM against PyTorch in float64 (`fixtures/generators/explanations.py`), and the layer it looks at.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../pugmark-engine/tests/common/formula.rs"]
mod formula;

use std::collections::BTreeMap;
use std::path::Path;

use pugmark_data::Recipe;
use pugmark_engine::{Cpu, Engine, Precision};
use pugmark_graph::Architecture;
use pugmark_model::{FORMAT, GradCam, Model, ModelCard, ModelError};
use safetensors::SafeTensors;

const CLASSES: usize = 8;
const IMAGES: usize = 2;
const HEIGHT: usize = 64;
const WIDTH: usize = 96;

/// A model with the parameters of the formula.
fn model(architecture: Architecture, height: usize, width: usize) -> Model {
    let recipe = Recipe { width, height, mean: [0.5; 3], std: [0.25; 3], ..Recipe::imagenet(1) };
    let card = ModelCard {
        format: FORMAT,
        version: "0".into(),
        architecture,
        classes: (0..CLASSES).map(|class| class.to_string()).collect(),
        recipe,
        temperature: 1.0,
        calibration: None,
        data_hash: String::new(),
        split_hash: String::new(),
        split_how: String::new(),
        metrics: BTreeMap::new(),
        epoch: 1,
    };
    Model { tensors: formula::parameters(&architecture.graph(CLASSES)), card }
}

fn fixture(name: &str) -> Vec<f64> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/grad_cam.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    tensor.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
}

const LAYERS: [(Architecture, &str); 5] = [
    (Architecture::SimpleCnn, "block4.pool"),
    (Architecture::ResNet18, "layer4.1.relu"),
    (Architecture::ConvNextTiny, "features.7.2.add"),
    (Architecture::SwinT, "norm"),
    (Architecture::EfficientNetB0, "features.8.2"),
];

/// In f32 as far from float64 as PyTorch's f32 is, give or take: four times that, and some units in the last place of the
/// largest. In bf16, which keeps 8 bits, a twentieth of the largest.
#[test]
fn maps_agree_with_pytorch() {
    let pixels = formula::pixels("grad-cam", IMAGES * HEIGHT * WIDTH * 3);
    let cpu = Cpu::new(2).unwrap();
    for (architecture, layer) in LAYERS {
        let model = model(architecture, HEIGHT, WIDTH);
        let expected = fixture(architecture.name());
        let largest = expected.iter().fold(0.0_f64, |most, &value| most.max(value));
        assert!(largest > 0.0);
        let rounding = 4.0 * fixture(&format!("{}_f32_max_error", architecture.name()))[0];
        let engines = [
            (cpu.clone(), rounding + 1e-6 * largest),
            (cpu.clone().without_winograd(), rounding + 1e-6 * largest),
            (cpu.clone().with_precision(Precision::Bf16), 0.05 * largest),
        ];
        for (engine, tolerance) in engines {
            let mut grad_cam = GradCam::new(&model, &engine).unwrap();
            assert_eq!(grad_cam.layer(), layer);
            let mut expected = expected.iter();
            for picture in pixels.chunks_exact(HEIGHT * WIDTH * 3) {
                for class in 0..CLASSES {
                    let map = grad_cam.map(picture, class).unwrap();
                    let side = if architecture == Architecture::SimpleCnn { 16 } else { 32 };
                    assert_eq!(map.shape, [HEIGHT / side, WIDTH / side]);
                    for found in map.values {
                        let expected = expected.next().unwrap();
                        assert!(
                            (f64::from(found) - expected).abs() <= tolerance,
                            "{architecture} {class} {}: {found} against {expected}, tolerance {tolerance}",
                            engine.name()
                        );
                    }
                }
            }
            assert!(expected.next().is_none());
        }
    }
}

/// Of small pictures the last map is a single pixel, which says nothing: an earlier one is taken, or none is left.
#[test]
fn small_pictures_have_an_earlier_layer() {
    let engine = Cpu::new(1).unwrap();
    let layer = |architecture, side| {
        GradCam::new(&model(architecture, side, side), &engine).map(|grad_cam| grad_cam.layer().to_owned())
    };
    assert_eq!(layer(Architecture::SimpleCnn, 16).unwrap(), "block4.relu");
    assert_eq!(layer(Architecture::ResNet18, 32).unwrap(), "layer3.1.relu");
    let error = layer(Architecture::SwinT, 4).unwrap_err();
    assert!(matches!(error, ModelError::NoFeatureMap { height: 4, width: 4 }), "{error}");
}

#[test]
fn a_map_of_no_class_is_refused() {
    let mut grad_cam = GradCam::new(&model(Architecture::SimpleCnn, 32, 32), &Cpu::new(1).unwrap()).unwrap();
    let pixels = formula::pixels("grad-cam", 32 * 32 * 3);
    let error = grad_cam.map(&pixels, CLASSES).unwrap_err();
    assert_eq!(error.to_string(), "label 8 in a model of 8 classes");
    assert!(grad_cam.map(&pixels[1..], 0).is_err());
}
