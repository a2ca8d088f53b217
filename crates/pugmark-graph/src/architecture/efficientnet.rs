//! EfficientNet-B0 (arXiv 1905.11946), as torchvision builds it.

use crate::{Builder, Graph, NodeId, Op, Scheme};

/// A stage of blocks of one shape; the first block takes the step and the change of channels.
struct Stage {
    expand: usize,
    kernel: usize,
    stride: usize,
    out: usize,
    depth: usize,
}

const fn stage(expand: usize, kernel: usize, stride: usize, out: usize, depth: usize) -> Stage {
    Stage { expand, kernel, stride, out, depth }
}

const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 16, 1),
    stage(6, 3, 2, 24, 2),
    stage(6, 5, 2, 40, 2),
    stage(6, 3, 2, 80, 3),
    stage(6, 5, 1, 112, 3),
    stage(6, 5, 2, 192, 4),
    stage(6, 3, 1, 320, 1),
];

/// The block behind the last would be left out with probability `stochastic_depth`: torchvision divides by the blocks.
pub(super) fn efficientnet_b0(classes: usize, stochastic_depth: f32, dropout: f32) -> Graph {
    let mut b = Builder::with_scheme(Scheme::Efficient);
    let input = b.push("input", Op::Input { channels: 3 }, &[]);
    let x = b.conv2d("features.0.0", input, (3, 32), (3, 2, 1), false);
    let mut x = norm(&mut b, "features.0", x, 32, true);
    let (mut channels, mut block) = (32, 0);
    let blocks: usize = STAGES.iter().map(|stage| stage.depth).sum();
    for (index, stage) in STAGES.iter().enumerate() {
        if index == 0 || stage.stride > 1 {
            b.begin_stage();
        }
        for position in 0..stage.depth {
            b.begin_block();
            let stride = if position == 0 { stage.stride } else { 1 };
            let p = stochastic_depth * block as f32 / blocks as f32;
            let name = format!("features.{}.{position}", index + 1);
            x = inverted_residual(&mut b, &name, x, channels, stage, stride, p);
            channels = stage.out;
            block += 1;
        }
    }
    b.begin_block();
    x = b.conv2d("features.8.0", x, (channels, 1280), (1, 1, 0), false);
    x = norm(&mut b, "features.8", x, 1280, true);
    x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    x = b.dropout("classifier.0", x, dropout);
    b.linear("classifier.1", x, 1280, classes);
    b.finish()
}

/// Batch norm, then perhaps SiLU, behind the convolution `name.0`.
fn norm(b: &mut Builder, name: &str, x: NodeId, channels: usize, silu: bool) -> NodeId {
    let x = b.batch_norm2d(&format!("{name}.1"), x, channels);
    if silu { b.push(&format!("{name}.2"), Op::Silu, &[x]) } else { x }
}

fn inverted_residual(
    b: &mut Builder,
    name: &str,
    input: NodeId,
    channels: usize,
    &Stage { expand, kernel, out, .. }: &Stage,
    stride: usize,
    p: f32,
) -> NodeId {
    let mut part = 0;
    let mut next = || {
        part += 1;
        format!("{name}.block.{}", part - 1)
    };
    let wide = channels * expand;
    let mut x = input;
    if expand > 1 {
        let name = next();
        x = b.conv2d(&format!("{name}.0"), x, (channels, wide), (1, 1, 0), false);
        x = norm(b, &name, x, wide, true);
    }
    let depthwise = next();
    x = b.depthwise_conv2d(&format!("{depthwise}.0"), x, wide, (kernel, stride, kernel / 2), false);
    x = norm(b, &depthwise, x, wide, true);
    x = squeeze_excitation(b, &next(), x, wide, channels / 4);
    let project = next();
    x = b.conv2d(&format!("{project}.0"), x, (wide, out), (1, 1, 0), false);
    x = norm(b, &project, x, out, false);
    if stride != 1 || channels != out {
        return x;
    }
    x = b.push(&format!("{name}.stochastic_depth"), Op::StochasticDepth { p }, &[x]);
    b.push(&format!("{name}.add"), Op::Add, &[x, input])
}

/// A gate a channel, from the channels' means (arXiv 1709.01507).
fn squeeze_excitation(
    b: &mut Builder,
    name: &str,
    input: NodeId,
    channels: usize,
    squeezed: usize,
) -> NodeId {
    let mut x = b.push(&format!("{name}.avgpool"), Op::GlobalAvgPool, &[input]);
    x = b.conv2d(&format!("{name}.fc1"), x, (channels, squeezed), (1, 1, 0), true);
    x = b.push(&format!("{name}.activation"), Op::Silu, &[x]);
    x = b.conv2d(&format!("{name}.fc2"), x, (squeezed, channels), (1, 1, 0), true);
    x = b.push(&format!("{name}.scale_activation"), Op::Sigmoid, &[x]);
    b.push(&format!("{name}.gate"), Op::Gate, &[input, x])
}
