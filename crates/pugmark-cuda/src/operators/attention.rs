use crate::{Arg, DeviceError, Slice, Type};

/// Most tokens of a window and most channels of a head: `ATTENTION_TOKENS` and `ATTENTION_DEPTH` of the
/// kernels.
const TOKENS: usize = 64;
const DEPTH: usize = 32;

/// Windows whose sums one thread adds up.
const CHUNK: usize = 64;

/// Attention inside square windows of pictures, as torchvision's `shifted_window_attention` between its two
/// linear layers. A window has at most 64 pixels and a head at most 32 channels: a head in a window stays
/// inside a multiprocessor.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    /// Pictures.
    pub images: usize,
    /// Rows of a picture.
    pub height: usize,
    /// Pixels in a row.
    pub width: usize,
    /// Channels of the output, a multiple of `heads`.
    pub channels: usize,
    /// Heads; each has as many channels as the others.
    pub heads: usize,
    /// Pixels on a side of a window.
    pub window: usize,
    /// Pixels by which the windows are moved, below `window`; none along a side that is one window.
    pub shift: usize,
}

/// Numbers of values.
struct Lens {
    /// Of the output; the input has three times as many.
    y: usize,
    /// Of the input's padding.
    padding: usize,
    /// Of the table.
    table: usize,
    /// Windows of all pictures.
    windows: usize,
    /// Sums that a window leaves: the table's, and the padding's unless whole windows fill the pictures.
    sums: usize,
}

impl Attention {
    #[track_caller]
    fn lens(&self) -> Lens {
        let Self { images, height, width, channels, heads, window, shift } = *self;
        assert!(shift < window && window * window <= TOKENS, "windows of {window} pixels, moved by {shift}");
        assert!(heads > 0 && channels.is_multiple_of(heads), "{heads} heads of {channels} channels");
        assert!(channels / heads <= DEPTH, "{} channels of a head", channels / heads);
        let y = images * height * width * channels;
        // Kernels count a picture's pixels and a pixel's channels in 32 bits.
        let small = |len: usize| u32::try_from(len).is_ok();
        assert!(small((height + window) * (width + window)) && small(3 * channels), "{self:?}");
        let (rows, columns) = (height.div_ceil(window), width.div_ceil(window));
        let (table, padding) = (heads * (2 * window - 1) * (2 * window - 1), 3 * channels);
        let filled = (rows * window, columns * window) == (height, width);
        let sums = if filled { table } else { table + padding };
        Lens { y, padding, table, windows: images * rows * columns, sums }
    }

    /// The first arguments of both directions.
    fn shape(&self) -> [Arg; 6] {
        [self.height, self.width, self.channels, self.heads, self.window, self.shift].map(Arg::from)
    }
}

/// `y := softmax(scale * q * k^T + bias) * v` for each head in each window, with `scale` one over the root of
/// a head's channels. `x` is `[images, height, width, 3 * channels]`: a pixel's queries, keys and values,
/// each head after head; `y` is `[images, height, width, channels]`. `padding`, f32, is what a pixel of `x`
/// holds where windows reach beyond the picture. `table`, f32, has the biases `[heads, 2 * window - 1, 2 *
/// window - 1]`, by the query's position less the key's, the smallest first. Tokens that were no neighbours
/// before the windows were moved hardly see each other: -100 is added.
///
/// # Errors
/// As the device says.
pub fn window_attention_forward(
    of: &Attention,
    x: Slice<'_>,
    padding: Slice<'_>,
    table: Slice<'_>,
    y: Slice<'_>,
) -> Result<(), DeviceError> {
    let (values, lens) = (x.of(), of.lens());
    let places = [
        x.checked("x", values, 3 * lens.y),
        padding.checked("padding", Type::F32, lens.padding),
        table.checked("table", Type::F32, lens.table),
        y.checked("y", values, lens.y),
    ];
    let args = [&of.shape()[..], &places.map(Arg)].concat();
    x.gpu().blocks(values, "window_attention_forward", lens.windows * of.heads, &args)
}

/// Values of scratch, f32, that [`window_attention_backward`] needs; never fewer for more images.
pub fn window_attention_scratch_len(of: &Attention) -> usize {
    let lens = of.lens();
    (lens.windows + lens.windows.div_ceil(CHUNK)) * lens.sums
}

/// The gradients of [`window_attention_forward`], whose shares are computed again from `x`: `dx`, which is
/// added to where its flag says so, else overwritten, and is no other's place; and `dpadding` and `dtable`,
/// f32, which are overwritten. `scratch` has [`window_attention_scratch_len`] values at least.
///
/// # Errors
/// As the device says.
#[expect(clippy::too_many_arguments, reason = "one slice a quantity")]
pub fn window_attention_backward(
    of: &Attention,
    dy: Slice<'_>,
    x: Slice<'_>,
    padding: Slice<'_>,
    table: Slice<'_>,
    (dx, accumulate): (Slice<'_>, bool),
    scratch: Slice<'_>,
    dpadding: Slice<'_>,
    dtable: Slice<'_>,
) -> Result<(), DeviceError> {
    let (values, lens, gpu) = (dy.of(), of.lens(), dy.gpu());
    let chunks = lens.windows.div_ceil(CHUNK);
    let part = |begin: usize, rows: usize| -> Arg {
        let len = rows * lens.sums;
        scratch.slice(begin * lens.sums..begin * lens.sums + len).checked("scratch", Type::F32, len).into()
    };
    let (sums, partial) = (part(0, lens.windows), part(lens.windows, chunks));
    let dtable = dtable.checked("dtable", Type::F32, lens.table);
    let dpadding = dpadding.checked("dpadding", Type::F32, lens.padding);
    let places = [
        dy.checked("dy", values, lens.y),
        x.checked("x", values, 3 * lens.y),
        padding.checked("padding", Type::F32, lens.padding),
        table.checked("table", Type::F32, lens.table),
        dx.checked("dx", values, 3 * lens.y),
    ];
    let rest = [accumulate.into(), sums, lens.sums.into()];
    let args = [&of.shape()[..], &places.map(Arg), &rest].concat();
    gpu.blocks(values, "window_attention_backward", lens.windows * of.heads, &args)?;
    let args = [lens.windows.into(), lens.sums.into(), CHUNK.into(), sums, partial];
    gpu.each(values, "window_attention_rows", chunks * lens.sums, &args)?;
    let args = [chunks.into(), lens.sums.into(), lens.table.into(), partial, dtable.into(), dpadding.into()];
    gpu.blocks(values, "window_attention_total", lens.table + lens.padding, &args)
}
