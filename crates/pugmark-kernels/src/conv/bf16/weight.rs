//! The gradient of a bf16 convolution's weights.
//!
//! A sum over pixels takes its pairs along pixels. So inputs are transposed, `[input channel][pixel]`, and gradients
//! are laid out as weights are, `[pixel / 2][16 output channels][2]`; where both count pixels at one pitch, each tap of
//! the kernel is a product of the same two matrices, the inputs shifted by the tap's place. Where rows are short, the
//! pixels between them would cost more than a copy of the inputs for each column of taps.
//!
//! Both are laid out for some rows of an image at a time, a band, whose copy stays in cache while all taps pass over it.
//! Where there are enough pixels for each task to have bands and sums of its own, nothing else is shared; where weights
//! are many, bands are laid out first and tasks share out the sums.

mod fill;
mod plan;
mod shuffle;
#[cfg(test)]
mod tests;

use std::ops::Range;

use rayon::prelude::*;

use super::super::ConvShape;
use super::super::pack::PANEL;
use super::pack::TAP_BLOCK;
use super::{PairProduct, PairTile, Path, Task, dispatch};
use crate::parallel::{GRAIN, Shared, for_each_chunk};
use crate::plane::Plane;
use crate::simd::Simd;
use crate::{Bf16, Isa};
use fill::Source;
use plan::{ALIGN, Cut, Plan};

/// Blocks of 32 pixels whose inputs and gradients of 32 channels each stay in the first-level cache (32 to 48 KiB).
const PIECE_BLOCKS: usize = 10;
/// Rows of inputs that take turns with a block of channels.
const GROUP_ROWS: usize = 32;

/// See [`conv2d_backward_weight_scratch_len`](crate::conv2d_backward_weight_scratch_len).
pub(super) fn scratch_len(s: &ConvShape, images: usize, xp: &Plane, dyp: &Plane) -> usize {
    if images * dyp.pixels() * s.weights() == 0 {
        return 0;
    }
    // The work of fewer images may be cut in another way, which may take more.
    (1..=images).map(|images| Plan::new(s, images, xp, dyp).scratch_len()).max().unwrap_or(0)
}

/// See [`conv2d_backward_weight`](crate::conv2d_backward_weight); planes, lengths and that there is something to add
/// up are checked.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub(super) fn backward_weight(
    path: Path,
    s: &ConvShape,
    images: usize,
    x: &[Bf16],
    xp: Plane,
    dy: &[Bf16],
    dyp: Plane,
    dw_hwio: &mut [f32],
    scratch: &mut [f32],
) {
    let plan = Plan::new(s, images, &xp, &dyp);
    let (_, xp, dyp) = plan::joined(s, images, &xp, &dyp);
    let zeros = vec![Bf16::default(); plan.depth.max(s.out_channels)];
    run(path, &plan, &Source { isa: Isa::active(), s, x, xp, dy, dyp, zeros: &zeros }, dw_hwio, scratch);
}

