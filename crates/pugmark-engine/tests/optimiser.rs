//! What an optimiser step does besides its rates: freezing, thawing, averaging, accumulation, and what goes wrong.

mod common;

use common::{batch, engines, every_engine, every_operator, input_spec, largest_difference, spec};
use pugmark_engine::{EngineError, Freeze, InputSpec, Optimiser, TrainBatch, TrainingSpec};
use pugmark_graph::{Architecture, Builder, Op, Tensor, Tensors};

#[test]
fn frozen_stages_are_left_as_they_are() {
    let graph = Architecture::ResNet18.graph(3);
    let tensors = graph.initialise(4);
    let (pixels, labels) = batch(2, 32, 32, 3);
    for engine in every_engine() {
        for stages in [1, 3, 5, 100] {
            let spec = TrainingSpec { freeze: Freeze::Stages(stages), ..spec() };
            let mut plan = engine.training(&graph, &tensors, &input_spec(2, 32, 32), &spec).unwrap();
            let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 };
            plan.step(&batch, 1e-2, 0.0).unwrap();
            let after = plan.tensors().unwrap();
            for param in graph.params() {
                let frozen = param.stage < stages && !param.head;
                assert_eq!(after[&param.name] == tensors[&param.name], frozen, "{stages}: {}", param.name);
            }
        }
    }
}

/// What was frozen starts anew where it is thawed: as a training of which only the head was moved before, its own bias
/// correction too.
#[test]
fn a_thawed_parameter_starts_at_step_one() {
    let graph = Architecture::SimpleCnn.graph(3);
    let tensors = graph.initialise(4);
    let input = input_spec(2, 16, 16);
    let (pixels, labels) = batch(2, 16, 16, 3);
    let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 };
    for engine in every_engine() {
        let frozen = TrainingSpec { freeze: Freeze::Backbone, average: 0.9, ..spec() };
        let mut plan = engine.training(&graph, &tensors, &input, &frozen).unwrap();
        for _ in 0..5 {
            plan.step(&batch, 1e-2, 0.0).unwrap();
        }
        let thawed = TrainingSpec { freeze: Freeze::None, ..frozen };
        let mut whole = engine.training(&graph, &tensors, &input, &thawed).unwrap();
        whole.restore(&plan.tensors().unwrap(), &plan.state().unwrap(), plan.steps()).unwrap();
        let before = whole.tensors().unwrap();
        whole.step(&batch, 1e-2, 0.0).unwrap();
        let (after, gradients) = (whole.tensors().unwrap(), whole.gradients().unwrap());
        // Adam's first step is the learning rate wherever the gradient is not about eps.
        let name = "block1.conv.weight";
        for ((a, b), g) in after[name].values.iter().zip(&before[name].values).zip(&gradients[name].values) {
            assert!(g.abs() < 1e-5 || ((a - b).abs() - 1e-2).abs() < 1e-4, "{} moved by {}", g, a - b);
        }
        // Saved and restored, it goes on the same.
        let mut again = engine.training(&graph, &tensors, &input, &thawed).unwrap();
        again.restore(&whole.tensors().unwrap(), &whole.state().unwrap(), whole.steps()).unwrap();
        whole.step(&batch, 1e-2, 0.0).unwrap();
        again.step(&batch, 1e-2, 0.0).unwrap();
        assert!(
            whole.tensors().unwrap() == again.tensors().unwrap()
                && whole.state().unwrap() == again.state().unwrap()
        );
        assert!(whole.averaged_tensors().unwrap() == again.averaged_tensors().unwrap());
    }
}

/// The average by its definition, in f64; f32 rounds once a step.
#[test]
fn the_running_average_is_that_of_all_steps() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let (pixels, labels) = batch(4, 10, 12, 3);
    for engine in every_engine() {
        let averaging = TrainingSpec { average: 0.5, ..spec() };
        let mut plan = engine.training(&graph, &tensors, &input_spec(4, 10, 12), &averaging).unwrap();
        let mut expected: Vec<f64> = Vec::new();
        let flat = |t: &Tensors| -> Vec<f64> {
            t.values().flat_map(|t| t.values.iter().map(|&v| f64::from(v))).collect()
        };
        expected.extend(flat(&tensors));
        for step in 1..=20 {
            let batch =
                TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: step };
            plan.step(&batch, 1e-2, 0.01).unwrap();
            let decay = ((1.0 + step as f64) / (10.0 + step as f64)).min(0.5);
            for (average, value) in expected.iter_mut().zip(flat(&plan.tensors().unwrap())) {
                *average = decay * *average + (1.0 - decay) * value;
            }
        }
        let found = flat(&plan.averaged_tensors().unwrap());
        assert!(found.iter().zip(&expected).all(|(f, e)| (f - e).abs() <= 1e-5 * e.abs().max(1.0)));
        assert_ne!(plan.averaged_tensors().unwrap(), plan.tensors().unwrap());
    }
}

