//! Pooling.

use std::hint::select_unpredictable;
use std::ops::Range;

use rayon::prelude::*;

use crate::Isa;
use crate::element::Element;
use crate::parallel::{for_each_chunk, row, write_rows, zero_border};
use crate::plane::{Plane, check, check_len};
use crate::simd::multiversion;

/// A max pooling, without dilation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolShape {
    /// Height and width of the window; at most 16.
    pub kernel: usize,
    /// Step between neighbouring windows.
    pub stride: usize,
    /// Pixels of minus infinity assumed on each side; at most half the kernel.
    pub padding: usize,
}

impl PoolShape {
    /// Height and width of the output for an input of `height` x `width`; 0 where the window does not fit.
    pub fn output_size(&self, height: usize, width: usize) -> (usize, usize) {
        let size = |input: usize| match (input + 2 * self.padding).checked_sub(self.kernel) {
            Some(room) => room / self.stride + 1,
            None => 0,
        };
        (size(height), size(width))
    }

    /// The taps of output `o` that lie inside an input of `size` rows (or columns).
    fn taps(&self, o: usize, size: usize) -> Range<usize> {
        let first = o * self.stride;
        self.padding.saturating_sub(first)..self.kernel.min((size + self.padding).saturating_sub(first))
    }

    /// The outputs, of `size` rows (or columns), whose windows hold input `i`.
    fn windows(&self, i: usize, size: usize) -> Range<usize> {
        let i = i + self.padding;
        (i + 1).saturating_sub(self.kernel).div_ceil(self.stride)..size.min(i / self.stride + 1)
    }

    #[track_caller]
    fn check(&self, xp: &Plane, yp: &Plane) {
        assert!(
            self.stride > 0 && (1..=16).contains(&self.kernel) && 2 * self.padding <= self.kernel,
            "pool shape: {self:?}"
        );
        let (height, width) = self.output_size(xp.height, xp.width);
        assert_eq!(
            (yp.height, yp.width, yp.channels),
            (height, width, xp.channels),
            "yp: {self:?} of {xp:?}"
        );
    }
}

/// Channels whose maxima, and where asked for their winners, are kept at a time: of 32 with winners, LLVM keeps only some in
/// registers.
const TRACKED_BLOCK: usize = 16;
const PLAIN_BLOCK: usize = 32;

/// The maxima `y` and their taps of `n` channels from `first` on of one output; `x` is an image, the taps are those inside it.
///
/// The accumulators are arrays of their own because LLVM makes a choice between a value and what its place in memory
/// holds a masked store: six times slower on a Zen 3.
#[expect(clippy::too_many_arguments, reason = "part of a pixel with what surrounds it")]
#[inline(always)]
fn max_pool_tracked<E: Element>(
    s: &PoolShape,
    x: &[E],
    xp: &Plane,
    (oy, rows): (usize, Range<usize>),
    (ox, columns): (usize, Range<usize>),
    first: usize,
    n: usize,
    y: &mut [E],
    argmax: &mut [u8],
) {
    let (mut best, mut winners) =
        ([f32::NEG_INFINITY; TRACKED_BLOCK], [(rows.start * s.kernel + columns.start) as u32; TRACKED_BLOCK]);
    let (best, winners) = (&mut best[..n], &mut winners[..n]);
    for ky in rows {
        for kx in columns.clone() {
            let (iy, ix) = (oy * s.stride + ky - s.padding, ox * s.stride + kx - s.padding);
            let tap = (ky * s.kernel + kx) as u32;
            let x = &x[xp.offset(iy, ix) + first..][..n];
            for ((best, winner), &x) in best.iter_mut().zip(&mut *winners).zip(x) {
                let x = x.to_f32();
                let wins = (x > *best) | x.is_nan();
                *best = select_unpredictable(wins, x, *best);
                *winner = select_unpredictable(wins, tap, *winner);
            }
        }
    }
    for (y, &best) in y[..n].iter_mut().zip(&*best) {
        *y = E::from_f32(best);
    }
    for (argmax, &winner) in argmax[..n].iter_mut().zip(&*winners) {
        *argmax = winner as u8;
    }
}

/// As [`max_pool_tracked`], the maxima alone.
#[expect(clippy::too_many_arguments, reason = "part of a pixel with what surrounds it")]
#[inline(always)]
fn max_pool_plain<E: Element>(
    s: &PoolShape,
    x: &[E],
    xp: &Plane,
    (oy, rows): (usize, Range<usize>),
    (ox, columns): (usize, Range<usize>),
    first: usize,
    n: usize,
    y: &mut [E],
) {
    let mut best = [E::from_f32(f32::NEG_INFINITY).key(); PLAIN_BLOCK];
    let best = &mut best[..n];
    for ky in rows {
        for kx in columns.clone() {
            let (iy, ix) = (oy * s.stride + ky - s.padding, ox * s.stride + kx - s.padding);
            let x = &x[xp.offset(iy, ix) + first..][..n];
            for (best, &x) in best.iter_mut().zip(x) {
                *best = x.key().max(*best);
            }
        }
    }
    for (y, &best) in y[..n].iter_mut().zip(&*best) {
        *y = E::of_key(best);
    }
}

