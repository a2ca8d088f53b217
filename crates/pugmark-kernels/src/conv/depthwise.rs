//! Convolution of each channel by itself, and its gradients.
//!
//! Vectors run over the channels. An output pixel's vector is a sum over the taps of an input's times a weight's; some
//! neighbouring pixels' sums stay in registers and share the weights. Channels are taken a cache line at a time, so that its
//! weights and the few rows under the kernel stay in the first-level cache. The gradient of the input is the convolution of
//! the output's gradient with the flipped kernel.

use std::ops::Range;

use rayon::prelude::*;

use super::element::{ConvElement, ConvKernels};
use crate::Isa;
use crate::parallel::{Shared, zero_border};
use crate::plane::{GradientTarget, Plane, check, check_len};
use crate::simd::{Simd, per_isa};

/// Channels whose weights lie together: a cache line of f32.
const LINE: usize = 16;
/// Rows of a task: their inputs stay in the second-level cache.
const ROWS: usize = 8;
/// Pixels whose sums are in registers together.
const RUN: usize = 8;
/// Partial gradients of the weights, at most.
const MAX_SPLITS: usize = 32;

/// A depthwise convolution with a square kernel: `torch.nn.Conv2d` with as many groups as channels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DepthwiseShape {
    /// Side of the kernel, in pixels.
    pub kernel: usize,
    /// Step between neighbouring outputs, in input pixels, in both directions.
    pub stride: usize,
    /// Zero pixels assumed on each of the four sides of the input; less than the kernel's side.
    pub padding: usize,
    /// Channels of input and output.
    pub channels: usize,
}

impl DepthwiseShape {
    /// Height and width of the output for an input of `height` x `width`; 0 where the kernel does not fit.
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        let size = |input: usize| match (input + 2 * self.padding).checked_sub(self.kernel) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        (size(height), size(width))
    }

    /// The border that the input's plane must have at least.
    pub fn input_border(&self) -> usize {
        self.padding
    }

    /// The border that the plane of the output's gradient must have at least for [`depthwise_backward_data`].
    pub fn gradient_border(&self) -> usize {
        // The gradient of a strided one goes from pixel to pixel and stays inside.
        if self.stride == 1 { (self.kernel - 1).saturating_sub(self.padding) } else { 0 }
    }

    /// Values of the packed weights.
    pub fn packed_len(&self) -> usize {
        self.taps() * self.channels.next_multiple_of(LINE)
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    #[track_caller]
    fn check(&self, input: &Plane, output: &Plane) {
        assert!(self.stride > 0 && self.padding < self.kernel, "shape: {self:?}");
        let channels = input.channels == self.channels && output.channels == self.channels;
        assert!(channels, "planes: {input:?} and {output:?} for {self:?}");
        let size = self.output_size(input.height, input.width);
        assert!(
            (output.height, output.width) == size,
            "output plane: {output:?}, but {self:?} gives {size:?}"
        );
    }
}

/// Packs weights `[kh][kw][channels]` for [`depthwise_forward`].
pub fn depthwise_pack(s: &DepthwiseShape, weights: &[f32], packed: &mut [f32]) {
    pack(s, weights, false, packed);
}

/// Packs weights `[kh][kw][channels]` for [`depthwise_backward_data`].
pub fn depthwise_pack_backward(s: &DepthwiseShape, weights: &[f32], packed: &mut [f32]) {
    pack(s, weights, s.stride == 1, packed);
}

/// `[line of channels][tap][16]`, zero where there is no such channel.
fn pack(s: &DepthwiseShape, weights: &[f32], flipped: bool, packed: &mut [f32]) {
    check_len("weights", weights.len(), s.taps() * s.channels);
    check_len("packed", packed.len(), s.packed_len());
    packed.fill(0.0);
    for (line, packed) in packed.chunks_exact_mut(s.taps() * LINE).enumerate() {
        let channels = line * LINE..s.channels.min((line + 1) * LINE);
        for (tap, packed) in packed.chunks_exact_mut(LINE).enumerate() {
            let from = if flipped { s.taps() - 1 - tap } else { tap } * s.channels;
            let weights = &weights[from + channels.start..from + channels.end];
            packed[..weights.len()].copy_from_slice(weights);
        }
    }
}

