//! Winograd's convolution and the gradient of its input.
//!
//! Three stages: transformed inputs, 36 matrix products, transformed outputs. Where the weights are few, a task takes a
//! block of tiles through all three, so that what is between them stays in its core's cache. Where they are many, all
//! tasks take a group of tiles through one stage after the other, so that the weights pass by once a group.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ops::Range;

use super::super::element::ConvElement;
use super::super::pack::PANEL;
use super::super::shape::{ConvShape, Epilogue};
use super::super::tile::{MAX_BLOCK, Product, RowTile};
use super::{GAP_BYTES, PLACES, STRIP_COLUMNS, Strip, TILE, Tiles, gap, transform, winograd_packed_len};
use crate::parallel::{Shared, for_each_chunk, for_each_task, zero_border};
use crate::plane::{Plane, check, check_len};
use crate::simd::Simd;
use crate::stats::ChannelStats;

/// Bytes of a block's transformed inputs and products: on a Zen 3 core with 512 KiB of second-level cache, 192 KiB gave 190
/// and 250 GFLOP/s (of the direct sum) at 64 and 128 channels where 512 KiB gave 165 and 190.
const BLOCK_BYTES: usize = 192 << 10;
/// Tiles of a block at least, for all weights pass by for each block; and at most, for there must be enough tasks. Rounded
/// up to whole tiles of the product.
const BLOCK_TILES: (usize, usize) = (14, 96);

/// Transformed weights that are too many to pass by for each block, in bytes.
const MANY_WEIGHTS: usize = 4 << 20;
/// Bytes of a group's transformed inputs and products, in the cache that all cores share.
const GROUP_BYTES: usize = 10 << 20;
/// Tiles that a task transforms, and output channels that a task multiplies.
const TASK_TILES: usize = 8;
const TASK_CHANNELS: usize = 128;

thread_local! {
    /// What a task needs while it runs, kept from call to call.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Values of workspace that [`winograd_forward`] and [`winograd_backward_data`] need for `images` outputs (or their
/// gradients) of `height` x `width`.
pub fn winograd_workspace_len<E: ConvElement>(
    s: &ConvShape,
    images: usize,
    height: usize,
    width: usize,
) -> usize {
    let Some(most) = most_group_tiles::<E>(s.in_channels, s.out_channels) else { return 0 };
    // The gradient of the input has tiles of its own.
    let tiles = |height, width| Tiles::new(images, &Plane { height, width, channels: 0, border: 0 }).count;
    let input = |output: usize| (output + 2).saturating_sub(2 * s.padding);
    let tiles = tiles(height, width).max(tiles(input(height), input(width))).min(most);
    Group::most_values::<E>(s.in_channels, s.out_channels, tiles)
}

/// Bytes of a tile's transformed inputs and products.
fn tile_bytes<E>(inputs: usize, outputs: usize) -> usize {
    PLACES * (size_of::<E>() * inputs + size_of::<f32>() * outputs)
}

/// Tiles of a group at most, where there are too many weights for blocks.
fn most_group_tiles<E>(inputs: usize, outputs: usize) -> Option<usize> {
    let fitting = GROUP_BYTES / tile_bytes::<E>(inputs, outputs);
    (size_of::<E>() * PLACES * inputs * outputs > MANY_WEIGHTS).then_some(fitting.max(BLOCK_TILES.0))
}

/// As [`conv2d_forward`](crate::conv2d_forward), for a convolution that [`ConvShape::suits_winograd`]; `packed` is
/// [`winograd_pack_forward`](crate::winograd_pack_forward)'s, `workspace` has at least [`winograd_workspace_len`] values,
/// of any content.
#[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
pub fn winograd_forward<E: ConvElement>(
    s: &ConvShape,
    images: usize,
    x: &[E],
    xp: Plane,
    packed: &[E],
    y: &mut [E],
    yp: Plane,
    ep: &Epilogue<'_, E>,
    stats: Option<&mut ChannelStats>,
    workspace: &mut [f32],
) {
    s.check_planes(&xp, &yp);
    let padding = s.padding;
    Job::new(s, (images, x, xp, padding), packed, *ep, false).run(y, yp, stats, workspace);
}

/// As [`conv2d_backward_data`](crate::conv2d_backward_data), for a convolution that [`ConvShape::suits_winograd`];
/// `packed` is [`winograd_pack_backward`](crate::winograd_pack_backward)'s, `workspace` as in [`winograd_forward`].
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
    workspace: &mut [f32],
) {
    s.check_sizes(&dxp, &dyp);
    assert!(dyp.border >= s.gradient_border(), "dyp: {s:?} needs a border of {}", s.gradient_border());
    let flipped = ConvShape { in_channels: s.out_channels, out_channels: s.in_channels, ..*s };
    let padding = 2 - s.padding;
    Job::new(&flipped, (images, dy, dyp, padding), packed, Epilogue::default(), accumulate)
        .run(dx, dxp, None, workspace);
}