multiversion! {
    /// Row `oy` of the output; `x` is an image, `argmax` the row's or empty.
    fn max_pool_row<E: Element>(
        s: &PoolShape,
        x: &[E],
        xp: &Plane,
        oy: usize,
        y: &mut [E],
        argmax: &mut [u8],
    ) {
        let rows = (oy, s.taps(oy, xp.height));
        for (ox, y) in y.chunks_exact_mut(xp.channels).enumerate() {
            let columns = (ox, s.taps(ox, xp.width));
            // A number of channels that the compiler knows keeps the accumulators in registers.
            if argmax.is_empty() {
                for (block, y) in y.chunks_mut(PLAIN_BLOCK).enumerate() {
                    let (rows, columns, first) = (rows.clone(), columns.clone(), block * PLAIN_BLOCK);
                    match y.len() {
                        PLAIN_BLOCK => max_pool_plain(s, x, xp, rows, columns, first, PLAIN_BLOCK, y),
                        n => max_pool_plain(s, x, xp, rows, columns, first, n, y),
                    }
                }
            } else {
                for (block, y) in y.chunks_mut(TRACKED_BLOCK).enumerate() {
                    let (rows, columns, first) = (rows.clone(), columns.clone(), block * TRACKED_BLOCK);
                    let n = y.len();
                    let argmax = &mut argmax[ox * xp.channels + first..][..n];
                    if n == TRACKED_BLOCK {
                        max_pool_tracked(s, x, xp, rows, columns, first, TRACKED_BLOCK, y, argmax);
                    } else {
                        max_pool_tracked(s, x, xp, rows, columns, first, n, y, argmax);
                    }
                }
            }
        }
    }
}

/// Channels whose gradients are kept at a time.
const BACKWARD_BLOCK: usize = 64;

/// The gradient `dx` of `n` channels from `first` on of pixel (`iy`, `ix`), from the outputs whose windows hold it;
/// `dy` and `argmax` are an image's.
#[expect(clippy::too_many_arguments, reason = "part of a pixel with what surrounds it")]
#[inline(always)]
fn max_pool_backward_block<E: Element>(
    s: &PoolShape,
    dy: &[E],
    dyp: &Plane,
    argmax: &[u8],
    (iy, oys): (usize, Range<usize>),
    (ix, oxs): (usize, Range<usize>),
    first: usize,
    n: usize,
    dx: &mut [E],
) {
    let mut sums = [0f32; BACKWARD_BLOCK];
    let sums = &mut sums[..n];
    for oy in oys {
        for ox in oxs.clone() {
            let (ky, kx) = (iy + s.padding - oy * s.stride, ix + s.padding - ox * s.stride);
            let tap = (ky * s.kernel + kx) as u8;
            let dy = &dy[dyp.offset(oy, ox) + first..][..n];
            let argmax = &argmax[(oy * dyp.width + ox) * dyp.channels + first..][..n];
            for ((sum, &dy), &argmax) in sums.iter_mut().zip(dy).zip(argmax) {
                *sum += select_unpredictable(argmax == tap, dy.to_f32(), 0.0);
            }
        }
    }
    for (dx, &sum) in dx[..n].iter_mut().zip(&*sums) {
        *dx = E::from_f32(sum);
    }
}

multiversion! {
    /// Row `iy` of the input's gradient; `dy` and `argmax` are an image's, `windows` those that hold each column.
    #[expect(clippy::too_many_arguments, reason = "a row with what surrounds it")]
    fn max_pool_backward_row<E: Element>(
        s: &PoolShape,
        dy: &[E],
        dyp: &Plane,
        argmax: &[u8],
        iy: usize,
        windows: &[Range<usize>],
        dx: &mut [E],
    ) {
        let rows = (iy, s.windows(iy, dyp.height));
        for (ix, (dx, windows)) in dx.chunks_exact_mut(dyp.channels).zip(windows).enumerate() {
            let columns = (ix, windows.clone());
            for (block, dx) in dx.chunks_mut(BACKWARD_BLOCK).enumerate() {
                let (rows, columns, first) = (rows.clone(), columns.clone(), block * BACKWARD_BLOCK);
                // As above.
                if dx.len() == BACKWARD_BLOCK {
                    max_pool_backward_block(s, dy, dyp, argmax, rows, columns, first, BACKWARD_BLOCK, dx);
                } else {
                    let n = dx.len();
                    max_pool_backward_block(s, dy, dyp, argmax, rows, columns, first, n, dx);
                }
            }
        }
    }
}

