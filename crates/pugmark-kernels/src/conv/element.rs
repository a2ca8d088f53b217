//! What convolution does differently for each element.

use super::row_taps::{self, Cut, RowTaps};
use super::shape::ConvShape;
use super::tile::Tile;
use super::{backward_weight, pack, winograd};
use crate::element::Element;
use crate::plane::Plane;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd, per_isa};
use crate::{Bf16, Isa};

/// An element that convolution has kernels for.
#[expect(private_bounds, reason = "sealed: the kernels are this crate's own")]
pub trait ConvElement: Element + ConvKernels {}

impl ConvElement for f32 {}
impl ConvElement for Bf16 {}

/// The kernels and how their operands are packed.
pub(super) trait ConvKernels: Sized {
    /// Which kernels run, chosen on the caller's thread.
    type Path: Copy + Send + Sync;

    /// In packed weights, a kernel row's taps are filled up to a multiple of this with zeros.
    const TAP_BLOCK: usize;
    /// Neighbouring taps that lie together for each output channel of a panel.
    const PAIR: usize;
    /// Multiplications of the forward pass that are worth a task: some 30 microseconds where they are fast.
    const TASK_WORK: usize;

    fn path() -> Self::Path;

    /// A vector of f32 values from the first `n` at a place; the other lanes are zero.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn load<S: Simd>(at: *const Self, n: usize) -> S::V;

    /// Stores the values nearest to the first `n` lanes.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn store<S: Simd>(at: *mut Self, v: S::V, n: usize);

    /// [`row_taps::run_task`] with the path's tiles.
    ///
    /// # Safety
    /// As for that, and `path` comes from [`ConvKernels::path`].
    unsafe fn row_task(
        path: Self::Path,
        taps: &RowTaps<'_, Self>,
        cut: &Cut,
        task: usize,
        partial: Option<&mut [f64]>,
    );

    /// Pixels of the path's largest tile.
    fn tile_pixels(path: Self::Path) -> usize;

    /// Whether Winograd's form is faster than the plain sum.
    fn winograd_pays() -> bool;

    /// [`winograd::Part::run`] with the path's tiles.
    ///
    /// # Safety
    /// As for that, and `path` comes from [`ConvKernels::path`].
    unsafe fn winograd_part(path: Self::Path, part: winograd::Part<'_, Self>);

    /// See [`conv2d_backward_weight_scratch_len`](super::conv2d_backward_weight_scratch_len).
    fn weight_scratch_len(s: &ConvShape, images: usize, xp: &Plane, dyp: &Plane) -> usize;

    /// See [`conv2d_backward_weight`](super::conv2d_backward_weight); planes, lengths and that there is something to
    /// add up are checked.
    #[expect(clippy::too_many_arguments, reason = "the operands of a convolution")]
    fn backward_weight(
        s: &ConvShape,
        images: usize,
        x: &[Self],
        xp: Plane,
        dy: &[Self],
        dyp: Plane,
        dw_hwio: &mut [f32],
        scratch: &mut [f32],
    );

    /// See [`pack_forward`](super::pack_forward); lengths are checked.
    fn pack_forward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Self]);

    /// See [`pack_backward`](super::pack_backward); lengths are checked.
    fn pack_backward(s: &ConvShape, w_hwio: &[f32], packed: &mut [Self]);
}

per_isa! {
    /// # Safety
    /// As for [`row_taps::run_task`]; the machine has the instruction set.
    unsafe fn row_task<S: Tile>(
        taps: &RowTaps<'_, f32>,
        cut: &Cut,
        task: usize,
        partial: Option<&mut [f64]>,
    ) {
        // SAFETY: the caller's promise is the same.
        unsafe { row_taps::run_task::<f32, S>(taps, cut, task, partial) }
    }
}

per_isa! {
    /// # Safety
    /// As for [`winograd::Part::run`]; the machine has the instruction set.
    unsafe fn winograd_part<S: Tile>(part: winograd::Part<'_, f32>) {
        // SAFETY: the caller's promise is the same.
        unsafe { part.run::<S>() }
    }
}

impl ConvKernels for f32 {
    type Path = Isa;
    const TAP_BLOCK: usize = 1;
    const PAIR: usize = 1;
    const TASK_WORK: usize = 1 << 20;

    fn path() -> Isa {
        Isa::active()
    }

    #[inline(always)]
    unsafe fn load<S: Simd>(at: *const f32, n: usize) -> S::V {
        // SAFETY: the caller's promise is the same.
        unsafe { row_taps::load::<S>(at, n) }
    }

    #[inline(always)]
    unsafe fn store<S: Simd>(at: *mut f32, v: S::V, n: usize) {
        // SAFETY: the caller's promise is the same.
        unsafe { if n == S::LANES { S::store(at, v) } else { S::store_partial(at, v, n) } }
    }

    unsafe fn row_task(
        isa: Isa,
        taps: &RowTaps<'_, f32>,
        cut: &Cut,
        task: usize,
        partial: Option<&mut [f64]>,
    ) {
        // SAFETY: the caller's promise is the same.
        unsafe { row_task(isa, taps, cut, task, partial) }
    }

    fn tile_pixels(isa: Isa) -> usize {
        match isa.vectors() {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => 2 * <Avx512 as Tile>::RUN,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => 2 * <Avx2 as Tile>::RUN,
            _ => 2 * <Portable as Tile>::RUN,
        }
    }

    fn winograd_pays() -> bool {
        true
    }

    unsafe fn winograd_part(isa: Isa, part: winograd::Part<'_, f32>) {
        // SAFETY: the caller's promise is the same.
        unsafe { winograd_part(isa, part) }
    }

    fn weight_scratch_len(_: &ConvShape, _: usize, _: &Plane, _: &Plane) -> usize {
        0
    }

    fn backward_weight(
        s: &ConvShape,
        images: usize,
        x: &[f32],
        xp: Plane,
        dy: &[f32],
        dyp: Plane,
        dw_hwio: &mut [f32],
        _: &mut [f32],
    ) {
        backward_weight::backward_weight_f32(s, images, x, xp, dy, dyp, dw_hwio);
    }

    fn pack_forward(s: &ConvShape, w_hwio: &[f32], packed: &mut [f32]) {
        pack::pack_forward_f32(s, w_hwio, packed);
    }

    fn pack_backward(s: &ConvShape, w_hwio: &[f32], packed: &mut [f32]) {
        pack::pack_backward_f32(s, w_hwio, packed);
    }
}
