//! Tiles in vector registers.

use std::marker::PhantomData;

use super::super::pack::PANEL;
use super::super::tile::Tile;
use super::{PairProduct, PairTile};
use crate::Bf16;
use crate::simd::Simd;

/// How an instruction set multiplies pairs.
///
/// # Safety
/// As for [`Simd`]; the pointers of `weights` are valid for a vector of pairs, those of `splat` for one pair, those
/// of `splat_one` for one value.
pub(super) trait Pairs {
    type S: Simd;
    /// A pair for each lane.
    type P: Copy;
    /// See [`PairTile`].
    const RUN: usize;
    const BLOCK: usize;

    unsafe fn weights(at: *const Bf16) -> Self::P;
    unsafe fn splat(at: *const Bf16) -> Self::P;
    /// A value and a zero.
    unsafe fn splat_one(at: *const Bf16) -> Self::P;
    /// `sum` plus both products.
    unsafe fn dot(x: Self::P, w: Self::P, sum: <Self::S as Simd>::V) -> <Self::S as Simd>::V;
    /// As [`Simd::store_bf16`].
    #[inline(always)]
    unsafe fn store_bf16(at: *mut Bf16, v: <Self::S as Simd>::V, n: usize) -> <Self::S as Simd>::V {
        // SAFETY: the caller's promise is the same.
        unsafe { Self::S::store_bf16(at, v, n) }
    }
}

/// Vectors of f32: bf16 is made f32 on the way.
pub(super) struct Widened<S>(PhantomData<S>);

impl<S: Tile> Pairs for Widened<S> {
    type S = S;
    type P = [S::V; 2];
    const RUN: usize = S::RUN;
    const BLOCK: usize = S::BLOCK;

    #[inline(always)]
    unsafe fn weights(at: *const Bf16) -> [S::V; 2] {
        // SAFETY: the caller's promise is the same.
        unsafe { S::load_pairs(at) }
    }

    #[inline(always)]
    unsafe fn splat(at: *const Bf16) -> [S::V; 2] {
        // SAFETY: the caller's promise is the same.
        unsafe { S::splat_pair(at) }
    }

    #[inline(always)]
    unsafe fn splat_one(at: *const Bf16) -> [S::V; 2] {
        // SAFETY: the caller's promise is the same.
        unsafe { S::splat_pair([*at, Bf16::default()].as_ptr()) }
    }

    #[inline(always)]
    unsafe fn dot(x: [S::V; 2], w: [S::V; 2], sum: S::V) -> S::V {
        // SAFETY: the caller's promise is the same.
        unsafe { S::mul_add(x[1], w[1], S::mul_add(x[0], w[0], sum)) }
    }
}

/// Sums in vector registers, an input in all lanes at a time.
pub(super) struct Vectors<P>(PhantomData<P>);

impl<P: Pairs> PairTile for Vectors<P> {
    type S = P::S;
    type Session = ();
    const RUN: usize = P::RUN;
    const BLOCK: usize = P::BLOCK;
    const WHOLE_LINES: bool = false;

    #[inline(always)]
    unsafe fn begin() {}

    #[inline(always)]
    unsafe fn store(at: *mut Bf16, v: <P::S as Simd>::V, n: usize) -> <P::S as Simd>::V {
        // SAFETY: the caller's promise is the same.
        unsafe { P::store_bf16(at, v, n) }
    }

    #[inline(always)]
    unsafe fn product((): &mut (), runs: usize, len: usize, vectors: usize, o: &PairProduct) {
        /// Calls the instance with the lengths that the tile has.
        macro_rules! call {
            ($runs:literal, $vectors:literal, for $($len:literal)*) => {
                match len {
                    $($len if $len <= P::RUN => product::<P, $runs, $len, $vectors>(o),)*
                    _ => unreachable!("no run is that long"),
                }
            };
        }
        // SAFETY: the caller's promise is the same.
        unsafe {
            match (runs, vectors) {
                (1, 1) => call!(1, 1, for 1 2 3 4 5 6 7),
                (1, _) => call!(1, 2, for 1 2 3 4 5 6 7),
                (_, 1) => call!(2, 1, for 1 2 3 4 5 6 7),
                (_, _) => call!(2, 2, for 1 2 3 4 5 6 7),
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "fixed trip counts unroll into registers")]
unsafe fn product<P: Pairs, const RUNS: usize, const LEN: usize, const VECTORS: usize>(o: &PairProduct) {
    let lanes = P::S::LANES;
    // SAFETY: the caller promises what `PairTile` asks for; all offsets stay within the operands it describes.
    unsafe {
        let mut acc = [[[P::S::splat(0.0); VECTORS]; LEN]; RUNS];
        if o.accumulate {
            for run in 0..RUNS {
                for row in 0..LEN {
                    for v in 0..VECTORS {
                        let sums = o.sums.add((run * LEN + row) * o.pitch + v * lanes);
                        acc[run][row][v] = P::S::load(sums);
                    }
                }
            }
        }
        for tap_row in 0..o.tap_rows {
            // Three rows from each pointer: an x86 address reaches base, base + step and base + 2 * step.
            let mut inputs = [[o.runs[0]; 3]; RUNS];
            for run in 0..RUNS {
                for i in 0..3 {
                    inputs[run][i] = o.runs[run].wrapping_add(tap_row * o.tap_pitch + 3 * i * o.row_step);
                }
            }
            let mut weights = o.weights.wrapping_add(tap_row * o.weight_pitch);
            for _ in 0..o.tap_len / 2 {
                let w = pairs::<P, VECTORS>(weights, o.panel_len);
                for run in 0..RUNS {
                    for row in 0..LEN {
                        let x = P::splat(inputs[run][row / 3].add(row % 3 * o.row_step));
                        for v in 0..VECTORS {
                            acc[run][row][v] = P::dot(x, w[v], acc[run][row][v]);
                        }
                    }
                }
                for inputs in &mut inputs {
                    for input in inputs {
                        *input = input.wrapping_add(2);
                    }
                }
                weights = weights.wrapping_add(2 * PANEL);
            }
            if !o.tap_len.is_multiple_of(2) {
                let w = pairs::<P, VECTORS>(weights, o.panel_len);
                for run in 0..RUNS {
                    for row in 0..LEN {
                        // The value behind it belongs to no tap.
                        let x = P::splat_one(inputs[run][row / 3].add(row % 3 * o.row_step));
                        for v in 0..VECTORS {
                            acc[run][row][v] = P::dot(x, w[v], acc[run][row][v]);
                        }
                    }
                }
            }
        }
        for run in 0..RUNS {
            for row in 0..LEN {
                for v in 0..VECTORS {
                    P::S::store(o.sums.add((run * LEN + row) * o.pitch + v * lanes), acc[run][row][v]);
                }
            }
        }
    }
}

/// The same pair of taps of some vectors of channels.
#[inline(always)]
unsafe fn pairs<P: Pairs, const VECTORS: usize>(weights: *const Bf16, panel_len: usize) -> [P::P; VECTORS] {
    // SAFETY: the caller's pointer is valid for a whole pair of each of these channels.
    unsafe {
        let mut w = [P::weights(weights); VECTORS];
        for (v, w) in w.iter_mut().enumerate().skip(1) {
            let lane = v * P::S::LANES;
            *w = P::weights(weights.add(lane / PANEL * panel_len + 2 * (lane % PANEL)));
        }
        w
    }
}
