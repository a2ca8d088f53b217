//! Whole training steps against PyTorch in float64; `fixtures/README.md` says how the numbers came about.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::formula::{self, parameters};
use common::{bf16_engines, engines, spec};
use pugmark_engine::{InputSpec, TrainBatch};
use pugmark_graph::{Architecture, GraphSettings};
use safetensors::{Dtype, SafeTensors};

const LABELS: [u32; 4] = [0, 3, 7, 2];
const SIDE: usize = 64;
const INPUT: InputSpec = InputSpec { batch: 4, height: SIDE, width: SIDE, mean: [0.5; 3], std: [0.25; 3] };

/// What is random in PyTorch is off.
const WITHOUT_CHANCE: GraphSettings = GraphSettings { stochastic_depth: Some(0.0), dropout: Some(0.0) };

fn pixels(name: &str) -> Vec<u8> {
    formula::pixels(name, LABELS.len() * SIDE * SIDE * 3)
}

/// A fixture's tensors as f64.
struct Fixture(Vec<u8>);

impl Fixture {
    fn open(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures");
        Self(std::fs::read(folder.join(format!("{name}.safetensors"))).unwrap())
    }

    fn get(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let words = tensor.data().chunks_exact(8).map(|b| b.try_into().unwrap());
        match tensor.dtype() {
            Dtype::F64 => words.map(f64::from_le_bytes).collect(),
            Dtype::I64 => words.map(|b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{name} is {other:?}"),
        }
    }

    fn scalar(&self, name: &str) -> f64 {
        self.get(name)[0]
    }
}

#[track_caller]
fn close(what: &str, found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (f, e) in found.iter().zip(expected) {
        assert!((f64::from(*f) - e).abs() <= tolerance, "{what}: {f} against {e}, tolerance {tolerance}");
    }
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

/// Rounding in f32 depends on the order of sums, so ours is as far from float64 as PyTorch's f32 is, give or take: four
/// times that, plus a few units in the last place.
const ROUNDING: f64 = 4.0;

/// One step's logits, loss, gradients and running statistics, as far as the fixture has them.
fn check_step(fixture: &str, architecture: Architecture, pixels_name: &str, parameters_trained: usize) {
    let fixture = Fixture::open(fixture);
    let graph = architecture.graph_with(8, WITHOUT_CHANCE);
    let tensors = parameters(&graph);
    let pixels = pixels(pixels_name);
    for engine in engines() {
        let mut inference = engine.inference(&graph, &tensors, &INPUT, &[]).unwrap();
        let error = ROUNDING * fixture.scalar("eval_logits_f32_max_error") + 1e-6;
        close("eval logits", &inference.logits(4, &pixels).unwrap(), &fixture.get("eval_logits"), error);

        let mut plan = engine.training(&graph, &tensors, &INPUT, &spec()).unwrap();
        let step = plan
            .step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &LABELS, mixed: None, seed: 0 },
                0.0,
                0.0,
            )
            .unwrap();
        let error = ROUNDING * fixture.scalar("loss_f32_max_error") + 1e-6;
        assert!((step.loss - fixture.scalar("loss")).abs() <= error, "loss {}", step.loss);
        let error = ROUNDING * fixture.scalar("logits_f32_max_error") + 1e-6;
        close("logits", &step.logits, &fixture.get("logits"), error);

        let gradients = plan.gradients().unwrap();
        assert_eq!(gradients.len(), parameters_trained);
        for (name, gradient) in &gradients {
            let expected = fixture.scalar(&format!("{name}.grad_norm"));
            let error = ROUNDING * fixture.scalar(&format!("{name}.grad_f32_error")) + 1e-6;
            let found = norm(&gradient.values);
            assert!((found - expected).abs() <= error * expected, "{name}: norm {found} against {expected}");
            let rms = expected / (gradient.values.len() as f64).sqrt();
            let indices = fixture.get(&format!("{name}.grad_indices"));
            let samples: Vec<f32> = indices.iter().map(|&i| gradient.values[i as usize]).collect();
            let error = ROUNDING * fixture.scalar(&format!("{name}.grad_f32_max_error")) + 1e-6;
            close(name, &samples, &fixture.get(&format!("{name}.grad_samples")), error * rms);
        }
        for (name, tensor) in plan.tensors().unwrap().iter().filter(|(name, _)| name.contains("running")) {
            let error = ROUNDING * fixture.scalar(&format!("{name}_f32_max_error")) + 1e-6;
            close(name, &tensor.values, &fixture.get(name), error);
        }
    }
}

#[test]
fn a_resnet18_step_agrees_with_pytorch() {
    check_step("resnet18_step", Architecture::ResNet18, "input 6", 62);
}

#[test]
fn a_convnext_tiny_step_agrees_with_pytorch() {
    check_step("convnext_tiny_step", Architecture::ConvNextTiny, "input 1", 182);
}