struct Job<'a, E> {
    images: usize,
    x: &'a [E],
    xp: Plane,
    /// Zero pixels that the output assumes around the input.
    padding: usize,
    outputs: usize,
    packed: &'a [E],
    zeros: Vec<E>,
    epilogue: Epilogue<'a, E>,
    /// Add to what the output holds, whose border stays.
    accumulate: bool,
}

/// Where a job writes.
struct Target<'a, E> {
    tiles: Tiles,
    y: Shared<'a, E>,
    yp: Plane,
}

/// Tiles that go through a stage together; transformed inputs are `input_step` values from place to place, products
/// `product_step`. In a buffer of f32 the inputs come first, rounded to the element, then the products.
#[derive(Clone, Copy)]
struct Group {
    first: usize,
    count: usize,
    input_step: usize,
    product_step: usize,
}

impl Group {
    fn new<E: ConvElement, T: RowTile<E>>(job: &Job<'_, E>, first: usize, count: usize) -> Self {
        // Products lie block of channels by block of channels, as the tiles of the product write them.
        let product_step = job.outputs.next_multiple_of(T::BLOCK) * count + gap::<f32>();
        Group { first, count, input_step: count * job.xp.channels + gap::<E>(), product_step }
    }

    /// f32 values that the transformed inputs take.
    fn inputs_len<E>(&self) -> usize {
        (PLACES * self.input_step * size_of::<E>()).div_ceil(size_of::<f32>())
    }

    /// f32 values of all, at most, for every instruction set and both directions.
    fn most_values<E>(inputs: usize, outputs: usize, tiles: usize) -> usize {
        let bytes =
            |channels: usize, each: usize| tiles * channels.next_multiple_of(MAX_BLOCK) * each + GAP_BYTES;
        let inputs = bytes(inputs, size_of::<E>());
        PLACES * (inputs + bytes(outputs, size_of::<f32>())) / size_of::<f32>()
    }
}

