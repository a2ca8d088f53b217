//! The gradient of a convolution's weights.
//!
//! `dw[ky][kx * channels + c][k]` is the sum over the output's pixels of an input times a gradient. The
//! inputs under a row of the kernel are contiguous, so a tile of sums is fed by neighbouring inputs and
//! neighbouring gradients of the same pixel. Pixels are taken a block at a time: the block's inputs stay in
//! cache while all tiles pass over them, and sums stay in registers for a whole block.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::ConvShape;
use super::element::ConvElement;
use super::tile::{MAX_BLOCK, MAX_TILE, Outer, Tile};
use crate::Isa;
use crate::parallel::{GRAIN, Shared, for_each_chunk};
use crate::plane::{Plane, check, check_len};
use crate::simd::{Simd, per_isa};

/// Pixels that a tile's sums run over before they are added to the gradient: enough to make the adding cheap.
const BLOCK_PIXELS: usize = 160;
/// Inputs of a block, in bytes: they stay in the second-level cache.
const BLOCK_BYTES: usize = 512 << 10;
/// Memory for partial gradients where pixels are shared out between tasks, in values.
const PARTIAL_VALUES: usize = 2 << 20;
/// From so many values between the inputs of two pixels on, a tile's inputs are gathered first: lines that lie so far
/// apart share few sets of the nearest cache and push each other out before all output channels have seen them.
const FAR_PIXELS: usize = 128;
/// Output channels of a task that make the gathering worth its while.
const GATHERED_CHANNELS: usize = 96;
/// Multiplications that are worth a task.
const TASK_WORK: usize = 4 << 20;
/// Enough to keep the threads of a large machine evenly busy.
const MAX_TASKS: usize = 32;

/// f32 values of scratch that [`conv2d_backward_weight`] asks for, of so many images or fewer: none for f32.
///
/// `xp` and `dyp` are that function's.
pub fn conv2d_backward_weight_scratch_len<E: ConvElement>(
    s: &ConvShape,
    images: usize,
    xp: Plane,
    dyp: Plane,
) -> usize {
    s.check_planes(&xp, &dyp);
    E::weight_scratch_len(s, images, &xp, &dyp)
}

/// Gradient with respect to the weights, `[kh][kw][in][out]`: `dw :=` the sum over the images, in f32.
///
/// `xp` needs a border of at least [`ConvShape::input_border`], `dyp` any. `scratch` has at least as many values as
/// [`conv2d_backward_weight_scratch_len`] says; whatever they are, they are overwritten.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn conv2d_backward_weight<E: ConvElement>(
    s: &ConvShape,
    images: usize,
    x: &[E],
    xp: Plane,
    dy: &[E],
    dyp: Plane,
    dw_hwio: &mut [f32],
    scratch: &mut [f32],
) {
    check("x", x.len(), images, &xp);
    check("dy", dy.len(), images, &dyp);
    check_len("dw_hwio", dw_hwio.len(), s.weights());
    s.check_planes(&xp, &dyp);
    if images * dyp.pixels() * dw_hwio.len() == 0 {
        dw_hwio.fill(0.0);
        return;
    }
    E::backward_weight(s, images, x, xp, dy, dyp, dw_hwio, scratch);
}

/// [`conv2d_backward_weight`]; planes, lengths and that there is something to add up are checked.
pub(super) fn backward_weight_f32(
    s: &ConvShape,
    images: usize,
    x: &[f32],
    xp: Plane,
    dy: &[f32],
    dyp: Plane,
    dw_hwio: &mut [f32],
) {
    let isa = Isa::active();
    let job = Job { s, images, x, xp, dy, dyp };
    let cut = job.cut();
    if cut.splits == 1 {
        job.run(isa, &cut, Shared::new(dw_hwio));
        return;
    }
    let mut partial = vec![0f32; cut.splits * dw_hwio.len()];
    job.run(isa, &cut, Shared::new(&mut partial));
    let len = dw_hwio.len();
    for_each_chunk(dw_hwio, GRAIN / cut.splits, |index, dw| {
        let start = index * (GRAIN / cut.splits);
        dw.copy_from_slice(&partial[start..start + dw.len()]);
        for split in 1..cut.splits {
            for (dw, part) in dw.iter_mut().zip(&partial[split * len + start..]) {
                *dw += part;
            }
        }
    });
}

struct Job<'a> {
    s: &'a ConvShape,
    images: usize,
    x: &'a [f32],
    xp: Plane,
    dy: &'a [f32],
    dyp: Plane,
}

