//! KeepAugment (arXiv 2011.11778): what a model finds important in a photo is neither cut away nor distorted.
//!
//! Importance is the absolute gradient of the loss with respect to the pixels, the largest of the colours, summed over the
//! cells of a grid. A region counts by its rank among all regions of its size in the photo: one that is cut away must be
//! less important than a share of them, one that is kept or pasted back more. The paper's threshold is the same quantile.

use super::area::Area;
use crate::random::Random;

/// Cells of a side of a [`Saliency`].
pub const SALIENCY_SIDE: usize = 16;

/// How often a region is drawn before the best so far is taken.
const TRIES: usize = 16;

/// Where in a photo lies what the model finds important: [`SALIENCY_SIDE`] x [`SALIENCY_SIDE`] cells over what the loader
/// shows of it before anything random is done ([`super::Augment::saliency_recipe`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Saliency {
    /// Row by row, the most important 255.
    cells: Box<[u8; SALIENCY_SIDE * SALIENCY_SIDE]>,
}

impl Saliency {
    /// From the importance of each cell, row by row; none if the number of cells is another one, or they tell nothing: one
    /// of them is no number, or none is above 0.
    pub fn new(importance: &[f32]) -> Option<Self> {
        let most = importance.iter().copied().fold(0.0_f32, f32::max);
        if !(most > 0.0 && importance.iter().all(|value| value.is_finite())) {
            return None;
        }
        let cells: Vec<u8> = importance.iter().map(|value| (value / most * 255.0).round() as u8).collect();
        Some(Self { cells: Box::new(cells.try_into().ok()?) })
    }

    /// The cells, row by row, the most important 255.
    pub fn cells(&self) -> &[u8; SALIENCY_SIDE * SALIENCY_SIDE] {
        &self.cells
    }

    /// The grid over a part of a picture of `width` x `height` pixels: each cell is that of its middle.
    pub(super) fn part(&self, area: Area, width: usize, height: usize) -> Self {
        let cell = |at: usize, first: usize, size: usize, of: usize| {
            ((first as f64 + (at as f64 + 0.5) / SALIENCY_SIDE as f64 * size as f64) / of as f64
                * SALIENCY_SIDE as f64) as usize
        };
        self.map(|column, row| {
            let column = cell(column, area.left, area.width, width);
            (column, cell(row, area.top, area.height, height))
        })
    }

    pub(super) fn flipped(&self) -> Self {
        self.map(|column, row| (SALIENCY_SIDE - 1 - column, row))
    }

    pub(super) fn vertically_flipped(&self) -> Self {
        self.map(|column, row| (column, SALIENCY_SIDE - 1 - row))
    }

    fn map(&self, from: impl Fn(usize, usize) -> (usize, usize)) -> Self {
        let cells = std::array::from_fn(|at| {
            let (column, row) = from(at % SALIENCY_SIDE, at / SALIENCY_SIDE);
            self.cells[row.min(SALIENCY_SIDE - 1) * SALIENCY_SIDE + column.min(SALIENCY_SIDE - 1)]
        });
        Self { cells: Box::new(cells) }
    }
}

/// Looks regions up by what they hold.
pub(crate) struct Importance {
    /// Of the cells above and left of each corner.
    sums: Vec<u32>,
    /// Of all regions of its size, a region must hold less than this share to be cut away, and more to be kept.
    share: f32,
    width: usize,
    height: usize,
}

const CORNERS: usize = SALIENCY_SIDE + 1;

impl Importance {
    /// For a picture of `width` x `height` pixels.
    pub(crate) fn new(saliency: &Saliency, share: f32, width: usize, height: usize) -> Self {
        let mut sums = vec![0; CORNERS * CORNERS];
        for row in 0..SALIENCY_SIDE {
            let mut line = 0;
            for column in 0..SALIENCY_SIDE {
                line += u32::from(saliency.cells[row * SALIENCY_SIDE + column]);
                sums[(row + 1) * CORNERS + column + 1] = sums[row * CORNERS + column + 1] + line;
            }
        }
        Self { sums, share, width, height }
    }

    /// The region drawn first that may be cut away, or the least important of those drawn; none where nothing is drawn.
    pub(crate) fn to_cut(&self, draw: impl FnMut() -> Option<Area>) -> Option<Area> {
        self.first(draw, |area| self.rank(area), |rank| rank < self.share)
    }

    /// The region drawn first that may be kept alone, or the most important of those drawn.
    pub(crate) fn to_keep(&self, draw: impl FnMut() -> Option<Area>) -> Option<Area> {
        self.first(
            draw,
            |area| {
                // Where all is kept, nothing is lost.
                let whole = area.width == self.width && area.height == self.height;
                if whole { -1.0 } else { -self.rank(area) }
            },
            |rank| -rank > self.share,
        )
    }

    fn first(
        &self,
        mut draw: impl FnMut() -> Option<Area>,
        rank: impl Fn(Area) -> f32,
        good: impl Fn(f32) -> bool,
    ) -> Option<Area> {
        let mut best: Option<(Area, f32)> = None;
        for _ in 0..TRIES {
            let Some(area) = draw() else { break };
            let rank = rank(area);
            if best.is_none_or(|(_, least)| rank < least) {
                best = Some((area, rank));
            }
            if good(rank) {
                break;
            }
        }
        best.map(|(area, _)| area)
    }

