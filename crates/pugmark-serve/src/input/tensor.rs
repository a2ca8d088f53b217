//! Requests of the Open Inference Protocol, version 2: named tensors in JSON.

use std::fmt;

use pugmark_data::{Limits, Photo};
use serde::de::{DeserializeSeed, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{MOST, Named, json, npy};
use crate::error::RequestError;
use crate::photo::Source;

/// A request.
#[derive(Deserialize)]
pub(crate) struct Inference {
    pub(crate) id: Option<String>,
    inputs: Vec<Tensor>,
    /// All, where none are named.
    #[serde(default)]
    pub(crate) outputs: Vec<Output>,
}

/// An output that is asked for.
#[derive(Deserialize)]
pub(crate) struct Output {
    pub(crate) name: String,
}

#[derive(Deserialize)]
struct Tensor {
    shape: Vec<usize>,
    datatype: String,
    data: Data,
}

/// Elements, in rows or one after the other.
#[derive(Default)]
struct Data {
    numbers: Vec<f32>,
    texts: Vec<Result<Source, RequestError>>,
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut data = Self::default();
        Elements(&mut data).deserialize(deserializer)?;
        Ok(data)
    }
}

/// Reads an element or a row of them into the data.
struct Elements<'a>(&'a mut Data);

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers, or photos in base64")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.0.numbers.push(value as f32);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.0.texts.len() == MOST {
            return Err(E::custom(format!("more than {MOST} photos")));
        }
        self.0.texts.push(json::source(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Elements(&mut *self.0))?.is_some() {}
        Ok(())
    }
}

impl Inference {
    /// Reads a request.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, RequestError> {
        serde_json::from_slice(bytes)
            .map_err(|error| RequestError::Bad(format!("the JSON cannot be read: {error}")))
    }

    /// The photos of its one input.
    pub(crate) fn photos(&mut self, limits: &Limits) -> Result<Vec<Named>, RequestError> {
        let bad = |what: String| Err(RequestError::Bad(what));
        let [Tensor { shape, datatype, data }] = &mut self.inputs[..] else {
            return bad(format!("the model has one input, not {}", self.inputs.len()));
        };
        let Data { numbers, texts } = std::mem::take(data);
        let elements = shape.iter().try_fold(1, |product: usize, &side| product.checked_mul(side));
        if elements != Some(numbers.len() + texts.len()) || elements == Some(0) {
            return bad(format!(
                "the data has {} elements, and its shape is {shape:?}",
                numbers.len() + texts.len()
            ));
        }
        let sources: Vec<Result<Source, RequestError>> = match (datatype.as_str(), &shape[..]) {
            ("BYTES", [_] | [_, 1]) if numbers.is_empty() => texts,
            ("UINT8" | "FP32", &[photos, height, width, 3]) if texts.is_empty() && photos <= MOST => {
                let photo = |values: &[f32]| {
                    let rgb: Result<Vec<u8>, _> = match datatype.as_str() {
                        "UINT8" => values.iter().map(|&value| byte(value)).collect(),
                        _ => values.iter().map(|&value| npy::level(value.into())).collect(),
                    };
                    Ok(Source::Pixels(Photo { width, height, rgb: rgb?, truncated: false }))
                };
                if (height * width) as u64 > limits.max_pixels {
                    return Err(RequestError::TooLarge(format!("{width} x {height} pixels are too large")));
                }
                numbers.chunks_exact(height * width * 3).map(photo).collect()
            }
            _ => {
                return bad(format!(
                    "`{datatype}` of shape {shape:?} is not read: BYTES [N] in base64, and UINT8 and FP32 [N, H, W, 3] are"
                ));
            }
        };
        Ok(sources.into_iter().map(|source| Named { id: None, source }).collect())
    }
}

fn byte(value: f32) -> Result<u8, RequestError> {
    match value {
        0.0..=255.0 if value.fract() == 0.0 => Ok(value as u8),
        _ => Err(RequestError::Bad(format!("{value} is no UINT8"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photos(datatype: &str, shape: &str, data: &str) -> Result<Vec<Named>, RequestError> {
        let tensor =
            format!(r#"{{"name": "x", "data": {data}, "shape": {shape}, "datatype": "{datatype}"}}"#);
        Inference::read(format!(r#"{{"inputs": [{tensor}]}}"#).as_bytes())?
            .photos(&Limits { max_pixels: 100, max_bytes: 1000 })
    }

    #[test]
    fn tensors_in_rows_or_flat() {
        for data in ["[0, 1, 2, 253, 254, 255]", "[[[[0, 1, 2], [253, 254, 255]]]]"] {
            let found = photos("UINT8", "[1, 1, 2, 3]", data).unwrap();
            let Ok(Source::Pixels(photo)) = &found[0].source else { panic!("{found:?}") };
            assert_eq!((photo.width, photo.height, &photo.rgb[..]), (2, 1, &[0, 1, 2, 253, 254, 255][..]));
        }
        let floats = photos("FP32", "[2, 1, 1, 3]", "[0.0, 1.0, 0.5, 0, 1, 2]").unwrap();
        assert!(matches!(&floats[0].source, Ok(Source::Pixels(photo)) if photo.rgb == [0, 255, 128]));
        assert!(floats[1].source.as_ref().unwrap_err().to_string().contains("holds 2"));
        let bytes = photos("BYTES", "[2]", r#"["b25l", "?"]"#).unwrap();
        assert!(matches!(&bytes[0].source, Ok(Source::File(bytes)) if bytes == "one"));
        assert!(bytes[1].source.is_err());
    }

    #[test]
    fn what_is_refused() {
        let huge = format!("[{}, {}, 3, 3]", u64::MAX, u64::MAX);
        let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
        for (datatype, shape, data, why) in [
            ("UINT8", "[1, 1, 1, 3]", "[0, 1]", "2 elements"),
            ("UINT8", "[1, 1, 3]", "[0, 1, 2]", "is not read"),
            ("UINT8", "[1, 3, 1, 1]", "[0, 1, 2]", "is not read"),
            ("UINT8", "[0, 1, 1, 3]", "[]", "0 elements"),
            ("UINT8", "[3]", r#"["b25l", "b25l", "b25l"]"#, "is not read"),
            ("BYTES", "[1]", "[7]", "is not read"),
            ("INT64", "[1, 1, 1, 3]", "[0, 1, 2]", "is not read"),
            // [Triton 3563]
            ("UINT8", "[-1, 1, 1, 3]", "[0, 1, 2]", "cannot be read"),
            ("UINT8", &huge, "[0]", "its shape is"),
            ("UINT8", "[1, 1, 1, 3]", &deep, "recursion limit"),
        ] {
            let error = photos(datatype, shape, data).unwrap_err().to_string();
            assert!(error.contains(why), "{datatype} {shape}: {error}");
        }
        assert!(photos("UINT8", "[1, 1, 1, 3]", "[0, 1, 256]").unwrap()[0].source.is_err());
        assert!(Inference::read(br#"{"inputs": []}"#).unwrap().photos(&Limits::default()).is_err());
    }
}
