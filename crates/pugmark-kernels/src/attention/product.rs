//! Small matrix products whose operands stay in the nearest cache.

use crate::Isa;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Portable, Simd, per_isa};

/// The block of sums that stays in registers, beside a row of vectors and one broadcast value.
trait Block: Simd {
    const ROWS: usize;
    const VECTORS: usize;
}

/// 24 sums, four vectors and a value in 32 registers.
#[cfg(target_arch = "x86_64")]
impl Block for Avx512 {
    const ROWS: usize = 6;
    const VECTORS: usize = 4;
}

/// 12 sums, two vectors and a value in 16 registers.
#[cfg(target_arch = "x86_64")]
impl Block for Avx2 {
    const ROWS: usize = 6;
    const VECTORS: usize = 2;
}

/// A vector is two registers here.
impl Block for Portable {
    const ROWS: usize = 3;
    const VECTORS: usize = 2;
}

/// `n` rounded up to whole vectors: what the columns of [`product`] are a multiple of.
pub(super) fn padded(isa: Isa, n: usize) -> usize {
    n.next_multiple_of(if isa.vectors() == Isa::Avx512 { 16 } else { 8 })
}

/// A matrix that is read value by value: `(row, k)` is at `row * rows + k * depth`.
#[derive(Clone, Copy)]
pub(super) struct Left<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub depth: usize,
}

/// `out[row][column] :=` the sum over `k < depth` of `left[row][k] * right[k][column]`, for all rows of `out`; `columns`
/// ([`padded`]) is the width of `right` and `out`.
pub(super) fn product(
    isa: Isa,
    depth: usize,
    columns: usize,
    left: Left<'_>,
    right: &[f32],
    out: &mut [f32],
) {
    let rows = out.len() / columns;
    assert!(columns == padded(isa, columns), "columns: {columns} are not whole vectors");
    assert!(right.len() >= depth * columns, "right: too short");
    if rows == 0 || depth == 0 {
        out.fill(0.0);
        return;
    }
    assert!(left.values.len() > (rows - 1) * left.rows + (depth - 1) * left.depth, "left: too short");
    // SAFETY: `Isa::active` gave `isa`, and the slices hold what is read and written, as checked above.
    unsafe {
        let steps = (left.rows, left.depth);
        run(isa, rows, depth, columns, left.values.as_ptr(), steps, right.as_ptr(), out.as_mut_ptr());
    }
}

per_isa! {
    /// # Safety
    /// The machine has the instruction set; the pointers are valid for what [`product`] reads and writes.
    unsafe fn run<S: Block>(
        rows: usize,
        depth: usize,
        columns: usize,
        left: *const f32,
        steps: (usize, usize),
        right: *const f32,
        out: *mut f32,
    ) {
        let vectors = columns / S::LANES;
        for first in (0..vectors).step_by(S::VECTORS) {
            // SAFETY: these columns are part of both; the rest is the caller's promise.
            unsafe {
                let (right, out) = (right.add(first * S::LANES), out.add(first * S::LANES));
                match S::VECTORS.min(vectors - first) {
                    1 => strip::<S, 1>(rows, depth, columns, left, steps, right, out),
                    2 => strip::<S, 2>(rows, depth, columns, left, steps, right, out),
                    3 => strip::<S, 3>(rows, depth, columns, left, steps, right, out),
                    _ => strip::<S, 4>(rows, depth, columns, left, steps, right, out),
                }
            }
        }
    }
}

/// All rows of `V` vectors of columns.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn strip<S: Block, const V: usize>(
    rows: usize,
    depth: usize,
    columns: usize,
    left: *const f32,
    steps: (usize, usize),
    right: *const f32,
    out: *mut f32,
) {
    let mut row = 0;
    while row < rows {
        // SAFETY: as many rows are left as are taken.
        unsafe {
            let (left, out) = (left.add(row * steps.0), out.add(row * columns));
            match (rows - row, S::ROWS) {
                (6.., 6) => tile::<S, 6, V>(depth, columns, left, steps, right, out),
                (3.., _) => tile::<S, 3, V>(depth, columns, left, steps, right, out),
                _ => tile::<S, 1, V>(depth, columns, left, steps, right, out),
            }
            row += match (rows - row, S::ROWS) {
                (6.., 6) => 6,
                (3.., _) => 3,
                _ => 1,
            };
        }
    }
}

/// `R` rows of `V` vectors.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "fixed trip counts unroll into registers")]
unsafe fn tile<S: Block, const R: usize, const V: usize>(
    depth: usize,
    columns: usize,
    left: *const f32,
    (row_step, step): (usize, usize),
    right: *const f32,
    out: *mut f32,
) {
    // SAFETY: the caller's promise is the same.
    unsafe {
        let mut sums = [[S::splat(0.0); V]; R];
        for k in 0..depth {
            let mut b = [S::splat(0.0); V];
            for v in 0..V {
                b[v] = S::load(right.add(k * columns + v * S::LANES));
            }
            for row in 0..R {
                let a = S::splat(*left.add(row * row_step + k * step));
                for v in 0..V {
                    sums[row][v] = S::mul_add(a, b[v], sums[row][v]);
                }
            }
        }
        for row in 0..R {
            for v in 0..V {
                S::store(out.add(row * columns + v * S::LANES), sums[row][v]);
            }
        }
    }
}
