use pugmark_graph::ParamId;

/// What a watched training step saw: [`crate::Training::watch`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StepStatistics {
    /// The pictures and the activations behind trained parameters, in the order they ran; of several batches in a step those
    /// of the last. A step that failed has them too.
    pub layers: Vec<LayerStatistics>,
    /// Trained weights of convolutions and linear layers, and layer scales, in the graph's order; none where the step failed.
    pub weights: Vec<WeightStatistics>,
}

/// What statistics are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LayerKind {
    /// The normalised pictures.
    Input,
    /// What a ReLU lets through, with all that is fused in front of it.
    Relu,
    /// The output of a GELU.
    Gelu,
    /// The output of a SiLU.
    Silu,
    /// What goes into a sigmoid.
    Sigmoid,
}

impl LayerKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Relu => "ReLU",
            Self::Gelu => "GELU",
            Self::Silu => "SiLU",
            Self::Sigmoid => "sigmoid",
        }
    }

    /// Limits outside of which values are counted: those that a ReLU lets pass, and those for which a sigmoid in f32 has no
    /// gradient left (SageMaker Debugger's SaturatedActivation).
    pub(crate) fn limits(self) -> (f32, f32) {
        match self {
            Self::Relu => (f32::NEG_INFINITY, 0.0),
            Self::Sigmoid => (-23.0, 16.99999),
            Self::Input | Self::Gelu | Self::Silu => (f32::NEG_INFINITY, f32::INFINITY),
        }
    }
}

/// Statistics of a layer over the pixels of a batch, one value a channel; NaN or infinite where a value is.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerStatistics {
    /// The graph node's name, of fused ones the first's; may be empty.
    pub name: String,
    /// What the values are.
    pub kind: LayerKind,
    /// Means.
    pub mean: Vec<f64>,
    /// Standard deviations.
    pub std: Vec<f64>,
    /// Shares of the values that a ReLU lets pass, or that saturate a sigmoid.
    pub share: Vec<f64>,
}

/// Statistics of a weight around one step of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WeightStatistics {
    /// The parameter.
    pub param: ParamId,
    /// Mean of the gradient's absolute values, before anything was clipped.
    pub gradient_mean: f64,
    /// The gradient's Euclidean norm.
    pub gradient_norm: f64,
    /// Share of its values that are zero.
    pub gradient_zeros: f64,
    /// Euclidean norm of the weight before the step.
    pub norm: f64,
    /// Share of its values that are zero.
    pub zeros: f64,
    /// Euclidean norm of what the step changed.
    pub update_norm: f64,
}
