//! Protocol buffers on the wire (<https://protobuf.dev/programming-guides/encoding/>), as far as ONNX needs them.

use super::OnnxError;

/// A message that is being written, field by field.
#[derive(Default)]
pub(super) struct Message(Vec<u8>);

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

impl Message {
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire: u64) {
        self.varint(field << 3 | wire);
    }

    pub(super) fn int(&mut self, field: u64, value: i64) {
        self.key(field, VARINT);
        self.varint(value as u64);
    }

    pub(super) fn float(&mut self, field: u64, value: f32) {
        self.key(field, FIXED32);
        self.0.extend(value.to_le_bytes());
    }

    pub(super) fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, LENGTH_DELIMITED);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
    }

    pub(super) fn text(&mut self, field: u64, value: &str) {
        self.bytes(field, value.as_bytes());
    }

    pub(super) fn message(&mut self, field: u64, value: Message) {
        self.bytes(field, &value.0);
    }
}

/// The value of a field.
#[derive(Clone, Copy)]
pub(super) enum Value<'a> {
    Int(u64),
    Float(f32),
    Bytes(&'a [u8]),
    /// A double or fixed integer, which ONNX models of ours do not have.
    Other,
}

impl<'a> Value<'a> {
    pub(super) fn int(self) -> Result<i64, OnnxError> {
        if let Self::Int(value) = self { Ok(value as i64) } else { Err(damaged("a field is no integer")) }
    }

    pub(super) fn float(self) -> Result<f32, OnnxError> {
        if let Self::Float(value) = self { Ok(value) } else { Err(damaged("a field is no float")) }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], OnnxError> {
        if let Self::Bytes(value) = self { Ok(value) } else { Err(damaged("a field has no bytes")) }
    }

    pub(super) fn text(self) -> Result<String, OnnxError> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| damaged("text that is not UTF-8"))
    }

    pub(super) fn fields(self) -> Result<Fields<'a>, OnnxError> {
        Ok(Fields(self.bytes()?))
    }

    /// Adds the integers of a repeated field: one, or several packed into bytes.
    pub(super) fn extend(self, into: &mut Vec<i64>) -> Result<(), OnnxError> {
        match self {
            Self::Bytes(bytes) => {
                let mut rest = Fields(bytes);
                while !rest.0.is_empty() {
                    into.push(rest.varint()? as i64);
                }
                Ok(())
            }
            value => value.int().map(|value| into.push(value)),
        }
    }
}

pub(super) fn damaged(what: &str) -> OnnxError {
    OnnxError::Damaged(what.into())
}

/// The fields of a message with their numbers, in the order of the file.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field; none at the end.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, OnnxError> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            VARINT => Value::Int(self.varint()?),
            FIXED64 => {
                self.take(8)?;
                Value::Other
            }
            LENGTH_DELIMITED => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Value::Bytes(self.take(length)?)
            }
            FIXED32 => {
                let (bytes, _) = self.take(4)?.as_chunks();
                Value::Float(f32::from_le_bytes(bytes[0]))
            }
            wire => return Err(damaged(&format!("a field of wire type {wire}"))),
        };
        Ok(Some((key >> 3, value)))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], OnnxError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| damaged("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, OnnxError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(damaged("an integer of more than 64 bits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of the encoding's documentation: 150 in field 1 is `08 96 01`, "testing" in field 2 is `12 07 ...`.
    #[test]
    fn bytes_are_those_of_the_documentation() {
        let mut message = Message::default();
        message.int(1, 150);
        message.text(2, "testing");
        message.int(3, -2);
        message.float(4, 1.0);
        let expected = [
            b"\x08\x96\x01\x12\x07testing".as_slice(),
            b"\x18\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\x25\x00\x00\x80\x3f",
        ];
        let bytes = message.into_bytes();
        assert_eq!(bytes, expected.concat());

        let mut fields = Fields(&bytes);
        let mut next = || fields.next().unwrap();
        assert!(matches!(next(), Some((1, Value::Int(150)))));
        assert!(matches!(next(), Some((2, Value::Bytes(b"testing")))));
        let Some((3, value)) = next() else { panic!("field 3") };
        assert_eq!(value.int().unwrap(), -2);
        assert!(matches!(next(), Some((4, Value::Float(1.0)))));
        assert!(next().is_none());
    }
}
