//! Photos as base64 in JSON: a text, an object, or a list of them. Read straight into photos, so that no body of brackets
//! grows in memory.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::{Asked, MOST, Named};
use crate::error::RequestError;
use crate::photo::Source;

/// With or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads one document.
pub(super) fn read(bytes: &[u8]) -> Result<Asked, RequestError> {
    let document: Document = serde_json::from_slice(bytes).map_err(|error| wrong(&error))?;
    Ok(document.0)
}

/// Reads a photo a line; a line that is none fails alone.
pub(super) fn read_lines(bytes: &[u8]) -> Result<Asked, RequestError> {
    let lines = bytes.split(|&byte| byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut photos = Vec::new();
    for line in lines {
        if photos.len() == MOST {
            return Err(RequestError::TooLarge(format!("the request has more than {MOST} photos")));
        }
        let item: Result<Item, _> = serde_json::from_slice(line);
        photos.push(item.map_or_else(|error| Named { id: None, source: Err(wrong(&error)) }, |item| item.0));
    }
    Ok(Asked { lines: true, ..Asked::list(photos) })
}

fn wrong(error: &serde_json::Error) -> RequestError {
    RequestError::Bad(format!("the JSON cannot be read: {error}"))
}

/// A photo from its base64; a `data:` URL's head is left out.
pub(crate) fn source(text: &str) -> Result<Source, RequestError> {
    let text = match text.strip_prefix("data:").and_then(|url| url.split_once(',')) {
        Some((_, data)) => data,
        None => text,
    };
    let bytes = BASE64
        .decode(text.trim_ascii())
        .map_err(|error| RequestError::Bad(format!("not base64: {error}")))?;
    Ok(Source::File(bytes.into()))
}

/// A text or an object.
struct Item(Named);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfItem)
    }
}

struct OfItem;

impl<'de> Visitor<'de> for OfItem {
    type Value = Item;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a photo in base64, or an object with it as `image`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Item, E> {
        Ok(Item(Named { id: None, source: source(text) }))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Item, A::Error> {
        let fields = Fields::read(&mut map)?;
        let Some(source) = fields.source else { return Err(A::Error::missing_field("image")) };
        Ok(Item(Named { id: fields.id, source }))
    }
}

/// An item, or a list of them, bare or as `images`.
struct Document(Asked);

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OfDocument)
    }
}

struct OfDocument;

impl<'de> Visitor<'de> for OfDocument {
    type Value = Document;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a photo in base64, an object with it as `image`, or a list of these, bare or as `images`",
        )
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Document, E> {
        let photos = vec![Named { id: None, source: source(text) }];
        Ok(Document(Asked { list: false, ..Asked::list(photos) }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Document, A::Error> {
        Ok(Document(Asked::list(OfList.visit_seq(list)?.0)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
        let Fields { id, source, list, top } = Fields::read(&mut map)?;
        let asked = match (source, list) {
            (Some(source), None) => Asked { list: false, ..Asked::list(vec![Named { id, source }]) },
            (None, Some(list)) => Asked::list(list.0),
            _ => return Err(A::Error::custom("either `image` or `images` is needed")),
        };
        Ok(Document(Asked { top, ..asked }))
    }
}

/// A list of items.
struct List(Vec<Named>);

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(OfList)
    }
}

struct OfList;

impl<'de> Visitor<'de> for OfList {
    type Value = List;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of photos")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List, A::Error> {
        let mut items = Vec::new();
        while let Some(Item(item)) = list.next_element()? {
            if items.len() == MOST {
                return Err(A::Error::custom(format!("more than {MOST} photos")));
            }
            items.push(item);
        }
        Ok(List(items))
    }
}

/// What objects hold; the rest is passed over.
#[derive(Default)]
struct Fields {
    id: Option<String>,
    source: Option<Result<Source, RequestError>>,
    list: Option<List>,
    top: Option<usize>,
}

impl Fields {
    fn read<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Self, A::Error> {
        let mut fields = Self::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "image" | "b64" | "data" => fields.source = Some(map.next_value::<Item>()?.0.source),
                "images" | "instances" => fields.list = Some(map.next_value()?),
                "id" => fields.id = Some(map.next_value()?),
                "top" => fields.top = Some(map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A photo's bytes, or why it is none.
    fn bytes(named: &Named) -> Result<Vec<u8>, String> {
        match &named.source {
            Ok(Source::File(bytes)) => Ok(bytes.to_vec()),
            Ok(Source::Pixels(_)) => panic!("no pixels"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn every_form() {
        let one = Ok(b"one".to_vec());
        let cases: [(&str, bool, usize); 9] = [
            (r#""b25l""#, false, 1),
            (r#"{"image": "b25l"}"#, false, 1),
            (r#"{"b64": "data:image/png;base64,b25l", "more": [[{}]]}"#, false, 1),
            (r#"{"image": {"b64": "b25l"}}"#, false, 1),
            (r#"["b25l", {"image": "b25l"}]"#, true, 2),
            (r#"{"images": ["b25l"], "top": 3}"#, true, 1),
            (r#"{"instances": [{"b64": "b25l"}]}"#, true, 1),
            (" \n [ ] ", true, 0),
            ("\"b25l\\n\"", false, 1),
        ];
        for (text, list, photos) in cases {
            let asked = read(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((asked.list, asked.photos.len()), (list, photos), "{text}");
            assert!(asked.photos.iter().all(|photo| bytes(photo) == one), "{text}");
        }
        let named = read(br#"[{"id": "a/b.jpg", "image": "b25l"}, "?"]"#).unwrap();
        assert_eq!((named.photos[0].id.as_deref(), bytes(&named.photos[0])), (Some("a/b.jpg"), one));
        assert!(bytes(&named.photos[1]).unwrap_err().contains("not base64"));
        assert_eq!(read(br#"{"images": ["b25l"], "top": 3}"#).unwrap().top, Some(3));
    }

    #[test]
    fn lines_fail_alone() {
        let asked = read_lines(b"\"b25l\"\r\n\n{\"id\": \"x\"}\n{\"image\": \"b25l\"}").unwrap();
        assert!(asked.lines && asked.list);
        let [first, second, third] = &asked.photos[..] else { panic!("{asked:?}") };
        assert_eq!([bytes(first), bytes(third)], [Ok(b"one".to_vec()), Ok(b"one".to_vec())]);
        assert!(bytes(second).unwrap_err().contains("missing field `image`"));
    }

    #[test]
    fn hostile_documents() {
        let deep = "[".repeat(100_000);
        let deep_value = format!("{{\"x\": {}", "{\"a\":".repeat(100_000));
        let deep_image = "{\"image\":".repeat(100_000);
        let many = format!("[{}\"\"]", "\"\",".repeat(MOST));
        for (text, why) in [
            ("{}", "either `image` or `images`"),
            (r#"{"image": "", "images": []}"#, "either"),
            ("7", "expected a photo"),
            ("[7]", "expected a photo"),
            ("{\"image\": [", "expected a photo"),
            ("\"abc", "EOF"),
            ("\"b25l\" x", "trailing"),
            (&deep, "expected a photo"),
            (&deep_value, "EOF"),
            (&deep_image, "recursion limit"),
            (&many, "more than 10000 photos"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(why), "{}: {error}", &text[..text.len().min(40)]);
        }
        assert!(read(&[b'"', 0xFF, b'"']).is_err());
    }
}
