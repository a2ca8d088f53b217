use super::pool::{Picture, each_image, each_strip};
use crate::{DeviceError, Slice};

/// `y :=` (or `+=` with `accumulate`) `x * gate[image, channel]`, for `gate` as `[images, channels]`. The
/// gradient of `x` is the same call on that of `y`. `y` may be the place of `x`.
///
/// # Errors
/// As the device says.
pub fn gate_forward(
    of: &Picture,
    x: Slice<'_>,
    gate: Slice<'_>,
    y: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let args = [
        x.checked("x", x.of(), of.len()).into(),
        gate.checked("gate", x.of(), of.images * of.channels).into(),
        y.checked("y", x.of(), of.len()).into(),
        accumulate.into(),
    ];
    each_strip(of, x, "gate_forward", &args)
}

/// `dgate[image, channel] :=` (or `+=` with `accumulate`) the sum of `dy * x` over the image's pixels.
///
/// # Errors
/// As the device says.
pub fn gate_backward(
    of: &Picture,
    dy: Slice<'_>,
    x: Slice<'_>,
    dgate: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let args = [
        dy.checked("dy", dy.of(), of.len()).into(),
        x.checked("x", dy.of(), of.len()).into(),
        dgate.checked("dgate", dy.of(), of.images * of.channels).into(),
        accumulate.into(),
    ];
    each_image(of, dy, "gate_backward", &args)
}
