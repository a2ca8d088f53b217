use serde::{Deserialize, Serialize};

/// What part of a step an operator's time belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pass {
    /// Output from input.
    Forward,
    /// The input's gradient; with a batch norm's own, which is made in the same sweep.
    BackwardData,
    /// The gradient of a convolution's or linear layer's weights and bias.
    BackwardWeight,
    /// Parameters and running statistics.
    Optimiser,
    /// Packing changed weights for the kernels.
    Prepare,
    /// Loss and its gradient.
    Loss,
}

impl Pass {
    /// The pass in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::BackwardData => "backward data",
            Self::BackwardWeight => "backward weight",
            Self::Optimiser => "optimiser",
            Self::Prepare => "prepare",
            Self::Loss => "loss",
        }
    }
}

/// What one operator took in one pass of a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorTime {
    /// The graph node's name; its kind and number where it has none.
    pub name: String,
    /// The operator and its shape, such as `conv 3x3 s1 64->64 at 56`; the size is the input's.
    pub kind: String,
    /// The part of the step.
    pub pass: Pass,
    /// Time it took.
    pub seconds: f64,
    /// Twice the multiply-adds of a convolution, as the direct algorithm does them, of a linear layer, or of the products in
    /// an attention; else 0.
    pub flops: f64,
    /// Bytes it must read and write at least: each tensor once, without borders.
    pub bytes: f64,
}