impl<'a, E: ConvElement> Job<'a, E> {
    fn new(
        s: &ConvShape,
        (images, x, xp, padding): (usize, &'a [E], Plane, usize),
        packed: &'a [E],
        epilogue: Epilogue<'a, E>,
        accumulate: bool,
    ) -> Self {
        assert!(s.has_winograd_form::<E>(), "{s:?} has no Winograd form");
        check("x", x.len(), images, &xp);
        check_len("packed", packed.len(), winograd_packed_len(s));
        if let Some(bias) = epilogue.bias {
            check_len("bias", bias.len(), s.out_channels);
        }
        let zeros = vec![E::default(); STRIP_COLUMNS * s.in_channels];
        Job { images, x, xp, padding, outputs: s.out_channels, packed, zeros, epilogue, accumulate }
    }

    fn run(&self, y: &mut [E], yp: Plane, stats: Option<&mut ChannelStats>, workspace: &mut [f32]) {
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
        let target = Target { tiles, y: Shared::new(y), yp };
        let path = E::path();
        let with_stats = stats.is_some();
        // Of each task: its channels' sums, then their sums of squares.
        let width = 2 * self.outputs;
        let mut partial;
        if let Some(most) = most_group_tiles::<E>(self.xp.channels, self.outputs) {
            let group_tiles = tiles.count.div_ceil(tiles.count.div_ceil(most));
            let needed = Group::most_values::<E>(self.xp.channels, self.outputs, group_tiles);
            assert!(workspace.len() >= needed, "workspace: {} values instead of {needed}", workspace.len());
            let workspace = Shared::new(workspace);
            let tasks = |count: usize| count.div_ceil(TASK_TILES);
            let groups = (0..tiles.count).step_by(group_tiles);
            let count = |first: usize| group_tiles.min(tiles.count - first);
            partial = vec![0f64; groups.clone().map(|first| tasks(count(first))).sum::<usize>() * width];
            let mut rest = partial.as_mut_slice();
            for first in groups {
                let count = count(first);
                let (own, next) = rest.split_at_mut(tasks(count) * width);
                rest = next;
                let part = |what: What<'_>| {
                    let part = Part { job: self, target: &target, tiles: (first, count), what };
                    // SAFETY: the machine has what `path` says, slices and planes are checked, tasks of a stage write
                    // disjoint values, and a stage reads what an earlier one wrote.
                    unsafe { E::winograd_part(path, part) };
                };
                for_each_task(tasks(count), |task| part(What::Inputs { task, workspace }));
                let products = PLACES * self.outputs.div_ceil(TASK_CHANNELS);
                for_each_task(products, |task| part(What::Products { task, workspace }));
                for_each_chunk(own, width, |task, partial| {
                    let partial = with_stats.then_some(partial);
                    with_scratch(width, |sums| part(What::Outputs { task, workspace, partial, sums }));
                });
            }
        } else {
            let fitting = BLOCK_BYTES / tile_bytes::<E>(self.xp.channels, self.outputs);
            let blocks = tiles.count.div_ceil(fitting.clamp(BLOCK_TILES.0, BLOCK_TILES.1));
            let block_tiles = tiles.count.div_ceil(blocks).next_multiple_of(E::tile_pixels(path));
            partial = vec![0f64; tiles.count.div_ceil(block_tiles) * width];
            for_each_chunk(&mut partial, width, |task, partial| {
                let tiles = (task * block_tiles, block_tiles.min(tiles.count - task * block_tiles));
                let partial = with_stats.then_some(partial);
                let most = Group::most_values::<E>(self.xp.channels, self.outputs, block_tiles);
                with_scratch(most + width, |scratch| {
                    let part =
                        Part { job: self, target: &target, tiles, what: What::All { partial, scratch } };
                    // SAFETY: as above; the scratch is large enough for every instruction set.
                    unsafe { E::winograd_part(path, part) };
                });
            });
        }
        if let Some(stats) = stats {
            check_len("stats", stats.channels(), self.outputs);
            for partial in partial.chunks_exact(width) {
                let (sums, squares) = partial.split_at(self.outputs);
                stats.add(0, sums, squares);
            }
        }
    }
}

/// What a task of a parallel loop does with some tiles, given by the first and their number.
pub(in super::super) struct Part<'a, E> {
    job: &'a Job<'a, E>,
    target: &'a Target<'a, E>,
    tiles: (usize, usize),
    what: What<'a>,
}

enum What<'a> {
    /// All stages of the tiles, which no other task has.
    All {
        partial: Option<&'a mut [f64]>,
        scratch: &'a mut [f32],
    },
    /// A share of the stage; the workspace is the group's.
    Inputs {
        task: usize,
        workspace: Shared<'a>,
    },
    Products {
        task: usize,
        workspace: Shared<'a>,
    },
    Outputs {
        task: usize,
        workspace: Shared<'a>,
        partial: Option<&'a mut [f64]>,
        sums: &'a mut [f32],
    },
}

