//! A file's bytes become 8-bit RGB pixels.
//!
//! JPEG, PNG, WebP, BMP, TIFF, PNM and GIF (its first frame), known by their content, never by their name.
//! Colours become RGB as Pillow's `convert("RGB")` makes them: alpha is dropped, not blended, a palette is
//! looked up, gray is repeated, CMYK is multiplied out (no colour profile). Sixteen bits keep their high byte,
//! also in gray, where Pillow clips at 255 and gives a white picture.
//!
//! Decoded JPEGs are those of Pillow within 9 levels a sample (0.01 to 0.16 on average, 556 camera-trap and other photos).
//! TIFF files with palettes, YCbCr, CIELab, odd bit depths or rare compressions are refused with the reason.
//!
//! A file that ends early or is damaged on the way is decoded as far as it goes; the rest is gray. Only where
//! nothing can be decoded is it an error.

mod colour;
mod guard;
mod jpeg;
mod orientation;
mod other;

use std::io;
use std::path::Path;

use image::ImageFormat;
use thiserror::Error;

pub(crate) use guard::guard;

/// A decoded photo, upright.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Photo {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes, row by row, red green blue.
    pub rgb: Vec<u8>,
    /// The file ends early or is damaged on the way: some of the picture is missing and gray.
    pub truncated: bool,
}

/// What is refused before it is decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Width times height. A decoder may take 12 bytes for each pixel that is allowed.
    pub max_pixels: u64,
    /// Size of the file.
    pub max_bytes: u64,
}

impl Default for Limits {
    /// 64 Mi pixels in 128 MiB: more than any camera trap (48 megapixels, interpolated) and any full-frame
    /// camera (61) makes. The costliest photo, a progressive CMYK JPEG of that size, then takes 768 MiB to
    /// decode beside its file, so that one photo at a time stays below 1 GiB.
    fn default() -> Self {
        Self { max_pixels: 64 << 20, max_bytes: 128 << 20 }
    }
}

impl Limits {
    fn max_decoded_bytes(&self) -> u64 {
        self.max_pixels.saturating_mul(12)
    }

    /// Fails if a photo is larger than allowed; `decoded_bytes` is what decoding it takes at least.
    fn check(&self, width: u64, height: u64, decoded_bytes: u64) -> Result<(), PhotoError> {
        let pixels = width.saturating_mul(height);
        if pixels == 0 {
            return Err(PhotoError::NoPixels);
        }
        if pixels > self.max_pixels || decoded_bytes > self.max_decoded_bytes() {
            return Err(PhotoError::TooLarge { width, height, max_pixels: self.max_pixels });
        }
        Ok(())
    }
}

/// Why a photo cannot be decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a pipe or a device.
    #[error("not a file")]
    NotAFile,
    /// No bytes.
    #[error("the file is empty")]
    Empty,
    /// More bytes than allowed.
    #[error("the file has {bytes} bytes, more than the limit of {max_bytes}")]
    TooManyBytes {
        /// The file's size.
        bytes: u64,
        /// The limit.
        max_bytes: u64,
    },
    /// The content is of no format that is read here.
    #[error("not a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file")]
    UnknownFormat,
    /// Width or height is 0.
    #[error("the picture has no pixels")]
    NoPixels,
    /// More pixels than allowed, or more bytes to decode them.
    #[error("{width} x {height} pixels are too large (limit: {max_pixels} pixels in 8-bit colour)")]
    TooLarge {
        /// Pixels in a row.
        width: u64,
        /// Rows.
        height: u64,
        /// The limit.
        max_pixels: u64,
    },
    /// The file breaks the rules of its format, or uses what the decoder does not know.
    #[error("the {format} file cannot be decoded: {problem}")]
    Undecodable {
        /// Its format.
        format: &'static str,
        /// What the decoder says.
        problem: String,
    },
    /// A bucket does not give it.
    #[error("it cannot be fetched: {0}")]
    Unfetched(String),
    /// It could not be decoded when its folder was prepared, for this reason.
    #[error("{0}")]
    Prepared(String),
}

impl PhotoError {
    /// One short plain sentence, fit for a CSV cell: one line, at most 200 characters.
    pub fn reason(&self) -> String {
        let words = self.to_string();
        let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
        line.chars().take(200).collect()
    }
}

/// Decodes the bytes of a photo file.
///
/// # Errors
/// Anything but a photo within the limits of which at least a part can be decoded; never panics.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Photo, PhotoError> {
    if bytes.is_empty() {
        return Err(PhotoError::Empty);
    }
    check_size(bytes.len() as u64, limits)?;
    let format = image::guess_format(bytes).map_err(|_| PhotoError::UnknownFormat)?;
    let name = match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        ImageFormat::Pnm => "PNM",
        ImageFormat::Gif => "GIF",
        _ => return Err(PhotoError::UnknownFormat),
    };
    guard(|| match format {
        ImageFormat::Jpeg => jpeg::decode(bytes, limits),
        _ => other::decode(bytes, format, name, limits),
    })
    .unwrap_or_else(|problem| Err(PhotoError::Undecodable { format: name, problem }))
}

/// Reads and decodes a photo file.
///
/// # Errors
/// As [`decode`], and if it cannot be read.
pub fn decode_file(path: &Path, limits: &Limits) -> Result<Photo, PhotoError> {
    decode(&read_file(path, limits)?, limits)
}

/// The bytes of a photo file.
pub(crate) fn read_file(path: &Path, limits: &Limits) -> Result<Vec<u8>, PhotoError> {
    let metadata = std::fs::metadata(path)?;
    // A pipe would wait for ever.
    if !metadata.is_file() {
        return Err(PhotoError::NotAFile);
    }
    check_size(metadata.len(), limits)?;
    Ok(std::fs::read(path)?)
}

pub(crate) fn check_size(bytes: u64, limits: &Limits) -> Result<(), PhotoError> {
    if bytes > limits.max_bytes {
        return Err(PhotoError::TooManyBytes { bytes, max_bytes: limits.max_bytes });
    }
    Ok(())
}

/// What is left where a decoder wrote nothing.
const GRAY: u8 = 128;
