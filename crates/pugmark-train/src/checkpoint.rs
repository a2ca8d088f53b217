//! `checkpoint/`: everything an exact resume needs.
//!
//! `state.json` is the commit point: it names the two tensor files of its save, which have names of their own each time,
//! and is replaced by one rename. A kill before it leaves the earlier state with its files; a kill after it leaves files
//! that no state names, and the next save deletes them.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pugmark_data::Part;
use pugmark_graph::{Tensors, read_weights, write_safetensors};
use pugmark_model::{ModelCard, write_atomic, write_atomic_with};
use serde::{Deserialize, Serialize};

use crate::{EpochMetrics, Plateau, TrainError};

const FORMAT: u32 = 1;
const STATE: &str = "state.json";

/// Where a training is and how it got there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    format: u32,
    /// Counts the saves of the run; part of the tensor files' names.
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
        }
    }

    /// The best epoch's metrics.
    pub(crate) fn best(&self) -> Option<&EpochMetrics> {
        self.rows.iter().find(|row| Some(row.epoch) == self.best)
    }

    fn files(&self) -> [String; 2] {
        ["tensors", "optimiser"].map(|kind| format!("{kind}-{}.safetensors", self.save))
    }

    /// Saves this state with its tensors, and then deletes the earlier ones.
    pub(crate) fn save(
        &mut self,
        folder: &Path,
        tensors: &Tensors,
        optimiser: &Tensors,
    ) -> Result<(), TrainError> {
        let failed = |path: PathBuf| move |source: io::Error| TrainError::Save { path, source };
        fs::create_dir_all(folder).map_err(failed(folder.into()))?;
        self.save += 1;
        let files = self.files();
        for (name, tensors) in files.iter().zip([tensors, optimiser]) {
            let path = folder.join(name);
            write_atomic_with(&path, |file| write_safetensors(file, tensors, &BTreeMap::new()))
                .map_err(failed(path))?;
        }
        let path = folder.join(STATE);
        let json = serde_json::to_vec_pretty(self).map_err(|e| failed(path.clone())(e.into()))?;
        write_atomic(&path, &json).map_err(failed(path))?;
        self.sweep(folder);
        Ok(())
    }

    /// Deletes what other saves left; what can't be deleted now is deleted after the next save.
    fn sweep(&self, folder: &Path) {
        let files = self.files();
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if name != STATE && !files.iter().any(|file| name == file.as_str()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Checkpoint {
    /// Reads the checkpoint in a folder and deletes what a kill left beside it; none when nothing was saved yet.
    pub(crate) fn read(folder: &Path) -> Result<Option<Self>, TrainError> {
        let path = folder.join(STATE);
        let failed = |path: &Path, why: String| TrainError::Checkpoint { path: path.into(), why };
        let json = match fs::read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            json => json.map_err(|e| failed(&path, e.to_string()))?,
        };
        let state: State = serde_json::from_slice(&json).map_err(|e| failed(&path, e.to_string()))?;
        if state.format != FORMAT {
            return Err(failed(&path, format!("it has format {}, this version reads {FORMAT}", state.format)));
        }
        state.sweep(folder);
        let [tensors, optimiser] = state.files().map(|name| {
            let path = folder.join(name);
            read_weights(&path).map_err(|e| failed(&path, e.to_string()))
        });
        Ok(Some(Self { tensors: tensors?, optimiser: optimiser?, state }))
    }
}
