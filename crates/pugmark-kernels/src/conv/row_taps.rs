//! The driver behind a convolution and the gradient of its input.
//!
//! In padded NHWC the inputs under one row of the kernel are contiguous, and weights can be laid out to
//! match. So every output value is a sum over the kernel's rows (row taps) of inner products of contiguous
//! values, and the inputs of the next output pixel lie a fixed step further: nothing is copied and no edge is
//! special.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::element::ConvElement;
use super::pack::PANEL;
use super::shape::Epilogue;
use super::tile::{MAX_BLOCK, Product, RowTile};
use crate::parallel::{Shared, for_each_chunk};
use crate::simd::Simd;
use crate::stats::ChannelStats;

/// Weights that a task keeps in its core's second-level cache (1 to 2 MB on today's machines), in bytes.
const WEIGHT_BYTES: usize = 640 << 10;
/// Inputs and outputs that stay there beside them while the weights pass by.
const PIXEL_BYTES: usize = 192 << 10;
/// Enough to keep the threads of a large machine evenly busy.
const MAX_TASKS: usize = 256;
/// Pixels that are so few that tasks share out the channels, as far as there are blocks: weights are then read once.
const FEW_PIXELS: usize = 256;
/// Pixels that are a multiple of this many bytes apart meet in one set of a first-level cache of 64 sets of
/// 64 bytes.
const ALIASED: usize = 4096;
/// Ways of such a set, on the machines that have the fewest.
const WAYS: usize = 8;

/// Steps through a tensor, in values: from image to image, row to row and pixel to pixel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    pub image: usize,
    pub row: usize,
    pub pixel: usize,
}

impl Steps {
    fn offset(&self, at: Pixel) -> usize {
        at.image * self.image + at.y * self.row + at.x * self.pixel
    }
}

/// A pixel of a grid.
#[derive(Clone, Copy)]
struct Pixel {
    image: usize,
    y: usize,
    x: usize,
}

/// Output pixels that meet the same taps.
pub(super) struct Grid<'a, E> {
    pub height: usize,
    pub width: usize,
    /// Where the inputs of an image's first pixel start.
    pub input: usize,
    /// Where its outputs are.
    pub output: usize,
    pub tap_rows: usize,
    pub tap_len: usize,
    pub packed: &'a [E],
}

impl<E: ConvElement> Grid<'_, E> {
    /// With those that only fill up a row of the packed weights.
    fn taps(&self) -> usize {
        self.tap_rows * self.tap_len.next_multiple_of(E::TAP_BLOCK)
    }
}

/// A sum of row taps for each pixel of each grid of `images` images.
pub(super) struct RowTaps<'a, E> {
    pub images: usize,
    pub channels: usize,
    pub grids: &'a [Grid<'a, E>],
    pub input: &'a [E],
    /// From the first input of an output pixel to the first input of another.
    pub input_steps: Steps,
    /// From a kernel row's inputs to the next row's.
    pub tap_pitch: usize,
    pub output: Shared<'a, E>,
    pub output_steps: Steps,
    pub epilogue: Epilogue<'a, E>,
    /// Add to what the output holds.
    pub accumulate: bool,
}

/// How the work is cut: chunks of output channels times `groups` of units, a unit being some rows of an
/// image's grids.
pub(super) struct Cut {
    chunk_channels: usize,
    groups: usize,
    group_units: usize,
    image_units: usize,
    unit_rows: usize,
}

