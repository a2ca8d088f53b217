//! Pooling.

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

/// The larger of two; the first of two equals, and NaN if either is.
#[inline(always)]
fn maximum<E: Element>(first: E, second: E) -> E {
    let larger = if second.to_f32() > first.to_f32() { second } else { first };
    if second.to_f32().is_nan() { second } else { larger }
}

multiversion! {
    /// Row `oy` of the output; `x` is an image.
    fn max_pool_row<E: Element>(s: &PoolShape, x: &[E], xp: &Plane, oy: usize, y: &mut [E]) {
        let rows = s.taps(oy, xp.height);
        for (ox, y) in y.chunks_exact_mut(xp.channels).enumerate() {
            y.fill(E::from_f32(f32::NEG_INFINITY));
            for ky in rows.clone() {
                for kx in s.taps(ox, xp.width) {
                    let (iy, ix) = (oy * s.stride + ky - s.padding, ox * s.stride + kx - s.padding);
                    for (y, &x) in y.iter_mut().zip(&x[xp.offset(iy, ix)..]) {
                        *y = maximum(*y, x);
                    }
                }
            }
        }
    }
}

multiversion! {
    /// As [`max_pool_row`], and writes the winners' taps; `winners` is room for a pixel's.
    #[expect(clippy::too_many_arguments, reason = "a row with what surrounds it")]
    fn max_pool_row_with_winners<E: Element>(
        s: &PoolShape,
        x: &[E],
        xp: &Plane,
        oy: usize,
        y: &mut [E],
        argmax: &mut [u8],
        winners: &mut [u32],
    ) {
        let rows = s.taps(oy, xp.height);
        let pixels = y.chunks_exact_mut(xp.channels).zip(argmax.chunks_exact_mut(xp.channels));
        for (ox, (y, argmax)) in pixels.enumerate() {
            let columns = s.taps(ox, xp.width);
            y.fill(E::from_f32(f32::NEG_INFINITY));
            winners.fill((rows.start * s.kernel + columns.start) as u32);
            for ky in rows.clone() {
                for kx in columns.clone() {
                    let (iy, ix) = (oy * s.stride + ky - s.padding, ox * s.stride + kx - s.padding);
                    let tap = (ky * s.kernel + kx) as u32;
                    let x = &x[xp.offset(iy, ix)..];
                    for ((y, winner), &x) in y.iter_mut().zip(&mut *winners).zip(x) {
                        let wins = (x.to_f32() > y.to_f32()) | x.to_f32().is_nan();
                        *winner = if wins { tap } else { *winner };
                        *y = maximum(*y, x);
                    }
                }
            }
            for (argmax, &winner) in argmax.iter_mut().zip(&*winners) {
                *argmax = winner as u8;
            }
        }
    }
}

/// Channels whose sums are kept in f32 at a time.
const BLOCK: usize = 64;

multiversion! {
    /// Row `iy` of the input's gradient; `dy` and `argmax` are an image's.
    fn max_pool_backward_row<E: Element>(
        s: &PoolShape,
        dy: &[E],
        dyp: &Plane,
        argmax: &[u8],
        iy: usize,
        dx: &mut [E],
    ) {
        let channels = dyp.channels;
        for (ix, dx) in dx.chunks_exact_mut(channels).enumerate() {
            for (block, dx) in dx.chunks_mut(BLOCK).enumerate() {
                let (first, n) = (block * BLOCK, dx.len());
                let mut sums = [0f32; BLOCK];
                for oy in s.windows(iy, dyp.height) {
                    for ox in s.windows(ix, dyp.width) {
                        let (ky, kx) = (iy + s.padding - oy * s.stride, ix + s.padding - ox * s.stride);
                        let tap = (ky * s.kernel + kx) as u8;
                        let dy = &dy[dyp.offset(oy, ox) + first..][..n];
                        let argmax = &argmax[(oy * dyp.width + ox) * channels + first..][..n];
                        for ((sum, &dy), &argmax) in sums.iter_mut().zip(dy).zip(argmax) {
                            *sum += if argmax == tap { dy.to_f32() } else { 0.0 };
                        }
                    }
                }
                for (dx, &sum) in dx.iter_mut().zip(&sums) {
                    *dx = E::from_f32(sum);
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

/// `y :=` the maximum over each window; the first maximum wins and a NaN wins over all, as in PyTorch. Writes
/// `y`'s border too.
///
/// `argmax`, if given (`[images][pixels of y][channels]`), receives the index `ky * kernel + kx` of the
/// winner.
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
        write_rows(y, yp, |image, oy, y| max_pool_row(isa, s, &x[image * xp.len()..], &xp, oy, y));
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
        // As wide as the values, so that the loop over both becomes vectors.
        let mut winners = vec![0u32; xp.channels];
        for (oy, argmax) in argmax.chunks_exact_mut(yp.row_len()).enumerate() {
            let at = yp.offset(oy, 0);
            let y = &mut y[at..at + yp.row_len()];
            max_pool_row_with_winners(isa, s, &x[image * xp.len()..], &xp, oy, y, argmax, &mut winners);
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
    write_rows(dx, dxp, |image, iy, dx| {
        let (dy, argmax) = (&dy[image * dyp.len()..], &argmax[image * image_argmax..]);
        max_pool_backward_row(isa, s, dy, &dyp, argmax, iy, dx);
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
    let pixels = dxp.pixels() as f32;
    write_rows(dx, dxp, |image, _, dx| {
        let dy = &dy[image * dxp.channels..][..dxp.channels];
        for dx in dx.chunks_exact_mut(dxp.channels) {
            for (dx, &dy) in dx.iter_mut().zip(dy) {
                *dx = E::from_f32(dy.to_f32() / pixels);
            }
        }
    });
}
