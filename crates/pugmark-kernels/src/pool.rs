//! Pooling.

use crate::elementwise::{row, rows};
use crate::plane::{Plane, check, check_len};

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

    /// The input rows (or columns) that output `o` sees of `size`, with their tap.
    fn taps(&self, o: usize, size: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (kernel, start, padding) = (self.kernel, o * self.stride, self.padding);
        (0..kernel).filter_map(move |k| {
            let i = (start + k).checked_sub(padding)?;
            (i < size).then_some((k, i))
        })
    }

    #[track_caller]
    fn check(&self, xp: &Plane, yp: &Plane) {
        assert!(
            self.stride > 0 && (1..=16).contains(&self.kernel) && 2 * self.padding <= self.kernel,
            "pool shape: {self:?}"
        );
        let (height, width) = self.output_size(xp.height, xp.width);
        assert_eq!((yp.height, yp.width, yp.channels), (height, width, xp.channels), "yp: {self:?} of {xp:?}");
    }
}

/// `y :=` the maximum over each window; the first maximum wins and a NaN wins over all, as in PyTorch.
///
/// `argmax`, if given (`[images][pixels of y][channels]`), receives the index `ky * kernel + kx` of the winner.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn max_pool_forward(
    s: &PoolShape,
    images: usize,
    x: &[f32],
    xp: Plane,
    y: &mut [f32],
    yp: Plane,
    mut argmax: Option<&mut [u8]>,
) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    s.check(&xp, &yp);
    if let Some(argmax) = &argmax {
        check_len("argmax", argmax.len(), images * yp.pixels() * yp.channels);
    }
    rows(images, y, yp, &mut |y, n, oy| {
        for (i, y) in y.iter_mut().enumerate() {
            let (ox, c) = (i / yp.channels, i % yp.channels);
            let (mut best, mut tap) = (f32::NEG_INFINITY, None);
            for (ky, iy) in s.taps(oy, xp.height) {
                let x = row(x, &xp, n, iy);
                for (kx, ix) in s.taps(ox, xp.width) {
                    let v = x[ix * xp.channels + c];
                    if tap.is_none() || v > best || v.is_nan() {
                        (best, tap) = (v, Some(ky * s.kernel + kx));
                    }
                }
            }
            *y = best;
            if let Some(argmax) = &mut argmax {
                argmax[(n * yp.height + oy) * yp.row_len() + i] = tap.unwrap_or(0) as u8;
            }
        }
    });
}

/// `dx :=` each output's gradient at the input that won; zeroes the border of `dx`.
#[expect(clippy::too_many_arguments, reason = "tensors with their planes")]
pub fn max_pool_backward(
    s: &PoolShape,
    images: usize,
    dy: &[f32],
    dyp: Plane,
    argmax: &[u8],
    dx: &mut [f32],
    dxp: Plane,
) {
    check("dy", dy.len(), images, &dyp);
    check("dx", dx.len(), images, &dxp);
    s.check(&dxp, &dyp);
    check_len("argmax", argmax.len(), images * dyp.pixels() * dyp.channels);
    dx.fill(0.0);
    for n in 0..images {
        for oy in 0..dyp.height {
            for (i, &dy) in row(dy, &dyp, n, oy).iter().enumerate() {
                let (ox, c) = (i / dyp.channels, i % dyp.channels);
                let tap = usize::from(argmax[(n * dyp.height + oy) * dyp.row_len() + i]);
                let iy = oy * s.stride + tap / s.kernel - s.padding;
                let ix = ox * s.stride + tap % s.kernel - s.padding;
                dx[n * dxp.len() + dxp.offset(iy, ix) + c] += dy;
            }
        }
    }
}

/// `y[image][channel] :=` the mean over the image's pixels.
pub fn global_avg_pool_forward(images: usize, x: &[f32], xp: Plane, y: &mut [f32]) {
    check("x", x.len(), images, &xp);
    check_len("y", y.len(), images * xp.channels);
    for (n, y) in y.chunks_exact_mut(xp.channels).enumerate() {
        y.fill(0.0);
        for r in 0..xp.height {
            for (i, &x) in row(x, &xp, n, r).iter().enumerate() {
                y[i % xp.channels] += x;
            }
        }
        for y in y {
            *y /= xp.pixels() as f32;
        }
    }
}

/// `dx := dy[image][channel] / pixels` for each pixel; zeroes the border of `dx`.
pub fn global_avg_pool_backward(images: usize, dy: &[f32], dx: &mut [f32], dxp: Plane) {
    check("dx", dx.len(), images, &dxp);
    check_len("dy", dy.len(), images * dxp.channels);
    rows(images, dx, dxp, &mut |dx, n, _| {
        for (i, dx) in dx.iter_mut().enumerate() {
            *dx = dy[n * dxp.channels + i % dxp.channels] / dxp.pixels() as f32;
        }
    });
}
