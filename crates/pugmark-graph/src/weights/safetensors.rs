//! <https://huggingface.co/docs/safetensors>: the header's length as a little-endian u64, a JSON header, the values.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Serialize;

use super::element::Element;
use super::error::{FileProblem, WeightsError};
use super::{Buffer, Format, open};
use crate::{Tensor, Tensors};

/// The format's own limit on the header.
const MAX_HEADER: u64 = 100_000_000;

/// Reads the text entries (`__metadata__`) of a safetensors file, and no tensor; a `.pth` file has none.
///
/// # Errors
/// [`WeightsError::File`].
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    let entries = |(mut file, length)| {
        Ok(match Format::of(&mut file)? {
            Format::Pth => BTreeMap::new(),
            Format::Safetensors => {
                read_header(&mut file, length)?.metadata().clone().unwrap_or_default().into_iter().collect()
            }
        })
    };
    open(path).and_then(entries).map_err(|problem: FileProblem| problem.at(path))
}

/// Reads the floating-point tensors, one at a time.
pub(super) fn read(mut file: impl Read, length: u64) -> Result<Tensors, FileProblem> {
    let header = read_header(&mut file, length)?;
    let mut tensors = Tensors::new();
    let mut bytes = Vec::new();
    for name in header.offset_keys() {
        let Some(info) = header.info(&name) else { continue };
        bytes.resize(info.data_offsets.1 - info.data_offsets.0, 0);
        file.read_exact(&mut bytes)?;
        if let Some(element) = element(info.dtype)? {
            let tensor = Tensor { shape: info.shape.clone(), values: element.to_f32(&bytes) };
            tensors.insert(name, tensor);
        }
    }
    Ok(tensors)
}

/// None for integers.
fn element(dtype: Dtype) -> Result<Option<Element>, FileProblem> {
    Ok(match dtype {
        Dtype::F64 => Some(Element::F64),
        Dtype::F32 => Some(Element::F32),
        Dtype::F16 => Some(Element::F16),
        Dtype::BF16 => Some(Element::Bf16),
        Dtype::BOOL | Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => None,
        Dtype::U8 | Dtype::U16 | Dtype::U32 | Dtype::U64 => None,
        other => return Err(FileProblem::Unsupported(format!("a tensor of type {other:?}"))),
    })
}

/// Reads and checks the header: tensors lie one after the other and fill the file.
fn read_header(file: &mut impl Read, length: u64) -> Result<Metadata, FileProblem> {
    let damaged = |what: String| FileProblem::Damaged(what);
    let mut size = [0; 8];
    file.read_exact(&mut size)?;
    let size = u64::from_le_bytes(size);
    let room = length.saturating_sub(8);
    if size > room.min(MAX_HEADER) {
        return Err(damaged(format!("its header should have {size} bytes and the file has {length}")));
    }
    let mut json = Vec::new();
    file.take(size).read_to_end(&mut json)?;
    let header: Metadata = serde_json::from_slice(&json)
        .map_err(|error| damaged(format!("its header is not sound ({error})")))?;
    let (told, there) = (header.data_len() as u64, room - size);
    if told != there {
        return Err(damaged(format!("it should have {told} bytes of values and has {there}")));
    }
    Ok(header)
}

#[derive(Serialize)]
struct Entry<'a> {
    dtype: &'static str,
    shape: &'a [usize],
    data_offsets: [usize; 2],
}

#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__", skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
    #[serde(flatten)]
    tensors: BTreeMap<&'a str, Entry<'a>>,
}

/// Writes `tensors` as f32 with `metadata` as its text entries. Equal contents give equal bytes: both are sorted by name
/// (the `safetensors` crate writes metadata in random order).
///
/// # Errors
/// Those of the writer; `InvalidInput` for a tensor whose values do not fill its shape or that is called `__metadata__`.
pub fn write_safetensors(
    writer: impl Write,
    tensors: &Tensors,
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    write_safetensors_with(writer, tensors, &[], metadata)
}

/// [`write_safetensors`] with integers beside the tensors.
///
/// # Errors
/// As [`write_safetensors`].
pub fn write_safetensors_with(
    mut writer: impl Write,
    tensors: &Tensors,
    buffers: &[Buffer],
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    // Integers first, so that they lie at multiples of their size.
    let integers = buffers.iter().map(|Buffer { name, shape, values }| (name, "I64", shape, values.len(), 8));
    let floats = tensors.iter().map(|(name, Tensor { shape, values })| (name, "F32", shape, values.len(), 4));
    let mut entries = BTreeMap::new();
    let mut end = 0;
    for (name, dtype, shape, values, size) in integers.chain(floats) {
        if name == "__metadata__" || shape.iter().product::<usize>() != values {
            let why = format!("tensor `{name}` {shape:?} with {values} values");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let start = end;
        end += values * size;
        entries.insert(name.as_str(), Entry { dtype, shape, data_offsets: [start, end] });
    }
    let mut json = serde_json::to_vec(&Header { metadata, tensors: entries })?;
    // The format asks for spaces up to a multiple of 8, so that values can be mapped into memory.
    json.resize(json.len().next_multiple_of(8), b' ');
    writer.write_all(&(json.len() as u64).to_le_bytes())?;
    writer.write_all(&json)?;
    let mut bytes = Vec::new();
    for values in buffers.iter().map(|buffer| &buffer.values) {
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    }
    writer.write_all(&bytes)?;
    for values in tensors.values().flat_map(|tensor| tensor.values.chunks(1 << 14)) {
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        writer.write_all(&bytes)?;
    }
    writer.flush()
}
