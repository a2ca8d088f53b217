//! What a decoded photo looks like, in a few numbers.

use super::hash::{PerceptualHash, SIDE};
use crate::photo::Photo;
use crate::recipe::luma;
use crate::resize::resize_bilinear;

/// Side of the small picture that statistics are taken of.
const SMALL: usize = 64;

/// Numbers in [`PictureFacts::statistics`].
pub const STATISTICS: usize = 20;

/// Bins of the brightness histogram.
const BINS: usize = 8;

/// Mean difference between the largest and the smallest channel, in levels, up to which a frame is infrared.
///
/// Measured: the 193 gray frames among 302 camera-trap and other photos have at most 1.5, the 109 coloured ones at least 6.8.
const GRAY: f64 = 3.0;

/// What a photo looks like.
#[derive(Clone, PartialEq, Debug)]
pub struct PictureFacts {
    /// Pixels in a row, upright.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Whether red, green and blue are the same: a frame lit by infrared, at night. A frame lit by a white flash is in
    /// colour, and so is one of a camera that tints its infrared frames.
    pub infrared: bool,
    /// The hash of its look; none where it is flat.
    pub hash: Option<PerceptualHash>,
    /// Colour and brightness, each 0 to 1: mean of red, green and blue; their standard deviations; mean and standard
    /// deviation of the spread between channels; shares of eight bins of brightness; brightness of the four quarters.
    pub statistics: [f32; STATISTICS],
}

impl PictureFacts {
    /// Looks at a photo.
    pub fn of(photo: &Photo) -> Self {
        let small = resize_bilinear(&photo.rgb, photo.width, photo.height, SMALL, SMALL);
        let tiny = resize_bilinear(&photo.rgb, photo.width, photo.height, SIDE, SIDE);
        let gray: Vec<f64> = tiny.chunks_exact(3).map(|pixel| f64::from(luma(pixel))).collect();
        let (statistics, spread) = statistics(&small);
        Self {
            width: photo.width as u32,
            height: photo.height as u32,
            infrared: spread <= GRAY,
            hash: PerceptualHash::of(&gray),
            statistics,
        }
    }

    /// Mean brightness, 0 to 1.
    pub fn brightness(&self) -> f32 {
        self.statistics[..3].iter().sum::<f32>() / 3.0
    }
}

/// The statistics of a small square picture, and its mean spread between channels in levels.
fn statistics(rgb: &[u8]) -> ([f32; STATISTICS], f64) {
    let pixels = (rgb.len() / 3) as f64;
    // Red, green, blue, spread: sum and sum of squares.
    let mut sums = [(0.0, 0.0); 4];
    let mut bins = [0.0; BINS];
    let mut quarters = [0.0; 4];
    for (at, pixel) in rgb.chunks_exact(3).enumerate() {
        let [red, green, blue] = [0, 1, 2].map(|channel| f64::from(pixel[channel]));
        let spread = red.max(green).max(blue) - red.min(green).min(blue);
        for (sum, value) in sums.iter_mut().zip([red, green, blue, spread]) {
            sum.0 += value;
            sum.1 += value * value;
        }
        let luma = luma(pixel);
        bins[usize::from(luma) * BINS / 256] += 1.0;
        let (x, y) = (at % SMALL, at / SMALL);
        quarters[y * 2 / SMALL * 2 + x * 2 / SMALL] += f64::from(luma);
    }
    let mean = sums.map(|(sum, _)| sum / pixels);
    let deviation = sums.map(|(sum, squares)| (squares / pixels - (sum / pixels).powi(2)).max(0.0).sqrt());
    let levels = mean[..3].iter().chain(&deviation[..3]).chain([&mean[3], &deviation[3]]);
    let values = levels
        .map(|value| value / 255.0)
        .chain(bins.map(|count| count / pixels))
        .chain(quarters.map(|sum| sum / (pixels / 4.0) / 255.0));
    let mut statistics = [0.0; STATISTICS];
    for (to, value) in statistics.iter_mut().zip(values) {
        *to = value as f32;
    }
    (statistics, mean[3])
}
