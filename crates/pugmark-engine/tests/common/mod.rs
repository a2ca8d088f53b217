#![allow(dead_code, reason = "each test file uses its own share")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

pub mod formula;

use std::sync::OnceLock;

use pugmark_cuda::Emulator;
use pugmark_engine::{Cpu, Cuda, Engine, InputSpec, Precision, TrainingSpec};
use pugmark_graph::{Builder, Graph, NodeId, Op};

/// The engines that compute in f32: the processor's two ways, and the GPU's.
pub fn engines() -> Vec<Box<dyn Engine>> {
    let cpu = Cpu::new(2).unwrap();
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(cpu.clone()), Box::new(cpu.without_winograd())];
    if let Some(cuda) = gpu() {
        engines.push(Box::new(cuda));
    }
    engines
}

/// The GPU engine: on the first GPU with the feature `gpu-tests`, else on an emulated one.
pub fn gpu() -> Option<Cuda> {
    static GPU: OnceLock<Cuda> = OnceLock::new();
    match cfg!(feature = "gpu-tests") {
        true => Some(GPU.get_or_init(|| Cuda::new(pugmark_cuda::Cuda::open(0).unwrap())).clone()),
        false => emulated(),
    }
}

/// The GPU engine on the processor; none, and said so, where there is no C++ compiler.
pub fn emulated() -> Option<Cuda> {
    Emulator::is_possible().then(|| Cuda::new(Emulator::new().unwrap()))
}

/// Those whose activations are bf16.
pub fn bf16_engines() -> Vec<Box<dyn Engine>> {
    let cpu = Cpu::new(2).unwrap().with_precision(Precision::Bf16);
    let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(cpu)];
    if let Some(cuda) = gpu() {
        engines.push(Box::new(cuda.with_precision(Precision::Bf16)));
    }
    engines
}

/// All of them, for what holds in every precision.
pub fn every_engine() -> Vec<Box<dyn Engine>> {
    engines().into_iter().chain(bf16_engines()).collect()
}

pub fn input_spec(batch: usize, height: usize, width: usize) -> InputSpec {
    InputSpec { batch, height, width, mean: [0.5, 0.4, 0.6], std: [0.25, 0.2, 0.3] }
}

pub fn spec() -> TrainingSpec {
    TrainingSpec::default()
}

pub fn all_nodes(graph: &Graph) -> Vec<NodeId> {
    (0..graph.nodes().len()).map(NodeId).collect()
}

/// Noise, and labels that go round.
pub fn batch(images: usize, height: usize, width: usize, classes: u32) -> (Vec<u8>, Vec<u32>) {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let pixels = (0..images * height * width * 3)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect();
    (pixels, (0..images as u32).map(|i| i % classes).collect())
}

/// A small graph with every operator, every kind of fusion and values that several nodes read.
pub fn every_operator(classes: usize) -> Graph {
    let mut b = Builder::new();
    let input = b.push("input", Op::Input { channels: 3 }, &[]);
    let a = b.conv2d("conv1", input, (3, 4), (3, 1, 1), true);
    let relu = b.push("relu1", Op::Relu, &[a]);
    let c = b.conv2d("conv2", relu, (4, 4), (3, 1, 1), false);
    let c = b.batch_norm2d("bn", c, 4);
    let sum = b.push("add", Op::Add, &[c, relu]);
    let sum = b.push("relu2", Op::Relu, &[sum]);
    let norm = b.batch_norm2d("norm", sum, 4);
    let sum = b.push("add2", Op::Add, &[norm, sum]);
    let pool = b.push("pool", Op::MaxPool2d { kernel: 3, stride: 2, padding: 0 }, &[sum]);
    let d = b.conv2d("conv3", pool, (4, 6), (1, 2, 0), false);
    let e = b.conv2d("conv4", pool, (4, 6), (3, 2, 1), true);
    let sum = b.push("add3", Op::Add, &[d, e]);
    let weight = b.layer_scale_parameter("layer_scale", 6, 0.7);
    let x = b.depthwise_conv2d("depthwise", sum, 6, (5, 1, 2), true);
    let x = b.layer_norm("layer_norm", x, 6, 1e-6);
    let x = b.linear("linear1", x, 6, 10);
    let x = b.push("gelu", Op::Gelu, &[x]);
    let x = b.linear_without_bias("linear2", x, 10, 6);
    let x = b.push("scale", Op::LayerScale { weight, channels: 6 }, &[x]);
    let x = b.push("stochastic_depth", Op::StochasticDepth { p: 0.4 }, &[x]);
    let sum = b.push("add4", Op::Add, &[x, sum]);
    let pooled = b.push("squeeze", Op::GlobalAvgPool, &[sum]);
    let gate = b.conv2d("fc1", pooled, (6, 3), (1, 1, 0), true);
    let gate = b.push("silu", Op::Silu, &[gate]);
    let gate = b.conv2d("fc2", gate, (3, 6), (1, 1, 0), true);
    let gate = b.push("sigmoid", Op::Sigmoid, &[gate]);
    let sum = b.push("gate", Op::Gate, &[sum, gate]);
    let x = b.push("gelu2", Op::Gelu, &[sum]);
    let x = b.depthwise_conv2d("depthwise2", x, 6, (3, 2, 1), false);
    let sum = b.depthwise_conv2d("depthwise3", sum, 6, (1, 2, 0), false);
    let x = b.push("stochastic_depth2", Op::StochasticDepth { p: 0.3 }, &[x]);
    let sum = b.push("add5", Op::Add, &[sum, x]);
    // Windows that do not fill the picture, and an odd side.
    let x = b.window_attention("attention", sum, 6, 2, (4, 2));
    let sum = b.push("add6", Op::Add, &[x, sum]);
    let x = b.patch_merging("merge", sum, 6, 1e-5);
    let x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    let x = b.layer_norm("last_norm", x, 12, 1e-5);
    let x = b.push("dropout", Op::Dropout { p: 0.2 }, &[x]);
    b.begin_head();
    b.linear("fc", x, 12, classes);
    b.finish()
}

/// Largest absolute difference as a share of the largest absolute value.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let scale = a.iter().chain(b).fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    a.iter().zip(b).fold(0.0_f32, |m, (x, y)| m.max((x - y).abs())) / scale
}
