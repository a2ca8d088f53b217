use std::borrow::Cow;
use std::collections::BTreeMap;

use super::wire::Message;
use super::{IR_VERSION, OPSET};

/// The parts of `ModelProto` that exports have.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Model<'a> {
    /// Version of the program that wrote it.
    pub producer_version: String,
    /// What the file says about itself.
    pub metadata: BTreeMap<String, String>,
    /// What it is given.
    pub inputs: Vec<ValueInfo>,
    /// What it answers.
    pub outputs: Vec<ValueInfo>,
    /// Weights and other constants.
    pub initializers: Vec<Initializer<'a>>,
    /// Operators in execution order.
    pub nodes: Vec<Node>,
}

/// An operator: `NodeProto`.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its own name.
    pub name: String,
    /// The operator's name.
    pub op: String,
    /// Names of tensors; empty where an optional one is left out.
    pub inputs: Vec<String>,
    /// The name of its result.
    pub output: String,
    /// Attributes by name.
    pub attributes: Vec<(String, Attribute)>,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// An integer.
    Int(i64),
    /// A 32-bit float.
    Float(f32),
    /// Integers.
    Ints(Vec<i64>),
    /// Text.
    Text(String),
}

/// A constant: `TensorProto` with `raw_data`.
#[derive(Debug, Clone, PartialEq)]
pub struct Initializer<'a> {
    /// Its name.
    pub name: String,
    /// Lengths of the dimensions.
    pub shape: Vec<usize>,
    /// Type of the values.
    pub element: Element,
    /// Values in row-major order, little-endian.
    pub bytes: Cow<'a, [u8]>,
}

/// An input or output: `ValueInfoProto`.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueInfo {
    /// Its name.
    pub name: String,
    /// Type of the values.
    pub element: Element,
    /// Lengths of the dimensions.
    pub shape: Vec<Dimension>,
}

/// Length of a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension {
    /// Always this.
    Fixed(usize),
    /// Any; equal names are equal lengths.
    Named(String),
}

/// Types of values, with ONNX's numbers (`TensorProto.DataType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 32-bit float.
    F32 = 1,
    /// Byte.
    U8 = 2,
    /// 32-bit integer.
    I32 = 6,
    /// 64-bit integer.
    I64 = 7,
    /// Truth.
    Bool = 9,
    /// 64-bit float.
    F64 = 11,
}

impl Element {
    pub(super) fn from_number(number: i64) -> Option<Self> {
        [Self::F32, Self::U8, Self::I32, Self::I64, Self::Bool, Self::F64]
            .into_iter()
            .find(|&e| e as i64 == number)
    }

    /// Bytes of a value.
    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::Bool => 1,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

impl Model<'_> {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut graph = Message::default();
        self.nodes.iter().for_each(|node| graph.message(1, node.encode()));
        graph.text(2, "pugmark");
        self.initializers.iter().for_each(|tensor| graph.message(5, tensor.encode()));
        self.inputs.iter().for_each(|input| graph.message(11, input.encode()));
        self.outputs.iter().for_each(|output| graph.message(12, output.encode()));

        let mut model = Message::default();
        model.int(1, IR_VERSION);
        model.text(2, "pugmark");
        model.text(3, &self.producer_version);
        let mut opset = Message::default();
        opset.text(1, "");
        opset.int(2, OPSET);
        model.message(8, opset);
        for (key, value) in &self.metadata {
            let mut entry = Message::default();
            entry.text(1, key);
            entry.text(2, value);
            model.message(14, entry);
        }
        model.message(7, graph);
        model.into_bytes()
    }
}

impl Node {
    fn encode(&self) -> Message {
        let mut node = Message::default();
        self.inputs.iter().for_each(|input| node.text(1, input));
        node.text(2, &self.output);
        node.text(3, &self.name);
        node.text(4, &self.op);
        for (name, value) in &self.attributes {
            let mut attribute = Message::default();
            attribute.text(1, name);
            // The number of `AttributeProto.AttributeType`, which must be there.
            let kind = match value {
                Attribute::Float(value) => {
                    attribute.float(2, *value);
                    1
                }
                Attribute::Int(value) => {
                    attribute.int(3, *value);
                    2
                }
                Attribute::Text(value) => {
                    attribute.text(4, value);
                    3
                }
                Attribute::Ints(values) => {
                    values.iter().for_each(|&value| attribute.int(8, value));
                    7
                }
            };
            attribute.int(20, kind);
            node.message(5, attribute);
        }
        node
    }
}

impl Initializer<'_> {
    fn encode(&self) -> Message {
        let mut tensor = Message::default();
        self.shape.iter().for_each(|&length| tensor.int(1, length as i64));
        tensor.int(2, self.element as i64);
        tensor.text(8, &self.name);
        tensor.bytes(9, &self.bytes);
        tensor
    }
}

impl ValueInfo {
    fn encode(&self) -> Message {
        let mut shape = Message::default();
        for length in &self.shape {
            let mut dimension = Message::default();
            match length {
                Dimension::Fixed(length) => dimension.int(1, *length as i64),
                Dimension::Named(name) => dimension.text(2, name),
            }
            shape.message(1, dimension);
        }
        let mut tensor = Message::default();
        tensor.int(1, self.element as i64);
        tensor.message(2, shape);
        let mut kind = Message::default();
        kind.message(1, tensor);
        let mut info = Message::default();
        info.text(1, &self.name);
        info.message(2, kind);
        info
    }
}
