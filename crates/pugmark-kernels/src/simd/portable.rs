//! Vectors for any machine: arrays whose loops the compiler turns into the target's own vectors.

use super::Simd;
use crate::{Bf16, Element};

/// Two 128-bit registers' worth of plain Rust.
pub(crate) struct Portable;

const LANES: usize = 8;

/// `a * b + c`: fused where the target has the instruction, for elsewhere it would be a library call.
#[inline(always)]
fn mul_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_arch = "aarch64", target_feature = "fma")) { a.mul_add(b, c) } else { a * b + c }
}

#[expect(clippy::needless_range_loop, reason = "fixed trip counts unroll into vectors")]
impl Simd for Portable {
    type V = [f32; LANES];
    const LANES: usize = LANES;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; LANES]
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::V {
        // SAFETY: the caller's pointer is valid for LANES values.
        unsafe { at.cast::<Self::V>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store(at: *mut f32, v: Self::V) {
        // SAFETY: as in `load`.
        unsafe { at.cast::<Self::V>().write_unaligned(v) }
    }

    #[inline(always)]
    unsafe fn load_partial(at: *const f32, n: usize) -> Self::V {
        let mut v = [0.0; LANES];
        // SAFETY: the caller's pointer is valid for n <= LANES values.
        unsafe { at.copy_to_nonoverlapping(v.as_mut_ptr(), n) };
        v
    }

    #[inline(always)]
    unsafe fn store_partial(at: *mut f32, v: Self::V, n: usize) {
        // SAFETY: as in `load_partial`.
        unsafe { at.copy_from_nonoverlapping(v.as_ptr(), n) };
    }

    #[inline(always)]
    unsafe fn add(mut a: Self::V, b: Self::V) -> Self::V {
        for i in 0..LANES {
            a[i] += b[i];
        }
        a
    }

    #[inline(always)]
    unsafe fn mul_add(a: Self::V, b: Self::V, mut c: Self::V) -> Self::V {
        for i in 0..LANES {
            c[i] = mul_add(a[i], b[i], c[i]);
        }
        c
    }

    #[inline(always)]
    unsafe fn relu(mut v: Self::V) -> Self::V {
        for i in 0..LANES {
            v[i] = if v[i] < 0.0 { 0.0 } else { v[i] };
        }
        v
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const Bf16, n: usize) -> Self::V {
        let mut values = [Bf16::default(); LANES];
        if n == LANES {
            // SAFETY: the caller's pointer is valid for n values.
            values = unsafe { at.cast::<[Bf16; LANES]>().read_unaligned() };
        } else {
            // SAFETY: as above, and n <= LANES.
            unsafe { at.copy_to_nonoverlapping(values.as_mut_ptr(), n) };
        }
        let mut v = [0.0; LANES];
        for i in 0..LANES {
            v[i] = values[i].to_f32();
        }
        v
    }

    #[inline(always)]
    unsafe fn store_bf16(at: *mut Bf16, mut v: Self::V, n: usize) -> Self::V {
        let mut values = [Bf16::default(); LANES];
        for i in 0..LANES {
            values[i] = Bf16::from_f32(v[i]);
            v[i] = values[i].to_f32();
        }
        // SAFETY: the caller's pointer is valid for n <= LANES values.
        unsafe { at.copy_from_nonoverlapping(values.as_ptr(), n) };
        v
    }

    #[inline(always)]
    unsafe fn load_half<const ODD: bool>(at: *const Bf16) -> Self::V {
        // SAFETY: the caller's pointer is valid for 2 * LANES values.
        let pairs = unsafe { at.cast::<[[Bf16; 2]; LANES]>().read_unaligned() };
        let mut v = [0.0; LANES];
        for i in 0..LANES {
            v[i] = pairs[i][usize::from(ODD)].to_f32();
        }
        v
    }

    #[inline(always)]
    unsafe fn splat_half<const ODD: bool>(at: *const Bf16) -> Self::V {
        // SAFETY: the caller's pointer is valid for two values.
        [unsafe { *at.add(usize::from(ODD)) }.to_f32(); LANES]
    }
}