impl<E: ConvElement> Part<'_, E> {
    /// # Safety
    /// The machine has the instruction set, slices and planes fit, buffers have [`Group::most_values`], no other task has
    /// the same tiles or share, and the stages before are done.
    #[inline(always)]
    pub(in super::super) unsafe fn run<T: RowTile<E>>(self) {
        let Part { job, target, tiles, what } = self;
        let group = Group::new::<E, T>(job, tiles.0, tiles.1);
        let own = |task: usize| task * TASK_TILES..group.count.min((task + 1) * TASK_TILES);
        let at = group.inputs_len::<E>();
        // SAFETY: the caller's promise; the buffers have the group's length.
        unsafe {
            match what {
                What::All { partial, scratch } => {
                    let (scratch, sums) = scratch.split_at_mut(scratch.len() - 2 * job.outputs);
                    let v = scratch.as_mut_ptr();
                    let m = v.add(at);
                    inputs::<E, T>(job, target, &group, 0..group.count, v.cast());
                    for place in 0..PLACES {
                        products::<E, T>(job, &group, place, 0..job.outputs, v.cast(), m);
                    }
                    outputs::<E, T>(job, target, &group, 0..group.count, m, partial, sums);
                }
                What::Inputs { task, workspace } => {
                    inputs::<E, T>(job, target, &group, own(task), workspace.at(0).cast());
                }
                What::Products { task, workspace } => {
                    let first = task / PLACES * TASK_CHANNELS;
                    let channels = first..job.outputs.min(first + TASK_CHANNELS);
                    let (v, m) = (workspace.at(0).cast(), workspace.at(at));
                    products::<E, T>(job, &group, task % PLACES, channels, v, m);
                }
                What::Outputs { task, workspace, partial, sums } => {
                    outputs::<E, T>(job, target, &group, own(task), workspace.at(at), partial, sums);
                }
            }
        }
    }
}

/// Runs `f` with a buffer of this thread; `f` must not run other tasks.
fn with_scratch(len: usize, f: impl FnOnce(&mut [f32])) {
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        f(&mut scratch[..len]);
    });
}

/// Transformed inputs of some of a group's tiles.
#[inline(always)]
unsafe fn inputs<E: ConvElement, T: RowTile<E>>(
    job: &Job<'_, E>,
    target: &Target<'_, E>,
    group: &Group,
    tiles: Range<usize>,
    v: *mut E,
) {
    let channels = job.xp.channels;
    let inset = job.xp.border - job.padding;
    let mut lines = [const { MaybeUninit::uninit() }; STRIP_COLUMNS];
    let mut i = tiles.start;
    while i < tiles.end {
        let count = target.tiles.strip(group.first + i, tiles.end - i);
        let (image, y, x) = target.tiles.place(group.first + i);
        let strip = Strip::new(count, job.x, &job.xp, (image, y + inset, x + inset), &job.zeros);
        for channel in (0..channels).step_by(T::S::LANES) {
            // SAFETY: channels are a multiple of every vector's length, so each pixel has a whole vector here, and `v`
            // has the tiles' channels at each place.
            unsafe {
                let v = v.add(i * channels + channel);
                transform::inputs::<E, T>(&strip, channel, &mut lines, v, (group.input_step, channels));
            }
        }
        i += count;
    }
}

/// Products of a group's tiles at one place, for output channels that begin with a block.
#[inline(always)]
unsafe fn products<E: ConvElement, T: RowTile<E>>(
    job: &Job<'_, E>,
    group: &Group,
    place: usize,
    channels: Range<usize>,
    v: *const E,
    m: *mut f32,
) {
    let inputs = job.xp.channels;
    // SAFETY: the caller's promise.
    let mut session = unsafe { T::begin() };
    for channel in channels.step_by(T::BLOCK) {
        let panel = channel / PANEL * PLACES * inputs * PANEL + channel % PANEL * E::PAIR;
        let mut i = 0;
        while i < group.count {
            let left = group.count - i;
            let (runs, len) = match left {
                left if left >= 2 * T::RUN => (2, T::RUN),
                left if left.is_multiple_of(2) => (2, left / 2),
                left => (1, left.min(T::RUN)),
            };
            // SAFETY: tiles i to i + runs * len are below `count`; the panels of the block's channels are in `packed`,
            // whose length is checked; `m` has a whole block for each tile.
            unsafe {
                let run = v.add(place * group.input_step + i * inputs);
                let product = Product {
                    runs: [run, run.add((runs - 1) * len * inputs)],
                    pixel_step: inputs,
                    tap_rows: 1,
                    tap_pitch: 0,
                    tap_len: inputs,
                    weights: job.packed.as_ptr().wrapping_add(panel + place * inputs * PANEL),
                    panel_len: PLACES * inputs * PANEL,
                };
                let sums = m.add(place * group.product_step + channel * group.count + i * T::BLOCK);
                let vectors = (job.outputs - channel).min(T::BLOCK).div_ceil(T::S::LANES);
                T::product(&mut session, runs, len, vectors, &product, sums);
            }
            i += runs * len;
        }
    }
}

