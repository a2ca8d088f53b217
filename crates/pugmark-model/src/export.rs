//! A model as a file for other tools, held against our own answers before anyone gets it.

mod check;

use std::collections::BTreeMap;
use std::io::{self, Cursor};

use pugmark_data::{Colour, Recipe, Resize};
use pugmark_engine::{Engine, EngineError};
use pugmark_graph::onnx::{self, Export, Framing, OnnxError, Preprocessing};
use pugmark_graph::{FileProblem, write_pth, write_safetensors_with};
use thiserror::Error;

use crate::model_file::CARD;
use crate::{Model, ModelError};

/// What to export to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// A network that ONNX runtimes run.
    Onnx {
        /// Whether it takes photos of any size as they are, or pictures that the recipe has made.
        with_preprocessing: bool,
    },
    /// Tensors with torchvision's names, and classes and recipe as text.
    Safetensors,
    /// The state dictionary of torchvision's model.
    Pth,
}

impl ExportFormat {
    /// How much an export's logits may differ from ours, as a share of the largest; 0 where the tensors must be the same bits.
    ///
    /// What runs the file adds the same numbers in another order, which moves logits by 1e-7 to 2e-5 (decision 0010); a wrong
    /// operator moves them by whole percents.
    pub fn tolerance(self) -> f64 {
        if let Self::Onnx { .. } = self { 1e-3 } else { 0.0 }
    }
}

/// The share of a picture's bytes that preprocessing in a file may round otherwise: sums near a half, which Pillow computes in
/// fixed point, can go to either side. That is less than one in a hundred, but one in ten where the sizes have a simple ratio
/// such as 2 to 3. A pixel too far to one side changes most bytes, by many levels.
const DIFFERENT_BYTES: f64 = 0.2;

/// By how many levels they may differ: one in each direction of the resizing.
const DIFFERENT_LEVELS: u8 = 2;

/// Why a model can't be exported. [`ExportError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The file answers otherwise than the model.
    #[error(
        "the exported logits differ from the model's by {difference:.1e} of the largest; at most {tolerance:.0e} is allowed"
    )]
    Differs {
        /// Largest difference found.
        difference: f64,
        /// What is allowed.
        tolerance: f64,
    },
    /// The file makes other pictures of photos than the recipe.
    #[error(
        "of the bytes of the pictures that the file makes, {:.1} % are not the recipe's, and one is {levels} levels off; at most {:.0} % may be, by {DIFFERENT_LEVELS}",
        100.0 * share, 100.0 * DIFFERENT_BYTES
    )]
    OtherPictures {
        /// Share of the bytes that are different.
        share: f64,
        /// Largest difference, of 255.
        levels: u8,
    },
    /// A tensor of the file is not the model's.
    #[error("tensor `{0}` of the export is not the model's")]
    OtherTensor(String),
    /// The graph can't be written, or the file not run.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The file just made can't be read.
    #[error("the export can't be read back: {0}")]
    Reading(#[from] FileProblem),
    /// The file can't be put together.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The model itself can't be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The caller asked for an end.
    #[error("interrupted")]
    Interrupted,
}

impl From<EngineError> for ExportError {
    fn from(error: EngineError) -> Self {
        Self::Model(error.into())
    }
}

impl ExportError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Differs { .. } | Self::OtherPictures { .. } | Self::OtherTensor(_) => Some(
                "no file was written; this is a fault of pugmark's: please report it with the model's architecture and \
                 the processor that `pugmark doctor` shows"
                    .into(),
            ),
            Self::Model(error) => error.hint(),
            _ => None,
        }
    }
}

/// An export that has been checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Exported {
    /// The file.
    pub bytes: Vec<u8>,
    /// How far it is from the model.
    pub difference: Difference,
}

/// How far an export is from its model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Difference {
    /// Largest difference of a logit, as a share of the largest logit, or of a probability; 0 for files of tensors, which are the
    /// same bits.
    pub logits: f64,
    /// With preprocessing, the share of the pictures' bytes that are a level or two from the recipe's.
    pub bytes: Option<f64>,
}

