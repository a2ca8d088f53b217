//! Patch merging: four neighbouring pixels become one.

use crate::Isa;
use crate::element::Element;
use crate::parallel::{row, write_rows};
use crate::plane::{Plane, check};
use crate::simd::multiversion;

/// The pixels of a patch as (row, column), in the order of their channels in the merged pixel, torchvision's.
const PATCH: [(usize, usize); 4] = [(0, 0), (1, 0), (0, 1), (1, 1)];

multiversion! {
    /// `part` says which of the two rows of patches `x` is; what `x` has no pixel for is 0.
    fn merge_row<E: Element>(x: Option<&[E]>, channels: usize, part: usize, y: &mut [E]) {
        for (at, pixel) in y.chunks_exact_mut(4 * channels).enumerate() {
            for (quarter, &(row, column)) in pixel.chunks_exact_mut(channels).zip(&PATCH) {
                if row == part {
                    let from = (2 * at + column) * channels;
                    match x {
                        Some(x) if from < x.len() => quarter.copy_from_slice(&x[from..from + channels]),
                        _ => quarter.fill(E::default()),
                    }
                }
            }
        }
    }
}

multiversion! {
    /// The way back of [`merge_row`].
    fn split_row<E: Element>(dy: &[E], channels: usize, part: usize, dx: &mut [E]) {
        for (at, pixel) in dx.chunks_exact_mut(channels).enumerate() {
            for (quarter, &patch) in PATCH.iter().enumerate() {
                if patch == (part, at % 2) {
                    let from = (at / 2 * 4 + quarter) * channels;
                    pixel.copy_from_slice(&dy[from..from + channels]);
                }
            }
        }
    }
}

#[track_caller]
fn check_planes(xp: &Plane, yp: &Plane) {
    let size = (xp.height.div_ceil(2), xp.width.div_ceil(2), 4 * xp.channels);
    assert!((yp.height, yp.width, yp.channels) == size, "merged plane: {yp:?} for {xp:?}");
}

/// Each pixel of `y := ` the 2 x 2 pixels of `x` there, channel after channel: the upper left, the lower left, the upper
/// right, the lower right; 0 beyond an odd side. Writes `y`'s border too.
pub fn merge_patches_forward<E: Element>(images: usize, x: &[E], xp: Plane, y: &mut [E], yp: Plane) {
    check("x", x.len(), images, &xp);
    check("y", y.len(), images, &yp);
    check_planes(&xp, &yp);
    let isa = Isa::active();
    write_rows(y, yp, |image, r, y| {
        for part in 0..2 {
            let at = 2 * r + part;
            merge_row(isa, (at < xp.height).then(|| row(x, &xp, image, at)), xp.channels, part, y);
        }
    });
}

/// `dx :=` the gradient of [`merge_patches_forward`]'s input; writes its border too.
pub fn merge_patches_backward<E: Element>(images: usize, dy: &[E], dyp: Plane, dx: &mut [E], dxp: Plane) {
    check("dy", dy.len(), images, &dyp);
    check("dx", dx.len(), images, &dxp);
    check_planes(&dxp, &dyp);
    let isa = Isa::active();
    write_rows(dx, dxp, |image, r, dx| {
        split_row(isa, row(dy, &dyp, image, r / 2), dxp.channels, r % 2, dx);
    });
}