impl<E: ConvElement> RowTaps<'_, E> {
    /// Computes all outputs; `stats`, if given, gains their sums.
    pub(super) fn run(&self, stats: Option<&mut ChannelStats>) {
        if self.images == 0 || self.channels == 0 || self.grids.is_empty() {
            return;
        }
        self.check();
        let (cut, path) = (self.cut(), E::path());
        let tasks = self.channels.div_ceil(cut.chunk_channels) * cut.groups;
        let with_stats = stats.is_some();
        // Of each task: its channels' sums, then their sums of squares.
        let mut partial = vec![0f64; tasks * 2 * cut.chunk_channels];
        for_each_chunk(&mut partial, 2 * cut.chunk_channels, |task, partial| {
            let partial = with_stats.then_some(partial);
            // SAFETY: `check` passed, and tasks write disjoint outputs.
            unsafe { E::row_task(path, self, &cut, task, partial) };
        });
        if let Some(stats) = stats {
            for (task, partial) in partial.chunks_exact(2 * cut.chunk_channels).enumerate() {
                let (sums, squares) = partial.split_at(cut.chunk_channels);
                stats.add(task / cut.groups * cut.chunk_channels, sums, squares);
            }
        }
    }

    /// Panics unless every access of every task is inside the slices.
    fn check(&self) {
        for grid in self.grids {
            assert!(grid.height > 0 && grid.width > 0, "grid: empty");
            let last = Pixel { image: self.images - 1, y: grid.height - 1, x: grid.width - 1 };
            if grid.taps() > 0 {
                let last_input = grid.input + self.input_steps.offset(last);
                let last_tap = (grid.tap_rows - 1) * self.tap_pitch + grid.tap_len;
                assert!(last_input + last_tap <= self.input.len(), "input: too short");
            }
            let packed_len = grid.taps() * self.channels.next_multiple_of(PANEL);
            assert!(grid.packed.len() == packed_len, "packed: wrong length");
            let last_output = grid.output + self.output_steps.offset(last);
            assert!(last_output + self.channels <= self.output.len(), "output: too short");
            if let Some((residual, p)) = self.epilogue.residual {
                let fits = (p.height, p.width, p.channels) == (grid.height, grid.width, self.channels);
                assert!(fits && residual.len() >= self.images * p.len(), "residual: does not fit");
            }
        }
        if let Some(bias) = self.epilogue.bias {
            assert!(bias.len() == self.channels, "bias: wrong length");
        }
    }

    fn cut(&self) -> Cut {
        let height = self.grids.iter().map(|grid| grid.height).max().unwrap_or(0);
        let taps: usize = self.grids.iter().map(|grid| grid.taps()).sum();
        let products: usize = self.grids.iter().map(|grid| grid.height * grid.width * grid.taps()).sum();
        let tasks = (self.images * products * self.channels / E::TASK_WORK).clamp(1, MAX_TASKS);

        // Whole tiles of the widest kind, so that the cut is the same for every instruction set.
        let blocks = self.channels.div_ceil(MAX_BLOCK);
        let chunk_blocks = (WEIGHT_BYTES / (size_of::<E>() * MAX_BLOCK * taps.max(1))).clamp(1, blocks);
        let mut chunks = blocks.div_ceil(chunk_blocks);
        let pixels: usize = self.grids.iter().map(|grid| self.images * grid.height * grid.width).sum();
        if pixels <= FEW_PIXELS {
            // About as many as tasks, more rather than fewer.
            chunks = chunks.max(tasks.next_power_of_two().min(blocks));
        }

        let shares = tasks.div_ceil(chunks);
        let cached_rows = PIXEL_BYTES / (size_of::<E>() * (self.input_steps.row + self.output_steps.row));
        let unit_rows = cached_rows.min((self.images * height).div_ceil(shares)).clamp(1, height);
        let image_units = height.div_ceil(unit_rows);
        let units = self.images * image_units;
        let group_units = units.div_ceil(shares.min(units));
        Cut {
            chunk_channels: blocks.div_ceil(chunks) * MAX_BLOCK,
            groups: units.div_ceil(group_units),
            group_units,
            image_units,
            unit_rows: height.div_ceil(image_units),
        }
    }
}

