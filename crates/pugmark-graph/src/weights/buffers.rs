//! The integers that torchvision keeps beside a model's parameters and wants to find when it loads them strictly.

use crate::{Graph, Op};

/// A named tensor of integers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Buffer {
    /// torchvision's name.
    pub name: String,
    /// Lengths of the dimensions; empty for a scalar.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub values: Vec<i64>,
}

impl Graph {
    /// torchvision's integer buffers: `num_batches_tracked` of each batch norm, which counts nothing here and is 0, and
    /// `relative_position_index` of each window attention.
    pub fn buffers(&self) -> Vec<Buffer> {
        let buffer = |name: String, shape, values| Some(Buffer { name, shape, values });
        let of_node = |node: &crate::Node| match node.op {
            Op::BatchNorm2d { .. } => buffer(format!("{}.num_batches_tracked", node.name), vec![], vec![0]),
            Op::WindowAttention { window, .. } => {
                let index = relative_position_index(window);
                buffer(format!("{}.relative_position_index", node.name), vec![index.len()], index)
            }
            _ => None,
        };
        self.nodes().iter().filter_map(of_node).collect()
    }
}

/// For each pair of tokens of a window, a row a query, the row of the table with the bias of their relative position.
pub(crate) fn relative_position_index(window: usize) -> Vec<i64> {
    let place = |token: usize| ((token / window) as i64, (token % window) as i64);
    let tokens = window * window;
    let most = window as i64 - 1;
    let row = |query: usize, key: usize| {
        let ((y, x), (key_y, key_x)) = (place(query), place(key));
        (y - key_y + most) * (2 * most + 1) + (x - key_x + most)
    };
    (0..tokens).flat_map(|query| (0..tokens).map(move |key| row(query, key))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Architecture;

    /// torchvision 0.26: `ShiftedWindowAttention(4, [2, 2], [0, 0], 1).relative_position_index`.
    #[test]
    fn index_is_torchvisions() {
        assert_eq!(relative_position_index(2), [4, 3, 1, 0, 5, 4, 2, 1, 7, 6, 4, 3, 8, 7, 5, 4]);
    }

    /// As many as `state_dict()` of torchvision 0.26 has integer tensors.
    #[test]
    fn buffers_are_torchvisions() {
        for (architecture, count, first, shape) in [
            (Architecture::ResNet18, 20, "bn1.num_batches_tracked", vec![]),
            (Architecture::SwinT, 12, "features.1.0.attn.relative_position_index", vec![2401]),
            (Architecture::EfficientNetB0, 49, "features.0.1.num_batches_tracked", vec![]),
        ] {
            let buffers = architecture.graph(2).buffers();
            assert_eq!(buffers.len(), count, "{architecture}");
            assert_eq!((buffers[0].name.as_str(), &buffers[0].shape), (first, &shape));
        }
        assert!(Architecture::ConvNextTiny.graph(2).buffers().is_empty());
    }
}
