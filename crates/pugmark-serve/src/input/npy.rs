//! NumPy's file format (NEP 1): H x W x 3 or N x H x W x 3, in u8 or, from 0 to 1, in floats.

use pugmark_data::{Limits, Photo};

use super::{Asked, MOST, Named};
use crate::error::RequestError;
use crate::photo::Source;

pub(super) const MAGIC: &[u8] = b"\x93NUMPY";

/// Types of elements.
#[derive(Clone, Copy)]
enum Element {
    U8,
    F32,
    F64,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }
}

/// Reads the photos of an array.
pub(super) fn read(bytes: &[u8], limits: &Limits) -> Result<Asked, RequestError> {
    let wrong = |what: &str| RequestError::Bad(format!("the .npy file {what}"));
    let (header, data) = header(bytes).ok_or_else(|| wrong("ends in its header"))?;
    let element = match text_of(header, "descr").ok_or_else(|| wrong("has no `descr`"))? {
        "|u1" | "u1" | "<u1" => Element::U8,
        "<f4" => Element::F32,
        "<f8" => Element::F64,
        other => {
            return Err(wrong(&format!("has elements `{other}`; u8, and little-endian f4 and f8 are read")));
        }
    };
    if value_of(header, "fortran_order").is_some_and(|order| order.starts_with("True")) {
        return Err(wrong("is in Fortran's order; np.ascontiguousarray makes it C's"));
    }
    let shape = shape(header).ok_or_else(|| wrong("has no shape that can be read"))?;
    let (list, photos, [height, width, channels]) = match shape[..] {
        [height, width, channels] => (false, 1, [height, width, channels]),
        [photos, height, width, channels] => (true, photos, [height, width, channels]),
        _ => return Err(wrong(&format!("has shape {shape:?}; H x W x 3 or N x H x W x 3 is meant"))),
    };
    if channels != 3 {
        let turn = if height == 3 { "; channels go last: np.moveaxis(array, -3, -1)" } else { "" };
        return Err(wrong(&format!("has {channels} channels, and 3 are meant{turn}")));
    }
    let pixels = height.saturating_mul(width);
    if pixels == 0 || photos == 0 || photos > MOST {
        return Err(wrong(&format!("has shape {shape:?}: no photos, or more than {MOST}")));
    }
    if pixels as u64 > limits.max_pixels {
        return Err(RequestError::TooLarge(format!(
            "{width} x {height} pixels are too large (limit: {} pixels)",
            limits.max_pixels
        )));
    }
    let each = pixels * 3 * element.bytes();
    if each.checked_mul(photos) != Some(data.len()) {
        return Err(wrong(&format!(
            "has {} bytes of data, and its shape {shape:?} says otherwise",
            data.len()
        )));
    }
    let photo = |data: &[u8]| {
        let rgb = levels(element, data)?;
        Ok(Source::Pixels(Photo { width, height, rgb, truncated: false }))
    };
    let photos = data.chunks_exact(each).map(|data| Named { id: None, source: photo(data) }).collect();
    Ok(Asked { list, ..Asked::list(photos) })
}

/// A float from 0 to 1 in eight bits.
pub(super) fn level(value: f64) -> Result<u8, RequestError> {
    match value {
        0.0..=1.0 => Ok((value * 255.0).round() as u8),
        _ => Err(RequestError::Bad(format!(
            "the array holds {value}: floats go from 0 to 1, as the model does the rest by itself"
        ))),
    }
}

/// Eight bits a channel.
fn levels(element: Element, data: &[u8]) -> Result<Vec<u8>, RequestError> {
    match element {
        Element::U8 => Ok(data.to_vec()),
        Element::F32 => {
            data.as_chunks().0.iter().map(|&bytes| level(f64::from(f32::from_le_bytes(bytes)))).collect()
        }
        Element::F64 => data.as_chunks().0.iter().map(|&bytes| level(f64::from_le_bytes(bytes))).collect(),
    }
}

/// The header's text, and what comes after it.
fn header(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (version, rest) = bytes.get(MAGIC.len()..)?.split_at_checked(2)?;
    let (length, rest) = if version[0] == 1 {
        let (length, rest) = rest.split_first_chunk::<2>()?;
        (usize::from(u16::from_le_bytes(*length)), rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, data) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(header).ok()?, data))
}

