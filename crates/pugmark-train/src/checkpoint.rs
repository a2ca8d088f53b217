//! `checkpoint/`: everything an exact resume needs.
//!
//! `state.json` is the commit point: it names the tensor file of its save, which has a name of its own each time, and is
//! replaced by one rename. A kill before that leaves the earlier state with its file, a kill after it the new one; a file
//! that no state names is deleted by the next save or resume.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pugmark_data::Part;
use pugmark_graph::{Tensors, read_weights, write_safetensors};
use pugmark_model::{ModelCard, write_atomic, write_atomic_with};
use serde::{Deserialize, Serialize};

use crate::{EpochMetrics, Plateau, TrainError, TrainSettings};

const FORMAT: u32 = 1;
const STATE: &str = "state.json";
/// Prefixes of the names in the tensor file.
const MODEL: &str = "parameter.";
const OPTIMISER: &str = "optimiser.";
const SALIENCY: &str = "saliency.";

/// Where a training is and how it got there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    format: u32,
    /// Counts the saves of the run; part of the tensor file's name.
    save: u64,
    /// What all models of the run say about themselves, without metrics.
    pub(crate) card: ModelCard,
    /// Epochs that are trained, validated and saved.
    pub(crate) epochs_done: u32,
    /// Steps done of the epoch after these.
    pub(crate) step: usize,
    /// What was seen in those steps.
    pub(crate) sums: Sums,
    pub(crate) optimiser_steps: u64,
    pub(crate) schedule: Plateau,
    pub(crate) rows: Vec<EpochMetrics>,
    /// The best epoch, from 1.
    pub(crate) best: Option<u32>,
    /// Damaged photos by id.
    pub(crate) damaged: BTreeMap<String, Damage>,
    /// How much each class counts in the loss, as the run began with it.
    #[serde(default)]
    pub(crate) class_weights: Option<Vec<f32>>,
    /// Why there is no step after these.
    #[serde(default)]
    pub(crate) ended: Option<Ended>,
    /// Time that the run took, in seconds.
    #[serde(default)]
    pub(crate) elapsed: f64,
    /// Learning rate of the last step.
    #[serde(default)]
    pub(crate) learning_rate: Option<f64>,
    /// Epochs whose weights are kept to be averaged, the best one first.
    #[serde(default)]
    pub(crate) candidates: Vec<u32>,
    /// The best model where it is what came of them: an epoch's row with the validation of the average.
    #[serde(default)]
    pub(crate) averaged: Option<EpochMetrics>,
}

/// Why a training ends before its last epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ended {
    /// No better epoch for as many as the settings allow.
    EarlyStopping,
    /// All steps that the settings allow are done.
    MaxSteps,
    /// The time that the settings allow is used up.
    TimeBudget,
    /// The watch found something that more steps do not mend.
    Watch,
}

impl Ended {
    /// Why, in words.
    pub(crate) fn text(self, settings: &TrainSettings, state: &State) -> String {
        let epoch = state.epochs_done;
        match self {
            Self::EarlyStopping => {
                let best = state.best.unwrap_or(epoch);
                format!("stopped early after epoch {epoch}: none since epoch {best} was better")
            }
            Self::MaxSteps => format!("stopped in epoch {epoch}: {} steps are done", settings.max_steps),
            Self::TimeBudget => {
                format!("stopped in epoch {epoch}: the time of {} is used up", settings.time_budget)
            }
            Self::Watch => format!("stopped by the watch in epoch {epoch}; with `--watch warn` it goes on"),
        }
    }
}

/// Running sums of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Sums {
    /// Of the photos' losses.
    pub(crate) loss: f64,
    /// Photos classified rightly.
    pub(crate) correct: u64,
    /// Photos.
    pub(crate) images: u64,
    /// Time spent.
    pub(crate) seconds: f64,
    /// Of that, time spent waiting for photos.
    #[serde(default)]
    pub(crate) waiting: f64,
}

/// What is wrong with a photo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Damage {
    pub(crate) part: Part,
    /// It is used as far as it goes.
    pub(crate) used: bool,
    pub(crate) reason: String,
}

/// A whole checkpoint.
pub(crate) struct Checkpoint {
    pub(crate) state: State,
    /// Parameters and running statistics.
    pub(crate) tensors: Tensors,
    /// State of the optimiser.
    pub(crate) optimiser: Tensors,
    /// What was important in the photos when the epoch began; empty between epochs and without KeepAugment.
    pub(crate) saliency: Tensors,
}

