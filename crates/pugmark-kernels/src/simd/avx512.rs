//! AVX-512 F, BW, VL and DQ.

use std::arch::x86_64::*;

use super::Simd;
use crate::Bf16;

/// 512-bit vectors.
pub(crate) struct Avx512;

/// The first `n` lanes.
#[inline(always)]
fn mask(n: usize) -> __mmask16 {
    debug_assert!(n <= 16);
    ((1u32 << n) - 1) as __mmask16
}

/// The upper or the lower bf16 of each lane.
#[inline(always)]
unsafe fn half<const ODD: bool>(pairs: __m512i) -> __m512 {
    // SAFETY: the caller's machine has AVX-512.
    unsafe {
        _mm512_castsi512_ps(if ODD {
            _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32.cast_signed()))
        } else {
            _mm512_slli_epi32::<16>(pairs)
        })
    }
}

// SAFETY, of each block: the caller's machine has AVX-512, and its pointers are valid as the trait says.
#[expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all, above")]
impl Simd for Avx512 {
    type V = __m512;
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(at) }
    }

    #[inline(always)]
    unsafe fn store(at: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(at, v) }
    }

    #[inline(always)]
    unsafe fn load_partial(at: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(mask(n), at) }
    }

    #[inline(always)]
    unsafe fn store_partial(at: *mut f32, v: __m512, n: usize) {
        unsafe { _mm512_mask_storeu_ps(at, mask(n), v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn relu(v: __m512) -> __m512 {
        // The second operand wins where one is NaN.
        unsafe { _mm512_max_ps(_mm512_setzero_ps(), v) }
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const Bf16, n: usize) -> __m512 {
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask(n), at.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(at: *mut Bf16, v: __m512, n: usize) -> __m512 {
        unsafe {
            // As `Bf16::from_f32`: to nearest, ties to even, NaN kept.
            let bits = _mm512_castps_si512(v);
            let even = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
            let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff)));
            let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
            let nearest = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x0040_0000));
            let upper = _mm512_srli_epi32::<16>(nearest);
            _mm256_mask_storeu_epi16(at.cast(), mask(n), _mm512_cvtepi32_epi16(upper));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(upper))
        }
    }

    #[inline(always)]
    unsafe fn load_half<const ODD: bool>(at: *const Bf16) -> __m512 {
        unsafe { half::<ODD>(_mm512_loadu_si512(at.cast())) }
    }

    #[inline(always)]
    unsafe fn splat_half<const ODD: bool>(at: *const Bf16) -> __m512 {
        unsafe { half::<ODD>(_mm512_set1_epi32(at.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
