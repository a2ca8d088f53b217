//! The gradient of the weights, Winograd's way.
//!
//! Per place, the transformed inputs times the transformed gradients are summed over all tiles; the sums are
//! transformed to weights once. Tiles are taken a block at a time, so that their transforms stay in the shared cache.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::super::ConvShape;
use super::super::tile::{MAX_BLOCK, Outer, Tile};
use super::{PLACES, STRIP_COLUMNS, Strip, Tiles, gap, square, transform};
use crate::Isa;
use crate::parallel::Shared;
use crate::plane::{Plane, check, check_len};
use crate::simd::per_isa;

/// Values of a block's transformed inputs and gradients.
const BLOCK_VALUES: usize = 1 << 20;
/// Tiles of a block at least: all sums pass by for each block.
const LEAST_TILES: usize = 128;
/// Tiles that a task transforms, and output channels that a task sums.
const TASK_TILES: usize = 16;
const TASK_CHANNELS: usize = 128;

/// Values of workspace that [`winograd_backward_weight`] needs for `images` outputs of `height` x `width`.
pub fn winograd_weight_workspace_len(s: &ConvShape, images: usize, height: usize, width: usize) -> usize {
    let output = Plane { height, width, channels: s.out_channels, border: 0 };
    Layout::new(s, &Tiles::new(images, &output)).len
}

/// As [`conv2d_backward_weight`](crate::conv2d_backward_weight), for a convolution that
/// [`ConvShape::suits_winograd`]; `workspace` has at least [`winograd_weight_workspace_len`] values, of any content.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn winograd_backward_weight(
    s: &ConvShape,
    images: usize,
    x: &[f32],
    xp: Plane,
    dy: &[f32],
    dyp: Plane,
    dw_hwio: &mut [f32],
    workspace: &mut [f32],
) {
    assert!(s.has_winograd_form::<f32>(), "{s:?} has no Winograd form");
    check("x", x.len(), images, &xp);
    check("dy", dy.len(), images, &dyp);
    check_len("dw_hwio", dw_hwio.len(), s.weights());
    s.check_planes(&xp, &dyp);
    let tiles = Tiles::new(images, &dyp);
    if tiles.count == 0 {
        dw_hwio.fill(0.0);
        return;
    }
    let layout = Layout::new(s, &tiles);
    assert!(workspace.len() >= layout.len, "workspace: {} values instead of {}", workspace.len(), layout.len);
    let zeros = vec![0.0; (STRIP_COLUMNS * s.in_channels).max(s.out_channels)];
    let job = Job { s, x, xp, dy, dyp, tiles, layout, zeros, workspace: Shared::new(workspace) };
    let (isa, dw) = (Isa::active(), Shared::new(dw_hwio));
    let each = |tasks: usize, stage: Stage| {
        (0..tasks).into_par_iter().for_each(|task| {
            // SAFETY: the machine has what `isa` says, slices and planes are checked, tasks of a stage write disjoint
            // values, and a stage reads what an earlier one wrote.
            unsafe { run_task(isa, &job, stage, task, dw) };
        });
    };
    for first in (0..tiles.count).step_by(layout.block_tiles) {
        let count = layout.block_tiles.min(tiles.count - first);
        each(count.div_ceil(TASK_TILES), Stage::Transform { first, count });
        each(PLACES * s.out_channels.div_ceil(TASK_CHANNELS), Stage::Sum { first, count });
    }
    each(s.in_channels, Stage::Finish);
}

/// What the tasks of a parallel loop do.
#[derive(Clone, Copy)]
enum Stage {
    Transform { first: usize, count: usize },
    Sum { first: usize, count: usize },
    Finish,
}

/// How the workspace is cut: inputs, gradients and sums, each place by place.
#[derive(Clone, Copy)]
struct Layout {
    block_tiles: usize,
    input_step: usize,
    gradients: usize,
    gradient_step: usize,
    sums: usize,
    sum_step: usize,
    len: usize,
}

impl Layout {
    fn new(s: &ConvShape, tiles: &Tiles) -> Self {
        // Whole blocks of the widest kind, so that every instruction set fits.
        let outputs = s.out_channels.next_multiple_of(MAX_BLOCK);
        let fitting = BLOCK_VALUES / (PLACES * (s.in_channels + outputs));
        let block_tiles = tiles.count.min(fitting.max(LEAST_TILES)).max(1);
        let input_step = block_tiles * s.in_channels + gap::<f32>();
        let gradients = PLACES * input_step;
        let gradient_step = block_tiles * outputs + gap::<f32>();
        let sums = gradients + PLACES * gradient_step;
        let sum_step = s.in_channels * s.out_channels + gap::<f32>();
        let len = sums + PLACES * sum_step;
        Layout { block_tiles, input_step, gradients, gradient_step, sums, sum_step, len }
    }
}

