//! A band's inputs and gradients, laid out for the products.

use super::super::super::ConvShape;
use super::super::super::pack::PANEL;
use super::super::pack::TAP_BLOCK;
use super::plan::Plan;
use crate::Bf16;
use crate::plane::Plane;

/// Pixels and channels that are transposed at a time.
const BLOCK: usize = 8;

/// The tensors that bands are copied from.
pub(super) struct Source<'a> {
    pub s: &'a ConvShape,
    pub x: &'a [Bf16],
    pub xp: Plane,
    pub dy: &'a [Bf16],
    pub dyp: Plane,
    /// A pixel of zeros.
    pub zeros: &'a [Bf16],
}

impl<'a> Source<'a> {
    /// Writes all of a band.
    pub(super) fn fill(&self, plan: &Plan, band: usize, out: &mut [Bf16]) {
        let image = band / plan.image_bands;
        let first = band % plan.image_bands * plan.band_rows;
        let rows = plan.band_rows.min(self.dyp.height - first);
        let (inputs, gradients) = out.split_at_mut(plan.gradients);

        let Source { s, x, xp, dy, dyp, zeros } = *self;
        let zeros = &zeros[..plan.depth];
        // Rows and columns that some tap of the phase reaches; others stay unread and count as zero.
        let reached =
            |pixels: usize, taps: usize, phase: usize| pixels + (taps - phase).div_ceil(s.stride) - 1;
        for (phase, inputs) in inputs.chunks_exact_mut(plan.rows * plan.row_len).enumerate() {
            let (py, px) = (phase / plan.phases.1, phase % plan.phases.1);
            let corner = image * xp.len()
                + (xp.border - s.padding + s.stride * first + py) * xp.row_pitch()
                + (xp.border - s.padding + px) * xp.channels;
            let grid = Grid {
                values: &x[corner..],
                rows: reached(rows, plan.taps.0, py),
                columns: reached(dyp.width, plan.taps.1, px),
                row_step: s.stride * xp.row_pitch(),
                pixel_step: s.stride * xp.channels,
                pitch: plan.pitch,
                zeros,
            };
            transpose(grid, plan, inputs);
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
        pair(grid, plan, gradients);
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
fn transpose(grid: Grid<'_>, plan: &Plan, out: &mut [Bf16]) {
    let depth = grid.zeros.len();
    let mut pixels = grid.pixels();
    for at in (0..plan.row_len).step_by(BLOCK) {
        let mut block = [pixels.grid.zeros; BLOCK];
        for pixel in &mut block {
            *pixel = pixels.next();
        }
        for row in (0..depth).step_by(BLOCK) {
            let mut values = [[Bf16::default(); BLOCK]; BLOCK];
            if depth - row >= BLOCK {
                for (values, pixel) in values.iter_mut().zip(&block) {
                    values.copy_from_slice(&pixel[row..row + BLOCK]);
                }
            } else {
                for (values, pixel) in values.iter_mut().zip(&block) {
                    values[..depth - row].copy_from_slice(&pixel[row..]);
                }
            }
            let values = transposed(&values);
            for (row, values) in (row..plan.rows).zip(&values) {
                out[row * plan.row_len + at..][..BLOCK].copy_from_slice(values);
            }
        }
    }
}

/// `out[panel][pixel / 2][16 channels][2]`.
fn pair(grid: Grid<'_>, plan: &Plan, out: &mut [Bf16]) {
    let channels = grid.zeros.len();
    let panel_len = plan.panel_len();
    let mut pixels = grid.pixels();
    for pair in 0..plan.blocks * TAP_BLOCK / 2 {
        let (even, odd) = (pixels.next(), pixels.next());
        for (panel, first) in (0..channels).step_by(PANEL).enumerate() {
            let out = &mut out[panel * panel_len + pair * 2 * PANEL..][..2 * PANEL];
            let (pairs, _) = out.as_chunks_mut::<2>();
            match (even[first..].first_chunk::<PANEL>(), odd[first..].first_chunk::<PANEL>()) {
                (Some(even), Some(odd)) => {
                    for ((out, &even), &odd) in pairs.iter_mut().zip(even).zip(odd) {
                        *out = [even, odd];
                    }
                }
                _ => {
                    pairs.fill([Bf16::default(); 2]);
                    for ((out, &even), &odd) in pairs.iter_mut().zip(&even[first..]).zip(&odd[first..]) {
                        *out = [even, odd];
                    }
                }
            }
        }
    }
}

/// Rows and columns exchanged.
#[inline(always)]
fn transposed(rows: &[[Bf16; BLOCK]; BLOCK]) -> [[Bf16; BLOCK]; BLOCK] {
    let mut columns = [[Bf16::default(); BLOCK]; BLOCK];
    for (i, row) in rows.iter().enumerate() {
        for (column, &value) in columns.iter_mut().zip(row) {
            column[i] = value;
        }
    }
    columns
}