/// What stands behind a key of the header, a Python dictionary.
fn value_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let behind =
        [format!("'{key}'"), format!("\"{key}\"")].into_iter().find_map(|key| header.split_once(&*key))?.1;
    Some(behind.trim_start().strip_prefix(':')?.trim_start())
}

fn text_of<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let value = value_of(header, key)?;
    let quote = value.chars().next().filter(|&c| c == '\'' || c == '"')?;
    value[1..].split(quote).next()
}

fn shape(header: &str) -> Option<Vec<usize>> {
    let sides = value_of(header, "shape")?.strip_prefix('(')?.split(')').next()?;
    let sides = sides.split(',').map(str::trim).filter(|side| !side.is_empty());
    sides.map(|side| side.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As NumPy writes it, version 1.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    fn header_of(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}   \n")
    }

    fn photos(bytes: &[u8]) -> Result<Vec<Result<Vec<u8>, String>>, String> {
        let rgb = |named: Named| match named.source {
            Ok(Source::Pixels(photo)) => Ok(photo.rgb),
            Ok(Source::File(_)) => panic!("no file"),
            Err(error) => Err(error.to_string()),
        };
        let asked = read(bytes, &Limits { max_pixels: 100, max_bytes: 1000 }).map_err(|e| e.to_string())?;
        Ok(asked.photos.into_iter().map(rgb).collect())
    }

    #[test]
    fn arrays_of_bytes_and_floats() {
        let bytes: Vec<u8> = (0..12).collect();
        let one = file(&header_of("|u1", "False", "(2, 2, 3)"), &bytes);
        assert_eq!(photos(&one), Ok(vec![Ok(bytes.clone())]));
        let two = file(&header_of("|u1", "False", "(2, 1, 2, 3)"), &bytes);
        assert_eq!(photos(&two), Ok(vec![Ok(bytes[..6].to_vec()), Ok(bytes[6..].to_vec())]));
        // 0.5 of 255 is 127.5, which is rounded away from 0.
        let floats = [0.0_f32, 1.0, 0.5, 0.2, 1.5, f32::NAN].map(f32::to_le_bytes).concat();
        let both = photos(&file(&header_of("<f4", "False", "(2, 1, 1, 3)"), &floats)).unwrap();
        assert_eq!(both[0], Ok(vec![0, 255, 128]));
        assert!(both[1].as_ref().unwrap_err().contains("holds 1.5"), "{both:?}");
        let doubles = [0.0_f64, 1.0, 0.4].map(f64::to_le_bytes).concat();
        assert_eq!(
            photos(&file(&header_of("<f8", "False", "(1, 1, 3)"), &doubles)),
            Ok(vec![Ok(vec![0, 255, 102])])
        );
    }

    #[test]
    fn what_is_refused() {
        let cases = [
            (header_of("<i4", "False", "(1, 1, 3)"), "elements `<i4`"),
            (header_of("|u1", "True", "(1, 1, 3)"), "Fortran"),
            (header_of("|u1", "False", "(3, 1, 1)"), "channels go last"),
            (header_of("|u1", "False", "(3,)"), "has shape [3]"),
            (header_of("|u1", "False", "(0, 1, 3)"), "no photos"),
            (header_of("|u1", "False", "(1, 2, 3)"), "3 bytes of data"),
            (header_of("|u1", "False", "(1000, 1000, 3)"), "too large"),
            (header_of("|u1", "False", "(-1, 1, 3)"), "no shape"),
            (header_of("|u1", "False", "(9223372036854775807, 9223372036854775807, 3)"), "too large"),
            (header_of("|u1", "False", "(9223372036854775807, 1, 1, 3)"), "no photos, or more"),
            ("{}".to_owned(), "no `descr`"),
        ];
        for (header, why) in cases {
            let error = photos(&file(&header, &[1, 2, 3])).unwrap_err();
            assert!(error.contains(why), "{header}: {error}");
        }
        let whole = file(&header_of("|u1", "False", "(1, 1, 3)"), &[1, 2, 3]);
        for end in 0..whole.len() - MAGIC.len() {
            assert!(photos(&whole[..MAGIC.len() + end]).is_err(), "{end}");
        }
    }
}
