use thiserror::Error;

use crate::{Initial, Op, Shape};

/// Index of a node in [`Graph::nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// Index of a parameter in [`Graph::params`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParamId(pub usize);

/// One operator in a graph.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The module path of torchvision's model, such as `layer1.0.conv1`.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Nodes it reads, all earlier in the list.
    pub inputs: Vec<NodeId>,
}

/// What a parameter is for; decides its layout in engines and whether it is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `[out, in, kernel height, kernel width]`.
    ConvWeight,
    /// `[out, in]`.
    LinearWeight,
    /// `[out]` of a convolution or linear layer whose fan-in is given.
    Bias {
        /// Values summed into one output of the layer.
        fan_in: usize,
    },
    /// Scale of a normalisation.
    NormWeight,
    /// Shift of a normalisation.
    NormBias,
    /// Factors of a [`Op::LayerScale`].
    LayerScale,
    /// Table of a [`Op::WindowAttention`].
    PositionBias,
    /// Running mean of a batch norm; a statistic, not trained.
    RunningMean,
    /// Running variance of a batch norm; a statistic, not trained.
    RunningVar,
}

impl Role {
    /// Whether an optimiser moves it (statistics are not moved).
    pub fn is_trained(self) -> bool {
        !matches!(self, Role::RunningMean | Role::RunningVar)
    }
}

/// A named parameter or running statistic.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// torchvision's name, such as `layer1.0.conv1.weight`.
    pub name: String,
    /// PyTorch's shape and order.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// How its first values are drawn.
    pub initial: Initial,
    /// Part of the classifying head, which changes with the number of classes and stays trainable when the backbone is frozen.
    pub head: bool,
    /// The stage it belongs to: 0 for the stem, then one a resolution, the head last.
    pub stage: usize,
    /// The block it belongs to: 0 for the stem, then one a residual block (a convolution of the simple CNN), the head last.
    pub block: usize,
}

impl Param {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it holds no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a graph is not sound.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum GraphError {
    /// A node's inputs do not fit it.
    #[error("node `{node}` ({op}): {why}")]
    Shape {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: &'static str,
        /// What does not fit.
        why: String,
    },
    /// No architecture of that name.
    #[error("no architecture is called `{name}`; there are {known}")]
    UnknownArchitecture {
        /// The name asked for.
        name: String,
        /// All names.
        known: String,
    },
}

/// A model: operators in execution order and the parameters they name. The last node gives the logits.
#[derive(Debug, Clone, PartialEq)]
pub struct Graph {
    pub(crate) nodes: Vec<Node>,
    pub(crate) params: Vec<Param>,
    /// The first node of the head.
    pub(crate) head: usize,
}

impl Graph {
    /// Operators; each reads only earlier ones.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Parameters and running statistics in torchvision's state-dict order.
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The parameter of an operator.
    pub fn param(&self, id: ParamId) -> &Param {
        &self.params[id.0]
    }

    /// Number of trained values, as PyTorch counts `parameters()`.
    pub fn parameter_count(&self) -> usize {
        self.params.iter().filter(|p| p.role.is_trained()).map(Param::len).sum()
    }

    /// Stages, the stem and the head among them.
    pub fn stages(&self) -> usize {
        self.params.iter().map(|p| p.stage + 1).max().unwrap_or(0)
    }

    /// Blocks, the stem and the head among them.
    pub fn blocks(&self) -> usize {
        self.params.iter().map(|p| p.block + 1).max().unwrap_or(0)
    }

    /// The node whose output a frozen backbone hands to its head: the same for the same photo, whatever the head does.
    /// None where the head reads more than one node, or where the backbone itself is random in training; stochastic depth
    /// is not, where nothing before it is trained.
    pub fn features(&self) -> Option<NodeId> {
        let random = |node: &Node| matches!(node.op, Op::Dropout { p } if p > 0.0);
        // Random operators right before the head go with it.
        let mut first = self.head.min(self.nodes.len());
        while first > 0 && random(&self.nodes[first - 1]) {
            first -= 1;
        }
        let features = first.checked_sub(1)?;
        let from_there = |node: &Node| node.inputs.iter().all(|input| input.0 >= features);
        let sound = !self.nodes[..first].iter().any(random)
            && self.nodes[first..].iter().all(from_there)
            && first < self.nodes.len();
        sound.then_some(NodeId(features))
    }

    /// The last feature map: what the last global pooling reads for pictures of `height` x `width`, or the nearest node
    /// before it that has more than one pixel. None where no node has. Of ResNets it is the last block's ReLU, of ConvNeXt
    /// the last block's sum, of Swin the last norm, of EfficientNet the last activation, of the simple CNN the last pooling.
    ///
    /// # Errors
    /// As [`Graph::shapes`].
    pub fn last_feature_map(&self, height: usize, width: usize) -> Result<Option<NodeId>, GraphError> {
        let shapes = self.shapes(height, width)?;
        let wide =
            |id: NodeId| matches!(shapes[id.0], Shape::Image { height, width, .. } if height * width > 1);
        let mut at = self.nodes.iter().rposition(|node| node.op == Op::GlobalAvgPool).map(NodeId);
        while let Some(id) = at.filter(|&id| !wide(id)) {
            at = self.nodes[id.0].inputs.first().copied();
        }
        // The pictures themselves are no features.
        Ok(at.filter(|id| !matches!(self.nodes[id.0].op, Op::Input { .. })))
    }

    /// The graph up to `features`, whose output takes the place of the logits.
    pub fn up_to(&self, features: NodeId) -> Self {
        Self { nodes: self.nodes[..=features.0].to_vec(), ..self.clone() }
    }

    /// The graph from `features` on, which has `shape` and is given instead of computed: [`Op::Features`]. Nodes and
    /// parameters keep their numbers; what came before is there still and read by nothing.
    pub fn from_features(&self, features: NodeId, shape: Shape) -> Self {
        let mut graph = self.clone();
        graph.nodes[features.0].op = Op::Features { shape };
        graph.nodes[features.0].inputs.clear();
        graph
    }

    /// The node that is given instead of computed, where that is not the input: [`Graph::from_features`].
    pub fn given(&self) -> Option<NodeId> {
        self.nodes.iter().position(|node| matches!(node.op, Op::Features { .. })).map(NodeId)
    }

    /// How many nodes read each node.
    pub fn consumers(&self) -> Vec<usize> {
        let mut count = vec![0; self.nodes.len()];
        for node in &self.nodes {
            for input in &node.inputs {
                count[input.0] += 1;
            }
        }
        count
    }
}
