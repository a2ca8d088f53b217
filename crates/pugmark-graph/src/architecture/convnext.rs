//! ConvNeXt (arXiv 2201.03545), as torchvision builds it.

use crate::{Builder, Graph, NodeId, Op, Scheme};

const CHANNELS: [usize; 4] = [96, 192, 384, 768];
const EPS: f32 = 1e-6;
/// What a layer scale begins with.
const LAYER_SCALE: f64 = 1e-6;

/// `depths` blocks in each stage; the last is left out with probability `stochastic_depth`.
pub(super) fn convnext(depths: [usize; 4], classes: usize, stochastic_depth: f32, dropout: f32) -> Graph {
    let mut b = Builder::with_scheme(Scheme::Narrow);
    let input = b.push("input", Op::Input { channels: 3 }, &[]);
    let mut x = b.conv2d("features.0.0", input, (3, CHANNELS[0]), (4, 4, 0), true);
    x = b.layer_norm("features.0.1", x, CHANNELS[0], EPS);
    let last = depths.iter().sum::<usize>() - 1;
    let mut block = 0;
    for (stage, (depth, channels)) in depths.into_iter().zip(CHANNELS).enumerate() {
        b.begin_stage();
        for index in 0..depth {
            b.begin_block();
            if index == 0 && stage > 0 {
                let name = format!("features.{}", 2 * stage);
                let before = CHANNELS[stage - 1];
                x = b.layer_norm(&format!("{name}.0"), x, before, EPS);
                x = b.conv2d(&format!("{name}.1"), x, (before, channels), (2, 2, 0), true);
            }
            let p = stochastic_depth * block as f32 / last as f32;
            x = residual(&mut b, &format!("features.{}.{index}", 2 * stage + 1), x, channels, p);
            block += 1;
        }
    }
    x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    x = b.layer_norm("classifier.0", x, CHANNELS[3], EPS);
    b.begin_head();
    x = b.dropout("classifier.dropout", x, dropout);
    b.linear("classifier.2", x, CHANNELS[3], classes);
    b.finish()
}

fn residual(b: &mut Builder, name: &str, input: NodeId, channels: usize, p: f32) -> NodeId {
    let weight = b.layer_scale_parameter(&format!("{name}.layer_scale"), channels, LAYER_SCALE);
    let mut x = b.depthwise_conv2d(&format!("{name}.block.0"), input, channels, (7, 1, 3), true);
    x = b.layer_norm(&format!("{name}.block.2"), x, channels, EPS);
    x = b.linear(&format!("{name}.block.3"), x, channels, 4 * channels);
    x = b.push(&format!("{name}.block.4"), Op::Gelu, &[x]);
    x = b.linear(&format!("{name}.block.5"), x, 4 * channels, channels);
    x = b.push(&format!("{name}.layer_scale"), Op::LayerScale { weight, channels }, &[x]);
    x = b.push(&format!("{name}.stochastic_depth"), Op::StochasticDepth { p }, &[x]);
    b.push(&format!("{name}.add"), Op::Add, &[x, input])
}
