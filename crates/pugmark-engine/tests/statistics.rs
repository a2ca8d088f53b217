//! Watching a step tells what the parameters and activations were, and changes nothing else.

mod common;

use common::{all_nodes, batch, engines, every_engine, every_operator, input_spec, spec};
use pugmark_engine::{
    Clip, Cpu, Engine, EngineError, LayerKind, Optimiser, Precision, TrainBatch, TrainingSpec,
};
use pugmark_graph::{Graph, NodeId, Op, Role};

fn first_batch<'a>(pixels: &'a [u8], labels: &'a [u32]) -> TrainBatch<'a> {
    TrainBatch { pixels, features: &[], labels, mixed: None, seed: 5 }
}

#[test]
fn watching_changes_no_bit_whatever_the_number_of_threads() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let (pixels, labels) = batch(4, 10, 12, 3);
    let batch = first_batch(&pixels, &labels);
    let input = input_spec(4, 10, 12);
    for engine in every_engine() {
        let mut plain = engine.training(&graph, &tensors, &input, &spec()).unwrap();
        let mut watched = engine.training(&graph, &tensors, &input, &spec()).unwrap();
        for step in 0..4 {
            watched.watch(step % 2 == 0);
            let parts = [batch; 2];
            let a = plain.accumulated_step(&parts, 0.01, 0.1).unwrap();
            let b = watched.accumulated_step(&parts, 0.01, 0.1).unwrap();
            assert_eq!(a, b);
            assert_eq!(watched.statistics().is_some(), step % 2 == 0);
            assert!(plain.statistics().is_none());
        }
        assert_eq!(
            (plain.tensors().unwrap(), plain.state().unwrap()),
            (watched.tensors().unwrap(), watched.state().unwrap())
        );
    }
    let of = |threads| {
        let engine = Cpu::new(threads).unwrap();
        let mut training = engine.training(&graph, &tensors, &input, &spec()).unwrap();
        training.watch(true);
        training.step(&batch, 0.01, 0.1).unwrap();
        training.statistics().unwrap()
    };
    assert_eq!(of(1), of(3));
}

/// Of clipped gradients those before are meant, and the change is that of the tensors.
#[test]
fn weights_are_those_before_the_step_and_the_change_is_the_difference() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let (pixels, labels) = batch(4, 10, 12, 3);
    let batch = first_batch(&pixels, &labels);
    for optimiser in [Optimiser::AdamW, Optimiser::Sgd { momentum: 0.9, nesterov: false }] {
        let spec = TrainingSpec { optimiser, ..spec() };
        let clipped = TrainingSpec { clip: Clip::Norm(1e-3), ..spec.clone() };
        for engine in engines() {
            let mut plan = engine.training(&graph, &tensors, &input_spec(4, 10, 12), &spec).unwrap();
            plan.watch(true);
            plan.step(&batch, 0.01, 0.1).unwrap();
            let (after, gradients, seen) =
                (plan.tensors().unwrap(), plan.gradients().unwrap(), plan.statistics().unwrap());
            let roles = [Role::ConvWeight, Role::LinearWeight, Role::LayerScale];
            let watched: Vec<_> = graph.params().iter().filter(|p| roles.contains(&p.role)).collect();
            assert_eq!(seen.weights.len(), watched.len());
            for (weight, param) in seen.weights.iter().zip(watched) {
                assert_eq!(graph.param(weight.param).name, param.name);
                let (old, new) = (&tensors[&param.name].values, &after[&param.name].values);
                let gradient = &gradients[&param.name].values;
                let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
                // All is f64: only the order of the additions differs.
                let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (b + 1e-12);
                let wide = |v: &f32| f64::from(*v);
                assert!(close(weight.norm, norm(&mut old.iter().map(wide))), "{}", param.name);
                assert!(close(weight.gradient_norm, norm(&mut gradient.iter().map(wide))), "{}", param.name);
                let mean = gradient.iter().map(|v| wide(v).abs()).sum::<f64>() / gradient.len() as f64;
                assert!(close(weight.gradient_mean, mean), "{}", param.name);
                let change = norm(&mut new.iter().zip(old).map(|(new, old)| wide(new) - wide(old)));
                assert!(change > 0.0 && close(weight.update_norm, change), "{}", param.name);
            }
            let mut plan = engine.training(&graph, &tensors, &input_spec(4, 10, 12), &clipped).unwrap();
            plan.watch(true);
            plan.step(&batch, 0.01, 0.1).unwrap();
            for (weight, unclipped) in plan.statistics().unwrap().weights.iter().zip(&seen.weights) {
                assert_eq!(weight.gradient_norm, unclipped.gradient_norm);
            }
        }
    }
}

