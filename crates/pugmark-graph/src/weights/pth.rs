//! `torch.save`'s archive: an uncompressed zip with a pickle that describes tensors (`data.pkl`) and an entry of plain
//! values for each storage (`data/0`, `data/1`, ...).

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use zip::ZipArchive;
use zip::result::ZipError;

use super::error::FileProblem;
use super::pickle::{Pickle, Storage, Value, View, printable};
use crate::{Tensor, Tensors};

/// Where training checkpoints keep the tensors.
const NESTS: [&str; 3] = ["state_dict", "model_state_dict", "model"];

/// Values that a file may expand to, for each of its bytes: tensors may share and repeat values, a bomb may not.
const EXPANSION: u64 = 4;

/// Reads the floating-point tensors of an archive of `length` bytes, one storage at a time.
pub(super) fn read(file: impl Read + Seek, length: u64) -> Result<Tensors, FileProblem> {
    let mut archive = Archive::open(file, length)?;
    let pickle = archive.entry("data.pkl")?;
    let pickle = Pickle::read(&pickle)?;
    let mut budget = length.saturating_mul(EXPANSION);
    let mut tensors = Tensors::new();
    for (Storage { key, element }, views) in by_storage(&pickle)? {
        let Some(element) = element else { continue };
        let storage = element.to_f32(&archive.entry(&format!("data/{key}"))?);
        for (name, view) in views {
            let count = size(view)
                .filter(|&count| count as u64 <= budget)
                .ok_or_else(|| damaged(name, "has more values than the file can hold"))?;
            budget -= count as u64;
            let values =
                gather(view, count, &storage).ok_or_else(|| damaged(name, "reaches beyond its storage"))?;
            tensors.insert(name.to_string(), Tensor { shape: view.shape.clone(), values });
        }
    }
    Ok(tensors)
}

fn damaged(name: &str, what: &str) -> FileProblem {
    FileProblem::Damaged(format!("tensor `{}` {what}", printable(name)))
}

type Named<'p, 'a> = Vec<(&'a str, &'p View<'a>)>;

/// The state dictionary's tensors, by the storage that holds them.
fn by_storage<'p, 'a>(pickle: &'p Pickle<'a>) -> Result<BTreeMap<Storage<'a>, Named<'p, 'a>>, FileProblem> {
    let Value::Dict(mut dict) = pickle.root else { return Err(FileProblem::NoTensors) };
    // A dictionary may hold itself: this many steps are more than any checkpoint nests.
    for _ in 0..4 {
        let nested = |nest| {
            pickle.dicts[dict].iter().rev().find_map(|entry| match *entry {
                (Value::Text(key), Value::Dict(inner)) if key == nest => Some(inner),
                _ => None,
            })
        };
        match NESTS.into_iter().find_map(nested) {
            Some(inner) => dict = inner,
            None => break,
        }
    }
    let mut named = BTreeMap::new();
    for entry in &pickle.dicts[dict] {
        if let (Value::Text(name), Value::Tensor(tensor)) = *entry {
            named.insert(name, &pickle.tensors[tensor]);
        }
    }
    let mut storages: BTreeMap<Storage<'_>, Named<'_, '_>> = BTreeMap::new();
    for (name, view) in named {
        storages.entry(view.storage).or_default().push((name, view));
    }
    Ok(storages)
}

fn size(view: &View<'_>) -> Option<usize> {
    view.shape.iter().try_fold(1_usize, |product, &length| product.checked_mul(length))
}

/// A view's `count` values in row-major order; None where it reaches beyond the storage.
fn gather(view: &View<'_>, count: usize, storage: &[f32]) -> Option<Vec<f32>> {
    if count == 0 {
        return Some(Vec::new());
    }
    let mut last = view.offset;
    let mut plain = 1;
    let mut contiguous = true;
    for (&length, &stride) in view.shape.iter().zip(&view.strides).rev() {
        last = last.checked_add((length - 1).checked_mul(stride)?)?;
        contiguous &= length == 1 || stride == plain;
        plain *= length;
    }
    if last >= storage.len() {
        return None;
    }
    if contiguous {
        return Some(storage[view.offset..=last].to_vec());
    }
    let mut values = Vec::with_capacity(count);
    let mut index = vec![0; view.shape.len()];
    let mut position = view.offset;
    for _ in 0..count {
        values.push(storage[position]);
        for ((index, &length), &stride) in index.iter_mut().zip(&view.shape).zip(&view.strides).rev() {
            *index += 1;
            // Wraps only in a dimension of length 1, whose stride may be anything, and comes back below.
            position = position.wrapping_add(stride);
            if *index < length {
                break;
            }
            position = position.wrapping_sub(stride.wrapping_mul(length));
            *index = 0;
        }
    }
    Some(values)
}

struct Archive<R> {
    zip: ZipArchive<R>,
    /// The folder that all entries are in, with its slash.
    root: String,
    length: u64,
}

impl<R: Read + Seek> Archive<R> {
    fn open(file: R, length: u64) -> Result<Self, FileProblem> {
        let mut zip = ZipArchive::new(file).map_err(broken)?;
        if zip.has_overlapping_files().map_err(broken)? {
            return Err(FileProblem::Damaged("entries of the archive overlap".into()));
        }
        let root = zip.file_names().find_map(|name| Some(name.ok()?.strip_suffix("data.pkl")?.to_string()));
        let root = root.ok_or(FileProblem::UnknownFormat)?;
        let mut archive = Self { zip, root, length };
        match archive.entry("byteorder") {
            Ok(order) if order != b"little" => {
                Err(FileProblem::Unsupported("a file in big-endian order".into()))
            }
            // PyTorch before 2.1 did not write it.
            _ => Ok(archive),
        }
    }

    /// The bytes of an entry; its CRC-32 is checked.
    fn entry(&mut self, name: &str) -> Result<Vec<u8>, FileProblem> {
        let broken = |error: ZipError| {
            FileProblem::Damaged(format!("the archive's entry `{}`: {error}", printable(name)))
        };
        let entry = self.zip.by_name(&format!("{}{name}", self.root)).map_err(broken)?;
        // Entries are not compressed, so none is larger than the file.
        let mut bytes = Vec::with_capacity(entry.size().min(self.length) as usize);
        let read = entry.take(self.length).read_to_end(&mut bytes);
        read.map_err(|error| broken(error.into()))?;
        Ok(bytes)
    }
}

fn broken(error: ZipError) -> FileProblem {
    FileProblem::Damaged(error.to_string())
}
