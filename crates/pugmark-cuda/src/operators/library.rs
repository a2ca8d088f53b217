use crate::{Convolution, ConvolutionPass, DeviceError, Matmul, Slice};

/// One product of a convolution: [`Device::convolution`](crate::Device::convolution).
///
/// # Errors
/// As the device says.
pub fn convolution(
    pass: ConvolutionPass,
    shape: &Convolution,
    x: Slice<'_>,
    w: Slice<'_>,
    y: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let (of, (x_len, w_len, y_len)) = (x.of(), shape.lens());
    let (x_at, w_at, y_at) =
        (x.checked("x", of, x_len), w.checked("w", of, w_len), y.checked("y", of, y_len));
    // SAFETY: the slices are as long as the shape says.
    unsafe { x.gpu().0.convolution(pass, shape, of, x_at, w_at, y_at, accumulate) }
}

/// A product of matrices: [`Device::matmul`](crate::Device::matmul).
///
/// # Errors
/// As the device says.
pub fn matmul(
    shape: &Matmul,
    a: Slice<'_>,
    b: Slice<'_>,
    c: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let Matmul { m, n, k, .. } = *shape;
    let of = a.of();
    let (a_at, b_at, c_at) =
        (a.checked("a", of, m * k), b.checked("b", of, k * n), c.checked("c", c.of(), m * n));
    // SAFETY: the slices are as long as the shape says.
    unsafe { a.gpu().0.matmul(shape, of, a_at, b_at, c.of(), c_at, accumulate) }
}
