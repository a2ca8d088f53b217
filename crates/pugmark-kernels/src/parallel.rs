//! Parallel drivers. Tasks are cut by the size of the problem alone, never by the number of threads.

use std::marker::PhantomData;

use rayon::prelude::*;

use crate::element::Element;
use crate::plane::Plane;

/// Values that one task of a memory-bound kernel should move at least: a few microseconds' work.
pub(crate) const GRAIN: usize = 1 << 15;

/// Calls `f(index, chunk)` for each chunk of `len` values; the last may be shorter.
pub(crate) fn for_each_chunk<T: Send>(
    values: &mut [T],
    len: usize,
    f: impl Fn(usize, &mut [T]) + Sync + Send,
) {
    if values.len() <= len {
        // Not worth waking another thread.
        if !values.is_empty() {
            f(0, values);
        }
        return;
    }
    // Chunks that can each be taken by another thread, to the last: some are held up by other work.
    let chunks = values.par_chunks_mut(len).enumerate().with_max_len(1);
    chunks.for_each(|(index, chunk)| f(index, chunk));
}

/// Calls `f(index)` for each of `tasks`.
pub(crate) fn for_each_task(tasks: usize, f: impl Fn(usize) + Sync + Send) {
    (0..tasks).into_par_iter().with_max_len(1).for_each(f);
}

/// Calls `f(image, y, row)` for each row of the images themselves.
pub(crate) fn for_each_row<E: Element>(
    values: &mut [E],
    p: Plane,
    f: impl Fn(usize, usize, &mut [E]) + Sync + Send,
) {
    each_padded_row(values, p, |image, y, row| {
        if let Some(y) = y {
            let edge = p.border * p.channels;
            f(image, y, &mut row[edge..edge + p.row_len()]);
        }
    });
}

/// As [`for_each_row`], and zeroes the border.
pub(crate) fn write_rows<E: Element>(
    values: &mut [E],
    p: Plane,
    f: impl Fn(usize, usize, &mut [E]) + Sync + Send,
) {
    each_padded_row(values, p, |image, y, row| match y {
        Some(y) => {
            let (left, row) = row.split_at_mut(p.border * p.channels);
            let (row, right) = row.split_at_mut(p.row_len());
            left.fill(E::default());
            f(image, y, row);
            right.fill(E::default());
        }
        None => row.fill(E::default()),
    });
}

/// Zeroes the border.
pub(crate) fn zero_border<E: Element>(values: &mut [E], p: Plane) {
    if p.border > 0 {
        write_rows(values, p, |_, _, _| ());
    }
}

/// Calls `f(image, y, row)` for each row with its border; `y` is `None` on the rows above and below the
/// image.
fn each_padded_row<E: Element>(
    values: &mut [E],
    p: Plane,
    f: impl Fn(usize, Option<usize>, &mut [E]) + Sync + Send,
) {
    if values.is_empty() {
        return;
    }
    let (pitch, height) = (p.row_pitch(), p.padded_height());
    let rows = GRAIN.div_ceil(pitch);
    for_each_chunk(values, rows * pitch, |task, chunk| {
        for (i, row) in chunk.chunks_exact_mut(pitch).enumerate() {
            let row_index = task * rows + i;
            let y = (row_index % height).checked_sub(p.border).filter(|&y| y < p.height);
            f(row_index / height, y, row);
        }
    });
}

/// Row `y` of an image, without its border.
pub(crate) fn row<'a, E: Element>(values: &'a [E], p: &Plane, image: usize, y: usize) -> &'a [E] {
    let at = image * p.len() + p.offset(y, 0);
    &values[at..at + p.row_len()]
}

/// Sums over all rows, `width` of them at once: `f(image, y, sums)` adds a row to the f32 sums.
///
/// Sums of some dozens of pixels are f32; those are added up in f64, in a fixed order.
pub(crate) fn sum_rows(
    images: usize,
    p: Plane,
    width: usize,
    f: impl Fn(usize, usize, &mut [f32]) + Sync + Send,
) -> Vec<f64> {
    let mut total = vec![0f64; width];
    let rows = images * p.height;
    if rows == 0 || width == 0 || p.width == 0 {
        return total;
    }
    let task_rows = GRAIN.div_ceil(p.row_len()).max(rows.div_ceil(64));
    let flush_rows = 64usize.div_ceil(p.width);
    let mut partial = vec![0f64; rows.div_ceil(task_rows) * width];
    for_each_chunk(&mut partial, width, |task, partial| {
        let mut sums = vec![0f32; width];
        let rows = task * task_rows..rows.min((task + 1) * task_rows);
        for start in rows.clone().step_by(flush_rows) {
            sums.fill(0.0);
            for row in start..rows.end.min(start + flush_rows) {
                f(row / p.height, row % p.height, &mut sums);
            }
            for (partial, &sum) in partial.iter_mut().zip(&sums) {
                *partial += f64::from(sum);
            }
        }
    });
    for partial in partial.chunks_exact(width) {
        for (total, partial) in total.iter_mut().zip(partial) {
            *total += partial;
        }
    }
    total
}

/// A mutable slice that tasks write disjoint parts of.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a, E = f32> {
    start: *mut E,
    len: usize,
    slice: PhantomData<&'a mut [E]>,
}

// SAFETY: every access goes through `at`, whose user promises that no other task touches the same values.
unsafe impl<E: Element> Send for Shared<'_, E> {}
// SAFETY: as above.
unsafe impl<E: Element> Sync for Shared<'_, E> {}

impl<'a, E: Element> Shared<'a, E> {
    pub(crate) fn new(slice: &'a mut [E]) -> Self {
        Shared { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Where the value of that index lies.
    ///
    /// # Safety
    /// `index <= len`, and no two tasks access the same values.
    pub(crate) unsafe fn at(&self, index: usize) -> *mut E {
        debug_assert!(index <= self.len);
        // SAFETY: inside the slice or just behind it, by the caller's promise.
        unsafe { self.start.add(index) }
    }
}
