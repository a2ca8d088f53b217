//! How a photo becomes a tensor.

use serde::{Deserialize, Serialize};

use crate::photo::Photo;
use crate::resize::resize_bilinear;

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
        let (width, height) = (self.width, self.height);
        let scaled = |to_w, to_h| resize_bilinear(&photo.rgb, photo.width, photo.height, to_w, to_h);
        let mut rgb = match self.resize {
            Resize::Squash => scaled(width, height),
            Resize::CentreCrop { short_side } => {
                let (w, h) = short_side_to(photo.width, photo.height, short_side);
                centred(&scaled(w, h), (w, h), (width, height), Middle::Crop)
            }
            Resize::Letterbox => {
                let (w, h) = fit_inside(photo.width, photo.height, width, height);
                centred(&scaled(w, h), (w, h), (width, height), Middle::Pad)
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

/// Cuts or pads with black to another size, in the middle.
fn centred(rgb: &[u8], (w, h): (usize, usize), (to_w, to_h): (usize, usize), middle: Middle) -> Vec<u8> {
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
    let mut out = vec![0; to_w * to_h * 3];
    for row in 0..rows {
        let from = ((top + row) * w + left) * 3;
        let to = ((to_top + row) * to_w + to_left) * 3;
        out[to..to + columns * 3].copy_from_slice(&rgb[from..from + columns * 3]);
    }
    out
}
