use super::elementwise::{each_channel, optional, pixels_of, several};
use crate::{Arg, DeviceError, Slice, Type};

/// Threads of a block.
const BLOCK: usize = 256;

/// Threads side by side in a block, at most, each with neighbouring channels of a pixel.
const WIDEST: usize = 32;

/// Blocks that a reduction is shared out to, about: enough for every processor of a GPU.
const BLOCKS: usize = 1024;

/// Pixels that a thread sums, at least and at most.
const SUMMED: (usize, usize) = (8, 256);

/// Channels of a block that adds up chunks: `FINISHED` of the kernels.
const FINISHED: usize = 8;

/// How a sum over the pixels of `[pixels, channels]` for each channel is shared out: blocks of chunks of pixels for tiles of
/// channels, then the chunks' sums. The shape and type alone decide it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reduction {
    pixels: usize,
    channels: usize,
    wide: usize,
    tiles: usize,
    chunk: usize,
    parts: usize,
}

impl Reduction {
    pub fn new(of: Type, pixels: usize, channels: usize) -> Self {
        let (wide, tiles, rows) = Self::block(of, channels);
        let summed = (pixels * tiles).div_ceil(rows * BLOCKS).clamp(SUMMED.0, SUMMED.1);
        let chunk = rows * summed;
        Self { pixels, channels, wide, tiles, chunk, parts: pixels.div_ceil(chunk) }
    }

    /// Threads side by side, tiles of channels, and rows of a block.
    fn block(of: Type, channels: usize) -> (usize, usize, usize) {
        let groups = channels.div_ceil(several(of)).max(1);
        let tiles = groups.div_ceil(WIDEST);
        let wide = groups.div_ceil(tiles);
        (wide, tiles, BLOCK / wide)
    }

    /// At least as many chunks as this many pixels or fewer have.
    fn most_parts(of: Type, pixels: usize, channels: usize) -> usize {
        let (_, tiles, rows) = Self::block(of, channels);
        let chunks = |summed: usize| pixels.div_ceil(rows * summed);
        chunks(SUMMED.0).min(BLOCKS.div_ceil(tiles).max(chunks(SUMMED.1)))
    }

    /// Runs the kernel that sums the chunks; `args` follow those that say how it is shared out.
    pub fn run(&self, like: Slice<'_>, kernel: &'static str, args: &[Arg]) -> Result<(), DeviceError> {
        let shape = [self.pixels, self.channels, self.wide, self.tiles, self.chunk];
        let all: Vec<Arg> = shape.into_iter().map(Arg::from).chain(args.iter().copied()).collect();
        like.gpu().blocks(like.of(), kernel, self.parts * self.tiles, &all)
    }

    /// The part of the scratch for so many sums of each chunk and channel.
    #[track_caller]
    pub fn partial(&self, scratch: Slice<'_>, sums: usize) -> Arg {
        let len = self.parts * sums * self.channels;
        scratch.slice(0..len).checked("scratch", Type::F32, len).into()
    }

