//! Photos of every format, whole, cut off, turned, damaged and hostile.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::codecs::webp::WebPEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageFormat, RgbImage};
use pugmark_data::{Limits, Photo, PhotoError, Random, decode, decode_file};

const WIDTH: usize = 120;
const HEIGHT: usize = 96;

/// A picture with edges, ramps and 16 colours, so that GIF keeps it too.
fn picture() -> Vec<u8> {
    let pixel = |at: usize| {
        let (x, y) = (at % WIDTH, at / WIDTH);
        [(x / 30 * 80) as u8, (y / 24 * 80) as u8, if (x / 30 + y / 24) % 2 == 0 { 40 } else { 200 }]
    };
    (0..WIDTH * HEIGHT).flat_map(pixel).collect()
}

fn encoded(format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = RgbImage::from_raw(WIDTH as u32, HEIGHT as u32, picture()).unwrap();
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A JPEG of noise on a ramp at quality 90, 4:4:4, with `exif` where that is not empty.
fn jpeg(exif: &[u8]) -> Vec<u8> {
    let mut random = Random::new(0, 0, "jpeg");
    let rgb: Vec<u8> =
        picture().iter().map(|&sample| sample.saturating_add(random.below(30) as u8)).collect();
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 90);
    if !exif.is_empty() {
        encoder.set_exif_metadata(exif.to_vec()).unwrap();
    }
    encoder.write_image(&rgb, WIDTH as u32, HEIGHT as u32, ExtendedColorType::Rgb8).unwrap();
    bytes
}

fn ok(bytes: &[u8]) -> Photo {
    decode(bytes, &Limits::default()).unwrap()
}

const LOSSLESS: [ImageFormat; 6] = [
    ImageFormat::Png,
    ImageFormat::WebP,
    ImageFormat::Bmp,
    ImageFormat::Tiff,
    ImageFormat::Pnm,
    ImageFormat::Gif,
];

#[test]
fn lossless_formats_are_exact() {
    for format in LOSSLESS {
        let photo = ok(&encoded(format));
        assert_eq!((photo.width, photo.height, photo.truncated), (WIDTH, HEIGHT, false), "{format:?}");
        assert!(photo.rgb == picture(), "{format:?}");
    }
}

#[test]
fn content_counts_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("photo.jpg");
    fs::write(&file, encoded(ImageFormat::Png)).unwrap();
    assert!(decode_file(&file, &Limits::default()).unwrap().rgb == picture());
}

