//! Writes what `torch.load(weights_only=True)` reads: the archive that [`super::pth`] describes.

use std::io::{self, Seek, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::Buffer;
use crate::{Graph, Tensors};

/// PyTorch begins each entry at such a multiple, so that values can be mapped into memory.
const ALIGNMENT: u16 = 64;

/// Writes the graph's tensors and integer buffers as the state dictionary of torchvision's model. Equal tensors give equal
/// bytes.
///
/// # Errors
/// Those of the writer; `InvalidInput` where a tensor is missing.
pub fn write_pth(writer: impl Write + Seek, graph: &Graph, tensors: &Tensors) -> io::Result<()> {
    let buffers = graph.buffers();
    let mut entries = Vec::new();
    for param in graph.params() {
        let tensor = tensors.get(&param.name).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("there is no tensor `{}`", param.name))
        })?;
        entries.push(Entry {
            name: &param.name,
            shape: &tensor.shape,
            values: Values::Floats(&tensor.values),
        });
    }
    for Buffer { name, shape, values } in &buffers {
        entries.push(Entry { name, shape, values: Values::Integers(values) });
    }
    let mut zip = ZipWriter::new(writer);
    let options =
        SimpleFileOptions::default().compression_method(CompressionMethod::Stored).with_alignment(ALIGNMENT);
    let mut add = |name: &str, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), options).map_err(io::Error::other)?;
        zip.write_all(bytes)
    };
    add("data.pkl", &pickle(&entries))?;
    add("byteorder", b"little")?;
    for (key, entry) in entries.iter().enumerate() {
        add(&format!("data/{key}"), &entry.values.bytes())?;
    }
    add("version", b"3\n")?;
    zip.finish().map_err(io::Error::other)?.flush()
}

struct Entry<'a> {
    name: &'a str,
    shape: &'a [usize],
    values: Values<'a>,
}

enum Values<'a> {
    Floats(&'a [f32]),
    Integers(&'a [i64]),
}

impl Values<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Floats(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::Integers(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Floats(values) => values.len(),
            Self::Integers(values) => values.len(),
        }
    }

    fn storage(&self) -> &'static [u8] {
        match self {
            Self::Floats(_) => b"ctorch\nFloatStorage\n",
            Self::Integers(_) => b"ctorch\nLongStorage\n",
        }
    }
}

/// `OrderedDict` of `torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`, each tensor with a
/// storage of its own, in protocol 2.
fn pickle(entries: &[Entry<'_>]) -> Vec<u8> {
    const ORDERED_DICT: &[u8] = b"ccollections\nOrderedDict\n)R";
    let mut out = b"\x80\x02".to_vec();
    out.extend(ORDERED_DICT);
    out.push(b'(');
    for (key, Entry { name, shape, values }) in entries.iter().enumerate() {
        text(&mut out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(&mut out, "storage");
        out.extend(values.storage());
        text(&mut out, &key.to_string());
        text(&mut out, "cpu");
        int(&mut out, values.len());
        out.extend(b"tQ");
        int(&mut out, 0);
        let mut strides: Vec<usize> = shape.to_vec();
        let mut step = 1;
        strides.iter_mut().rev().for_each(|length| step *= std::mem::replace(length, step));
        for numbers in [shape, strides.as_slice()] {
            out.push(b'(');
            numbers.iter().for_each(|&number| int(&mut out, number));
            out.push(b't');
        }
        out.push(b'\x89');
        out.extend(ORDERED_DICT);
        out.extend(b"tR");
    }
    out.extend(b"u.");
    out
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A signed integer of eight bytes, which holds any length.
fn int(out: &mut Vec<u8>, value: usize) {
    out.extend(b"\x8a\x08");
    out.extend((value as i64).to_le_bytes());
}