/// How the work is cut: `splits` of the pixels (each with a partial gradient) times `chunks` of the output
/// channels times `parts` of the kernel's rows.
struct Cut {
    splits: usize,
    split_rows: usize,
    chunks: usize,
    chunk_channels: usize,
    parts: usize,
    block_rows: usize,
}

impl Job<'_> {
    fn cut(&self) -> Cut {
        let rows = self.images * self.dyp.height;
        let work = rows * self.dyp.width * self.s.weights();
        let tasks = (work / TASK_WORK).clamp(1, MAX_TASKS);

        let row_bytes = 4 * self.s.stride * self.xp.row_pitch();
        let block_rows = BLOCK_PIXELS.div_ceil(self.dyp.width).min(BLOCK_BYTES / row_bytes).clamp(1, rows);
        let blocks = rows.div_ceil(block_rows);
        let splits = tasks.min(PARTIAL_VALUES / self.s.weights()).clamp(1, blocks);
        let split_rows = blocks.div_ceil(splits) * block_rows;
        let splits = rows.div_ceil(split_rows);

        let channel_blocks = self.s.out_channels.div_ceil(MAX_BLOCK);
        let chunks = tasks.div_ceil(splits).min(channel_blocks);
        let chunk_channels = channel_blocks.div_ceil(chunks) * MAX_BLOCK;
        let chunks = self.s.out_channels.div_ceil(chunk_channels);
        let parts = if 2 * splits * chunks < tasks { self.s.kernel.0 } else { 1 };
        Cut { splits, split_rows, chunks, chunk_channels, parts, block_rows }
    }

    fn run(&self, isa: Isa, cut: &Cut, dw: Shared<'_>) {
        assert!(dw.len() == cut.splits * self.s.weights(), "dw: wrong length");
        (0..cut.splits * cut.chunks * cut.parts).into_par_iter().for_each(|task| {
            // SAFETY: the machine has what `isa` says, planes and lengths are checked, tasks write disjoint
            // gradients.
            unsafe { run_task(isa, self, cut, task, dw) };
        });
    }
}