/// One chunk of channels of one group of units.
///
/// # Safety
/// The machine has the instruction set, [`RowTaps::check`] passed, and no other task has the same index.
#[inline(always)]
pub(super) unsafe fn run_task<E: ConvElement, T: RowTile<E>>(
    taps: &RowTaps<'_, E>,
    cut: &Cut,
    task: usize,
    mut partial: Option<&mut [f64]>,
) {
    // SAFETY: the caller's promise.
    let mut session = unsafe { T::begin() };
    let first_channel = task / cut.groups * cut.chunk_channels;
    let end_channel = taps.channels.min(first_channel + cut.chunk_channels);
    let first_unit = task % cut.groups * cut.group_units;
    let end_unit = (taps.images * cut.image_units).min(first_unit + cut.group_units);
    for unit in first_unit..end_unit {
        let image = unit / cut.image_units;
        let first_row = unit % cut.image_units * cut.unit_rows;
        for grid in taps.grids {
            let rows = first_row..grid.height.min(first_row + cut.unit_rows);
            for channel in (first_channel..end_channel).step_by(T::BLOCK) {
                let mut block = Block::<E, T> {
                    taps,
                    grid,
                    channel,
                    vectors: (end_channel - channel).min(T::BLOCK).div_ceil(T::S::LANES),
                    stats: partial.is_some().then_some([[0.0; MAX_BLOCK]; 2]),
                    session: &mut session,
                };
                // SAFETY: the caller's promise; image, rows and channels are in range.
                unsafe { block.run(image, rows.clone()) };
                if let (Some(partial), Some(stats)) = (&mut partial, &block.stats) {
                    let (sums, squares) = partial.split_at_mut(cut.chunk_channels);
                    let at = channel - first_channel;
                    for (total, part) in [(sums, &stats[0]), (squares, &stats[1])] {
                        // Lanes beyond the last channel hold zero.
                        for (total, &part) in total[at..].iter_mut().zip(&part[..T::BLOCK]) {
                            *total += f64::from(part);
                        }
                    }
                }
            }
        }
    }
}

/// The block of output channels that a tile covers.
struct Block<'a, E: ConvElement, T: RowTile<E>> {
    taps: &'a RowTaps<'a, E>,
    grid: &'a Grid<'a, E>,
    channel: usize,
    vectors: usize,
    /// Sums and sums of squares of the outputs so far.
    stats: Option<[[f32; MAX_BLOCK]; 2]>,
    session: &'a mut T::Session,
}

