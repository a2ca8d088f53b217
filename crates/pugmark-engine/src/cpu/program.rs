//! Lowers a graph to fused steps over values with known geometry.

use pugmark_graph::{Graph, GraphError, Node, NodeId, Op, ParamId, Shape};
use pugmark_kernels::{ConvShape, Plane, PoolShape};

/// Index into [`Program::values`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ValueId(pub usize);

/// A tensor of the program; a vector is a picture of one pixel.
#[derive(Debug, Clone)]
pub(super) struct Value {
    /// The node whose output it is.
    pub node: NodeId,
    /// Geometry, with the border its consumers read.
    pub plane: Plane,
    /// Geometry of its gradient, with the border its producer's data gradient reads; none where nothing before it is trained.
    pub gradient: Option<Plane>,
}

/// A batch norm's parameters.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Norm {
    pub weight: ParamId,
    pub bias: ParamId,
    pub running_mean: ParamId,
    pub running_var: ParamId,
    pub eps: f32,
    pub momentum: f32,
}

/// What a step computes.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// Pictures to normalised values.
    Input,
    /// Values that are given instead of computed.
    Features,
    /// Convolution; where nothing in it is trained, the norm that follows is folded into its weights.
    Conv { shape: ConvShape, weight: ParamId, bias: Option<ParamId>, folded: Option<Norm>, relu: bool },
    /// Batch norm, over the batch's statistics or, where nothing before it is trained, the running ones.
    Norm { norm: Norm, running: bool, relu: bool },
    /// Maximum pooling.
    MaxPool(PoolShape),
    /// Global average pooling.
    GlobalAvgPool,
    /// Linear layer.
    Linear { weight: ParamId, bias: ParamId },
    /// Dropout; leaves its input alone outside training.
    Dropout { p: f32 },
    /// Rectifier.
    Relu,
    /// Sum of input and residual.
    Add { relu: bool },
}

/// One fused operation.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub kind: Kind,
    /// The value read; the output itself for [`Kind::Input`] and [`Kind::Features`].
    pub input: ValueId,
    /// The value added before the rectifier.
    pub residual: Option<ValueId>,
    pub output: ValueId,
}

impl Step {
    pub fn is_linear(&self) -> bool {
        matches!(self.kind, Kind::Linear { .. })
    }
}

/// Steps in execution order.
#[derive(Debug)]
pub(super) struct Program {
    pub values: Vec<Value>,
    pub steps: Vec<Step>,
    /// The name of the node each step begins with; may be empty.
    pub names: Vec<String>,
    /// The logits.
    pub output: ValueId,
}

impl Program {
    /// Lowers `graph` for pictures of `height` x `width`. `trained` says which parameters get gradients; `taps` are not fused away.
    pub fn new(
        graph: &Graph,
        (height, width): (usize, usize),
        trained: &dyn Fn(ParamId) -> bool,
        taps: &[NodeId],
    ) -> Result<Self, GraphError> {
        let shapes = graph.shapes(height, width)?;
        let mut needs_gradient: Vec<bool> = Vec::with_capacity(shapes.len());
        for node in graph.nodes() {
            let needs =
                params(&node.op).into_iter().any(trained) || node.inputs.iter().any(|i| needs_gradient[i.0]);
            needs_gradient.push(needs);
        }
        let live = live(graph);
        let mut lowering = Lowering {
            graph,
            consumers: consumers(graph, &live),
            needs_gradient,
            taps,
            planes: shapes.iter().map(plane).collect(),
            value_of: vec![None; shapes.len()],
            program: Program { values: Vec::new(), steps: Vec::new(), names: Vec::new(), output: ValueId(0) },
        };
        for index in (0..graph.nodes().len()).filter(|&index| live[index]) {
            lowering.node(NodeId(index));
        }
        let last = lowering.value_of.last().copied().flatten();
        let mut program = lowering.program;
        program.output = last.unwrap_or(ValueId(0));
        program.set_borders();
        Ok(program)
    }

    /// Whether the step's backward pass is run.
    pub fn is_trained(&self, step: &Step) -> bool {
        !matches!(step.kind, Kind::Input | Kind::Features) && self.values[step.output.0].gradient.is_some()
    }

    fn set_borders(&mut self) {
        for index in 0..self.steps.len() {
            let Step { kind: Kind::Conv { shape, .. }, input, output, .. } = &self.steps[index] else {
                continue;
            };
            let (input, output, shape) = (input.0, output.0, *shape);
            let border = &mut self.values[input].plane.border;
            *border = (*border).max(shape.input_border());
            if let Some(gradient) = &mut self.values[output].gradient {
                gradient.border = shape.gradient_border();
            }
        }
    }
}

struct Lowering<'a> {
    graph: &'a Graph,
    consumers: Vec<Vec<NodeId>>,
    needs_gradient: Vec<bool>,
    taps: &'a [NodeId],
    planes: Vec<Plane>,
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
            Op::Conv2d { weight, bias, in_channels, out_channels, kernel, stride, padding } => {
                let shape = ConvShape { kernel, stride, padding, in_channels, out_channels };
                let (mut folded, mut relu) = (None, false);
                if !self.needs_gradient[id.0] {
                    if let Some((next, norm)) = self.following_norm(last) {
                        (last, folded) = (next, Some(norm));
                    }
                    (last, residual, relu) = self.following_add_and_relu(last);
                }
                Kind::Conv { shape, weight, bias, folded, relu }
            }
            Op::BatchNorm2d { .. } => {
                let running = !self.needs_gradient[id.0];
                let relu;
                (last, residual, relu) = self.following_add_and_relu(last);
                Kind::Norm { norm: norm_of(node), running, relu }
            }
            Op::MaxPool2d { kernel, stride, padding } => Kind::MaxPool(PoolShape { kernel, stride, padding }),
            Op::GlobalAvgPool => Kind::GlobalAvgPool,
            Op::Linear { weight, bias, .. } => Kind::Linear { weight, bias },
            Op::Dropout { p } => Kind::Dropout { p },
            Op::Relu => Kind::Relu,
            Op::Add => {
                residual = self.value_of[node.inputs[1].0];
                let relu = self.following_relu(last);
                last = relu.unwrap_or(last);
                Kind::Add { relu: relu.is_some() }
            }
        };
        let gradient = self.needs_gradient[last.0].then_some(self.planes[last.0]);
        self.program.values.push(Value { node: last, plane: self.planes[last.0], gradient });
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

    /// A sum is fused into whichever of its operands is computed last.
    fn following_add_and_relu(&self, id: NodeId) -> (NodeId, Option<ValueId>, bool) {
        let mut last = id;
        let mut residual = None;
        if let Some(next) = self.only_consumer(id) {
            let node = &self.graph.nodes()[next.0];
            if node.op == Op::Add {
                let own = &self.graph.nodes()[id.0].inputs;
                // `x + f(x)` in one step would write one gradient from two sides.
                let other = node.inputs.iter().find(|&i| *i != id && !own.contains(i));
                if let Some(value) = other.and_then(|other| self.value_of[other.0]) {
                    (last, residual) = (next, Some(value));
                }
            }
        }
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

fn params(op: &Op) -> Vec<ParamId> {
    match *op {
        Op::Conv2d { weight, bias, .. } => [Some(weight), bias].into_iter().flatten().collect(),
        Op::BatchNorm2d { weight, bias, .. } | Op::Linear { weight, bias, .. } => vec![weight, bias],
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
