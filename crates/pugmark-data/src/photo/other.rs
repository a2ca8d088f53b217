//! PNG, WebP, BMP, TIFF, PNM and GIF, through the `image` crate.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{ImageDecoder, ImageError, ImageFormat, ImageReader};

use super::orientation::upright;
use super::{GRAY, Limits, Photo, PhotoError, colour};

/// Decodes a picture, whole or as far as its decoder filled the buffer.
pub(super) fn decode(
    bytes: &[u8],
    format: ImageFormat,
    name: &'static str,
    limits: &Limits,
) -> Result<Photo, PhotoError> {
    let undecodable =
        |error: ImageError| PhotoError::Undecodable { format: name, problem: error.to_string() };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // Ours is stricter, and counts pixels.
    reader.no_limits();
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    let (width, height) = (u64::from(width), u64::from(height));
    // The TIFF decoder holds the picture twice.
    let copies = if format == ImageFormat::Tiff { 2 } else { 1 };
    let decoded_bytes = decoder.total_bytes().saturating_mul(copies);
    limits.check(width, height, decoded_bytes)?;
    // A broken EXIF block is no reason to lose the photo.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let colour_type = decoder.color_type();
    let mut samples = vec![GRAY; decoder.total_bytes() as usize];
    let truncated = match decoder.read_image(&mut samples) {
        Ok(()) => false,
        Err(_) if samples.iter().any(|&sample| sample != GRAY) => true,
        Err(error) => return Err(undecodable(error)),
    };
    let rgb = colour::to_rgb(colour_type, samples).ok_or_else(|| PhotoError::Undecodable {
        format: name,
        problem: format!("colours of the type {colour_type:?}"),
    })?;
    Ok(upright(Photo { width: width as usize, height: height as usize, rgb, truncated }, orientation))
}
