use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::Architecture;

/// Why weights can't be used. [`WeightsError::hint`] says what to do.
#[derive(Debug, Error)]
pub enum WeightsError {
    /// The file can't be read.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// Names or shapes differ from the model's.
    #[error("{0}")]
    Mismatch(Box<Mismatch>),
}

/// What is wrong with a weight file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// The system refuses to read it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Neither of the two formats.
    #[error("neither a PyTorch .pth file nor a safetensors file")]
    UnknownFormat,
    /// HTML in place of a download.
    #[error("not a weight file but a web page")]
    WebPage,
    /// A git repository's placeholder.
    #[error("not a weight file but git-lfs's pointer to one")]
    LfsPointer,
    /// `torch.save` before PyTorch 1.6, or told to write as then.
    #[error("written in PyTorch's format of before version 1.6, which is not read")]
    Legacy,
    /// A pickled object that is neither tensor nor dictionary.
    #[error("refuses `{0}`: a weight file may only hold tensors and dictionaries")]
    Refused(String),
    /// Sound, but of a kind that is not read.
    #[error("{0} can't be read")]
    Unsupported(String),
    /// Contradicts itself or ends early.
    #[error("the file is damaged: {0}")]
    Damaged(String),
    /// Nothing to load.
    #[error("holds no floating-point tensor")]
    NoTensors,
}

impl FileProblem {
    pub(super) fn at(self, path: &Path) -> WeightsError {
        WeightsError::File { path: path.into(), problem: self }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Io(_) => None,
            Self::UnknownFormat => {
                Some("weights are read from .pth files of `torch.save` and from .safetensors files")
            }
            Self::WebPage | Self::Damaged(_) => Some("download or copy the file again"),
            Self::LfsPointer => Some("fetch the file itself: run `git lfs pull` in its repository"),
            Self::Legacy => Some(
                "convert it in Python: `torch.save(torch.load('old.pth', map_location='cpu'), 'new.pth')`",
            ),
            Self::Refused(_) | Self::Unsupported(_) | Self::NoTensors => {
                Some("save the tensors alone in Python: `torch.save(model.float().state_dict(), 'new.pth')`")
            }
        }
    }
}

/// How a file's tensors differ from a model's parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Names and shapes the model has and the file has not.
    pub missing: Vec<(String, Vec<usize>)>,
    /// Names and shapes the file has and the model has not.
    pub unexpected: Vec<(String, Vec<usize>)>,
    /// Names that both have, with different shapes.
    pub wrong_shape: Vec<WrongShape>,
    /// The architecture whose names and shapes, head aside, the file has.
    pub fits: Option<Architecture>,
}

/// A tensor whose shape differs from the model's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongShape {
    /// Its name.
    pub name: String,
    /// Shape in the file.
    pub file: Vec<usize>,
    /// Shape in the model.
    pub model: Vec<usize>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |(name, shape): &(String, Vec<usize>)| format!("{name} {shape:?}");
        write!(f, "the weights do not fit the model")?;
        list(f, "missing from the file", &self.missing, named)?;
        list(f, "unknown to the model", &self.unexpected, named)?;
        list(f, "of another shape", &self.wrong_shape, |w| {
            format!("{} {:?} in the file, {:?} in the model", w.name, w.file, w.model)
        })
    }
}

/// `; 3 missing from the file: a [1], b [2], c [3]`, at most five by name.
fn list<T>(f: &mut fmt::Formatter<'_>, what: &str, items: &[T], text: impl Fn(&T) -> String) -> fmt::Result {
    const NAMED: usize = 5;
    if items.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = items.iter().take(NAMED).map(text).collect();
    write!(f, "; {} {what}: {}", items.len(), named.join(", "))?;
    if items.len() > NAMED { write!(f, ", ...") } else { Ok(()) }
}

impl WeightsError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::File { problem, .. } => problem.hint().map(Into::into),
            Self::Mismatch(mismatch) => mismatch.fits.map(|architecture| {
                format!("these look like {architecture} weights: use `--model {architecture}`")
            }),
        }
    }
}
