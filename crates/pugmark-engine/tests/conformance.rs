//! What every engine must do; run on each engine there is.

mod common;

use std::collections::BTreeSet;

use common::{all_nodes, batch, engines, every_engine, every_operator, input_spec, largest_difference, spec};
use pugmark_engine::{
    Cpu, Engine, EngineError, Freeze, InputSpec, Optimiser, Precision, TrainBatch, TrainingSpec,
};
use pugmark_graph::{Architecture, Builder, GraphSettings, NodeId, Op, Tensors};

/// Central differences of the loss, parameter by parameter. The loss is good to about 1e-7, so a step of 1e-3 gives a
/// slope within 2e-4; 1 % of the largest entry covers the kinks of ReLU and maximum within the step.
#[test]
fn gradients_match_finite_differences() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let input = input_spec(4, 10, 12);
    let (pixels, labels) = batch(4, 10, 12, 3);
    let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 5 };
    for engine in engines() {
        let loss_at = |tensors: &Tensors| {
            let mut plan = engine.training(&graph, tensors, &input, &spec()).unwrap();
            let loss = plan.step(&batch, 0.0, 0.0).unwrap().loss;
            (loss, plan.gradients().unwrap())
        };
        let (_, gradients) = loss_at(&tensors);
        assert_eq!(gradients.len(), graph.params().iter().filter(|p| p.role.is_trained()).count());
        for (name, gradient) in &gradients {
            let scale = gradient.values.iter().fold(1e-3_f32, |m, g| m.max(g.abs()));
            let count = gradient.values.len();
            for index in (0..count).step_by(1 + count / 7) {
                let h = 1e-3;
                let mut moved = tensors.clone();
                let mut at = |delta: f32| {
                    let value = tensors[name].values[index] + delta;
                    moved.get_mut(name).unwrap().values[index] = value;
                    (loss_at(&moved).0, value)
                };
                let ((up, high), (down, low)) = (at(h), at(-h));
                let expected = ((up - down) / f64::from(high - low)) as f32;
                let found = gradient.values[index];
                assert!(
                    (found - expected).abs() <= 0.01 * scale + 2e-4,
                    "{}: {name}[{index}]: {found} against {expected}",
                    engine.name()
                );
            }
        }
    }
}

/// The gradient with respect to the pictures, pixel by pixel. A large deviation makes one level of 8 bits a small step: 1e-3.
/// Where a ReLU or a maximum turns within the step, the slopes on both sides differ, and the gradient is that of one of them.
/// With everything trained batch norm uses the batch's statistics, with a frozen backbone the running ones.
#[test]
fn the_gradient_of_a_tapped_input_matches_finite_differences() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let input = InputSpec { std: [4.0, 4.0, 4.0], ..input_spec(2, 10, 12) };
    let (pixels, labels) = batch(2, 10, 12, 3);
    for (engine, freeze) in engines().iter().flat_map(|e| [Freeze::None, Freeze::Backbone].map(|f| (e, f))) {
        let spec = TrainingSpec { freeze, taps: vec![NodeId(0)], ..spec() };
        let step = |pixels: &[u8]| {
            let mut plan = engine.training(&graph, &tensors, &input, &spec).unwrap();
            let batch = TrainBatch { pixels, features: &[], labels: &labels, mixed: None, seed: 5 };
            (plan.step(&batch, 0.0, 0.0).unwrap().loss, plan.tap(NodeId(0)).unwrap().unwrap().1)
        };
        let (here, gradient) = step(&pixels);
        assert_eq!(gradient.shape, [2, 3, 10, 12]);
        let scale = gradient.values.iter().fold(0.0_f32, |most, g| most.max(g.abs()));
        assert!(scale > 1e-3, "{freeze:?}: {scale}");
        for index in (0..pixels.len()).step_by(11) {
            let (image, pixel, colour) = (index / 360, index / 3 % 120, index % 3);
            let found = gradient.values[image * 360 + colour * 120 + pixel];
            let mut moved = pixels.clone();
            let mut at = |value: u8| {
                moved[index] = value;
                step(&moved).0
            };
            if (1..255).contains(&pixels[index]) {
                let (left, right) = (here - at(pixels[index] - 1), at(pixels[index] + 1) - here);
                let [left, right] = [left, right].map(|rise| (rise * 255.0 * 4.0) as f32);
                let tolerance = 0.01 * scale + 2e-4;
                assert!(
                    found >= left.min(right) - tolerance && found <= left.max(right) + tolerance,
                    "{} {freeze:?}: [{index}]: {found} against {left} and {right}",
                    engine.name()
                );
            }
        }
    }
}

