//! Winograd's convolution and the gradient of its input.
//!
//! A task takes a block of tiles through all three stages, so that what is between them stays in its core's cache.

use std::cell::RefCell;

use super::super::pack::PANEL;
use super::super::shape::{ConvShape, Epilogue};
use super::super::tile::{Product, Tile};
use super::{GAP, PATCH, PLACES, TILE, Tiles, square, transform, winograd_packed_len};
use crate::Isa;
use crate::parallel::{Shared, for_each_chunk, zero_border};
use crate::plane::{Plane, check, check_len};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};
use crate::stats::ChannelStats;

/// Bytes of a block's transformed inputs and products: on a Zen 3 core with 512 KiB of second-level cache, 192 KiB gave 190
/// and 250 GFLOP/s (of the direct sum) at 64 and 128 channels where 512 KiB gave 165 and 190.
const BLOCK_BYTES: usize = 192 << 10;
/// Tiles of a block at least, for all weights pass by for each block; and at most, for there must be enough tasks.
const BLOCK_TILES: (usize, usize) = (18, 96);

thread_local! {
    /// A task's transformed inputs and products, kept from call to call.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// As [`conv2d_forward`](crate::conv2d_forward), for a convolution that [`ConvShape::suits_winograd`]; `packed` is
/// [`winograd_pack_forward`](crate::winograd_pack_forward)'s.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn winograd_forward(
    s: &ConvShape,
    images: usize,
    x: &[f32],
    xp: Plane,
    packed: &[f32],
    y: &mut [f32],
    yp: Plane,
    ep: &Epilogue<'_>,
    stats: Option<&mut ChannelStats>,
) {
    s.check_planes(&xp, &yp);
    let padding = s.padding;
    Job::new(s, (images, x, xp, padding), packed, *ep, false).run(y, yp, stats);
}

/// As [`conv2d_backward_data`](crate::conv2d_backward_data), for a convolution that [`ConvShape::suits_winograd`];
/// `packed` is [`winograd_pack_backward`](crate::winograd_pack_backward)'s.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn winograd_backward_data(
    s: &ConvShape,
    images: usize,
    dy: &[f32],
    dyp: Plane,
    packed: &[f32],
    dx: &mut [f32],
    dxp: Plane,
    accumulate: bool,
) {
    s.check_sizes(&dxp, &dyp);
    assert!(dyp.border >= s.gradient_border(), "dyp: {s:?} needs a border of {}", s.gradient_border());
    let flipped = ConvShape { in_channels: s.out_channels, out_channels: s.in_channels, ..*s };
    let padding = 2 - s.padding;
    Job::new(&flipped, (images, dy, dyp, padding), packed, Epilogue::default(), accumulate)
        .run(dx, dxp, None);
}

struct Job<'a> {
    images: usize,
    x: &'a [f32],
    xp: Plane,
    /// Zero pixels that the output assumes around the input.
    padding: usize,
    outputs: usize,
    packed: &'a [f32],
    zeros: Vec<f32>,
    epilogue: Epilogue<'a>,
    /// Add to what the output holds, whose border stays.
    accumulate: bool,
}

/// Where a job writes.
struct Target<'a> {
    tiles: Tiles,
    block_tiles: usize,
    y: Shared<'a>,
    yp: Plane,
}

