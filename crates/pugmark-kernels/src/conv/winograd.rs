//! Winograd's convolution F(4x4, 3x3): 36 products for 16 outputs instead of 144 (Lavin and Gray, arXiv
//! 1509.09308).
//!
//! An output tile of 4 x 4 pixels comes from 6 x 6 inputs. Inputs and weights are transformed, each of the 36
//! places is a plain matrix product over the channels, and the result is transformed back. The weights'
//! gradient is the same with other sizes, F(3x3, 4x4). The points of interpolation are 0, ±1/√2, ±√2 and
//! infinity, nearer to each other in size than the usual 0, ±1, ±2 (why that matters: Barabasz et al., arXiv
//! 1803.10986).

mod forward;
mod pack;
mod transform;
mod weight;

pub(super) use forward::Part;
pub use forward::{winograd_backward_data, winograd_forward, winograd_workspace_len};
pub use pack::{winograd_pack_backward, winograd_pack_forward, winograd_packed_len};
pub use weight::{winograd_backward_weight, winograd_weight_workspace_len};

use super::ConvShape;
use super::element::ConvElement;
use crate::plane::Plane;

/// Places of a transformed tile.
const PLACES: usize = 36;
/// Pixels a side of an output tile.
const TILE: usize = 4;
/// Pixels a side of the inputs under it.
const PATCH: usize = 6;
/// Bytes between two places' matrices, so that the same value of all places does not meet in one set of the cache.
const GAP_BYTES: usize = 64;
/// Channels come in multiples of the widest vector.
const CHANNELS: usize = 16;
/// Tiles that pay for reading four times the weights: fewer are faster without.
const FEWEST_TILES: usize = 16;

impl ConvShape {
    /// Whether Winograd's form exists for this convolution and is the faster one for `images` outputs of `height` x `width`.
    ///
    /// It errs more: by up to 3.7e-6 of the largest output where the direct sum errs by 1.5e-6 (`tests/winograd.rs`).
    pub fn suits_winograd<E: ConvElement>(&self, images: usize, height: usize, width: usize) -> bool {
        E::winograd_pays()
            && self.has_winograd_form::<E>()
            && images * height.div_ceil(TILE) * width.div_ceil(TILE) >= FEWEST_TILES
    }

    fn has_winograd_form<E: ConvElement>(&self) -> bool {
        self.kernel == (3, 3)
            && self.stride == 1
            && self.padding <= 2
            && self.in_channels.is_multiple_of(CHANNELS.max(E::TAP_BLOCK))
            && self.out_channels.is_multiple_of(CHANNELS)
    }
}

/// Values of [`GAP_BYTES`].
const fn gap<E>() -> usize {
    GAP_BYTES / size_of::<E>()
}

/// The output tiles of a batch, numbered image by image and row by row.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    columns: usize,
    count: usize,
}

impl Tiles {
    fn new(images: usize, output: &Plane) -> Self {
        let (rows, columns) = (output.height.div_ceil(TILE), output.width.div_ceil(TILE));
        Tiles { rows, columns, count: images * rows * columns }
    }

    /// How many tiles from `first` on, at most `most`, are a strip.
    fn strip(&self, first: usize, most: usize) -> usize {
        most.min(STRIP_TILES).min(self.columns - first % self.columns)
    }

    /// Image, first row and first column of a tile.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (image, tile) = (tile / (self.rows * self.columns), tile % (self.rows * self.columns));
        (image, tile / self.columns * TILE, tile % self.columns * TILE)
    }
}

/// Tiles of a strip at most, so that its transformed lines stay in the first-level cache.
const STRIP_TILES: usize = 8;
/// Columns of pixels under it.
const STRIP_COLUMNS: usize = STRIP_TILES * TILE + PATCH - TILE;

/// Tiles beside each other, and where the pixels under them lie.
struct Strip<E> {
    tiles: usize,
    /// The first pixel of each row, and how far it is to the next; zeros stand for rows beyond the border.
    rows: [*const E; PATCH],
    step: usize,
    /// Columns that do not lie beyond the border.
    inside: usize,
}

impl<E> Strip<E> {
    /// From row `y` and column `x` of the plane with its border on; `zeros` has [`STRIP_COLUMNS`] pixels.
    fn new(tiles: usize, values: &[E], p: &Plane, (image, y, x): (usize, usize, usize), zeros: &[E]) -> Self {
        let (height, width) = (p.padded_height(), p.width + 2 * p.border);
        let image = &values[image * p.len()..][..p.len()];
        assert!(zeros.len() >= STRIP_COLUMNS * p.channels, "zeros: too few");
        let mut strip = Strip { tiles, rows: [zeros.as_ptr(); PATCH], step: p.channels, inside: 0 };
        strip.inside = strip.columns().min(width - x);
        for (row, y) in strip.rows.iter_mut().zip(y..height) {
            *row = image[y * p.row_pitch() + x * p.channels..].as_ptr();
        }
        strip
    }

    fn columns(&self) -> usize {
        self.tiles * TILE + PATCH - TILE
    }
}

/// Where the pixels of a tile lie, from row `y` and column `x` of the plane with its border on; `zeros` stands for those beyond
/// the border.
fn square(
    values: &[f32],
    p: &Plane,
    (image, y, x): (usize, usize, usize),
    zeros: &[f32],
) -> [[*const f32; TILE]; TILE] {
    let mut pointers = [[zeros.as_ptr(); TILE]; TILE];
    let (height, width) = (p.padded_height(), p.width + 2 * p.border);
    let image = &values[image * p.len()..][..p.len()];
    for (y, row) in (y..height).zip(&mut pointers) {
        for (x, pointer) in (x..width).zip(row) {
            *pointer = &raw const image[y * p.row_pitch() + x * p.channels];
        }
    }
    pointers
}
