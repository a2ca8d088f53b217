//! Small matrices of bf16 turned and interleaved: the compiler finds worse ways.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::super::super::pack::PANEL;
use super::super::pack::TAP_BLOCK;
use crate::Bf16;

/// Ways of an instruction set; generic code over it is inlined into a function that has it, as with
/// [`Simd`](crate::simd::Simd).
///
/// # Safety
/// The machine has the instruction set.
pub(super) trait Shuffle {
    /// Channels that [`Shuffle::transposed`] takes.
    const CHANNELS: usize;

    /// `to[channel][pixel] :=` that pixel's value `first + channel`, `pitch` values from channel to channel.
    ///
    /// # Safety
    /// Each pixel has [`Shuffle::CHANNELS`] values from `first` on; `to` is valid for a block in each of as many rows.
    unsafe fn transposed(pixels: &[&[Bf16]; TAP_BLOCK], first: usize, to: *mut Bf16, pitch: usize);

    /// `to :=` the values of a panel of two pixels in pairs, from value `first` on.
    ///
    /// # Safety
    /// Each pixel has [`PANEL`] values from `first` on; `to` is valid for twice as many.
    unsafe fn interleaved(even: &[Bf16], odd: &[Bf16], first: usize, to: *mut Bf16);
}

/// A value at a time.
pub(super) struct Single;

impl Shuffle for Single {
    const CHANNELS: usize = 1;

    #[inline(always)]
    unsafe fn transposed(pixels: &[&[Bf16]; TAP_BLOCK], first: usize, to: *mut Bf16, _pitch: usize) {
        for (i, pixel) in pixels.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = pixel[first] };
        }
    }

    #[inline(always)]
    unsafe fn interleaved(even: &[Bf16], odd: &[Bf16], first: usize, to: *mut Bf16) {
        let pixels = even[first..first + PANEL].iter().zip(&odd[first..first + PANEL]);
        for (i, (&even, &odd)) in pixels.enumerate() {
            // SAFETY: the caller's promise.
            unsafe { to.cast::<[Bf16; 2]>().add(i).write([even, odd]) };
        }
    }
}

/// SSE2, which every x86-64 has.
#[cfg(target_arch = "x86_64")]
pub(super) struct Sse2;

// SAFETY, of each block: every such machine has SSE2, and pointers are valid as the trait says.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all, above")]
impl Shuffle for Sse2 {
    const CHANNELS: usize = 8;

    #[inline(always)]
    unsafe fn transposed(pixels: &[&[Bf16]; TAP_BLOCK], first: usize, to: *mut Bf16, pitch: usize) {
        for (i, pixels) in pixels.as_chunks::<8>().0.iter().enumerate() {
            unsafe {
                let to = to.add(8 * i);
                let load = |pixel: &[Bf16]| _mm_loadu_si128(pixel.as_ptr().add(first).cast());
                let [a, b, c, d, e, f, g, h] = pixels;
                let (a, b, c, d) = (load(a), load(b), load(c), load(d));
                let (e, f, g, h) = (load(e), load(f), load(g), load(h));
                // Values of two neighbouring pixels together, then of four, then of eight.
                let (ab, cd) = (_mm_unpacklo_epi16(a, b), _mm_unpacklo_epi16(c, d));
                let (ef, gh) = (_mm_unpacklo_epi16(e, f), _mm_unpacklo_epi16(g, h));
                let store = |row: usize, ab, cd, ef, gh| {
                    let (abcd, efgh) = (_mm_unpacklo_epi32(ab, cd), _mm_unpacklo_epi32(ef, gh));
                    _mm_storeu_si128(to.add(row * pitch).cast(), _mm_unpacklo_epi64(abcd, efgh));
                    _mm_storeu_si128(to.add((row + 1) * pitch).cast(), _mm_unpackhi_epi64(abcd, efgh));
                    let (abcd, efgh) = (_mm_unpackhi_epi32(ab, cd), _mm_unpackhi_epi32(ef, gh));
                    _mm_storeu_si128(to.add((row + 2) * pitch).cast(), _mm_unpacklo_epi64(abcd, efgh));
                    _mm_storeu_si128(to.add((row + 3) * pitch).cast(), _mm_unpackhi_epi64(abcd, efgh));
                };
                store(0, ab, cd, ef, gh);
                let (ab, cd) = (_mm_unpackhi_epi16(a, b), _mm_unpackhi_epi16(c, d));
                let (ef, gh) = (_mm_unpackhi_epi16(e, f), _mm_unpackhi_epi16(g, h));
                store(4, ab, cd, ef, gh);
            }
        }
    }