/// Each of several batches is normalised by itself; without batch norm parts make the whole. Sums are rounded in another
/// order.
#[test]
fn accumulated_parts_make_the_whole() {
    let mut b = Builder::new();
    let x = b.push("input", Op::Input { channels: 3 }, &[]);
    let x = b.conv2d("conv", x, (3, 8), (3, 2, 1), true);
    let x = b.push("relu", Op::Relu, &[x]);
    let x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    b.linear("fc", x, 8, 3);
    let graph = b.finish();
    let tensors = graph.initialise(1);
    let (pixels, labels) = batch(7, 9, 9, 3);
    let picture = 9 * 9 * 3;
    let part = |from: usize, to: usize| TrainBatch {
        pixels: &pixels[from * picture..to * picture],
        features: &[],
        labels: &labels[from..to],
        mixed: None,
        seed: 0,
    };
    for engine in engines() {
        let run = |batches: &[TrainBatch<'_>]| {
            let sgd = Optimiser::Sgd { momentum: 0.9, nesterov: false };
            let spec = TrainingSpec { optimiser: sgd, ..spec() };
            let mut plan = engine.training(&graph, &tensors, &input_spec(7, 9, 9), &spec).unwrap();
            let output = (0..3).map(|_| plan.accumulated_step(batches, 0.1, 0.0).unwrap()).last().unwrap();
            (output, plan.tensors().unwrap())
        };
        let (whole, parts) = (run(&[part(0, 7)]), run(&[part(0, 3), part(3, 6), part(6, 7)]));
        assert!((whole.0.loss - parts.0.loss).abs() < 1e-6);
        assert!((whole.0.gradient_norm - parts.0.gradient_norm).abs() < 1e-6);
        for (name, tensor) in &whole.1 {
            assert!(largest_difference(&tensor.values, &parts.1[name].values) < 1e-5, "{name}");
        }
    }
}

/// Two layers of huge weights: a black picture goes through them as zeros, a white one overflows, and the gradient of the
/// black one overflows on its way back to the first bias.
#[test]
fn what_overflows_changes_nothing() {
    let mut b = Builder::new();
    let input = b.push("input", Op::Input { channels: 3 }, &[]);
    let x = b.conv2d("conv1", input, (3, 4), (3, 1, 1), true);
    let y = b.conv2d("conv2", input, (3, 4), (3, 1, 1), false);
    let y = b.batch_norm2d("bn", y, 4);
    let x = b.push("add", Op::Add, &[x, y]);
    let x = b.conv2d("conv3", x, (4, 4), (3, 1, 1), false);
    let x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    b.linear("fc", x, 4, 3);
    let graph = b.finish();
    let mut tensors = graph.initialise(1);
    for (name, tensor) in &mut tensors {
        let factor = if matches!(name.as_str(), "conv3.weight" | "fc.weight") { 1e20 } else { 1.0 };
        let factor = if name == "conv1.bias" { 0.0 } else { factor };
        tensor.values.iter_mut().for_each(|v| *v *= factor);
    }
    let input = InputSpec { mean: [0.0; 3], std: [1.0; 3], ..input_spec(2, 8, 8) };
    let (black, white) = (vec![0; 2 * 8 * 8 * 3], vec![255; 2 * 8 * 8 * 3]);
    let part = |pixels| TrainBatch { pixels, labels: &[0, 1], features: &[], mixed: None, seed: 0 };
    for engine in every_engine() {
        let averaging = TrainingSpec { average: 0.9, ..spec() };
        let mut plan = engine.training(&graph, &tensors, &input, &averaging).unwrap();
        let mut failed = |parts: &[TrainBatch<'_>]| {
            let error = plan.accumulated_step(parts, 1e-2, 0.01).unwrap_err();
            assert!(plan.tensors().unwrap() == tensors, "{}: {error}", engine.name());
            assert!(plan.averaged_tensors().unwrap() == tensors && plan.steps() == 0);
            let zeros = |(name, t): (&String, &Tensor)| {
                name.starts_with("average") || t.values.iter().all(|v| *v == 0.0)
            };
            assert!(plan.state().unwrap().iter().all(zeros));
            error
        };
        let error = failed(&[part(&black), part(&white)]);
        assert!(matches!(error, EngineError::NonFiniteLoss { .. }), "{error}");
        let error = failed(&[part(&black)]);
        assert!(matches!(error, EngineError::NonFiniteGradient { .. }), "{error}");
        assert!(error.to_string().starts_with("the norm of the gradient is "));
    }
}

#[test]
fn the_bytes_of_a_plan_are_known_before_and_grow_with_the_batch() {
    let graph = Architecture::ResNet18.graph(3);
    for engine in every_engine() {
        let bytes = |batch: usize, spec: &TrainingSpec| {
            engine.training_bytes(&graph, &input_spec(batch, 64, 64), spec).unwrap()
        };
        let (few, many) = (bytes(2, &spec()), bytes(8, &spec()));
        // Value, gradient, sum and two moments of 11 million f32; and of six more images 2 MB each of saved activations, half
        // of that in bf16.
        assert!(few > 5 * 11_000_000 * 4 && many > few + 6 * 1_000_000 / 2, "{few} {many}");
        let frozen = TrainingSpec { freeze: Freeze::Backbone, ..spec() };
        assert!(bytes(8, &frozen) < many, "neither gradients nor moments");
    }
}

#[test]
fn second_labels_that_do_not_fit_are_named() {
    let graph = every_operator(3);
    let (pixels, labels) = batch(2, 10, 12, 3);
    for engine in every_engine() {
        let mut plan =
            engine.training(&graph, &graph.initialise(1), &input_spec(2, 10, 12), &spec()).unwrap();
        let mut message = |second: &[u32], shares: &[f32]| {
            let mixed = Some((second, shares));
            let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed, seed: 0 };
            plan.step(&batch, 0.0, 0.0).unwrap_err().to_string()
        };
        assert!(message(&[1], &[0.5, 0.5]).contains("2 images have 1 second labels and 2 shares"));
        assert!(message(&[1, 1], &[0.5, 1.5]).contains("2 second labels and 1 shares"));
        assert_eq!(message(&[1, 7], &[0.5, 0.5]), "label 7 in a model of 3 classes");
        assert!(
            plan.accumulated_step(&[], 0.0, 0.0).unwrap_err().to_string().contains("a batch of 0 images")
        );
    }
}
