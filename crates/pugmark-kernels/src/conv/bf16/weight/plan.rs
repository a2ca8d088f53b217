//! How a gradient of weights is laid out in memory and cut into tasks, by the size of the problem alone.

use super::super::super::ConvShape;
use super::super::super::pack::PANEL;
use super::super::pack::TAP_BLOCK;
use crate::plane::Plane;

/// f32 values in a cache line: bands and sums start on one.
pub(super) const ALIGN: usize = 16;
/// Bands that a task keeps in its core's second-level cache beside its sums, in bytes.
const GROUP_BYTES: usize = 512 << 10;
/// Bands that all tasks read where they share out the sums, in bytes.
const SHARED_BYTES: usize = 8 << 20;
/// Sums of all tasks that have sums of their own, in values.
const PARTIAL_VALUES: usize = 2 << 20;
/// Multiplications that are worth a task.
const TASK_WORK: usize = 16 << 20;
/// Enough to keep the threads of a large machine evenly busy.
const MAX_TASKS: usize = 32;
/// Fewer tasks than these leave too many threads without one.
const FEW_TASKS: usize = 8;
/// Inputs with fewer channels are transposed with their kernel row's other taps.
const FEW_CHANNELS: usize = 16;
/// Rows of gradients up to this many pixels for each that taps reach beyond them: there inputs are transposed once for each
/// column of taps, for pixels between the rows would take longer.
const SHORT_ROW: usize = 16;

/// How the work is shared out.
pub(super) enum Cut {
    /// Bands, in `splits` of the same number; sums for each split.
    Pixels { splits: usize, split_bands: usize, group_bands: usize },
    /// Sums, in areas of about so many rows and channels.
    Channels { group_bands: usize, sides: (usize, usize) },
}

pub(super) struct Plan {
    /// Inputs under a tap: the channels, or the channels of a kernel row where they are few.
    pub depth: usize,
    /// As many, and an even number: rows of transposed inputs.
    pub rows: usize,
    /// Output channels, in whole panels.
    pub channels: usize,
    /// Rows and columns of taps.
    pub taps: (usize, usize),
    /// Inputs whose row and column leave the same remainders by the stride are a phase, transposed by itself; or those
    /// that gradients meet through a column of taps, where rows are short.
    pub phases: (usize, usize),
    apart: bool,
    stride: usize,
    /// Pixels from row to row, of inputs and gradients.
    pub pitch: usize,
    /// Rows of gradients in a band; an image's last band may have fewer, and zeros behind them.
    pub band_rows: usize,
    pub image_bands: usize,
    pub bands: usize,
    /// Pairs of pixels of a band's gradients, with those between rows, and blocks of 32 pixels that hold them.
    pub pairs: usize,
    pub blocks: usize,
    /// Values of a row of transposed inputs that are ever read.
    pub used: usize,
    /// Values from a row of transposed inputs to the next.
    pub row_len: usize,
    /// Where a band's gradients start.
    pub gradients: usize,
    pub band_len: usize,
    /// Sums `[tap][row][channel]`.
    pub sums_len: usize,
    pub cut: Cut,
    exact: bool,
}

/// Images and planes as bands see them: where a pixel of the gradient meets one pixel alone and none is between images, one image of
/// one column, whose bands are whole blocks.
pub(super) fn joined(s: &ConvShape, images: usize, xp: &Plane, dyp: &Plane) -> (usize, Plane, Plane) {
    if s.kernel != (1, 1) || s.stride != 1 || xp.border + dyp.border + s.padding > 0 {
        return (images, *xp, *dyp);
    }
    let column = |plane: &Plane| Plane { height: images * plane.height * plane.width, width: 1, ..*plane };
    (1, column(xp), column(dyp))
}