impl<E: ConvElement, T: RowTile<E>> Block<'_, E, T> {
    /// Some rows of an image: each is cut into runs of nearly equal length, and runs of equal length share a
    /// tile.
    #[inline(always)]
    unsafe fn run(&mut self, image: usize, rows: Range<usize>) {
        let width = self.grid.width;
        let count = width.div_ceil(T::RUN);
        let (short, long) = (width / count, width % count);
        // More pixels than ways would push each other out of the cache before their line is used up.
        let step = size_of::<E>() * self.taps.input_steps.pixel;
        let alone = !T::WHOLE_LINES && 2 * T::RUN > WAYS && step.is_multiple_of(ALIASED);
        // The run of each of the two lengths that has no other yet.
        let mut waiting = [None; 2];
        for y in rows {
            let mut x = 0;
            for run in 0..count {
                let longer = usize::from(run < long);
                let len = short + longer;
                let pixel = Pixel { image, y, x };
                x += len;
                match waiting[longer].take() {
                    // SAFETY: as for the caller; the runs are inside the grid.
                    Some(other) => unsafe { self.tile(&[other, pixel], len) },
                    // SAFETY: as above.
                    None if alone => unsafe { self.tile(&[pixel], len) },
                    None => waiting[longer] = Some(pixel),
                }
            }
        }
        for (longer, pixel) in waiting.into_iter().enumerate() {
            if let Some(pixel) = pixel {
                // SAFETY: as above.
                unsafe { self.tile(&[pixel], short + longer) }
            }
        }
    }

    /// One or two runs of pixels.
    #[inline(always)]
    unsafe fn tile(&mut self, runs: &[Pixel], len: usize) {
        let (taps, grid) = (self.taps, self.grid);
        let mut sums = MaybeUninit::<T::Sums>::uninit();
        // SAFETY: `RowTaps::check` covers every pixel's inputs and outputs and all panels.
        unsafe {
            // What is added and the outputs are at hand once the sums are done.
            for &run in runs {
                let output = taps.output.at(grid.output + taps.output_steps.offset(run) + self.channel);
                self.prefetch(output, taps.output_steps.pixel, len);
                if let Some((values, p)) = taps.epilogue.residual {
                    let offset = run.image * p.len() + p.offset(run.y, run.x) + self.channel;
                    self.prefetch(values.as_ptr().wrapping_add(offset), p.channels, len);
                }
            }
            let input = |run| taps.input.as_ptr().wrapping_add(grid.input + taps.input_steps.offset(run));
            let panel_len = grid.taps() * PANEL;
            let panel = self.channel / PANEL * panel_len + self.channel % PANEL * E::PAIR;
            let product = Product {
                runs: [input(runs[0]), input(runs[runs.len() - 1])],
                pixel_step: taps.input_steps.pixel,
                tap_rows: grid.tap_rows,
                tap_pitch: taps.tap_pitch,
                tap_len: grid.tap_len,
                weights: grid.packed.as_ptr().wrapping_add(panel),
                panel_len,
            };
            T::product(self.session, runs.len(), len, self.vectors, &product, sums.as_mut_ptr().cast());
            match self.stats {
                Some(_) => self.finish::<true>(runs, len, sums.as_ptr().cast()),
                None => self.finish::<false>(runs, len, sums.as_ptr().cast()),
            }
        }
    }

    /// Fetches this block's channels of `len` pixels, a step apart, from `first` on.
    #[inline(always)]
    unsafe fn prefetch(&self, first: *const E, step: usize, len: usize) {
        for pixel in 0..len {
            for v in 0..self.vectors {
                // SAFETY: the machine has the instruction set.
                unsafe { T::S::prefetch(first.wrapping_add(pixel * step + v * T::S::LANES).cast()) };
            }
        }
    }

    /// Epilogue, statistics where there are any, and store.
    #[inline(always)]
    unsafe fn finish<const STATS: bool>(&mut self, runs: &[Pixel], len: usize, sums: *const f32) {
        let taps = self.taps;
        let Epilogue { bias, residual, relu } = taps.epilogue;
        for v in 0..self.vectors {
            let channel = self.channel + v * T::S::LANES;
            let n = (taps.channels - channel).min(T::S::LANES);
            // SAFETY: `RowTaps::check` covers every pixel of the output and the residual, `n` channels from
            // `channel`.
            unsafe {
                let bias = bias.map_or(T::S::splat(0.0), |bias| load::<T::S>(bias.as_ptr().add(channel), n));
                let (mut sum, mut square) = (T::S::splat(0.0), T::S::splat(0.0));
                for (r, &run) in runs.iter().enumerate() {
                    let residual = residual.map(|(values, p)| {
                        values.as_ptr().add(run.image * p.len() + p.offset(run.y, run.x) + channel)
                    });
                    let output = taps.output.at(self.grid.output + taps.output_steps.offset(run) + channel);
                    for pixel in 0..len {
                        let output = output.add(pixel * taps.output_steps.pixel);
                        let at = (r * len + pixel) * T::BLOCK + v * T::S::LANES;
                        let mut value = T::S::add(T::S::load(sums.add(at)), bias);
                        if let Some(residual) = residual {
                            let residual = E::load::<T::S>(residual.add(pixel * taps.channels), n);
                            value = T::S::add(value, residual);
                        }
                        if taps.accumulate {
                            value = T::S::add(value, E::load::<T::S>(output, n));
                        }
                        if relu {
                            value = T::S::relu(value);
                        }
                        // Statistics are of what is stored: rounded, where the element is narrower.
                        let value = T::store(output, value, n);
                        if STATS {
                            sum = T::S::add(sum, value);
                            square = T::S::mul_add(value, value, square);
                        }
                    }
                }
                if let Some([sums, squares]) = &mut self.stats {
                    for (total, part) in [(sums, sum), (squares, square)] {
                        let total = total[v * T::S::LANES..][..T::S::LANES].as_mut_ptr();
                        T::S::store(total, T::S::add(T::S::load(total), part));
                    }
                }
            }
        }
    }
}

/// The first `n` of a vector's values; the other lanes are zero.
#[inline(always)]
pub(super) unsafe fn load<S: Simd>(at: *const f32, n: usize) -> S::V {
    // SAFETY: the caller's pointer is valid for n <= LANES values.
    unsafe { if n == S::LANES { S::load(at) } else { S::load_partial(at, n) } }
}