/// Backward from one logit, against the slopes of that logit on both sides, which differ where a ReLU or a maximum turns within
/// the step: the gradient is one of them. The logits are good to about 1e-6 and the step is 1e-3. Nothing moves.
#[test]
fn a_given_gradient_of_the_logits_goes_back() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let input = input_spec(2, 10, 12);
    let (pixels, labels) = batch(2, 10, 12, 3);
    let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 5 };
    for (engine, class) in engines().iter().flat_map(|engine| [0, 2].map(|class| (engine, class))) {
        let of_class: Vec<f32> = (0..6).map(|i| f32::from(u8::from(i % 3 == class))).collect();
        let back = |tensors: &Tensors| {
            let mut plan = engine.training(&graph, tensors, &input, &spec()).unwrap();
            let before = (plan.tensors().unwrap(), plan.state().unwrap(), plan.steps());
            let output = plan.backward_from(&batch, &of_class).unwrap();
            assert!((plan.tensors().unwrap(), plan.state().unwrap(), plan.steps()) == before);
            (output, plan.gradients().unwrap())
        };
        let (output, gradients) = back(&tensors);
        let logit: f32 = output.logits.chunks(3).map(|row| row[class]).sum();
        assert!((output.loss - f64::from(logit)).abs() < 1e-5);
        for (name, gradient) in &gradients {
            let scale = gradient.values.iter().fold(1e-3_f32, |most, g| most.max(g.abs()));
            let count = gradient.values.len();
            for index in (0..count).step_by(1 + count / 4) {
                let mut moved = tensors.clone();
                let mut at = |delta: f32| {
                    let value = tensors[name].values[index] + delta;
                    moved.get_mut(name).unwrap().values[index] = value;
                    (back(&moved).0.loss, value)
                };
                let ((up, high), (down, low)) = (at(1e-3), at(-1e-3));
                let here = (output.loss, tensors[name].values[index]);
                let slope = |rise: f64, step: f32| (rise / f64::from(step)) as f32;
                let (left, right) = (slope(here.0 - down, here.1 - low), slope(up - here.0, high - here.1));
                let (found, tolerance) = (gradient.values[index], 0.01 * scale + 2e-3);
                assert!(
                    found >= left.min(right) - tolerance && found <= left.max(right) + tolerance,
                    "{}: {name}[{index}]: {found} against {left} and {right}",
                    engine.name()
                );
            }
        }
    }
}

/// Behind a frozen backbone a tapped node gets the gradient that it gets on the way to the pictures.
#[test]
fn tapped_nodes_get_a_gradient_whatever_is_trained() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let (pixels, labels) = batch(2, 10, 12, 3);
    let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 5 };
    for engine in engines() {
        let tapped = |taps: &[NodeId]| {
            let spec = TrainingSpec { freeze: Freeze::Backbone, taps: taps.to_vec(), ..spec() };
            let mut plan = engine.training(&graph, &tensors, &input_spec(2, 10, 12), &spec).unwrap();
            plan.backward_from(&batch, &[0.0, 1.0, 0.0, 0.0, 0.0, -2.0]).unwrap();
            let last = *taps.last().unwrap();
            plan.tap(last).unwrap().unwrap()
        };
        for name in ["relu2", "pool", "layer_norm", "stochastic_depth", "add4", "gelu2", "add6", "avgpool"] {
            let node = NodeId(graph.nodes().iter().position(|node| node.name == name).unwrap());
            let ((value, gradient), (expected_value, expected)) =
                (tapped(&[node]), tapped(&[NodeId(0), node]));
            assert!(expected.values.iter().any(|&g| g != 0.0), "{name}");
            // Folded norms round otherwise.
            assert!(largest_difference(&value.values, &expected_value.values) < 1e-4, "{name}");
            assert!(largest_difference(&gradient.values, &expected.values) < 1e-4, "{name}");
        }
    }
}

