use std::collections::BTreeMap;

/// Values in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Lengths of the dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub values: Vec<f32>,
}

/// Named tensors in PyTorch's names, shapes and order (convolutions `[out, in, height, width]`).
pub type Tensors = BTreeMap<String, Tensor>;