/// As above in bf16: as far from float64 as PyTorch's autocast is, give or take, so twice that is allowed. Batch norm over
/// 16 values amplifies rounding: autocast's gradients err by up to 0.52.
#[test]
fn a_resnet18_step_in_bf16_agrees_with_pytorchs_autocast() {
    let (fixture, autocast) = (Fixture::open("resnet18_step"), Fixture::open("resnet18_step_bf16"));
    let allowed = |name: &str| 2.0 * autocast.scalar(name);
    let graph = Architecture::ResNet18.graph(8);
    let tensors = parameters(&graph);
    let pixels = pixels("input 6");
    for engine in bf16_engines() {
        let mut inference = engine.inference(&graph, &tensors, &INPUT, &[]).unwrap();
        let logits = inference.logits(4, &pixels).unwrap();
        close("eval logits", &logits, &fixture.get("eval_logits"), allowed("eval_logits_bf16_max_error"));

        let mut plan = engine.training(&graph, &tensors, &INPUT, &spec()).unwrap();
        let step = plan
            .step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &LABELS, mixed: None, seed: 0 },
                0.0,
                0.0,
            )
            .unwrap();
        let error = (step.loss - fixture.scalar("loss")).abs();
        assert!(error <= allowed("loss_bf16_max_error"), "loss {}", step.loss);
        close("logits", &step.logits, &fixture.get("logits"), allowed("logits_bf16_max_error"));
        for (name, gradient) in &plan.gradients().unwrap() {
            let expected = fixture.scalar(&format!("{name}.grad_norm"));
            let found = norm(&gradient.values);
            let error = allowed(&format!("{name}.grad_bf16_error"));
            assert!((found - expected).abs() <= error * expected, "{name}: norm {found} against {expected}");
            let rms = expected / (gradient.values.len() as f64).sqrt();
            let indices = fixture.get(&format!("{name}.grad_indices"));
            let samples: Vec<f32> = indices.iter().map(|&i| gradient.values[i as usize]).collect();
            let error = allowed(&format!("{name}.grad_bf16_max_error"));
            close(name, &samples, &fixture.get(&format!("{name}.grad_samples")), error * rms);
        }
    }
}

/// Batch norm over 16 values amplifies rounding from layer to layer, so gradients are held to the worst relative error
/// that f32 makes in PyTorch anywhere in this network.
fn check_norms(fixture: &str, architecture: Architecture, pixels_name: &str) {
    let fixture = Fixture::open(fixture);
    let graph = architecture.graph_with(8, WITHOUT_CHANCE);
    let tensors = parameters(&graph);
    let pixels = pixels(pixels_name);
    for engine in engines() {
        let mut inference = engine.inference(&graph, &tensors, &INPUT, &[]).unwrap();
        let error = ROUNDING * fixture.scalar("eval_logits_f32_max_error") + 1e-6;
        close("eval logits", &inference.logits(4, &pixels).unwrap(), &fixture.get("eval_logits"), error);

        let mut plan = engine.training(&graph, &tensors, &INPUT, &spec()).unwrap();
        let step = plan
            .step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &LABELS, mixed: None, seed: 0 },
                0.0,
                0.0,
            )
            .unwrap();
        let error = ROUNDING * fixture.scalar("logits_f32_max_error") + 1e-6;
        close("logits", &step.logits, &fixture.get("logits"), error);
        let gradients = plan.gradients().unwrap();
        let norm_of = |name: &String| fixture.scalar(&format!("{name}.grad_norm"));
        // A shift that the next batch norm takes back has no gradient but rounding.
        let nothing = 1e-6 * gradients.keys().map(norm_of).fold(0.0, f64::max);
        let f32_error = |name: &String| fixture.scalar(&format!("{name}.grad_f32_error"));
        let worst =
            gradients.keys().filter(|name| norm_of(name) > nothing).map(f32_error).fold(0.0, f64::max);
        for (name, gradient) in &gradients {
            let (expected, found) = (norm_of(name), norm(&gradient.values));
            assert!(
                (found - expected).abs() <= worst * expected + nothing,
                "{name}: norm {found} against {expected}"
            );
        }
    }
}

/// Without ReLU and batch norm f32 errs little: by at most 1.2e-6 of a gradient, 1.9e-5 at an entry. At 64 pixels the windows
/// of the first two stages are shifted and padded, those of the others one window with padding.
#[test]
fn a_swin_t_step_agrees_with_pytorch() {
    check_step("swin_t_step", Architecture::SwinT, "input 1", 173);
}

/// As above in bf16. PyTorch's autocast keeps norms and the sums of shortcuts in f32, ours are rounded like all else between
/// layers: four times its error is allowed.
#[test]
fn a_swin_t_step_in_bf16_agrees_with_pytorchs_autocast() {
    let (fixture, autocast) = (Fixture::open("swin_t_step"), Fixture::open("swin_t_step_bf16"));
    let allowed = |name: &str| 4.0 * autocast.scalar(name);
    let graph = Architecture::SwinT.graph_with(8, WITHOUT_CHANCE);
    let tensors = parameters(&graph);
    let pixels = pixels("input 1");
    for engine in bf16_engines() {
        let mut inference = engine.inference(&graph, &tensors, &INPUT, &[]).unwrap();
        let logits = inference.logits(4, &pixels).unwrap();
        close("eval logits", &logits, &fixture.get("eval_logits"), allowed("eval_logits_bf16_max_error"));

        let mut plan = engine.training(&graph, &tensors, &INPUT, &spec()).unwrap();
        let step = plan
            .step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &LABELS, mixed: None, seed: 0 },
                0.0,
                0.0,
            )
            .unwrap();
        let error = (step.loss - fixture.scalar("loss")).abs();
        assert!(error <= allowed("loss_bf16_max_error"), "loss {}", step.loss);
        close("logits", &step.logits, &fixture.get("logits"), allowed("logits_bf16_max_error"));
        for (name, gradient) in &plan.gradients().unwrap() {
            let expected = fixture.scalar(&format!("{name}.grad_norm"));
            let found = norm(&gradient.values);
            let error = allowed(&format!("{name}.grad_bf16_error"));
            assert!((found - expected).abs() <= error * expected, "{name}: norm {found} against {expected}");
        }
    }
}

