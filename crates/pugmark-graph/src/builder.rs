use crate::{Graph, Initial, Node, NodeId, Op, Param, ParamId, Role, Scheme};

/// Builds a [`Graph`] node by node.
#[derive(Debug, Default)]
pub struct Builder {
    nodes: Vec<Node>,
    params: Vec<Param>,
    scheme: Scheme,
    /// The first node of the head, once it has begun.
    head: Option<usize>,
    stage: usize,
    block: usize,
}

impl Builder {
    /// An empty graph whose parameters start as those of torchvision's ResNets.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty graph whose parameters start as `scheme` says.
    pub fn with_scheme(scheme: Scheme) -> Self {
        Self { scheme, ..Self::default() }
    }

    /// Parameters added from here on start as `scheme` says.
    pub fn set_scheme(&mut self, scheme: Scheme) {
        self.scheme = scheme;
    }

    /// Parameters added from here on belong to the head, a stage and a block of its own.
    pub fn begin_head(&mut self) {
        self.head = Some(self.nodes.len());
        self.begin_stage();
        self.begin_block();
    }

    /// Parameters added from here on belong to the next stage.
    pub fn begin_stage(&mut self) {
        self.stage += 1;
    }

    /// Parameters added from here on belong to the next block.
    pub fn begin_block(&mut self) {
        self.block += 1;
    }

