//! A graph as ONNX.

mod attention;
mod parts;
mod preprocess;

use std::collections::BTreeMap;

use super::model::{Dimension, Element, ValueInfo};
use super::{Attribute, Model, OnnxError};
use crate::{Graph, Node, NodeId, Op, ParamId, Shape, Tensors};
use parts::Parts;
pub use preprocess::{Framing, Preprocessing};

/// What an export says beside the graph.
#[derive(Debug, Clone)]
pub struct Export<'a> {
    /// Rows of the pictures that the network takes.
    pub height: usize,
    /// Columns of them.
    pub width: usize,
    /// Logits are divided by it before the softmax.
    pub temperature: f32,
    /// How photos become the network's pictures, where the file is to do that itself.
    pub preprocessing: Option<Preprocessing>,
    /// What the file says about itself.
    pub metadata: BTreeMap<String, String>,
    /// Version of the program.
    pub version: &'a str,
}

/// Writes a graph with its tensors.
///
/// The input is `input`, f32 `[N, channels, height, width]`, normalised; with preprocessing it is `photos`, u8
/// `[N, photo_height, photo_width, 3]`. The outputs are `logits` and `probabilities`, f32 `[N, classes]`. Constants have the
/// names and shapes of the tensors (and `NAME/...` where they are made of others), nodes those of the graph's.
///
/// # Errors
/// [`OnnxError::Graph`], [`OnnxError::NoTensor`] or [`OnnxError::NoForm`].
pub fn export(graph: &Graph, tensors: &Tensors, export: &Export<'_>) -> Result<Vec<u8>, OnnxError> {
    let shapes = graph.shapes(export.height, export.width)?;
    let mut writer = Writer { graph, tensors, parts: Parts::default(), values: Vec::new(), shapes };
    let mut inputs = Vec::new();
    for node in graph.nodes() {
        let value = match node.op {
            Op::Input { channels } => {
                let (info, name) = writer.input(channels, export);
                inputs.push(info);
                vec![(Layout::Nchw, name)]
            }
            _ => writer.node(node)?,
        };
        writer.values.push(value);
    }
    let last = NodeId(graph.nodes().len() - 1);
    let logits = writer.take(last, Layout::Vector)?;
    let Shape::Vector { features } = writer.shapes[last.0] else {
        return Err(no_form(&graph.nodes()[last.0]));
    };
    let parts = &mut writer.parts;
    parts.rename(&logits, "logits");
    let temperature = parts.floats("temperature", &[], &[export.temperature]);
    let scaled = parts.op("probabilities/Div", "Div", &["logits", &temperature], vec![]);
    let softmax = parts.op("probabilities", "Softmax", &[&scaled], vec![("axis", Attribute::Int(-1))]);
    parts.rename(&softmax, "probabilities");
    let answer = |name: &str| info(name, Element::F32, &[Dimension::Fixed(features)]);
    let model = Model {
        producer_version: export.version.to_owned(),
        metadata: export.metadata.clone(),
        inputs,
        outputs: vec![answer("logits"), answer("probabilities")],
        initializers: writer.parts.initializers,
        nodes: writer.parts.nodes,
    };
    Ok(model.encode())
}

/// An input or output for any number of pictures.
fn info(name: &str, element: Element, rest: &[Dimension]) -> ValueInfo {
    let images = [Dimension::Named("N".into())];
    ValueInfo { name: name.into(), element, shape: [&images, rest].concat() }
}

fn no_form(node: &Node) -> OnnxError {
    OnnxError::NoForm { node: node.name.clone(), op: node.op.name() }
}

/// How the values of a node lie; a picture of one pixel may also be a vector.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `[N, channels, height, width]`, as ONNX's convolutions have it.
    Nchw,
    /// `[N, height, width, channels]`, for what works on the channels of a pixel.
    Nhwc,
    /// `[N, features]`.
    Vector,
}

/// Names of tensors that hold a node's values; the first is how they were computed, the others are copies.
type Value = Vec<(Layout, String)>;

struct Writer<'a> {
    graph: &'a Graph,
    tensors: &'a Tensors,
    parts: Parts,
    /// Of the nodes that are written.
    values: Vec<Value>,
    /// Of all nodes.
    shapes: Vec<Shape>,
}

