//! Parameter groups, clipping, accumulation and mixed labels against PyTorch in float64: `fixtures/generators/updates.py`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::engines;
use pugmark_engine::{Clip, InputSpec, Loss, Optimiser, ParamRule, TrainBatch, TrainingSpec};
use pugmark_graph::{Builder, Graph, Op, Role, Tensor, Tensors};
use safetensors::{Dtype, SafeTensors};

const SIDE: usize = 12;
const INPUT: InputSpec = InputSpec { batch: 8, height: SIDE, width: SIDE, mean: [0.5; 3], std: [0.25; 3] };

/// The generator's `Tiny`.
fn tiny() -> Graph {
    let mut b = Builder::new();
    let input = b.push("input", Op::Input { channels: 3 }, &[]);
    let x = b.conv2d("conv1", input, (3, 4), (3, 1, 1), false);
    let x = b.batch_norm2d("bn1", x, 4);
    let x = b.push("relu1", Op::Relu, &[x]);
    b.begin_stage();
    b.begin_block();
    let x = b.conv2d("conv2", x, (4, 6), (3, 2, 1), false);
    let x = b.batch_norm2d("bn2", x, 6);
    let x = b.push("relu2", Op::Relu, &[x]);
    let x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    b.linear("fc", x, 6, 5);
    b.finish()
}

/// The formula of `fixtures/README.md`.
fn unit(name: &str, index: usize) -> f64 {
    let fnv1a = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3));
    let mut z = fnv1a.wrapping_add(index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
}

fn parameters(graph: &Graph) -> Tensors {
    let of = |p: &pugmark_graph::Param| {
        let (low, high) = match p.role {
            Role::ConvWeight | Role::LinearWeight => {
                let bound = 0.5 * (6.0 / p.shape[1..].iter().product::<usize>() as f64).sqrt();
                (-bound, bound)
            }
            Role::NormWeight => (0.5, 1.5),
            Role::RunningMean => (0.0, 0.0),
            Role::RunningVar => (1.0, 1.0),
            _ => (-0.1, 0.1),
        };
        let name = format!("tiny.{}", p.name);
        let values = (0..p.len()).map(|i| (low + (high - low) * unit(&name, i)) as f32).collect();
        Tensor { shape: p.shape.clone(), values }
    };
    graph.params().iter().map(|p| (p.name.clone(), of(p))).collect()
}

struct Fixture(Vec<u8>);

impl Fixture {
    fn get(&self, name: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        let data = tensor.data();
        match tensor.dtype() {
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{name} is {other:?}"),
        }
    }
}

struct Case {
    name: &'static str,
    sizes: &'static [usize],
    mixed: bool,
    /// AdamW with rates by layer and no decay of norms and biases; else SGD with one rate.
    groups: bool,
    clip: Clip,
    label_smoothing: f32,
    weighted: bool,
}

const PLAIN: Case = Case {
    name: "",
    sizes: &[8],
    mixed: false,
    groups: false,
    clip: Clip::None,
    label_smoothing: 0.0,
    weighted: false,
};

#[test]
fn steps_agree_with_pytorch() {
    let cases = [
        Case { name: "groups", groups: true, ..PLAIN },
        Case { name: "clip_norm", clip: Clip::Norm(0.2), ..PLAIN },
        Case { name: "clip_value", clip: Clip::Value(0.05), ..PLAIN },
        Case { name: "clip_adaptive", clip: Clip::Adaptive(0.05), ..PLAIN },
        Case { name: "accumulated", sizes: &[3, 3, 2], clip: Clip::Norm(0.2), weighted: true, ..PLAIN },
        Case { name: "mixed", mixed: true, label_smoothing: 0.1, weighted: true, ..PLAIN },
        Case {
            name: "mixed_accumulated",
            sizes: &[5, 3],
            mixed: true,
            label_smoothing: 0.1,
            weighted: true,
            ..PLAIN
        },
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/tiny_training.safetensors");
    let fixture = Fixture(std::fs::read(path).unwrap());
    let words = |name: &str| -> Vec<u32> { fixture.get(name).iter().map(|&v| v as u32).collect() };
    let floats = |name: &str| -> Vec<f32> { fixture.get(name).iter().map(|&v| v as f32).collect() };
    let (labels, second, shares) = (words("labels"), words("second"), floats("shares"));
    let picture = SIDE * SIDE * 3;
    let pixels: Vec<u8> = (0..8 * picture).map(|i| (unit("tiny input", i) * 256.0) as u8).collect();
    let graph = tiny();
    for (engine, case) in engines().iter().flat_map(|engine| cases.iter().map(move |case| (engine, case))) {
        let scale = |name: &str| match name.split_once('.').unwrap().0 {
            "conv1" | "bn1" => 0.25,
            "conv2" | "bn2" => 0.5,
            _ => 1.0,
        };
        let rule = |p: &pugmark_graph::Param| ParamRule {
            learning_rate: scale(&p.name),
            weight_decay: if p.shape.len() > 1 { 1.0 } else { 0.0 },
        };
        let spec = TrainingSpec {
            loss: Loss {
                label_smoothing: case.label_smoothing,
                class_weights: case.weighted.then(|| floats("class_weights")),
            },
            optimiser: match case.groups {
                true => Optimiser::AdamW,
                false => Optimiser::Sgd { momentum: 0.9, nesterov: false },
            },
            rules: if case.groups { graph.params().iter().map(rule).collect() } else { Vec::new() },
            clip: case.clip,
            ..TrainingSpec::default()
        };
        let (rate, decay) = if case.groups { (0.01, 0.1) } else { (0.1, 1e-3) };
        let mut plan = engine.training(&graph, &parameters(&graph), &INPUT, &spec).unwrap();
        let (mut losses, mut norms) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let mut from = 0;
            let batches: Vec<TrainBatch<'_>> = case
                .sizes
                .iter()
                .map(|&size| {
                    let at = from..from + size;
                    from += size;
                    TrainBatch {
                        pixels: &pixels[at.start * picture..at.end * picture],
                        features: &[],
                        labels: &labels[at.clone()],
                        mixed: case.mixed.then(|| (&second[at.clone()], &shares[at.clone()])),
                        seed: 0,
                    }
                })
                .collect();
            let output = plan.accumulated_step(&batches, rate, decay).unwrap();
            assert_eq!(output.logits.len(), 8 * 5);
            losses.push(output.loss as f32);
            norms.push(output.gradient_norm as f32);
        }
        // Ours is as far from float64 as PyTorch's f32 is, give or take: four times that, and a few units in the last place.
        let close = |what: &str, found: &[f32]| {
            let name = format!("{}.{what}", case.name);
            let (expected, error) = (fixture.get(&name), fixture.get(&format!("{name}_f32_max_error"))[0]);
            assert_eq!(found.len(), expected.len(), "{name}");
            for (&found, expected) in found.iter().zip(expected) {
                let difference = (f64::from(found) - expected).abs();
                assert!(
                    difference <= 4.0 * error + 1e-6,
                    "{} {name}: {found} against {expected}",
                    engine.name()
                );
            }
        };
        close("losses", &losses);
        close("norms", &norms);
        for (name, tensor) in plan.tensors().unwrap() {
            close(&name, &tensor.values);
        }
    }
}