per_isa! {
    /// One split of the pixels, one chunk of the output channels, one part of the kernel's rows.
    ///
    /// # Safety
    /// The machine has the instruction set, slices and planes fit, and no other task has the same index.
    unsafe fn run_task<S: Tile>(job: &Job<'_>, cut: &Cut, task: usize, dw: Shared<'_>) {
        let Job { s, images, x, xp, dy, dyp } = *job;
        let part = task % cut.parts;
        let chunk = task / cut.parts % cut.chunks;
        let split = task / cut.parts / cut.chunks;

        let part_rows = s.kernel.0 / cut.parts;
        let kernel_rows = part * part_rows..(part + 1) * part_rows;
        let first_channel = chunk * cut.chunk_channels;
        let end_channel = s.out_channels.min(first_channel + cut.chunk_channels);
        let first_row = split * cut.split_rows;
        let end_row = (images * dyp.height).min(first_row + cut.split_rows);

        // Inputs under a row of the kernel, cut into tiles of nearly equal depth.
        let depth = s.kernel.1 * s.in_channels;
        let tiles = depth.div_ceil(S::DEPTH);
        let (short, long) = (depth / tiles, depth % tiles);

        let channel_blocks = (end_channel - first_channel).div_ceil(S::BLOCK);
        let block_len = cut.block_rows * dyp.width * S::BLOCK;
        let mut gradient = vec![0f32; channel_blocks * block_len];
        let mut inputs = Vec::with_capacity(cut.block_rows);
        let pixel_step = s.stride * s.in_channels;
        let gather = pixel_step >= FAR_PIXELS && end_channel - first_channel >= GATHERED_CHANNELS;
        let mut gathered = vec![0f32; if gather { cut.block_rows * dyp.width * S::LANES } else { 0 }];
        for block in (first_row..end_row).step_by(cut.block_rows) {
            let rows = block..end_row.min(block + cut.block_rows);
            inputs.clear();
            inputs.extend(rows.clone().map(|row| {
                let y = row % dyp.height * s.stride + xp.border - s.padding;
                row / dyp.height * xp.len() + y * xp.row_pitch() + (xp.border - s.padding) * xp.channels
            }));
            let pixels = rows.flat_map(|row| {
                let at = row / dyp.height * dyp.len() + dyp.offset(row % dyp.height, 0);
                dy[at..at + dyp.row_len()].chunks_exact(dyp.channels)
            });
            // Tiles of gradients: `[channel block][pixel][channel]`, zero behind the last channel.
            for (i, pixel) in pixels.enumerate() {
                for (b, channels) in pixel[first_channel..end_channel].chunks(S::BLOCK).enumerate() {
                    let to = &mut gradient[b * block_len + i * S::BLOCK..][..channels.len()];
                    // Vector by vector: a call for so few bytes costs more than the copy.
                    for (to, from) in to.chunks_mut(S::LANES).zip(channels.chunks(S::LANES)) {
                        // SAFETY: both have the same 1 to LANES values.
                        unsafe {
                            if from.len() == S::LANES {
                                S::store(to.as_mut_ptr(), S::load(from.as_ptr()));
                            } else {
                                S::store_partial(to.as_mut_ptr(), S::load_partial(from.as_ptr(), from.len()), from.len());
                            }
                        }
                    }
                }
            }
            for ky in kernel_rows.clone() {
                let mut first = 0;
                for tile in 0..tiles {
                    let len = short + usize::from(tile < long);
                    let offset = ky * xp.row_pitch() + first;
                    if gather {
                        // SAFETY: a tile's inputs of every pixel of the block are inside `x`, for the planes were
                        // checked, and `gathered` has a vector for each pixel; `len` is at most DEPTH, below LANES.
                        unsafe {
                            gather_inputs::<S>(x, offset, &inputs, dyp.width, pixel_step, len, &mut gathered);
                        }
                    }
                    for (b, channel) in (first_channel..end_channel).step_by(S::BLOCK).enumerate() {
                        let n = S::BLOCK.min(end_channel - channel);
                        let accumulate = block != first_row;
                        // Whole vectors would run over into the next input's weights where channels end within
                        // one.
                        let whole = n.is_multiple_of(S::LANES);
                        let mut tail = [const { MaybeUninit::<f32>::uninit() }; MAX_TILE];
                        // SAFETY: the inputs of every pixel of the block under kernel row `ky` are inside `x`,
                        // for the planes were checked; `gradient` holds a tile's channels for each of those
                        // pixels; the rows of `dw` are this task's; `tail` holds the largest tile, and what is
                        // read of it was written.
                        unsafe {
                            let dw = dw.at(split * s.weights() + (ky * depth + first) * s.out_channels + channel);
                            let own = (x.as_ptr().add(offset), inputs.as_slice(), dyp.width, pixel_step);
                            let pixels = inputs.len() * dyp.width;
                            let (input, rows, width, pixel_step) =
                                if gather { (gathered.as_ptr(), &[0][..], pixels, S::LANES) } else { own };
                            let outer = Outer {
                                input,
                                rows,
                                width,
                                pixel_step,
                                gradient: gradient[b * block_len..].as_ptr(),
                                sums: if whole { dw } else { tail.as_mut_ptr().cast() },
                                pitch: if whole { s.out_channels } else { S::BLOCK },
                                accumulate: whole && accumulate,
                            };
                            S::outer(len, n.div_ceil(S::LANES), &outer);
                            if !whole {
                                for i in 0..len {
                                    let sums = tail.as_ptr().add(i * S::BLOCK).cast::<f32>();
                                    let dw = dw.add(i * s.out_channels);
                                    for k in 0..n {
                                        *dw.add(k) = *sums.add(k) + if accumulate { *dw.add(k) } else { 0.0 };
                                    }
                                }
                            }
                        }
                    }
                    first += len;
                }
            }
        }
    }
}

/// `gathered[pixel] :=` the `len` inputs from `offset` on of each pixel of `rows` of `width` pixels, a vector each.
///
/// # Safety
/// As for [`Simd`]; these inputs are inside `x`, `gathered` has a vector for each pixel, and `len` is at most LANES.
#[inline(always)]
unsafe fn gather_inputs<S: Simd>(
    x: &[f32],
    offset: usize,
    rows: &[usize],
    width: usize,
    pixel_step: usize,
    len: usize,
    gathered: &mut [f32],
) {
    let mut to = gathered.as_mut_ptr();
    for &row in rows {
        for pixel in 0..width {
            // SAFETY: the caller's promise.
            unsafe {
                S::store(to, S::load_partial(x.as_ptr().add(row + offset + pixel * pixel_step), len));
                to = to.add(S::LANES);
            }
        }
    }
}
