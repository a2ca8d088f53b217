//! Tiles of 16 x 16 sums in registers of their own, as AMX has them; and a model of those registers.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::pack::TAP_BLOCK;
use super::{PairProduct, PairTile};
use crate::simd::{Portable, Simd};
use crate::{Bf16, Element};

/// Rows of a tile register, and f32 sums or pairs of bf16 in each.
pub(super) const SIDE: usize = 16;
/// bf16 values in 32 taps of a panel.
const TAP_BLOCK_LEN: usize = TAP_BLOCK * SIDE;

/// A machine's tile registers: sums of two runs of rows times two panels of 16 channels.
///
/// The number of runs and of panels is each call's `RUNS` and `PANELS`; sums lie run by run, panels beside each
/// other, `pitch` values from row to row.
///
/// # Safety
/// The machine has the registers; they are one thread's. Pointers are valid for what they describe: sums for 16
/// channels a panel, inputs for 32 values of each row times `blocks`, weights for 512 values times `blocks`.
pub(super) trait TileUnit: Sized {
    type S: Simd;

    unsafe fn begin() -> Self;
    /// From now on runs have that many rows, at most [`SIDE`]. Sums are lost.
    unsafe fn configure(&mut self, rows: usize);
    unsafe fn zero(&mut self);
    unsafe fn load<const RUNS: usize, const PANELS: usize>(&mut self, sums: *const f32, pitch: usize);
    /// Adds the products of `blocks` times 32 taps.
    unsafe fn multiply<const RUNS: usize, const PANELS: usize>(
        &mut self,
        inputs: [*const Bf16; 2],
        row_step: usize,
        weights: [*const Bf16; 2],
        blocks: usize,
    );
    unsafe fn store<const RUNS: usize, const PANELS: usize>(&self, sums: *mut f32, pitch: usize);
    /// `n` values and zeros behind them, 32 in all.
    unsafe fn copy_taps(from: *const Bf16, n: usize, to: *mut Bf16);
    /// As [`Simd::store_bf16`].
    unsafe fn store_bf16(at: *mut Bf16, v: <Self::S as Simd>::V, n: usize) -> <Self::S as Simd>::V;
}

/// Sums in tile registers.
pub(super) struct Tiles<U>(PhantomData<U>);

impl<U: TileUnit> PairTile for Tiles<U> {
    type S = U::S;
    type Session = U;
    const RUN: usize = SIDE;
    const BLOCK: usize = 2 * SIDE;
    const WHOLE_LINES: bool = true;

    #[inline(always)]
    unsafe fn begin() -> U {
        // SAFETY: the caller's promise is the same.
        unsafe { U::begin() }
    }

    #[inline(always)]
    unsafe fn product(unit: &mut U, runs: usize, len: usize, vectors: usize, o: &PairProduct) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            unit.configure(len);
            match (runs, (vectors * U::S::LANES).div_ceil(SIDE)) {
                (1, 1) => product::<U, 1, 1>(unit, len, o),
                (1, _) => product::<U, 1, 2>(unit, len, o),
                (_, 1) => product::<U, 2, 1>(unit, len, o),
                (_, _) => product::<U, 2, 2>(unit, len, o),
            }
        }
    }

    #[inline(always)]
    unsafe fn store(at: *mut Bf16, v: <U::S as Simd>::V, n: usize) -> <U::S as Simd>::V {
        // SAFETY: the caller's promise is the same.
        unsafe { U::store_bf16(at, v, n) }
    }
}

#[inline(always)]
unsafe fn product<U: TileUnit, const RUNS: usize, const PANELS: usize>(
    unit: &mut U,
    len: usize,
    o: &PairProduct,
) {
    #[repr(C, align(64))]
    struct Rows([MaybeUninit<Bf16>; 2 * SIDE * TAP_BLOCK]);

    let (whole, rest) = (o.tap_len / TAP_BLOCK, o.tap_len % TAP_BLOCK);
    let mut last = Rows([const { MaybeUninit::uninit() }; 2 * SIDE * TAP_BLOCK]);
    // SAFETY: the caller promises what `PairTile` asks for; inputs are read as far as there are taps.
    unsafe {
        if o.accumulate {
            unit.load::<RUNS, PANELS>(o.sums, o.pitch);
        } else {
            unit.zero();
        }
        for tap_row in 0..o.tap_rows {
            let inputs = o.runs.map(|run| run.wrapping_add(tap_row * o.tap_pitch));
            let weights = o.weights.wrapping_add(tap_row * o.weight_pitch);
            let weights = [weights, weights.wrapping_add(o.panel_len)];
            if whole > 0 {
                unit.multiply::<RUNS, PANELS>(inputs, o.row_step, weights, whole);
            }
            if rest > 0 {
                // What lies behind the taps is no input of these sums, and may be no memory at all.
                let to = last.0.as_mut_ptr().cast::<Bf16>();
                for (run, input) in inputs.iter().enumerate().take(RUNS) {
                    for row in 0..len {
                        let from = input.add(whole * TAP_BLOCK + row * o.row_step);
                        U::copy_taps(from, rest, to.add((run * SIDE + row) * TAP_BLOCK));
                    }
                }
                let inputs = [to.cast_const(), to.add(SIDE * TAP_BLOCK).cast_const()];
                let weights = weights.map(|panel| panel.wrapping_add(whole * TAP_BLOCK_LEN));
                unit.multiply::<RUNS, PANELS>(inputs, TAP_BLOCK, weights, 1);
            }
        }
        unit.store::<RUNS, PANELS>(o.sums, o.pitch);
    }
}

