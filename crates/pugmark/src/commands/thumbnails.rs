//! Small pictures of the photos that a page shows.

use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pugmark_data::{Limits, decode_file, resize_bilinear};

/// Pixels of the short side: sharp on a screen with two pixels for one.
const SIDE: usize = 200;
const QUALITY: u8 = 72;

/// A small JPEG; none if the photo has gone or broken since.
pub(super) fn small(path: &Path) -> Option<Vec<u8>> {
    let photo = decode_file(path, &Limits::default()).ok()?;
    let shrink = (SIDE as f64 / photo.width.min(photo.height) as f64).min(1.0);
    // A long strip is cut to what fits, not made as long as it is.
    let side = |pixels: usize| ((pixels as f64 * shrink).round() as usize).clamp(1, SIDE * 3);
    let (width, height) = (side(photo.width), side(photo.height));
    let rgb = resize_bilinear(&photo.rgb, photo.width, photo.height, width, height);
    jpeg(&rgb, width, height)
}

/// A JPEG of those pixels.
pub(super) fn jpeg(rgb: &[u8], width: usize, height: usize) -> Option<Vec<u8>> {
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .write_image(rgb, width as u32, height as u32, ExtendedColorType::Rgb8)
        .ok()?;
    Some(jpeg)
}
