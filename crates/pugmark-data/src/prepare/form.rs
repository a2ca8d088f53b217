//! What becomes of one photo.

use std::fmt;

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use serde::{Deserialize, Serialize};

use crate::formats::CropBox;
use crate::photo::{Limits, Photo, PhotoError, decode};
use crate::resize::resize_bilinear;

/// How pixels are stored.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// Baseline JPEG, colours at full resolution (4:4:4).
    Jpeg,
    /// As they are: a NumPy array of height x width x RGB.
    Raw,
}

/// How a photo is stored.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct Form {
    /// Pixels a side, squashed with Pillow's bilinear filter; none keeps the photo's own.
    pub size: Option<u32>,
    /// How pixels are stored.
    pub store: Store,
    /// JPEG quality, 1 to 100; none where it is no JPEG.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quality: Option<u8>,
    /// Each photo is the box of an animal, cut out with this margin: [`CropBox::margin`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crop: Option<f64>,
}

/// A photo in its form.
pub(super) struct Packed {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) truncated: bool,
    /// The file to pack, and how many of its bytes come before the photo's.
    pub(super) bytes: Vec<u8>,
    pub(super) header: usize,
}

impl Form {
    /// What the names of photos end with.
    pub(super) fn extension(&self) -> &'static str {
        match self.store {
            Store::Jpeg => "jpg",
            Store::Raw => "npy",
        }
    }

    /// Brings a photo, or a part of it, into this form.
    pub(super) fn apply(
        &self,
        bytes: &[u8],
        crop: Option<&CropBox>,
        limits: &Limits,
    ) -> Result<Packed, PhotoError> {
        let photo = decode(bytes, limits)?;
        let Photo { width, height, rgb, truncated } = match crop {
            Some(crop) => crop.cut(&photo)?,
            None => photo,
        };
        let (width, height, rgb) = match self.size.map(|size| size as usize) {
            Some(size) => (size, size, resize_bilinear(&rgb, width, height, size, size)),
            None => (width, height, rgb),
        };
        let (bytes, header) = match self.store {
            Store::Jpeg => (jpeg(&rgb, width, height, self.quality.unwrap_or(95))?, 0),
            Store::Raw => {
                let mut bytes = numpy_header(width, height);
                let header = bytes.len();
                bytes.extend_from_slice(&rgb);
                (bytes, header)
            }
        };
        Ok(Packed { width, height, truncated, bytes, header })
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.size {
            Some(size) => write!(f, "{size} x {size} pixels, ")?,
            None => write!(f, "the photos' own sizes, ")?,
        }
        if let Some(margin) = self.crop {
            write!(f, "boxes cut out with a margin of {margin}, ")?;
        }
        match (self.store, self.quality) {
            (Store::Raw, _) => write!(f, "raw"),
            (Store::Jpeg, quality) => write!(f, "JPEG quality {}", quality.unwrap_or(95)),
        }
    }
}

fn jpeg(rgb: &[u8], width: usize, height: usize, quality: u8) -> Result<Vec<u8>, PhotoError> {
    let undone = |problem: String| PhotoError::Undecodable { format: "JPEG (to write)", problem };
    let side = |side: usize| u16::try_from(side).map_err(|_| undone("a side of over 65,535 pixels".into()));
    let (w, h) = (side(width)?, side(height)?);
    let mut bytes = Vec::with_capacity(rgb.len() / 4);
    let mut encoder = Encoder::new(&mut bytes, quality);
    encoder.set_sampling_factor(SamplingFactor::F_1_1);
    encoder.encode(rgb, w, h, ColorType::Rgb).map_err(|error| undone(error.to_string()))?;
    Ok(bytes)
}

/// The header of an `.npy` file, version 1.0, of bytes in the shape height x width x 3.
fn numpy_header(width: usize, height: usize) -> Vec<u8> {
    let mut text = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({height}, {width}, 3), }}");
    // Magic, version and length take 10 bytes; data begins at a multiple of 64.
    let length = (10 + text.len() + 1).next_multiple_of(64) - 10;
    text.push_str(&" ".repeat(length - 1 - text.len()));
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // Shapes of two numbers below 2^64 keep it far below 65,536.
    header.extend_from_slice(&(length as u16).to_le_bytes());
    header.extend_from_slice(text.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numpy_headers_are_as_numpy_writes_them() {
        // numpy.lib.format.write_array of numpy 2.3, zeros((224, 336, 3), uint8).
        let header = numpy_header(336, 224);
        assert_eq!(header.len(), 128);
        let text = "{'descr': '|u1', 'fortran_order': False, 'shape': (224, 336, 3), }";
        assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert!(header[10..].starts_with(text.as_bytes()) && header.ends_with(b" \n"));
    }

    #[test]
    fn jpegs_have_colours_at_full_resolution() {
        let rgb: Vec<u8> = (0..24 * 16 * 3).map(|i| (i * 7 % 251) as u8).collect();
        let bytes = jpeg(&rgb, 24, 16, 95).unwrap();
        let frame = bytes.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
        // Of the three components: id, sampling factors, table.
        let factors: Vec<u8> = bytes[frame + 10..frame + 19].chunks(3).map(|part| part[1]).collect();
        assert_eq!(factors, [0x11; 3]);
        let photo = decode(&bytes, &Limits::default()).unwrap();
        assert_eq!((photo.width, photo.height, photo.truncated), (24, 16, false));
    }
}
