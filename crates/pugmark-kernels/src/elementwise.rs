//! Kernels that treat every value by itself.

use std::hint::select_unpredictable;

use rayon::prelude::*;

use crate::Isa;
use crate::channels::repeated;
use crate::element::Element;
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
pub(crate) fn masked<T: Default>(dy: T, y: f32) -> T {
    if y <= 0.0 { T::default() } else { dy }
}

multiversion! {
    fn relu_row<E: Element>(x: &[E], y: &mut [E]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = E::from_f32(relu(x.to_f32()));
        }
    }
}

multiversion! {
    fn relu_backward_row<E: Element>(dy: &[E], y: &[E], dx: &mut [E]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = masked(dy, y.to_f32());
        }
    }
}

multiversion! {
    fn relu_backward_accumulate_row<E: Element>(dy: &[E], y: &[E], dx: &mut [E]) {
        for ((dx, &dy), &y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = E::from_f32(dx.to_f32() + masked(dy.to_f32(), y.to_f32()));
        }
    }
}

multiversion! {
    fn add_row<E: Element>(a: &[E], b: &[E], y: &mut [E]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = E::from_f32(a.to_f32() + b.to_f32());
        }
    }
}

multiversion! {
    fn add_relu_row<E: Element>(a: &[E], b: &[E], y: &mut [E]) {
        for ((y, &a), &b) in y.iter_mut().zip(a).zip(b) {
            *y = E::from_f32(relu(a.to_f32() + b.to_f32()));
        }
    }
}

multiversion! {
    fn accumulate_row<E: Element>(src: &[E], dst: &mut [E]) {
        for (dst, &src) in dst.iter_mut().zip(src) {
            *dst = E::from_f32(dst.to_f32() + src.to_f32());
        }
    }
}

multiversion! {
    fn copy_row<S: Element, D: Element>(src: &[S], dst: &mut [D]) {
        for (dst, &src) in dst.iter_mut().zip(src) {
            *dst = D::from_f32(src.to_f32());
        }
    }
}

multiversion! {
    fn dropout_chunk<E: Element>(seed: u64, first: u64, p: f32, x: &[E], y: &mut [E]) {
        let threshold = (f64::from(p) * (1u64 << 32) as f64) as u64;
        let scale = 1.0 / (1.0 - p);
        for (i, (y, &x)) in y.iter_mut().zip(x).enumerate() {
            // SplitMix64 (Steele, Lea and Flood, 2014) at that position of the seed's stream.
            let z = seed.wrapping_add((first + i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            let kept = (z ^ (z >> 31)) >> 32 >= threshold;
            *y = E::from_f32(select_unpredictable(kept, x.to_f32() * scale, 0.0));
        }
    }
}

multiversion! {
    fn from_u8_row<E: Element>(pixels: &[u8], mean: &[f32], std: &[f32], y: &mut [E]) {
        let period = mean.len();
        for (y, pixels) in y.chunks_mut(period).zip(pixels.chunks(period)) {
            for (((y, &p), &mean), &std) in y.iter_mut().zip(pixels).zip(mean).zip(std) {
                *y = E::from_f32((f32::from(p) / 255.0 - mean) / std);
            }
        }
    }
}

/// `y := max(x, 0)`; NaN stays. Writes `y`'s border too.
pub fn relu_forward<E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E], yp: Plane) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_interior("x", &xp, &yp);
    let isa = Isa::active();
    write_rows(y, yp, |image, r, y| relu_row(isa, row(x, &xp, image, r), y));
}

/// `dx :=` (or `+=` when `accumulate`) `dy` where the output `y` of the ReLU is positive; the border of `dx`
/// is zeroed when not accumulating and stays otherwise.
#[expect(clippy::too_many_arguments, reason = "three tensors with their planes")]
pub fn relu_backward<E: Element>(
    images: usize,
    dy: &[E],
    dyp: Plane,
    y: &[E],
    yp: Plane,
    dx: &mut [E],
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
pub fn add_forward<E: Element>(
    images: usize,
    a: &[E],
    ap: Plane,
    b: &[E],
    bp: Plane,
    relu: bool,
    y: &mut [E],
    yp: Plane,
) {
    check("a", a.len(), images, &ap);
    check("b", b.len(), images, &bp);
    check("y", y.len(), images, &yp);
    check_interior("a", &ap, &yp);
    check_interior("b", &bp, &yp);
    let isa = Isa::active();
    let add = if relu { add_relu_row::<E> } else { add_row::<E> };
    write_rows(y, yp, |image, r, y| add(isa, row(a, &ap, image, r), row(b, &bp, image, r), y));
}

/// `dst += src`; the border of `dst` stays.
pub fn accumulate<E: Element>(images: usize, src: &[E], sp: Plane, dst: &mut [E], dp: Plane) {
    check("src", src.len(), images, &sp);
    check("dst", dst.len(), images, &dp);
    check_interior("src", &sp, &dp);
    let isa = Isa::active();
    for_each_row(dst, dp, |image, r, dst| accumulate_row(isa, row(src, &sp, image, r), dst));
}

/// `dst := src`, rounded where `dst`'s elements are the coarser ones; writes the border of `dst`'s own plane too.
pub fn copy_plane<S: Element, D: Element>(images: usize, src: &[S], sp: Plane, dst: &mut [D], dp: Plane) {
    check("src", src.len(), images, &sp);
    check("dst", dst.len(), images, &dp);
    check_interior("src", &sp, &dp);
    let isa = Isa::active();
    write_rows(dst, dp, |image, r, dst| copy_row(isa, row(src, &sp, image, r), dst));
}

/// `y := (pixel / 255 - mean) / std` per channel; `pixels` is NHWC without a border. Writes `y`'s border too.
pub fn input_from_u8<E: Element>(
    images: usize,
    pixels: &[u8],
    mean: &[f32],
    std: &[f32],
    y: &mut [E],
    yp: Plane,
) {
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
pub fn dropout<E: Element>(seed: u64, p: f32, x: &[E], y: &mut [E]) {
    check_len("y", y.len(), x.len());
    assert!((0.0..1.0).contains(&p), "p: {p} is not in [0, 1)");
    let isa = Isa::active();
    y.par_chunks_mut(GRAIN).zip(x.par_chunks(GRAIN)).enumerate().for_each(|(chunk, (y, x))| {
        dropout_chunk(isa, seed, (chunk * GRAIN) as u64, p, x, y);
    });
}
