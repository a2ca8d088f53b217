mod convnext;
mod efficientnet;
mod swin;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Builder, Graph, GraphError, NodeId, Op};

use convnext::convnext;
use efficientnet::efficientnet_b0;
use swin::swin;

/// The model families that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Four convolutions with batch norm and pooling: small data, small pictures, no pretrained weights.
    #[serde(rename = "simple_cnn")]
    SimpleCnn,
    /// torchvision's `resnet18`.
    ResNet18,
    /// torchvision's `resnet34`.
    ResNet34,
    /// torchvision's `resnet50`.
    ResNet50,
    /// torchvision's `convnext_tiny`.
    #[serde(rename = "convnext_tiny")]
    ConvNextTiny,
    /// torchvision's `convnext_small`.
    #[serde(rename = "convnext_small")]
    ConvNextSmall,
    /// torchvision's `swin_t`.
    #[serde(rename = "swin_t")]
    SwinT,
    /// torchvision's `swin_s`.
    #[serde(rename = "swin_s")]
    SwinS,
    /// torchvision's `efficientnet_b0`.
    #[serde(rename = "efficientnet_b0")]
    EfficientNetB0,
}

/// What a training may change of an architecture; unset is torchvision's default.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct GraphSettings {
    /// Probability with which the last block is left out, in [0, 1); it grows evenly from 0 at the first. Only for
    /// architectures that have stochastic depth.
    pub stochastic_depth: Option<f32>,
    /// Probability of zero in front of the head, in [0, 1).
    pub dropout: Option<f32>,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Architecture; 9] = [
        Architecture::SimpleCnn,
        Architecture::ResNet18,
        Architecture::ResNet34,
        Architecture::ResNet50,
        Architecture::ConvNextTiny,
        Architecture::ConvNextSmall,
        Architecture::SwinT,
        Architecture::SwinS,
        Architecture::EfficientNetB0,
    ];

    /// torchvision's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::SimpleCnn => "simple_cnn",
            Architecture::ResNet18 => "resnet18",
            Architecture::ResNet34 => "resnet34",
            Architecture::ResNet50 => "resnet50",
            Architecture::ConvNextTiny => "convnext_tiny",
            Architecture::ConvNextSmall => "convnext_small",
            Architecture::SwinT => "swin_t",
            Architecture::SwinS => "swin_s",
            Architecture::EfficientNetB0 => "efficientnet_b0",
        }
    }

    /// Whether [`GraphSettings::stochastic_depth`] means something to it.
    pub fn has_stochastic_depth(self) -> bool {
        match self {
            Architecture::SimpleCnn
            | Architecture::ResNet18
            | Architecture::ResNet34
            | Architecture::ResNet50 => false,
            Architecture::ConvNextTiny | Architecture::ConvNextSmall => true,
            Architecture::SwinT | Architecture::SwinS | Architecture::EfficientNetB0 => true,
        }
    }

    /// The graph with a head of `classes` logits.
    pub fn graph(self, classes: usize) -> Graph {
        self.graph_with(classes, GraphSettings::default())
    }

    /// The graph with a head of `classes` logits, changed by `settings`.
    pub fn graph_with(self, classes: usize, settings: GraphSettings) -> Graph {
        let dropout = |default: f32| settings.dropout.unwrap_or(default);
        let depth = |default: f32| settings.stochastic_depth.unwrap_or(default);
        match self {
            Architecture::SimpleCnn => simple_cnn(classes, dropout(0.2)),
            Architecture::ResNet18 => resnet(Block::Basic, [2, 2, 2, 2], classes, dropout(0.0)),
            Architecture::ResNet34 => resnet(Block::Basic, [3, 4, 6, 3], classes, dropout(0.0)),
            Architecture::ResNet50 => resnet(Block::Bottleneck, [3, 4, 6, 3], classes, dropout(0.0)),
            Architecture::SwinT => swin([2, 2, 6, 2], classes, depth(0.2), dropout(0.0)),
            Architecture::SwinS => swin([2, 2, 18, 2], classes, depth(0.3), dropout(0.0)),
            Architecture::ConvNextTiny => convnext([3, 3, 9, 3], classes, depth(0.1), dropout(0.0)),
            Architecture::ConvNextSmall => convnext([3, 3, 27, 3], classes, depth(0.4), dropout(0.0)),
            Architecture::EfficientNetB0 => efficientnet_b0(classes, depth(0.2), dropout(0.2)),
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = GraphError;

    fn from_str(name: &str) -> Result<Self, GraphError> {
        Self::ALL.into_iter().find(|a| a.name() == name).ok_or_else(|| GraphError::UnknownArchitecture {
            name: name.into(),
            known: Self::ALL.map(Self::name).join(", "),
        })
    }
}

fn simple_cnn(classes: usize, dropout: f32) -> Graph {
    let mut b = Builder::new();
    let mut x = b.push("input", Op::Input { channels: 3 }, &[]);
    let mut channels = 3;
    for (index, out) in [32, 64, 128, 256].into_iter().enumerate() {
        if index > 0 {
            b.begin_stage();
            b.begin_block();
        }
        let block = format!("block{}", index + 1);
        x = b.conv2d(&format!("{block}.conv"), x, (channels, out), (3, 1, 1), false);
        x = b.batch_norm2d(&format!("{block}.bn"), x, out);
        x = b.push(&format!("{block}.relu"), Op::Relu, &[x]);
        x = b.push(&format!("{block}.pool"), Op::MaxPool2d { kernel: 2, stride: 2, padding: 0 }, &[x]);
        channels = out;
    }
    x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    x = b.push("dropout", Op::Dropout { p: dropout }, &[x]);
    b.begin_head();
    b.linear("fc", x, channels, classes);
    b.finish()
}

/// The two residual blocks of arXiv 1512.03385.
#[derive(Clone, Copy)]
enum Block {
    Basic,
    Bottleneck,
}

impl Block {
    fn expansion(self) -> usize {
        match self {
            Block::Basic => 1,
            Block::Bottleneck => 4,
        }
    }
}

fn resnet(block: Block, depths: [usize; 4], classes: usize, dropout: f32) -> Graph {
    let mut b = Builder::new();
    let input = b.push("input", Op::Input { channels: 3 }, &[]);
    let mut x = b.conv2d("conv1", input, (3, 64), (7, 2, 3), false);
    x = b.batch_norm2d("bn1", x, 64);
    x = b.push("relu", Op::Relu, &[x]);
    x = b.push("maxpool", Op::MaxPool2d { kernel: 3, stride: 2, padding: 1 }, &[x]);
    let mut channels = 64;
    for (stage, depth) in depths.into_iter().enumerate() {
        let planes = 64 << stage;
        b.begin_stage();
        for index in 0..depth {
            b.begin_block();
            let stride = if stage > 0 && index == 0 { 2 } else { 1 };
            let name = format!("layer{}.{index}", stage + 1);
            x = residual(&mut b, block, &name, x, (channels, planes), stride);
            channels = planes * block.expansion();
        }
    }
    x = b.push("avgpool", Op::GlobalAvgPool, &[x]);
    b.begin_head();
    x = b.dropout("dropout", x, dropout);
    b.linear("fc", x, channels, classes);
    b.finish()
}

fn residual(
    b: &mut Builder,
    block: Block,
    name: &str,
    input: NodeId,
    (channels, planes): (usize, usize),
    stride: usize,
) -> NodeId {
    let out = planes * block.expansion();
    // (channels in, channels out, kernel, stride); the bottleneck's stride is in its 3x3, as in torchvision.
    let convs: Vec<(usize, usize, usize, usize)> = match block {
        Block::Basic => vec![(channels, planes, 3, stride), (planes, planes, 3, 1)],
        Block::Bottleneck => vec![(channels, planes, 1, 1), (planes, planes, 3, stride), (planes, out, 1, 1)],
    };
    let last = convs.len();
    let mut x = input;
    for (index, (from, to, kernel, stride)) in convs.into_iter().enumerate() {
        let index = index + 1;
        x = b.conv2d(&format!("{name}.conv{index}"), x, (from, to), (kernel, stride, kernel / 2), false);
        x = b.batch_norm2d(&format!("{name}.bn{index}"), x, to);
        if index < last {
            x = b.push(&format!("{name}.relu{index}"), Op::Relu, &[x]);
        }
    }
    let identity = if stride != 1 || channels != out {
        let y = b.conv2d(&format!("{name}.downsample.0"), input, (channels, out), (1, stride, 0), false);
        b.batch_norm2d(&format!("{name}.downsample.1"), y, out)
    } else {
        input
    };
    x = b.push(&format!("{name}.add"), Op::Add, &[x, identity]);
    b.push(&format!("{name}.relu"), Op::Relu, &[x])
}