/// Outputs of some of a group's tiles; `partial` gains each channel's sum, then its sum of squares, with the help of
/// `sums`.
#[inline(always)]
unsafe fn outputs<E: ConvElement, T: RowTile<E>>(
    job: &Job<'_, E>,
    target: &Target<'_, E>,
    group: &Group,
    tiles: Range<usize>,
    m: *const f32,
    partial: Option<&mut [f64]>,
    sums: &mut [f32],
) {
    sums.fill(0.0);
    for i in tiles {
        for channel in (0..job.outputs).step_by(T::S::LANES) {
            let block = channel - channel % T::BLOCK;
            let at = block * group.count + i * T::BLOCK + channel % T::BLOCK;
            // SAFETY: `m` holds the tile's products at each place, `sums` a vector from every channel on, and `finish`
            // writes inside the tile alone.
            unsafe {
                let values = transform::output::<T::S>(m.add(at), group.product_step);
                let sums = partial
                    .is_some()
                    .then(|| [0, job.outputs].map(|half| sums.as_mut_ptr().wrapping_add(half + channel)));
                finish::<E, T>(job, target, group.first + i, channel, &values, sums);
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
unsafe fn finish<E: ConvElement, T: RowTile<E>>(
    job: &Job<'_, E>,
    target: &Target<'_, E>,
    tile: usize,
    channel: usize,
    values: &[[<T::S as Simd>::V; TILE]; TILE],
    stats: Option<[*mut f32; 2]>,
) {
    let (image, y, x) = target.tiles.place(tile);
    let (yp, Epilogue { bias, residual, relu }) = (target.yp, job.epilogue);
    // SAFETY: rows and columns are inside the planes, which were checked, and the channels end on a whole vector.
    unsafe {
        let bias = match bias {
            Some(bias) => T::S::load(bias.as_ptr().add(channel)),
            None => T::S::splat(0.0),
        };
        let (mut sum, mut square) = (T::S::splat(0.0), T::S::splat(0.0));
        for (y, row) in (y..yp.height).zip(values) {
            let output = target.y.at(image * yp.len() + yp.offset(y, x) + channel);
            let residual =
                residual.map(|(values, p)| values.as_ptr().add(image * p.len() + p.offset(y, x) + channel));
            for (i, &value) in row.iter().enumerate().take(yp.width - x) {
                let output = output.add(i * yp.channels);
                let mut value = T::S::add(value, bias);
                if let Some(residual) = residual {
                    value = T::S::add(value, E::load::<T::S>(residual.add(i * yp.channels), T::S::LANES));
                }
                if job.accumulate {
                    value = T::S::add(value, E::load::<T::S>(output, T::S::LANES));
                }
                if relu {
                    value = T::S::relu(value);
                }
                // Statistics are of what is stored: rounded, where the element is narrower.
                let value = T::store(output, value, T::S::LANES);
                sum = T::S::add(sum, value);
                square = T::S::mul_add(value, value, square);
            }
        }
        if let Some(stats) = stats {
            for (total, part) in stats.into_iter().zip([sum, square]) {
                T::S::store(total, T::S::add(T::S::load(total), part));
            }
        }
    }
}