#[test]
fn three_adamw_steps_of_swin_t_agree_with_pytorch() {
    let fixture = Fixture::open("swin_t_training");
    let graph = Architecture::SwinT.graph_with(8, WITHOUT_CHANCE);
    let pixels = pixels("input 1");
    let batch = TrainBatch { pixels: &pixels, features: &[], labels: &LABELS, mixed: None, seed: 0 };
    // Of the processor's two ways one: there is no convolution in it that Winograd's suits.
    for engine in engines().into_iter().skip(1) {
        let mut plan = engine.training(&graph, &parameters(&graph), &INPUT, &spec()).unwrap();
        let mut losses: Vec<f64> = (0..3).map(|_| plan.step(&batch, 1e-3, 0.01).unwrap().loss).collect();
        losses.push(plan.step(&batch, 0.0, 0.0).unwrap().loss);
        let errors = fixture.get("losses_f32_error");
        for ((found, expected), error) in losses.iter().zip(fixture.get("losses")).zip(errors) {
            let tolerance = ROUNDING * error + 1e-3 * expected;
            assert!((found - expected).abs() <= tolerance, "{losses:?} against {:?}", fixture.get("losses"));
        }
    }
}

#[test]
fn a_resnet50_step_agrees_with_pytorch() {
    check_norms("resnet50_step", Architecture::ResNet50, "input 15");
}

#[test]
fn an_efficientnet_b0_step_agrees_with_pytorch() {
    check_norms("efficientnet_b0_step", Architecture::EfficientNetB0, "input 1");
}

/// Winograd's convolutions err two to three times as much as plain sums do (`tests/winograd.rs` of the kernels), and the
/// losses of an overfitted batch of four show it, and the signs of gradients that are all rounding.
const WINOGRAD_ROUNDING: f64 = 4.0;

/// Adam's first steps are the signs of gradients, whatever their size, so a parameter whose gradient is all rounding may
/// land a whole step (1e-3) apart: of the sampled parameters 99 in 100 must agree within 2e-5 (with Winograd 96, as many times
/// its rounding is larger), none be off by more than the three steps.
#[test]
fn three_adamw_steps_agree_with_pytorch() {
    let fixture = Fixture::open("resnet18_training");
    let graph = Architecture::ResNet18.graph(8);
    let tensors = parameters(&graph);
    let pixels = pixels("input 6");
    let batch = TrainBatch { pixels: &pixels, features: &[], labels: &LABELS, mixed: None, seed: 0 };
    for engine in engines() {
        let mut plan = engine.training(&graph, &tensors, &INPUT, &spec()).unwrap();
        let mut losses: Vec<f64> = (0..3).map(|_| plan.step(&batch, 1e-3, 0.01).unwrap().loss).collect();
        let trained = plan.tensors().unwrap();
        losses.push(plan.step(&batch, 0.0, 0.0).unwrap().loss);
        let errors = fixture.get("losses_f32_error");
        let name = engine.name();
        let plain = name.contains("without Winograd") || !name.starts_with("cpu");
        let winograd = if plain { 1.0 } else { WINOGRAD_ROUNDING };
        // Without a fused multiply-add a product is rounded before it is added: two roundings for one.
        let own = winograd * if name.contains("portable") { 2.0 } else { 1.0 };
        for ((found, expected), error) in losses.iter().zip(fixture.get("losses")).zip(errors) {
            let tolerance = own * (ROUNDING * error + 1e-3 * expected);
            assert!((found - expected).abs() <= tolerance, "{losses:?} against {:?}", fixture.get("losses"));
        }
        let mut differences = Vec::new();
        for param in graph.params().iter().filter(|p| p.role.is_trained()) {
            let values = &trained[&param.name].values;
            let indices = fixture.get(&format!("{}.value_indices", param.name));
            let expected = fixture.get(&format!("{}.value_samples", param.name));
            differences.extend(
                indices.iter().zip(expected).map(|(&i, e)| (f64::from(values[i as usize]) - e).abs()),
            );
        }
        let far = differences.iter().filter(|&&d| d > 2e-5).count();
        assert!(
            far as f64 <= own * 0.01 * differences.len() as f64,
            "{far} of {} parameters differ",
            differences.len()
        );
        assert!(differences.iter().all(|&d| d <= 6e-3));
    }
}
