//! A head that is given the features of its frozen backbone learns what it learns behind the backbone, bit for bit.

mod common;

use common::{batch, every_engine, input_spec, spec};
use pugmark_engine::{EngineError, Freeze, TrainBatch, TrainingSpec};
use pugmark_graph::{Architecture, Builder, NodeId, Op, Shape};

#[test]
fn the_head_alone_learns_the_same() {
    for (architecture, width) in [
        (Architecture::SimpleCnn, 256),
        (Architecture::ResNet18, 512),
        (Architecture::ResNet50, 2048),
        (Architecture::ConvNextTiny, 768),
        (Architecture::SwinT, 768),
        (Architecture::EfficientNetB0, 1280),
    ] {
        let graph = architecture.graph(3);
        let tensors = graph.initialise(4);
        let input = input_spec(5, 33, 40);
        let (pixels, labels) = batch(5, 33, 40, 3);
        let spec = TrainingSpec { freeze: Freeze::Backbone, ..spec() };
        let node = graph.features().unwrap();
        let shape = graph.shapes(33, 40).unwrap()[node.0];
        assert_eq!(shape, Shape::Vector { features: width });
        let head = graph.from_features(node, shape);
        for engine in every_engine() {
            let mut backbone = engine.inference(&graph.up_to(node), &tensors, &input, &[]).unwrap();
            let features = backbone.logits(5, &pixels).unwrap();
            assert_eq!(features.len(), 5 * width);
            // A photo's features do not depend on the photos beside it.
            let alone = backbone.logits(1, &pixels[..33 * 40 * 3]).unwrap();
            assert!(alone == features[..width], "{}", engine.name());

            let mut whole = engine.training(&graph, &tensors, &input, &spec).unwrap();
            let mut alone = engine.training(&head, &tensors, &input, &spec).unwrap();
            for seed in 0..4 {
                let given =
                    TrainBatch { pixels: &[], features: &features, labels: &labels, mixed: None, seed };
                let output = alone.step(&given, 1e-2, 0.01).unwrap();
                let seen = TrainBatch { pixels: &pixels, features: &[], labels: &labels, mixed: None, seed };
                assert!(output == whole.step(&seen, 1e-2, 0.01).unwrap(), "{}, step {seed}", engine.name());
            }
            let (learned, expected) = (alone.tensors().unwrap(), whole.tensors().unwrap());
            assert!(alone.averaged_tensors().unwrap() == learned, "without an average they are the values");
            assert!(alone.state().unwrap() == whole.state().unwrap() && learned.len() == 2);
            assert!(
                learned.iter().all(|(name, tensor)| expected[name] == *tensor && tensors[name] != *tensor)
            );

            let mut infer = engine.inference(&head, &learned, &input, &[]).unwrap();
            let mut expect = engine.inference(&graph, &expected, &input, &[]).unwrap();
            let found = infer.logits_of_features(5, &features).unwrap();
            assert!(found == expect.logits(5, &pixels).unwrap(), "{}", engine.name());
        }
    }
}

#[test]
fn where_features_end() {
    let graph = Architecture::SimpleCnn.graph(2);
    let node = graph.features().unwrap();
    assert_eq!(graph.nodes()[node.0].name, "avgpool", "dropout goes with the head");
    assert_eq!(graph.given(), None);

    let input = Op::Input { channels: 3 };
    let mut b = Builder::new();
    let x = b.push("input", input.clone(), &[]);
    let x = b.push("dropout", Op::Dropout { p: 0.5 }, &[x]);
    let pooled = b.push("pool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    b.linear("fc", pooled, 3, 2);
    assert_eq!(b.finish().features(), None, "the backbone is random");

    let mut b = Builder::new();
    let x = b.push("input", input, &[]);
    let one = b.push("one", Op::GlobalAvgPool, &[x]);
    b.push("two", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    let sum = b.push("sum", Op::Add, &[one, NodeId(2)]);
    b.linear("fc", sum, 3, 2);
    assert_eq!(b.finish().features(), None, "the head reads two nodes");
}

#[test]
fn what_is_not_given_is_named() {
    let graph = Architecture::SimpleCnn.graph(2);
    let tensors = graph.initialise(4);
    let head = graph.from_features(graph.features().unwrap(), Shape::Vector { features: 256 });
    let (pixels, _) = batch(1, 32, 32, 2);
    for engine in every_engine() {
        let input = input_spec(2, 32, 32);
        let mut whole = engine.inference(&graph, &tensors, &input, &[]).unwrap();
        let mut alone = engine.inference(&head, &tensors, &input, &[]).unwrap();
        let wrong = |error: EngineError, text: &str| {
            assert!(matches!(error, EngineError::Features { .. }), "{error}");
            assert!(error.to_string().contains(text), "{error}");
        };
        wrong(whole.logits_of_features(1, &[0.0; 256]).unwrap_err(), "1 times 0 features");
        wrong(alone.logits(1, &pixels).unwrap_err(), "1 times 256 features");
        wrong(alone.logits_of_features(2, &[0.0; 256]).unwrap_err(), "256 values given");
        wrong(alone.logits_of_features(3, &[0.0; 768]).unwrap_err(), "at most 2 images");
    }
}
