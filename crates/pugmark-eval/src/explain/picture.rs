/// A picture as the model sees it: 8-bit RGB.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Height x width x RGB.
    pub rgb: Vec<u8>,
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

/// Of the longer side: what the deviation of the blur is.
const BLUR: f64 = 1.0 / 22.0;

impl Picture {
    /// A picture of those bytes.
    ///
    /// # Panics
    /// If there is no pixel, or another number of bytes.
    pub fn new(rgb: Vec<u8>, width: usize, height: usize) -> Self {
        assert!(width * height > 0 && rgb.len() == width * height * 3, "{width} x {height} pixels");
        Self { rgb, width, height }
    }

    /// Pixels.
    pub fn pixels(&self) -> usize {
        self.width * self.height
    }

    /// The same size, all in the mean colour.
    pub fn flat(&self) -> Self {
        let mean = [0, 1, 2].map(|colour| {
            let sum: u64 = self.rgb.iter().skip(colour).step_by(3).map(|&value| u64::from(value)).sum();
            (sum as f64 / self.pixels() as f64).round() as u8
        });
        Self { rgb: mean.repeat(self.pixels()), ..*self }
    }

    /// Blurred so that objects are gone and colours are left: a Gaussian, in three passes of a running mean (P. Kovesi,
    /// Fast almost-Gaussian filtering, 2010). At 224 pixels its deviation is about 10, as Fong and Vedaldi have it (arXiv 1704.03296).
    pub fn blurred(&self) -> Self {
        let deviation = self.width.max(self.height) as f64 * BLUR;
        // Three means over 2 r + 1 pixels have the variance r (r + 1).
        let radius = ((deviation * deviation + 0.25).sqrt() - 0.5).round().max(1.0) as usize;
        let mut values: Vec<f32> = self.rgb.iter().map(|&value| f32::from(value)).collect();
        for _ in 0..3 {
            for row in 0..self.height {
                running_mean(&mut values, row * self.width, 1, self.width, radius);
            }
            for column in 0..self.width {
                running_mean(&mut values, column, self.width, self.height, radius);
            }
        }
        Self { rgb: values.into_iter().map(|value| value.round() as u8).collect(), ..*self }
    }

    /// Each pixel as a square of `factor` pixels a side.
    pub fn magnified(&self, factor: usize) -> Self {
        let (width, height) = (self.width * factor, self.height * factor);
        let place = |pixel: usize| ((pixel / width / factor) * self.width + pixel % width / factor) * 3;
        let rgb =
            (0..width * height).flat_map(|pixel| self.rgb[place(pixel)..][..3].iter().copied()).collect();
        Self { rgb, width, height }
    }

    /// The pixels of this picture where `own` says so, and of `other` elsewhere.
    pub fn mixed(&self, other: &Self, own: impl Fn(usize) -> bool) -> Vec<u8> {
        let mut rgb = other.rgb.clone();
        for (pixel, (to, from)) in rgb.chunks_exact_mut(3).zip(self.rgb.chunks_exact(3)).enumerate() {
            if own(pixel) {
                to.copy_from_slice(from);
            }
        }
        rgb
    }
}

/// The mean over `radius` pixels on both sides of each of `count` pixels that lie `step` apart; fewer at the ends.
fn running_mean(values: &mut [f32], first: usize, step: usize, count: usize, radius: usize) {
    for colour in 0..3 {
        let at = |index: usize| (first + index * step) * 3 + colour;
        let mut sums = Vec::with_capacity(count + 1);
        sums.push(0.0_f64);
        for index in 0..count {
            sums.push(sums[index] + f64::from(values[at(index)]));
        }
        for index in 0..count {
            let (low, high) = (index.saturating_sub(radius), (index + radius + 1).min(count));
            values[at(index)] = ((sums[high] - sums[low]) / (high - low) as f64) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_colour_everywhere() {
        let picture = Picture::new(vec![0, 10, 255, 1, 20, 255], 2, 1);
        // Half a level is rounded away from zero.
        assert_eq!(picture.flat().rgb, [1, 15, 255, 1, 15, 255]);
    }

    /// A white point keeps its light, which spreads with the deviation announced.
    #[test]
    fn a_blur_spreads_as_a_gaussian() {
        let (side, middle) = (221, 110);
        let mut rgb = vec![0; side * side * 3];
        for (row, column) in (100..121).flat_map(|row| (100..121).map(move |column| (row, column))) {
            rgb[(row * side + column) * 3] = 255;
        }
        let blurred = Picture::new(rgb, side, side).blurred();
        let at = |row: usize, column: usize| f64::from(blurred.rgb[(row * side + column) * 3]);
        let row: Vec<f64> = (0..side).map(|column| (0..side).map(|row| at(row, column)).sum()).collect();
        let (mut mass, mut variance) = (0.0, 0.0);
        for (column, sum) in row.iter().enumerate() {
            mass += sum;
            variance += sum * (column as f64 - middle as f64).powi(2);
        }
        // A square of 21 pixels has the variance (21^2 - 1) / 12, and three means over 21 pixels add as much each. Levels are
        // whole, so the faint ends are lost: 2 %.
        let spread = variance / mass - 440.0 / 12.0;
        assert!((mass / (255.0 * 441.0) - 1.0).abs() < 0.02, "{mass}");
        assert!((spread / 110.0 - 1.0).abs() < 0.02, "{spread}");
        assert!(blurred.rgb.iter().skip(1).step_by(3).all(|&green| green == 0), "colours stay apart");
    }

    #[test]
    fn pixels_become_squares() {
        let picture = Picture::new(vec![1, 2, 3, 4, 5, 6], 2, 1);
        let row = [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]].concat();
        assert_eq!(picture.magnified(2), Picture::new(row.repeat(2), 4, 2));
    }

    #[test]
    fn two_pictures_in_one() {
        let (a, b) = (Picture::new(vec![1; 12], 2, 2), Picture::new(vec![2; 12], 2, 2));
        assert_eq!(a.mixed(&b, |pixel| pixel == 1), [2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    }
}
