use super::elementwise::{map_backward, map_forward};
use crate::{DeviceError, Slice};

/// `y :=` GELU of `x` in its exact form (arXiv 1606.08415); NaN stays.
///
/// # Errors
/// As the device says.
pub fn gelu_forward(x: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    map_forward("gelu_forward", x, y)
}

/// `dx :=` (or `+=` with `accumulate`) `dy` times the slope of GELU at the input `x`.
///
/// # Errors
/// As the device says.
pub fn gelu_backward(
    dy: Slice<'_>,
    x: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    map_backward("gelu_backward", dy, ("x", x), dx, accumulate)
}

/// `y :=` `x / (1 + exp(-x))`; NaN stays.
///
/// # Errors
/// As the device says.
pub fn silu_forward(x: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    map_forward("silu_forward", x, y)
}

/// `dx :=` (or `+=` with `accumulate`) `dy` times the slope of `x / (1 + exp(-x))` at the input `x`.
///
/// # Errors
/// As the device says.
pub fn silu_backward(
    dy: Slice<'_>,
    x: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    map_backward("silu_backward", dy, ("x", x), dx, accumulate)
}

/// `y :=` `1 / (1 + exp(-x))`; NaN stays.
///
/// # Errors
/// As the device says.
pub fn sigmoid_forward(x: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    map_forward("sigmoid_forward", x, y)
}

/// `dx :=` (or `+=` with `accumulate`) `dy` times the slope of `1 / (1 + exp(-x))` at the input `x`.
///
/// # Errors
/// As the device says.
pub fn sigmoid_backward(
    dy: Slice<'_>,
    x: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    map_backward("sigmoid_backward", dy, ("x", x), dx, accumulate)
}
