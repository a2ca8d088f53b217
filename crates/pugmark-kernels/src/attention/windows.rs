//! Where the tokens of a window lie, and which of them see each other.

use super::WindowAttention;
use crate::plane::Plane;

/// The windows of one picture: those of the picture filled up to whole windows and rolled by the shift.
#[derive(Clone, Copy, Debug)]
pub(super) struct Windows {
    /// Tokens on a side of a window.
    side: usize,
    /// Pixels of the picture.
    size: (usize, usize),
    /// Windows below and beside each other.
    pub count: (usize, usize),
    /// Pixels by which the picture is rolled up and to the left; none along a side that is one window.
    shift: (usize, usize),
}

impl Windows {
    pub fn new(s: &WindowAttention, plane: &Plane) -> Self {
        let count = (plane.height.div_ceil(s.window), plane.width.div_ceil(s.window));
        let shift = |count: usize| if count > 1 { s.shift } else { 0 };
        Self {
            side: s.window,
            size: (plane.height, plane.width),
            count,
            shift: (shift(count.0), shift(count.1)),
        }
    }

    /// The offset of each token's pixel in `plane`, none where it is padding; `window` is (row, column).
    pub fn pixels(&self, window: (usize, usize), plane: &Plane, pixels: &mut [Option<usize>]) {
        let place = |window: usize, token: usize, count: usize, shift: usize| {
            (window * self.side + token + shift) % (count * self.side)
        };
        for (token, pixel) in pixels.iter_mut().enumerate() {
            let y = place(window.0, token / self.side, self.count.0, self.shift.0);
            let x = place(window.1, token % self.side, self.count.1, self.shift.1);
            *pixel = (y < self.size.0 && x < self.size.1).then(|| plane.offset(y, x));
        }
    }

    /// What rolling brought together in a window: nothing, or parts above and below, or side by side, or both.
    pub fn seams(&self, window: (usize, usize)) -> usize {
        let seam = |window: usize, count: usize, shift: usize| usize::from(shift > 0 && window + 1 == count);
        seam(window.0, self.count.0, self.shift.0) + 2 * seam(window.1, self.count.1, self.shift.1)
    }
}

/// For each kind of window ([`Windows::seams`]) what is added to the score of two tokens, a row a query: -100 where a seam
/// lies between them, as torchvision does. Rows are `columns` long.
pub(super) fn masks(s: &WindowAttention, columns: usize) -> [Vec<f32>; 4] {
    let part = |token: usize, seams: usize| {
        let behind = |at: usize| at + s.shift >= s.window;
        (seams & 1 > 0 && behind(token / s.window), seams & 2 > 0 && behind(token % s.window))
    };
    [0, 1, 2, 3].map(|seams| {
        let mut mask = vec![0.0; s.tokens() * columns];
        for (query, row) in mask.chunks_exact_mut(columns).enumerate() {
            for (key, value) in row.iter_mut().take(s.tokens()).enumerate() {
                if part(query, seams) != part(key, seams) {
                    *value = -100.0;
                }
            }
        }
        mask
    })
}

/// Position differences of the tokens of a window.
pub(super) fn differences(s: &WindowAttention) -> usize {
    (2 * s.window - 1) * (2 * s.window - 1)
}

/// Where the biases of a query and the `row`-th row of its keys are in a head's table, which must be in *reverse* order:
/// so they are neighbours.
#[inline(always)]
pub(super) fn first_entry(s: &WindowAttention, query: usize, row: usize) -> usize {
    let (side, last) = (s.window, s.window - 1);
    (row + last - query / side) * (2 * side - 1) + last - query % side
}