struct Job<'a> {
    s: &'a ConvShape,
    x: &'a [f32],
    xp: Plane,
    dy: &'a [f32],
    dyp: Plane,
    tiles: Tiles,
    layout: Layout,
    zeros: Vec<f32>,
    workspace: Shared<'a>,
}

per_isa! {
    /// # Safety
    /// The machine has the instruction set, slices and planes fit, and no other task of the stage has the same index.
    unsafe fn run_task<S: Tile>(job: &Job<'_>, stage: Stage, task: usize, dw: Shared<'_>) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match stage {
                Stage::Transform { first, count } => {
                    let start = task * TASK_TILES;
                    transform_tiles::<S>(job, first, start..count.min(start + TASK_TILES), count);
                }
                Stage::Sum { first, count } => sum::<S>(job, first == 0, count, task),
                Stage::Finish => finish::<S>(job, task, dw),
            }
        }
    }
}

/// Inputs and gradients of some tiles of the block that has `count` from `first` on.
#[inline(always)]
unsafe fn transform_tiles<S: Tile>(job: &Job<'_>, first: usize, tiles: Range<usize>, count: usize) {
    let Job { s, xp, dyp, layout, .. } = job;
    let inset = xp.border - s.padding;
    let mut lines = [const { MaybeUninit::uninit() }; STRIP_COLUMNS];
    let mut i = tiles.start;
    while i < tiles.end {
        let strip_tiles = job.tiles.strip(first + i, tiles.end - i);
        let (image, y, x) = job.tiles.place(first + i);
        let strip = Strip::new(strip_tiles, job.x, xp, (image, y + inset, x + inset), &job.zeros);
        for channel in (0..s.in_channels).step_by(S::LANES) {
            // SAFETY: channels are a multiple of every vector's length, and the layout has room for `count` tiles at each place.
            unsafe {
                let out = job.workspace.at(i * s.in_channels + channel);
                let steps = (layout.input_step, s.in_channels);
                transform::inputs::<f32, S>(&strip, channel, &mut lines, out, steps);
            }
        }
        for i in i..i + strip_tiles {
            let (image, y, x) = job.tiles.place(first + i);
            let gradients = square(job.dy, dyp, (image, y + dyp.border, x + dyp.border), &job.zeros);
            for channel in (0..s.out_channels).step_by(S::LANES) {
                // SAFETY: as above.
                unsafe {
                    let at = (channel / S::BLOCK * count + i) * S::BLOCK + channel % S::BLOCK;
                    let out = job.workspace.at(layout.gradients + at);
                    transform::gradient::<S>(&gradients, channel, out, layout.gradient_step);
                }
            }
        }
        i += strip_tiles;
    }
}

/// Sums over a block's tiles at one place, for some output channels.
#[inline(always)]
unsafe fn sum<S: Tile>(job: &Job<'_>, first_block: bool, count: usize, task: usize) {
    let Job { s, layout, .. } = job;
    let (place, channels) = (task % PLACES, task / PLACES * TASK_CHANNELS);
    let tiles = s.in_channels.div_ceil(S::DEPTH);
    let (short, long) = (s.in_channels / tiles, s.in_channels % tiles);
    for channel in (channels..s.out_channels.min(channels + TASK_CHANNELS)).step_by(S::BLOCK) {
        let mut first = 0;
        for tile in 0..tiles {
            let len = short + usize::from(tile < long);
            // SAFETY: all offsets are inside the workspace, which holds the layout.
            unsafe {
                let gradient =
                    layout.gradients + place * layout.gradient_step + channel / S::BLOCK * count * S::BLOCK;
                let sums = layout.sums + place * layout.sum_step + first * s.out_channels + channel;
                let outer = Outer {
                    input: job.workspace.at(place * layout.input_step + first),
                    rows: &[0],
                    width: count,
                    pixel_step: s.in_channels,
                    gradient: job.workspace.at(gradient),
                    sums: job.workspace.at(sums),
                    pitch: s.out_channels,
                    accumulate: !first_block,
                };
                S::outer(len, (s.out_channels - channel).min(S::BLOCK).div_ceil(S::LANES), &outer);
            }
            first += len;
        }
    }
}

/// The weights of one input channel.
#[inline(always)]
unsafe fn finish<S: Tile>(job: &Job<'_>, input: usize, dw: Shared<'_>) {
    let Job { s, layout, .. } = job;
    for channel in (0..s.out_channels).step_by(S::LANES) {
        let at = input * s.out_channels + channel;
        // SAFETY: as in `sum`; `dw` has a whole vector from each of these channels on.
        unsafe {
            let weights = transform::weight::<S>(job.workspace.at(layout.sums + at), layout.sum_step);
            for (tap, &weight) in weights.iter().flatten().enumerate() {
                S::store(dw.at(tap * s.in_channels * s.out_channels + at), weight);
            }
        }
    }
}
