//! Lowers a graph to fused steps over values with known geometry.

use pugmark_graph::{Graph, GraphError, Node, NodeId, Op, ParamId, Shape};
use pugmark_kernels::{ConvShape, DepthwiseShape, Plane, PoolShape, WindowAttention};

/// Index into [`Program::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ValueId(pub usize);

/// A tensor of the program; a vector is a picture of one pixel.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    /// The node whose output it is.
    pub node: NodeId,
    /// Geometry; on the CPU with the border its consumers read.
    pub plane: Plane,
    /// Geometry of its gradient, there with the border its producer's data gradient reads; none where nothing needs it: nothing
    /// before it is trained or tapped.
    pub gradient: Option<Plane>,
}

/// A batch norm's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Norm {
    pub weight: ParamId,
    pub bias: ParamId,
    pub running_mean: ParamId,
    pub running_var: ParamId,
    pub eps: f32,
    pub momentum: f32,
}

/// A stochastic depth that is at work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct StochasticDepth {
    pub p: f32,
    /// Its node, which keys its draws whatever it is fused with.
    pub node: NodeId,
}

/// What a step computes.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// Pictures to normalised values.
    Input,
    /// Values that are given instead of computed.
    Features,
    /// Convolution; where it hands no gradient on, the norm that follows is folded into its weights.
    Conv { shape: ConvShape, weight: ParamId, bias: Option<ParamId>, folded: Option<Norm>, relu: bool },
    /// Convolution of each channel by itself.
    Depthwise { shape: DepthwiseShape, weight: ParamId, bias: Option<ParamId> },
    /// Batch norm, over the batch's statistics or, where nothing before it is trained, the running ones.
    Norm { norm: Norm, running: bool, relu: bool },
    /// Layer norm.
    LayerNorm { weight: ParamId, bias: ParamId, eps: f32 },
    /// Factors of channels and, in training, of images.
    Scale { layer_scale: Option<ParamId>, stochastic_depth: Option<StochasticDepth> },
    /// Attention inside windows; `padding` is the bias of the linear layer before.
    Attention { attention: WindowAttention, table: ParamId, padding: ParamId },
    /// Four pixels become one.
    MergePatches,
    /// Maximum pooling.
    MaxPool(PoolShape),
    /// Global average pooling.
    GlobalAvgPool,
    /// Linear layer of a vector; of pictures it is a [`Kind::Conv`].
    Linear { weight: ParamId, bias: Option<ParamId> },
    /// Dropout; leaves its input alone outside training.
    Dropout { p: f32 },
    /// Rectifier.
    Relu,
    /// Gaussian error linear unit.
    Gelu,
    /// Sigmoid linear unit.
    Silu,
    /// Logistic function.
    Sigmoid,
    /// The input times the residual, a vector.
    Gate,
    /// Sum of input and residual.
    Add { relu: bool },
}

/// One fused operation.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub kind: Kind,
    /// The value read; the output itself for [`Kind::Input`] and [`Kind::Features`].
    pub input: ValueId,
    /// The value added before the rectifier.
    pub residual: Option<ValueId>,
    pub output: ValueId,
}

impl Step {
    /// Whether its backward pass has two parts, weights and data.
    pub fn has_weights(&self) -> bool {
        matches!(self.kind, Kind::Conv { .. } | Kind::Depthwise { .. } | Kind::Linear { .. })
    }

    pub fn is_linear(&self) -> bool {
        matches!(self.kind, Kind::Linear { .. })
    }
}

/// Steps in execution order.
#[derive(Debug)]
pub(crate) struct Program {
    pub values: Vec<Value>,
    pub steps: Vec<Step>,
    /// The name of the node each step begins with; may be empty.
    pub names: Vec<String>,
    /// The logits.
    pub output: ValueId,
}