    /// Adds any operator.
    pub fn push(&mut self, name: &str, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec() });
        NodeId(self.nodes.len() - 1)
    }

    fn param(&mut self, name: String, shape: &[usize], role: Role) -> ParamId {
        let initial = self.scheme.initial(role, shape);
        self.param_from(name, shape, role, initial)
    }

    fn param_from(&mut self, name: String, shape: &[usize], role: Role, initial: Initial) -> ParamId {
        let Self { stage, block, .. } = *self;
        let head = self.head.is_some();
        self.params.push(Param { name, shape: shape.to_vec(), role, initial, head, stage, block });
        ParamId(self.params.len() - 1)
    }

    /// Adds a square convolution of `channels` = (in, out).
    pub fn conv2d(
        &mut self,
        name: &str,
        input: NodeId,
        (in_channels, out_channels): (usize, usize),
        (kernel, stride, padding): (usize, usize, usize),
        bias: bool,
    ) -> NodeId {
        let shape = [out_channels, in_channels, kernel, kernel];
        let weight = self.param(format!("{name}.weight"), &shape, Role::ConvWeight);
        let fan_in = in_channels * kernel * kernel;
        let bias = bias.then(|| self.param(format!("{name}.bias"), &[out_channels], Role::Bias { fan_in }));
        let kernel = (kernel, kernel);
        self.push(
            name,
            Op::Conv2d { weight, bias, in_channels, out_channels, kernel, stride, padding },
            &[input],
        )
    }

    /// Adds a square convolution of each channel by itself.
    pub fn depthwise_conv2d(
        &mut self,
        name: &str,
        input: NodeId,
        channels: usize,
        (kernel, stride, padding): (usize, usize, usize),
        bias: bool,
    ) -> NodeId {
        let shape = [channels, 1, kernel, kernel];
        let weight = self.param(format!("{name}.weight"), &shape, Role::ConvWeight);
        let fan_in = kernel * kernel;
        let bias = bias.then(|| self.param(format!("{name}.bias"), &[channels], Role::Bias { fan_in }));
        self.push(name, Op::DepthwiseConv2d { weight, bias, channels, kernel, stride, padding }, &[input])
    }

    /// Adds a batch norm with PyTorch's defaults (`eps` 1e-5, momentum 0.1).
    pub fn batch_norm2d(&mut self, name: &str, input: NodeId, channels: usize) -> NodeId {
        let shape = [channels];
        let weight = self.param(format!("{name}.weight"), &shape, Role::NormWeight);
        let bias = self.param(format!("{name}.bias"), &shape, Role::NormBias);
        let running_mean = self.param(format!("{name}.running_mean"), &shape, Role::RunningMean);
        let running_var = self.param(format!("{name}.running_var"), &shape, Role::RunningVar);
        let op =
            Op::BatchNorm2d { weight, bias, running_mean, running_var, channels, eps: 1e-5, momentum: 0.1 };
        self.push(name, op, &[input])
    }

    /// Adds a layer norm over the channels.
    pub fn layer_norm(&mut self, name: &str, input: NodeId, channels: usize, eps: f32) -> NodeId {
        let weight = self.param(format!("{name}.weight"), &[channels], Role::NormWeight);
        let bias = self.param(format!("{name}.bias"), &[channels], Role::NormBias);
        self.push(name, Op::LayerNorm { weight, bias, channels, eps }, &[input])
    }

    /// Adds a linear layer with bias, of a vector or of each pixel.
    pub fn linear(&mut self, name: &str, input: NodeId, in_features: usize, out_features: usize) -> NodeId {
        let weight = self.param(format!("{name}.weight"), &[out_features, in_features], Role::LinearWeight);
        let bias = self.param(format!("{name}.bias"), &[out_features], Role::Bias { fan_in: in_features });
        self.push(name, Op::Linear { weight, bias: Some(bias), in_features, out_features }, &[input])
    }

    /// Adds a linear layer without bias.
    pub fn linear_without_bias(
        &mut self,
        name: &str,
        input: NodeId,
        in_features: usize,
        out_features: usize,
    ) -> NodeId {
        let weight = self.param(format!("{name}.weight"), &[out_features, in_features], Role::LinearWeight);
        self.push(name, Op::Linear { weight, bias: None, in_features, out_features }, &[input])
    }

    /// Adds dropout of probability `p`; nothing where that is 0.
    pub fn dropout(&mut self, name: &str, input: NodeId, p: f32) -> NodeId {
        if p > 0.0 { self.push(name, Op::Dropout { p }, &[input]) } else { input }
    }

    /// Adds the parameter of a layer scale, `first` to begin with. torchvision lists it before the block that it scales.
    pub fn layer_scale_parameter(&mut self, name: &str, channels: usize, first: f64) -> ParamId {
        self.param_from(name.into(), &[channels, 1, 1], Role::LayerScale, Initial::Constant(first))
    }

    /// Adds attention inside windows of (side, shift) pixels, with the linear layers before and behind it.
    pub fn window_attention(
        &mut self,
        name: &str,
        input: NodeId,
        channels: usize,
        heads: usize,
        (window, shift): (usize, usize),
    ) -> NodeId {
        let differences = (2 * window - 1) * (2 * window - 1);
        let table = format!("{name}.relative_position_bias_table");
        let table = self.param(table, &[differences, heads], Role::PositionBias);
        let x = self.linear(&format!("{name}.qkv"), input, channels, 3 * channels);
        let Op::Linear { bias: Some(padding), .. } = self.nodes[x.0].op else {
            unreachable!("it was added with a bias")
        };
        let op = Op::WindowAttention { table, padding, channels, heads, window, shift };
        let x = self.push(name, op, &[x]);
        self.linear(&format!("{name}.proj"), x, channels, channels)
    }

    /// Adds patch merging: the channels of 2 x 2 pixels, a layer norm, and a linear layer to twice the channels. torchvision
    /// lists the linear layer first.
    pub fn patch_merging(&mut self, name: &str, input: NodeId, channels: usize, eps: f32) -> NodeId {
        let (in_features, out_features) = (4 * channels, 2 * channels);
        let reduction = format!("{name}.reduction");
        let weight =
            self.param(format!("{reduction}.weight"), &[out_features, in_features], Role::LinearWeight);
        let x = self.push(name, Op::MergePatches, &[input]);
        let x = self.layer_norm(&format!("{name}.norm"), x, in_features, eps);
        self.push(&reduction, Op::Linear { weight, bias: None, in_features, out_features }, &[x])
    }

    /// The finished graph; its last node gives the logits.
    pub fn finish(self) -> Graph {
        Graph { head: self.head.unwrap_or(self.nodes.len()), nodes: self.nodes, params: self.params }
    }
}