    /// The share of regions of that size that are less important, those as important counting half; both to whole cells.
    fn rank(&self, area: Area) -> f32 {
        let cells =
            |pixels: usize, of: usize| (pixels as f64 / of as f64 * SALIENCY_SIDE as f64).round() as usize;
        let columns = cells(area.width, self.width).clamp(1, SALIENCY_SIDE);
        let rows = cells(area.height, self.height).clamp(1, SALIENCY_SIDE);
        let left = cells(area.left, self.width).min(SALIENCY_SIDE - columns);
        let top = cells(area.top, self.height).min(SALIENCY_SIDE - rows);
        let sum = |left: usize, top: usize| {
            let at = |column: usize, row: usize| self.sums[row * CORNERS + column];
            at(left + columns, top + rows) + at(left, top) - at(left, top + rows) - at(left + columns, top)
        };
        let own = sum(left, top);
        let (mut less, mut all) = (0.0, 0.0);
        for top in 0..=SALIENCY_SIDE - rows {
            for left in 0..=SALIENCY_SIDE - columns {
                let other = sum(left, top);
                less += if other < own { 1.0 } else { f32::from(u8::from(other == own)) / 2.0 };
                all += 1.0;
            }
        }
        less / all
    }
}

/// A region to paste back: half as wide and half as high as the picture.
pub(super) fn half(width: usize, height: usize, random: &mut Random) -> Area {
    Area::placed(width.div_ceil(2), height.div_ceil(2), (width, height), random)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Importance 1 everywhere and 100 in one cell.
    fn spot(column: usize, row: usize) -> Saliency {
        let mut cells = vec![0.01; SALIENCY_SIDE * SALIENCY_SIDE];
        cells[row * SALIENCY_SIDE + column] = 1.0;
        Saliency::new(&cells).unwrap()
    }

    fn holds(area: Area, x: usize, y: usize) -> bool {
        (area.left..area.left + area.width).contains(&x) && (area.top..area.top + area.height).contains(&y)
    }

    #[test]
    fn what_tells_nothing_is_no_saliency() {
        for cells in
            [vec![0.0; 256], vec![f32::NAN; 256], vec![1.0; 255], vec![f32::INFINITY; 256], Vec::new()]
        {
            assert!(Saliency::new(&cells).is_none());
        }
        assert_eq!(spot(3, 2).cells()[2 * 16 + 3], 255);
    }

    #[test]
    fn the_grid_follows_flips_and_parts() {
        let at = |saliency: &Saliency| {
            let cell = saliency.cells().iter().position(|&cell| cell == 255).unwrap();
            (cell % 16, cell / 16)
        };
        let saliency = spot(3, 2);
        assert_eq!((at(&saliency.flipped()), at(&saliency.vertically_flipped())), ((12, 2), (3, 13)));
        // The upper left quarter of 320 x 160 pixels: a cell becomes two by two.
        let part = saliency.part(Area { left: 0, top: 0, width: 160, height: 80 }, 320, 160);
        assert_eq!(at(&part), (6, 4));
        assert_eq!(part.cells().iter().filter(|&&cell| cell == 255).count(), 4);
        let whole = saliency.part(Area { left: 0, top: 0, width: 320, height: 160 }, 320, 160);
        assert_eq!(whole, saliency);
    }

    #[test]
    fn the_spot_is_neither_cut_away_nor_lost() {
        let (width, height) = (160, 160);
        let importance = Importance::new(&spot(9, 5), 0.6, width, height);
        let (x, y) = (95, 55);
        let mut random = Random::new(0, 0, "keep");
        let (mut cut, mut kept, mut plain) = (0, 0, 0);
        for _ in 0..500 {
            let erased = importance.to_cut(|| Area::erased(width, height, &mut random)).unwrap();
            cut += usize::from(holds(erased, x, y));
            let crop = importance.to_keep(|| Some(Area::crop(width, height, 0.1, 1.2, &mut random))).unwrap();
            kept += usize::from(holds(crop, x, y));
            plain += usize::from(holds(Area::crop(width, height, 0.1, 1.2, &mut random), x, y));
        }
        // To whole cells, and a region as large as most of the picture holds the spot wherever it lies.
        assert!(cut < 25, "{cut} of 500 cut the spot away");
        assert!(kept > 475 && plain < 425, "{kept} and {plain} of 500 kept it");
    }

    #[test]
    fn where_everything_is_alike_the_first_draw_is_taken() {
        let importance = Importance::new(&Saliency::new(&[1.0; 256]).unwrap(), 0.6, 100, 100);
        let area = |left| Area { left, top: 3, width: 20, height: 30 };
        let mut left = 0..;
        assert_eq!(importance.to_cut(|| left.next().map(area)), Some(area(0)));
        let mut left = 5..;
        assert_eq!(importance.to_keep(|| left.next().map(area)), Some(area(5)));
        assert_eq!(importance.to_cut(|| None), None);
        let whole = Area { left: 0, top: 0, width: 100, height: 100 };
        let mut draws = [whole, area(1)].into_iter();
        assert_eq!(importance.to_keep(|| draws.next()), Some(whole));
        assert_eq!(draws.len(), 1, "the whole picture loses nothing");
    }
}
