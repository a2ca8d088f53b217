//! A convolution's kernels, by the sum over its taps or Winograd's way.

use pugmark_kernels as kernels;
use pugmark_kernels::{ChannelStats, ConvShape, Epilogue, Plane};

/// Images for which the way of a convolution is chosen, the same for every plan: neither logits nor gradients depend on
/// the batch size that a plan was made for.
const TYPICAL_IMAGES: usize = 16;

/// A convolution and the way it is computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Convolution {
    pub shape: ConvShape,
    pub winograd: bool,
}

impl Convolution {
    /// The faster way for outputs of the geometry `output`; without `winograd`, the sum over the taps.
    pub fn new(shape: ConvShape, winograd: bool, output: Plane) -> Self {
        let winograd = winograd && shape.suits_winograd(TYPICAL_IMAGES, output.height, output.width);
        Self { shape, winograd }
    }

    /// Values of the weights as [`Convolution::forward`] reads them.
    pub fn packed_len(&self) -> usize {
        match self.winograd {
            true => kernels::winograd_packed_len(&self.shape),
            false => kernels::packed_len_forward::<f32>(&self.shape),
        }
    }

    /// Values of the weights as [`Convolution::backward_data`] reads them.
    pub fn packed_len_backward(&self) -> usize {
        match self.winograd {
            true => kernels::winograd_packed_len(&self.shape),
            false => kernels::packed_len_backward::<f32>(&self.shape),
        }
    }

    /// Values of scratch that [`Convolution::forward`] and [`Convolution::backward_data`] need for outputs of the geometry
    /// `output`.
    pub fn scratch_len(&self, images: usize, output: Plane) -> usize {
        match self.winograd {
            true => kernels::winograd_workspace_len(&self.shape, images, output.height, output.width),
            false => 0,
        }
    }

    /// As [`Convolution::scratch_len`], for [`Convolution::backward_weight`].
    pub fn weight_scratch_len(&self, images: usize, output: Plane) -> usize {
        match self.winograd {
            true => kernels::winograd_weight_workspace_len(&self.shape, images, output.height, output.width),
            false => 0,
        }
    }

    pub fn pack(&self, weights: &[f32], packed: &mut [f32]) {
        match self.winograd {
            true => kernels::winograd_pack_forward(&self.shape, weights, packed),
            false => kernels::pack_forward(&self.shape, weights, packed),
        }
    }

    pub fn pack_backward(&self, weights: &[f32], packed: &mut [f32]) {
        match self.winograd {
            true => kernels::winograd_pack_backward(&self.shape, weights, packed),
            false => kernels::pack_backward(&self.shape, weights, packed),
        }
    }

    pub fn forward(
        &self,
        images: usize,
        (x, xp): (&[f32], Plane),
        packed: &[f32],
        (y, yp): (&mut [f32], Plane),
        epilogue: &Epilogue<'_>,
        stats: Option<&mut ChannelStats>,
        scratch: &mut [f32],
    ) {
        let s = &self.shape;
        match self.winograd {
            true => kernels::winograd_forward(s, images, x, xp, packed, y, yp, epilogue, stats, scratch),
            false => kernels::conv2d_forward(s, images, x, xp, packed, y, yp, epilogue, stats),
        }
    }

    pub fn backward_data(
        &self,
        images: usize,
        (dy, dyp): (&[f32], Plane),
        packed: &[f32],
        (dx, dxp): (&mut [f32], Plane),
        accumulate: bool,
        scratch: &mut [f32],
    ) {
        let s = &self.shape;
        match self.winograd {
            true => {
                kernels::winograd_backward_data(s, images, dy, dyp, packed, dx, dxp, accumulate, scratch);
            }
            false => kernels::conv2d_backward_data(s, images, dy, dyp, packed, dx, dxp, accumulate),
        }
    }

    pub fn backward_weight(
        &self,
        images: usize,
        (x, xp): (&[f32], Plane),
        (dy, dyp): (&[f32], Plane),
        dw: &mut [f32],
        scratch: &mut [f32],
    ) {
        match self.winograd {
            true => kernels::winograd_backward_weight(&self.shape, images, x, xp, dy, dyp, dw, scratch),
            false => kernels::conv2d_backward_weight(&self.shape, images, x, xp, dy, dyp, dw, &mut []),
        }
    }
}
