use super::elementwise::optional;
use super::pool::{Picture, Window, each_pixel};
use crate::{Arg, DeviceError, Slice, Type};

/// Threads of a block.
const BLOCK: usize = 256;

/// Pixels of a run: `DEPTHWISE_RUN` of the kernels.
const RUN: usize = 7;

/// Threads side by side in a block, at most, each with two neighbouring channels.
const WIDEST: usize = 32;

/// Blocks that the gradient of the weights is shared out to, about: some for every processor of a GPU, and no
/// more, for each writes as many sums as there are weights.
const BLOCKS: usize = 512;

/// Output rows that a thread sums for the gradient of the weights, at least and at most.
const SUMMED: (usize, usize) = (4, 64);

/// Sums of a block that adds up chunks: `FINISHED` of the kernels.
const FINISHED: usize = 8;

#[track_caller]
fn check(window: &Window) {
    let fits = window.stride > 0 && window.padding < window.kernel && window.kernel <= BLOCK;
    assert!(fits, "window: {window:?} is none of a depthwise convolution");
}

/// Threads side by side, of at most so many, and tiles of the channels.
fn tiles(channels: usize, widest: usize) -> (usize, usize) {
    let pairs = channels.div_ceil(2).max(1);
    let tiles = pairs.div_ceil(widest);
    (pairs.div_ceil(tiles), tiles)
}

/// Whether two channels can be had at once everywhere: there is an even number, and slices begin with such a
/// pair.
fn pairs(channels: usize, slices: &[(u64, Type)]) -> bool {
    channels.is_multiple_of(2) && slices.iter().all(|&(at, of)| at.is_multiple_of(2 * of.bytes() as u64))
}

/// The convolution of `x`, with a stride of 1 and a kernel that the GPU has runs for.
struct Runs<'a> {
    x: Slice<'a>,
    w: Slice<'a>,
    flipped: bool,
    bias: Option<Slice<'a>>,
    y: Slice<'a>,
    accumulate: bool,
}

impl Runs<'_> {
    /// Runs it, for an input `of`, unless something about it needs the kernels for everything: then it says
    /// no.
    fn run(&self, of: &Picture, window: &Window) -> Result<bool, DeviceError> {
        let (values, out) = (self.x.of(), window.out(of));
        let taps = window.kernel * window.kernel * of.channels;
        let x = self.x.checked("x", values, of.len());
        let w = self.w.checked("w", Type::F32, taps);
        let y = self.y.checked("y", values, out.len());
        let bias = self.bias.map_or(0, |bias| bias.checked("bias", Type::F32, of.channels));
        let slices = [(x, values), (w, Type::F32), (y, values), (bias, Type::F32)];
        if window.stride != 1 || ![3, 5, 7].contains(&window.kernel) || !pairs(of.channels, &slices) {
            return Ok(false);
        }
        let (wide, tiles) = tiles(of.channels, WIDEST);
        let blocks = tiles * out.width.div_ceil(RUN) * (out.images * out.height).div_ceil(BLOCK / wide);
        let args = [
            wide.into(),
            tiles.into(),
            x.into(),
            w.into(),
            self.flipped.into(),
            bias.into(),
            y.into(),
            self.accumulate.into(),
        ];
        let all = [&window.args(of)[..], &args].concat();
        // A picture without channels has tiles all the same.
        let blocks = if of.channels == 0 { 0 } else { blocks };
        self.x.gpu().blocks(values, "depthwise_runs", blocks, &all)?;
        Ok(true)
    }
}

/// `y := conv(x) + bias`, each channel by itself: `w` is `[kernel, kernel, channels]`, it and `bias` are f32.
/// The window's padding is less than its kernel.
///
/// # Errors
/// As the device says.
pub fn depthwise_forward(
    of: &Picture,
    window: &Window,
    x: Slice<'_>,
    w: Slice<'_>,
    bias: Option<Slice<'_>>,
    y: Slice<'_>,
) -> Result<(), DeviceError> {
    check(window);
    if (Runs { x, w, flipped: false, bias, y, accumulate: false }).run(of, window)? {
        return Ok(());
    }
    let out = window.out(of);
    let values = [
        x.checked("x", x.of(), of.len()).into(),
        w.checked("w", Type::F32, window.kernel * window.kernel * of.channels).into(),
        optional(bias, "bias", Type::F32, of.channels),
        y.checked("y", x.of(), out.len()).into(),
    ];
    each_pixel(&out, x, "depthwise_forward", &[&window.args(of)[..], &values].concat())
}