/// Makes the file for a model and checks it with [`check_export`].
///
/// # Errors
/// As [`check_export`], or where the file can't be made.
pub fn export(
    model: &Model,
    format: ExportFormat,
    engine: &dyn Engine,
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Exported, ExportError> {
    let graph = model.card.architecture.graph(model.card.classes.len());
    let bytes = match format {
        ExportFormat::Onnx { with_preprocessing } => onnx_bytes(model, with_preprocessing)?,
        ExportFormat::Safetensors => {
            let mut bytes = Vec::new();
            write_safetensors_with(&mut bytes, &model.tensors, &graph.buffers(), &metadata(model)?)?;
            bytes
        }
        ExportFormat::Pth => {
            let mut bytes = Cursor::new(Vec::new());
            write_pth(&mut bytes, &graph, &model.tensors)?;
            bytes.into_inner()
        }
    };
    let difference = check_export(model, format, &bytes, engine, on)?;
    Ok(Exported { bytes, difference })
}

/// Reads an export back and compares it with the model: every tensor bit for bit, and for ONNX the logits of drawn pictures, as
/// [`onnx::run`] computes them and as `engine` does. With preprocessing, the pictures that the file makes of drawn photos are
/// compared with the recipe's, and then the logits of the very same pictures. `on` hears how much of how much is done and may
/// end the work with `false`.
///
/// # Errors
/// [`ExportError::Differs`], [`ExportError::OtherPictures`] or [`ExportError::OtherTensor`] where it is not the same; [`ExportError::Interrupted`]; or why it
/// can't be read or run.
pub fn check_export(
    model: &Model,
    format: ExportFormat,
    bytes: &[u8],
    engine: &dyn Engine,
    on: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Difference, ExportError> {
    match format {
        ExportFormat::Onnx { with_preprocessing } => {
            let found = check::logits(model, bytes, with_preprocessing, engine, on)?;
            let (difference, tolerance) = (found.logits, format.tolerance());
            if difference.is_nan() || difference > tolerance {
                return Err(ExportError::Differs { difference, tolerance });
            }
            Ok(found)
        }
        ExportFormat::Safetensors | ExportFormat::Pth => {
            check::tensors(model, bytes).map(|()| Difference::default())
        }
    }
}

fn onnx_bytes(model: &Model, with_preprocessing: bool) -> Result<Vec<u8>, ExportError> {
    let card = &model.card;
    let Recipe { width, height, mean, std, .. } = card.recipe;
    let mut metadata = metadata(model)?;
    let input = match with_preprocessing {
        true => "photos: u8 [N, height, width, RGB] of any size, turned upright by their EXIF orientation"
            .to_owned(),
        false => format!(
            "input: f32 [N, RGB, {height}, {width}], pictures as `recipe` makes them, divided by 255, minus mean, by std"
        ),
    };
    metadata.insert("input".into(), input);
    let graph = card.architecture.graph(card.classes.len());
    let preprocessing = with_preprocessing.then(|| Preprocessing {
        framing: match card.recipe.resize {
            Resize::Squash => Framing::Squash,
            Resize::CentreCrop { short_side } => Framing::CentreCrop { short_side },
            Resize::Letterbox => Framing::Letterbox,
        },
        grayscale: card.recipe.colour == Colour::Grayscale,
        mean,
        std,
    });
    let (temperature, version) = (card.temperature, card.version.as_str());
    let export = Export { height, width, temperature, preprocessing, metadata, version };
    Ok(onnx::export(&graph, &model.tensors, &export)?)
}

/// The whole card, and the parts that a reader without pugmark wants.
fn metadata(model: &Model) -> Result<BTreeMap<String, String>, ExportError> {
    let card = &model.card;
    let json = |value: serde_json::Result<String>| value.map_err(|error| ExportError::Io(error.into()));
    let entries = [
        (CARD, json(serde_json::to_string(card))?),
        ("architecture", card.architecture.to_string()),
        ("classes", json(serde_json::to_string(&card.classes))?),
        ("recipe", json(serde_json::to_string(&card.recipe))?),
        ("temperature", card.temperature.to_string()),
        ("version", card.version.clone()),
    ];
    Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}
