//! A convolution's kernels, by the sum over its taps or Winograd's way.

use pugmark_kernels as kernels;
use pugmark_kernels::{Bf16, ChannelStats, ConvElement, ConvShape, Epilogue, Plane};

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
    pub fn new<E: Activation>(shape: ConvShape, winograd: bool, output: Plane, trained: bool) -> Self {
        let may = winograd && (E::WINOGRAD_TRAINS || !trained);
        let Plane { height, width, .. } = output;
        Self { shape, winograd: may && shape.suits_winograd::<E>(TYPICAL_IMAGES, height, width) }
    }

    /// Values of the weights as [`Activation::forward`] reads them.
    pub fn packed_len<E: Activation>(&self) -> usize {
        match self.winograd {
            true => kernels::winograd_packed_len(&self.shape),
            false => kernels::packed_len_forward::<E>(&self.shape),
        }
    }

    /// Values of the weights as [`Activation::backward_data`] reads them.
    pub fn packed_len_backward<E: Activation>(&self) -> usize {
        match self.winograd {
            true => kernels::winograd_packed_len(&self.shape),
            false => kernels::packed_len_backward::<E>(&self.shape),
        }
    }

    /// Values of scratch that [`Activation::forward`] and [`Activation::backward_data`] need.
    pub fn scratch_len<E: Activation>(&self, images: usize, output: Plane) -> usize {
        match self.winograd {
            true => kernels::winograd_workspace_len::<E>(&self.shape, images, output.height, output.width),
            false => 0,
        }
    }

    /// As [`Convolution::scratch_len`], for [`Activation::backward_weight`].
    pub fn weight_scratch_len<E: Activation>(&self, images: usize, input: Plane, gradient: Plane) -> usize {
        let s = &self.shape;
        match self.winograd {
            true => kernels::winograd_weight_workspace_len(s, images, gradient.height, gradient.width),
            false => kernels::conv2d_backward_weight_scratch_len::<E>(s, images, input, gradient),
        }
    }
}

/// An element that activations and their gradients can have, with what convolution does for it.
pub(super) trait Activation: ConvElement {
    /// Whether Winograd's form has gradients.
    const WINOGRAD_TRAINS: bool = false;

    fn pack(c: &Convolution, weights: &[f32], packed: &mut [Self]) {
        match c.winograd {
            true => kernels::winograd_pack_forward(&c.shape, weights, packed),
            false => kernels::pack_forward(&c.shape, weights, packed),
        }
    }

    fn pack_backward(c: &Convolution, weights: &[f32], packed: &mut [Self]) {
        kernels::pack_backward(&c.shape, weights, packed);
    }

    #[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
    fn forward(
        c: &Convolution,
        images: usize,
        (x, xp): (&[Self], Plane),
        packed: &[Self],
        (y, yp): (&mut [Self], Plane),
        epilogue: &Epilogue<'_, Self>,
        stats: Option<&mut ChannelStats>,
        scratch: &mut [f32],
    ) {
        let s = &c.shape;
        match c.winograd {
            true => kernels::winograd_forward(s, images, x, xp, packed, y, yp, epilogue, stats, scratch),
            false => kernels::conv2d_forward(s, images, x, xp, packed, y, yp, epilogue, stats),
        }
    }

    fn backward_data(
        c: &Convolution,
        images: usize,
        (dy, dyp): (&[Self], Plane),
        packed: &[Self],
        (dx, dxp): (&mut [Self], Plane),
        accumulate: bool,
        _scratch: &mut [f32],
    ) {
        kernels::conv2d_backward_data(&c.shape, images, dy, dyp, packed, dx, dxp, accumulate);
    }

    fn backward_weight(
        c: &Convolution,
        images: usize,
        (x, xp): (&[Self], Plane),
        (dy, dyp): (&[Self], Plane),
        dw: &mut [f32],
        scratch: &mut [f32],
    ) {
        kernels::conv2d_backward_weight(&c.shape, images, x, xp, dy, dyp, dw, scratch);
    }
}

impl Activation for Bf16 {}

impl Activation for f32 {
    const WINOGRAD_TRAINS: bool = true;

    fn pack_backward(c: &Convolution, weights: &[f32], packed: &mut [f32]) {
        match c.winograd {
            true => kernels::winograd_pack_backward(&c.shape, weights, packed),
            false => kernels::pack_backward(&c.shape, weights, packed),
        }
    }

    fn backward_data(
        c: &Convolution,
        images: usize,
        (dy, dyp): (&[f32], Plane),
        packed: &[f32],
        (dx, dxp): (&mut [f32], Plane),
        accumulate: bool,
        scratch: &mut [f32],
    ) {
        let s = &c.shape;
        match c.winograd {
            true => kernels::winograd_backward_data(s, images, dy, dyp, packed, dx, dxp, accumulate, scratch),
            false => kernels::conv2d_backward_data(s, images, dy, dyp, packed, dx, dxp, accumulate),
        }
    }

    fn backward_weight(
        c: &Convolution,
        images: usize,
        (x, xp): (&[f32], Plane),
        (dy, dyp): (&[f32], Plane),
        dw: &mut [f32],
        scratch: &mut [f32],
    ) {
        let s = &c.shape;
        match c.winograd {
            true => kernels::winograd_backward_weight(s, images, x, xp, dy, dyp, dw, scratch),
            false => kernels::conv2d_backward_weight(s, images, x, xp, dy, dyp, dw, scratch),
        }
    }
}
