//! A band's inputs and gradients, laid out for the products.

use super::super::super::ConvShape;
use super::super::super::pack::PANEL;
use super::super::pack::TAP_BLOCK;
use super::plan::Plan;
#[cfg(target_arch = "x86_64")]
use super::shuffle::{Avx512, Sse2};
use super::shuffle::{Shuffle, Single};
use crate::plane::Plane;
use crate::{Bf16, Isa};

/// The tensors that bands are copied from.
pub(super) struct Source<'a> {
    pub isa: Isa,
    pub s: &'a ConvShape,
    pub x: &'a [Bf16],
    pub xp: Plane,
    pub dy: &'a [Bf16],
    pub dyp: Plane,
    /// A pixel of zeros.
    pub zeros: &'a [Bf16],
}

impl<'a> Source<'a> {
    /// Writes all of a band that is read.
    pub(super) fn fill(&self, plan: &Plan, band: usize, out: &mut [Bf16]) {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
        unsafe fn avx512(source: &Source<'_>, plan: &Plan, band: usize, out: &mut [Bf16]) {
            // SAFETY: the caller's promise is the same.
            unsafe { source.fill_by::<Avx512>(plan, band, out) }
        }
        // SAFETY: the machine has what `isa` says.
        unsafe {
            match self.isa.vectors() {
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 if plan.depth >= Avx512::CHANNELS => avx512(self, plan, band, out),
                #[cfg(target_arch = "x86_64")]
                _ => self.fill_by::<Sse2>(plan, band, out),
                #[cfg(not(target_arch = "x86_64"))]
                _ => self.fill_by::<Single>(plan, band, out),
            }
        }
    }

    /// # Safety
    /// As for [`Shuffle`].
    #[inline(always)]
    unsafe fn fill_by<K: Shuffle>(&self, plan: &Plan, band: usize, out: &mut [Bf16]) {
        let image = band / plan.image_bands;
        let first = band % plan.image_bands * plan.band_rows;
        let rows = plan.band_rows.min(self.dyp.height - first);
        let (inputs, gradients) = out.split_at_mut(plan.gradients);

        let Source { s, x, xp, dy, dyp, zeros, .. } = *self;
        let zeros = &zeros[..plan.depth];
        for (phase, inputs) in inputs.chunks_exact_mut(plan.rows * plan.row_len).enumerate() {
            let (py, px) = (phase / plan.phases.1, phase % plan.phases.1);
            let corner = image * xp.len()
                + (xp.border - s.padding + s.stride * first + py) * xp.row_pitch()
                + (xp.border - s.padding + px) * xp.channels;
            let grid = Grid {
                values: &x[corner..],
                rows: plan.reached_rows(rows, py),
                columns: plan.columns(dyp.width, px),
                row_step: s.stride * xp.row_pitch(),
                pixel_step: s.stride * xp.channels,
                pitch: plan.pitch,
                zeros,
            };
            // SAFETY: the caller's promise is the same.
            unsafe { transpose::<K>(grid, plan, inputs) };
        }

        let grid = Grid {
            values: &dy[image * dyp.len() + dyp.offset(first, 0)..],
            rows,
            columns: dyp.width,
            row_step: dyp.row_pitch(),
            pixel_step: dyp.channels,
            pitch: plan.pitch,
            zeros: &self.zeros[..s.out_channels],
        };
        // SAFETY: the caller's promise is the same.
        unsafe { pair::<K>(grid, plan, gradients) };
    }
}

/// Pixels one after the other, `pitch` of them a row, zeros behind each row and behind the last.
struct Grid<'a> {
    values: &'a [Bf16],
    rows: usize,
    columns: usize,
    row_step: usize,
    pixel_step: usize,
    pitch: usize,
    zeros: &'a [Bf16],
}

impl<'a> Grid<'a> {
    fn pixels(self) -> Pixels<'a> {
        Pixels { grid: self, y: 0, x: 0 }
    }
}

struct Pixels<'a> {
    grid: Grid<'a>,
    y: usize,
    x: usize,
}

impl<'a> Pixels<'a> {
    #[inline(always)]
    fn next(&mut self) -> &'a [Bf16] {
        let Grid { values, rows, columns, row_step, pixel_step, pitch, zeros } = self.grid;
        let pixel = if self.x < columns && self.y < rows {
            &values[self.y * row_step + self.x * pixel_step..][..zeros.len()]
        } else {
            zeros
        };
        self.x += 1;
        if self.x == pitch {
            (self.x, self.y) = (0, self.y + 1);
        }
        pixel
    }
}

/// `out[row][pixel]`, a row of zeros behind the last where that makes them even.
#[inline(always)]
unsafe fn transpose<K: Shuffle>(grid: Grid<'_>, plan: &Plan, out: &mut [Bf16]) {
    let (depth, row_len) = (grid.zeros.len(), plan.row_len);
    assert!(out.len() == plan.rows * row_len && plan.used <= row_len, "inputs: wrong length");
    assert!(plan.used.is_multiple_of(TAP_BLOCK), "inputs: part of a block");
    out[depth * row_len..].fill(Bf16::default());
    let mut pixels = grid.pixels();
    // A cache line of each row at a time.
    for at in (0..plan.used).step_by(TAP_BLOCK) {
        let mut block = [pixels.grid.zeros; TAP_BLOCK];
        for pixel in &mut block {
            *pixel = pixels.next();
        }
        // SAFETY: each pixel has `depth` values, and each row of `out` a whole block from `at` on.
        unsafe {
            let to = out.as_mut_ptr().add(at);
            if depth < K::CHANNELS {
                for row in 0..depth {
                    Single::transposed(&block, row, to.add(row * row_len), row_len);
                }
                continue;
            }
            for row in (0..depth).step_by(K::CHANNELS) {
                // The last rows may have been written already.
                let row = row.min(depth - K::CHANNELS);
                K::transposed(&block, row, to.add(row * row_len), row_len);
            }
        }
    }
}

/// `out[panel][pixel / 2][16 channels][2]`.
#[inline(always)]
unsafe fn pair<K: Shuffle>(grid: Grid<'_>, plan: &Plan, out: &mut [Bf16]) {
    let (channels, panel_len) = (grid.zeros.len(), plan.panel_len());
    assert!(out.len() == channels.div_ceil(PANEL) * panel_len, "gradients: wrong length");
    let mut pixels = grid.pixels();
    for pair in 0..plan.blocks * TAP_BLOCK / 2 {
        let (even, odd) = (pixels.next(), pixels.next());
        let at = pair * 2 * PANEL;
        for panel in 0..channels / PANEL {
            // SAFETY: each pixel has the panel's channels, and each panel of `out` this pair.
            unsafe {
                let to = out.as_mut_ptr().add(panel * panel_len + at);
                K::interleaved(even, odd, panel * PANEL, to);
            }
        }
        if !channels.is_multiple_of(PANEL) {
            let first = channels / PANEL * PANEL;
            let last = &mut out[channels / PANEL * panel_len + at..][..2 * PANEL];
            last.fill(Bf16::default());
            let (pairs, _) = last.as_chunks_mut::<2>();
            for ((pair, &even), &odd) in pairs.iter_mut().zip(&even[first..]).zip(&odd[first..]) {
                *pair = [even, odd];
            }
        }
    }
}
