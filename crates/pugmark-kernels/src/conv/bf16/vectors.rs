//! Tiles in vector registers.

use std::marker::PhantomData;

use super::super::pack::PANEL;
use super::super::tile::Tile;
use super::{PairProduct, PairTile};
use crate::simd::Simd;
use crate::{Bf16, Element};

/// How an instruction set multiplies pairs: both values at once, or first all even ones and then all odd ones, so that
/// only one of each is in registers.
///
/// # Safety
/// As for [`Simd`]; the pointers of `weights` are valid for a vector of pairs, those of `splat` for one pair, those
/// of `splat_one` for one value.
pub(super) trait Pairs {
    type S: Simd;
    /// What is multiplied in each lane.
    type P: Copy;
    /// The odd values are multiplied by themselves.
    const APART: bool;
    /// See [`PairTile`].
    const RUN: usize;
    const BLOCK: usize;

    unsafe fn weights<const ODD: bool>(at: *const Bf16) -> Self::P;
    unsafe fn splat<const ODD: bool>(at: *const Bf16) -> Self::P;
    /// An even value that no odd one follows.
    unsafe fn splat_one(at: *const Bf16) -> Self::P;
    /// `sum` plus the products.
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
    type P = S::V;
    const APART: bool = true;
    const RUN: usize = S::RUN;
    const BLOCK: usize = S::BLOCK;

    #[inline(always)]
    unsafe fn weights<const ODD: bool>(at: *const Bf16) -> S::V {
        // SAFETY: the caller's promise is the same.
        unsafe { S::load_half::<ODD>(at) }
    }

    #[inline(always)]
    unsafe fn splat<const ODD: bool>(at: *const Bf16) -> S::V {
        // SAFETY: the caller's promise is the same.
        unsafe { S::splat_half::<ODD>(at) }
    }

    #[inline(always)]
    unsafe fn splat_one(at: *const Bf16) -> S::V {
        // SAFETY: the caller's promise is the same.
        unsafe { S::splat((*at).to_f32()) }
    }

    #[inline(always)]
    unsafe fn dot(x: S::V, w: S::V, sum: S::V) -> S::V {
        // SAFETY: the caller's promise is the same.
        unsafe { S::mul_add(x, w, sum) }
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

/// The sums of a tile, in registers.
type Acc<P, const RUNS: usize, const LEN: usize, const VECTORS: usize> =
    [[[<<P as Pairs>::S as Simd>::V; VECTORS]; LEN]; RUNS];

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "fixed trip counts unroll into registers")]
unsafe fn product<P: Pairs, const RUNS: usize, const LEN: usize, const VECTORS: usize>(o: &PairProduct) {
    let lanes = P::S::LANES;
    // SAFETY: the caller promises what `PairTile` asks for; all offsets stay within the operands it describes.
    unsafe {
        let mut acc: Acc<P, RUNS, LEN, VECTORS> = [[[P::S::splat(0.0); VECTORS]; LEN]; RUNS];
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
            acc = add::<P, RUNS, LEN, VECTORS, false>(acc, o, tap_row);
            if P::APART {
                acc = add::<P, RUNS, LEN, VECTORS, true>(acc, o, tap_row);
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

/// Adds the products of a tap row; of its odd taps where those are apart.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "fixed trip counts unroll into registers")]
unsafe fn add<P: Pairs, const RUNS: usize, const LEN: usize, const VECTORS: usize, const ODD: bool>(
    mut acc: Acc<P, RUNS, LEN, VECTORS>,
    o: &PairProduct,
    tap_row: usize,
) -> Acc<P, RUNS, LEN, VECTORS> {
    // SAFETY: as in `product`.
    unsafe {
        // Three rows from each pointer: an x86 address reaches base, base + step and base + 2 * step.
        let mut inputs = [[o.runs[0]; 3]; RUNS];
        for run in 0..RUNS {
            for i in 0..3 {
                inputs[run][i] = o.runs[run].wrapping_add(tap_row * o.tap_pitch + 3 * i * o.row_step);
            }
        }
        let mut weights = o.weights.wrapping_add(tap_row * o.weight_pitch);
        for _ in 0..o.tap_len / 2 {
            let w = panel_weights::<P, VECTORS, ODD>(weights, o.panel_len);
            for run in 0..RUNS {
                for row in 0..LEN {
                    let x = P::splat::<ODD>(inputs[run][row / 3].add(row % 3 * o.row_step));
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
        if !ODD && !o.tap_len.is_multiple_of(2) {
            let w = panel_weights::<P, VECTORS, ODD>(weights, o.panel_len);
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
    acc
}

/// The weights of the same pair of taps of some vectors of channels.
#[inline(always)]
unsafe fn panel_weights<P: Pairs, const VECTORS: usize, const ODD: bool>(
    weights: *const Bf16,
    panel_len: usize,
) -> [P::P; VECTORS] {
    // SAFETY: the caller's pointer is valid for a whole pair of each of these channels.
    unsafe {
        let mut w = [P::weights::<ODD>(weights); VECTORS];
        for (v, w) in w.iter_mut().enumerate().skip(1) {
            let lane = v * P::S::LANES;
            *w = P::weights::<ODD>(weights.add(lane / PANEL * panel_len + 2 * (lane % PANEL)));
        }
        w
    }
}
