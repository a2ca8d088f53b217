//! Convolution of bf16: products of two bf16 values, exact in f32 and added up there.
//!
//! Machines that multiply bf16 take it in pairs: for each of 16 output channels two neighbouring taps lie together
//! in the packed weights, and meet two neighbouring inputs. All paths read the same packed weights.

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod pack;
mod peak;
mod tiles;
mod vectors;
mod weight;

pub(crate) use peak::multiply_adds;
pub use tiles::with_modelled_tiles;

use super::element::ConvKernels;
use super::row_taps::{self, Cut, RowTaps};
use super::shape::ConvShape;
use super::tile::{Product, RowTile};
use super::winograd;
use crate::plane::Plane;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};
use crate::{Bf16, Isa};
use tiles::{Model, Tiles};
use vectors::{Vectors, Widened};

/// Operands of [`PairTile::product`].
///
/// `sums[row][channel]` is a sum over `tap_rows` times `tap_len` taps. A row's values are neighbours there; so are
/// a panel's, as `[tap / 2][16 channels][2]`, filled up with zeros to a multiple of 32 taps.
#[derive(Clone, Copy)]
pub(super) struct PairProduct {
    /// Where the first value of the first row of each run lies.
    runs: [*const Bf16; 2],
    /// Values from a row to the next row of its run.
    row_step: usize,
    tap_rows: usize,
    /// Values from a tap row to the next, of the inputs.
    tap_pitch: usize,
    tap_len: usize,
    /// First value of the first panel's block.
    weights: *const Bf16,
    /// Values from a tap row to the next, of a panel.
    weight_pitch: usize,
    /// Values from a panel to the next.
    panel_len: usize,
    sums: *mut f32,
    /// Values from a row's sums to the next row's.
    pitch: usize,
    /// Add to the sums that are there.
    accumulate: bool,
}

/// Tiles of sums of products of pairs.
///
/// # Safety
/// As for [`Simd`]; the operands' pointers are valid for what the sums they describe read and write, whole vectors
/// of channels. A session is used on the thread that began it alone.
pub(super) trait PairTile {
    /// Vectors of sums.
    type S: Simd;
    /// What lasts for a task.
    type Session;
    /// The most rows in a run; a tile has one or two runs of equal length.
    const RUN: usize;
    /// The most output channels in a tile, at most 32.
    const BLOCK: usize;
    /// A tile takes 64 bytes of a row at once.
    const WHOLE_LINES: bool;

    unsafe fn begin() -> Self::Session;

    /// The sums of `runs` x `len` rows and `vectors` of output channels.
    unsafe fn product(
        session: &mut Self::Session,
        runs: usize,
        len: usize,
        vectors: usize,
        operands: &PairProduct,
    );

    /// As [`Simd::store_bf16`].
    unsafe fn store(at: *mut Bf16, v: <Self::S as Simd>::V, n: usize) -> <Self::S as Simd>::V;
}

/// The sums of the largest tile, in whole cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Sums([f32; 32 * 32]);

impl<T: PairTile> RowTile<Bf16> for T {
    type S = T::S;
    type Sums = Sums;
    type Session = T::Session;
    const RUN: usize = <T as PairTile>::RUN;
    const BLOCK: usize = <T as PairTile>::BLOCK;
    const WHOLE_LINES: bool = <T as PairTile>::WHOLE_LINES;

    #[inline(always)]
    unsafe fn begin() -> T::Session {
        // SAFETY: the caller's promise is the same.
        unsafe { <T as PairTile>::begin() }
    }

    #[inline(always)]
    unsafe fn product(
        session: &mut T::Session,
        runs: usize,
        len: usize,
        vectors: usize,
        o: &Product<Bf16>,
        sums: *mut f32,
    ) {
        let operands = PairProduct {
            runs: o.runs,
            row_step: o.pixel_step,
            tap_rows: o.tap_rows,
            tap_pitch: o.tap_pitch,
            tap_len: o.tap_len,
            weights: o.weights,
            weight_pitch: o.tap_len.next_multiple_of(pack::TAP_BLOCK) * super::pack::PANEL,
            panel_len: o.panel_len,
            sums,
            pitch: <T as PairTile>::BLOCK,
            accumulate: false,
        };
        // SAFETY: the caller's promise is the same.
        unsafe { <T as PairTile>::product(session, runs, len, vectors, &operands) }
    }

    #[inline(always)]
    unsafe fn store(at: *mut Bf16, v: <T::S as Simd>::V, n: usize) -> <T::S as Simd>::V {
        // SAFETY: the caller's promise is the same.
        unsafe { <T as PairTile>::store(at, v, n) }
    }
}

/// Which tiles run.
#[derive(Clone, Copy)]
pub(super) enum Path {
    Isa(Isa),
    Modelled,
}

