use super::Picture;

/// A picture cut into regions: each pixel is in one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Regions {
    /// The region of each pixel, row by row.
    pub of_pixel: Vec<usize>,
    /// How many there are; each has a pixel.
    pub count: usize,
}

impl Regions {
    /// Cells of a grid, at most `across` in a row and `down` rows, row by row.
    pub fn cells(picture: &Picture, across: usize, down: usize) -> Self {
        let (across, down) = (across.min(picture.width), down.min(picture.height));
        let cell = |pixel: usize| {
            let (row, column) = (pixel / picture.width, pixel % picture.width);
            row * down / picture.height * across + column * across / picture.width
        };
        Self { of_pixel: (0..picture.pixels()).map(cell).collect(), count: across * down }
    }

    /// The mean of the pixels' values in each region.
    pub fn means(&self, values: &[f32]) -> Vec<f64> {
        let mut sums = vec![(0.0, 0_usize); self.count];
        for (&region, &value) in self.of_pixel.iter().zip(values) {
            sums[region].0 += f64::from(value);
            sums[region].1 += 1;
        }
        sums.into_iter().map(|(sum, count)| sum / count.max(1) as f64).collect()
    }

    /// Its region's value for each pixel.
    pub fn spread(&self, values: &[f64]) -> Vec<f32> {
        self.of_pixel.iter().map(|&region| values[region] as f32).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_share_a_picture_evenly() {
        let picture = Picture::new(vec![0; 7 * 5 * 3], 7, 5);
        let cells = Regions::cells(&picture, 3, 2);
        assert_eq!(cells.count, 6);
        assert_eq!(cells.of_pixel[..7], [0, 0, 0, 1, 1, 2, 2]);
        assert_eq!(cells.of_pixel[28..], [3, 3, 3, 4, 4, 5, 5]);
        let values: Vec<f32> = cells.of_pixel.iter().map(|&cell| cell as f32).collect();
        assert_eq!(cells.means(&values), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(cells.spread(&cells.means(&values)), values);
        assert_eq!(Regions::cells(&picture, 100, 100).count, 35, "a cell has at least a pixel");
    }
}
