//! The two innermost loops of convolution in f32, on a block of sums that stays in registers; and what the driver of
//! a convolution asks of a tile of either element.

use super::element::ConvKernels;
use super::pack::PANEL;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd};

/// Output channels of the widest tile.
pub(super) const MAX_BLOCK: usize = 32;
/// Values of the largest tile.
pub(super) const MAX_TILE: usize = 14 * MAX_BLOCK;

/// Operands of [`Tile::product`].
///
/// A sum runs over `tap_rows` rows of the kernel; on each, `tap_len` (kernel width times channels)
/// neighbouring inputs meet as many rows of a weight panel.
#[derive(Clone, Copy)]
pub(super) struct Product<E = f32> {
    /// Where the first input of the first pixel of each run lies.
    pub runs: [*const E; 2],
    /// Values from a pixel's inputs to the next pixel's.
    pub pixel_step: usize,
    pub tap_rows: usize,
    /// Values from a kernel row's inputs to the next row's.
    pub tap_pitch: usize,
    pub tap_len: usize,
    /// First value of the first panel's block.
    pub weights: *const E,
    /// Values from a panel to the next.
    pub panel_len: usize,
}

/// Operands of [`Tile::outer`].
#[derive(Clone, Copy)]
pub(super) struct Outer<'a> {
    /// First input of the first pixel of the first row, before `rows` are added.
    pub input: *const f32,
    /// What to add to `input` for each row of pixels.
    pub rows: &'a [usize],
    /// Pixels in a row.
    pub width: usize,
    /// Values from a pixel's inputs to the next pixel's.
    pub pixel_step: usize,
    /// Output gradients, [`Tile::BLOCK`] for each pixel of all rows.
    pub gradient: *const f32,
    /// Where the sums go, and the values from one input's sums to the next's.
    pub sums: *mut f32,
    pub pitch: usize,
    /// Add to what is there.
    pub accumulate: bool,
}

/// Register tiles of an instruction set.
///
/// # Safety
/// As for [`Simd`]; the operands' pointers are valid for what the sums they describe read, and `sums` for the
/// tile's values, with a pitch of [`Tile::BLOCK`] or the operands' own.
pub(super) trait Tile: Simd {
    /// The most pixels in a run; a tile of a product has one or two runs of equal length.
    const RUN: usize;
    /// The most output channels in a tile.
    const BLOCK: usize;
    /// The most inputs in a tile of outer products.
    const DEPTH: usize;

    /// `sums[pixel][channel] := ` inputs times weights, for `runs` x `len` pixels and `vectors` of output
    /// channels.
    unsafe fn product(runs: usize, len: usize, vectors: usize, operands: &Product, sums: *mut f32);

    /// `sums[input][channel] :=` the sum over pixels of input times gradient, for `len` neighbouring inputs
    /// and `vectors` of output channels.
    unsafe fn outer(len: usize, vectors: usize, operands: &Outer<'_>);
}

/// What [`RowTaps`](super::row_taps::RowTaps) asks of the tiles of an element.
///
/// # Safety
/// As for [`Tile`]; what [`RowTile::begin`] returns is used on the thread that called it alone.
pub(super) trait RowTile<E: ConvKernels> {
    /// Vectors of sums, as the tile writes them.
    type S: Simd;
    /// The largest tile's sums.
    type Sums: Copy;
    /// What lasts for a task.
    type Session;
    /// The most pixels in a run; a tile has one or two runs of equal length.
    const RUN: usize;
    /// The most output channels in a tile, at most [`MAX_BLOCK`].
    const BLOCK: usize;
    /// A tile takes whole cache lines of its pixels at once.
    const WHOLE_LINES: bool;

    unsafe fn begin() -> Self::Session;

    /// As [`Tile::product`], with a pitch of [`RowTile::BLOCK`].
    unsafe fn product(
        session: &mut Self::Session,
        runs: usize,
        len: usize,
        vectors: usize,
        operands: &Product<E>,
        sums: *mut f32,
    );

    /// Stores the first `n` lanes; returns what is stored now.
    unsafe fn store(at: *mut E, v: <Self::S as Simd>::V, n: usize) -> <Self::S as Simd>::V;
}

impl<T: Tile> RowTile<f32> for T {
    type S = T;
    type Sums = [f32; MAX_TILE];
    type Session = ();
    const RUN: usize = <T as Tile>::RUN;
    const BLOCK: usize = <T as Tile>::BLOCK;
    const WHOLE_LINES: bool = false;

