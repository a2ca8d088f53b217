use crate::{ParamId, Shape};

/// One operator with its attributes. Its inputs are the node's; parameters are named by index into [`crate::Graph::params`].
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// The batch of pictures: `channels` values a pixel, normalised.
    Input {
        /// Values per pixel.
        channels: usize,
    },
    /// Values of another node that are given instead of computed, such as the features of a frozen backbone.
    Features {
        /// Their shape.
        shape: Shape,
    },
    /// Cross-correlation as `torch.nn.Conv2d` with square stride and padding, no dilation, one group.
    Conv2d {
        /// `[out, in, kernel height, kernel width]`.
        weight: ParamId,
        /// `[out]`.
        bias: Option<ParamId>,
        /// Channels of the input.
        in_channels: usize,
        /// Channels of the output.
        out_channels: usize,
        /// Height and width of the kernel.
        kernel: (usize, usize),
        /// Step in both directions.
        stride: usize,
        /// Zeros added on each side.
        padding: usize,
    },
    /// Each channel by itself: `torch.nn.Conv2d` with as many groups as channels.
    DepthwiseConv2d {
        /// `[channels, 1, kernel, kernel]`.
        weight: ParamId,
        /// `[channels]`.
        bias: Option<ParamId>,
        /// Channels of input and output.
        channels: usize,
        /// Side of the kernel.
        kernel: usize,
        /// Step in both directions.
        stride: usize,
        /// Zeros added on each side; less than the kernel's side.
        padding: usize,
    },
    /// Batch normalisation over (image, height, width) as `torch.nn.BatchNorm2d`.
    BatchNorm2d {
        /// Scale, `[channels]`.
        weight: ParamId,
        /// Shift, `[channels]`.
        bias: ParamId,
        /// Running mean, `[channels]`; not trained.
        running_mean: ParamId,
        /// Running unbiased variance, `[channels]`; not trained.
        running_var: ParamId,
        /// Channels of input and output.
        channels: usize,
        /// Added to the variance.
        eps: f32,
        /// Share of the new statistics in the running ones.
        momentum: f32,
    },
    /// Normalisation of each pixel's (or the vector's) channels as `torch.nn.LayerNorm`.
    LayerNorm {
        /// Scale, `[channels]`.
        weight: ParamId,
        /// Shift, `[channels]`.
        bias: ParamId,
        /// Channels of input and output.
        channels: usize,
        /// Added to the variance.
        eps: f32,
    },
    /// `max(x, 0)`.
    Relu,
    /// `x` times the share of a standard normal below `x`: the exact form of `torch.nn.GELU`.
    Gelu,
    /// `x / (1 + exp(-x))`, as `torch.nn.SiLU`.
    Silu,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// A picture times a vector: a factor a channel of each image (arXiv 1709.01507).
    Gate,
    /// A factor a channel (arXiv 2103.17239).
    LayerScale {
        /// `[channels, 1, 1]`.
        weight: ParamId,
        /// Channels of input and output.
        channels: usize,
    },
    /// In training, zeroes an image's whole tensor with probability `p` and scales the rest by `1 / (1 - p)`: the mode
    /// `row` of `torchvision.ops.StochasticDepth` (arXiv 1603.09382).
    StochasticDepth {
        /// Probability of zero.
        p: f32,
    },
    /// Attention inside shifted windows between its two linear layers, as torchvision's `shifted_window_attention`: from
    /// queries, keys and values, `3 * channels` a pixel. A picture is filled up to whole windows with pixels that hold the
    /// bias of the linear layer before.
    WindowAttention {
        /// Biases of relative positions, `[(2 * window - 1)^2, heads]`.
        table: ParamId,
        /// Bias of the linear layer before, `[3 * channels]`.
        padding: ParamId,
        /// Channels of the output.
        channels: usize,
        /// Heads; each has `channels / heads` channels.
        heads: usize,
        /// Pixels on a side of a window.
        window: usize,
        /// Pixels by which windows are moved; not along a side that is one window.
        shift: usize,
    },
    /// Each 2 x 2 pixels become one with the channels of all four, as in torchvision's `PatchMerging`: the upper left's, the
    /// lower left's, the upper right's, the lower right's; zeros beyond an odd side.
    MergePatches,
    /// Sum of two tensors of one shape.
    Add,
    /// Maximum over square windows; padding counts as minus infinity.
    MaxPool2d {
        /// Side of the window.
        kernel: usize,
        /// Step of the window.
        stride: usize,
        /// Border on each side.
        padding: usize,
    },
    /// Mean over height and width: image to vector.
    GlobalAvgPool,
    /// Zeroes each value with probability `p` in training and scales the rest by `1 / (1 - p)`.
    Dropout {
        /// Probability of zero.
        p: f32,
    },
    /// `y = x W^T + b` as `torch.nn.Linear`, of a vector or of each pixel.
    Linear {
        /// `[out, in]`.
        weight: ParamId,
        /// `[out]`.
        bias: Option<ParamId>,
        /// Features of the input.
        in_features: usize,
        /// Features of the output.
        out_features: usize,
    },
}

impl Op {
    /// The operator's name in messages and tables.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input { .. } => "Input",
            Op::Features { .. } => "Features",
            Op::Conv2d { .. } => "Conv2d",
            Op::DepthwiseConv2d { .. } => "DepthwiseConv2d",
            Op::BatchNorm2d { .. } => "BatchNorm2d",
            Op::LayerNorm { .. } => "LayerNorm",
            Op::Relu => "Relu",
            Op::Gelu => "Gelu",
            Op::Silu => "Silu",
            Op::Sigmoid => "Sigmoid",
            Op::Gate => "Gate",
            Op::LayerScale { .. } => "LayerScale",
            Op::StochasticDepth { .. } => "StochasticDepth",
            Op::WindowAttention { .. } => "WindowAttention",
            Op::MergePatches => "MergePatches",
            Op::Add => "Add",
            Op::MaxPool2d { .. } => "MaxPool2d",
            Op::GlobalAvgPool => "GlobalAvgPool",
            Op::Dropout { .. } => "Dropout",
            Op::Linear { .. } => "Linear",
        }
    }
}
