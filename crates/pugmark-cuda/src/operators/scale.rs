use super::elementwise::optional;
use super::norm::{Reduction, channel_scratch_len};
use super::pool::{Picture, each_strip};
use crate::{DeviceError, Slice, Type};

/// `y := x` times the factors, plus the residual: `channels` has one f32 a channel (layer scale), `images`
/// one f32 an image (stochastic depth); what is absent is 1, a residual 0. `y` may be the place of `x` or of
/// the residual.
///
/// # Errors
/// As the device says.
pub fn scale_forward(
    of: &Picture,
    x: Slice<'_>,
    channels: Option<Slice<'_>>,
    images: Option<Slice<'_>>,
    residual: Option<Slice<'_>>,
    y: Slice<'_>,
) -> Result<(), DeviceError> {
    let args = [
        x.checked("x", x.of(), of.len()).into(),
        optional(channels, "channels", Type::F32, of.channels),
        optional(images, "images", Type::F32, of.images),
        optional(residual, "residual", x.of(), of.len()),
        y.checked("y", x.of(), of.len()).into(),
        false.into(),
    ];
    each_strip(of, x, "scale_forward", &args)
}

/// `dx :=` (or `+=` with `accumulate`) `dy` times the factors of [`scale_forward`]. `dx` may be the place of
/// `dy`.
///
/// # Errors
/// As the device says.
pub fn scale_backward(
    of: &Picture,
    dy: Slice<'_>,
    channels: Option<Slice<'_>>,
    images: Option<Slice<'_>>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let args = [
        dy.checked("dy", dy.of(), of.len()).into(),
        optional(channels, "channels", Type::F32, of.channels),
        optional(images, "images", Type::F32, of.images),
        0u64.into(),
        dx.checked("dx", dy.of(), of.len()).into(),
        accumulate.into(),
    ];
    each_strip(of, dy, "scale_forward", &args)
}

/// Values of scratch, f32, that [`scale_backward_channels`] needs; never fewer for more images.
pub fn scale_scratch_len(of: &Picture) -> usize {
    channel_scratch_len(of.images * of.pixels(), of.channels)
}

/// `out[c] :=` the gradient of channel `c`'s factor, f32: the sum of `dy * x` times the images' factors, f32
/// and 1 where absent. `scratch` has [`scale_scratch_len`] values at least.
///
/// # Errors
/// As the device says.
pub fn scale_backward_channels(
    of: &Picture,
    dy: Slice<'_>,
    x: Slice<'_>,
    images: Option<Slice<'_>>,
    scratch: Slice<'_>,
    out: Slice<'_>,
) -> Result<(), DeviceError> {
    let reduction = Reduction::new(dy.of(), of.images * of.pixels(), of.channels);
    let partial = reduction.partial(scratch, 1);
    let args = [
        of.pixels().into(),
        dy.checked("dy", dy.of(), of.len()).into(),
        x.checked("x", dy.of(), of.len()).into(),
        optional(images, "images", Type::F32, of.images),
        partial,
    ];
    reduction.run(dy, "scale_channels_part", &args)?;
    reduction.finish(dy, partial, None, ("out", out), None)
}