/// Tapping the input computes one gradient more and changes no other.
#[test]
fn tapping_the_input_changes_no_step() {
    let (pixels, labels) = batch(3, 40, 40, 3);
    let engines = every_engine();
    let cases = engines.iter().flat_map(|e| [Freeze::None, Freeze::Backbone].map(|f| (e, f)));
    // One of them has stochastic depth, which a frozen backbone leaves alone.
    let architectures = [Architecture::ResNet18, Architecture::EfficientNetB0];
    for ((engine, freeze), architecture) in cases.flat_map(|case| architectures.map(|a| (case, a))) {
        let graph = architecture.graph_with(3, GraphSettings { dropout: Some(0.0), ..Default::default() });
        let tensors = graph.initialise(4);
        let train = |taps: Vec<NodeId>| {
            let spec = TrainingSpec { freeze, taps, ..spec() };
            let mut plan = engine.training(&graph, &tensors, &input_spec(3, 40, 40), &spec).unwrap();
            let loss = plan
                .step(
                    &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 },
                    1e-2,
                    0.01,
                )
                .unwrap()
                .loss;
            (loss, plan.tensors().unwrap(), plan.tap(NodeId(0)).unwrap())
        };
        let ((loss, parameters, none), (tapped_loss, tapped, gradient)) =
            (train(vec![]), train(vec![NodeId(0)]));
        assert!(none.is_none() && gradient.unwrap().1.values.iter().any(|&g| g != 0.0));
        if freeze == Freeze::None {
            assert!(loss == tapped_loss && parameters == tapped);
        } else {
            // Without a gradient to hand on, norms are folded into the convolutions, which rounds otherwise: bf16 keeps
            // 8 bits of each value on the way.
            assert!((loss - tapped_loss).abs() < 0.02, "{}: {loss} {tapped_loss}", engine.name());
            let head = |name: &str| graph.params().iter().any(|p| p.head && p.name == name);
            let moved: Vec<&String> = tapped.keys().filter(|&name| tapped[name] != tensors[name]).collect();
            assert!(!moved.is_empty() && moved.iter().all(|name| head(name)), "{architecture}: {moved:?}");
        }
    }
}

/// A tapped node is not fused, so a plan with every node tapped runs every operator by itself. Both round differently:
/// 1e-4 of the largest value is some hundred times f32's precision after twenty layers.
#[test]
fn fusing_changes_nothing() {
    let mut graphs = vec![("every operator", every_operator(5))];
    for architecture in [Architecture::SimpleCnn, Architecture::ResNet18, Architecture::ResNet50] {
        graphs.push((architecture.name(), architecture.graph(5)));
    }
    for (what, graph) in graphs {
        let tensors = graph.initialise(2);
        let input = input_spec(3, 33, 47);
        let (pixels, labels) = batch(3, 33, 47, 5);
        for engine in engines() {
            let mut fused = engine.inference(&graph, &tensors, &input, &[]).unwrap();
            let mut plain = engine.inference(&graph, &tensors, &input, &all_nodes(&graph)).unwrap();
            let a = fused.logits(3, &pixels).unwrap();
            let b = plain.logits(3, &pixels).unwrap();
            assert!(largest_difference(&a, &b) < 1e-4, "{what}: {a:?} {b:?}");

            let tapped = TrainingSpec { taps: all_nodes(&graph), ..spec() };
            let mut fused = engine.training(&graph, &tensors, &input, &spec()).unwrap();
            let mut plain = engine.training(&graph, &tensors, &input, &tapped).unwrap();
            let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 3 };
            let a = fused.step(&batch, 0.0, 0.0).unwrap();
            let b = plain.step(&batch, 0.0, 0.0).unwrap();
            assert!((a.loss - b.loss).abs() < 1e-4, "{what}: {} {}", a.loss, b.loss);
            let others = plain.gradients().unwrap();
            for (name, gradient) in fused.gradients().unwrap() {
                let other = &others[&name].values;
                // A ReLU input of either sign of zero flips whole entries of a gradient; its norm hardly moves.
                let norm = |v: &[f32]| v.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
                let (x, y) = (norm(&gradient.values), norm(other));
                assert!((x - y).abs() <= 1e-2 * x.max(y) + 1e-6, "{what} {name}: {x} {y}");
            }
        }
    }
}