/// `y := conv(x) + bias`; writes the border of `y` too.
///
/// `xp` needs a border of at least [`DepthwiseShape::input_border`]; `packed` is [`depthwise_pack`]'s.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn depthwise_forward<E: ConvElement>(
    s: &DepthwiseShape,
    images: usize,
    x: &[E],
    xp: Plane,
    packed: &[f32],
    bias: Option<&[f32]>,
    y: &mut [E],
    yp: Plane,
) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_len("packed", packed.len(), s.packed_len());
    s.check(&xp, &yp);
    assert!(xp.border >= s.padding, "x: border below the padding: {xp:?} for {s:?}");
    if let Some(bias) = bias {
        check_len("bias", bias.len(), s.channels);
    }
    zero_border(y, yp);
    let start = (xp.border - s.padding) * (xp.row_pitch() + xp.channels);
    Sums {
        s,
        images,
        x,
        xp,
        start,
        stride: s.stride,
        packed,
        bias,
        y: Shared::new(y),
        yp,
        accumulate: false,
    }
    .run();
}

/// Gradient with respect to the input: `dx :=`, or `+=` when accumulating.
///
/// `dyp` needs a border of at least [`DepthwiseShape::gradient_border`]; `packed` is [`depthwise_pack_backward`]'s.
pub fn depthwise_backward_data<E: ConvElement>(
    s: &DepthwiseShape,
    images: usize,
    dy: &[E],
    dyp: Plane,
    packed: &[f32],
    dx: GradientTarget<'_, E>,
) {
    let GradientTarget { gradient: dx, plane: dxp, accumulate } = dx;
    check("dy", dy.len(), images, &dyp);
    check("dx", dx.len(), images, &dxp);
    check_len("packed", packed.len(), s.packed_len());
    s.check(&dxp, &dyp);
    assert!(dyp.border >= s.gradient_border(), "dy: {s:?} needs a border: {dyp:?}");
    if !accumulate {
        zero_border(dx, dxp);
    }
    // For stride 1, of the padding that makes the sizes fit.
    let start = (dyp.border - s.gradient_border()) * (dyp.row_pitch() + dyp.channels);
    let dx = Shared::new(dx);
    Sums { s, images, x: dy, xp: dyp, start, stride: 1, packed, bias: None, y: dx, yp: dxp, accumulate }
        .run();
}

/// Gradient with respect to the weights, `[kh][kw][channels]`: `dw :=` the sum over the images.
///
/// `xp` needs a border of at least [`DepthwiseShape::input_border`], `dyp` any.
pub fn depthwise_backward_weight<E: ConvElement>(
    s: &DepthwiseShape,
    images: usize,
    x: &[E],
    xp: Plane,
    dy: &[E],
    dyp: Plane,
    dw: &mut [f32],
) {
    check("x", x.len(), images, &xp);
    check("dy", dy.len(), images, &dyp);
    check_len("dw", dw.len(), s.taps() * s.channels);
    s.check(&xp, &dyp);
    assert!(xp.border >= s.padding, "x: border below the padding: {xp:?} for {s:?}");
    if images * dyp.pixels() * s.channels == 0 {
        dw.fill(0.0);
        return;
    }
    let job = Products { s, x, xp, dy, dyp };
    let blocks = images * dyp.height.div_ceil(ROWS);
    let split_blocks = blocks.div_ceil(MAX_SPLITS);
    let len = s.packed_len();
    let mut partial = vec![0f32; blocks.div_ceil(split_blocks) * len];
    let isa = Isa::active();
    partial.par_chunks_mut(len).enumerate().for_each(|(split, partial)| {
        let blocks = split * split_blocks..blocks.min((split + 1) * split_blocks);
        // SAFETY: the machine has what `isa` says, planes and lengths are checked.
        unsafe { products(isa, &job, blocks, partial) };
    });
    for (tap, dw) in dw.chunks_exact_mut(s.channels).enumerate() {
        for (channel, dw) in dw.iter_mut().enumerate() {
            let at = (channel / LINE * s.taps() + tap) * LINE + channel % LINE;
            *dw = partial.chunks_exact(len).map(|part| f64::from(part[at])).sum::<f64>() as f32;
        }
    }
}

