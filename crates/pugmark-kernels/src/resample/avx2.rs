//! Rows of RGB pixels with AVX2, four pixels at a time.
//!
//! The compiler leaves this loop scalar. Products of 16 bits, added in pairs, are the fastest there are, but weights
//! have more bits: each is cut into a high and a low part, whose sums are exact and are put together at the end.

use std::arch::x86_64::*;

use super::Resample;

/// Pixels that are taken together.
const CHUNK: usize = 4;

/// Bits of the low part of a weight.
const LOW: u32 = 11;

/// Bytes read behind the last chunk of a window: a load takes 16, a chunk has 12.
const BEHIND: usize = 4;

/// Rows done together: the weights of one photo are larger than the first-level cache and are read once for all.
const ROWS: usize = 4;

/// High parts, then low parts, in the order of [`spread`]'s lanes.
type Weights = [[i16; 16]; 2];

/// Windows as the loop takes them.
pub(super) struct Packed {
    pitch: usize,
    precision: u32,
    /// Where each window begins in a row, in bytes.
    offsets: Vec<usize>,
    /// Chunks in a window.
    chunks: usize,
    weights: Vec<Weights>,
}

impl Packed {
    /// None where the line is shorter than a window of whole chunks.
    pub(super) fn new(resample: &Resample) -> Option<Self> {
        let Resample { size, precision, taps, ref firsts, ref weights } = *resample;
        let chunks = taps.div_ceil(CHUNK);
        let latest = size.checked_sub(chunks * CHUNK)?;
        let mut packed = Self {
            pitch: size * 3,
            precision,
            offsets: Vec::with_capacity(firsts.len()),
            chunks,
            weights: vec![[[0; 16]; 2]; firsts.len() * chunks],
        };
        for ((&first, window), chunks) in
            firsts.iter().zip(weights.chunks_exact(taps)).zip(packed.weights.chunks_exact_mut(chunks))
        {
            // Near the end of the line a window begins earlier, with zeros.
            let start = first.min(latest);
            packed.offsets.push(start * 3);
            for (pixel, &weight) in (first - start..chunks.len() * CHUNK).zip(window) {
                let parts = [weight >> LOW, weight & ((1 << LOW) - 1)];
                for (lanes, part) in chunks[pixel / CHUNK].iter_mut().zip(parts) {
                    // Two pixels a half of the vector, and a pair of lanes for each channel.
                    let lane = pixel % CHUNK / 2 * 8 + pixel % 2;
                    for channel in 0..3 {
                        lanes[lane + channel * 2] = part as i16;
                    }
                }
            }
        }
        Some(packed)
    }

    /// As [`Resample::along_rows`], on a machine that has AVX2.
    pub(super) fn along_rows(&self, src: &[u8], dst: &mut [u8]) {
        let (pitch, dst_pitch) = (self.pitch, self.offsets.len() * 3);
        let rows = src.len() / pitch;
        let mut row = 0;
        while row < rows {
            let (from, to) = (row * pitch, row * dst_pitch);
            if row + ROWS < rows {
                // SAFETY: the caller saw that the machine has AVX2.
                unsafe { self.rows::<ROWS>(&src[from..], &mut dst[to..to + ROWS * dst_pitch]) };
                row += ROWS;
            } else {
                // The load behind the last row would leave the photo.
                let mut last = vec![0; pitch + BEHIND];
                last[..pitch].copy_from_slice(&src[from..from + pitch]);
                // SAFETY: as above.
                unsafe { self.rows::<1>(&last, &mut dst[to..to + dst_pitch]) };
                row += 1;
            }
        }
    }

    /// The first `N` rows of `src`, which is at least [`BEHIND`] bytes longer than those.
    #[target_feature(enable = "avx2")]
    fn rows<const N: usize>(&self, src: &[u8], dst: &mut [u8]) {
        let length = self.chunks * CHUNK * 3 + BEHIND;
        let dst_pitch = dst.len() / N;
        let spread = spread();
        let half = _mm_set1_epi32(1 << (self.precision - 1));
        let precision = _mm_cvtsi32_si128(self.precision.cast_signed());
        for (out, (&offset, weights)) in
            self.offsets.iter().zip(self.weights.chunks_exact(self.chunks)).enumerate()
        {
            // Not `array::from_fn`: its closure is not inlined into a function with target features.
            let mut windows = [&src[..0]; N];
            for (row, window) in windows.iter_mut().enumerate() {
                *window = &src[row * self.pitch + offset..][..length];
            }
            let mut high = [_mm256_setzero_si256(); N];
            let mut low = [_mm256_setzero_si256(); N];
            for (chunk, [w_high, w_low]) in weights.iter().enumerate() {
                // SAFETY: each array is 32 bytes long.
                let (w_high, w_low) = unsafe {
                    (_mm256_loadu_si256(w_high.as_ptr().cast()), _mm256_loadu_si256(w_low.as_ptr().cast()))
                };
                for row in 0..N {
                    // SAFETY: `chunk` is below `chunks`, and 16 bytes from the start of the last one end the window.
                    let pixels =
                        unsafe { _mm_loadu_si128(windows[row].as_ptr().add(chunk * CHUNK * 3).cast()) };
                    let pixels = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(pixels), spread);
                    high[row] = _mm256_add_epi32(high[row], _mm256_madd_epi16(pixels, w_high));
                    low[row] = _mm256_add_epi32(low[row], _mm256_madd_epi16(pixels, w_low));
                }
            }
            for row in 0..N {
                let sums = _mm256_add_epi32(_mm256_slli_epi32::<{ LOW as i32 }>(high[row]), low[row]);
                let sums = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256::<1>(sums));
                // As `rounded`: what narrows them keeps sums between 0 and 255.
                let sums = _mm_sra_epi32(_mm_add_epi32(sums, half), precision);
                let sums = _mm_packs_epi32(sums, sums);
                let pixel = _mm_cvtsi128_si32(_mm_packus_epi16(sums, sums)).to_le_bytes();
                dst[row * dst_pitch + out * 3..][..3].copy_from_slice(&pixel[..3]);
            }
        }
    }
}

/// Of 4 pixels in each half: in the lower half the channels of the first two, in the upper of the other two, as 16-bit
/// pairs R R, G G, B B and zeros.
#[target_feature(enable = "avx2")]
fn spread() -> __m256i {
    _mm256_setr_epi8(
        0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1, //
        6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1,
    )
}
