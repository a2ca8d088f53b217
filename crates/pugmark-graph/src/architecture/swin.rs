//! Swin (arXiv 2103.14030) as torchvision builds it.

use crate::{Builder, Graph, NodeId, Op, Scheme};

/// Channels after the patch embedding; each stage doubles them.
const CHANNELS: usize = 96;
/// Heads of each stage: 32 channels each.
const HEADS: [usize; 4] = [3, 6, 12, 24];
/// Pixels on a side of an attention window.
const WINDOW: usize = 7;
/// Pixels on a side of an embedded patch.
const PATCH: usize = 4;
const EPS: f32 = 1e-5;

/// Stochastic depth grows from 0 at the first block to `stochastic_depth` at the last.
pub(super) fn swin(depths: [usize; 4], classes: usize, stochastic_depth: f32, dropout: f32) -> Graph {
    // The embedding starts as any PyTorch convolution, all linear layers narrowly.
    let mut b = Builder::with_scheme(Scheme::Uniform);
    let input = b.push("input", Op::Input { channels: 3 }, &[]);
    let mut x = b.conv2d("features.0.0", input, (3, CHANNELS), (PATCH, PATCH, 0), true);
    b.set_scheme(Scheme::Narrow);
    x = b.layer_norm("features.0.2", x, CHANNELS, EPS);
    let (mut channels, mut done) = (CHANNELS, 0);
    let last = depths.iter().sum::<usize>() - 1;
    for (stage, depth) in depths.into_iter().enumerate() {
        b.begin_stage();
        for index in 0..depth {
            b.begin_block();
            if stage > 0 && index == 0 {
                x = b.patch_merging(&format!("features.{}", 2 * stage), x, channels, EPS);
                channels *= 2;
            }
            let name = format!("features.{}.{index}", 2 * stage + 1);
            let p = stochastic_depth * done as f32 / last as f32;
            let shift = if index % 2 == 0 { 0 } else { WINDOW / 2 };
            x = block(&mut b, &name, x, channels, (HEADS[stage], shift), p);
            done += 1;
        }
    }
    x = b.layer_norm("norm", x, channels, EPS);
    x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    x = b.dropout("dropout", x, dropout);
    b.linear("head", x, channels, classes);
    b.finish()
}

/// Attention, then two linear layers, each behind a norm and beside a shortcut that stochastic depth may leave alone.
fn block(
    b: &mut Builder,
    name: &str,
    input: NodeId,
    channels: usize,
    (heads, shift): (usize, usize),
    stochastic_depth: f32,
) -> NodeId {
    let add = |b: &mut Builder, index: usize, branch: NodeId, shortcut: NodeId| {
        let op = Op::StochasticDepth { p: stochastic_depth };
        let branch = b.push(&format!("{name}.stochastic_depth{index}"), op, &[branch]);
        b.push(&format!("{name}.add{index}"), Op::Add, &[branch, shortcut])
    };
    let mut x = b.layer_norm(&format!("{name}.norm1"), input, channels, EPS);
    x = b.window_attention(&format!("{name}.attn"), x, channels, heads, (WINDOW, shift));
    let shortcut = add(b, 1, x, input);
    x = b.layer_norm(&format!("{name}.norm2"), shortcut, channels, EPS);
    x = b.linear(&format!("{name}.mlp.0"), x, channels, 4 * channels);
    x = b.push(&format!("{name}.mlp.1"), Op::Gelu, &[x]);
    x = b.linear(&format!("{name}.mlp.3"), x, 4 * channels, channels);
    add(b, 2, x, shortcut)
}
