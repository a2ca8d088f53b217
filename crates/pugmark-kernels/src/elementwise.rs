//! Kernels that treat every value by itself.

use rayon::prelude::*;

use crate::Isa;
use crate::channels::repeated;
use crate::parallel::{GRAIN, for_each_row, row, write_rows};
use crate::plane::{Plane, check, check_interior, check_len};
use crate::simd::multiversion;

/// Negative values become zero, NaN stays.
#[inline(always)]
pub(crate) fn relu(v: f32) -> f32 {
    if v < 0.0 { 0.0 } else { v }
}

/// The gradient behind a ReLU whose output is `y`.
#[inline(always)]
pub(crate) fn masked(dy: f32, y: f32) -> f32 {
    if y <= 0.0 { 0.0 } else { dy }
}

multiversion! {
    fn relu_row(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = relu(x);
        }
    }
}

multiversion! {
    fn relu_backward_row(dy: &[f32], y: &[f32], dx: &mut [f32]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = masked(dy, y);
        }
    }
}

multiversion! {
    fn relu_backward_accumulate_row(dy: &[f32], y: &[f32], dx: &mut [f32]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx += masked(dy, y);
        }
    }
}

multiversion! {
    fn add_row(a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = a + b;
        }
    }
}

multiversion! {
    fn add_relu_row(a: &[f32], b: &[f32], y: &mut [f32]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = relu(a + b);
        }
    }
}

multiversion! {
    fn accumulate_row(src: &[f32], dst: &mut [f32]) {
        for (dst, &src) in dst.iter_mut().zip(src) {
            *dst += src;
        }
    }
}

multiversion! {
    fn dropout_chunk(seed: u64, first: u64, p: f32, x: &[f32], y: &mut [f32]) {
        let threshold = (f64::from(p) * (1u64 << 32) as f64) as u64;
        let scale = 1.0 / (1.0 - p);
        for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
            // SplitMix64 (Steele, Lea and Flood, 2014) at that position of the seed's stream.
            let z = seed.wrapping_add((first + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *y = if (z ^ (z >> 31)) >> 32 >= threshold { x * scale } else { 0.0 };
        }
    }
}

multiversion! {
    fn from_u8_row(pixels: &[u8], mean: &[f32], std: &[f32], y: &mut [f32]) {
        let period = mean.len();
        for (y, pixels) in y.chunks_mut(period).zip(pixels.chunks(period)) {
            for (((y, &p), &mean), &std) in y.iter_mut().zip(pixels).zip(mean).zip(std) {
                *y = (f32::from(p) / 255.0 - mean) / std;
            }
        }
    }
}

/// `y := max(x, 0)`; NaN stays. Writes `y`'s border too.
pub fn relu_forward(images: usize, x: &[f32], xp: Plane, y: &mut [f32], yp: Plane) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    let isa = Isa::active();
    write_rows(y, yp, |image, r, y| relu_row(isa, row(x, &xp, image, r), y));
}

/// `dx :=` (or `+=` when `accumulate`) `dy` where the output `y` of the ReLU is positive; the border of `dx`
/// is zeroed when not accumulating and stays otherwise.
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
    let isa = Isa::active();
    if accumulate {
        for_each_row(dx, dxp, |image, r, dx| {
            relu_backward_accumulate_row(isa, row(dy, &dyp, image, r), row(y, &yp, image, r), dx);
        });
    } else {
        write_rows(dx, dxp, |image, r, dx| {
            relu_backward_row(isa, row(dy, &dyp, image, r), row(y, &yp, image, r), dx);
        });
    }
}

/// `y := a + b`, then ReLU if asked for; writes `y`'s border too.
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
    let isa = Isa::active();
    let add = if relu { add_relu_row } else { add_row };
    write_rows(y, yp, |image, r, y| add(isa, row(a, &ap, image, r), row(b, &bp, image, r), y));
}

/// `dst += src`; the border of `dst` stays.
pub fn accumulate(images: usize, src: &[f32], sp: Plane, dst: &mut [f32], dp: Plane) {
    check("src", src.len(), images, &sp);
    check("dst", dst.len(), images, &dp);
    check_interior("src", &sp, &dp);
    let isa = Isa::active();
    for_each_row(dst, dp, |image, r, dst| accumulate_row(isa, row(src, &sp, image, r), dst));
}

/// `dst := src`, with the border of `dst`'s own plane.
pub fn copy_plane(images: usize, src: &[f32], sp: Plane, dst: &mut [f32], dp: Plane) {
    check("src", src.len(), images, &sp);
    check("dst", dst.len(), images, &dp);
    check_interior("src", &sp, &dp);
    write_rows(dst, dp, |image, r, dst| dst.copy_from_slice(row(src, &sp, image, r)));
}

/// `y := (pixel / 255 - mean) / std` per channel; `pixels` is NHWC without a border. Writes `y`'s border too.
pub fn input_from_u8(images: usize, pixels: &[u8], mean: &[f32], std: &[f32], y: &mut [f32], yp: Plane) {
    check("y", y.len(), images, &yp);
    check_len("pixels", pixels.len(), images * yp.pixels() * yp.channels);
    check_len("mean", mean.len(), yp.channels);
    check_len("std", std.len(), yp.channels);
    let isa = Isa::active();
    let (mean, std) = (&repeated(mean), &repeated(std));
    write_rows(y, yp, |image, r, y| {
        let at = (image * yp.height + r) * yp.row_len();
        from_u8_row(isa, &pixels[at..at + yp.row_len()], mean, std, y);
    });
}

/// `y := x / (1 - p)` with probability `1 - p`, else 0, for `p` in [0, 1).
///
/// Which it is depends on `seed` and the value's index alone, so that the backward pass is the same call on
/// the gradient.
pub fn dropout(seed: u64, p: f32, x: &[f32], y: &mut [f32]) {
    check_len("y", y.len(), x.len());
    assert!((0.0..1.0).contains(&p), "p: {p} is not in [0, 1)");
    let isa = Isa::active();
    y.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).enumerate().for_each(|(chunk, (y, x))| {
        dropout_chunk(isa, seed, (chunk * GRAIN) as u64, p, x, y);
    });
}
