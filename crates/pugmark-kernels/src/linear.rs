//! The fully connected layer: a 1x1 convolution of one row of `n` pixels.

use crate::conv::{
    ConvShape, Epilogue, conv2d_backward_data, conv2d_backward_weight, conv2d_forward, pack_backward,
    pack_forward, packed_len_backward, packed_len_forward,
};
use crate::plane::{Plane, check_len};

fn shape(inp: usize, out: usize) -> ConvShape {
    ConvShape { kernel: (1, 1), stride: 1, padding: 0, in_channels: inp, out_channels: out }
}

fn row(n: usize, channels: usize) -> Plane {
    Plane { height: 1, width: n, channels, border: 0 }
}

/// `y[n][out] := x[n][in] * w[in][out] + bias[out]`.
pub fn linear_forward(
    n: usize,
    inp: usize,
    out: usize,
    x: &[f32],
    w_io: &[f32],
    bias: Option<&[f32]>,
    y: &mut [f32],
) {
    check_len("w_io", w_io.len(), inp * out);
    let s = shape(inp, out);
    let mut packed = vec![0.0; packed_len_forward::<f32>(&s)];
    pack_forward(&s, w_io, &mut packed);
    let epilogue = Epilogue { bias, ..Epilogue::default() };
    conv2d_forward(&s, 1, x, row(n, inp), &packed, y, row(n, out), &epilogue, None);
}

/// `dx[n][in] := dy[n][out] * w[in][out]` transposed.
pub fn linear_backward_data(n: usize, inp: usize, out: usize, dy: &[f32], w_io: &[f32], dx: &mut [f32]) {
    check_len("w_io", w_io.len(), inp * out);
    let s = shape(inp, out);
    let mut packed = vec![0.0; packed_len_backward::<f32>(&s)];
    pack_backward(&s, w_io, &mut packed);
    conv2d_backward_data(&s, 1, dy, row(n, out), &packed, dx, row(n, inp), false);
}

/// `dw[in][out] := x[n][in]` transposed `* dy[n][out]`. The bias's gradient is
/// [`channel_sum`](crate::channel_sum) of `dy`.
pub fn linear_backward_weight(n: usize, inp: usize, out: usize, x: &[f32], dy: &[f32], dw_io: &mut [f32]) {
    conv2d_backward_weight(&shape(inp, out), 1, x, row(n, inp), dy, row(n, out), dw_io, &mut []);
}
