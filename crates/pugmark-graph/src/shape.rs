use std::fmt;

use crate::{Graph, GraphError, Node, NodeId, Op};

/// What one image of a batch looks like after a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// A feature map.
    Image {
        /// Values per pixel.
        channels: usize,
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// A plain vector.
    Vector {
        /// Its length.
        features: usize,
    },
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Shape::Image { channels, height, width } => write!(f, "{channels} x {height} x {width}"),
            Shape::Vector { features } => write!(f, "{features}"),
        }
    }
}

impl Graph {
    /// The shape after every node for pictures of `height` x `width` pixels.
    ///
    /// # Errors
    /// [`GraphError::Shape`] names the first node whose inputs do not fit it.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>, GraphError> {
        let mut shapes: Vec<Shape> = Vec::with_capacity(self.nodes().len());
        for node in self.nodes() {
            let inputs: Vec<Shape> = node.inputs.iter().map(|&NodeId(i)| shapes[i]).collect();
            shapes.push(infer(node, &inputs, height, width)?);
        }
        Ok(shapes)
    }
}

fn infer(node: &Node, inputs: &[Shape], height: usize, width: usize) -> Result<Shape, GraphError> {
    let fail = |why: String| Err(GraphError::Shape { node: node.name.clone(), op: node.op.name(), why });
    let window = |size: usize, kernel: usize, stride: usize, padding: usize| {
        (size + 2 * padding).checked_sub(kernel).map(|room| room / stride + 1)
    };
    match (&node.op, inputs) {
        (&Op::Input { channels }, []) => Ok(Shape::Image { channels, height, width }),
        (&Op::Features { shape }, []) => Ok(shape),
        (
            &Op::Conv2d { in_channels, out_channels, kernel, stride, padding, .. },
            &[Shape::Image { channels, height, width }],
        ) => {
            if channels != in_channels {
                return fail(format!("takes {in_channels} channels and is given {channels}"));
            }
            match (window(height, kernel.0, stride, padding), window(width, kernel.1, stride, padding)) {
                (Some(height), Some(width)) => Ok(Shape::Image { channels: out_channels, height, width }),
                _ => fail(format!(
                    "its {} x {} kernel is larger than the padded {height} x {width} input",
                    kernel.0, kernel.1
                )),
            }
        }
        (
            &Op::DepthwiseConv2d { channels: own, kernel, stride, padding, .. },
            &[Shape::Image { channels, height, width }],
        ) => {
            if channels != own {
                return fail(format!("takes {own} channels and is given {channels}"));
            }
            match (window(height, kernel, stride, padding), window(width, kernel, stride, padding)) {
                (Some(height), Some(width)) => Ok(Shape::Image { channels, height, width }),
                _ => fail(format!(
                    "its {kernel} x {kernel} kernel is larger than the padded {height} x {width} input"
                )),
            }
        }
        (&Op::MaxPool2d { kernel, stride, padding }, &[Shape::Image { channels, height, width }]) => {
            match (window(height, kernel, stride, padding), window(width, kernel, stride, padding)) {
                (Some(height), Some(width)) => Ok(Shape::Image { channels, height, width }),
                _ => fail(format!(
                    "its {kernel} x {kernel} window is larger than the padded {height} x {width} input"
                )),
            }
        }
        (
            &Op::LayerNorm { channels: own, .. },
            &[shape @ (Shape::Image { channels, .. } | Shape::Vector { features: channels })],
        )
        | (
            &(Op::BatchNorm2d { channels: own, .. } | Op::LayerScale { channels: own, .. }),
            &[shape @ Shape::Image { channels, .. }],
        ) => {
            if channels == own {
                Ok(shape)
            } else {
                fail(format!("takes {own} channels and is given {channels}"))
            }
        }
        (&Op::WindowAttention { channels: own, .. }, &[Shape::Image { channels, height, width }]) => {
            if channels == 3 * own {
                Ok(Shape::Image { channels: own, height, width })
            } else {
                fail(format!("takes {} channels, queries, keys and values, and is given {channels}", 3 * own))
            }
        }
        (Op::MergePatches, &[Shape::Image { channels, height, width }]) => {
            Ok(Shape::Image { channels: 4 * channels, height: height.div_ceil(2), width: width.div_ceil(2) })
        }
        (
            Op::Relu | Op::Gelu | Op::Silu | Op::Sigmoid | Op::Dropout { .. } | Op::StochasticDepth { .. },
            &[shape],
        ) => Ok(shape),
        (Op::Gate, &[shape @ Shape::Image { channels, .. }, Shape::Vector { features }]) => {
            if features == channels {
                Ok(shape)
            } else {
                fail(format!("gates {channels} channels with {features} factors"))
            }
        }
        // A vector is a picture of one pixel.
        (
            &Op::Conv2d { in_channels, out_channels, kernel: (1, 1), padding: 0, .. },
            &[Shape::Vector { features }],
        ) => {
            if features == in_channels {
                Ok(Shape::Vector { features: out_channels })
            } else {
                fail(format!("takes {in_channels} channels and is given {features}"))
            }
        }
        (Op::Add, &[a, b]) => {
            if a == b {
                Ok(a)
            } else {
                fail(format!("adds tensors of different shapes: {a} and {b}"))
            }
        }
        (Op::GlobalAvgPool, &[Shape::Image { channels, .. }]) => Ok(Shape::Vector { features: channels }),
        (&Op::Linear { in_features, out_features, .. }, &[shape]) => {
            let (features, out) = match shape {
                Shape::Vector { features } => (features, Shape::Vector { features: out_features }),
                Shape::Image { channels, height, width } => {
                    (channels, Shape::Image { channels: out_features, height, width })
                }
            };
            if features == in_features {
                Ok(out)
            } else {
                fail(format!("takes {in_features} features and is given {features}"))
            }
        }
        (_, inputs) => {
            let given: Vec<String> = inputs.iter().map(Shape::to_string).collect();
            fail(format!("can't take {} input(s) of shape [{}]", inputs.len(), given.join("; ")))
        }
    }
}
