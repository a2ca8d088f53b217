//! Kernels that treat every value by itself.

use crate::plane::{Plane, check, check_interior};

/// Calls `f(offset in y, image, row)` for each interior row, after zeroing `y`'s border.
pub(crate) fn rows(images: usize, y: &mut [f32], yp: Plane, f: &mut dyn FnMut(&mut [f32], usize, usize)) {
    for n in 0..images {
        for row in 0..yp.padded_height() {
            let at = n * yp.len() + row * yp.row_pitch();
            let values = &mut y[at..at + yp.row_pitch()];
            if row < yp.border || row >= yp.border + yp.height {
                values.fill(0.0);
                continue;
            }
            let edge = yp.border * yp.channels;
            values[..edge].fill(0.0);
            values[edge + yp.row_len()..].fill(0.0);
            f(&mut values[edge..edge + yp.row_len()], n, row - yp.border);
        }
    }
}

/// The interior row `y` of an image.
pub(crate) fn row<'a>(x: &'a [f32], p: &Plane, image: usize, y: usize) -> &'a [f32] {
    let at = image * p.len() + p.offset(y, 0);
    &x[at..at + p.row_len()]
}

/// `y := max(x, 0)`.
pub fn relu_forward(images: usize, x: &[f32], xp: Plane, y: &mut [f32], yp: Plane) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    rows(images, y, yp, &mut |y, n, r| {
        for (y, &x) in y.iter_mut().zip(row(x, &xp, n, r)) {
            *y = x.max(0.0);
        }
    });
}

/// `dx :=` (or `+=` when `accumulate`) `dy` where the output `y` of the ReLU is positive.
#[expect(clippy::too_many_arguments, reason = "three tensors with their planes")]
pub fn relu_backward(
    images: usize,
    dy: &[f32],
    dyp: Plane,
    y: &[f32],
    yp: Plane,
    dx: &mut [f32],
    dxp: Plane,
    accumulate: bool,
) {
    check("dy", dy.len(), images, &dyp);
    check("y", y.len(), images, &yp);
    check("dx", dx.len(), images, &dxp);
    check_interior("dy", &dyp, &dxp);
    check_interior("y", &yp, &dxp);
    rows(images, dx, dxp, &mut |dx, n, r| {
        for ((dx, &dy), &y) in dx.iter_mut().zip(row(dy, &dyp, n, r)).zip(row(y, &yp, n, r)) {
            let g = if y > 0.0 { dy } else { 0.0 };
            *dx = if accumulate { *dx + g } else { g };
        }
    });
}

/// `y := a + b`, then ReLU if asked for.
#[expect(clippy::too_many_arguments, reason = "three tensors with their planes")]
pub fn add_forward(
    images: usize,
    a: &[f32],
    ap: Plane,
    b: &[f32],
    bp: Plane,
    relu: bool,
    y: &mut [f32],
    yp: Plane,
) {
    check("a", a.len(), images, &ap);
    check("b", b.len(), images, &bp);
    check("y", y.len(), images, &yp);
    check_interior("a", &ap, &yp);
    check_interior("b", &bp, &yp);
    rows(images, y, yp, &mut |y, n, r| {
        for ((y, &a), &b) in y.iter_mut().zip(row(a, &ap, n, r)).zip(row(b, &bp, n, r)) {
            *y = if relu { (a + b).max(0.0) } else { a + b };
        }
    });
}

/// `dst += src`; the border of `dst` stays as it is.
pub fn accumulate(images: usize, src: &[f32], sp: Plane, dst: &mut [f32], dp: Plane) {
    check("src", src.len(), images, &sp);
    check("dst", dst.len(), images, &dp);
    check_interior("src", &sp, &dp);
    rows(images, dst, dp, &mut |dst, n, r| {
        for (dst, &src) in dst.iter_mut().zip(row(src, &sp, n, r)) {
            *dst += src;
        }
    });
}

/// `dst := src`, with another border.
pub fn copy_plane(images: usize, src: &[f32], sp: Plane, dst: &mut [f32], dp: Plane) {
    check("src", src.len(), images, &sp);
    check("dst", dst.len(), images, &dp);
    check_interior("src", &sp, &dp);
    rows(images, dst, dp, &mut |dst, n, r| dst.copy_from_slice(row(src, &sp, n, r)));
}

/// `y := (pixel / 255 - mean) / std` per channel; `pixels` is NHWC without a border.
pub fn input_from_u8(images: usize, pixels: &[u8], mean: &[f32], std: &[f32], y: &mut [f32], yp: Plane) {
    check("y", y.len(), images, &yp);
    assert_eq!(pixels.len(), images * yp.pixels() * yp.channels, "pixels");
    assert_eq!(mean.len(), yp.channels, "mean");
    assert_eq!(std.len(), yp.channels, "std");
    rows(images, y, yp, &mut |y, n, r| {
        let at = (n * yp.height + r) * yp.row_len();
        for (i, (y, &p)) in y.iter_mut().zip(&pixels[at..at + yp.row_len()]).enumerate() {
            let c = i % yp.channels;
            *y = (f32::from(p) / 255.0 - mean[c]) / std[c];
        }
    });
}

/// `y := x / (1 - p)` with probability `1 - p`, else 0; which it is depends on (`seed`, index) alone, so that the
/// backward pass is the same call on the gradient.
pub fn dropout(seed: u64, p: f32, x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "y");
    assert!((0.0..1.0).contains(&p), "p: {p} is not in [0, 1)");
    let threshold = (f64::from(p) * (1u64 << 32) as f64) as u64;
    for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
        // SplitMix64 (Steele, Lea and Flood, 2014) at position i of the seed's stream.
        let mut z = seed.wrapping_add((i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        *y = if z >> 32 >= threshold { x / (1.0 - p) } else { 0.0 };
    }
}
