//! A channel in Pipe mode: photos and labels as records of one stream, as an augmented manifest gives them.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use image::ImageFormat;
use pugmark_data::{Digest, Limits};
use serde_json::Value;

use crate::error::WrongCall;

/// What every record of MXNet's RecordIO begins with.
const MAGIC: u32 = 0xced7_230a;

/// Reads the channel's first stream to its end into a folder of photos, a folder each class. A photo is called by its content: a
/// stream in another order gives the same files.
pub(super) fn read(stream: &Path, into: &Path) -> Result<PathBuf, WrongCall> {
    let wrong = |text: &str| {
        WrongCall::new(format!("{}: {text}", stream.display())).with_hint(
            "an augmented manifest with a photo and its label (`\"S3DataType\": \"AugmentedManifestFile\", \"RecordWrapperType\": \
             \"RecordIO\"`); or FastFile mode, which gives photos with their names",
        )
    };
    let failed = |error: io::Error| wrong(&error.to_string());
    let mut source = BufReader::new(File::open(stream).map_err(failed)?);
    let mut photo: Option<Vec<u8>> = None;
    let mut label: Option<String> = None;
    let mut count = 0;
    let mut keep = |photo: Option<Vec<u8>>, label: Option<String>| {
        let Some(photo) = photo else { return Ok(()) };
        count += 1;
        let label = label.ok_or_else(|| wrong(&format!("photo {count} has no label")))?;
        write(&photo, &into.join(label)).map_err(failed)
    };
    while let Some(record) = next(&mut source).map_err(failed)? {
        if is_photo(&record) {
            keep(photo.replace(record), label.take())?;
        } else if photo.is_none() {
            return Err(wrong("it begins with no photo"));
        } else if let Some(found) = class(&record) {
            label = Some(found.map_err(|name| wrong(&format!("`{name}` can't be the name of a class")))?);
        }
    }
    keep(photo, label)?;
    if count == 0 { Err(wrong("it holds no photo")) } else { Ok(into.to_owned()) }
}

/// Whether it begins as photos do. Of some kinds that is two letters, with which a label may begin too.
fn is_photo(record: &[u8]) -> bool {
    match image::guess_format(record) {
        Ok(ImageFormat::Bmp | ImageFormat::Pnm) => record.len() > 64,
        found => found.is_ok(),
    }
}

fn write(photo: &[u8], folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let format = image::guess_format(photo).map_err(io::Error::other)?;
    let end = format.extensions_str().first().unwrap_or(&"jpg");
    fs::write(folder.join(format!("{}.{end}", Digest::of(photo))), photo)
}

/// The class that a record names: a label as text or number, or the class name in what a labelling job adds to it. Nothing
/// where it names none.
fn class(record: &[u8]) -> Option<Result<String, String>> {
    let text = String::from_utf8_lossy(record).trim().to_owned();
    let name = match serde_json::from_str(&text) {
        Ok(Value::String(name)) => name,
        Ok(Value::Object(members)) => members.get("class-name")?.as_str()?.to_owned(),
        Ok(Value::Array(_) | Value::Null) => return None,
        _ => text,
    };
    // It becomes a folder.
    let odd = name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0']);
    Some(if odd { Err(name) } else { Ok(name) })
}

/// The next record; none at the end. Long ones come in parts: 1 the first, 2 between, 3 the last.
fn next(source: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut record = Vec::new();
    loop {
        let mut head = [0; 8];
        match source.read(&mut head[..1])? {
            0 if record.is_empty() => return Ok(None),
            _ => source.read_exact(&mut head[1..])?,
        }
        let [a, b, c, d, e, f, g, h] = head;
        if u32::from_le_bytes([a, b, c, d]) != MAGIC {
            return Err(io::Error::other("it is no RecordIO"));
        }
        let word = u32::from_le_bytes([e, f, g, h]);
        let (part, length) = (word >> 29, u64::from(word & ((1 << 29) - 1)));
        if record.len() as u64 + length > Limits::default().max_bytes {
            return Err(io::Error::other("a record is larger than a photo may be"));
        }
        if part > 1 {
            // The writer took the magic out where it cut.
            record.extend(MAGIC.to_le_bytes());
        }
        let before = record.len() as u64;
        source.by_ref().take(length).read_to_end(&mut record)?;
        if record.len() as u64 - before != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let padding = length.next_multiple_of(4) - length;
        io::copy(&mut source.by_ref().take(padding), &mut io::sink())?;
        if matches!(part, 0 | 3) {
            return Ok(Some(record));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(part: u32, bytes: &[u8]) -> Vec<u8> {
        let mut record = MAGIC.to_le_bytes().to_vec();
        record.extend((part << 29 | bytes.len() as u32).to_le_bytes());
        record.extend(bytes);
        record.resize(record.len().next_multiple_of(4), 0);
        record
    }

    #[test]
    fn records_are_read_whole_and_in_parts() {
        let magic = MAGIC.to_le_bytes();
        let stream =
            [record(0, b"one"), record(1, b"ab"), record(2, b"cdefg"), record(3, b""), record(0, b"four")];
        let mut stream = io::Cursor::new(stream.concat());
        let mut read = || next(&mut stream).unwrap();
        assert_eq!(read().unwrap(), b"one");
        assert_eq!(read().unwrap(), [b"ab", magic.as_slice(), b"cdefg", &magic].concat());
        assert_eq!(read().unwrap(), b"four");
        assert!(read().is_none());
    }

    #[test]
    fn streams_that_are_something_else_are_refused() {
        let mut huge = MAGIC.to_le_bytes().to_vec();
        huge.extend(((1_u32 << 29) - 1).to_le_bytes());
        for stream in [
            &b"\xff\xd8\xff\xe0 a JPEG as it is"[..],
            &record(0, b"cut off")[..9],
            &record(1, b"no end"),
            &huge,
        ] {
            assert!(next(&mut io::Cursor::new(stream)).is_err(), "{stream:?}");
        }
    }

    #[test]
    fn labels_are_no_photos() {
        for label in ["BMW", "P2", "GIF"] {
            assert!(!is_photo(label.as_bytes()), "{label}");
        }
        assert!(is_photo(b"\xff\xd8\xff\xe0") && is_photo(&[b"BM".as_slice(), &[0; 80]].concat()));
    }

    #[test]
    fn labels_become_classes() {
        for (record, expected) in [
            ("1", Some(Ok("1"))),
            ("\"ants\"", Some(Ok("ants"))),
            ("ants\n", Some(Ok("ants"))),
            (r#"{"class-name":"bees","confidence":0.9}"#, Some(Ok("bees"))),
            (r#"{"confidence":0.9}"#, None),
            ("null", None),
            ("\"../up\"", Some(Err("../up"))),
            ("", Some(Err(""))),
        ] {
            let found = class(record.as_bytes());
            assert_eq!(
                found.as_ref().map(|name| name.as_deref().map_err(String::as_str)),
                expected,
                "{record}"
            );
        }
    }
}
