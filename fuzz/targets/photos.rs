//! Photos: every format that is decoded, and EXIF.

#![no_main]

use std::io::Cursor;

use fuzz::{seed, within};
use image::{DynamicImage, ImageFormat, RgbImage};
use libfuzzer_sys::fuzz_target;
use pugmark_data::scan::PictureFacts;
use pugmark_data::{ExifFacts, Limits, Photo, Recipe, decode};

const LIMITS: Limits = Limits { max_pixels: 1 << 16, max_bytes: 1 << 16 };

/// Twelve bytes for each pixel that is allowed, as [`Limits`] says, and what a decoder reserves for itself: TIFF's up to
/// 256 MiB for the values of a tag, which it does not touch unless they are in the file.
const MEMORY: usize = 12 * (LIMITS.max_pixels as usize) + (260 << 20);

fuzz_target!(init: seed(seeds()), |bytes: &[u8]| {
    let facts = within(4 << 20, || ExifFacts::read(bytes));
    assert!(facts.camera().is_none_or(|camera| !camera.is_empty()));
    if let Some((time, _)) = facts.time {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
    match within(MEMORY, || decode(bytes, &LIMITS)) {
        Ok(photo) => {
            let Photo { width, height, ref rgb, .. } = photo;
            assert!(width * height > 0 && (width * height) as u64 <= LIMITS.max_pixels);
            assert_eq!(rgb.len(), width * height * 3);
            assert_eq!(Recipe::imagenet(8).apply(&photo).len(), 8 * 8 * 3);
            let brightness = PictureFacts::of(&photo).brightness();
            assert!((0.0..=1.0).contains(&brightness), "{brightness}");
            assert_eq!(decode(bytes, &LIMITS).ok().as_ref(), Some(&photo), "the same again");
        }
        Err(error) => {
            let reason = error.reason();
            assert!(!reason.is_empty() && reason.chars().count() <= 200 && !reason.contains('\n'), "{reason}");
        }
    }
});

/// A picture in every format, in colour, gray, with alpha and in sixteen bits as far as each has that, and one with EXIF.
fn seeds() -> Vec<Vec<u8>> {
    let picture = RgbImage::from_fn(19, 13, |x, y| image::Rgb([x as u8 * 13, y as u8 * 19, (x * y) as u8]));
    let colour = DynamicImage::ImageRgb8(picture);
    let kinds = [
        colour.clone(),
        DynamicImage::ImageLuma8(colour.to_luma8()),
        DynamicImage::ImageRgba8(colour.to_rgba8()),
        DynamicImage::ImageLuma16(colour.to_luma16()),
        DynamicImage::ImageRgb16(colour.to_rgb16()),
        DynamicImage::ImageRgb32F(colour.to_rgb32f()),
    ];
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    let mut seeds = Vec::new();
    for format in [Jpeg, Png, WebP, Bmp, Tiff, Pnm, Gif] {
        for kind in &kinds {
            let mut bytes = Cursor::new(Vec::new());
            if kind.write_to(&mut bytes, format).is_ok() {
                seeds.push(bytes.into_inner());
            }
        }
    }
    let jpeg = seeds[0].clone();
    seeds.push([&jpeg[..2], &exif(), &jpeg[2..]].concat());
    seeds
}

/// A JPEG's segment with EXIF: the maker, turned by a quarter, and a time with its offset.
fn exif() -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0".to_vec();
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    let texts: [&[u8]; 3] = [b"RECONYX\0", b"2023:04:05 06:07:08\0", b"+02:00\0"];
    // Two folders of entries, and then the texts.
    let second = 8 + 2 + 3 * 12 + 4;
    let first_text = second + 2 + 2 * 12 + 4;
    let at = |number: usize| first_text + texts[..number].iter().map(|text| text.len() as u32).sum::<u32>();
    tiff.extend([&3_u16.to_le_bytes()[..], &entry(0x010f, 2, 8, at(0)), &entry(0x0112, 3, 1, 6)].concat());
    tiff.extend([&entry(0x8769, 4, 1, second)[..], &[0; 4]].concat());
    tiff.extend(
        [&2_u16.to_le_bytes()[..], &entry(0x9003, 2, 20, at(1)), &entry(0x9011, 2, 7, at(2)), &[0; 4]]
            .concat(),
    );
    tiff.extend(texts.concat());
    let length = (2 + 6 + tiff.len()) as u16;
    [&b"\xff\xe1"[..], &length.to_be_bytes(), b"Exif\0\0", &tiff].concat()
}
