//! The nodes and constants of a model that is being written.

use std::borrow::Cow;

use super::super::model::{Attribute, Element, Initializer, Node};

pub(super) type Attributes = Vec<(&'static str, Attribute)>;

#[derive(Default)]
pub(super) struct Parts {
    pub(super) nodes: Vec<Node>,
    pub(super) initializers: Vec<Initializer<'static>>,
}

impl Parts {
    /// Adds an operator; the name of its result, which no parameter has, though a node may be called as its parameter is.
    pub(super) fn op(&mut self, name: &str, op: &str, inputs: &[&str], attributes: Attributes) -> String {
        let output = format!("{name}.output");
        self.nodes.push(Node {
            name: name.into(),
            op: op.into(),
            inputs: inputs.iter().map(|&input| input.into()).collect(),
            output: output.clone(),
            attributes: attributes.into_iter().map(|(name, value)| (name.into(), value)).collect(),
        });
        output
    }

    /// Gives a result another name.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        for node in &mut self.nodes {
            let names = node.inputs.iter_mut().chain([&mut node.output]);
            names.filter(|name| *name == from).for_each(|name| *name = to.into());
        }
    }

    /// A constant of the given bytes, once for all who ask for the same name.
    fn constant(&mut self, name: &str, shape: &[usize], element: Element, bytes: Vec<u8>) -> String {
        if self.initializers.iter().all(|there| there.name != name) {
            let bytes = Cow::Owned(bytes);
            self.initializers.push(Initializer { name: name.into(), shape: shape.into(), element, bytes });
        }
        name.into()
    }

    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, Element::F32, bytes)
    }

    pub(super) fn doubles(&mut self, name: &str, values: &[f64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, &[values.len()], Element::F64, bytes)
    }

    /// A vector of integers, such as a shape.
    pub(super) fn ints(&mut self, name: &str, values: &[i64]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, &[values.len()], Element::I64, bytes)
    }

    /// A vector of 32-bit integers, or with an empty shape one integer.
    pub(super) fn small_ints(&mut self, name: &str, shape: &[usize], values: &[i32]) -> String {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, shape, Element::I32, bytes)
    }

    /// Gives `x` a shape; 0 keeps the length of the dimension in that place.
    pub(super) fn reshape(&mut self, name: &str, x: &str, shape: &[usize]) -> String {
        let lengths: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
        let shape = self.ints(&format!("{name}/shape"), &lengths);
        self.op(name, "Reshape", &[x, &shape], vec![])
    }

    pub(super) fn transpose(&mut self, name: &str, x: &str, perm: &[i64]) -> String {
        self.op(name, "Transpose", &[x], vec![("perm", Attribute::Ints(perm.into()))])
    }

    /// GELU through the error function, in the form that runtimes recognise and fuse.
    pub(super) fn gelu(&mut self, name: &str, x: &str) -> String {
        let root = self.floats("gelu/sqrt2", &[], &[std::f32::consts::SQRT_2]);
        let (one, half) = (self.floats("gelu/one", &[], &[1.0]), self.floats("gelu/half", &[], &[0.5]));
        let scaled = self.op(&format!("{name}/Div"), "Div", &[x, &root], vec![]);
        let erf = self.op(&format!("{name}/Erf"), "Erf", &[&scaled], vec![]);
        let share = self.op(&format!("{name}/Add"), "Add", &[&erf, &one], vec![]);
        let product = self.op(&format!("{name}/Mul"), "Mul", &[x, &share], vec![]);
        self.op(name, "Mul", &[&product, &half], vec![])
    }
}