impl State {
    /// The start of a run.
    pub(crate) fn new(card: ModelCard, learning_rate: f64) -> Self {
        Self {
            format: FORMAT,
            save: 0,
            card,
            epochs_done: 0,
            step: 0,
            sums: Sums::default(),
            optimiser_steps: 0,
            schedule: Plateau::new(learning_rate),
            rows: Vec::new(),
            best: None,
            damaged: BTreeMap::new(),
            class_weights: None,
            ended: None,
            elapsed: 0.0,
            learning_rate: None,
            candidates: Vec::new(),
            averaged: None,
        }
    }

    /// Whether no epoch is left to train or to validate.
    pub(crate) fn is_over(&self, epochs: u32) -> bool {
        self.epochs_done >= epochs || (self.ended.is_some() && self.step == 0)
    }

    /// The best epoch's metrics.
    pub(crate) fn best(&self) -> Option<&EpochMetrics> {
        self.rows.iter().find(|row| Some(row.epoch) == self.best)
    }

    /// The best model's metrics: those of the average, where one was made.
    pub(crate) fn best_model(&self) -> Option<&EpochMetrics> {
        self.averaged.as_ref().or(self.best())
    }

    fn file(&self) -> String {
        format!("tensors-{}.safetensors", self.save)
    }

    /// Saves this state with its tensors, and then deletes the earlier ones.
    pub(crate) fn save(
        &mut self,
        folder: &Path,
        tensors: Tensors,
        optimiser: Tensors,
        saliency: Tensors,
    ) -> Result<(), TrainError> {
        let failed = |path: PathBuf| move |source: io::Error| TrainError::Save { path, source };
        fs::create_dir_all(folder).map_err(failed(folder.into()))?;
        self.save += 1;
        let name = |prefix| move |(name, tensor)| (format!("{prefix}{name}"), tensor);
        let tensors: Tensors = [(MODEL, tensors), (OPTIMISER, optimiser), (SALIENCY, saliency)]
            .into_iter()
            .flat_map(|(prefix, tensors)| tensors.into_iter().map(name(prefix)))
            .collect();
        let path = folder.join(self.file());
        write_atomic_with(&path, |file| write_safetensors(file, &tensors, &BTreeMap::new()))
            .map_err(failed(path))?;
        let path = folder.join(STATE);
        serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|json| write_atomic(&path, &json))
            .map_err(failed(path))?;
        self.sweep(folder);
        Ok(())
    }

    /// Deletes what other saves left; what can't be deleted now is deleted after the next save.
    fn sweep(&self, folder: &Path) {
        let mut kept: Vec<String> = self.candidates.iter().map(|&epoch| candidate(epoch)).collect();
        kept.extend([STATE.to_string(), self.file()]);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if !kept.iter().any(|name| entry.file_name() == name.as_str()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// The file of an epoch's weights.
fn candidate(epoch: u32) -> String {
    format!("epoch-{epoch}.safetensors")
}

/// Keeps the weights of an epoch beside the checkpoint; the next save deletes them unless its state names the epoch.
pub(crate) fn keep_candidate(folder: &Path, epoch: u32, tensors: &Tensors) -> Result<(), TrainError> {
    let failed = |path: PathBuf| move |source: io::Error| TrainError::Save { path, source };
    fs::create_dir_all(folder).map_err(failed(folder.into()))?;
    let path = folder.join(candidate(epoch));
    write_atomic_with(&path, |file| write_safetensors(file, tensors, &BTreeMap::new())).map_err(failed(path))
}

/// The weights of an epoch that were kept.
pub(crate) fn read_candidate(folder: &Path, epoch: u32) -> Result<Tensors, TrainError> {
    let path = folder.join(candidate(epoch));
    read_weights(&path).map_err(|e| TrainError::Checkpoint { path, why: e.to_string() })
}

impl Checkpoint {
    /// Reads the checkpoint in a folder and deletes what a kill left beside it; none when nothing was saved yet.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, TrainError> {
        let path = folder.join(STATE);
        let failed = |why: String| TrainError::Checkpoint { path: path.clone(), why };
        let json = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            json => json.map_err(|e| failed(e.to_string()))?,
        };
        let state: State = serde_json::from_slice(&json).map_err(|e| failed(e.to_string()))?;
        if state.format != FORMAT {
            return Err(failed(format!("it has format {}, this version reads {FORMAT}", state.format)));
        }
        state.sweep(folder);
        let path = folder.join(state.file());
        let all = read_weights(&path).map_err(|e| TrainError::Checkpoint { path, why: e.to_string() })?;
        let (mut tensors, mut optimiser, mut saliency) = (Tensors::new(), Tensors::new(), Tensors::new());
        for (name, tensor) in all {
            if let Some(name) = name.strip_prefix(MODEL) {
                tensors.insert(name.into(), tensor);
            } else if let Some(name) = name.strip_prefix(OPTIMISER) {
                optimiser.insert(name.into(), tensor);
            } else if let Some(name) = name.strip_prefix(SALIENCY) {
                saliency.insert(name.into(), tensor);
            }
        }
        Ok(Some(Self { state, tensors, optimiser, saliency }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use pugmark_data::Recipe;
    use pugmark_graph::{Architecture, Tensor};

    use super::*;

    pub(crate) fn state() -> State {
        let card = ModelCard {
            format: 1,
            version: "0".into(),
            architecture: Architecture::ResNet18,
            classes: vec!["a".into()],
            recipe: Recipe::imagenet(224),
            temperature: 1.0,
            calibration: None,
            data_hash: "d".into(),
            split_hash: "s".into(),
            split_how: "site".into(),
            metrics: BTreeMap::new(),
            epoch: 0,
        };
        State { sums: Sums { loss: 0.1 + 0.2, ..Sums::default() }, ..State::new(card, 1.0 / 3.0) }
    }

    fn tensors(name: &str, value: f32) -> Tensors {
        [(name.to_string(), Tensor { shape: vec![1], values: vec![value] })].into()
    }

    #[test]
    fn what_is_saved_is_read_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        assert!(Checkpoint::read(&path).unwrap().is_none());
        let mut state = state();
        for step in 1..4 {
            state.step = step;
            let optimiser = if step == 1 { Tensors::new() } else { tensors("adamw.m.w", 0.5) };
            let saliency = if step == 2 { tensors("grids", 3.0) } else { Tensors::new() };
            state.save(&path, tensors("w", step as f32), optimiser.clone(), saliency.clone()).unwrap();
            let read = Checkpoint::read(&path).unwrap().unwrap();
            assert_eq!((read.state, read.tensors), (state.clone(), tensors("w", step as f32)));
            assert_eq!((read.optimiser, read.saliency), (optimiser, saliency));
            assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "earlier tensors are gone");
        }
    }

    #[test]
    fn a_kill_before_the_rename_leaves_the_earlier_state() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = state();
        saved.save(folder.path(), tensors("w", 1.0), Tensors::new(), Tensors::new()).unwrap();
        for leftover in ["tensors-2.safetensors", ".tensors-2.safetensors.new", ".state.json.new"] {
            fs::write(folder.path().join(leftover), "half").unwrap();
        }
        let read = Checkpoint::read(folder.path()).unwrap().unwrap();
        assert_eq!((&read.state, read.tensors), (&saved, tensors("w", 1.0)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "leftovers are gone");
    }

    #[test]
    fn a_state_of_an_earlier_version_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut saved = state();
        saved.save(folder.path(), tensors("w", 1.0), Tensors::new(), Tensors::new()).unwrap();
        let path = folder.path().join(STATE);
        let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let fields = json.as_object_mut().unwrap();
        for later in ["class_weights", "ended", "elapsed", "learning_rate", "candidates", "averaged"] {
            fields.remove(later).unwrap();
        }
        fs::write(&path, json.to_string()).unwrap();
        assert_eq!(Checkpoint::read(folder.path()).unwrap().unwrap().state, saved);
    }

    #[test]
    fn candidates_stay_while_the_state_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint");
        let mut state = state();
        for epoch in 1..=3 {
            keep_candidate(&path, epoch, &tensors("w", epoch as f32)).unwrap();
            state.candidates = if epoch == 3 { vec![3, 1] } else { (1..=epoch).collect() };
            state.save(&path, tensors("w", 0.0), Tensors::new(), Tensors::new()).unwrap();
        }
        assert_eq!(read_candidate(&path, 1).unwrap(), tensors("w", 1.0));
        let error = read_candidate(&path, 2).unwrap_err().to_string();
        assert!(error.contains("epoch-2.safetensors"), "{error}");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 4);
    }

    #[test]
    fn a_later_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut later = State { format: FORMAT + 1, ..state() };
        later.save(folder.path(), Tensors::new(), Tensors::new(), Tensors::new()).unwrap();
        let error = Checkpoint::read(folder.path()).err().unwrap();
        assert!(error.to_string().contains("format 2"), "{error}");
    }
}
