//! EXIF that cameras leave out, leave empty or get wrong.

use std::io::Cursor;

use exif::experimental::Writer;
use exif::{Context, Field, In, SRational, Tag, Value};
use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pugmark_data::ExifFacts;
use pugmark_data::exif::TimeTag;

fn ascii(tag: Tag, text: &str) -> Field {
    Field { tag, ifd_num: In::PRIMARY, value: Value::Ascii(vec![text.as_bytes().to_vec()]) }
}

fn temperature(num: i32, denom: i32) -> Field {
    let value = Value::SRational(vec![SRational { num, denom }]);
    Field { tag: Tag(Context::Exif, 0x9400), ifd_num: In::PRIMARY, value }
}

/// The EXIF block of these fields.
fn block(fields: &[Field], little_endian: bool) -> Vec<u8> {
    let mut writer = Writer::new();
    for field in fields {
        writer.push_field(field);
    }
    let mut bytes = Cursor::new(Vec::new());
    writer.write(&mut bytes, little_endian).expect("fields that can be written");
    bytes.into_inner()
}

fn jpeg(exif: Vec<u8>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new(&mut bytes);
    encoder.set_exif_metadata(exif).expect("JPEG takes EXIF");
    encoder.write_image(&[99; 8 * 8 * 3], 8, 8, ExtendedColorType::Rgb8).expect("a JPEG");
    bytes
}

fn read(fields: &[Field]) -> ExifFacts {
    let [little, big] = [true, false].map(|order| ExifFacts::read(&jpeg(block(fields, order))));
    assert_eq!(little, big);
    little
}

#[test]
fn the_first_tag_with_a_time_counts_with_its_own_offset() {
    let original = ascii(Tag::DateTimeOriginal, "2020:05:01 10:00:00");
    let digitized = ascii(Tag::DateTimeDigitized, "2020:05:02 10:00:00");
    let changed = ascii(Tag::DateTime, "2020:05:03 10:00:00");
    let unset = ascii(Tag::DateTimeOriginal, "    :  :     :  :  ");
    let zeros = ascii(Tag::DateTimeOriginal, "0000:00:00 00:00:00");
    let offset = ascii(Tag::OffsetTimeDigitized, "+02:00");
    let wrong = ascii(Tag::OffsetTimeDigitized, "CEST");
    let cases: [(&[&Field], &str, TimeTag); 7] = [
        (&[&original, &digitized, &changed], "2020-05-01T10:00:00", TimeTag::DateTimeOriginal),
        (&[&original, &digitized, &offset], "2020-05-01T10:00:00", TimeTag::DateTimeOriginal),
        (&[&unset, &digitized, &changed], "2020-05-02T10:00:00", TimeTag::DateTimeDigitized),
        (&[&zeros, &changed], "2020-05-03T10:00:00", TimeTag::DateTime),
        (&[&digitized, &offset], "2020-05-02T10:00:00+02:00", TimeTag::DateTimeDigitized),
        (&[&digitized, &wrong], "2020-05-02T10:00:00", TimeTag::DateTimeDigitized),
        (&[&changed], "2020-05-03T10:00:00", TimeTag::DateTime),
    ];
    for (fields, time, tag) in cases {
        let fields: Vec<Field> = fields
            .iter()
            .map(|field| Field { tag: field.tag, ifd_num: field.ifd_num, value: field.value.clone() })
            .collect();
        let (found, by) = read(&fields).time.unwrap();
        assert_eq!((found.to_string().as_str(), by), (time, tag));
    }
    assert_eq!(read(&[unset]).time, None);
}

#[test]
fn cameras_are_named_once() {
    let named = |make: &str, model: &str| read(&[ascii(Tag::Make, make), ascii(Tag::Model, model)]).camera();
    assert_eq!(named("Bushnell ", "119875C"), Some("Bushnell 119875C".to_owned()));
    assert_eq!(named("BROWNING", "Browning BTC-8A"), Some("Browning BTC-8A".to_owned()));
    assert_eq!(named("\0\0\0\0", "E8\0\0\0"), Some("E8".to_owned()));
    assert_eq!(named("   ", "   "), None);
    let facts = read(&[ascii(Tag::BodySerialNumber, "H550HH12223408")]);
    assert_eq!(facts.serial.as_deref(), Some("H550HH12223408"));
}

#[test]
fn temperatures_may_be_below_zero_or_unknown() {
    assert_eq!(read(&[temperature(-35, 10)]).temperature, Some(-3.5));
    assert_eq!(read(&[temperature(0, -1)]).temperature, None);
    assert_eq!(read(&[temperature(7, 0)]).temperature, None);
}

#[test]
fn broken_exif_is_no_error() {
    let whole = block(&[ascii(Tag::DateTimeOriginal, "2020:05:01 10:00:00"), temperature(3, 1)], true);
    for length in 0..whole.len() {
        ExifFacts::read(&jpeg(whole[..length].to_vec()));
    }
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xFF;
        ExifFacts::read(&jpeg(damaged));
    }
    assert_eq!(ExifFacts::read(b"no photo"), ExifFacts::default());
    assert_eq!(ExifFacts::read(&[]), ExifFacts::default());
}