fn run(path: Path, plan: &Plan, source: &Source<'_>, dw_hwio: &mut [f32], scratch: &mut [f32]) {
    let needed = plan.scratch_len();
    assert!(scratch.len() >= needed, "scratch: {} values instead of {needed}", scratch.len());
    let scratch = &mut scratch[..needed];
    let (_, scratch) =
        scratch.split_at_mut(scratch.as_ptr().align_offset(ALIGN * size_of::<f32>()).min(ALIGN));
    let (partial, scratch) = scratch.split_at_mut(plan.partial_len());
    // SAFETY: any bits are a bf16, which needs less alignment than f32.
    let (_, bands, _) = unsafe { scratch.align_to_mut::<Bf16>() };
    let sums = if plan.direct() { &mut *dw_hwio } else { &mut *partial };
    match plan.cut {
        Cut::Pixels { split_bands, group_bands, .. } => {
            let bands = bands.par_chunks_exact_mut(group_bands * plan.band_len);
            sums.par_chunks_exact_mut(plan.sums_len).zip(bands).enumerate().for_each(
                |(split, (sums, bands))| {
                    let first = split * split_bands;
                    let end = plan.bands.min(first + split_bands);
                    for group in (first..end).step_by(group_bands) {
                        let count = group_bands.min(end - group);
                        let bands = &mut bands[..count * plan.band_len];
                        for (i, band) in bands.chunks_exact_mut(plan.band_len).enumerate() {
                            source.fill(plan, group + i, band);
                        }
                        let (area, accumulate) = (Area::whole(plan), group > first);
                        // SAFETY: `path` is what the machine has, and the sums are this task's.
                        unsafe {
                            let sums = sums.as_mut_ptr();
                            dispatch(path, Multiply { plan, bands, count, area, sums, accumulate });
                        }
                    }
                },
            );
        }
        Cut::Channels { group_bands, sides } => {
            let sums = Shared::new(sums);
            let areas = Area::parts(plan, sides);
            for group in (0..plan.bands).step_by(group_bands) {
                let count = group_bands.min(plan.bands - group);
                let bands = &mut bands[..count * plan.band_len];
                bands
                    .par_chunks_exact_mut(plan.band_len)
                    .enumerate()
                    .for_each(|(i, band)| source.fill(plan, group + i, band));
                areas.par_iter().for_each(|area| {
                    let (bands, area, accumulate) = (&*bands, area.clone(), group > 0);
                    // SAFETY: `path` is what the machine has, and areas are disjoint.
                    unsafe {
                        let sums = sums.at(0);
                        dispatch(path, Multiply { plan, bands, count, area, sums, accumulate });
                    }
                });
            }
        }
    }
    if !plan.direct() {
        reduce(plan, source.s, partial, dw_hwio);
    }
}

/// The weights' sums: those of all splits, without the rows and channels that only fill up.
fn reduce(plan: &Plan, s: &ConvShape, partial: &[f32], dw_hwio: &mut [f32]) {
    let channels = s.out_channels;
    let task_rows = (GRAIN / (channels * plan.splits())).max(1);
    for_each_chunk(dw_hwio, task_rows * channels, |task, dw| {
        for (i, dw) in dw.chunks_exact_mut(channels).enumerate() {
            let row = task * task_rows + i;
            let at = (row / plan.depth * plan.rows + row % plan.depth) * plan.channels;
            dw.copy_from_slice(&partial[at..][..channels]);
            for partial in partial.chunks_exact(plan.sums_len).skip(1) {
                for (dw, part) in dw.iter_mut().zip(&partial[at..]) {
                    *dw += part;
                }
            }
        }
    });
}

/// Some of the sums: rows of transposed inputs and output channels.
#[derive(Clone)]
struct Area {
    rows: Range<usize>,
    channels: Range<usize>,
}

impl Area {
    fn whole(plan: &Plan) -> Self {
        Area { rows: 0..plan.rows, channels: 0..plan.channels }
    }

    /// Areas of about so many rows and channels.
    fn parts(plan: &Plan, sides: (usize, usize)) -> Vec<Self> {
        // Whole tiles of the widest kind.
        let chunks = |len: usize, side: usize| {
            let chunk = len.div_ceil(len.div_ceil(side)).next_multiple_of(32);
            (0..len).step_by(chunk).map(move |first| first..len.min(first + chunk))
        };
        let mut areas = Vec::new();
        for rows in chunks(plan.rows, sides.0) {
            areas
                .extend(chunks(plan.channels, sides.1).map(|channels| Area { rows: rows.clone(), channels }));
        }
        areas
    }
}

/// The products of some bands, for an area of the sums.
struct Multiply<'a> {
    plan: &'a Plan,
    bands: &'a [Bf16],
    count: usize,
    area: Area,
    /// The first of all sums.
    sums: *mut f32,
    accumulate: bool,
}

