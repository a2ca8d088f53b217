//! How a photo becomes a tensor.

use serde::{Deserialize, Serialize};

use crate::photo::Photo;
use crate::resize::{resize_bilinear, resize_part};

/// How a photo is brought to the recipe's size.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Stretch to width and height, whatever the shape: torchvision's `Resize((height, width))`.
    Squash,
    /// Scale the short side, then cut width and height out of the middle: torchvision's `Resize(short_side)` and
    /// `CenterCrop`. Where the photo is then smaller than the cut, the rest is black.
    CentreCrop {
        /// Pixels of the short side before the cut.
        short_side: usize,
    },
    /// Scale to fit inside width and height and fill the rest with black: Pillow's `ImageOps.pad`.
    Letterbox,
}

/// The colours a model sees.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// As in the photo.
    Rgb,
    /// Luma (ITU-R 601 as Pillow rounds it), the same in all three channels; taken after the resize.
    Grayscale,
}

/// How a decoded photo becomes a tensor. EXIF orientation is always applied.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Recipe {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// How a photo is brought to that size.
    pub resize: Resize,
    /// The colours a model sees.
    pub colour: Colour,
    /// Subtracted from each channel after division by 255.
    pub mean: [f32; 3],
    /// Each channel is then divided by this.
    pub std: [f32; 3],
}

impl Recipe {
    /// A square of `size` pixels, squashed, in colour, normalised with ImageNet's mean and deviation.
    pub fn imagenet(size: usize) -> Self {
        Self {
            width: size,
            height: size,
            resize: Resize::Squash,
            colour: Colour::Rgb,
            mean: [0.485, 0.456, 0.406],
            std: [0.229, 0.224, 0.225],
        }
    }

    /// The photo at the recipe's size and colours, not yet normalised: `height * width * 3` bytes, row by row, red
    /// green blue.
    pub fn apply(&self, photo: &Photo) -> Vec<u8> {
        let to = (self.width, self.height);
        let mut rgb = match self.resize {
            Resize::Squash => resize_bilinear(&photo.rgb, photo.width, photo.height, to.0, to.1),
            Resize::CentreCrop { short_side } => {
                centred(photo, short_side_to(photo.width, photo.height, short_side), to, Middle::Crop)
            }
            Resize::Letterbox => {
                centred(photo, fit_inside(photo.width, photo.height, to.0, to.1), to, Middle::Pad)
            }
        };
        if self.colour == Colour::Grayscale {
            for pixel in rgb.chunks_exact_mut(3) {
                pixel.fill(luma(pixel));
            }
        }
        rgb
    }
}

/// Pillow's `convert("L")`: ITU-R 601-2 luma in 16-bit fixed point.
pub(crate) fn luma(rgb: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|channel| u32::from(rgb[channel]));
    ((red * 19_595 + green * 38_470 + blue * 7_471 + 0x8000) >> 16) as u8
}

/// torchvision's `Resize(short_side)`: the long side is cut to whole pixels, not rounded.
fn short_side_to(w: usize, h: usize, short_side: usize) -> (usize, usize) {
    let (short, long) = (w.min(h), w.max(h));
    let long = (short_side as f64 * long as f64 / short as f64) as usize;
    if w <= h { (short_side, long) } else { (long, short_side) }
}

/// Pillow's `ImageOps.contain`.
fn fit_inside(w: usize, h: usize, to_w: usize, to_h: usize) -> (usize, usize) {
    let (shape, to_shape) = (w as f64 / h as f64, to_w as f64 / to_h as f64);
    if shape > to_shape {
        (to_w, ((h as f64 / w as f64 * to_w as f64).round_ties_even() as usize).max(1))
    } else if shape < to_shape {
        (((w as f64 / h as f64 * to_h as f64).round_ties_even() as usize).max(1), to_h)
    } else {
        (to_w, to_h)
    }
}

/// How the middle is found where the room on both sides is odd.
#[derive(Clone, Copy)]
enum Middle {
    /// torchvision's `CenterCrop`: cut at the half rounded to even; padded by the half rounded down.
    Crop,
    /// `ImageOps.pad`: padded by the half rounded to even.
    Pad,
}