    #[inline(always)]
    unsafe fn interleaved(even: &[Bf16], odd: &[Bf16], first: usize, to: *mut Bf16) {
        unsafe {
            let (even, odd) = (even.as_ptr().add(first), odd.as_ptr().add(first));
            for half in [0, 8] {
                let e = _mm_loadu_si128(even.add(half).cast());
                let o = _mm_loadu_si128(odd.add(half).cast());
                _mm_storeu_si128(to.add(2 * half).cast(), _mm_unpacklo_epi16(e, o));
                _mm_storeu_si128(to.add(2 * half + 8).cast(), _mm_unpackhi_epi16(e, o));
            }
        }
    }
}

/// AVX-512 with BW.
#[cfg(target_arch = "x86_64")]
pub(super) struct Avx512;

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    /// A panel's values of two pixels in pairs.
    #[inline(always)]
    unsafe fn pairs(even: *const Bf16, odd: *const Bf16) -> __m512i {
        // SAFETY: the caller's machine has the instruction set, and its pointers are valid for a panel.
        unsafe {
            // The even pixel's values in the lower halves of pairs, the odd one's in the upper.
            let even = _mm512_cvtepu16_epi32(_mm256_loadu_si256(even.cast()));
            let odd = _mm512_cvtepu16_epi32(_mm256_loadu_si256(odd.cast()));
            _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd))
        }
    }
}

// SAFETY, of each block: the caller's machine has the instruction set, and pointers are valid as the trait says.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::undocumented_unsafe_blocks, reason = "one reason for all, above")]
impl Shuffle for Avx512 {
    const CHANNELS: usize = PANEL;

    /// A transpose of 16 x 16 pairs.
    #[inline(always)]
    unsafe fn transposed(pixels: &[&[Bf16]; TAP_BLOCK], first: usize, to: *mut Bf16, pitch: usize) {
        unsafe {
            let mut rows = [_mm512_setzero_si512(); 16];
            for (row, [even, odd]) in rows.iter_mut().zip(pixels.as_chunks::<2>().0) {
                *row = Self::pairs(even.as_ptr().add(first), odd.as_ptr().add(first));
            }
            // Within quarters of a vector: two rows together, then four.
            let mut fours = [_mm512_setzero_si512(); 16];
            for (four, row) in fours.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
                let (low, high) =
                    (_mm512_unpacklo_epi32(row[0], row[1]), _mm512_unpacklo_epi32(row[2], row[3]));
                four[0] = _mm512_unpacklo_epi64(low, high);
                four[1] = _mm512_unpackhi_epi64(low, high);
                let (low, high) =
                    (_mm512_unpackhi_epi32(row[0], row[1]), _mm512_unpackhi_epi32(row[2], row[3]));
                four[2] = _mm512_unpacklo_epi64(low, high);
                four[3] = _mm512_unpackhi_epi64(low, high);
            }
            // `fours[4 * i + j]` has of rows 4 i to 4 i + 3 the columns j, 4 + j, 8 + j and 12 + j: quarters change places.
            for j in 0..4 {
                let (a, b, c, d) = (fours[j], fours[4 + j], fours[8 + j], fours[12 + j]);
                let (ab, cd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0x88>(c, d));
                let store = |column: usize, v| _mm512_storeu_si512(to.add(column * pitch).cast(), v);
                store(j, _mm512_shuffle_i32x4::<0x88>(ab, cd));
                store(8 + j, _mm512_shuffle_i32x4::<0xdd>(ab, cd));
                let (ab, cd) = (_mm512_shuffle_i32x4::<0xdd>(a, b), _mm512_shuffle_i32x4::<0xdd>(c, d));
                store(4 + j, _mm512_shuffle_i32x4::<0x88>(ab, cd));
                store(12 + j, _mm512_shuffle_i32x4::<0xdd>(ab, cd));
            }
        }
    }

    #[inline(always)]
    unsafe fn interleaved(even: &[Bf16], odd: &[Bf16], first: usize, to: *mut Bf16) {
        unsafe {
            let pairs = Self::pairs(even.as_ptr().add(first), odd.as_ptr().add(first));
            _mm512_storeu_si512(to.cast(), pairs);
        }
    }
}
