//! Reads what [`Model::encode`] writes, and no more of ONNX.

use std::borrow::Cow;

use super::wire::{Fields, Value, damaged};
use super::{Attribute, Dimension, Element, Initializer, Model, Node, OPSET, OnnxError, ValueInfo};

impl<'a> Model<'a> {
    /// Reads a file's bytes; constants stay where they are.
    ///
    /// # Errors
    /// [`OnnxError::Damaged`], also where the file has something that exports do not have.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, OnnxError> {
        let mut model = Self::default();
        let mut opset = None;
        let mut fields = Fields(bytes);
        while let Some((field, value)) = fields.next()? {
            match field {
                3 => model.producer_version = value.text()?,
                7 => model.decode_graph(value.fields()?)?,
                8 => opset = Some(pair(value)?.1.ok_or_else(|| damaged("no operator set"))?.int()?),
                14 => {
                    let (Some(key), Some(value)) = pair(value)? else {
                        return Err(damaged("metadata without key or value"));
                    };
                    model.metadata.insert(key.text()?, value.text()?);
                }
                _ => {}
            }
        }
        if opset != Some(OPSET) {
            return Err(damaged(&format!("its operator set is not {OPSET}")));
        }
        Ok(model)
    }

    fn decode_graph(&mut self, mut fields: Fields<'a>) -> Result<(), OnnxError> {
        while let Some((field, value)) = fields.next()? {
            match field {
                1 => self.nodes.push(node(value.fields()?)?),
                5 => self.initializers.push(initializer(value.fields()?)?),
                11 => self.inputs.push(value_info(value.fields()?)?),
                12 => self.outputs.push(value_info(value.fields()?)?),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Fields 1 and 2 of a message.
fn pair(value: Value<'_>) -> Result<(Option<Value<'_>>, Option<Value<'_>>), OnnxError> {
    let (mut first, mut second) = (None, None);
    let mut fields = value.fields()?;
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => first = Some(value),
            2 => second = Some(value),
            _ => {}
        }
    }
    Ok((first, second))
}

fn element(value: Value<'_>) -> Result<Element, OnnxError> {
    let number = value.int()?;
    Element::from_number(number).ok_or_else(|| damaged(&format!("data type {number}")))
}

fn length(value: i64) -> Result<usize, OnnxError> {
    usize::try_from(value).map_err(|_| damaged("a negative length"))
}

fn node(mut fields: Fields<'_>) -> Result<Node, OnnxError> {
    let mut node = Node {
        name: String::new(),
        op: String::new(),
        inputs: Vec::new(),
        output: String::new(),
        attributes: Vec::new(),
    };
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => node.inputs.push(value.text()?),
            2 if node.output.is_empty() => node.output = value.text()?,
            2 => return Err(damaged("a node with several outputs")),
            3 => node.name = value.text()?,
            4 => node.op = value.text()?,
            5 => node.attributes.push(attribute(value.fields()?)?),
            _ => {}
        }
    }
    Ok(node)
}

fn attribute(mut fields: Fields<'_>) -> Result<(String, Attribute), OnnxError> {
    let (mut name, mut found, mut ints, mut kind) = (String::new(), None, Vec::new(), 0);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.text()?,
            2 => found = Some(Attribute::Float(value.float()?)),
            3 => found = Some(Attribute::Int(value.int()?)),
            4 => found = Some(Attribute::Text(value.text()?)),
            8 => value.extend(&mut ints)?,
            20 => kind = value.int()?,
            _ => {}
        }
    }
    let found = match (kind, found) {
        (7, None) => Attribute::Ints(ints),
        (1, Some(value @ Attribute::Float(_)))
        | (2, Some(value @ Attribute::Int(_)))
        | (3, Some(value @ Attribute::Text(_))) => value,
        _ => return Err(damaged(&format!("attribute `{name}` is of a kind that is not read"))),
    };
    Ok((name, found))
}

fn initializer(mut fields: Fields<'_>) -> Result<Initializer<'_>, OnnxError> {
    let (mut name, mut lengths, mut kind, mut bytes) = (String::new(), Vec::new(), None, [].as_slice());
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => value.extend(&mut lengths)?,
            2 => kind = Some(element(value)?),
            8 => name = value.text()?,
            9 => bytes = value.bytes()?,
            _ => {}
        }
    }
    let element = kind.ok_or_else(|| damaged("a tensor without a type"))?;
    let shape = lengths.into_iter().map(length).collect::<Result<Vec<_>, _>>()?;
    let count = shape.iter().try_fold(element.size(), |count, &length| count.checked_mul(length));
    if count != Some(bytes.len()) {
        return Err(damaged(&format!("tensor `{name}` {shape:?} of {} bytes", bytes.len())));
    }
    Ok(Initializer { name, shape, element, bytes: Cow::Borrowed(bytes) })
}

fn value_info(mut fields: Fields<'_>) -> Result<ValueInfo, OnnxError> {
    let (mut name, mut found) = (String::new(), None);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.text()?,
            2 => found = pair(value)?.0,
            _ => {}
        }
    }
    let whole = || damaged("an input or output without type or shape");
    let (Some(kind), Some(dimensions)) = pair(found.ok_or_else(whole)?)? else { return Err(whole()) };
    let (mut shape, mut fields) = (Vec::new(), dimensions.fields()?);
    while let Some((_, dimension)) = fields.next()? {
        shape.push(match pair(dimension)? {
            (Some(fixed), _) => Dimension::Fixed(length(fixed.int()?)?),
            (None, Some(name)) => Dimension::Named(name.text()?),
            (None, None) => return Err(whole()),
        });
    }
    Ok(ValueInfo { name, element: element(kind)?, shape })
}
