//! JPEG, through zune-jpeg.

use image::ColorType;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::orientation::upright;
use super::{GRAY, Limits, Photo, PhotoError, colour};

/// Decodes a JPEG, whole or as far as it goes.
pub(super) fn decode(bytes: &[u8], limits: &Limits) -> Result<Photo, PhotoError> {
    let mut header = decoder(bytes);
    header.decode_headers().map_err(undecodable)?;
    let (width, height) = header.dimensions().ok_or(PhotoError::NoPixels)?;
    let components = header.info().map_or(3, |info| u64::from(info.components));
    // A progressive file is held as 16-bit coefficients until its last scan.
    let decoded_bytes = (width * height) as u64 * (2 * components + 3);
    limits.check(width as u64, height as u64, decoded_bytes)?;
    let orientation = header.exif().and_then(|exif| Orientation::from_exif_chunk(exif));

    let gray = header.input_colorspace() == Some(ColorSpace::Luma);
    let colour = if gray { ColorType::L8 } else { ColorType::Rgb8 };
    let mut pixels = vec![GRAY; width * height * usize::from(colour.channel_count())];
    // Strict at first, since the lenient decoder does not say that it skipped something.
    let damaged = match scan(bytes, gray, true, &mut pixels) {
        Ok(()) => !reaches_its_end(bytes),
        Err(_) => {
            pixels.fill(GRAY);
            let result = scan(bytes, gray, false, &mut pixels);
            if pixels.iter().all(|&sample| sample == GRAY) {
                return Err(undecodable(result.err().unwrap_or(DecodeErrors::ExhaustedData)));
            }
            true
        }
    };
    let rgb = colour::to_rgb(colour, pixels).ok_or(PhotoError::NoPixels)?;
    let photo = Photo { width, height, rgb, truncated: damaged };
    Ok(upright(photo, orientation.unwrap_or(Orientation::NoTransforms)))
}

fn decoder(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options =
        DecoderOptions::default().set_strict_mode(false).set_max_width(usize::MAX).set_max_height(usize::MAX);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

/// Decodes the picture data into `pixels`, which holds what was decoded also after an error.
fn scan(bytes: &[u8], gray: bool, strict: bool, pixels: &mut [u8]) -> Result<(), DecodeErrors> {
    let mut decoder = decoder(bytes);
    let space = if gray { ColorSpace::Luma } else { ColorSpace::RGB };
    decoder.set_options(decoder.options().jpeg_set_out_colorspace(space));
    // Stray bytes between segments are common and harmless: strictness is for the picture data alone.
    decoder.decode_headers()?;
    decoder.set_options(decoder.options().set_strict_mode(strict));
    decoder.decode_into(pixels)?;
    match decoder.input_colorspace() {
        Some(ColorSpace::MultiBand(_)) => Err(DecodeErrors::FormatStatic("two colour components")),
        _ => Ok(()),
    }
}

/// Whether the segments lead to an end-of-image marker; one inside a segment is a thumbnail's.
fn reaches_its_end(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or_default();
    while let Some(start) = rest.iter().position(|&byte| byte == 0xFF) {
        rest = &rest[start + 1..];
        match rest.first() {
            Some(0xD9) => return true,
            // A fill byte, a stuffed byte of picture data, or a marker without a segment.
            Some(0xFF | 0x00 | 0x01 | 0xD0..=0xD7) => {}
            Some(_) => {
                let Some(&[high, low]) = rest.get(1..3) else { return false };
                let length = usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(1 + length..).unwrap_or_default();
            }
            None => return false,
        }
    }
    false
}

fn undecodable(error: DecodeErrors) -> PhotoError {
    let problem = match error {
        DecodeErrors::IoErrors(_) | DecodeErrors::ExhaustedData => {
            "it ends before the picture begins".to_owned()
        }
        error => format!("{error:?}").trim_matches('"').to_owned(),
    };
    PhotoError::Undecodable { format: "JPEG", problem }
}
