//! What every engine makes of a graph before it runs.

mod given;
mod layout;
mod observer;
mod program;
mod stages;
mod timing;
mod update;

use pugmark_graph::{NodeId, Tensor, Tensors};
use pugmark_kernels::{Element, Plane};

use crate::EngineError;

pub(crate) use given::Given;
pub(crate) use layout::{Layout, saved_for_backward};
pub(crate) use observer::Observer;
pub(crate) use program::{Kind, Norm, Program, Step, StochasticDepth, ValueId};
pub(crate) use stages::Stages;
pub(crate) use timing::{Clock, Costs};
pub(crate) use update::Updater;

/// The tensor of that name and shape.
pub(crate) fn lookup<'a>(
    tensors: &'a Tensors,
    name: &str,
    shape: &[usize],
) -> Result<&'a Tensor, EngineError> {
    match tensors.get(name) {
        Some(tensor) if tensor.shape == shape => Ok(tensor),
        other => Err(EngineError::Tensor {
            name: name.into(),
            expected: shape.to_vec(),
            found: other.map(|t| t.shape.clone()),
        }),
    }
}

/// The seed of one random layer: its node's, so that fusing other nodes does not change it.
pub(crate) fn node_seed(node: NodeId, seed: u64) -> u64 {
    seed.wrapping_add(node.0 as u64)
}

/// Padded pictures to `[images, channels, height, width]`; one-pixel pictures to `[images, channels]`.
pub(crate) fn to_tensor<E: Element>(images: usize, values: &[E], plane: Plane) -> Tensor {
    let mut out = Vec::with_capacity(images * plane.pixels() * plane.channels);
    for image in values.chunks_exact(plane.len()).take(images) {
        for channel in 0..plane.channels {
            for y in 0..plane.height {
                out.extend((0..plane.width).map(|x| image[plane.offset(y, x) + channel].to_f32()));
            }
        }
    }
    let mut shape = vec![images, plane.channels];
    if plane.pixels() > 1 {
        shape.extend([plane.height, plane.width]);
    }
    Tensor { shape, values: out }
}