#[test]
fn taps_have_pytorchs_shapes_and_the_loss_gradient() {
    let graph = every_operator(3);
    let nodes = all_nodes(&graph);
    let (pixels, labels) = batch(2, 10, 12, 3);
    for engine in every_engine() {
        let tapped = TrainingSpec { taps: nodes.clone(), ..spec() };
        let mut plan =
            engine.training(&graph, &graph.initialise(1), &input_spec(2, 10, 12), &tapped).unwrap();
        let output = plan
            .step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 1 },
                0.0,
                0.0,
            )
            .unwrap();
        let (first, _) = plan.tap(nodes[1]).unwrap().unwrap();
        assert_eq!(first.shape, [2, 4, 10, 12]);
        let (logits, gradient) = plan.tap(*nodes.last().unwrap()).unwrap().unwrap();
        assert_eq!(logits.shape, [2, 3]);
        assert_eq!(logits.values, output.logits);
        // Softmax minus one-hot: every row of the gradient sums to zero, and only the true class is negative.
        for (row, &label) in gradient.values.chunks(3).zip(&labels) {
            assert!(row.iter().sum::<f32>().abs() < 1e-6);
            assert!(row.iter().enumerate().all(|(c, &g)| (g < 0.0) == (c == label as usize)));
        }
    }
}

/// Each image's branch is left out or scaled, as a whole, the same for outputs and gradients; and kept in inference.
#[test]
fn stochastic_depth_leaves_out_whole_images_in_training_alone() {
    const P: f32 = 0.25;
    let mut b = Builder::new();
    let x = b.push("input", Op::Input { channels: 3 }, &[]);
    let conv = b.conv2d("conv", x, (3, 4), (3, 1, 1), true);
    let branch = b.push("branch", Op::StochasticDepth { p: P }, &[conv]);
    let x = b.push("avgpool", Op::GlobalAvgPool, &[branch]);
    b.begin_head();
    b.linear("fc", x, 4, 3);
    let graph = b.finish();
    let tensors = graph.initialise(1);
    let images = 64;
    let (pixels, labels) = batch(images, 5, 6, 3);
    for engine in every_engine() {
        let tapped = TrainingSpec { taps: vec![conv, branch], ..spec() };
        let mut plan = engine.training(&graph, &tensors, &input_spec(images, 5, 6), &tapped).unwrap();
        let mut left_out = 0;
        let mut patterns = BTreeSet::new();
        for seed in 0..40 {
            plan.step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed },
                0.0,
                0.0,
            )
            .unwrap();
            let ((before, d_before), (after, d_after)) =
                (plan.tap(conv).unwrap().unwrap(), plan.tap(branch).unwrap().unwrap());
            let len = before.values.len() / images;
            let mut pattern = Vec::new();
            for image in 0..images {
                let own = image * len..(image + 1) * len;
                let out = after.values[own.clone()].iter().all(|&v| v == 0.0);
                let factor = if out { 0.0 } else { 1.0 / (1.0 - P) };
                let scaled = |v: &[f32]| v.iter().map(|v| v * factor).collect::<Vec<f32>>();
                // The two products of bf16 engines are rounded once more.
                let near = |a: &[f32], b: &[f32]| out && a == b || largest_difference(a, b) < 1e-2;
                assert!(near(&after.values[own.clone()], &scaled(&before.values[own.clone()])));
                assert!(near(&d_before.values[own.clone()], &scaled(&d_after.values[own])));
                left_out += usize::from(out);
                pattern.push(out);
            }
            patterns.insert(pattern);
        }
        // 2560 draws: five standard deviations are 0.043.
        let share = left_out as f32 / (40 * images) as f32;
        assert!((share - P).abs() < 0.043, "{share}");
        assert_eq!(patterns.len(), 40);
        let mut inference =
            engine.inference(&graph, &tensors, &input_spec(images, 5, 6), &[conv, branch]).unwrap();
        inference.logits(images, &pixels).unwrap();
        assert_eq!(inference.tap(conv).unwrap(), inference.tap(branch).unwrap());
    }
}