/// The node whose output an activation's statistics are of: the ReLU that a named node's chain of single readers ends in.
fn relu_after(graph: &Graph, name: &str) -> NodeId {
    let mut at =
        NodeId(graph.nodes().iter().position(|node| node.name == name).expect("a node of that name"));
    while graph.nodes()[at.0].op != Op::Relu {
        let next = graph.nodes().iter().position(|node| node.inputs.contains(&at)).expect("a reader");
        at = NodeId(next);
    }
    at
}

#[test]
fn layers_are_what_taps_read() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let input = input_spec(4, 10, 12);
    let (pixels, labels) = batch(4, 10, 12, 3);
    let batch = first_batch(&pixels, &labels);
    for engine in every_engine() {
        let mut plan = engine.training(&graph, &tensors, &input, &spec()).unwrap();
        plan.watch(true);
        plan.step(&batch, 0.01, 0.1).unwrap();
        let seen = plan.statistics().unwrap();
        let kinds: Vec<LayerKind> = seen.layers.iter().map(|layer| layer.kind).collect();
        use LayerKind::{Gelu, Input, Relu, Sigmoid, Silu};
        assert_eq!(kinds, [Input, Relu, Relu, Gelu, Silu, Sigmoid, Gelu]);
        let mut tapped = engine
            .training(&graph, &tensors, &input, &TrainingSpec { taps: all_nodes(&graph), ..spec() })
            .unwrap();
        tapped.step(&batch, 0.01, 0.1).unwrap();
        for layer in &seen.layers {
            let node = match layer.kind {
                Relu => relu_after(&graph, &layer.name),
                kind => {
                    let at = graph.nodes().iter().position(|node| node.name == layer.name).unwrap();
                    if kind == Sigmoid { graph.nodes()[at].inputs[0] } else { NodeId(at) }
                }
            };
            let (value, _) = tapped.tap(node).unwrap().unwrap();
            let (images, channels) = (value.shape[0], value.shape[1]);
            let pixels = value.values.len() / images / channels;
            for channel in 0..channels {
                let values =
                    || value.values.chunks_exact(pixels).skip(channel).step_by(channels).flatten().copied();
                let count = (images * pixels) as f64;
                // The GPU rounds what it fuses with a convolution once more as well: each way by half a place, 2^-9 of a value.
                let gpu = !engine.name().starts_with("cpu") && engine.precision() == Precision::Bf16;
                let most = values().fold(0.0, |most, v| f64::from(v.abs()).max(most));
                let rounding = if gpu { 2.0 * most / 512.0 } else { 0.0 };
                let mean = values().map(f64::from).sum::<f64>() / count;
                // Taps keep fused nodes apart, which rounds once more in bf16: 2^-8 of the values.
                assert!((layer.mean[channel] - mean).abs() < 0.01 + rounding, "{}: {channel}", layer.name);
                let square = values().map(|v| f64::from(v).powi(2)).sum::<f64>() / count;
                let std = (square - mean * mean).max(0.0).sqrt();
                assert!((layer.std[channel] - std).abs() < 0.02 + rounding, "{}: {channel}", layer.name);
                if layer.kind == Relu {
                    let active = values().filter(|&v| v > 0.0).count() as f64 / count;
                    assert!((layer.share[channel] - active).abs() < 0.02, "{}: {channel}", layer.name);
                }
            }
        }
    }
}

/// A weight that makes the first convolution infinite: the layers show where, and nothing has moved.
#[test]
fn a_step_that_fails_still_shows_its_layers() {
    let graph = every_operator(3);
    let mut tensors = graph.initialise(1);
    tensors.get_mut("conv2.weight").unwrap().values.fill(f32::MAX);
    let (pixels, labels) = batch(4, 10, 12, 3);
    for engine in every_engine() {
        let mut plan = engine.training(&graph, &tensors, &input_spec(4, 10, 12), &spec()).unwrap();
        plan.watch(true);
        let error = plan.step(&first_batch(&pixels, &labels), 0.01, 0.1).unwrap_err();
        assert!(matches!(error, EngineError::NonFiniteLoss { .. }), "{error}");
        let seen = plan.statistics().unwrap();
        let finite = |layer: &&pugmark_engine::LayerStatistics| layer.mean.iter().all(|m| m.is_finite());
        let first_bad = seen.layers.iter().position(|layer| !finite(&layer)).unwrap();
        assert_eq!(seen.layers[first_bad].name, "bn", "the ReLU behind conv2 and its norm");
        assert!(first_bad > 0 && seen.weights.is_empty());
        assert_eq!(plan.tensors().unwrap(), tensors);
    }
}