impl Program {
    /// Lowers `graph` for pictures of `height` x `width`. `trained` says which parameters get gradients; `taps` are not fused
    /// away, and get gradients as well where `tap_gradients` says so.
    pub fn new(
        graph: &Graph,
        (height, width): (usize, usize),
        trained: &dyn Fn(ParamId) -> bool,
        tap_gradients: bool,
        taps: &[NodeId],
    ) -> Result<Self, GraphError> {
        let shapes = graph.shapes(height, width)?;
        let mut after_trained: Vec<bool> = Vec::with_capacity(shapes.len());
        let mut needs_gradient: Vec<bool> = Vec::with_capacity(shapes.len());
        for (index, node) in graph.nodes().iter().enumerate() {
            let own = params(&node.op).into_iter().any(trained);
            after_trained.push(own || node.inputs.iter().any(|i| after_trained[i.0]));
            let tapped = tap_gradients && taps.contains(&NodeId(index));
            needs_gradient.push(own || tapped || node.inputs.iter().any(|i| needs_gradient[i.0]));
        }
        let live = live(graph);
        let mut lowering = Lowering {
            graph,
            consumers: consumers(graph, &live),
            after_trained,
            needs_gradient,
            taps,
            value_of: vec![None; shapes.len()],
            shapes,
            program: Program { values: Vec::new(), steps: Vec::new(), names: Vec::new(), output: ValueId(0) },
        };
        for index in (0..graph.nodes().len()).filter(|&index| live[index]) {
            lowering.node(NodeId(index));
        }
        let last = lowering.value_of.last().copied().flatten();
        let mut program = lowering.program;
        program.output = last.unwrap_or(ValueId(0));
        Ok(program)
    }

    /// Whether the step's backward pass is run.
    pub fn is_trained(&self, step: &Step) -> bool {
        !matches!(step.kind, Kind::Input | Kind::Features) && self.values[step.output.0].gradient.is_some()
    }

    /// Running statistics that move in training.
    pub fn moving_statistics(&self) -> impl Iterator<Item = ParamId> {
        let of = |kind: &Kind| match *kind {
            Kind::Norm { norm: Norm { running_mean, running_var, .. }, running: false, .. } => {
                vec![running_mean, running_var]
            }
            _ => Vec::new(),
        };
        self.steps.iter().flat_map(move |step| of(&step.kind))
    }

    /// With the zeros around each value that the CPU's convolutions read.
    #[must_use]
    pub fn with_borders(mut self) -> Self {
        for index in 0..self.steps.len() {
            let step = &self.steps[index];
            let (of_input, of_gradient) = match &step.kind {
                Kind::Conv { shape, .. } => (shape.input_border(), shape.gradient_border()),
                Kind::Depthwise { shape, .. } => (shape.input_border(), shape.gradient_border()),
                _ => continue,
            };
            let (input, output) = (step.input.0, step.output.0);
            let border = &mut self.values[input].plane.border;
            *border = (*border).max(of_input);
            if let Some(gradient) = &mut self.values[output].gradient {
                gradient.border = of_gradient;
            }
        }
        self
    }
}

struct Lowering<'a> {
    graph: &'a Graph,
    consumers: Vec<Vec<NodeId>>,
    /// Whether a parameter of the node, or of one before it, is trained.
    after_trained: Vec<bool>,
    needs_gradient: Vec<bool>,
    taps: &'a [NodeId],
    shapes: Vec<Shape>,
    value_of: Vec<Option<ValueId>>,
    program: Program,
}