    #[inline(always)]
    unsafe fn begin() {}

    #[inline(always)]
    unsafe fn product((): &mut (), runs: usize, len: usize, vectors: usize, o: &Product, sums: *mut f32) {
        // SAFETY: the caller's promise is the same.
        unsafe { <T as Tile>::product(runs, len, vectors, o, sums) }
    }

    #[inline(always)]
    unsafe fn store(at: *mut f32, v: T::V, n: usize) -> T::V {
        // SAFETY: the caller's pointer is valid for n <= LANES values.
        unsafe { if n == T::LANES { T::store(at, v) } else { T::store_partial(at, v, n) } }
        v
    }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "fixed trip counts unroll into registers")]
unsafe fn product<S: Tile, const RUNS: usize, const LEN: usize, const VECTORS: usize>(
    o: &Product,
    sums: *mut f32,
) {
    // SAFETY: the caller promises what `Tile` asks for; all offsets stay within the operands it describes.
    unsafe {
        let mut acc = [[[S::splat(0.0); VECTORS]; LEN]; RUNS];
        let mut weights = o.weights;
        for row in 0..o.tap_rows {
            // Three pixels from each pointer: an x86 address reaches base, base + step and base + 2 * step.
            let mut inputs = [[o.runs[0]; 3]; RUNS];
            for run in 0..RUNS {
                for i in 0..3 {
                    inputs[run][i] = o.runs[run].wrapping_add(row * o.tap_pitch + 3 * i * o.pixel_step);
                }
            }
            for _ in 0..o.tap_len {
                let mut w = [S::splat(0.0); VECTORS];
                for (v, w) in w.iter_mut().enumerate() {
                    let lane = v * S::LANES;
                    *w = S::load(weights.add(lane / PANEL * o.panel_len + lane % PANEL));
                }
                for run in 0..RUNS {
                    for pixel in 0..LEN {
                        let x = S::splat(*inputs[run][pixel / 3].add(pixel % 3 * o.pixel_step));
                        for v in 0..VECTORS {
                            acc[run][pixel][v] = S::mul_add(x, w[v], acc[run][pixel][v]);
                        }
                    }
                }
                for inputs in &mut inputs {
                    for input in inputs {
                        *input = input.wrapping_add(1);
                    }
                }
                weights = weights.wrapping_add(PANEL);
            }
        }
        for run in 0..RUNS {
            for pixel in 0..LEN {
                for v in 0..VECTORS {
                    S::store(sums.add((run * LEN + pixel) * S::BLOCK + v * S::LANES), acc[run][pixel][v]);
                }
            }
        }
    }
}

#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "fixed trip counts unroll into registers")]
unsafe fn outer<S: Tile, const LEN: usize, const VECTORS: usize>(o: &Outer<'_>) {
    // SAFETY: the caller promises what `Tile` asks for; all offsets stay within the operands it describes.
    unsafe {
        let mut acc = [[S::splat(0.0); VECTORS]; LEN];
        let mut gradient = o.gradient;
        for &row in o.rows {
            let mut input = o.input.add(row);
            for _ in 0..o.width {
                let mut g = [S::splat(0.0); VECTORS];
                for (v, g) in g.iter_mut().enumerate() {
                    *g = S::load(gradient.add(v * S::LANES));
                }
                for i in 0..LEN {
                    let x = S::splat(*input.add(i));
                    for v in 0..VECTORS {
                        acc[i][v] = S::mul_add(x, g[v], acc[i][v]);
                    }
                }
                // The inputs of the next tile: its pixels lie too far apart for the hardware to foresee them.
                S::prefetch(input.wrapping_add(2 * LEN - 1));
                input = input.wrapping_add(o.pixel_step);
                gradient = gradient.wrapping_add(S::BLOCK);
            }
        }
        if o.accumulate {
            for i in 0..LEN {
                for v in 0..VECTORS {
                    acc[i][v] = S::add(S::load(o.sums.add(i * o.pitch + v * S::LANES)), acc[i][v]);
                }
            }
        }
        for i in 0..LEN {
            for v in 0..VECTORS {
                S::store(o.sums.add(i * o.pitch + v * S::LANES), acc[i][v]);
            }
        }
    }
}

