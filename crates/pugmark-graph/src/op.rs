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
    /// `max(x, 0)`.
    Relu,
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
    /// `y = x W^T + b` as `torch.nn.Linear`.
    Linear {
        /// `[out, in]`.
        weight: ParamId,
        /// `[out]`.
        bias: ParamId,
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
            Op::BatchNorm2d { .. } => "BatchNorm2d",
            Op::Relu => "Relu",
            Op::Add => "Add",
            Op::MaxPool2d { .. } => "MaxPool2d",
            Op::GlobalAvgPool => "GlobalAvgPool",
            Op::Dropout { .. } => "Dropout",
            Op::Linear { .. } => "Linear",
        }
    }
}