multiversion! {
    /// The mean of an image; `sums` is room for a pixel.
    fn mean<E: Element>(x: &[E], xp: &Plane, sums: &mut [f32], y: &mut [E]) {
        for r in 0..xp.height {
            for pixel in row(x, xp, 0, r).chunks_exact(xp.channels) {
                for (sum, &x) in sums.iter_mut().zip(pixel) {
                    *sum += x.to_f32();
                }
            }
        }
        for (y, &sum) in y.iter_mut().zip(&*sums) {
            *y = E::from_f32(sum / xp.pixels() as f32);
        }
    }
}

multiversion! {
    /// A row of the gradient of an image's means.
    fn mean_backward_row<E: Element>(dy: &[E], pixels: f32, dx: &mut [E]) {
        for dx in dx.chunks_exact_mut(dy.len()) {
            for (dx, &dy) in dx.iter_mut().zip(dy) {
                *dx = E::from_f32(dy.to_f32() / pixels);
            }
        }
    }
}

/// `y :=` the maximum over each window; the first maximum wins and a NaN wins over all, as in PyTorch. Writes
/// `y`'s border too.
///
/// `argmax`, if given (`[images][pixels of y][channels]`), receives the index `ky * kernel + kx` of the
/// winner. Without it the greater of two zeros is the positive one, and of two NaN any may stay.
pub fn max_pool_forward<E: Element>(
    s: &PoolShape,
    images: usize,
    x: &[E],
    xp: Plane,
    y: &mut [E],
    yp: Plane,
    argmax: Option<&mut [u8]>,
) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    s.check(&xp, &yp);
    let isa = Isa::active();
    let Some(argmax) = argmax else {
        write_rows(y, yp, |image, oy, y| max_pool_row(isa, s, &x[image * xp.len()..], &xp, oy, y, &mut []));
        return;
    };
    check_len("argmax", argmax.len(), images * yp.pixels() * yp.channels);
    if argmax.is_empty() {
        y.fill(E::default());
        return;
    }
    zero_border(y, yp);
    let pairs = y.par_chunks_mut(yp.len()).zip(argmax.par_chunks_mut(yp.pixels() * yp.channels));
    pairs.enumerate().for_each(|(image, (y, argmax))| {
        for (oy, argmax) in argmax.chunks_exact_mut(yp.row_len()).enumerate() {
            let at = yp.offset(oy, 0);
            let y = &mut y[at..at + yp.row_len()];
            max_pool_row(isa, s, &x[image * xp.len()..], &xp, oy, y, argmax);
        }
    });
}

/// `dx :=` each output's gradient at the input that won; zeroes the border of `dx`.
pub fn max_pool_backward<E: Element>(
    s: &PoolShape,
    images: usize,
    dy: &[E],
    dyp: Plane,
    argmax: &[u8],
    dx: &mut [E],
    dxp: Plane,
) {
    check("dy", dy.len(), images, &dyp);
    check("dx", dx.len(), images, &dxp);
    s.check(&dxp, &dyp);
    let image_argmax = dyp.pixels() * dyp.channels;
    check_len("argmax", argmax.len(), images * image_argmax);
    let isa = Isa::active();
    // Two divisions each, which cost as much as a pixel's sums.
    let windows: Vec<Range<usize>> = (0..dxp.width).map(|ix| s.windows(ix, dyp.width)).collect();
    write_rows(dx, dxp, |image, iy, dx| {
        let (dy, argmax) = (&dy[image * dyp.len()..], &argmax[image * image_argmax..]);
        max_pool_backward_row(isa, s, dy, &dyp, argmax, iy, &windows, dx);
    });
}

/// `y[image][channel] :=` the mean over the image's pixels.
pub fn global_avg_pool_forward<E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E]) {
    check("x", x.len(), images, &xp);
    check_len("y", y.len(), images * xp.channels);
    let isa = Isa::active();
    for_each_chunk(y, xp.channels.max(1), |image, y| {
        mean(isa, &x[image * xp.len()..], &xp, &mut vec![0.0; xp.channels], y);
    });
}

/// `dx := dy[image][channel] / pixels` for each pixel; zeroes the border of `dx`.
pub fn global_avg_pool_backward<E: Element>(images: usize, dy: &[E], dx: &mut [E], dxp: Plane) {
    check("dx", dx.len(), images, &dxp);
    check_len("dy", dy.len(), images * dxp.channels);
    let (isa, pixels) = (Isa::active(), dxp.pixels() as f32);
    write_rows(dx, dxp, |image, _, dx| {
        mean_backward_row(isa, &dy[image * dxp.channels..][..dxp.channels], pixels, dx);
    });
}
