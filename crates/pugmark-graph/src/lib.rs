//! A model as data: operators, shapes, architectures, weight files.
//!
//! A [`Graph`] lists typed operators in execution order with parameters named as torchvision names them. It knows its
//! shapes and its initial values, and nothing of how it is run.

mod architecture;
mod builder;
mod graph;
mod initialise;
pub mod onnx;
mod op;
mod shape;
mod tensors;
mod weights;

pub use architecture::{Architecture, GraphSettings};
pub use builder::Builder;
pub use graph::{Graph, GraphError, Node, NodeId, Param, ParamId, Role};
pub use initialise::{Initial, Scheme};
pub use op::Op;
pub use shape::Shape;
pub use tensors::{Tensor, Tensors};
pub use weights::{
    Buffer, FileProblem, FitReport, HeadFit, HeadPolicy, Mismatch, WeightsError, WrongShape, fit,
    read_metadata, read_weights, read_weights_from, write_pth, write_safetensors, write_safetensors_with,
};
