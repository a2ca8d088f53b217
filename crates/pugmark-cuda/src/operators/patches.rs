use super::elementwise::several;
use super::pool::{Picture, each_pixel};
use crate::{DeviceError, Slice};

/// The picture of merged pixels.
fn merged(of: &Picture) -> Picture {
    let (height, width) = (of.height.div_ceil(2), of.width.div_ceil(2));
    Picture { height, width, channels: 4 * of.channels, ..*of }
}

/// Each pixel of `y`, `[images, height / 2, width / 2, 4 * channels]` with halves rounded up, `:=` the 2 x 2
/// pixels of `x` there, channel after channel: the upper left, the lower left, the upper right, the lower
/// right; 0 beyond an odd side. `of` is `x`.
///
/// # Errors
/// As the device says.
pub fn merge_patches_forward(of: &Picture, x: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    let to = merged(of);
    let values = [x.checked("x", x.of(), of.len()).into(), y.checked("y", x.of(), to.len()).into()];
    // A thread never has channels of two quarters.
    let several = several(x.of());
    let quarters = Picture { channels: 4 * of.channels.next_multiple_of(several), ..to };
    each_pixel(&quarters, x, "merge_patches_forward", &[&of.args()[..], &values].concat())
}

/// `dx :=` (or `+=` with `accumulate`) the gradient of [`merge_patches_forward`]'s input, which is `of`.
///
/// # Errors
/// As the device says.
pub fn merge_patches_backward(
    of: &Picture,
    dy: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let values = [
        dy.checked("dy", dy.of(), merged(of).len()).into(),
        dx.checked("dx", dy.of(), of.len()).into(),
        accumulate.into(),
    ];
    each_pixel(of, dy, "merge_patches_backward", &[&of.args()[..], &values].concat())
}