    /// Adds up the chunks: `first`, and `second` times a factor, both one value a channel.
    #[track_caller]
    pub fn finish(
        &self,
        like: Slice<'_>,
        partial: Arg,
        factor: Option<Slice<'_>>,
        (name, first): (&str, Slice<'_>),
        second: Option<(&str, Slice<'_>)>,
    ) -> Result<(), DeviceError> {
        let args = [
            self.parts.into(),
            self.channels.into(),
            partial,
            optional(factor, "factor", Type::F32, self.channels),
            first.checked(name, Type::F32, self.channels).into(),
            second.map_or(0, |(name, second)| second.checked(name, Type::F32, self.channels)).into(),
        ];
        like.gpu().blocks(like.of(), "channel_sums_finish", self.channels.div_ceil(FINISHED), &args)
    }
}

/// Values of scratch, f32, that the reductions to channels of `[pixels, channels]` need, whatever the type; never fewer for
/// more pixels.
pub fn channel_scratch_len(pixels: usize, channels: usize) -> usize {
    let parts = [Type::F32, Type::Bf16].map(|of| Reduction::most_parts(of, pixels, channels));
    2 * channels * parts[0].max(parts[1])
}

/// Each channel's mean and biased variance over the pixels of `x`, `[pixels, channels]`, accurate also where the mean is far
/// from zero; both are NaN without pixels. `scratch` has [`channel_scratch_len`] values at least.
///
/// # Errors
/// As the device says.
pub fn channel_stats(
    x: Slice<'_>,
    channels: usize,
    scratch: Slice<'_>,
    mean: Slice<'_>,
    var: Slice<'_>,
) -> Result<(), DeviceError> {
    let (of, pixels) = (x.of(), pixels_of(x.len(), channels));
    let reduction = Reduction::new(of, pixels, channels);
    let partial = reduction.partial(scratch, 2);
    reduction.run(x, "channel_stats_part", &[x.checked("x", of, x.len()).into(), partial])?;
    let args = [
        reduction.parts.into(),
        channels.into(),
        pixels.into(),
        reduction.chunk.into(),
        partial,
        mean.checked("mean", Type::F32, channels).into(),
        var.checked("var", Type::F32, channels).into(),
    ];
    x.gpu().blocks(of, "channel_stats_finish", channels.div_ceil(FINISHED), &args)
}

/// `out :=` each channel's sum over the pixels of `dy`, `[pixels, channels]`: the gradient of a bias. `scratch` has
/// [`channel_scratch_len`] values at least.
///
/// # Errors
/// As the device says.
pub fn channel_sum(
    dy: Slice<'_>,
    channels: usize,
    scratch: Slice<'_>,
    out: Slice<'_>,
) -> Result<(), DeviceError> {
    let reduction = Reduction::new(dy.of(), pixels_of(dy.len(), channels), channels);
    let partial = reduction.partial(scratch, 1);
    reduction.run(dy, "channel_sum_part", &[dy.checked("dy", dy.of(), dy.len()).into(), partial])?;
    reduction.finish(dy, partial, None, ("out", out), None)
}

/// What [`scale_shift`] needs to be batch normalisation: `inverse_std := 1 / sqrt(var + eps)`, `scale := gamma * inverse_std`
/// and `shift := beta - (mean - bias) * scale`, all f32, one a channel. `bias` is what a convolution would have added in
/// front, and is 0 without one.
///
/// # Errors
/// As the device says.
#[expect(clippy::too_many_arguments, reason = "one slice a quantity")]
pub fn batch_norm_prepare(
    mean: Slice<'_>,
    var: Slice<'_>,
    gamma: Slice<'_>,
    beta: Slice<'_>,
    eps: f32,
    bias: Option<Slice<'_>>,
    inverse_std: Slice<'_>,
    scale: Slice<'_>,
    shift: Slice<'_>,
) -> Result<(), DeviceError> {
    let channels = mean.len();
    let args = [
        channels.into(),
        mean.checked("mean", Type::F32, channels).into(),
        var.checked("var", Type::F32, channels).into(),
        gamma.checked("gamma", Type::F32, channels).into(),
        beta.checked("beta", Type::F32, channels).into(),
        eps.into(),
        optional(bias, "bias", Type::F32, channels),
        inverse_std.checked("inverse_std", Type::F32, channels).into(),
        scale.checked("scale", Type::F32, channels).into(),
        shift.checked("shift", Type::F32, channels).into(),
    ];
    mean.gpu().each(Type::F32, "batch_norm_prepare", channels, &args)
}

/// Moves running statistics towards a batch's: `running += momentum * (batch * factor - running)`, with a factor of 1 for the
/// mean and of `unbiased` for the variance. All f32, one a channel.
///
/// # Errors
/// As the device says.
pub fn move_running(
    mean: Slice<'_>,
    var: Slice<'_>,
    momentum: f32,
    unbiased: f32,
    running_mean: Slice<'_>,
    running_var: Slice<'_>,
) -> Result<(), DeviceError> {
    let channels = mean.len();
    let args = [
        channels.into(),
        mean.checked("mean", Type::F32, channels).into(),
        var.checked("var", Type::F32, channels).into(),
        momentum.into(),
        unbiased.into(),
        running_mean.checked("running_mean", Type::F32, channels).into(),
        running_var.checked("running_var", Type::F32, channels).into(),
    ];
    mean.gpu().each(Type::F32, "move_running", channels, &args)
}

/// `y := x * scale + shift + residual`, then ReLU if asked for, of `[pixels, channels]`; `scale` and `shift` are f32, one a
/// channel. `y` may be the place of `x` or of the residual.
///
/// # Errors
/// As the device says.
pub fn scale_shift(
    x: Slice<'_>,
    scale: Slice<'_>,
    shift: Slice<'_>,
    residual: Option<Slice<'_>>,
    relu: bool,
    y: Slice<'_>,
) -> Result<(), DeviceError> {
    let (of, len, channels) = (x.of(), x.len(), scale.len());
    let args = [
        pixels_of(len, channels).into(),
        channels.into(),
        x.checked("x", of, len).into(),
        scale.checked("scale", Type::F32, channels).into(),
        shift.checked("shift", Type::F32, channels).into(),
        optional(residual, "residual", of, len),
        relu.into(),
        y.checked("y", of, len).into(),
    ];
    each_channel(x, channels, "scale_shift", &args)
}

/// Batch normalisation backward, first pass: each channel's sum of `g`, the gradient of beta, and of `g * xhat`, that of gamma,
/// over the pixels of `[pixels, channels]`.
///
/// `g` is `dy`, masked by `y > 0` where `y`, the output of a ReLU on top, is given; `xhat = (x - mean) * inverse_std`. What is
/// of a channel is f32. `scratch` has [`channel_scratch_len`] values at least.
///
/// # Errors
/// As the device says.
#[expect(clippy::too_many_arguments, reason = "one slice a quantity")]
pub fn batch_norm_backward_reduce(
    dy: Slice<'_>,
    y: Option<Slice<'_>>,
    x: Slice<'_>,
    mean: Slice<'_>,
    inverse_std: Slice<'_>,
    scratch: Slice<'_>,
    sum_gradient: Slice<'_>,
    sum_gradient_x: Slice<'_>,
) -> Result<(), DeviceError> {
    let (of, len, channels) = (dy.of(), dy.len(), mean.len());
    let reduction = Reduction::new(of, pixels_of(len, channels), channels);
    let partial = reduction.partial(scratch, 2);
    let args = [
        dy.checked("dy", of, len).into(),
        optional(y, "y", of, len),
        x.checked("x", of, len).into(),
        mean.checked("mean", Type::F32, channels).into(),
        partial,
    ];
    reduction.run(dy, "batch_norm_backward_part", &args)?;
    let (first, second) = (("sum_gradient", sum_gradient), ("sum_gradient_x", sum_gradient_x));
    reduction.finish(dy, partial, Some(inverse_std), first, Some(second))
}

/// Batch normalisation backward, second pass: `dx` becomes `gamma * inverse_std * (g - (sum_gradient + xhat *
/// sum_gradient_x) / pixels)`, or `gamma * inverse_std * g` where the statistics were `running` ones. `g` and the sums are
/// those of [`batch_norm_backward_reduce`]. Where a residual was added before the ReLU, `dr` receives `g`.
///
/// `dx` and `dr` are added to where their flag says so, else overwritten; each may be the place of `dy`, not both.
///
/// # Errors
/// As the device says.
#[expect(clippy::too_many_arguments, reason = "one slice a quantity")]
pub fn batch_norm_backward_apply(
    dy: Slice<'_>,
    y: Option<Slice<'_>>,
    x: Slice<'_>,
    mean: Slice<'_>,
    inverse_std: Slice<'_>,
    gamma: Slice<'_>,
    sum_gradient: Slice<'_>,
    sum_gradient_x: Slice<'_>,
    running: bool,
    dx: Option<(Slice<'_>, bool)>,
    dr: Option<(Slice<'_>, bool)>,
) -> Result<(), DeviceError> {
    let (of, len, channels) = (dy.of(), dy.len(), mean.len());
    let target = |name: &str, target: Option<(Slice<'_>, bool)>| {
        let accumulate = target.is_some_and(|(_, accumulate)| accumulate);
        [optional(target.map(|(slice, _)| slice), name, of, len), accumulate.into()]
    };
    let ([dx, dx_accumulate], [dr, dr_accumulate]) = (target("dx", dx), target("dr", dr));
    let args = [
        pixels_of(len, channels).into(),
        channels.into(),
        dy.checked("dy", of, len).into(),
        optional(y, "y", of, len),
        x.checked("x", of, len).into(),
        mean.checked("mean", Type::F32, channels).into(),
        inverse_std.checked("inverse_std", Type::F32, channels).into(),
        gamma.checked("gamma", Type::F32, channels).into(),
        sum_gradient.checked("sum_gradient", Type::F32, channels).into(),
        sum_gradient_x.checked("sum_gradient_x", Type::F32, channels).into(),
        running.into(),
        dx,
        dx_accumulate,
        dr,
        dr_accumulate,
    ];
    each_channel(dy, channels, "batch_norm_backward_apply", &args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_holds_all_chunks_and_never_shrinks() {
        for channels in [1, 3, 64, 130, 768, 4096] {
            let mut before = 0;
            for pixels in (0..200).chain((200..5_000_000).step_by(9_973)) {
                let len = channel_scratch_len(pixels, channels);
                assert!(len >= before, "{len} values for {pixels} pixels of {channels}, {before} for fewer");
                before = len;
                for of in [Type::F32, Type::Bf16] {
                    let needed = 2 * channels * Reduction::new(of, pixels, channels).parts;
                    assert!(len >= needed, "{pixels} pixels of {channels} need {needed} values, not {len}");
                }
            }
        }
    }
}
