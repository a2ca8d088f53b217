//! Small matrices of bf16 turned and interleaved. With SSE2, which every x86-64 has: the compiler finds worse ways.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::super::super::pack::PANEL;
use crate::Bf16;

/// Rows and columns of what is transposed at a time.
pub(super) const SIDE: usize = 8;

/// `to[row][column] :=` value `first + row` of that column's pixel, `pitch` values from row to row.
///
/// # Safety
/// Each pixel has [`SIDE`] values from `first` on; `to` is valid for as many in each of as many rows.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn transposed(pixels: &[&[Bf16]; SIDE], first: usize, to: *mut Bf16, pitch: usize) {
    // SAFETY: the caller's promise; every machine has SSE2.
    unsafe {
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

/// `to[row][column] :=` value `first + row` of that column's pixel, `pitch` values from row to row.
///
/// # Safety
/// Each pixel has [`SIDE`] values from `first` on; `to` is valid for as many in each of as many rows.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn transposed(pixels: &[&[Bf16]; SIDE], first: usize, to: *mut Bf16, pitch: usize) {
    for (column, pixel) in pixels.iter().enumerate() {
        for (row, &value) in pixel[first..first + SIDE].iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *to.add(row * pitch + column) = value };
        }
    }
}

/// `to :=` the values of a panel of two pixels in pairs, from value `first` on.
///
/// # Safety
/// Each pixel has [`PANEL`] values from `first` on; `to` is valid for twice as many.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(super) unsafe fn interleaved(even: &[Bf16], odd: &[Bf16], first: usize, to: *mut Bf16) {
    // SAFETY: the caller's promise; every machine has SSE2.
    unsafe {
        let (even, odd) = (even.as_ptr().add(first), odd.as_ptr().add(first));
        let (e, o) = (_mm_loadu_si128(even.cast()), _mm_loadu_si128(odd.cast()));
        _mm_storeu_si128(to.cast(), _mm_unpacklo_epi16(e, o));
        _mm_storeu_si128(to.add(SIDE).cast(), _mm_unpackhi_epi16(e, o));
        let (e, o) = (_mm_loadu_si128(even.add(SIDE).cast()), _mm_loadu_si128(odd.add(SIDE).cast()));
        _mm_storeu_si128(to.add(PANEL).cast(), _mm_unpacklo_epi16(e, o));
        _mm_storeu_si128(to.add(PANEL + SIDE).cast(), _mm_unpackhi_epi16(e, o));
    }
}

/// `to :=` the values of a panel of two pixels in pairs, from value `first` on.
///
/// # Safety
/// Each pixel has [`PANEL`] values from `first` on; `to` is valid for twice as many.
#[cfg(not(target_arch = "x86_64"))]
pub(super) unsafe fn interleaved(even: &[Bf16], odd: &[Bf16], first: usize, to: *mut Bf16) {
    let pixels = even[first..first + PANEL].iter().zip(&odd[first..first + PANEL]);
    for (i, (&even, &odd)) in pixels.enumerate() {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[Bf16; 2]>().add(i).write([even, odd]) };
    }
}