#[test]
fn a_small_batch_in_a_large_plan_gives_the_bits_of_a_small_plan() {
    let graph = Architecture::SimpleCnn.graph(4);
    let tensors = graph.initialise(3);
    let (pixels, labels) = batch(3, 32, 32, 4);
    for engine in every_engine() {
        let run = |most: usize| {
            let mut plan = engine.training(&graph, &tensors, &input_spec(most, 32, 32), &spec()).unwrap();
            for seed in 0..3 {
                plan.step(
                    &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed },
                    1e-3,
                    0.01,
                )
                .unwrap();
            }
            plan.tensors().unwrap()
        };
        assert_eq!(run(3), run(8));
    }
}

#[test]
fn logits_depend_neither_on_neighbours_nor_on_the_size_of_the_plan() {
    let graph = Architecture::ResNet18.graph(4);
    let tensors = graph.initialise(3);
    // More than go through the late layers together.
    let images = 20;
    let (pixels, _) = batch(images, 64, 64, 4);
    let logits = |engine: &dyn Engine, most: usize, pixels: &[u8]| {
        let mut plan = engine.inference(&graph, &tensors, &input_spec(most, 64, 64), &[]).unwrap();
        plan.logits(pixels.len() / (64 * 64 * 3), pixels).unwrap()
    };
    for engine in every_engine() {
        let together = logits(&*engine, images, &pixels);
        for (own, alone) in together.chunks(4).zip(pixels.chunks(64 * 64 * 3)).step_by(3) {
            assert_eq!(own, logits(&*engine, 1, alone));
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let graph = Architecture::ResNet18.graph(4);
    let tensors = graph.initialise(3);
    let (pixels, labels) = batch(5, 40, 40, 4);
    let run = |threads: usize, precision: Precision| {
        let engine = Cpu::new(threads).unwrap().with_precision(precision);
        let mut plan = engine.training(&graph, &tensors, &input_spec(5, 40, 40), &spec()).unwrap();
        for seed in 0..2 {
            plan.step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed },
                1e-3,
                0.01,
            )
            .unwrap();
        }
        plan.tensors().unwrap()
    };
    for precision in [Precision::F32, Precision::Bf16] {
        let one = run(1, precision);
        assert!(one == run(2, precision) && one == run(3, precision), "{precision:?}");
    }
}

#[test]
fn restored_training_goes_on_bit_for_bit() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let input = input_spec(4, 10, 12);
    let (pixels, labels) = batch(4, 10, 12, 3);
    let optimisers = [Optimiser::AdamW, Optimiser::Sgd { momentum: 0.9, nesterov: true }];
    for (engine, optimiser) in every_engine().iter().flat_map(|e| optimisers.map(|o| (e, o))) {
        let spec = TrainingSpec { optimiser, ..spec() };
        let step = |plan: &mut dyn pugmark_engine::Training, seed| {
            plan.step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed },
                1e-2,
                0.01,
            )
            .unwrap();
        };
        let mut whole = engine.training(&graph, &tensors, &input, &spec).unwrap();
        let mut first = engine.training(&graph, &tensors, &input, &spec).unwrap();
        for seed in 0..3 {
            step(&mut *whole, seed);
            step(&mut *first, seed);
        }
        let mut second = engine.training(&graph, &tensors, &input, &spec).unwrap();
        second.restore(&first.tensors().unwrap(), &first.state().unwrap(), first.steps()).unwrap();
        for seed in 3..6 {
            step(&mut *whole, seed);
            step(&mut *second, seed);
        }
        assert!(
            whole.tensors().unwrap() == second.tensors().unwrap()
                && whole.state().unwrap() == second.state().unwrap()
        );
        assert_ne!(whole.tensors().unwrap(), tensors);
    }
}

#[test]
fn other_tensors_give_the_bits_of_a_fresh_plan() {
    for architecture in [Architecture::SimpleCnn, Architecture::ResNet18] {
        let graph = architecture.graph(3);
        let (mut first, mut second) = (graph.initialise(1), graph.initialise(2));
        for (name, tensor) in first.iter_mut().chain(&mut second) {
            // Statistics and shifts that matter, unlike the initial ones.
            let moved = name.ends_with("running_mean") || name.ends_with("bias");
            tensor.values.iter_mut().for_each(|v| *v += if moved { 0.3 } else { 0.0 });
        }
        let input = input_spec(2, 32, 32);
        let (pixels, _) = batch(2, 32, 32, 3);
        for engine in every_engine() {
            let mut plan = engine.inference(&graph, &first, &input, &[]).unwrap();
            let mut fresh = engine.inference(&graph, &second, &input, &[]).unwrap();
            plan.set_tensors(&second).unwrap();
            assert_eq!(plan.logits(2, &pixels).unwrap(), fresh.logits(2, &pixels).unwrap());
        }
    }
}

