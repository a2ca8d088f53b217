//! ONNX: a graph as a file that other runtimes run, and a plain interpreter that says what such a file computes.

mod decode;
mod error;
mod model;
mod run;
mod wire;
mod write;

pub use error::OnnxError;
pub use model::{Attribute, Dimension, Element, Initializer, Model, Node, ValueInfo};
pub use run::{Array, run};
pub use write::{Export, Framing, Preprocessing, export};

/// The operator set: the first whose `Resize` has a filter for shrinking and whose `LayerNormalization` is an operator.
pub const OPSET: i64 = 18;

/// With preprocessing, the tensor with the pictures that it makes of the photos.
pub const PICTURES: &str = "pictures";

/// The version of the file format that came with [`OPSET`].
const IR_VERSION: i64 = 8;
