//! Parts of a picture, drawn as torchvision draws them.

use crate::random::Random;

/// How often a size is drawn before the picture is taken as a whole: torchvision's number.
const SIZES: usize = 10;

/// A part of a picture, in pixels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Area {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Area {
    /// A place for a part of this size, which fits.
    pub(crate) fn placed(width: usize, height: usize, of: (usize, usize), random: &mut Random) -> Self {
        let top = random.below(of.1 - height + 1);
        Self { left: random.below(of.0 - width + 1), top, width, height }
    }

    /// The part of `RandomResizedCrop`: its share of the picture's area is uniform in [`least`, 1], the logarithm of
    /// width over height uniform within that of `ratio` either way; where ten draws do not fit, as much of the middle as
    /// the ratio allows.
    pub(crate) fn crop(width: usize, height: usize, least: f32, ratio: f32, random: &mut Random) -> Self {
        for _ in 0..SIZES {
            let (w, h) = sides(width, height, (least, 1.0), (1.0 / ratio, ratio), random);
            if (1..=width).contains(&w) && (1..=height).contains(&h) {
                return Self::placed(w, h, (width, height), random);
            }
        }
        let (shape, ratio) = (width as f64 / height as f64, f64::from(ratio));
        let (w, h) = if shape < 1.0 / ratio {
            (width, (width as f64 * ratio).round_ties_even() as usize)
        } else if shape > ratio {
            ((height as f64 * ratio).round_ties_even() as usize, height)
        } else {
            (width, height)
        };
        Self { left: (width - w) / 2, top: (height - h) / 2, width: w, height: h }
    }

    /// The part of `RandomErasing`: a share of 0.02 to 0.33 of the picture, of a ratio of 0.3 to 3.3; none where ten draws do
    /// not fit.
    pub(crate) fn erased(width: usize, height: usize, random: &mut Random) -> Option<Self> {
        for _ in 0..SIZES {
            // torchvision's ratio is height over width here.
            let (h, w) = sides(height, width, (0.02, 0.33), (0.3, 3.3), random);
            if w < width && h < height {
                return Some(Self::placed(w, h, (width, height), random));
            }
        }
        None
    }

    /// The rows of a picture that is `width` pixels wide, as ranges of its bytes.
    pub(crate) fn rows(self, width: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (self.top..self.top + self.height).map(move |row| {
            let first = (row * width + self.left) * 3;
            first..first + self.width * 3
        })
    }
}

/// A random share of an area and a random ratio become two sides.
fn sides(
    a: usize,
    b: usize,
    (least, most): (f32, f32),
    (narrowest, widest): (f32, f32),
    random: &mut Random,
) -> (usize, usize) {
    let mut between = |low: f64, high: f64| low + (high - low) * f64::from(random.uniform());
    let area = (a * b) as f64 * between(least.into(), most.into());
    let ratio = between(f64::from(narrowest).ln(), f64::from(widest).ln()).exp();
    let side = |square: f64| square.sqrt().round_ties_even() as usize;
    (side(area * ratio), side(area / ratio))
}
