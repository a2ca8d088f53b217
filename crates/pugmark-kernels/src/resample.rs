//! Weighted sums of 8-bit pixels, for resizing: integers in fixed point, so that every instruction set gives the same
//! bits.

use crate::Isa;
use crate::simd::multiversion;

#[cfg(target_arch = "x86_64")]
mod avx2;

/// What each output pixel of a line is made of: its first input pixel, and a weight for each from there on.
///
/// Sums are 32 bits wide: 255 times the sum of an output pixel's weights, plus half of `1 << precision`, must fit.
pub struct Resample {
    size: usize,
    precision: u32,
    /// Weights an output pixel; shorter windows end in zeros, which may lie behind the line.
    taps: usize,
    firsts: Vec<usize>,
    weights: Vec<i32>,
}

impl Resample {
    /// For lines of `size` pixels; one `(first, weights)` an output pixel, weights in units of `1 / (1 << precision)`.
    ///
    /// # Panics
    /// If a window is empty or ends behind the line, or a weight takes more than 27 bits with its sign.
    pub fn new(size: usize, precision: u32, windows: &[(usize, Vec<i32>)]) -> Self {
        let taps = windows.iter().map(|(_, weights)| weights.len()).max().unwrap_or(0);
        let mut weights = Vec::with_capacity(windows.len() * taps);
        for (first, window) in windows {
            assert!(!window.is_empty() && first + window.len() <= size, "windows");
            assert!(window.iter().all(|weight| weight.unsigned_abs() < 1 << 26), "weights");
            weights.extend(window);
            weights.resize(weights.len() + taps - window.len(), 0);
        }
        Self { size, precision, taps, firsts: windows.iter().map(|window| window.0).collect(), weights }
    }

    /// Along each row of RGB pixels: `src` is `rows x size x 3`, `dst` is `rows x windows x 3`.
    pub fn along_rows(&self, src: &[u8], dst: &mut [u8]) {
        let (pitch, dst_pitch) = (self.size * 3, self.firsts.len() * 3);
        if dst_pitch == 0 {
            return;
        }
        assert!(src.len().is_multiple_of(pitch), "src");
        assert_eq!(dst.len(), src.len() / pitch * dst_pitch, "dst");
        #[cfg(target_arch = "x86_64")]
        if Isa::active() >= Isa::Avx2
            && let Some(packed) = avx2::Packed::new(self)
        {
            return packed.along_rows(src, dst);
        }
        for (row, dst) in src.chunks_exact(pitch).zip(dst.chunks_exact_mut(dst_pitch)) {
            let windows = self.firsts.iter().zip(self.weights.chunks_exact(self.taps));
            for ((&first, weights), dst) in windows.zip(dst.as_chunks_mut::<3>().0) {
                let mut sums = [1 << (self.precision - 1); 3];
                for (pixel, weight) in row[first * 3..].as_chunks::<3>().0.iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(value) * weight;
                    }
                }
                *dst = sums.map(|sum| rounded(sum, self.precision));
            }
        }
    }

    /// Along each column: `src` is `size x pitch` bytes, `dst` is `windows x pitch`.
    pub fn along_columns(&self, src: &[u8], pitch: usize, dst: &mut [u8]) {
        assert_eq!(src.len(), self.size * pitch, "src");
        assert_eq!(dst.len(), self.firsts.len() * pitch, "dst");
        if dst.is_empty() {
            return;
        }
        let isa = Isa::active();
        let mut sums = vec![0; pitch];
        let windows = self.firsts.iter().zip(self.weights.chunks_exact(self.taps));
        for ((&first, weights), dst) in windows.zip(dst.chunks_exact_mut(pitch)) {
            weighted_rows(isa, &src[first * pitch..], weights, self.precision, &mut sums, dst);
        }
    }
}

multiversion! {
    /// One output row: `src`'s rows, each as long as `dst`, times a weight each. `sums` is scratch.
    fn weighted_rows(src: &[u8], weights: &[i32], precision: u32, sums: &mut [i32], dst: &mut [u8]) {
        sums.fill(1 << (precision - 1));
        for (row, &weight) in src.chunks_exact(dst.len()).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, &sum) in dst.iter_mut().zip(sums.iter()) {
            *out = rounded(sum, precision);
        }
    }
}

#[inline(always)]
fn rounded(sum: i32, precision: u32) -> u8 {
    (sum >> precision).clamp(0, 255) as u8
}