impl Lowering<'_> {
    fn node(&mut self, id: NodeId) {
        if self.value_of[id.0].is_some() {
            return; // Fused into an earlier step.
        }
        let node = &self.graph.nodes()[id.0];
        let mut last = id;
        let mut residual = None;
        let kind = match node.op {
            Op::Input { .. } => Kind::Input,
            Op::Features { .. } => Kind::Features,
            Op::Conv2d { .. } | Op::Linear { .. }
                if matches!(node.op, Op::Conv2d { .. })
                    || matches!(self.shapes[id.0], Shape::Image { .. }) =>
            {
                let (shape, weight, bias) = convolution_of(node);
                let (mut folded, mut relu) = (None, false);
                if !self.needs_gradient[id.0] {
                    if let Some((next, norm)) = self.following_norm(last) {
                        (last, folded) = (next, Some(norm));
                    }
                    (last, residual, relu) = self.following_add_and_relu(id, last);
                }
                Kind::Conv { shape, weight, bias, folded, relu }
            }
            Op::Conv2d { .. } => unreachable!("the arm above takes every convolution"),
            Op::DepthwiseConv2d { weight, bias, channels, kernel, stride, padding } => {
                Kind::Depthwise { shape: DepthwiseShape { kernel, stride, padding, channels }, weight, bias }
            }
            Op::BatchNorm2d { .. } => {
                let running = !self.after_trained[id.0];
                let relu;
                (last, residual, relu) = self.following_add_and_relu(id, last);
                Kind::Norm { norm: norm_of(node), running, relu }
            }
            Op::MaxPool2d { kernel, stride, padding } => Kind::MaxPool(PoolShape { kernel, stride, padding }),
            Op::GlobalAvgPool => Kind::GlobalAvgPool,
            Op::Linear { weight, bias, .. } => Kind::Linear { weight, bias },
            Op::LayerNorm { weight, bias, eps, .. } => Kind::LayerNorm { weight, bias, eps },
            Op::LayerScale { weight, .. } => {
                let mut stochastic_depth = None;
                if let Some(next) = self.only_consumer(last).filter(|&next| self.is_stochastic_depth(next)) {
                    (last, stochastic_depth) = (next, self.stochastic_depth(next));
                }
                (last, residual) = self.following_add(id, last);
                Kind::Scale { layer_scale: Some(weight), stochastic_depth }
            }
            Op::StochasticDepth { .. } => {
                (last, residual) = self.following_add(id, last);
                Kind::Scale { layer_scale: None, stochastic_depth: self.stochastic_depth(id) }
            }
            Op::WindowAttention { table, padding, heads, window, shift, .. } => {
                Kind::Attention { attention: WindowAttention { heads, window, shift }, table, padding }
            }
            Op::MergePatches => Kind::MergePatches,
            Op::Dropout { p } => Kind::Dropout { p },
            Op::Relu => Kind::Relu,
            Op::Gelu => Kind::Gelu,
            Op::Silu => Kind::Silu,
            Op::Sigmoid => Kind::Sigmoid,
            Op::Gate => {
                residual = self.value_of[node.inputs[1].0];
                Kind::Gate
            }
            Op::Add => {
                residual = self.value_of[node.inputs[1].0];
                let relu = self.following_relu(last);
                last = relu.unwrap_or(last);
                Kind::Add { relu: relu.is_some() }
            }
        };
        let plane = plane(&self.shapes[last.0]);
        let gradient = self.needs_gradient[last.0].then_some(plane);
        self.program.values.push(Value { node: last, plane, gradient });
        let output = ValueId(self.program.values.len() - 1);
        let input = node.inputs.first().and_then(|i| self.value_of[i.0]).unwrap_or(output);
        self.program.names.push(node.name.clone());
        self.program.steps.push(Step { kind, input, residual, output });
        let mut fused = id;
        loop {
            self.value_of[fused.0] = Some(output);
            match self.only_consumer(fused) {
                Some(next) if fused != last => fused = next,
                _ => break,
            }
        }
    }

    /// The node that `id` can be fused with: the only one that reads it, trained or not alike.
    fn only_consumer(&self, id: NodeId) -> Option<NodeId> {
        match self.consumers[id.0].as_slice() {
            &[only]
                if !self.taps.contains(&id) && self.needs_gradient[only.0] == self.needs_gradient[id.0] =>
            {
                Some(only)
            }
            _ => None,
        }
    }

    fn following_norm(&self, id: NodeId) -> Option<(NodeId, Norm)> {
        let next = self.only_consumer(id)?;
        let node = &self.graph.nodes()[next.0];
        matches!(node.op, Op::BatchNorm2d { .. }).then(|| (next, norm_of(node)))
    }

    fn following_relu(&self, id: NodeId) -> Option<NodeId> {
        self.only_consumer(id).filter(|next| self.graph.nodes()[next.0].op == Op::Relu)
    }

    fn is_stochastic_depth(&self, id: NodeId) -> bool {
        matches!(self.graph.nodes()[id.0].op, Op::StochasticDepth { .. })
    }

    /// What a node of that operator does: nothing without a chance to, or where nothing is trained.
    fn stochastic_depth(&self, id: NodeId) -> Option<StochasticDepth> {
        match self.graph.nodes()[id.0].op {
            Op::StochasticDepth { p } if p > 0.0 && self.after_trained[id.0] => {
                Some(StochasticDepth { p, node: id })
            }
            _ => None,
        }
    }

    /// A sum is fused into whichever of its operands is computed last, by a step that begins with `first` and so far
    /// ends with `id`.
    fn following_add(&self, first: NodeId, id: NodeId) -> (NodeId, Option<ValueId>) {
        let Some(next) = self.only_consumer(id) else { return (id, None) };
        let node = &self.graph.nodes()[next.0];
        if node.op == Op::Add {
            let value = |node: &NodeId| self.value_of[node.0];
            let own = self.graph.nodes()[first.0].inputs.first().and_then(value);
            // `x + f(x)` in one step would write one gradient from two sides.
            let other = node.inputs.iter().filter(|&other| *other != id).find_map(value);
            if other.is_some() && other != own {
                return (next, other);
            }
        }
        (id, None)
    }

    fn following_add_and_relu(&self, first: NodeId, id: NodeId) -> (NodeId, Option<ValueId>, bool) {
        let idle = |&next: &NodeId| self.is_stochastic_depth(next) && self.stochastic_depth(next).is_none();
        let id = self.only_consumer(id).filter(idle).unwrap_or(id);
        let (last, residual) = self.following_add(first, id);
        match self.following_relu(last) {
            Some(next) => (next, residual, true),
            None => (last, residual, false),
        }
    }
}

