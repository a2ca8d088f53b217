//! Weight files: PyTorch's `.pth` and safetensors.

mod buffers;
mod element;
mod error;
mod fit;
mod pickle;
mod pth;
mod safetensors;
mod write_pth;

use std::fs::File;
use std::io::{BufReader, Cursor, Read, Seek};
use std::path::Path;

pub use buffers::Buffer;
pub(crate) use buffers::relative_position_index;
pub use error::{FileProblem, Mismatch, WeightsError, WrongShape};
pub use fit::{FitReport, HeadFit, HeadPolicy, fit};
pub use safetensors::{read_metadata, write_safetensors, write_safetensors_with};
pub use write_pth::write_pth;

use crate::Tensors;

/// Reads the floating-point tensors of a file written by `torch.save` (version 1.6 or later) or of a safetensors file as
/// f32; its content decides which it is.
///
/// Integer tensors, such as batch norm's `num_batches_tracked`, are left out. In a training checkpoint the dictionary
/// under `state_dict`, `model_state_dict` or `model` counts. A prefix that all names share (`module.`, `backbone.`,
/// `model.`, `_orig_mod.`) is taken off. Nothing in the file is executed: pickled objects other than tensors and
/// dictionaries are refused, and a damaged file is an error.
///
/// # Errors
/// [`WeightsError::File`].
pub fn read_weights(path: &Path) -> Result<Tensors, WeightsError> {
    open(path).and_then(|(file, length)| read(file, length)).map_err(|problem| problem.at(path))
}

/// [`read_weights`] of a file that is in memory.
///
/// # Errors
/// [`FileProblem`].
pub fn read_weights_from(bytes: &[u8]) -> Result<Tensors, FileProblem> {
    read(Cursor::new(bytes), bytes.len() as u64)
}

fn open(path: &Path) -> Result<(BufReader<File>, u64), FileProblem> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    Ok((BufReader::new(file), length))
}

fn read(mut file: impl Read + Seek, length: u64) -> Result<Tensors, FileProblem> {
    let tensors = match Format::of(&mut file)? {
        Format::Pth => pth::read(file, length),
        Format::Safetensors => safetensors::read(file, length),
    }?;
    if tensors.is_empty() {
        return Err(FileProblem::NoTensors);
    }
    Ok(without_prefix(tensors))
}

enum Format {
    Pth,
    Safetensors,
}

/// How `torch.save` began before version 1.6: pickle protocol 2 and a magic number.
const LEGACY: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

impl Format {
    /// Recognises a file by its first bytes, and leaves it at its start.
    fn of(file: &mut (impl Read + Seek)) -> Result<Self, FileProblem> {
        let mut start = Vec::new();
        file.by_ref().take(64).read_to_end(&mut start)?;
        file.rewind()?;
        match &start[..] {
            s if s.starts_with(b"PK\x03\x04") => Ok(Self::Pth),
            [_, _, _, _, _, _, _, _, b'{', ..] => Ok(Self::Safetensors),
            s if s.starts_with(LEGACY) => Err(FileProblem::Legacy),
            s if s.starts_with(b"version https://git-lfs") => Err(FileProblem::LfsPointer),
            s if s.trim_ascii_start().starts_with(b"<") => Err(FileProblem::WebPage),
            _ => Err(FileProblem::UnknownFormat),
        }
    }
}

/// Wrappers that put their own name before every tensor's.
const PREFIXES: [&str; 4] = ["module.", "backbone.", "model.", "_orig_mod."];

fn without_prefix(mut tensors: Tensors) -> Tensors {
    let shared = |tensors: &Tensors| {
        PREFIXES.into_iter().find(|&prefix| {
            tensors.keys().all(|name| name.strip_prefix(prefix).is_some_and(|rest| !rest.is_empty()))
        })
    };
    while let Some(prefix) = shared(&tensors) {
        tensors =
            tensors.into_iter().map(|(name, tensor)| (name[prefix.len()..].to_string(), tensor)).collect();
    }
    tensors
}

#[cfg(test)]
mod tests;
