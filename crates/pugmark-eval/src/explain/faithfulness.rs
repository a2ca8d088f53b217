use serde::Serialize;

use super::{BlackBox, Picture, Regions};
use crate::random::Random;

/// Cells along each side, and how many steps they go in: as fine as most feature maps are.
const CELLS: usize = 8;
const STEPS: usize = 16;

/// The mean of a score on the way from one picture to another, 0 to 1 where the score is a probability.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Area {
    /// In the order of the map.
    pub map: f64,
    /// In random orders, one each: what a map that says nothing gives.
    pub random: Vec<f64>,
}

impl Area {
    /// The mean over the random orders.
    pub fn floor(&self) -> f64 {
        self.random.iter().sum::<f64>() / self.random.len() as f64
    }
}

/// Whether what a map calls important is what the score depends on: RISE's two areas under the curve (Petsiuk and others, arXiv
/// 1806.07421).
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Faithfulness {
    /// As cells are covered with the mean colour, the most important first: the lower, the better.
    pub deletion: Area,
    /// As cells are uncovered over a blurred picture, the most important first: the higher, the better.
    pub insertion: Area,
}

/// Measures a map, one value a pixel, on cells of an 8 x 8 grid; beside it, `random` orders of the same cells. Cells that the
/// map leaves equal are in a random order.
///
/// # Errors
/// Those of the model.
pub fn faithfulness<E>(
    picture: &Picture,
    map: &[f32],
    random: usize,
    model: &mut BlackBox<'_, E>,
) -> Result<Faithfulness, E> {
    let cells = Regions::cells(picture, CELLS, CELLS);
    let means = cells.means(map);
    let mut source = Random::new(0);
    let mut by_map = source.order(cells.count);
    by_map.sort_by(|&a, &b| means[b].total_cmp(&means[a]));
    let orders: Vec<Vec<usize>> =
        std::iter::once(by_map).chain((0..random).map(|_| source.order(cells.count))).collect();
    let mut areas = |from: &Picture, to: &Picture| -> Result<Area, E> {
        let mut areas = areas(from, to, &cells, &orders, model)?;
        Ok(Area { map: areas.remove(0), random: areas })
    };
    Ok(Faithfulness {
        deletion: areas(picture, &picture.flat())?,
        insertion: areas(&picture.blurred(), picture)?,
    })
}

/// The area of each order, by the trapezoid rule over the share of cells that have changed.
fn areas<E>(
    from: &Picture,
    to: &Picture,
    cells: &Regions,
    orders: &[Vec<usize>],
    model: &mut BlackBox<'_, E>,
) -> Result<Vec<f64>, E> {
    let steps = STEPS.min(cells.count);
    // The ends are the same in every order.
    let changed: Vec<usize> = (1..steps).map(|step| step * cells.count / steps).collect();
    let between = orders.iter().flat_map(|order| {
        let mut turn = vec![0; cells.count];
        order.iter().enumerate().for_each(|(place, &cell)| turn[cell] = place);
        changed.iter().map(move |&changed| from.mixed(to, |pixel| turn[cells.of_pixel[pixel]] >= changed))
    });
    let scores = model.scores([from.rgb.clone(), to.rgb.clone()].into_iter().chain(between))?;
    let shares: Vec<f64> = std::iter::once(0)
        .chain(changed.iter().copied())
        .chain([cells.count])
        .map(|changed| changed as f64 / cells.count as f64)
        .collect();
    let area = |order: usize| {
        let between = &scores[2 + order * changed.len()..][..changed.len()];
        let curve: Vec<f64> =
            std::iter::once(scores[0]).chain(between.iter().copied()).chain([scores[1]]).collect();
        let trapezoid = |i: usize| (shares[i + 1] - shares[i]) * f64::midpoint(curve[i], curve[i + 1]);
        (0..steps).map(trapezoid).sum()
    };
    Ok((0..orders.len()).map(area).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 16;

    fn inside(pixel: usize) -> bool {
        (4..8).contains(&(pixel / SIDE)) && (4..8).contains(&(pixel % SIDE))
    }

    /// White where row and column are 4 to 7: four of the 64 cells, the first that a perfect map names.
    fn picture() -> Picture {
        let rgb = (0..SIDE * SIDE).flat_map(|pixel| [if inside(pixel) { 255 } else { 0 }; 3]).collect();
        Picture::new(rgb, SIDE, SIDE)
    }

    /// The share of the square that is white.
    fn score(pictures: usize, pixels: &[u8]) -> Result<Vec<f32>, ()> {
        let square = |picture: &[u8]| {
            let white = (0..16).filter(|i| picture[((4 + i / 4) * SIDE + 4 + i % 4) * 3] == 255).count();
            white as f32 / 16.0
        };
        assert_eq!(pixels.len(), pictures * SIDE * SIDE * 3);
        Ok(pixels.chunks_exact(SIDE * SIDE * 3).map(square).collect())
    }

    fn measured(map: impl Fn(usize) -> f32) -> Faithfulness {
        let map: Vec<f32> = (0..SIDE * SIDE).map(map).collect();
        faithfulness(&picture(), &map, 5, &mut BlackBox::new(7, &mut score)).unwrap()
    }

    /// The first of 16 steps takes all of the square away, or shows it; the last does so for the worst of maps.
    #[test]
    fn areas_in_closed_form() {
        let inside = |pixel: usize| f32::from(u8::from(inside(pixel)));
        let (best, worst) = (measured(inside), measured(|pixel| -inside(pixel)));
        let (edge, rest) = (0.5 / 16.0, 1.0 - 0.5 / 16.0);
        assert!((best.deletion.map - edge).abs() < 1e-9, "{best:?}");
        assert!((worst.deletion.map - rest).abs() < 1e-9, "{worst:?}");
        // Blurred, the square is gray: no white pixel.
        assert!((best.insertion.map - rest).abs() < 1e-9, "{best:?}");
        assert!((worst.insertion.map - edge).abs() < 1e-9, "{worst:?}");
        assert_eq!(best.deletion.random, worst.deletion.random, "the floor does not depend on the map");
        assert!((0.2..0.8).contains(&best.deletion.floor()), "{best:?}");
    }

    /// A map that says nothing is a random order, not that of the rows.
    #[test]
    fn an_empty_map_is_no_better_than_chance() {
        let empty = measured(|_| 0.0);
        let inside = |value: f64| (0.1..0.9).contains(&value);
        assert!(inside(empty.deletion.map) && inside(empty.insertion.map), "{empty:?}");
    }
}