fn norm_of(node: &Node) -> Norm {
    match node.op {
        Op::BatchNorm2d { weight, bias, running_mean, running_var, eps, momentum, .. } => {
            Norm { weight, bias, running_mean, running_var, eps, momentum }
        }
        _ => unreachable!("only called for batch norms"),
    }
}

/// A convolution, or a linear layer of pictures as one of a single tap: their weights lie alike in the engine.
fn convolution_of(node: &Node) -> (ConvShape, ParamId, Option<ParamId>) {
    match node.op {
        Op::Conv2d { weight, bias, in_channels, out_channels, kernel, stride, padding } => {
            (ConvShape { kernel, stride, padding, in_channels, out_channels }, weight, bias)
        }
        Op::Linear { weight, bias, in_features, out_features } => {
            let (in_channels, out_channels) = (in_features, out_features);
            let shape = ConvShape { kernel: (1, 1), stride: 1, padding: 0, in_channels, out_channels };
            (shape, weight, bias)
        }
        _ => unreachable!("only called for these two"),
    }
}

fn params(op: &Op) -> Vec<ParamId> {
    match *op {
        Op::Conv2d { weight, bias, .. }
        | Op::DepthwiseConv2d { weight, bias, .. }
        | Op::Linear { weight, bias, .. } => [Some(weight), bias].into_iter().flatten().collect(),
        Op::BatchNorm2d { weight, bias, .. } | Op::LayerNorm { weight, bias, .. } => vec![weight, bias],
        Op::LayerScale { weight, .. } => vec![weight],
        Op::WindowAttention { table, padding, .. } => vec![table, padding],
        _ => Vec::new(),
    }
}

/// The nodes that the last one depends on; others are not run.
fn live(graph: &Graph) -> Vec<bool> {
    let mut live = vec![false; graph.nodes().len()];
    if let Some(last) = live.last_mut() {
        *last = true;
    }
    for (index, node) in graph.nodes().iter().enumerate().rev() {
        if live[index] {
            node.inputs.iter().for_each(|input| live[input.0] = true);
        }
    }
    live
}

fn consumers(graph: &Graph, live: &[bool]) -> Vec<Vec<NodeId>> {
    let mut consumers = vec![Vec::new(); graph.nodes().len()];
    for (index, node) in graph.nodes().iter().enumerate().filter(|(index, _)| live[*index]) {
        for input in &node.inputs {
            consumers[input.0].push(NodeId(index));
        }
    }
    consumers
}

fn plane(shape: &Shape) -> Plane {
    match *shape {
        Shape::Image { channels, height, width } => Plane { height, width, channels, border: 0 },
        Shape::Vector { features } => Plane { height: 1, width: 1, channels: features, border: 0 },
    }
}
