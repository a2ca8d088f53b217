use super::{BlackBox, Grid, Picture};

/// How a picture is covered, patch by patch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Occlusion {
    /// Pixels on a side of a patch.
    pub side: usize,
    /// Pixels from one patch to the next.
    pub stride: usize,
}

impl Occlusion {
    /// A side that shows parts of an animal: a seventh of the shorter side of the picture.
    pub fn side_for(width: usize, height: usize) -> usize {
        (width.min(height) / 7).max(1)
    }
}

/// What the score loses when a patch of the picture is covered with its mean colour (Zeiler and Fergus, arXiv 1311.2901): for
/// each patch, and for each pixel the mean of the patches that cover it. Below 0 where covering it helps the class.
///
/// # Errors
/// Those of the model.
pub fn occlusion<E>(
    picture: &Picture,
    settings: Occlusion,
    model: &mut BlackBox<'_, E>,
) -> Result<(Grid, Vec<f32>), E> {
    let columns = starts(picture.width, settings);
    let rows = starts(picture.height, settings);
    let covers = |start: usize, at: usize| (start..start + settings.side).contains(&at);
    let patches: Vec<(usize, usize)> =
        rows.iter().flat_map(|&row| columns.iter().map(move |&column| (row, column))).collect();
    let inside = |&(row, column): &(usize, usize), pixel: usize| {
        covers(row, pixel / picture.width) && covers(column, pixel % picture.width)
    };
    let flat = picture.flat();
    let covered = patches.iter().map(|patch| picture.mixed(&flat, |pixel| !inside(patch, pixel)));
    let scores = model.scores(std::iter::once(picture.rgb.clone()).chain(covered))?;
    let drops: Vec<f32> = scores[1..].iter().map(|score| (scores[0] - score) as f32).collect();

    let mut sums = vec![(0.0_f32, 0_u32); picture.pixels()];
    for (&(row, column), drop) in patches.iter().zip(&drops) {
        for y in row..(row + settings.side).min(picture.height) {
            for (sum, count) in
                &mut sums[y * picture.width..][column..(column + settings.side).min(picture.width)]
            {
                *sum += drop;
                *count += 1;
            }
        }
    }
    let pixels = sums.into_iter().map(|(sum, count)| sum / count.max(1) as f32).collect();
    Ok((Grid { width: columns.len(), height: rows.len(), values: drops }, pixels))
}

/// Where patches start along `size` pixels; the last ends with them.
fn starts(size: usize, Occlusion { side, stride }: Occlusion) -> Vec<usize> {
    let last = size.saturating_sub(side);
    (0..last).step_by(stride.clamp(1, side.max(1))).chain([last]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The score is the light of one pixel: exactly the patches over it take it away.
    #[test]
    fn the_patches_that_matter_are_found() {
        let (width, height) = (9, 6);
        let mut rgb = vec![0; width * height * 3];
        rgb[(3 * width + 4) * 3] = 54;
        let picture = Picture::new(rgb, width, height);
        let mut calls = Vec::new();
        let mut score = |pictures: usize, pixels: &[u8]| {
            calls.push(pictures);
            let light = |rgb: &[u8]| f32::from(rgb[(3 * width + 4) * 3]);
            Ok::<_, ()>(pixels.chunks_exact(width * height * 3).map(light).collect())
        };
        let settings = Occlusion { side: 2, stride: 2 };
        let (grid, pixels) = occlusion(&picture, settings, &mut BlackBox::new(4, &mut score)).unwrap();
        // Columns 0, 2, 4, 6, 7 and rows 0, 2, 4; the mean colour is 1.
        assert_eq!((grid.width, grid.height), (5, 3));
        let expected: Vec<f32> = (0..15).map(|i| if i == 7 { 53.0 } else { 0.0 }).collect();
        assert_eq!(grid.values, expected);
        for (pixel, &value) in pixels.iter().enumerate() {
            let (row, column) = (pixel / width, pixel % width);
            assert_eq!(value, if (2..4).contains(&row) && (4..6).contains(&column) { 53.0 } else { 0.0 });
        }
        assert_eq!(calls, [4, 4, 4, 4], "sixteen pictures, four at a time");
    }

    #[test]
    fn patches_cover_everything() {
        for (size, side, stride) in [(9, 2, 2), (10, 3, 3), (7, 7, 2), (3, 5, 1), (1, 1, 1), (20, 4, 9)] {
            let starts = starts(size, Occlusion { side, stride });
            assert!((0..size).all(|at| starts.iter().any(|&start| (start..start + side).contains(&at))));
            assert!(starts.is_sorted_by(|a, b| a < b), "{starts:?}");
        }
        let side = Occlusion::side_for(224, 300);
        assert_eq!(starts(224, Occlusion { side, stride: side / 2 }).len(), 13);
    }
}
