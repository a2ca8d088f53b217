use std::collections::BTreeMap;
use std::path::Path;

use pugmark_data::Recipe;
use pugmark_engine::InputSpec;
use pugmark_graph::{Architecture, HeadPolicy, Tensors, fit, read_metadata, read_weights, write_safetensors};
use serde::{Deserialize, Serialize};

use crate::{ModelError, RunFolder, write_atomic_with};

/// The model format that this version writes, and the latest it reads.
pub const FORMAT: u32 = 1;

/// Key of the card in the safetensors metadata.
pub(crate) const CARD: &str = "pugmark";

/// What a model file says about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// [`FORMAT`] of the version that wrote it.
    pub format: u32,
    /// The version that wrote it.
    pub version: String,
    /// The graph the tensors belong to.
    pub architecture: Architecture,
    /// Names of the logits, in order.
    pub classes: Vec<String>,
    /// How a file becomes the model's input.
    pub recipe: Recipe,
    /// Logits are divided by it before the softmax; 1 unless calibrated.
    pub temperature: f32,
    /// How the last layer itself was calibrated; none where it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<String>,
    /// [`pugmark_data::Dataset::hash`] of the training data.
    pub data_hash: String,
    /// [`pugmark_data::Split::hash`] of the split.
    pub split_hash: String,
    /// [`pugmark_data::Split::how`] the split was made.
    pub split_how: String,
    /// Metrics of the epoch by name; no times, so that equal trainings give equal files.
    pub metrics: BTreeMap<String, f64>,
    /// The epoch, from 1.
    pub epoch: u32,
}

impl ModelCard {
    /// What a model file says about itself; its tensors are not looked at.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::NotAModel`], [`ModelError::NewerFormat`], or what reading the file gives.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        if !path.exists() {
            return Err(ModelError::Missing { path: path.into() });
        }
        let not_a_model = |why: String| ModelError::NotAModel { path: path.into(), why };
        let metadata = read_metadata(path)?;
        let json = metadata
            .get(CARD)
            .ok_or_else(|| not_a_model("it has tensors, but no classes and no recipe".into()))?;
        let header: Header = serde_json::from_str(json).map_err(|e| not_a_model(e.to_string()))?;
        if header.format > FORMAT {
            let Header { format, version } = header;
            return Err(ModelError::NewerFormat { path: path.into(), format, version });
        }
        let card: Self = serde_json::from_str(json).map_err(|e| not_a_model(e.to_string()))?;
        if card.classes.is_empty() || !(card.temperature.is_finite() && card.temperature > 0.0) {
            return Err(not_a_model(format!(
                "{} classes at temperature {}",
                card.classes.len(),
                card.temperature
            )));
        }
        Ok(card)
    }

    /// What an engine needs to know of the recipe, for at most `batch` photos at a time.
    pub fn input(&self, batch: usize) -> InputSpec {
        let Recipe { width, height, mean, std, .. } = self.recipe;
        InputSpec { batch, height, width, mean, std }
    }
}

/// A model file: safetensors with torchvision's names, and the card as its metadata.
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    /// What the file says about itself.
    pub card: ModelCard,
    /// Parameters and running statistics of `card.architecture` with `card.classes.len()` classes.
    pub tensors: Tensors,
}

/// The part of a card that every format has.
#[derive(Deserialize)]
struct Header {
    format: u32,
    #[serde(default)]
    version: String,
}

impl Model {
    /// Reads a model file, or the best model of a run folder.
    ///
    /// # Errors
    /// What [`Model::read`] gives, [`ModelError::NotARun`] or [`ModelError::NoBest`].
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if !path.is_dir() {
            return Self::read(path);
        }
        let best = RunFolder::open(path)?.best();
        if !best.exists() {
            return Err(ModelError::NoBest { path: path.into() });
        }
        Self::read(&best)
    }

    /// Reads a model file and checks that its tensors are those of its architecture.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::NotAModel`], [`ModelError::NewerFormat`], [`ModelError::Tensors`], or what
    /// reading the file gives.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let card = ModelCard::read(path)?;
        let graph = card.architecture.graph(card.classes.len());
        let (tensors, _) =
            fit(&graph, &read_weights(path)?, Tensors::new(), HeadPolicy::Exact).map_err(|why| {
                let (architecture, classes) = (card.architecture, card.classes.len());
                ModelError::Tensors { path: path.into(), architecture, classes, why }
            })?;
        Ok(Self { card, tensors })
    }

    /// Saves the model; a kill at any moment leaves the earlier file or the new one. Equal models give equal bytes.
    ///
    /// # Errors
    /// [`ModelError::Save`]; the earlier file is whole then.
    pub fn write(&self, path: &Path) -> Result<(), ModelError> {
        let card = serde_json::to_string(&self.card)
            .map_err(|e| ModelError::Save { path: path.into(), source: e.into() })?;
        let metadata = BTreeMap::from([(CARD.to_string(), card)]);
        write_atomic_with(path, |file| write_safetensors(file, &self.tensors, &metadata))
            .map_err(|source| ModelError::Save { path: path.into(), source })
    }
}
