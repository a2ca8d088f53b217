//! What a camera wrote beside the picture: EXIF.
//!
//! A photo with broken or no EXIF is a photo of which less is known, never an error. The date of the file is not
//! looked at unless that is asked for: copying changes it.

mod reconyx;

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;

use exif::{Context, Exif, In, Reader, Tag, Value};
use serde::Serialize;

use crate::photo::guard;
use crate::time::CaptureTime;

/// Where a capture time was found, the most trusted first.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TimeTag {
    /// When the picture was taken.
    DateTimeOriginal,
    /// When it became a file.
    DateTimeDigitized,
    /// When the file was last written, which software changes.
    DateTime,
    /// The date of the file itself, which copying changes; only where that was asked for.
    File,
}

/// What the EXIF of a photo says.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ExifFacts {
    /// When the photo was taken, on the camera's clock, and the tag that says so.
    pub time: Option<(CaptureTime, TimeTag)>,
    /// Who made the camera.
    pub make: Option<String>,
    /// Its model.
    pub model: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Temperature of the air around the camera, in degrees Celsius.
    pub temperature: Option<f32>,
}

/// EXIF 2.31's `Temperature`, which ExifTool calls `AmbientTemperature`.
const TEMPERATURE: Tag = Tag(Context::Exif, 0x9400);

/// What a fraction's denominator is where the value is not known (EXIF 2.31, 4.6.5).
const UNKNOWN: i32 = -1;

/// Bytes of a JPEG that hold its EXIF: that is one of its first segments, and those have 64 KiB at most.
const BEGINNING: u64 = 1 << 18;

impl ExifFacts {
    /// Reads the EXIF of a photo file's bytes (JPEG, TIFF, PNG, WebP); nothing is known of one without.
    pub fn read(bytes: &[u8]) -> Self {
        // The parser is run on whatever lies in a folder.
        guard(|| parse(bytes)).ok().flatten().map_or_else(Self::default, |exif| Self::of(&exif))
    }

    /// [`ExifFacts::read`] of a file, of a JPEG no more than its beginning; nothing is known of one that can't be read.
    pub fn of_file(path: &Path) -> Self {
        let read = || {
            let mut bytes = Vec::new();
            let mut file = File::open(path)?;
            file.by_ref().take(BEGINNING).read_to_end(&mut bytes)?;
            if !bytes.starts_with(&[0xff, 0xd8]) {
                file.read_to_end(&mut bytes)?;
            }
            io::Result::Ok(bytes)
        };
        read().map_or_else(|_| Self::default(), |bytes| Self::read(&bytes))
    }

    fn of(exif: &Exif) -> Self {
        let note = match exif.get_field(Tag::MakerNote, In::PRIMARY).map(|field| &field.value) {
            Some(Value::Undefined(note, _)) => reconyx::read(note),
            _ => None,
        };
        Self {
            time: time(exif),
            make: text(exif, Tag::Make),
            model: text(exif, Tag::Model),
            serial: text(exif, Tag::BodySerialNumber).or(note.as_ref().and_then(|note| note.serial.clone())),
            temperature: temperature(exif).or(note.and_then(|note| note.temperature)),
        }
    }

    /// Make and model as one name; none where neither is known.
    pub fn camera(&self) -> Option<String> {
        match (&self.make, &self.model) {
            (Some(make), Some(model)) if model.to_lowercase().starts_with(&make.to_lowercase()) => {
                Some(model.clone())
            }
            (Some(make), Some(model)) => Some(format!("{make} {model}")),
            (make, model) => make.clone().or_else(|| model.clone()),
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Exif> {
    let mut reader = Reader::new();
    reader.continue_on_error(true);
    match reader.read_from_container(&mut Cursor::new(bytes)) {
        Ok(exif) => Some(exif),
        // The fields before and after a broken one.
        Err(error) => error.distill_partial_result(|_| ()).ok(),
    }
}

/// The first of the three tags that holds a time; its own offset, where there is one.
fn time(exif: &Exif) -> Option<(CaptureTime, TimeTag)> {
    let ladder = [
        (Tag::DateTimeOriginal, Tag::OffsetTimeOriginal, TimeTag::DateTimeOriginal),
        (Tag::DateTimeDigitized, Tag::OffsetTimeDigitized, TimeTag::DateTimeDigitized),
        (Tag::DateTime, Tag::OffsetTime, TimeTag::DateTime),
    ];
    ladder.into_iter().find_map(|(tag, offset_tag, name)| {
        let clock = text(exif, tag)?;
        let offset = text(exif, offset_tag).unwrap_or_default();
        // An offset that cannot be read must not cost the time.
        let time = format!("{clock}{offset}").parse().or_else(|_| clock.parse()).ok()?;
        Some((time, name))
    })
}

/// A text without the spaces and zeros that cameras pad it with; none where nothing is left.
fn text(exif: &Exif, tag: Tag) -> Option<String> {
    let field = exif.get_field(tag, In::PRIMARY)?;
    let Value::Ascii(lines) = &field.value else { return None };
    let line = lines.iter().find(|line| !line.is_empty())?;
    clean(&String::from_utf8_lossy(line))
}

fn clean(text: &str) -> Option<String> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    (!text.is_empty()).then(|| text.to_owned())
}

fn temperature(exif: &Exif) -> Option<f32> {
    match &exif.get_field(TEMPERATURE, In::PRIMARY)?.value {
        Value::SRational(values) => {
            let value = values.first().filter(|value| value.denom != 0 && value.denom != UNKNOWN)?;
            Some(value.to_f32())
        }
        _ => None,
    }
}