impl Plan {
    pub(super) fn new(s: &ConvShape, images: usize, xp: &Plane, dyp: &Plane) -> Self {
        let (images, _, Plane { height, width, .. }) = joined(s, images, xp, dyp);
        let stride = s.stride;
        let (depth, taps) = if s.in_channels < FEW_CHANNELS {
            (s.kernel.1 * s.in_channels, (s.kernel.0, 1))
        } else {
            (s.in_channels, s.kernel)
        };
        let (rows, channels) = (depth.next_multiple_of(2), s.out_channels.next_multiple_of(PANEL));
        // How far taps reach beyond a phase's first.
        let mut reach = ((taps.0 - 1) / stride, (taps.1 - 1) / stride);
        let mut phases = (taps.0.min(stride), taps.1.min(stride));
        let apart = reach.1 > 0 && width <= SHORT_ROW * reach.1;
        if apart {
            (reach.1, phases.1) = (0, taps.1);
        }
        let pitch = width + reach.1;

        let pixel_bytes = 2 * (phases.0 * phases.1 * rows + channels);
        let image_bands = height.div_ceil((GROUP_BYTES / (pixel_bytes * pitch)).max(1));
        let mut band_rows = height.div_ceil(image_bands);
        if pitch == 1 && image_bands > 1 {
            band_rows = band_rows.next_multiple_of(TAP_BLOCK);
        }
        let image_bands = height.div_ceil(band_rows);
        let bands = images * image_bands;
        let pairs = ((band_rows - 1) * pitch + width).div_ceil(2);
        let blocks = pairs.div_ceil(TAP_BLOCK / 2);
        let used = (blocks * TAP_BLOCK + reach.0 * pitch + reach.1).next_multiple_of(TAP_BLOCK);
        // An odd number of cache lines, so that rows do not meet in one set of the cache.
        let row_len = ((used / TAP_BLOCK) | 1) * TAP_BLOCK;
        let gradients = phases.0 * phases.1 * rows * row_len;
        let band_len = gradients + blocks * TAP_BLOCK * channels;
        let sums_len = taps.0 * taps.1 * rows * channels;

        let tasks = (images * height * width * s.weights() / TASK_WORK).clamp(1, MAX_TASKS);
        let splits = tasks.min(PARTIAL_VALUES / sums_len).clamp(1, bands);
        let cut = if splits >= tasks.min(FEW_TASKS) {
            let split_bands = bands.div_ceil(splits);
            let group_bands = (GROUP_BYTES / (2 * band_len)).clamp(1, split_bands);
            Cut::Pixels { splits: bands.div_ceil(split_bands), split_bands, group_bands }
        } else {
            // Sums of a task that stay in its core's second-level cache; all that share rows or channels read them again.
            let side = if taps.0 * taps.1 < 4 { 256 } else { 128 };
            let areas = |rows_side: usize| rows.div_ceil(rows_side) * channels.div_ceil(side);
            let rows_side = (0..3).map(|halved| side >> halved).find(|&side| areas(side) >= FEW_TASKS);
            let groups = bands.div_ceil((SHARED_BYTES / (2 * band_len)).clamp(1, bands));
            Cut::Channels {
                group_bands: bands.div_ceil(groups),
                sides: (rows_side.unwrap_or(side / 4), side),
            }
        };
        let exact = rows == depth && channels == s.out_channels;
        Plan {
            depth,
            rows,
            channels,
            taps,
            phases,
            apart,
            stride,
            pitch,
            band_rows,
            image_bands,
            bands,
            pairs,
            blocks,
            used,
            row_len,
            gradients,
            band_len,
            sums_len,
            cut,
            exact,
        }
    }

    pub(super) fn splits(&self) -> usize {
        match self.cut {
            Cut::Pixels { splits, .. } => splits,
            Cut::Channels { .. } => 1,
        }
    }

    /// The sums are the gradient as it is to be.
    pub(super) fn direct(&self) -> bool {
        self.exact && self.splits() == 1
    }

    /// f32 values of sums that are not the gradient itself.
    pub(super) fn partial_len(&self) -> usize {
        if self.direct() { 0 } else { self.splits() * self.sums_len }
    }

    /// f32 values of all memory that is needed.
    pub(super) fn scratch_len(&self) -> usize {
        let bands = match self.cut {
            Cut::Pixels { splits, group_bands, .. } => splits * group_bands,
            Cut::Channels { group_bands, .. } => group_bands,
        };
        ALIGN + self.partial_len() + bands * self.band_len / 2
    }

    /// Values from a panel of gradients to the next.
    pub(super) fn panel_len(&self) -> usize {
        self.blocks * TAP_BLOCK * PANEL
    }

    /// Where in a band the inputs of a row start that the first gradient meets through a tap.
    pub(super) fn input(&self, tap: usize, row: usize) -> usize {
        let (y, x) = (tap / self.taps.1, tap % self.taps.1);
        let (column, shift) = if self.apart { (x, 0) } else { (x % self.stride, x / self.stride) };
        let phase = y % self.stride * self.phases.1 + column;
        (phase * self.rows + row) * self.row_len + y / self.stride * self.pitch + shift
    }

    /// Columns of inputs that the taps of a column of phases reach.
    pub(super) fn columns(&self, width: usize, phase: usize) -> usize {
        if self.apart { width } else { reached(width, self.taps.1, phase, self.stride) }
    }

    /// As [`Plan::columns`], of rows.
    pub(super) fn reached_rows(&self, rows: usize, phase: usize) -> usize {
        reached(rows, self.taps.0, phase, self.stride)
    }
}

/// Inputs that `gradients` meet through some tap of a phase; others stay unread and count as zero.
fn reached(gradients: usize, taps: usize, phase: usize, stride: usize) -> usize {
    gradients + (taps - phase).div_ceil(stride) - 1
}
