//! AMX's tile registers, by `asm!`: `std::arch` has them on nightly compilers only.
//!
//! `tmm0` to `tmm3` hold sums, run by run; `tmm4` and `tmm5` the runs' inputs, `tmm6` and `tmm7` the panels' weights.
//! Code the compiler makes never touches them, so that they last from one `asm!` to the next.

use std::arch::asm;
use std::arch::x86_64::*;

use super::avx512;
use super::pack::TAP_BLOCK;
use super::tiles::{SIDE, TileUnit};
use crate::Bf16;
use crate::simd::Avx512;

/// The registers of the thread that made it, configured until it is dropped.
pub(super) struct Amx {
    /// Rows of a run, 0 before the first configuration.
    rows: usize,
}

/// What `ldtilecfg` reads.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// 32 bf16 or 16 f32.
const ROW_BYTES: usize = 64;

impl Drop for Amx {
    #[inline(always)]
    fn drop(&mut self) {
        // Idle registers would have to be saved at every switch of threads.
        // SAFETY: whoever began this has AMX.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags)) };
    }
}

/// Loads or stores the sums that exist; `$at` is the first of them.
macro_rules! each_sum {
    ($instruction:ident, $at:expr, $self:ident, $pitch:ident) => {{
        let at = $at;
        let second_run = at.wrapping_add($self.rows * $pitch);
        let step = size_of::<f32>() * $pitch;
        each_sum!(@ $instruction, "tmm0", at, step);
        if PANELS > 1 {
            each_sum!(@ $instruction, "tmm1", at.wrapping_add(SIDE), step);
        }
        if RUNS > 1 {
            each_sum!(@ $instruction, "tmm2", second_run, step);
            if PANELS > 1 {
                each_sum!(@ $instruction, "tmm3", second_run.wrapping_add(SIDE), step);
            }
        }
    }};
    (@ tileloadd, $register:literal, $at:expr, $step:ident) => {
        asm!(
            concat!("tileloadd ", $register, ", [{at} + {step}]"),
            at = in(reg) $at, step = in(reg) $step,
            options(nostack, preserves_flags, readonly)
        )
    };
    (@ tilestored, $register:literal, $at:expr, $step:ident) => {
        asm!(
            concat!("tilestored [{at} + {step}], ", $register),
            at = in(reg) $at, step = in(reg) $step,
            options(nostack, preserves_flags)
        )
    };
}

/// A loop over blocks of taps; `$second_run` and `$second_panel` are the instructions for those.
macro_rules! multiply {
    ($inputs:ident, $step:ident, $weights:ident, $blocks:ident, $($line:literal)*) => {
        asm!(
            "2:",
            $($line,)*
            "add {input0}, 64",
            "add {input1}, 64",
            "add {weights0}, 1024",
            "add {weights1}, 1024",
            "dec {blocks}",
            "jnz 2b",
            input0 = inout(reg) $inputs[0] => _,
            input1 = inout(reg) $inputs[1] => _,
            weights0 = inout(reg) $weights[0] => _,
            weights1 = inout(reg) $weights[1] => _,
            blocks = inout(reg) $blocks => _,
            step = in(reg) $step,
            row_bytes = in(reg) ROW_BYTES,
            options(nostack, readonly)
        )
    };
}

impl TileUnit for Amx {
    type S = Avx512;

    #[inline(always)]
    unsafe fn begin() -> Self {
        Amx { rows: 0 }
    }

    #[inline(always)]
    unsafe fn configure(&mut self, rows: usize) {
        debug_assert!((1..=SIDE).contains(&rows));
        if rows == self.rows {
            return;
        }
        self.rows = rows;
        let mut config =
            Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(ROW_BYTES as u16);
        config.rows[..6].fill(rows as u8);
        config.rows[6..8].fill(SIDE as u8);
        // SAFETY: the caller's machine has AMX; the configuration is one of palette 1, with up to 16 rows of 64 bytes.
        unsafe {
            asm!("ldtilecfg [{}]", in(reg) &raw const config, options(nostack, preserves_flags, readonly));
        }
    }

    #[inline(always)]
    unsafe fn zero(&mut self) {
        // SAFETY: the registers are configured.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, preserves_flags)
            );
        }
    }

    #[inline(always)]
    unsafe fn load<const RUNS: usize, const PANELS: usize>(&mut self, sums: *const f32, pitch: usize) {
        // SAFETY: the registers are configured, and the caller's pointer is valid for the sums that exist.
        unsafe { each_sum!(tileloadd, sums, self, pitch) }
    }

    #[inline(always)]
    unsafe fn multiply<const RUNS: usize, const PANELS: usize>(
        &mut self,
        inputs: [*const Bf16; 2],
        row_step: usize,
        weights: [*const Bf16; 2],
        blocks: usize,
    ) {
        debug_assert!(blocks > 0);
        let step = size_of::<Bf16>() * row_step;
        // SAFETY: the registers are configured; the caller's pointers are valid for what each loop reads.
        unsafe {
            match (RUNS, PANELS) {
                (1, 1) => multiply!(inputs, step, weights, blocks,
                    "tileloadd tmm4, [{input0} + {step}]"
                    "tileloadd tmm6, [{weights0} + {row_bytes}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                ),
                (1, _) => multiply!(inputs, step, weights, blocks,
                    "tileloadd tmm4, [{input0} + {step}]"
                    "tileloadd tmm6, [{weights0} + {row_bytes}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tileloadd tmm7, [{weights1} + {row_bytes}]"
                    "tdpbf16ps tmm1, tmm4, tmm7"
                ),
                (_, 1) => multiply!(inputs, step, weights, blocks,
                    "tileloadd tmm6, [{weights0} + {row_bytes}]"
                    "tileloadd tmm4, [{input0} + {step}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tileloadd tmm5, [{input1} + {step}]"
                    "tdpbf16ps tmm2, tmm5, tmm6"
                ),
                (_, _) => multiply!(inputs, step, weights, blocks,
                    "tileloadd tmm4, [{input0} + {step}]"
                    "tileloadd tmm6, [{weights0} + {row_bytes}]"
                    "tdpbf16ps tmm0, tmm4, tmm6"
                    "tileloadd tmm7, [{weights1} + {row_bytes}]"
                    "tdpbf16ps tmm1, tmm4, tmm7"
                    "tileloadd tmm5, [{input1} + {step}]"
                    "tdpbf16ps tmm2, tmm5, tmm6"
                    "tdpbf16ps tmm3, tmm5, tmm7"
                ),
            }
        }
    }

    #[inline(always)]
    unsafe fn store<const RUNS: usize, const PANELS: usize>(&self, sums: *mut f32, pitch: usize) {
        // SAFETY: as in `load`.
        unsafe { each_sum!(tilestored, sums, self, pitch) }
    }

    #[inline(always)]
    unsafe fn copy_taps(from: *const Bf16, n: usize, to: *mut Bf16) {
        debug_assert!(n < TAP_BLOCK);
        // SAFETY: the caller's pointers are valid for n values and for 32.
        unsafe {
            let taps = _mm512_maskz_loadu_epi16((1 << n) - 1, from.cast());
            _mm512_storeu_si512(to.cast(), taps);
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(at: *mut Bf16, v: __m512, n: usize) -> __m512 {
        // SAFETY: the caller's promise; machines with AMX have AVX512-BF16, as `Isa` makes sure.
        unsafe { avx512::store_bf16(at, v, n) }
    }
}
