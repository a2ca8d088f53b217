//! PNG, WebP, BMP, TIFF, PNM and GIF, through the `image` crate.

use std::error::Error;
use std::io::Cursor;

use image::error::UnsupportedErrorKind;
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
    let undecodable = |error: ImageError| PhotoError::Undecodable { format: name, problem: problem(&error) };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // For what a decoder needs beside the picture, such as a GIF's frame that is larger than its screen.
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(limits.max_decoded_bytes());
    reader.limits(memory);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    // The TIFF decoder holds the picture twice.
    let copies = if format == ImageFormat::Tiff { 2 } else { 1 };
    limits.check(width.into(), height.into(), decoder.total_bytes().saturating_mul(copies))?;
    let orientation = orientation(&mut decoder);
    let colour_type = decoder.color_type();
    let mut samples = vec![GRAY; decoder.total_bytes() as usize];
    let truncated = match decoder.read_image(&mut samples) {
        Ok(()) => false,
        Err(_) if samples.iter().any(|&sample| sample != GRAY) => true,
        Err(error) => return Err(undecodable(error)),
    };
    let rgb = colour::to_rgb(colour_type, samples).ok_or_else(|| PhotoError::Undecodable {
        format: name,
        problem: format!("the colour type {colour_type:?} is not supported"),
    })?;
    Ok(upright(Photo { width: width as usize, height: height as usize, rgb, truncated }, orientation))
}

/// The orientation a file states; a broken EXIF block is no reason to lose the photo.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    // Some writers keep the prefix that EXIF has in a JPEG.
    let exif = decoder.exif_metadata().ok().flatten();
    match exif.as_deref().and_then(|exif| exif.strip_prefix(b"Exif\0\0")) {
        Some(exif) => Orientation::from_exif_chunk(exif).unwrap_or(Orientation::NoTransforms),
        None => decoder.orientation().unwrap_or(Orientation::NoTransforms),
    }
}

/// What is wrong, without the crate's preamble about formats.
fn problem(error: &ImageError) -> String {
    match error {
        ImageError::Unsupported(error) => match error.kind() {
            UnsupportedErrorKind::GenericFeature(feature) => format!("not supported: {feature}"),
            UnsupportedErrorKind::Color(colour) => format!("not supported: the colour type {colour:?}"),
            _ => error.to_string(),
        },
        ImageError::IoError(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            "it ends early".to_owned()
        }
        ImageError::Decoding(error) => error.source().map_or_else(|| error.to_string(), ToString::to_string),
        error => error.to_string(),
    }
}
