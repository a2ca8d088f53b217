//! The transforms, on vectors of channels.
//!
//! With the points p = 0, a, -a, b, -b (a = 1/√2, b = √2) and infinity: inputs are taken to the coefficients of the
//! products of (x - p) over the other points, weights to their polynomial's values at the points, divided by those
//! products' values; outputs are sums of powers of the points.

use std::mem::MaybeUninit;

use super::super::element::ConvElement;
use super::super::tile::RowTile;
use super::{PATCH, STRIP_COLUMNS, Strip, TILE};
use crate::simd::Simd;

pub(super) const A: f32 = std::f32::consts::FRAC_1_SQRT_2;
pub(super) const B: f32 = std::f32::consts::SQRT_2;
/// Of the widest vectors.
const MAX_LANES: usize = 16;

/// `k * x + y`. Not a closure: those are compiled without the instruction set when they are not inlined.
#[inline(always)]
pub(super) unsafe fn madd<S: Simd>(k: f32, x: S::V, y: S::V) -> S::V {
    // SAFETY: the caller's machine has the instruction set.
    unsafe { S::mul_add(S::splat(k), x, y) }
}

/// Six inputs of a line.
#[inline(always)]
unsafe fn input_line<S: Simd>(d: [S::V; PATCH]) -> [S::V; PATCH] {
    // SAFETY: the caller's machine has the instruction set.
    unsafe {
        let near = madd::<S>(-2.0, d[2], d[4]);
        let far = madd::<S>(-0.5, d[2], d[4]);
        let zero = S::splat(0.0);
        let near_odd = madd::<S>(-B, d[1], madd::<S>(A, d[3], zero));
        let far_odd = madd::<S>(-A, d[1], madd::<S>(B, d[3], zero));
        [
            madd::<S>(-2.5, d[2], S::add(d[0], d[4])),
            S::add(near, near_odd),
            madd::<S>(-1.0, near_odd, near),
            S::add(far, far_odd),
            madd::<S>(-1.0, far_odd, far),
            madd::<S>(-2.5, d[3], S::add(d[1], d[5])),
        ]
    }
}

/// Four gradients of a line to the six points, not yet divided.
#[inline(always)]
unsafe fn gradient_line<S: Simd>(g: [S::V; TILE]) -> [S::V; PATCH] {
    // SAFETY: the caller's machine has the instruction set.
    unsafe {
        let near = madd::<S>(0.5, g[2], g[0]);
        let far = madd::<S>(2.0, g[2], g[0]);
        [
            g[0],
            madd::<S>(A, g[1], madd::<S>(A / 2.0, g[3], near)),
            madd::<S>(-A, g[1], madd::<S>(-A / 2.0, g[3], near)),
            madd::<S>(B, g[1], madd::<S>(2.0 * B, g[3], far)),
            madd::<S>(-B, g[1], madd::<S>(-2.0 * B, g[3], far)),
            g[3],
        ]
    }
}

/// Six products of a line to its four outputs.
#[inline(always)]
unsafe fn output_line<S: Simd>(m: [S::V; PATCH]) -> [S::V; TILE] {
    // SAFETY: the caller's machine has the instruction set.
    unsafe {
        let zero = S::splat(0.0);
        let (near, far) = (S::add(m[1], m[2]), S::add(m[3], m[4]));
        let (near_odd, far_odd) = (madd::<S>(-1.0, m[2], m[1]), madd::<S>(-1.0, m[4], m[3]));
        [
            S::add(m[0], S::add(near, far)),
            madd::<S>(A, near_odd, madd::<S>(B, far_odd, zero)),
            madd::<S>(0.5, near, madd::<S>(2.0, far, zero)),
            madd::<S>(A / 2.0, near_odd, madd::<S>(2.0 * B, far_odd, m[5])),
        ]
    }
}

/// Six sums of a line to the three weights' gradients; divides what [`gradient_line`] did not.
#[inline(always)]
unsafe fn weight_line<S: Simd>(m: [S::V; PATCH]) -> [S::V; 3] {
    // SAFETY: the caller's machine has the instruction set.
    unsafe {
        let zero = S::splat(0.0);
        let (near, far) = (S::add(m[1], m[2]), S::add(m[3], m[4]));
        let (near_odd, far_odd) = (madd::<S>(-1.0, m[2], m[1]), madd::<S>(-1.0, m[4], m[3]));
        [
            madd::<S>(-1.0 / 1.5, near, madd::<S>(1.0 / 6.0, far, m[0])),
            madd::<S>(-A / 1.5, near_odd, madd::<S>(B / 6.0, far_odd, zero)),
            madd::<S>(-0.5 / 1.5, near, madd::<S>(2.0 / 6.0, far, m[5])),
        ]
    }
}