/// Rows of an image, [`ROWS`] or fewer.
fn rows(block: usize, p: &Plane) -> (usize, Range<usize>) {
    let blocks = p.height.div_ceil(ROWS);
    let first = block % blocks * ROWS;
    (block / blocks, first..p.height.min(first + ROWS))
}

/// What a task of [`depthwise_forward`] or [`depthwise_backward_data`] computes: `y` from `x`.
struct Sums<'a, E> {
    s: &'a DepthwiseShape,
    images: usize,
    x: &'a [E],
    xp: Plane,
    /// Where the inputs of an image's first pixel start.
    start: usize,
    /// From output to output. The gradient of a strided convolution has 1 here and the shape's own on its way.
    stride: usize,
    packed: &'a [f32],
    bias: Option<&'a [f32]>,
    y: Shared<'a, E>,
    yp: Plane,
    accumulate: bool,
}

impl<E: ConvElement> Sums<'_, E> {
    fn run(&self) {
        let isa = Isa::active();
        if self.yp.pixels() * self.s.channels == 0 {
            return;
        }
        let strided_gradient = self.stride != self.s.stride;
        (0..self.images * self.yp.height.div_ceil(ROWS)).into_par_iter().for_each(|block| {
            // SAFETY: the machine has what `isa` says, planes and lengths are checked, blocks have rows of their own.
            unsafe {
                match strided_gradient {
                    true => strided_gradient_block(isa, self, block),
                    false => sums_block(isa, self, block),
                }
            }
        });
    }

    fn bias(&self, channel: usize, n: usize) -> &[f32] {
        self.bias.map_or(&[], |bias| &bias[channel..channel + n])
    }
}

per_isa! {
    /// # Safety
    /// The machine has the instruction set, slices and planes fit, and no other task has the same block.
    unsafe fn sums_block<S: Simd; E: ConvElement>(job: &Sums<'_, E>, block: usize) {
        let (xp, yp) = (&job.xp, &job.yp);
        let (image, rows) = rows(block, yp);
        // Runs of equal length where that works out.
        let run = if !yp.width.is_multiple_of(8) && yp.width.is_multiple_of(7) { 7 } else { RUN };
        for first in (0..job.s.channels).step_by(LINE) {
            let end = job.s.channels.min(first + LINE);
            for y in rows.clone() {
                let input = image * xp.len() + job.start + y * job.stride * xp.row_pitch();
                let mut x = 0;
                while x < yp.width {
                    let len = match yp.width - x {
                        left if left >= run => run,
                        left if left >= 4 => 4,
                        _ => 1,
                    };
                    for channel in (first..end).step_by(S::LANES) {
                        let n = S::LANES.min(end - channel);
                        // SAFETY: the caller's promise: the inputs of every output are inside the padded images.
                        unsafe {
                            let input = job.x.as_ptr().add(input + x * job.stride * xp.channels + channel);
                            let weights = job.packed.as_ptr().add(first * job.s.taps() + channel - first);
                            let output = job.y.at(image * yp.len() + yp.offset(y, x) + channel);
                            match (len, n == S::LANES) {
                                (8, true) => pixels::<S, E, 8>(job, input, weights, output, channel, S::LANES),
                                (7, true) => pixels::<S, E, 7>(job, input, weights, output, channel, S::LANES),
                                (4, true) => pixels::<S, E, 4>(job, input, weights, output, channel, S::LANES),
                                (1, true) => pixels::<S, E, 1>(job, input, weights, output, channel, S::LANES),
                                _ => {
                                    for pixel in 0..len {
                                        let input = input.add(pixel * job.stride * xp.channels);
                                        let output = output.add(pixel * yp.channels);
                                        pixels::<S, E, 1>(job, input, weights, output, channel, n);
                                    }
                                }
                            }
                        }
                    }
                    x += len;
                }
            }
        }
    }
}