#[test]
fn a_frozen_backbone_trains_the_head_on_running_statistics() {
    let graph = Architecture::ResNet18.graph(3);
    let tensors = graph.initialise(4);
    let input = input_spec(2, 32, 32);
    let (pixels, labels) = batch(2, 32, 32, 3);
    for engine in every_engine() {
        let spec = TrainingSpec { freeze: Freeze::Backbone, ..spec() };
        let mut plan = engine.training(&graph, &tensors, &input, &spec).unwrap();
        let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 };
        let output = plan.step(&batch, 1e-2, 0.0).unwrap();
        let mut inference = engine.inference(&graph, &tensors, &input, &[]).unwrap();
        assert!(largest_difference(&output.logits, &inference.logits(2, &pixels).unwrap()) < 1e-5);
        let gradients = plan.gradients().unwrap();
        assert_eq!(gradients.keys().collect::<Vec<_>>(), ["fc.bias", "fc.weight"]);
        for (name, tensor) in plan.tensors().unwrap() {
            assert_eq!(tensor != tensors[&name], name.starts_with("fc."), "{name}");
        }
        inference.set_tensors(&plan.tensors().unwrap()).unwrap();
        assert_ne!(inference.logits(2, &pixels).unwrap(), output.logits);
    }
}

#[test]
fn a_loss_that_is_no_number_changes_nothing() {
    let graph = every_operator(3);
    let mut tensors = graph.initialise(1);
    tensors.get_mut("fc.bias").unwrap().values[0] = f32::NAN;
    let (pixels, labels) = batch(2, 10, 12, 3);
    for engine in every_engine() {
        let mut plan = engine.training(&graph, &tensors, &input_spec(2, 10, 12), &spec()).unwrap();
        let before = (plan.tensors().unwrap(), plan.state().unwrap(), plan.steps());
        let error = plan
            .step(
                &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 },
                1e-3,
                0.01,
            )
            .unwrap_err();
        assert!(matches!(error, EngineError::NonFiniteLoss { .. }), "{error}");
        let bits = |t: &Tensors| -> Vec<u32> {
            t.values().flat_map(|t| t.values.iter().map(|v| v.to_bits())).collect()
        };
        let after = (plan.tensors().unwrap(), plan.state().unwrap(), plan.steps());
        assert_eq!((bits(&before.0), bits(&before.1), before.2), (bits(&after.0), bits(&after.1), after.2));
    }
}

#[test]
fn wrong_calls_are_named() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let input = input_spec(2, 10, 12);
    let (pixels, labels) = batch(2, 10, 12, 3);
    for engine in every_engine() {
        let mut plan = engine.training(&graph, &tensors, &input, &spec()).unwrap();
        let mut message = |pixels: &[u8], labels: &[u32]| {
            plan.step(&TrainBatch { pixels, features: &[], labels, mixed: None, seed: 0 }, 0.0, 0.0)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(message(&pixels, &[0, 3]), "label 3 in a model of 3 classes");
        assert_eq!(
            message(&pixels[1..], &labels),
            "a batch of 2 images of 10 x 12 was announced and 719 bytes given (at most 2 images)"
        );
        assert!(message(&[], &[]).contains("a batch of 0 images"));
        let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 };
        let error = plan.backward_from(&batch, &[0.0; 5]).unwrap_err().to_string();
        assert_eq!(error, "2 images of 3 logits need 6 values of their gradient, not 5");

        let mut fewer = tensors.clone();
        fewer.remove("bn.running_var");
        let error = engine.inference(&graph, &fewer, &input, &[]).err().unwrap();
        assert_eq!(error.to_string(), "tensor `bn.running_var`: expected shape [4], found None");
        let small = InputSpec { height: 1, width: 1, ..input };
        let error = engine.inference(&graph, &tensors, &small, &[]).err().unwrap();
        assert!(error.to_string().starts_with("node `pool` (MaxPool2d)"), "{error}");
    }
}