thread_local! {
    static MODELLED: Cell<bool> = const { Cell::new(false) };
}

/// Whether [`with_modelled_tiles`] is on the stack.
pub(super) fn modelled() -> bool {
    MODELLED.get()
}

/// Runs `f`; convolutions of bf16 that it calls on this thread use the loops written for AMX on a model of AMX's
/// registers, which any machine has.
///
/// For tests.
pub fn with_modelled_tiles<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            MODELLED.set(self.0);
        }
    }
    let _restore = Restore(MODELLED.replace(true));
    f()
}

/// The registers in plain memory, in AMX's order of summation.
pub(super) struct Model {
    rows: usize,
    sums: [[[[f32; SIDE]; SIDE]; 2]; 2],
}

impl TileUnit for Model {
    type S = Portable;

    unsafe fn begin() -> Self {
        Model { rows: 0, sums: [[[[f32::NAN; SIDE]; SIDE]; 2]; 2] }
    }

    unsafe fn configure(&mut self, rows: usize) {
        assert!((1..=SIDE).contains(&rows), "a tile register has 16 rows");
        self.rows = rows;
        self.sums = [[[[f32::NAN; SIDE]; SIDE]; 2]; 2];
    }

    unsafe fn zero(&mut self) {
        self.sums = [[[[0.0; SIDE]; SIDE]; 2]; 2];
    }

    unsafe fn load<const RUNS: usize, const PANELS: usize>(&mut self, sums: *const f32, pitch: usize) {
        for run in 0..RUNS {
            for panel in 0..PANELS {
                for row in 0..self.rows {
                    // SAFETY: the caller's pointer is valid for 16 channels of each panel of each row.
                    self.sums[run][panel][row] = unsafe {
                        sums.add((run * self.rows + row) * pitch + panel * SIDE)
                            .cast::<[f32; SIDE]>()
                            .read_unaligned()
                    };
                }
            }
        }
    }

    unsafe fn multiply<const RUNS: usize, const PANELS: usize>(
        &mut self,
        inputs: [*const Bf16; 2],
        row_step: usize,
        weights: [*const Bf16; 2],
        blocks: usize,
    ) {
        for block in 0..blocks {
            for (sums, input) in self.sums.iter_mut().zip(inputs).take(RUNS) {
                for row in 0..self.rows {
                    let x = input.wrapping_add(row * row_step + block * TAP_BLOCK);
                    for (sums, panel) in sums.iter_mut().zip(weights).take(PANELS) {
                        let w = panel.wrapping_add(block * TAP_BLOCK_LEN);
                        // SAFETY: the caller's pointers are valid for 32 values of each row and block, and for 512
                        // of each panel and block; bf16 is as well aligned as pairs of it.
                        unsafe { add_products(&*x.cast(), &*w.cast(), &mut sums[row]) };
                    }
                }
            }
        }
    }

    unsafe fn store<const RUNS: usize, const PANELS: usize>(&self, sums: *mut f32, pitch: usize) {
        for run in 0..RUNS {
            for panel in 0..PANELS {
                for row in 0..self.rows {
                    // SAFETY: as in `load`.
                    unsafe {
                        sums.add((run * self.rows + row) * pitch + panel * SIDE)
                            .cast::<[f32; SIDE]>()
                            .write_unaligned(self.sums[run][panel][row]);
                    }
                }
            }
        }
    }

    unsafe fn copy_taps(from: *const Bf16, n: usize, to: *mut Bf16) {
        let mut taps = [Bf16::default(); TAP_BLOCK];
        // SAFETY: the caller's pointers are valid for n <= 32 and for 32 values.
        unsafe {
            from.copy_to_nonoverlapping(taps.as_mut_ptr(), n);
            to.cast::<[Bf16; TAP_BLOCK]>().write_unaligned(taps);
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(at: *mut Bf16, v: <Portable as Simd>::V, n: usize) -> <Portable as Simd>::V {
        // SAFETY: the caller's promise is the same.
        unsafe { Portable::store_bf16(at, v, n) }
    }
}

/// `sums[channel] +=` 16 pairs of inputs times 16 pairs of each channel's weights.
fn add_products(x: &[[Bf16; 2]; SIDE], w: &[[[Bf16; 2]; SIDE]; SIDE], sums: &mut [f32; SIDE]) {
    let mut parts = [[0f32; SIDE]; 2];
    for (x, w) in x.iter().zip(w) {
        for (i, part) in parts.iter_mut().enumerate() {
            for (part, w) in part.iter_mut().zip(w) {
                *part += x[i].to_f32() * w[i].to_f32();
            }
        }
    }
    for (sum, (even, odd)) in sums.iter_mut().zip(parts[0].iter().zip(parts[1])) {
        *sum += even + odd;
    }
}