/// `N` neighbouring outputs of `n` channels.
///
/// # Safety
/// As for [`sums_block`]; the pointers are to the first tap's input and weight and to the first output.
#[inline(always)]
unsafe fn pixels<S: Simd, E: ConvElement, const N: usize>(
    job: &Sums<'_, E>,
    input: *const E,
    weights: *const f32,
    output: *mut E,
    channel: usize,
    n: usize,
) {
    let (kernel, pixel) = (job.s.kernel, job.xp.channels);
    let step = job.stride * pixel;
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = [first_sum::<S>(job.bias(channel, n)); N];
        let mut weights = weights;
        for ky in 0..kernel {
            let mut input = input.add(ky * job.xp.row_pitch());
            for _ in 0..kernel {
                let weight = S::load(weights);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = S::mul_add(E::load::<S>(input.add(i * step), n), weight, *sum);
                }
                weights = weights.add(LINE);
                input = input.wrapping_add(pixel);
            }
        }
        for (i, &sum) in sums.iter().enumerate() {
            store::<S, E>(output.add(i * job.yp.channels), sum, n, job.accumulate);
        }
    }
}

/// The bias, or zero.
///
/// # Safety
/// The machine has the instruction set.
#[inline(always)]
unsafe fn first_sum<S: Simd>(bias: &[f32]) -> S::V {
    // SAFETY: the caller's promise; as many values are read as there are.
    unsafe {
        match bias.len() {
            0 => S::splat(0.0),
            n if n == S::LANES => S::load(bias.as_ptr()),
            n => S::load_partial(bias.as_ptr(), n),
        }
    }
}

/// # Safety
/// As for [`ConvKernels::store`].
#[inline(always)]
unsafe fn store<S: Simd, E: ConvKernels>(at: *mut E, mut value: S::V, n: usize, accumulate: bool) {
    // SAFETY: the caller's promise.
    unsafe {
        if accumulate {
            value = S::add(value, E::load::<S>(at, n));
        }
        E::store::<S>(at, value, n);
    }
}

per_isa! {
    /// Pixel by pixel, from the outputs whose windows hold it. `x` is the output's gradient, `y` the input's.
    ///
    /// # Safety
    /// As for [`sums_block`].
    unsafe fn strided_gradient_block<S: Simd; E: ConvElement>(job: &Sums<'_, E>, block: usize) {
        let (s, dyp, dxp) = (job.s, &job.xp, &job.yp);
        let (image, rows) = rows(block, dxp);
        for y in rows {
            for x in 0..dxp.width {
                for channel in (0..s.channels).step_by(S::LANES) {
                    let n = S::LANES.min(s.channels - channel);
                    let line = channel / LINE * LINE;
                    // SAFETY: the caller's promise; outputs outside are left out.
                    unsafe {
                        let mut sum = S::splat(0.0);
                        for (ky, oy) in windows(s, y, dyp.height) {
                            for (kx, ox) in windows(s, x, dyp.width) {
                                let at = image * dyp.len() + dyp.offset(oy, ox) + channel;
                                let tap = (ky * s.kernel + kx) * LINE + channel - line;
                                let weight = S::load(job.packed.as_ptr().add(line * s.taps() + tap));
                                sum = S::mul_add(E::load::<S>(job.x.as_ptr().add(at), n), weight, sum);
                            }
                        }
                        let output = job.y.at(image * dxp.len() + dxp.offset(y, x) + channel);
                        store::<S, E>(output, sum, n, job.accumulate);
                    }
                }
            }
        }
    }
}

/// The taps through which input pixel `i` meets outputs, with those outputs, below `size`.
#[inline(always)]
fn windows(s: &DepthwiseShape, i: usize, size: usize) -> impl Iterator<Item = (usize, usize)> {
    let (stride, kernel, at) = (s.stride, s.kernel, i + s.padding);
    (at % stride..kernel.min(at + 1))
        .step_by(stride)
        .map(move |tap| (tap, (at - tap) / stride))
        .filter(move |&(_, output)| output < size)
}

/// What the gradient of the weights is made of.
struct Products<'a, E> {
    s: &'a DepthwiseShape,
    x: &'a [E],
    xp: Plane,
    dy: &'a [E],
    dyp: Plane,
}

