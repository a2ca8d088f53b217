use thiserror::Error;

use crate::GraphError;

/// Why a graph can't be written as ONNX, or a file can't be run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The graph's shapes do not fit the pictures.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A parameter of the graph is not there.
    #[error("there is no tensor `{0}`")]
    NoTensor(String),
    /// A node has no form in ONNX.
    #[error("node `{node}` ({op}) can't be written as ONNX")]
    NoForm {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: &'static str,
    },
    /// The bytes are not those of a model.
    #[error("the ONNX file is damaged: {0}")]
    Damaged(String),
    /// A node can't be run as it stands.
    #[error("ONNX node `{node}` ({op}): {why}")]
    Node {
        /// Name of the node.
        node: String,
        /// Its operator.
        op: String,
        /// What does not fit.
        why: String,
    },
    /// The caller asked for an end.
    #[error("interrupted")]
    Interrupted,
}
