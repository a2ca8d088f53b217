//! How fast the active instruction set multiplies bf16.

use std::hint::black_box;

use super::super::element::ConvKernels;
use super::super::pack::PANEL;
use super::tiles::SIDE;
use super::{PairProduct, PairTile, Task, dispatch};
use crate::simd::Simd;
use crate::{Bf16, Element};

/// Rows of the largest tile of any instruction set, and its channels.
const TILE: usize = 2 * SIDE;
const TAPS: usize = 256;

/// Values in whole cache lines.
#[repr(C, align(64))]
struct Lines<T, const LEN: usize>([T; LEN]);

/// Products of the largest tile, again and again.
struct Products<'a> {
    count: usize,
    multiply_adds: &'a mut usize,
}

impl Task for Products<'_> {
    #[inline(always)]
    unsafe fn run<T: PairTile>(self) {
        let inputs = Lines([Bf16::from_f32(0.5); TILE * TAPS]);
        let weights = Lines([Bf16::from_f32(0.5); TILE * TAPS]);
        let mut sums = Lines([0.0; TILE * TILE]);
        let first = inputs.0.as_ptr();
        let operands = PairProduct {
            runs: [first, first.wrapping_add(T::RUN * TAPS)],
            row_step: TAPS,
            tap_rows: 1,
            tap_pitch: 0,
            tap_len: TAPS,
            weights: weights.0.as_ptr(),
            weight_pitch: 0,
            panel_len: PANEL * TAPS,
            sums: sums.0.as_mut_ptr(),
            pitch: T::BLOCK,
            accumulate: false,
        };
        // SAFETY: the machine has what the tile needs; the operands have room for the largest one.
        unsafe {
            let mut session = T::begin();
            for _ in 0..self.count {
                T::product(&mut session, 2, T::RUN, T::BLOCK / T::S::LANES, black_box(&operands));
            }
        }
        black_box(&sums);
        *self.multiply_adds = self.count * 2 * T::RUN * T::BLOCK * TAPS;
    }
}

/// Runs `products` of the largest tile, whose operands stay in the first-level cache; returns how many multiply-adds they have.
pub(crate) fn multiply_adds(products: usize) -> usize {
    let mut multiply_adds = 0;
    // SAFETY: the path is the machine's.
    unsafe { dispatch(Bf16::path(), Products { count: products, multiply_adds: &mut multiply_adds }) };
    multiply_adds
}