impl Task for Multiply<'_> {
    #[inline(always)]
    unsafe fn run<T: PairTile>(self) {
        let Plan { blocks, band_len, .. } = *self.plan;
        assert!(self.bands.len() == self.count * band_len, "bands: wrong length");
        // SAFETY: the caller's promise.
        let mut session = unsafe { T::begin() };
        // A piece is some of a band's blocks, or some whole bands.
        let (pieces, piece_bands) = (blocks.div_ceil(PIECE_BLOCKS), (PIECE_BLOCKS / blocks).max(1));
        for band in (0..self.count).step_by(piece_bands) {
            for piece in 0..pieces {
                let piece = Piece {
                    band,
                    bands: piece_bands.min(self.count - band),
                    blocks: piece * blocks / pieces..(piece + 1) * blocks / pieces,
                    accumulate: self.accumulate || band > 0 || piece > 0,
                };
                // SAFETY: the caller's promise; the piece is inside the bands.
                unsafe { self.add::<T>(&mut session, &piece) };
            }
        }
    }
}

struct Piece {
    band: usize,
    bands: usize,
    blocks: Range<usize>,
    accumulate: bool,
}

impl Multiply<'_> {
    #[inline(always)]
    unsafe fn add<T: PairTile>(&self, session: &mut T::Session, piece: &Piece) {
        let Multiply { plan, area, .. } = self;
        let panel_len = plan.panel_len();
        let start = piece.band * plan.band_len;
        // The compiler must see that taps are even in number.
        let end = piece.blocks.end * TAP_BLOCK / 2;
        let end = if T::WHOLE_LINES { end } else { end.min(plan.pairs) };
        let tap_len = 2 * (end - piece.blocks.start * TAP_BLOCK / 2);
        // Rows are even in number; tiles of them are as equal as can be.
        let (pairs, channels) = (area.rows.len() / 2, area.channels.clone());
        let tiles = pairs.div_ceil(T::RUN);
        let tile_row = |tile: usize| area.rows.start + 2 * (tile * (pairs / tiles) + tile.min(pairs % tiles));
        let group_tiles = (GROUP_ROWS / (2 * T::RUN)).max(1);
        for group in (0..tiles).step_by(group_tiles) {
            for channel in channels.clone().step_by(T::BLOCK) {
                let vectors = T::BLOCK.min(channels.end - channel).div_ceil(T::S::LANES);
                let panel = plan.gradients + channel / PANEL * panel_len + 2 * (channel % PANEL);
                let weights = start + panel + piece.blocks.start * TAP_BLOCK * PANEL;
                for tap in 0..plan.taps.0 * plan.taps.1 {
                    for tile in group..tiles.min(group + group_tiles) {
                        let row = tile_row(tile);
                        let len = (tile_row(tile + 1) - row) / 2;
                        let input = start + plan.input(tap, row) + piece.blocks.start * TAP_BLOCK;
                        let sums = (tap * plan.rows + row) * plan.channels + channel;
                        // SAFETY: a band holds `blocks` of every row from every tap's place on, and of every panel;
                        // rows and channels are inside the sums; both as `Plan` lays them out.
                        unsafe {
                            let input = self.bands.as_ptr().add(input);
                            // Opaque: or the compiler works one run's pointers out from the other's, in the inner loop.
                            let operands = PairProduct {
                                runs: std::hint::black_box([input, input.wrapping_add(len * plan.row_len)]),
                                row_step: std::hint::black_box(plan.row_len),
                                tap_rows: piece.bands,
                                tap_pitch: plan.band_len,
                                tap_len,
                                weights: self.bands.as_ptr().add(weights),
                                weight_pitch: plan.band_len,
                                panel_len,
                                sums: self.sums.add(sums),
                                pitch: plan.channels,
                                accumulate: piece.accumulate,
                            };
                            T::product(session, 2, len, vectors, &operands);
                        }
                    }
                }
            }
        }
    }
}
