//! AVX2 and FMA.

use std::arch::x86_64::*;

use super::Simd;
use crate::Bf16;

/// 256-bit vectors.
pub(crate) struct Avx2;

/// The first `n` lanes.
#[inline(always)]
unsafe fn mask(n: usize) -> __m256i {
    const ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];
    debug_assert!(n <= 8);
    // SAFETY: n <= 8, so that the eight values from 8 - n on are inside the table.
    unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - n).cast()) }
}

/// The upper or the lower bf16 of each lane.
#[inline(always)]
unsafe fn half<const ODD: bool>(pairs: __m256i) -> __m256 {
    // SAFETY: the caller's machine has AVX2.
    unsafe {
        _mm256_castsi256_ps(if ODD {
            _mm256_and_si256(pairs, _mm256_set1_epi32(0xffff_0000_u32.cast_signed()))
        } else {
            _mm256_slli_epi32::<16>(pairs)
        })
    }
}

// SAFETY, of each block: the caller's machine has AVX2 and FMA, and its pointers are valid as the trait says.
#[expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all, above")]
impl Simd for Avx2 {
    type V = __m256;
    const LANES: usize = 8;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load(at: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(at) }
    }

    #[inline(always)]
    unsafe fn store(at: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(at, v) }
    }

    #[inline(always)]
    unsafe fn load_partial(at: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(at, mask(n)) }
    }

    #[inline(always)]
    unsafe fn store_partial(at: *mut f32, v: __m256, n: usize) {
        unsafe { _mm256_maskstore_ps(at, mask(n), v) }
    }

    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul_add(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn relu(v: __m256) -> __m256 {
        // The second operand wins where one is NaN.
        unsafe { _mm256_max_ps(_mm256_setzero_ps(), v) }
    }

    #[inline(always)]
    unsafe fn load_bf16(at: *const Bf16, n: usize) -> __m256 {
        unsafe {
            let mut values = [Bf16::default(); 8];
            let at = if n == 8 {
                at
            } else {
                at.copy_to_nonoverlapping(values.as_mut_ptr(), n);
                values.as_ptr()
            };
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(at.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn store_bf16(at: *mut Bf16, v: __m256, n: usize) -> __m256 {
        unsafe {
            // As `Bf16::from_f32`: to nearest, ties to even, NaN kept.
            let bits = _mm256_castps_si256(v);
            let even = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let upper = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
            let (low, high) = (_mm256_castsi256_si128(upper), _mm256_extracti128_si256::<1>(upper));
            let packed = _mm_packus_epi32(low, high);
            if n == 8 {
                _mm_storeu_si128(at.cast(), packed);
            } else {
                let mut values = [Bf16::default(); 8];
                _mm_storeu_si128(values.as_mut_ptr().cast(), packed);
                at.copy_from_nonoverlapping(values.as_ptr(), n);
            }
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(upper))
        }
    }

    #[inline(always)]
    unsafe fn load_half<const ODD: bool>(at: *const Bf16) -> __m256 {
        unsafe { half::<ODD>(_mm256_loadu_si256(at.cast())) }
    }

    #[inline(always)]
    unsafe fn splat_half<const ODD: bool>(at: *const Bf16) -> __m256 {
        unsafe { half::<ODD>(_mm256_set1_epi32(at.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const f32) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