/// `dx :=` (or `+=` with `accumulate`) the gradient of [`depthwise_forward`]'s input, which is `of`.
///
/// # Errors
/// As the device says.
pub fn depthwise_backward_data(
    of: &Picture,
    window: &Window,
    dy: Slice<'_>,
    w: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    check(window);
    let out = window.out(of);
    let values = [
        dy.checked("dy", dy.of(), out.len()).into(),
        w.checked("w", Type::F32, window.kernel * window.kernel * of.channels).into(),
        dx.checked("dx", dy.of(), of.len()).into(),
        accumulate.into(),
    ];
    // The gradient of a stride of 1 is a convolution too.
    let back = Window { padding: window.kernel - 1 - window.padding, ..*window };
    let runs = Runs { x: dy, w, flipped: true, bias: None, y: dx, accumulate };
    if window.stride == 1 && out.pixels() > 0 && runs.run(&out, &back)? {
        return Ok(());
    }
    each_pixel(of, dy, "depthwise_backward_data", &[&window.args(of)[..], &values].concat())
}

/// How the gradient of the weights is shared out: blocks of chunks of output rows for tiles of channels, then
/// the chunks' sums. The shape alone decides it.
#[derive(Debug, Clone, Copy)]
struct Chunks {
    wide: usize,
    tiles: usize,
    /// Rows of a chunk that are summed at the same time, each to sums of its own.
    slots: usize,
    chunk: usize,
    chunks: usize,
}

impl Chunks {
    fn new(out: &Picture, window: &Window) -> Self {
        let (wide, tiles, slots) = Self::block(out, window);
        let rows = out.images * out.height;
        let summed = (rows * tiles).div_ceil(slots * BLOCKS).clamp(SUMMED.0, SUMMED.1);
        let chunk = slots * summed;
        Self { wide, tiles, slots, chunk, chunks: rows.div_ceil(chunk) }
    }

    fn block(out: &Picture, window: &Window) -> (usize, usize, usize) {
        let (wide, tiles) = tiles(out.channels, WIDEST.min(BLOCK / window.kernel));
        (wide, tiles, BLOCK / (wide * window.kernel))
    }

    /// At least as many parts as this many images or fewer have.
    fn most_parts(out: &Picture, window: &Window) -> usize {
        let (_, tiles, slots) = Self::block(out, window);
        let chunks = |summed: usize| (out.images * out.height).div_ceil(slots * summed);
        slots * chunks(SUMMED.0).min(BLOCKS.div_ceil(tiles).max(chunks(SUMMED.1)))
    }
}

/// Values of scratch, f32, that [`depthwise_backward_weight`] needs; never fewer for more images.
pub fn depthwise_scratch_len(of: &Picture, window: &Window) -> usize {
    check(window);
    Chunks::most_parts(&window.out(of), window) * window.kernel * window.kernel * of.channels
}

/// `dw :=` the gradient of the weights, f32, `[kernel, kernel, channels]`: the sum over the images; `of` is
/// `x`. `scratch` has [`depthwise_scratch_len`] values at least.
///
/// # Errors
/// As the device says.
pub fn depthwise_backward_weight(
    of: &Picture,
    window: &Window,
    x: Slice<'_>,
    dy: Slice<'_>,
    scratch: Slice<'_>,
    dw: Slice<'_>,
) -> Result<(), DeviceError> {
    check(window);
    let (values, out) = (x.of(), window.out(of));
    let len = window.kernel * window.kernel * of.channels;
    let Chunks { wide, tiles, slots, chunk, chunks } = Chunks::new(&out, window);
    let parts = chunks * slots;
    let x_at = x.checked("x", values, of.len());
    let dy_at = dy.checked("dy", values, out.len());
    let partial: Arg = scratch.slice(0..parts * len).checked("scratch", Type::F32, parts * len).into();
    let args = [
        wide.into(),
        tiles.into(),
        slots.into(),
        chunk.into(),
        pairs(of.channels, &[(x_at, values), (dy_at, values)]).into(),
        x_at.into(),
        dy_at.into(),
        partial,
    ];
    let all = [&window.args(of)[..], &args].concat();
    x.gpu().blocks(values, "depthwise_weight_part", chunks * tiles, &all)?;
    let dw = dw.checked("dw", Type::F32, len);
    let args = [parts.into(), len.into(), partial, 0u64.into(), dw.into(), 0u64.into()];
    x.gpu().blocks(values, "channel_sums_finish", len.div_ceil(FINISHED), &args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scratch_holds_all_chunks_and_never_shrinks() {
        for (kernel, channels, side) in [(1, 2, 7), (3, 3, 112), (5, 130, 14), (7, 96, 56), (7, 768, 7)] {
            let window = Window { kernel, stride: 1, padding: kernel / 2 };
            let mut before = 0;
            for images in 0..600 {
                let of = Picture { images, height: side, width: side, channels };
                let len = depthwise_scratch_len(&of, &window);
                assert!(len >= before, "{len} values for {of:?}, {before} for fewer images");
                before = len;
                let chunks = Chunks::new(&window.out(&of), &window);
                let needed = chunks.chunks * chunks.slots * kernel * kernel * channels;
                assert!(len >= needed, "{of:?} needs {needed} values, not {len}");
            }
        }
    }
}
