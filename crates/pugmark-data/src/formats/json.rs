//! Reading and writing JSON without holding it as a tree.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::FormatError;
use super::file::{Watch, write_file};
use crate::error::DataError;

/// A file without its byte-order mark, which some Windows tools write.
fn open(path: &Path) -> Result<BufReader<File>, DataError> {
    let failed = |source| DataError::Io { path: path.to_owned(), source };
    let mut reader = BufReader::with_capacity(1 << 18, File::open(path).map_err(failed)?);
    if reader.fill_buf().map_err(failed)?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    Ok(reader)
}

fn json_error(path: &Path, error: serde_json::Error) -> DataError {
    if error.is_io() {
        return DataError::Io { path: path.to_owned(), source: error.into() };
    }
    FormatError::Json { file: path.to_owned(), problem: error.to_string() }.into()
}

/// Reads a whole file into a struct.
pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, DataError> {
    serde_json::from_reader(open(path)?).map_err(|error| json_error(path, error))
}

/// Writes a value with one field a line, as people read it.
pub(super) fn write(path: &Path, watch: &Watch<'_, '_>, value: &impl Serialize) -> Result<(), DataError> {
    write_file(path, watch, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        file.write_all(b"\n")
    })
}

/// A list whose elements are made while it is written.
pub(super) struct Lazy<F>(pub(super) F);

impl<F, I> Serialize for Lazy<F>
where
    F: Fn() -> I,
    I: IntoIterator<Item: Serialize>,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// The keys at the top of a JSON object, as far as `enough` wants to see them.
pub(super) fn keys(path: &Path, enough: impl Fn(&str) -> bool) -> Result<Vec<String>, DataError> {
    struct Keys<'a, F>(&'a mut Vec<String>, &'a mut bool, F);
    impl<'de, F: Fn(&str) -> bool> DeserializeSeed<'de> for Keys<'_, F> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_map(self)
        }
    }
    impl<'de, F: Fn(&str) -> bool> Visitor<'de> for Keys<'_, F> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                let last = (self.2)(&key);
                self.0.push(key);
                if last {
                    *self.1 = true;
                    // Not an error: the only way to leave the rest of a long file unread.
                    return Err(A::Error::custom("enough"));
                }
                map.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let (mut found, mut done) = (Vec::new(), false);
    let mut json = serde_json::Deserializer::from_reader(open(path)?);
    match Keys(&mut found, &mut done, enough).deserialize(&mut json) {
        Err(error) if !done => Err(json_error(path, error)),
        _ => Ok(found),
    }
}

/// Something at the top of a JSON object: one of the elements of a list, or what is no list.
pub(super) enum Item {
    Element(usize, Value),
    Whole(Value),
    /// The list ended, after so many elements.
    End(usize),
}

/// Hands out what is at the top of a JSON object piece by piece, in the file's order: lists by element, so that a long
/// file is never held whole.
pub(super) fn walk(path: &Path, take: &mut dyn FnMut(&str, Item)) -> Result<(), DataError> {
    struct Top<'a>(&'a mut dyn FnMut(&str, Item));
    impl<'de> Visitor<'de> for Top<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a JSON object")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                map.next_value_seed(Elements { key: &key, take: &mut *self.0 })?;
            }
            Ok(())
        }
    }
    struct Elements<'a> {
        key: &'a str,
        take: &'a mut dyn FnMut(&str, Item),
    }
    impl Elements<'_> {
        fn whole<E>(self, value: impl Into<Value>) -> Result<(), E> {
            (self.take)(self.key, Item::Whole(value.into()));
            Ok(())
        }
    }
    impl<'de> DeserializeSeed<'de> for Elements<'_> {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
            deserializer.deserialize_any(self)
        }
    }
    impl<'de> Visitor<'de> for Elements<'_> {
        type Value = ();
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
            let mut index = 0;
            while let Some(value) = list.next_element::<Value>()? {
                (self.take)(self.key, Item::Element(index, value));
                index += 1;
            }
            (self.take)(self.key, Item::End(index));
            Ok(())
        }
        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
            let object = serde::de::value::MapAccessDeserializer::new(map);
            self.whole(Value::deserialize(object)?)
        }
        fn visit_bool<E>(self, value: bool) -> Result<(), E> {
            self.whole(value)
        }
        fn visit_i64<E>(self, value: i64) -> Result<(), E> {
            self.whole(value)
        }
        fn visit_u64<E>(self, value: u64) -> Result<(), E> {
            self.whole(value)
        }
        fn visit_f64<E>(self, value: f64) -> Result<(), E> {
            self.whole(value)
        }
        fn visit_str<E>(self, value: &str) -> Result<(), E> {
            self.whole(value)
        }
        fn visit_unit<E>(self) -> Result<(), E> {
            self.whole(())
        }
    }
    let mut json = serde_json::Deserializer::from_reader(open(path)?);
    json.deserialize_map(Top(take)).and_then(|()| json.end()).map_err(|error| json_error(path, error))
}

/// A text that older files write as a number.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(super) struct Loose(pub(super) String);

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Loose;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_str<E>(self, value: &str) -> Result<Loose, E> {
                Ok(Loose(value.to_owned()))
            }
            fn visit_string<E>(self, value: String) -> Result<Loose, E> {
                Ok(Loose(value))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Loose, E> {
                Ok(Loose(value.to_string()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Loose, E> {
                Ok(Loose(value.to_string()))
            }
            fn visit_f64<E>(self, value: f64) -> Result<Loose, E> {
                Ok(Loose(value.to_string()))
            }
        }
        deserializer.deserialize_any(Text)
    }
}
