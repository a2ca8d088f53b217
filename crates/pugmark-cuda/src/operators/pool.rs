use super::elementwise::{optional, several};
use crate::{Arg, DeviceError, Slice, Type};

/// Pixels of an image that a thread treats: `STRIP` of the kernels.
const STRIP: usize = 4;

/// Threads side by side in a block that sums over the pixels of an image, at most and at least: the fewest
/// read 32 bytes, what memory gives at a time.
const WIDE: (usize, usize) = (32, 2);

/// Blocks that keep a GPU's memory busy, about.
const BLOCKS: usize = 512;

/// Images of one size, `[images, height, width, channels]`.
#[derive(Debug, Clone, Copy)]
pub struct Picture {
    /// Images.
    pub images: usize,
    /// Rows of an image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
    /// Values of a pixel.
    pub channels: usize,
}

impl Picture {
    /// Pixels of one image.
    pub fn pixels(&self) -> usize {
        self.height * self.width
    }

    /// Values of all images.
    #[expect(clippy::len_without_is_empty, reason = "a size, not a container")]
    pub fn len(&self) -> usize {
        self.images * self.pixels() * self.channels
    }

    /// What a kernel for pixels is told of it.
    pub(super) fn args(&self) -> [Arg; 4] {
        [self.images, self.height, self.width, self.channels].map(Arg::from)
    }

    /// What a kernel for whole images is told of it.
    pub(super) fn image_args(&self) -> [Arg; 3] {
        [self.images, self.pixels(), self.channels].map(Arg::from)
    }
}

/// What slides over a picture: a square kernel, without dilation.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// Its side, in pixels.
    pub kernel: usize,
    /// Step between neighbouring outputs, in input pixels, in both directions.
    pub stride: usize,
    /// Pixels assumed on each of the four sides: zeros, or minus infinity where the greatest is taken.
    pub padding: usize,
}

impl Window {
    /// The output for an input: without a pixel where the window does not fit.
    pub fn out(&self, of: &Picture) -> Picture {
        assert!(self.kernel > 0 && self.stride > 0, "window: {self:?}");
        let size = |input: usize| match (input + 2 * self.padding).checked_sub(self.kernel) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        Picture { height: size(of.height), width: size(of.width), ..*of }
    }

    /// What a kernel is told of it and of its input `of`.
    pub(super) fn args(&self, of: &Picture) -> [Arg; 9] {
        let [images, height, width, channels] = of.args();
        let out = self.out(of);
        let [out_height, out_width] = [out.height, out.width].map(Arg::from);
        let [kernel, stride, padding] = [self.kernel, self.stride, self.padding].map(Arg::from);
        [images, height, width, channels, out_height, out_width, kernel, stride, padding]
    }

    #[track_caller]
    fn check_pool(&self) {
        let fits = self.stride > 0 && (1..=16).contains(&self.kernel) && 2 * self.padding <= self.kernel;
        assert!(fits, "window: {self:?} is none of a pooling");
    }
}

/// Runs a kernel that treats the pixels of a picture, of activations like those, one by one.
pub(super) fn each_pixel(
    of: &Picture,
    like: Slice<'_>,
    kernel: &'static str,
    args: &[Arg],
) -> Result<(), DeviceError> {
    let threads = of.images * of.pixels() * of.channels.div_ceil(several(like.of()));
    like.gpu().each(like.of(), kernel, threads, args)
}

/// Runs a kernel that treats strips of the pixels of each image of a picture, of activations like those.
pub(super) fn each_strip(
    of: &Picture,
    like: Slice<'_>,
    kernel: &'static str,
    args: &[Arg],
) -> Result<(), DeviceError> {
    let threads = of.images * of.pixels().div_ceil(STRIP) * of.channels.div_ceil(several(like.of()));
    like.gpu().each(like.of(), kernel, threads, &[&of.image_args(), args].concat())
}

/// Runs a kernel that sums over the pixels of each image of a picture, of activations like those: a block has
/// a tile of the channels, which is narrower where there would be too few blocks.
pub(super) fn each_image(
    of: &Picture,
    like: Slice<'_>,
    kernel: &'static str,
    args: &[Arg],
) -> Result<(), DeviceError> {
    let groups = of.channels.div_ceil(several(like.of()));
    let mut wide = groups.clamp(1, WIDE.0);
    while wide > WIDE.1 && of.images * groups.div_ceil(wide) < BLOCKS {
        wide = wide.div_ceil(2);
    }
    let (pixels, tiles) = (of.images * of.pixels(), groups.div_ceil(wide));
    let share = [pixels, of.channels, wide, tiles, of.pixels()].map(Arg::from);
    like.gpu().blocks(like.of(), kernel, of.images * tiles, &[&share, args].concat())
}

/// `y :=` the maximum over each window, whose kernel is at most 16 and whose padding at most half of it; the
/// first maximum wins, of two zeros of either sign too, and the last NaN wins over all.
///
/// `argmax`, if given (bytes, as many as `y`), receives the index `ky * kernel + kx` of the winner.
///
/// # Errors
/// As the device says.
pub fn max_pool_forward(
    of: &Picture,
    window: &Window,
    x: Slice<'_>,
    y: Slice<'_>,
    argmax: Option<Slice<'_>>,
) -> Result<(), DeviceError> {
    window.check_pool();
    let out = window.out(of);
    let values = [
        x.checked("x", x.of(), of.len()).into(),
        y.checked("y", x.of(), out.len()).into(),
        optional(argmax, "argmax", Type::U8, out.len()),
    ];
    each_pixel(&out, x, "max_pool_forward", &[&window.args(of)[..], &values].concat())
}

/// `dx :=` (or `+=` with `accumulate`) each output's gradient at the input that won by `argmax`, which is
/// [`max_pool_forward`]'s; `of` is the input.
///
/// # Errors
/// As the device says.
pub fn max_pool_backward(
    of: &Picture,
    window: &Window,
    dy: Slice<'_>,
    argmax: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    window.check_pool();
    let out = window.out(of);
    let values = [
        dy.checked("dy", dy.of(), out.len()).into(),
        argmax.checked("argmax", Type::U8, out.len()).into(),
        dx.checked("dx", dy.of(), of.len()).into(),
        accumulate.into(),
    ];
    each_pixel(of, dy, "max_pool_backward", &[&window.args(of)[..], &values].concat())
}

/// `y :=` each image's mean over its pixels, `[images, channels]`.
///
/// # Errors
/// As the device says.
pub fn global_avg_pool_forward(of: &Picture, x: Slice<'_>, y: Slice<'_>) -> Result<(), DeviceError> {
    let args =
        [x.checked("x", x.of(), of.len()).into(), y.checked("y", x.of(), of.images * of.channels).into()];
    each_image(of, x, "global_avg_pool_forward", &args)
}

/// `dx :=` (or `+=` with `accumulate`) `dy / pixels` at each pixel of an image, for `dy` as `[images,
/// channels]`; `of` is the input.
///
/// # Errors
/// As the device says.
pub fn global_avg_pool_backward(
    of: &Picture,
    dy: Slice<'_>,
    dx: Slice<'_>,
    accumulate: bool,
) -> Result<(), DeviceError> {
    let args = [
        dy.checked("dy", dy.of(), of.images * of.channels).into(),
        dx.checked("dx", dy.of(), of.len()).into(),
        accumulate.into(),
    ];
    each_strip(of, dy, "global_avg_pool_backward", &args)
}
