//! Products of pairs by AVX512-BF16.

use std::arch::x86_64::*;

use super::super::tile::Tile;
use super::vectors::Pairs;
use crate::Bf16;
use crate::simd::{Avx512, Simd};

/// `vdpbf16ps`: a vector of pairs a time, which it adds up with denormal numbers as zero.
pub(super) struct Dot;

// SAFETY, of each block: the caller's machine has AVX512-BF16, and its pointers are valid as the traits say.
#[expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all, above")]
impl Pairs for Dot {
    type S = Avx512;
    type P = __m512i;
    const APART: bool = false;
    const RUN: usize = <Avx512 as Tile>::RUN;
    const BLOCK: usize = <Avx512 as Tile>::BLOCK;

    #[inline(always)]
    unsafe fn weights<const ODD: bool>(at: *const Bf16) -> __m512i {
        unsafe { _mm512_loadu_si512(at.cast()) }
    }

    #[inline(always)]
    unsafe fn splat<const ODD: bool>(at: *const Bf16) -> __m512i {
        unsafe { _mm512_set1_epi32(at.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn splat_one(at: *const Bf16) -> __m512i {
        unsafe { _mm512_set1_epi32(i32::from((*at).to_bits())) }
    }

    #[inline(always)]
    unsafe fn dot(x: __m512i, w: __m512i, sum: __m512) -> __m512 {
        // The vector of bf16 is a type of its own with the same bits.
        unsafe {
            _mm512_dpbf16_ps(
                sum,
                std::mem::transmute::<__m512i, __m512bh>(x),
                std::mem::transmute::<__m512i, __m512bh>(w),
            )
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(at: *mut Bf16, v: __m512, n: usize) -> __m512 {
        unsafe { store_bf16(at, v, n) }
    }
}

/// As [`Simd::store_bf16`], in one instruction; denormal numbers become zero.
///
/// # Safety
/// As for that, and the machine has AVX512-BF16.
#[inline(always)]
pub(super) unsafe fn store_bf16(at: *mut Bf16, v: __m512, n: usize) -> __m512 {
    debug_assert!(n <= Avx512::LANES);
    // SAFETY: the caller's promise.
    unsafe {
        let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
        _mm256_mask_storeu_epi16(at.cast(), ((1u32 << n) - 1) as __mmask16, rounded);
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(rounded)))
    }
}
