//! A file's bytes become 8-bit RGB pixels.

use std::path::Path;

use thiserror::Error;

/// A decoded photo, upright.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Photo {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `height * width * 3` bytes, row by row, red green blue.
    pub rgb: Vec<u8>,
    /// The file ends early; the missing part is what the decoder leaves there.
    pub truncated: bool,
}

/// What is refused before it is decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Width times height.
    pub max_pixels: u64,
    /// Size of the file.
    pub max_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_pixels: 89_478_485, max_bytes: 256 << 20 }
    }
}

/// Why a photo cannot be decoded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PhotoError {
    /// The file cannot be read.
    #[error("cannot read the file: {0}")]
    Io(#[from] std::io::Error),
}

impl PhotoError {
    /// One short plain sentence, fit for a CSV cell.
    pub fn reason(&self) -> String {
        self.to_string()
    }
}

/// Decodes the bytes of a photo file.
pub fn decode(_bytes: &[u8], _limits: &Limits) -> Result<Photo, PhotoError> {
    Err(PhotoError::Io(std::io::ErrorKind::Unsupported.into()))
}

/// Reads and decodes a photo file.
pub fn decode_file(path: &Path, limits: &Limits) -> Result<Photo, PhotoError> {
    decode(&std::fs::read(path)?, limits)
}
