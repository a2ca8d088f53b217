//! The fully connected layer: a 1x1 convolution of one row of `n` pixels.

use crate::conv::{
    ConvShape, Epilogue, conv2d_backward_data, conv2d_backward_weight, conv2d_forward, pack_backward,
    pack_forward, packed_len_backward, packed_len_forward,
};
use crate::plane::Plane;

fn shape(inp: usize, out: usize) -> ConvShape {
    ConvShape { kernel: (1, 1), stride: 1, padding: 0, in_channels: inp, out_channels: out }
}

fn row(n: usize, channels: usize) -> Plane {
    Plane { height: 1, width: n, channels, border: 0 }
}

/// Values of the packed form that [`linear_pack_forward`] writes.
pub fn linear_packed_len_forward(inp: usize, out: usize) -> usize {
    packed_len_forward::<f32>(&shape(inp, out))
}

/// Packs weights `[in][out]` for [`linear_forward`].
pub fn linear_pack_forward(inp: usize, out: usize, w_io: &[f32], packed: &mut [f32]) {
    pack_forward(&shape(inp, out), w_io, packed);
}

/// Values of the packed form that [`linear_pack_backward`] writes.
pub fn linear_packed_len_backward(inp: usize, out: usize) -> usize {
    packed_len_backward::<f32>(&shape(inp, out))
}

/// Packs weights `[in][out]` for [`linear_backward_data`].
pub fn linear_pack_backward(inp: usize, out: usize, w_io: &[f32], packed: &mut [f32]) {
    pack_backward(&shape(inp, out), w_io, packed);
}

/// `y[n][out] := x[n][in] * w[in][out] + bias[out]`.
pub fn linear_forward(
    n: usize,
    inp: usize,
    out: usize,
    x: &[f32],
    packed: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    let epilogue = Epilogue { bias, ..Epilogue::default() };
    conv2d_forward(&shape(inp, out), 1, x, row(n, inp), packed, y, row(n, out), &epilogue, None);
}

/// `dx[n][in] := dy[n][out] * w[in][out]` transposed.
pub fn linear_backward_data(
    n: usize,
    inp: usize,
    out: usize,
    dy: &[f32],
    packed_bwd: &[f32],
    dx: &mut [f32],
) {
    conv2d_backward_data(&shape(inp, out), 1, dy, row(n, out), packed_bwd, dx, row(n, inp), false);
}

/// `dw[in][out] := x[n][in]` transposed `* dy[n][out]`. The bias's gradient is
/// [`channel_sum`](crate::channel_sum) of `dy`.
pub fn linear_backward_weight(n: usize, inp: usize, out: usize, x: &[f32], dy: &[f32], dw_io: &mut [f32]) {
    conv2d_backward_weight(&shape(inp, out), 1, x, row(n, inp), dy, row(n, out), dw_io, &mut []);
}