/// Both directions of a line's transform: of each row of what is loaded, then of each column.
macro_rules! both_directions {
    ($s:ty, $line:ident: $from:literal -> $to:literal, |$i:ident, $j:ident| $load:expr) => {{
        let mut rows = [[<$s>::splat(0.0); $to]; $from];
        for $i in 0..$from {
            let mut row = [<$s>::splat(0.0); $from];
            for $j in 0..$from {
                row[$j] = $load;
            }
            rows[$i] = $line::<$s>(row);
        }
        let mut out = [[<$s>::splat(0.0); $to]; $to];
        for j in 0..$to {
            let mut column = [<$s>::splat(0.0); $from];
            for i in 0..$from {
                column[i] = rows[i][j];
            }
            let column = $line::<$s>(column);
            for i in 0..$to {
                out[i][j] = column[i];
            }
        }
        out
    }};
}

/// Transformed lines down the columns of a strip: [`PATCH`] values of each, a vector each.
pub(super) type Lines = [MaybeUninit<[[f32; MAX_LANES]; PATCH]>; STRIP_COLUMNS];

/// One vector of channels of a strip's patches: from the pixels' pointers, `channel` further, to `out`, `place_step` values a
/// place and `tile_step` a tile. Neighbouring patches share two columns, whose lines are transformed once.
///
/// # Safety
/// As for [`RowTile`]; the strip's pointers are valid for a vector from `channel` on, `out` for one of each tile at each place.
#[inline(always)]
pub(super) unsafe fn inputs<E: ConvElement, T: RowTile<E>>(
    strip: &Strip<E>,
    channel: usize,
    lines: &mut Lines,
    out: *mut E,
    (place_step, tile_step): (usize, usize),
) {
    let lanes = T::S::LANES;
    // SAFETY: the caller's promise; a line has room for the widest vectors.
    unsafe {
        let mut at = channel;
        for line in &mut lines[..strip.inside] {
            let mut d = [T::S::splat(0.0); PATCH];
            for (d, row) in d.iter_mut().zip(strip.rows) {
                *d = E::load::<T::S>(row.wrapping_add(at), lanes);
            }
            let to = line.as_mut_ptr().cast::<f32>();
            for (i, &value) in input_line::<T::S>(d).iter().enumerate() {
                T::S::store(to.add(i * MAX_LANES), value);
            }
            at += strip.step;
        }
        for line in &mut lines[strip.inside..strip.columns()] {
            line.write([[0.0; MAX_LANES]; PATCH]);
        }
        for tile in 0..strip.tiles {
            // Opaque: or the compiler keeps 36 offsets in memory.
            let place_step = std::hint::black_box(place_step);
            let lines = lines.as_ptr().add(tile * TILE).cast::<f32>();
            for i in 0..PATCH {
                let mut d = [T::S::splat(0.0); PATCH];
                for (j, d) in d.iter_mut().enumerate() {
                    *d = T::S::load(lines.add((j * PATCH + i) * MAX_LANES));
                }
                let out = out.wrapping_add(tile * tile_step + i * PATCH * place_step);
                for (j, &value) in input_line::<T::S>(d).iter().enumerate() {
                    T::store(out.wrapping_add(j * place_step), value, lanes);
                }
            }
        }
    }
}

/// One vector of channels of a tile of gradients: from the pixels' pointers, `channel` further, to `out`, a step a place.
///
/// # Safety
/// As [`inputs`].
#[inline(always)]
pub(super) unsafe fn gradient<S: Simd>(
    pixels: &[[*const f32; TILE]; TILE],
    channel: usize,
    out: *mut f32,
    step: usize,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let values = both_directions!(S, gradient_line: 4 -> 6, |i, j| S::load(pixels[i][j].add(channel)));
        for (place, &value) in values.iter().flatten().enumerate() {
            S::store(out.add(place * step), value);
        }
    }
}

/// One vector of channels of a tile's outputs, from its products, a step a place.
///
/// # Safety
/// As for [`Simd`]; `products` is valid for a vector at each place.
#[inline(always)]
pub(super) unsafe fn output<S: Simd>(products: *const f32, step: usize) -> [[S::V; TILE]; TILE] {
    // SAFETY: the caller's promise.
    unsafe {
        // Opaque, as above.
        let step = std::hint::black_box(step);
        both_directions!(S, output_line: 6 -> 4, |i, j| S::load(products.add((i * PATCH + j) * step)))
    }
}

/// One vector of channels of the weights' gradients, from the sums, a step a place.
///
/// # Safety
/// As [`output`].
#[inline(always)]
pub(super) unsafe fn weight<S: Simd>(sums: *const f32, step: usize) -> [[S::V; 3]; 3] {
    // SAFETY: the caller's promise.
    unsafe { both_directions!(S, weight_line: 6 -> 3, |i, j| S::load(sums.add((i * PATCH + j) * step))) }
}
