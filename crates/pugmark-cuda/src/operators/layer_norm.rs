use super::elementwise::{optional, pixels_of, several};
use super::norm::{Reduction, channel_scratch_len};
use crate::{DeviceError, Slice, Type};

/// Threads of a block.
const BLOCK: usize = 256;

/// 16 bytes of a pixel that a thread keeps, so many times: `LAYER_NORM_KEPT` of the kernels.
const KEPT: usize = 4;

/// Threads that share a pixel: the fewest, by powers of two, that keep all of it.
#[track_caller]
fn threads_of_pixel(of: Type, channels: usize) -> usize {
    let threads = channels.div_ceil(several(of) * KEPT).next_power_of_two();
    let most = several(of) * KEPT * BLOCK;
    assert!(threads <= BLOCK, "channels: {channels} of {of:?}, of which a block keeps {most}");
    threads
}

/// Values of scratch, f32, that [`layer_norm_backward`] needs; never fewer for more pixels.
pub fn layer_norm_scratch_len(pixels: usize, channels: usize) -> usize {
    2 * pixels + channel_scratch_len(pixels, channels)
}

/// `y := (x - mean) / sqrt(var + eps) * gamma + beta`, with the mean and biased variance of each pixel of `[pixels,
/// channels]`; `gamma` and `beta` are f32, one a channel. At most 4,096 channels of f32 and 8,192 of bf16, else it panics.
///
/// # Errors
/// As the device says.
pub fn layer_norm_forward(
    x: Slice<'_>,
    channels: usize,
    gamma: Slice<'_>,
    beta: Slice<'_>,
    eps: f32,
    y: Slice<'_>,
) -> Result<(), DeviceError> {
    let (of, len) = (x.of(), x.len());
    let (pixels, wide) = (pixels_of(len, channels), threads_of_pixel(of, channels));
    let args = [
        pixels.into(),
        channels.into(),
        wide.into(),
        x.checked("x", of, len).into(),
        gamma.checked("gamma", Type::F32, channels).into(),
        beta.checked("beta", Type::F32, channels).into(),
        eps.into(),
        y.checked("y", of, len).into(),
    ];
    x.gpu().blocks(of, "layer_norm_forward", pixels.div_ceil(BLOCK / wide), &args)
}

/// The gradients of [`layer_norm_forward`], from its input: `dx`, which is added to where its flag says so, else overwritten,
/// and is no other's place; and `dgamma` and `dbeta`, f32, which are overwritten. `scratch` has [`layer_norm_scratch_len`]
/// values at least.
///
/// # Errors
/// As the device says.
#[expect(clippy::too_many_arguments, reason = "one slice a quantity")]
pub fn layer_norm_backward(
    dy: Slice<'_>,
    x: Slice<'_>,
    channels: usize,
    gamma: Slice<'_>,
    eps: f32,
    dx: Option<(Slice<'_>, bool)>,
    scratch: Slice<'_>,
    dgamma: Slice<'_>,
    dbeta: Slice<'_>,
) -> Result<(), DeviceError> {
    let (of, len) = (dy.of(), dy.len());
    let (pixels, wide) = (pixels_of(len, channels), threads_of_pixel(of, channels));
    let [dy_at, x_at] = [dy.checked("dy", of, len), x.checked("x", of, len)];
    let [means, inverses] = [0, 1].map(|i| {
        let part = scratch.slice(i * pixels..(i + 1) * pixels);
        part.checked("scratch", Type::F32, pixels)
    });
    let accumulate = dx.is_some_and(|(_, accumulate)| accumulate);
    let statistics = [
        pixels.into(),
        channels.into(),
        wide.into(),
        dy_at.into(),
        x_at.into(),
        gamma.checked("gamma", Type::F32, channels).into(),
        eps.into(),
        optional(dx.map(|(dx, _)| dx), "dx", of, len),
        accumulate.into(),
        means.into(),
        inverses.into(),
    ];
    let reduction = Reduction::new(of, pixels, channels);
    let partial = reduction.partial(scratch.slice(2 * pixels..scratch.len()), 2);
    dy.gpu().blocks(of, "layer_norm_backward_pixels", pixels.div_ceil(BLOCK / wide), &statistics)?;
    let args = [dy_at.into(), x_at.into(), means.into(), inverses.into(), partial];
    reduction.run(dy, "layer_norm_backward_part", &args)?;
    reduction.finish(dy, partial, None, ("dgamma", dgamma), Some(("dbeta", dbeta)))
}