impl Writer<'_> {
    /// The values of `node` in a layout, moved there if they are not yet.
    fn take(&mut self, node: NodeId, layout: Layout) -> Result<String, OnnxError> {
        let value = &self.values[node.0];
        if let Some((_, name)) = value.iter().find(|(there, _)| *there == layout) {
            return Ok(name.clone());
        }
        let (from, x) = value[0].clone();
        let name = &self.graph.nodes()[node.0].name;
        let perm = |perm: [i64; 4]| vec![("perm", Attribute::Ints(perm.into()))];
        let moved = match (from, layout) {
            (Layout::Nchw, Layout::Nhwc) => {
                self.parts.op(&format!("{name}/Nhwc"), "Transpose", &[&x], perm([0, 2, 3, 1]))
            }
            (Layout::Nhwc, Layout::Nchw) => {
                self.parts.op(&format!("{name}/Nchw"), "Transpose", &[&x], perm([0, 3, 1, 2]))
            }
            (Layout::Nchw, Layout::Vector) => {
                self.parts.op(&format!("{name}/Flatten"), "Flatten", &[&x], vec![])
            }
            _ => return Err(no_form(&self.graph.nodes()[node.0])),
        };
        self.values[node.0].push((layout, moved.clone()));
        Ok(moved)
    }

    /// A parameter as a constant of its own name.
    fn param(&mut self, id: ParamId) -> Result<String, OnnxError> {
        let name = &self.graph.param(id).name;
        let tensor = self.tensors.get(name).ok_or_else(|| OnnxError::NoTensor(name.clone()))?;
        Ok(self.parts.floats(name, &tensor.shape, &tensor.values))
    }

    fn params(&mut self, ids: impl IntoIterator<Item = ParamId>) -> Result<Vec<String>, OnnxError> {
        ids.into_iter().map(|id| self.param(id)).collect()
    }

    fn node(&mut self, node: &Node) -> Result<Value, OnnxError> {
        let name = &node.name;
        let &first = node.inputs.first().ok_or_else(|| no_form(node))?;
        let (native, x) = self.values[first.0][0].clone();
        Ok(match node.op {
            Op::Conv2d { weight, bias, kernel, stride, padding, .. } => {
                self.conv(name, first, (weight, bias), kernel, (stride, padding, 1))?
            }
            Op::DepthwiseConv2d { weight, bias, channels, kernel, stride, padding } => {
                self.conv(name, first, (weight, bias), (kernel, kernel), (stride, padding, channels))?
            }
            Op::BatchNorm2d { weight, bias, running_mean, running_var, eps, .. } => {
                let x = self.take(first, Layout::Nchw)?;
                let params = self.params([weight, bias, running_mean, running_var])?;
                let inputs: Vec<&str> = [&x].into_iter().chain(&params).map(String::as_str).collect();
                let eps = vec![("epsilon", Attribute::Float(eps))];
                vec![(Layout::Nchw, self.parts.op(name, "BatchNormalization", &inputs, eps))]
            }
            Op::LayerNorm { weight, bias, eps, .. } => {
                let layout = self.channels_last(first);
                let x = self.take(first, layout)?;
                let (weight, bias) = (self.param(weight)?, self.param(bias)?);
                let attributes = vec![("axis", Attribute::Int(-1)), ("epsilon", Attribute::Float(eps))];
                vec![(layout, self.parts.op(name, "LayerNormalization", &[&x, &weight, &bias], attributes))]
            }
            Op::Linear { weight, bias, .. } => self.linear(name, first, weight, bias)?,
            Op::Relu => vec![(native, self.parts.op(name, "Relu", &[&x], vec![]))],
            Op::Sigmoid => vec![(native, self.parts.op(name, "Sigmoid", &[&x], vec![]))],
            Op::Silu => {
                let share = self.parts.op(&format!("{name}/Sigmoid"), "Sigmoid", &[&x], vec![]);
                vec![(native, self.parts.op(name, "Mul", &[&x, &share], vec![]))]
            }
            Op::Gelu => vec![(native, self.parts.gelu(name, &x))],
            Op::LayerScale { weight, .. } => {
                let x = self.take(first, Layout::Nchw)?;
                let weight = self.param(weight)?;
                vec![(Layout::Nchw, self.parts.op(name, "Mul", &[&x, &weight], vec![]))]
            }
            Op::Gate => {
                let (x, factors) =
                    (self.take(first, Layout::Nchw)?, self.take(node.inputs[1], Layout::Nchw)?);
                vec![(Layout::Nchw, self.parts.op(name, "Mul", &[&x, &factors], vec![]))]
            }
            Op::Add => {
                let other = self.take(node.inputs[1], native)?;
                vec![(native, self.parts.op(name, "Add", &[&x, &other], vec![]))]
            }
            Op::MaxPool2d { kernel, stride, padding } => {
                let x = self.take(first, Layout::Nchw)?;
                let attributes = window((kernel, kernel), stride, padding);
                vec![(Layout::Nchw, self.parts.op(name, "MaxPool", &[&x], attributes))]
            }
            Op::GlobalAvgPool => {
                let x = self.take(first, Layout::Nchw)?;
                vec![(Layout::Nchw, self.parts.op(name, "GlobalAveragePool", &[&x], vec![]))]
            }
            Op::WindowAttention { .. } => self.window_attention(node, first)?,
            Op::MergePatches => self.merge_patches(name, first)?,
            // Only in training do they change anything.
            Op::Dropout { .. } | Op::StochasticDepth { .. } => self.values[first.0].clone(),
            Op::Input { .. } | Op::Features { .. } => return Err(no_form(node)),
        })
    }

    /// The layout of `node` whose last dimension is the channels.
    fn channels_last(&self, node: NodeId) -> Layout {
        if matches!(self.shapes[node.0], Shape::Vector { .. }) { Layout::Vector } else { Layout::Nhwc }
    }

    fn conv(
        &mut self,
        name: &str,
        input: NodeId,
        (weight, bias): (ParamId, Option<ParamId>),
        kernel: (usize, usize),
        (stride, padding, groups): (usize, usize, usize),
    ) -> Result<Value, OnnxError> {
        let x = self.take(input, Layout::Nchw)?;
        let params = self.params([weight].into_iter().chain(bias))?;
        let inputs: Vec<&str> = [&x].into_iter().chain(&params).map(String::as_str).collect();
        let mut attributes = window(kernel, stride, padding);
        attributes.push(("group", Attribute::Int(groups as i64)));
        Ok(vec![(Layout::Nchw, self.parts.op(name, "Conv", &inputs, attributes))])
    }

    fn linear(
        &mut self,
        name: &str,
        input: NodeId,
        weight: ParamId,
        bias: Option<ParamId>,
    ) -> Result<Value, OnnxError> {
        let layout = self.channels_last(input);
        let x = self.take(input, layout)?;
        let weight = self.param(weight)?;
        let bias = bias.map(|bias| self.param(bias)).transpose()?;
        if layout == Layout::Vector {
            let inputs: Vec<&str> = [&x, &weight].into_iter().chain(&bias).map(String::as_str).collect();
            let transposed = vec![("transB", Attribute::Int(1))];
            return Ok(vec![(layout, self.parts.op(name, "Gemm", &inputs, transposed))]);
        }
        // A constant, so that runtimes do it once; the weight keeps its shape.
        let perm = vec![("perm", Attribute::Ints(vec![1, 0]))];
        let weight = self.parts.op(&format!("{name}/Transpose"), "Transpose", &[&weight], perm);
        let Some(bias) = bias else {
            return Ok(vec![(layout, self.parts.op(name, "MatMul", &[&x, &weight], vec![]))]);
        };
        let product = self.parts.op(&format!("{name}/MatMul"), "MatMul", &[&x, &weight], vec![]);
        Ok(vec![(layout, self.parts.op(name, "Add", &[&product, &bias], vec![]))])
    }
}

/// Attributes of convolutions and poolings.
fn window(kernel: (usize, usize), stride: usize, padding: usize) -> parts::Attributes {
    let ints = |values: &[usize]| Attribute::Ints(values.iter().map(|&value| value as i64).collect());
    vec![
        ("kernel_shape", ints(&[kernel.0, kernel.1])),
        ("strides", ints(&[stride, stride])),
        ("pads", ints(&[padding; 4])),
    ]
}