/// Calls the instance of a tile that fits; `$len` are the lengths that exist.
macro_rules! call {
    (product<$isa:ty, $runs:literal, $vectors:literal>($o:expr, $sums:expr)
        for $length:ident in $($len:literal)*) => {
        match $length {
            $($len => product::<$isa, $runs, $len, $vectors>($o, $sums),)*
            _ => unreachable!("no run is that long"),
        }
    };
    (outer<$isa:ty, $vectors:literal>($o:expr)
        for $length:ident in $($len:literal)*) => {
        match $length {
            $($len => outer::<$isa, $len, $vectors>($o),)*
            _ => unreachable!("no tile is that deep"),
        }
    };
}

/// Fourteen pixels and two vectors of channels: 28 sums, two weights and one input in 32 registers.
#[cfg(target_arch = "x86_64")]
impl Tile for Avx512 {
    const RUN: usize = 7;
    const BLOCK: usize = 32;
    const DEPTH: usize = 14;

    #[inline(always)]
    unsafe fn product(runs: usize, len: usize, vectors: usize, o: &Product, sums: *mut f32) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match (runs, vectors) {
                (1, 1) => call!(product<Avx512, 1, 1>(o, sums) for len in 1 2 3 4 5 6 7),
                (1, _) => call!(product<Avx512, 1, 2>(o, sums) for len in 1 2 3 4 5 6 7),
                (_, 1) => call!(product<Avx512, 2, 1>(o, sums) for len in 1 2 3 4 5 6 7),
                (_, _) => call!(product<Avx512, 2, 2>(o, sums) for len in 1 2 3 4 5 6 7),
            }
        }
    }

    #[inline(always)]
    unsafe fn outer(len: usize, vectors: usize, o: &Outer<'_>) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match vectors {
                1 => call!(outer<Avx512, 1>(o) for len in 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
                _ => call!(outer<Avx512, 2>(o) for len in 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            }
        }
    }
}

/// Six pixels and two vectors of channels: 12 sums, two weights and one input in 16 registers.
#[cfg(target_arch = "x86_64")]
impl Tile for Avx2 {
    const RUN: usize = 3;
    const BLOCK: usize = 16;
    const DEPTH: usize = 6;

    #[inline(always)]
    unsafe fn product(runs: usize, len: usize, vectors: usize, o: &Product, sums: *mut f32) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match (runs, vectors) {
                (1, 1) => call!(product<Avx2, 1, 1>(o, sums) for len in 1 2 3),
                (1, _) => call!(product<Avx2, 1, 2>(o, sums) for len in 1 2 3),
                (_, 1) => call!(product<Avx2, 2, 1>(o, sums) for len in 1 2 3),
                (_, _) => call!(product<Avx2, 2, 2>(o, sums) for len in 1 2 3),
            }
        }
    }

    #[inline(always)]
    unsafe fn outer(len: usize, vectors: usize, o: &Outer<'_>) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match vectors {
                1 => call!(outer<Avx2, 1>(o) for len in 1 2 3 4 5 6),
                _ => call!(outer<Avx2, 2>(o) for len in 1 2 3 4 5 6),
            }
        }
    }
}

/// Six pixels and one vector of two 128-bit registers: fits the 16 registers of SSE and the 32 of NEON.
impl Tile for Portable {
    const RUN: usize = 3;
    const BLOCK: usize = 8;
    // SSE overwrites an operand, and so needs a register more for each product.
    const DEPTH: usize = if cfg!(target_arch = "x86_64") { 4 } else { 6 };

    #[inline(always)]
    unsafe fn product(runs: usize, len: usize, _vectors: usize, o: &Product, sums: *mut f32) {
        // SAFETY: the caller's promise is the same.
        unsafe {
            match runs {
                1 => call!(product<Portable, 1, 1>(o, sums) for len in 1 2 3),
                _ => call!(product<Portable, 2, 1>(o, sums) for len in 1 2 3),
            }
        }
    }

    #[inline(always)]
    unsafe fn outer(len: usize, _vectors: usize, o: &Outer<'_>) {
        // SAFETY: the caller's promise is the same.
        unsafe { call!(outer<Portable, 1>(o) for len in 1 2 3 4 5 6) }
    }
}