/// What runs on a path's tiles.
trait Task {
    /// # Safety
    /// The machine has what the tiles need; and what the task itself asks for.
    unsafe fn run<T: PairTile>(self);
}

/// Runs a task on the path's tiles, compiled for its instruction set.
///
/// # Safety
/// As for [`Task::run`]; `path` comes from [`ConvKernels::path`].
unsafe fn dispatch<K: Task>(path: Path, task: K) {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,avx2,fma")]
    unsafe fn avx512bf16<K: Task, T: PairTile>(task: K) {
        // SAFETY: the caller's promise is the same.
        unsafe { task.run::<T>() }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
    unsafe fn avx512<K: Task>(task: K) {
        // SAFETY: the caller's promise is the same.
        unsafe { task.run::<Vectors<Widened<Avx512>>>() }
    }
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn avx2<K: Task>(task: K) {
        // SAFETY: the caller's promise is the same.
        unsafe { task.run::<Vectors<Widened<Avx2>>>() }
    }
    // SAFETY: the machine has what `path` says.
    unsafe {
        match path {
            #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
            Path::Isa(Isa::Amx) => avx512bf16::<_, Tiles<amx::Amx>>(task),
            #[cfg(target_arch = "x86_64")]
            Path::Isa(Isa::Avx512Bf16) => avx512bf16::<_, Vectors<avx512::Dot>>(task),
            #[cfg(target_arch = "x86_64")]
            Path::Isa(Isa::Avx512) => avx512(task),
            #[cfg(target_arch = "x86_64")]
            Path::Isa(Isa::Avx2) => avx2(task),
            Path::Isa(_) => task.run::<Vectors<Widened<Portable>>>(),
            Path::Modelled => task.run::<Tiles<Model>>(),
        }
    }
}

/// [`row_taps::run_task`].
struct RowTask<'a> {
    taps: &'a RowTaps<'a, Bf16>,
    cut: &'a Cut,
    task: usize,
    partial: Option<&'a mut [f64]>,
}

impl Task for RowTask<'_> {
    #[inline(always)]
    unsafe fn run<T: PairTile>(self) {
        // SAFETY: the caller's promise is the same.
        unsafe { row_taps::run_task::<Bf16, T>(self.taps, self.cut, self.task, self.partial) }
    }
}

impl Task for winograd::Part<'_, Bf16> {
    #[inline(always)]
    unsafe fn run<T: PairTile>(self) {
        // SAFETY: the caller's promise is the same.
        unsafe { winograd::Part::run::<T>(self) }
    }
}

impl ConvKernels for Bf16 {
    type Path = Path;
    const TAP_BLOCK: usize = pack::TAP_BLOCK;
    const PAIR: usize = 2;
    // AMX multiplies some eight times as fast as f32 vectors do.
    const TASK_WORK: usize = 1 << 23;

    fn path() -> Path {
        if tiles::modelled() { Path::Modelled } else { Path::Isa(Isa::active()) }
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const Bf16, n: usize) -> S::V {
        // SAFETY: the caller's promise is the same.
        unsafe { S::load_bf16(at, n) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(at: *mut Bf16, v: S::V, n: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { S::store_bf16(at, v, n) };
    }

    unsafe fn row_task(
        path: Path,
        taps: &RowTaps<'_, Bf16>,
        cut: &Cut,
        task: usize,
        partial: Option<&mut [f64]>,
    ) {
        // SAFETY: the caller's promise is the same.
        unsafe { dispatch(path, RowTask { taps, cut, task, partial }) }
    }

    fn tile_pixels(path: Path) -> usize {
        match path {
            Path::Isa(isa) if isa < Isa::Amx => f32::tile_pixels(isa),
            _ => 2 * tiles::SIDE,
        }
    }

    fn winograd_pays() -> bool {
        // AMX multiplies so fast that the transforms would take longer than what they save.
        matches!(Self::path(), Path::Isa(isa) if isa < Isa::Amx)
    }

    unsafe fn winograd_part(path: Path, part: winograd::Part<'_, Bf16>) {
        // SAFETY: the caller's promise is the same.
        unsafe { dispatch(path, part) }
    }

    fn weight_scratch_len(s: &ConvShape, images: usize, xp: &Plane, dyp: &Plane) -> usize {
        weight::scratch_len(s, images, xp, dyp)
    }

    fn backward_weight(
        s: &ConvShape,
        images: usize,
        x: &[Bf16],
        xp: Plane,
        dy: &[Bf16],
        dyp: Plane,
        dw_hwio: &mut [f32],
        scratch: &mut [f32],
    ) {
        weight::backward_weight(Self::path(), s, images, x, xp, dy, dyp, dw_hwio, scratch);
    }

    fn pack_forward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Bf16]) {
        pack::forward(s, w_hwio, packed);
    }

    fn pack_backward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Bf16]) {
        pack::backward(s, w_hwio, packed);
    }
}
