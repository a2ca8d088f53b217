//! Says what an ONNX file computes: each operator that exports have, in plain loops and in f64, after its definition at
//! <https://onnx.ai/onnx/operators/>.
//!
//! It shares nothing with the engines, so that an export can be held against them.

mod arithmetic;
mod array;
mod layers;
mod reshape;
mod resize;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use super::{Attribute, Initializer, Model, Node, OnnxError};
pub use array::Array;

/// Runs a model on its one input; its outputs by name. After each node `on` hears how many of how many are done, and may end
/// the work with `false`.
///
/// # Errors
/// [`OnnxError::Damaged`], [`OnnxError::Node`] where the file is not sound or has operators that exports do not have;
/// [`OnnxError::Interrupted`].
pub fn run(
    model: &Model<'_>,
    input: Array,
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<BTreeMap<String, Array>, OnnxError> {
    let [info] = &model.inputs[..] else {
        return Err(OnnxError::Damaged(format!("{} inputs", model.inputs.len())));
    };
    let constants: HashMap<&str, &Initializer<'_>> =
        model.initializers.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let mut readers: HashMap<&str, usize> = HashMap::new();
    let outputs = model.outputs.iter().map(|output| &output.name);
    for name in model.nodes.iter().flat_map(|node| &node.inputs).chain(outputs) {
        *readers.entry(name).or_default() += 1;
    }
    let mut values = HashMap::from([(info.name.as_str(), Rc::new(input))]);
    for (done, node) in model.nodes.iter().enumerate() {
        let mut inputs = Vec::new();
        for name in &node.inputs {
            inputs.push(match (values.get(name.as_str()), constants.get(name.as_str())) {
                (Some(value), _) => Some(Rc::clone(value)),
                (None, Some(constant)) => Some(Rc::new(Array::of(constant))),
                (None, None) if name.is_empty() => None,
                (None, None) => return Err(Call { node, inputs }.fails(format!("there is no `{name}`"))),
            });
        }
        for name in &node.inputs {
            let left = readers.get_mut(name.as_str()).map(|left| {
                *left -= 1;
                *left
            });
            if left == Some(0) {
                values.remove(name.as_str());
            }
        }
        values.insert(&node.output, Rc::new(Call { node, inputs }.answer()?));
        if !on(done + 1, model.nodes.len()) {
            return Err(OnnxError::Interrupted);
        }
    }
    let answer = |name: &String| {
        let value =
            values.get(name.as_str()).ok_or_else(|| OnnxError::Damaged(format!("no output `{name}`")))?;
        Ok((name.clone(), Array::clone(value)))
    };
    model.outputs.iter().map(|output| answer(&output.name)).collect()
}

/// A node with its inputs.
struct Call<'a> {
    node: &'a Node,
    inputs: Vec<Option<Rc<Array>>>,
}

impl Call<'_> {
    fn fails(&self, why: impl Into<String>) -> OnnxError {
        let Node { name, op, .. } = self.node;
        OnnxError::Node { node: name.clone(), op: op.clone(), why: why.into() }
    }

    fn answer(&self) -> Result<Array, OnnxError> {
        match self.node.op.as_str() {
            "Add" | "Sub" | "Mul" | "Div" | "Max" | "Less" => self.binary(),
            "Relu" | "Sigmoid" | "Erf" | "Round" | "Cast" => self.unary(),
            "Where" => self.choose(),
            "ReduceMin" | "ReduceSum" => self.reduce(),
            "Softmax" => self.softmax(),
            "Shape" => self.shape(),
            "Reshape" | "Flatten" => self.reshape(),
            "Transpose" => self.transpose(),
            "Slice" => self.slice(),
            "Concat" => self.concat(),
            "Pad" => self.pad(),
            "Gather" => self.gather(),
            "Conv" => self.conv(),
            "MatMul" => self.matmul(),
            "Gemm" => self.gemm(),
            "BatchNormalization" => self.batch_norm(),
            "LayerNormalization" => self.layer_norm(),
            "MaxPool" => self.max_pool(),
            "GlobalAveragePool" => self.global_average_pool(),
            "Resize" => self.resize(),
            _ => Err(self.fails("the operator is unknown")),
        }
    }

    fn optional(&self, index: usize) -> Option<&Array> {
        self.inputs.get(index)?.as_deref()
    }

    fn input(&self, index: usize) -> Result<&Array, OnnxError> {
        self.optional(index).ok_or_else(|| self.fails(format!("input {index} is missing")))
    }

    /// An input of so many dimensions.
    fn input_of(&self, index: usize, dimensions: usize) -> Result<&Array, OnnxError> {
        let input = self.input(index)?;
        if input.shape.len() == dimensions {
            return Ok(input);
        }
        Err(self.fails(format!("input {index} has shape {:?}", input.shape)))
    }

    /// The integers of an input.
    fn integers(&self, index: usize) -> Result<Vec<i64>, OnnxError> {
        Ok(self.input(index)?.values.iter().map(|&value| value as i64).collect())
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.node.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn int(&self, name: &str, default: i64) -> i64 {
        if let Some(Attribute::Int(value)) = self.attribute(name) { *value } else { default }
    }

    fn ints(&self, name: &str) -> Result<&[i64], OnnxError> {
        let Some(Attribute::Ints(values)) = self.attribute(name) else {
            return Err(self.fails(format!("it has no `{name}`")));
        };
        Ok(values)
    }

    fn float(&self, name: &str, default: f64) -> f64 {
        if let Some(Attribute::Float(value)) = self.attribute(name) { f64::from(*value) } else { default }
    }

    /// A place among `dimensions`; negative ones count from the end.
    fn axis(&self, axis: i64, dimensions: usize) -> Result<usize, OnnxError> {
        let axis = if axis < 0 { axis + dimensions as i64 } else { axis };
        let axis = usize::try_from(axis).ok().filter(|&axis| axis < dimensions);
        axis.ok_or_else(|| self.fails("an axis that is not there"))
    }
}
