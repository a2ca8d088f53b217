//! The files of a checkpoint.
//!
//! `state.json` is the commit point: it names the tensor file of its save, which has a name of its own each time, and is
//! replaced by one rename. A kill before that leaves the earlier state with its file, a kill after it the new one.
//!
//! Whoever copies a run while it trains (SageMaker's checkpoints do so) copies its files one by one, and a small state may be there
//! before its tensors. So the save before the last one stays, as `previous.json`, and takes over where something of the last is
//! missing. What neither names is deleted by the next save or resume.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pugmark_graph::{Tensors, read_weights, write_safetensors};
use pugmark_model::{ModelCard, RunFolder, write_atomic, write_atomic_with};

use super::{Checkpoint, FORMAT, State};
use crate::TrainError;

const STATE: &str = "state.json";
const PREVIOUS: &str = "previous.json";
/// Prefixes of the names in the tensor file.
const MODEL: &str = "parameter.";
const OPTIMISER: &str = "optimiser.";
const SALIENCY: &str = "saliency.";

impl State {
    /// Saves this state with its tensors, and then deletes what neither it nor the one before it needs.
    pub(crate) fn save(
        &mut self,
        folder: &Path,
        tensors: Tensors,
        optimiser: Tensors,
        saliency: Tensors,
    ) -> Result<(), TrainError> {
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let (state, previous) = (folder.join(STATE), folder.join(PREVIOUS));
        match fs::read(&state) {
            Ok(json) => write_atomic(&previous, &json).map_err(failed(&previous))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&state)(error)),
        }
        (self.save, self.tensors_of) = (self.save + 1, None);
        let name = |prefix| move |(name, tensor)| (format!("{prefix}{name}"), tensor);
        let tensors: Tensors = [(MODEL, tensors), (OPTIMISER, optimiser), (SALIENCY, saliency)]
            .into_iter()
            .flat_map(|(prefix, tensors)| tensors.into_iter().map(name(prefix)))
            .collect();
        write_tensors(&folder.join(self.file()), &tensors)?;
        self.write(&state)?;
        sweep(folder);
        Ok(())
    }

    fn write(&self, path: &Path) -> Result<(), TrainError> {
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        json.and_then(|json| write_atomic(path, &json)).map_err(failed(path))
    }

    fn file(&self) -> String {
        format!("tensors-{}.safetensors", self.tensors_of.unwrap_or(self.save))
    }

    /// None where there is no such file.
    fn read(path: &Path) -> Result<Option<Self>, TrainError> {
        let failed = |why: String| TrainError::Checkpoint { path: path.into(), why };
        let json = match fs::read(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            json => json.map_err(|e| failed(e.to_string()))?,
        };
        let state: Self = serde_json::from_slice(&json).map_err(|e| failed(e.to_string()))?;
        if state.format != FORMAT {
            return Err(failed(format!("it has format {}, this version reads {FORMAT}", state.format)));
        }
        Ok(Some(state))
    }

    /// Whether the run's best model is that of this state, or of an epoch that it will train again.
    fn has_best(&self, run: &RunFolder) -> Result<(), TrainError> {
        let Some(row) = self.best_model() else { return Ok(()) };
        let path = run.best();
        let failed = |why: String| TrainError::Checkpoint { path: path.clone(), why };
        let card = ModelCard::read(&path).map_err(|error| failed(error.to_string()))?;
        let best = self.best.unwrap_or(row.epoch);
        let stale = card.epoch < best || (self.averaged.is_some() && card.metrics != row.repeatable());
        if stale {
            return Err(failed(format!(
                "it is an earlier model, of epoch {}; the best is that of epoch {best}",
                card.epoch
            )));
        }
        Ok(())
    }
}

impl Checkpoint {
    /// Reads the checkpoint of a run and deletes what a kill left beside it; none when nothing was saved yet.
    ///
    /// # Errors
    /// What is wrong with the last save, where the one before it can't be used either.
    pub(crate) fn read(run: &RunFolder) -> Result<Option<Self>, TrainError> {
        let folder = run.checkpoint();
        let state = folder.join(STATE);
        let (last, saved) = match State::read(&state) {
            Ok(None) => return Ok(None),
            Ok(Some(last)) => (last.save, Self::of(last, run)),
            Err(error) => (0, Err(error)),
        };
        let checkpoint = match saved {
            Ok(checkpoint) => checkpoint,
            Err(error) => {
                let before = State::read(&folder.join(PREVIOUS)).ok().flatten();
                let Some(mut before) = before.and_then(|state| Self::of(state, run).ok()) else {
                    return Err(error);
                };
                before.setback = Some(error.to_string());
                // A name that was given is not given again: copies of the lost file may still turn up.
                let own = before.state.tensors_of.unwrap_or(before.state.save);
                (before.state.save, before.state.tensors_of) = (last.max(before.state.save), Some(own));
                before.state.write(&state)?;
                before
            }
        };
        sweep(&folder);
        Ok(Some(checkpoint))
    }

    /// With all that the state names.
    fn of(state: State, run: &RunFolder) -> Result<Self, TrainError> {
        state.has_best(run)?;
        let folder = run.checkpoint();
        for epoch in &state.candidates {
            let path = folder.join(candidate(*epoch));
            fs::metadata(&path).map_err(|e| TrainError::Checkpoint { path, why: e.to_string() })?;
        }
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
        Ok(Self { state, tensors, optimiser, saliency, setback: None })
    }
}

/// Deletes what neither state names; what can't be deleted now is deleted after the next save.
fn sweep(folder: &Path) {
    let mut kept = vec![STATE.to_string(), PREVIOUS.to_string()];
    for state in [STATE, PREVIOUS].iter().filter_map(|name| State::read(&folder.join(name)).ok().flatten()) {
        kept.push(state.file());
        kept.extend(state.candidates.iter().map(|&epoch| candidate(epoch)));
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if !kept.iter().any(|name| entry.file_name() == name.as_str()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> TrainError {
    let path: PathBuf = path.into();
    move |source| TrainError::Save { path, source }
}

fn write_tensors(path: &Path, tensors: &Tensors) -> Result<(), TrainError> {
    write_atomic_with(path, |file| write_safetensors(file, tensors, &BTreeMap::new())).map_err(failed(path))
}

/// The file of an epoch's weights.
fn candidate(epoch: u32) -> String {
    format!("epoch-{epoch}.safetensors")
}

/// Keeps the weights of an epoch beside the checkpoint; a save deletes them unless its state or the one before names the epoch.
pub(crate) fn keep_candidate(folder: &Path, epoch: u32, tensors: &Tensors) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    write_tensors(&folder.join(candidate(epoch)), tensors)
}

/// The weights of an epoch that were kept.
pub(crate) fn read_candidate(folder: &Path, epoch: u32) -> Result<Tensors, TrainError> {
    let path = folder.join(candidate(epoch));
    read_weights(&path).map_err(|e| TrainError::Checkpoint { path, why: e.to_string() })
}
