//! Timing a step lists its operators and changes nothing else.

mod common;

use common::{batch, engines, every_engine, every_operator, input_spec, spec};
use pugmark_engine::{OperatorTime, Pass, TrainBatch};
use pugmark_graph::{Builder, Op};

#[test]
fn timing_changes_no_bit() {
    let graph = every_operator(3);
    let tensors = graph.initialise(1);
    let input = input_spec(4, 10, 12);
    let (pixels, labels) = batch(4, 10, 12, 3);
    let batch = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 5 };
    for engine in every_engine() {
        let mut plain = engine.training(&graph, &tensors, &input, &spec()).unwrap();
        let mut timed = engine.training(&graph, &tensors, &input, &spec()).unwrap();
        timed.time_operators(true);
        for _ in 0..2 {
            let a = plain.step(&batch, 0.01, 0.1).unwrap();
            let b = timed.step(&batch, 0.01, 0.1).unwrap();
            assert_eq!(a, b);
        }
        assert_eq!(plain.tensors().unwrap(), timed.tensors().unwrap());
        assert!(plain.operator_times().is_empty());
        let times = timed.operator_times();
        let of = |pass: Pass| times.iter().filter(|t| t.pass == pass).count();
        assert_eq!((of(Pass::Loss), of(Pass::Optimiser)), (1, 1));
        assert!(of(Pass::Forward) > of(Pass::BackwardWeight));
        timed.time_operators(false);
        timed.step(&batch, 0.01, 0.1).unwrap();
        assert!(timed.operator_times().is_empty());
    }
}

/// A 3x3 convolution from 3 to 4 channels on 5 images of 6 x 8: 48 pixels, 108 weights, so 2 * 5 * 48 * 108 operations.
#[test]
fn a_convolution_counts_its_operations() {
    let mut builder = Builder::new();
    let x = builder.push("input", Op::Input { channels: 3 }, &[]);
    let x = builder.conv2d("conv", x, (3, 4), (3, 1, 1), false);
    let x = builder.push("", Op::GlobalAvgPool, &[x]);
    builder.linear("head", x, 4, 2);
    let graph = builder.finish();
    let tensors = graph.initialise(1);
    let (pixels, labels) = batch(5, 6, 8, 2);
    for engine in engines() {
        let mut plan = engine.training(&graph, &tensors, &input_spec(5, 6, 8), &spec()).unwrap();
        plan.time_operators(true);
        plan.step(
            &TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed: 0 },
            0.01,
            0.0,
        )
        .unwrap();
        let times = plan.operator_times();
        let conv: Vec<&OperatorTime> = times.iter().filter(|t| t.name == "conv").collect();
        let passes: Vec<Pass> = conv.iter().map(|t| t.pass).collect();
        // Nothing is trained before it, so it has no data gradient; the GPU's libraries pack weights themselves.
        let prepared = usize::from(engine.name().starts_with("cpu"));
        assert_eq!(passes, [Pass::Prepare, Pass::Forward, Pass::BackwardWeight][1 - prepared..]);
        let flops: Vec<f64> = conv.iter().map(|t| t.flops).collect();
        assert_eq!(flops, [0.0, 51840.0, 51840.0][1 - prepared..]);
        assert_eq!(conv[0].kind, "conv 3x3 s1 3->4 at 6x8");
        assert_eq!(conv[prepared].bytes, f64::from(4 * (5 * 48 * (3 + 4) + 108)));
        let linear: Vec<f64> = times.iter().filter(|t| t.name == "head").map(|t| t.flops).collect();
        assert_eq!(linear, [80.0; 3]);
        assert!(times.iter().any(|t| t.kind == "global average pool 4 at 6x8" && t.name.contains('#')));
    }
}