/// The photo at a size, and its middle cut out or padded with black to another.
fn centred(photo: &Photo, (w, h): (usize, usize), (to_w, to_h): (usize, usize), middle: Middle) -> Vec<u8> {
    let half_to_even = |room: usize| (room as f64 / 2.0).round_ties_even() as usize;
    let padding = |room: usize| match middle {
        Middle::Crop => room / 2,
        Middle::Pad => half_to_even(room),
    };
    // Per side: where to read from, where to write to, how much.
    let span = |size: usize, to_size: usize| {
        if size >= to_size {
            (half_to_even(size - to_size), 0, to_size)
        } else {
            (0, padding(to_size - size), size)
        }
    };
    let (left, to_left, columns) = span(w, to_w);
    let (top, to_top, rows) = span(h, to_h);
    // Only what is seen: a narrow photo whose short side is brought to that of the recipe would be as long as memory.
    let part =
        resize_part(&photo.rgb, (photo.width, photo.height), (w, h), left..left + columns, top..top + rows);
    if (columns, rows) == (to_w, to_h) {
        return part;
    }
    let mut out = vec![0; to_w * to_h * 3];
    for (row, line) in part.chunks_exact(columns * 3).enumerate() {
        let to = ((to_top + row) * to_w + to_left) * 3;
        out[to..to + columns * 3].copy_from_slice(line);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A white photo whose red is the column and green the row, both counted from 1.
    fn coded(width: usize, height: usize) -> Photo {
        let pixel = |at: usize| [(at % width + 1) as u8, (at / width + 1) as u8, 255];
        Photo { width, height, rgb: (0..width * height).flat_map(pixel).collect(), truncated: false }
    }

    #[test]
    fn short_side_as_torchvision() {
        // `Resize(short_side)` of torchvision 0.26 on a photo of that size.
        let cases = [
            ((500, 375), 256, (341, 256)),
            ((375, 500), 256, (256, 341)),
            ((333, 500), 224, (224, 336)),
            ((1023, 767), 232, (309, 232)),
            ((100, 37), 37, (100, 37)),
            ((37, 101), 64, (64, 174)),
            ((640, 640), 256, (256, 256)),
        ];
        for ((w, h), short_side, expected) in cases {
            assert_eq!(short_side_to(w, h, short_side), expected, "{w} x {h} to {short_side}");
        }
    }

    #[test]
    fn centre_crop_as_torchvision() {
        struct Case {
            photo: (usize, usize),
            crop: (usize, usize),
            /// Where the content begins in the crop, how large it is, where in the photo it comes from: `CenterCrop` of
            /// torchvision 0.26.
            at: (usize, usize),
            size: (usize, usize),
            from: (usize, usize),
        }
        let cases = [
            Case { photo: (7, 5), crop: (4, 4), at: (0, 0), size: (4, 4), from: (2, 0) },
            Case { photo: (8, 5), crop: (3, 5), at: (0, 0), size: (3, 5), from: (2, 0) },
            Case { photo: (9, 9), crop: (4, 4), at: (0, 0), size: (4, 4), from: (2, 2) },
            Case { photo: (11, 9), crop: (4, 4), at: (0, 0), size: (4, 4), from: (4, 2) },
            Case { photo: (5, 9), crop: (8, 6), at: (1, 0), size: (5, 6), from: (0, 2) },
            Case { photo: (4, 4), crop: (7, 9), at: (1, 2), size: (4, 4), from: (0, 0) },
            Case { photo: (6, 3), crop: (6, 8), at: (0, 2), size: (6, 3), from: (0, 0) },
        ];
        for Case { photo, crop, at, size, from } in cases {
            let resize = Resize::CentreCrop { short_side: photo.0.min(photo.1) };
            let recipe = Recipe { width: crop.0, height: crop.1, resize, ..Recipe::imagenet(1) };
            let rgb = recipe.apply(&coded(photo.0, photo.1));
            let mut expected = vec![0; crop.0 * crop.1 * 3];
            for y in 0..size.1 {
                for x in 0..size.0 {
                    let to = ((at.1 + y) * crop.0 + at.0 + x) * 3;
                    let pixel = [(from.0 + x + 1) as u8, (from.1 + y + 1) as u8, 255];
                    expected[to..to + 3].copy_from_slice(&pixel);
                }
            }
            assert_eq!(rgb, expected, "{photo:?} cut to {crop:?}");
        }
    }

    /// Whole, it would be 256 pixels times 16 million, or times 4,295 million.
    #[test]
    fn a_photo_as_narrow_as_a_line() {
        let recipe = Recipe { resize: Resize::CentreCrop { short_side: 256 }, ..Recipe::imagenet(224) };
        for (width, height) in [(65_535, 1), (1, 65_535), (1 << 24, 1), (1, 1 << 24)] {
            let rgb = (0..width * height).flat_map(|i| [(i * 256 / (width * height)) as u8, 0, 0]).collect();
            let rgb = recipe.apply(&Photo { width, height, rgb, truncated: false });
            assert!(
                rgb.len() == 224 * 224 * 3 && rgb.chunks_exact(3).all(|pixel| [127, 128].contains(&pixel[0]))
            );
        }
    }

    #[test]
    fn letterbox_as_pillow() {
        // Photo, frame, and where `ImageOps.pad` of Pillow 13 puts the photo: its corner and its size.
        let cases = [
            ((500, 375), (224, 224), (0, 28), (224, 168)),
            ((375, 500), (224, 224), (28, 0), (168, 224)),
            ((1000, 10), (224, 224), (0, 111), (224, 2)),
            ((10, 1000), (224, 224), (111, 0), (2, 224)),
            ((640, 480), (320, 240), (0, 0), (320, 240)),
            ((333, 251), (100, 90), (0, 8), (100, 75)),
            ((100, 1), (64, 64), (0, 32), (64, 1)),
            ((333, 500), (100, 101), (16, 0), (67, 101)),
        ];
        for (photo, frame, (left, top), (width, height)) in cases {
            let recipe =
                Recipe { width: frame.0, height: frame.1, resize: Resize::Letterbox, ..Recipe::imagenet(1) };
            let rgb = vec![255; photo.0 * photo.1 * 3];
            let rgb = recipe.apply(&Photo { width: photo.0, height: photo.1, rgb, truncated: false });
            for (at, pixel) in rgb.chunks_exact(3).enumerate() {
                let (x, y) = (at % frame.0, at / frame.0);
                let inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
                assert_eq!(pixel, [if inside { 255 } else { 0 }; 3], "{photo:?} in {frame:?} at {x}, {y}");
            }
        }
    }

    #[test]
    fn grayscale_is_the_same_in_all_channels() {
        let recipe = Recipe { colour: Colour::Grayscale, width: 2, height: 1, ..Recipe::imagenet(1) };
        let rgb =
            recipe.apply(&Photo { width: 2, height: 1, rgb: vec![255, 0, 0, 0, 255, 3], truncated: false });
        // 0.299 * 255 and 0.587 * 255 + 0.114 * 3, rounded.
        assert_eq!(rgb, [76, 76, 76, 150, 150, 150]);
    }
}