/// A TIFF block with the orientation alone, in either byte order.
fn exif(orientation: u8, big_endian: bool) -> Vec<u8> {
    let mut bytes = if big_endian { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
    let mut put = |value: u32, size: usize| {
        let le = value.to_le_bytes();
        let be = &value.to_be_bytes()[4 - size..];
        bytes.extend_from_slice(if big_endian { be } else { &le[..size] });
    };
    for (value, size) in
        [(8, 4), (1, 2), (0x0112, 2), (3, 2), (1, 4), (u32::from(orientation), 2), (0, 2), (0, 4)]
    {
        put(value, size);
    }
    bytes
}

#[test]
fn exif_orientation_is_applied() {
    // 6 turns the stored picture a quarter to the right: what is shown at the top right was stored at the top left.
    let turned = |photo: &Photo, stored: &[u8]| {
        assert_eq!((photo.width, photo.height), (HEIGHT, WIDTH));
        let top_right = &photo.rgb[(HEIGHT - 1) * 3..HEIGHT * 3];
        assert_eq!(top_right, &stored[..3]);
        let bottom_right = &photo.rgb[(WIDTH * HEIGHT - 1) * 3..];
        assert_eq!(bottom_right, &stored[(WIDTH - 1) * 3..WIDTH * 3]);
    };
    for big_endian in [false, true] {
        let exif = exif(6, big_endian);
        turned(&ok(&jpeg(&exif)), &ok(&jpeg(&[])).rgb);

        let mut png = Vec::new();
        let mut encoder = PngEncoder::new(&mut png);
        encoder.set_exif_metadata(exif.clone()).unwrap();
        encoder.write_image(&picture(), WIDTH as u32, HEIGHT as u32, ExtendedColorType::Rgb8).unwrap();
        turned(&ok(&png), &picture());

        for prefix in ["", "Exif\0\0"] {
            let mut webp = Vec::new();
            let mut encoder = WebPEncoder::new_lossless(&mut webp);
            encoder.set_exif_metadata([prefix.as_bytes(), &exif].concat()).unwrap();
            encoder.write_image(&picture(), WIDTH as u32, HEIGHT as u32, ExtendedColorType::Rgb8).unwrap();
            turned(&ok(&webp), &picture());
        }
    }
    let bad = jpeg(&exif(9, false));
    assert_eq!(ok(&bad).width, WIDTH, "an orientation that does not exist is ignored");
}

/// How many rows at the top are those of the whole picture.
fn equal_rows(part: &Photo, whole: &Photo) -> usize {
    let rows = |photo: &Photo| photo.rgb.chunks(WIDTH * 3).map(<[u8]>::to_vec).collect::<Vec<_>>();
    rows(part).iter().zip(rows(whole)).take_while(|(a, b)| **a == *b).count()
}

#[test]
fn a_cut_photo_keeps_what_is_there() {
    struct Case {
        name: &'static str,
        bytes: Vec<u8>,
        /// Rows that a decoder may lose of what is there: a row of JPEG's blocks; nothing of PNG's, but its compression
        /// holds some back.
        lost: usize,
    }
    let noise: Vec<u8> = ok(&jpeg(&[])).rgb;
    let mut png = Vec::new();
    PngEncoder::new(&mut png)
        .write_image(&noise, WIDTH as u32, HEIGHT as u32, ExtendedColorType::Rgb8)
        .unwrap();
    let cases =
        [Case { name: "JPEG", bytes: jpeg(&[]), lost: 16 }, Case { name: "PNG", bytes: png, lost: 48 }];
    for Case { name, bytes, lost } in cases {
        let whole = ok(&bytes);
        assert!(!whole.truncated);
        let mut last = 0;
        let mut partial = 0;
        for step in 1..60 {
            let cut = bytes.len() * step / 60;
            match decode(&bytes[..cut], &Limits::default()) {
                Ok(photo) => {
                    assert!(photo.truncated, "{name} cut at {cut} is not flagged");
                    assert_eq!((photo.width, photo.height), (WIDTH, HEIGHT));
                    let rows = equal_rows(&photo, &whole);
                    assert!(rows >= last, "{name} cut at {cut} has fewer rows than with less");
                    // The noise makes every row about equally long, after a header.
                    assert!(rows + lost + 8 >= HEIGHT * step / 60, "{name} cut at {cut}: only {rows} rows");
                    last = rows;
                    partial += 1;
                }
                Err(error) => {
                    assert!(last == 0 && step < 10, "{name} cut at {cut}: {error}");
                    assert!(matches!(error, PhotoError::Undecodable { .. }), "{name} cut at {cut}: {error}");
                }
            }
        }
        assert!(partial >= 50, "{name}: only {partial} cuts gave a picture");
        assert!(last > HEIGHT / 2, "{name}: only {last} rows of a nearly whole file");
    }
    let bytes = jpeg(&[]);
    let unended = ok(&bytes[..bytes.len() - 2]);
    assert!(unended.truncated, "a JPEG without its end marker is flagged");
    assert_eq!(equal_rows(&unended, &ok(&bytes)), HEIGHT);
}

#[test]
fn what_is_missing_is_gray() {
    let bytes = jpeg(&[]);
    let photo = ok(&bytes[..bytes.len() / 2]);
    assert!(photo.rgb[WIDTH * (HEIGHT - 8) * 3..].iter().all(|&sample| sample == 128));
}

#[test]
fn a_thumbnails_end_is_not_the_photos() {
    // A cut JPEG whose EXIF block holds an end marker, as its thumbnail would.
    let bytes = jpeg(&[exif(1, false), vec![0xFF, 0xD9]].concat());
    assert!(!ok(&bytes).truncated);
    assert!(ok(&bytes[..bytes.len() * 3 / 4]).truncated);
    // Bytes after the end, as some cameras write them, do no harm.
    assert!(!ok(&[bytes, vec![0; 100]].concat()).truncated);
}

#[test]
fn limits_hold_before_decoding() {
    let bytes = jpeg(&[]);
    let pixels = (WIDTH * HEIGHT) as u64;
    let limits = |max_pixels, max_bytes| Limits { max_pixels, max_bytes };
    assert!(decode(&bytes, &limits(pixels, bytes.len() as u64)).is_ok());
    for format in [ImageFormat::Jpeg].iter().chain(&LOSSLESS) {
        let error = decode(&encoded(*format), &limits(pixels - 1, 1 << 20)).unwrap_err();
        assert!(matches!(error, PhotoError::TooLarge { width: 120, height: 96, .. }), "{format:?}: {error}");
    }
    let error = decode(&bytes, &limits(pixels, bytes.len() as u64 - 1)).unwrap_err();
    assert!(matches!(error, PhotoError::TooManyBytes { .. }));
    // A header that promises 65,500 x 65,500 pixels: the size lies behind the frame marker, its length and precision.
    let mut bomb = bytes;
    let frame = bomb.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    assert!(matches!(decode(&bomb, &Limits::default()), Err(PhotoError::TooLarge { .. })));
}

#[test]
fn reasons_are_short_and_plain() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let cases = [
        (file("empty.jpg", b""), "the file is empty"),
        (file("text.jpg", b"hello, world"), "not a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file"),
        (folder.path().to_owned(), "not a file"),
        (folder.path().join("gone.jpg"), "the file cannot be read: No such file or directory (os error 2)"),
        (
            file("head.jpg", &jpeg(&[])[..300]),
            "the JPEG file cannot be decoded: it ends before the picture begins",
        ),
        (file("cut.png", &encoded(ImageFormat::Png)[..40]), "the PNG file cannot be decoded: it ends early"),
    ];
    for (path, reason) in cases {
        let error = decode_file(&path, &Limits::default()).unwrap_err();
        assert_eq!(error.reason(), reason, "{}", path.display());
    }
    let problem = "a\n b".repeat(200);
    let reason = PhotoError::Undecodable { format: "PNG", problem }.reason();
    assert!(reason.chars().count() == 200 && !reason.contains('\n'));
}

#[test]
fn damage_never_panics() {
    let limits = Limits { max_pixels: 1 << 20, max_bytes: 1 << 20 };
    let mut random = Random::new(0, 0, "damage");
    let mut decoded = 0;
    for format in [ImageFormat::Jpeg].iter().chain(&LOSSLESS) {
        let whole = encoded(*format);
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..=random.below(8) {
                let at = random.below(bytes.len());
                bytes[at] = random.next_u64() as u8;
            }
            bytes.truncate(1 + random.below(bytes.len() * 2));
            match decode(&bytes, &limits) {
                Ok(photo) => {
                    assert_eq!(photo.rgb.len(), photo.width * photo.height * 3);
                    decoded += 1;
                }
                Err(error) => assert!(!error.reason().is_empty()),
            }
        }
    }
    assert!(decoded > 200, "only {decoded} survived: this tests too little");
}