impl<'a> Job<'a> {
    fn new(
        s: &ConvShape,
        (images, x, xp, padding): (usize, &'a [f32], Plane, usize),
        packed: &'a [f32],
        epilogue: Epilogue<'a>,
        accumulate: bool,
    ) -> Self {
        assert!(s.has_winograd_form(), "{s:?} has no Winograd form");
        check("x", x.len(), images, &xp);
        check_len("packed", packed.len(), winograd_packed_len(s));
        if let Some(bias) = epilogue.bias {
            check_len("bias", bias.len(), s.out_channels);
        }
        let zeros = vec![0.0; s.in_channels];
        Job { images, x, xp, padding, outputs: s.out_channels, packed, zeros, epilogue, accumulate }
    }

    fn run(&self, y: &mut [f32], yp: Plane, stats: Option<&mut ChannelStats>) {
        check("y", y.len(), self.images, &yp);
        if let Some((residual, p)) = self.epilogue.residual {
            assert!(
                p.same_interior(&yp) && residual.len() >= self.images * p.len(),
                "residual: does not fit"
            );
        }
        if !self.accumulate {
            zero_border(y, yp);
        }
        let tiles = Tiles::new(self.images, &yp);
        if tiles.count == 0 {
            return;
        }
        let fitting = BLOCK_BYTES / (4 * PLACES * (self.xp.channels + self.outputs));
        let blocks = tiles.count.div_ceil(fitting.clamp(BLOCK_TILES.0, BLOCK_TILES.1));
        let block_tiles = tiles.count.div_ceil(blocks);
        let target = Target { tiles, block_tiles, y: Shared::new(y), yp };
        let isa = Isa::active();
        let with_stats = stats.is_some();
        // Of each task: its channels' sums, then their sums of squares.
        let mut partial = vec![0f64; tiles.count.div_ceil(block_tiles) * 2 * self.outputs];
        for_each_chunk(&mut partial, 2 * self.outputs, |task, partial| {
            let partial = with_stats.then_some(partial);
            SCRATCH.with_borrow_mut(|scratch| match isa.vectors() {
                // SAFETY: the machine has what `isa` says, slices and planes are checked, tasks write disjoint tiles.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx512 => unsafe { block_avx512(self, &target, task, partial, scratch) },
                // SAFETY: as above.
                #[cfg(target_arch = "x86_64")]
                Isa::Avx2 => unsafe { block_avx2(self, &target, task, partial, scratch) },
                // SAFETY: as above.
                _ => unsafe { run_block::<Portable>(self, &target, task, partial, scratch) },
            });
        });
        if let Some(stats) = stats {
            check_len("stats", stats.channels(), self.outputs);
            for partial in partial.chunks_exact(2 * self.outputs) {
                let (sums, squares) = partial.split_at(self.outputs);
                stats.add(0, sums, squares);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
unsafe fn block_avx512(
    job: &Job<'_>,
    target: &Target<'_>,
    task: usize,
    partial: Option<&mut [f64]>,
    scratch: &mut Vec<f32>,
) {
    // SAFETY: the caller's promise is the same.
    unsafe { run_block::<Avx512>(job, target, task, partial, scratch) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn block_avx2(
    job: &Job<'_>,
    target: &Target<'_>,
    task: usize,
    partial: Option<&mut [f64]>,
    scratch: &mut Vec<f32>,
) {
    // SAFETY: the caller's promise is the same.
    unsafe { run_block::<Avx2>(job, target, task, partial, scratch) }
}

/// One block of tiles.
///
/// # Safety
/// The machine has the instruction set, slices and planes fit, and no other task has the same index.
#[inline(always)]
unsafe fn run_block<S: Tile>(
    job: &Job<'_>,
    target: &Target<'_>,
    task: usize,
    partial: Option<&mut [f64]>,
    scratch: &mut Vec<f32>,
) {
    let (inputs, outputs) = (job.xp.channels, job.outputs);
    let first = task * target.block_tiles;
    let count = (target.tiles.count - first).min(target.block_tiles);
    let input_step = count * inputs + GAP;
    // Products lie block of channels by block of channels, as the tiles of the product write them.
    let blocks = outputs.div_ceil(S::BLOCK);
    let product_step = blocks * count * S::BLOCK + GAP;
    let len = PLACES * (input_step + product_step) + 2 * outputs;
    if scratch.len() < len {
        scratch.resize(len, 0.0);
    }
    let (v, rest) = scratch[..len].split_at_mut(PLACES * input_step);
    let (m, sums) = rest.split_at_mut(PLACES * product_step);
    // Sums of each channel's outputs, then of their squares.
    sums.fill(0.0);

    for i in 0..count {
        let (image, y, x) = target.tiles.place(first + i);
        let inset = job.xp.border - job.padding;
        let pixels = square::<PATCH>(job.x, &job.xp, (image, y + inset, x + inset), &job.zeros);
        for channel in (0..inputs).step_by(S::LANES) {
            // SAFETY: channels are a multiple of every vector's length, so each pixel has a whole vector here, and `v`
            // has this tile's channels at each place.
            unsafe {
                transform::input::<S>(&pixels, channel, v.as_mut_ptr().add(i * inputs + channel), input_step)
            };
        }
    }

    for place in 0..PLACES {
        for block in 0..blocks {
            let channel = block * S::BLOCK;
            let panel = channel / PANEL * PLACES * inputs * PANEL + channel % PANEL;
            let mut i = 0;
            while i < count {
                let left = count - i;
                let (runs, len) = match left {
                    left if left >= 2 * S::RUN => (2, S::RUN),
                    left if left.is_multiple_of(2) => (2, left / 2),
                    left => (1, left.min(S::RUN)),
                };
                // SAFETY: tiles i to i + runs * len are below `count`; the panels of the block's channels are in
                // `packed`, whose length is checked; `m` has a whole block for each tile.
                unsafe {
                    let run = v.as_ptr().add(place * input_step + i * inputs);
                    let product = Product {
                        runs: [run, run.add((runs - 1) * len * inputs)],
                        pixel_step: inputs,
                        tap_rows: 1,
                        tap_pitch: 0,
                        tap_len: inputs,
                        weights: job.packed.as_ptr().wrapping_add(panel + place * inputs * PANEL),
                        panel_len: PLACES * inputs * PANEL,
                    };
                    let sums = m.as_mut_ptr().add(place * product_step + (block * count + i) * S::BLOCK);
                    S::product(
                        runs,
                        len,
                        (outputs - channel).min(S::BLOCK).div_ceil(S::LANES),
                        &product,
                        sums,
                    );
                }
                i += runs * len;
            }
        }
    }

    for i in 0..count {
        for channel in (0..outputs).step_by(S::LANES) {
            let at = (channel / S::BLOCK * count + i) * S::BLOCK + channel % S::BLOCK;
            // SAFETY: `m` holds the tile's products at each place, `sums` a vector from every channel on, and `finish`
            // writes inside the tile alone.
            unsafe {
                let values = transform::output::<S>(m.as_ptr().add(at), product_step);
                let sums = partial
                    .is_some()
                    .then(|| [0, outputs].map(|half| sums.as_mut_ptr().wrapping_add(half + channel)));
                finish::<S>(job, target, first + i, channel, &values, sums);
            }
        }
    }
    if let Some(partial) = partial {
        for (total, &sum) in partial.iter_mut().zip(&*sums) {
            *total += f64::from(sum);
        }
    }
}

/// Epilogue, statistics and store of a tile, as far as it lies inside the image.
#[inline(always)]
unsafe fn finish<S: Simd>(
    job: &Job<'_>,
    target: &Target<'_>,
    tile: usize,
    channel: usize,
    values: &[[S::V; TILE]; TILE],
    stats: Option<[*mut f32; 2]>,
) {
    let (image, y, x) = target.tiles.place(tile);
    let (yp, Epilogue { bias, residual, relu }) = (target.yp, job.epilogue);
    // SAFETY: rows and columns are inside the planes, which were checked, and the channels end on a whole vector.
    unsafe {
        let bias = match bias {
            Some(bias) => S::load(bias.as_ptr().add(channel)),
            None => S::splat(0.0),
        };
        let (mut sum, mut square) = (S::splat(0.0), S::splat(0.0));
        for (y, row) in (y..yp.height).zip(values) {
            let output = target.y.at(image * yp.len() + yp.offset(y, x) + channel);
            let residual =
                residual.map(|(values, p)| values.as_ptr().add(image * p.len() + p.offset(y, x) + channel));
            for (i, &value) in row.iter().enumerate().take(yp.width - x) {
                let output = output.add(i * yp.channels);
                let mut value = S::add(value, bias);
                if let Some(residual) = residual {
                    value = S::add(value, S::load(residual.add(i * yp.channels)));
                }
                if job.accumulate {
                    value = S::add(value, S::load(output));
                }
                if relu {
                    value = S::relu(value);
                }
                sum = S::add(sum, value);
                square = S::mul_add(value, value, square);
                S::store(output, value);
            }
        }
        if let Some(stats) = stats {
            for (total, part) in stats.into_iter().zip([sum, square]) {
                S::store(total, S::add(S::load(total), part));
            }
        }
    }
}