per_isa! {
    /// Adds the products of some blocks of rows to packed gradients.
    ///
    /// # Safety
    /// The machine has the instruction set, slices and planes fit.
    unsafe fn products<S: Simd; E: ConvElement>(job: &Products<'_, E>, blocks: Range<usize>, dw: &mut [f32]) {
        let (s, xp, dyp) = (job.s, &job.xp, &job.dyp);
        for block in blocks {
            let (image, rows) = rows(block, dyp);
            let input = image * xp.len() + (xp.border - s.padding) * (xp.row_pitch() + xp.channels);
            for channel in (0..s.channels).step_by(S::LANES) {
                let line = channel / LINE * LINE;
                let dw = &mut dw[line * s.taps() + channel - line..];
                let n = S::LANES.min(s.channels - channel);
                let input = input + channel;
                let output = image * dyp.len() + channel;
                for ky in (0..s.kernel).step_by(if s.kernel == 3 { 3 } else { 1 }) {
                    let input = input + ky * xp.row_pitch();
                    let dw = &mut dw[ky * s.kernel * LINE..];
                    // SAFETY: the caller's promise: every tap's input is inside the padded images.
                    unsafe {
                        match s.kernel {
                            7 => taps::<S, E, 7, 1>(job, input, output, rows.clone(), n, dw),
                            5 => taps::<S, E, 5, 1>(job, input, output, rows.clone(), n, dw),
                            3 => taps::<S, E, 3, 3>(job, input, output, rows.clone(), n, dw),
                            kernel => {
                                for kx in 0..kernel {
                                    let input = input + kx * xp.channels;
                                    let dw = &mut dw[kx * LINE..];
                                    taps::<S, E, 1, 1>(job, input, output, rows.clone(), n, dw);
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Adds the products of `K` neighbouring taps in each of `R` kernel rows; `input` is where the first output's input under
/// the first of them lies, `output` the image's channel.
///
/// # Safety
/// As for [`products`]; `n` is at most the number of lanes.
#[inline(always)]
unsafe fn taps<S: Simd, E: ConvElement, const K: usize, const R: usize>(
    job: &Products<'_, E>,
    input: usize,
    output: usize,
    rows: Range<usize>,
    n: usize,
    dw: &mut [f32],
) {
    let (s, xp, dyp) = (job.s, &job.xp, &job.dyp);
    let (row, pixel) = (xp.row_pitch(), xp.channels);
    // SAFETY: the caller's promise; the last tap's vector is inside `dw`, which is whole lines.
    unsafe {
        let mut sums = [[S::splat(0.0); K]; R];
        for y in rows {
            let mut x = job.x.as_ptr().add(input + y * s.stride * row);
            let mut dy = job.dy.as_ptr().add(output + dyp.offset(y, 0));
            let mut left = dyp.width;
            // Seven outputs of seven taps share thirteen inputs, where there are registers for them.
            while K == 7 && R == 1 && S::LANES == 16 && n == S::LANES && s.stride == 1 && left >= 7 {
                let mut inputs = [S::splat(0.0); 13];
                for (i, input) in inputs.iter_mut().enumerate() {
                    *input = E::load::<S>(x.add(i * pixel), S::LANES);
                }
                for i in 0..7 {
                    let gradient = E::load::<S>(dy.add(i * dyp.channels), S::LANES);
                    for (sum, &input) in sums[0].iter_mut().zip(&inputs[i..]) {
                        *sum = S::mul_add(input, gradient, *sum);
                    }
                }
                x = x.wrapping_add(7 * pixel);
                dy = dy.wrapping_add(7 * dyp.channels);
                left -= 7;
            }
            for _ in 0..left {
                let gradient = E::load::<S>(dy, n);
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (k, sum) in sums.iter_mut().enumerate() {
                        *sum = S::mul_add(E::load::<S>(x.add(r * row + k * pixel), n), gradient, *sum);
                    }
                }
                x = x.wrapping_add(s.stride * pixel);
                dy = dy.wrapping_add(dyp.channels);
            }
        }
        assert!(dw.len() >= ((R - 1) * s.kernel + K - 1) * LINE + S::LANES, "dw: too short");
        for (r, sums) in sums.iter().enumerate() {
            for (k, &sum) in sums.iter().enumerate() {
                let at = dw.as_mut_ptr().add((r * s.kernel + k) * LINE);
                S::store(at, S::add(S::load(at), sum));
            }
        }
    }
}
