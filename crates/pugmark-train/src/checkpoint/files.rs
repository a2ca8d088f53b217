//! The files of a checkpoint.
//!
//! `state.json` is the commit point: it names the tensor file of its save, which has a name of its own each time, and is
//! replaced by one rename. A kill before that leaves the earlier state with its file, a kill after it the new one.
//!
//! Whoever copies a run while it trains (SageMaker's checkpoints do so) copies its files one by one, and a small state may be there
//! before its tensors. So the save before the last one stays, as `previous.json`, and takes over where something of the last is
//! missing or damaged. What neither names is deleted by the next save or resume.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use pugmark_graph::{FileProblem, Tensors, WeightsError, read_metadata, read_weights, write_safetensors};
use pugmark_model::{ModelCard, ModelError, RunFolder, write_atomic, write_atomic_with};

use super::{Checkpoint, FORMAT, State};
use crate::TrainError;

const STATE: &str = "state.json";
const PREVIOUS: &str = "previous.json";
/// Prefixes of the names in the tensor file.
const MODEL: &str = "parameter.";
const OPTIMISER: &str = "optimiser.";
const SALIENCY: &str = "saliency.";
/// Its metadata: where the training was. At the same step of the same run all tensors are the same.
const MOMENT: &str = "moment";

/// Why a save can't be read.
enum Problem {
    /// A file is missing, damaged or another save's.
    Lost(TrainError),
    /// The system refuses it, or a later version wrote it: nothing is known to be lost.
    Refused(TrainError),
}

impl Problem {
    fn of(path: &Path, why: impl ToString, lost: bool) -> Self {
        let error = TrainError::Checkpoint { path: path.into(), why: why.to_string() };
        if lost { Self::Lost(error) } else { Self::Refused(error) }
    }

    fn io(path: &Path, error: &io::Error) -> Self {
        Self::of(path, error, is_lost(error))
    }

    fn weights(path: &Path, error: &WeightsError) -> Self {
        Self::of(path, error, are_lost(error))
    }

    fn into_error(self) -> TrainError {
        match self {
            Self::Lost(error) | Self::Refused(error) => error,
        }
    }
}

fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::UnexpectedEof)
}

fn are_lost(error: &WeightsError) -> bool {
    !matches!(error, WeightsError::File { problem: FileProblem::Io(error), .. } if !is_lost(error))
}

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
        self.save += 1;
        let name = |prefix| move |(name, tensor)| (format!("{prefix}{name}"), tensor);
        let tensors: Tensors = [(MODEL, tensors), (OPTIMISER, optimiser), (SALIENCY, saliency)]
            .into_iter()
            .flat_map(|(prefix, tensors)| tensors.into_iter().map(name(prefix)))
            .collect();
        let metadata = BTreeMap::from([(MOMENT.to_owned(), self.moment())]);
        write_tensors(&folder.join(self.file()), &tensors, &metadata)?;
        let (state, previous) = (folder.join(STATE), folder.join(PREVIOUS));
        // One that is not whole must not take the place of one that is.
        if let Ok(Some(last)) = Self::read(&state)
            && last.has_tensors(folder).is_ok()
        {
            last.write(&previous)?;
        }
        self.write(&state)?;
        sweep(folder);
        Ok(())
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), TrainError> {
        let json = serde_json::to_vec_pretty(self).map_err(io::Error::from);
        json.and_then(|json| write_atomic(path, &json)).map_err(failed(path))
    }

    fn file(&self) -> String {
        format!("tensors-{}.safetensors", self.save)
    }

    fn moment(&self) -> String {
        format!("{} epochs and {} steps", self.epochs_done, self.step)
    }

    /// None where there is no such file.
    fn read(path: &Path) -> Result<Option<Self>, Problem> {
        let json = match fs::read(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            json => json.map_err(|error| Problem::io(path, &error))?,
        };
        let format =
            serde_json::from_slice::<serde_json::Value>(&json).ok().and_then(|json| json["format"].as_u64());
        if let Some(format) = format.filter(|format| *format != u64::from(FORMAT)) {
            return Err(Problem::of(
                path,
                format!("it has format {format}, this version reads {FORMAT}"),
                false,
            ));
        }
        serde_json::from_slice(&json).map(Some).map_err(|error| Problem::of(path, error, true))
    }

    /// Whether its tensors are there, and of the same moment.
    fn has_tensors(&self, folder: &Path) -> Result<(), Problem> {
        for epoch in &self.candidates {
            let path = folder.join(candidate(*epoch));
            read_metadata(&path).map_err(|error| Problem::weights(&path, &error))?;
        }
        let path = folder.join(self.file());
        let metadata = read_metadata(&path).map_err(|error| Problem::weights(&path, &error))?;
        match metadata.get(MOMENT) {
            Some(moment) if *moment != self.moment() => {
                Err(Problem::of(&path, format!("it is of {moment}, not {}", self.moment()), true))
            }
            _ => Ok(()),
        }
    }

    /// Whether the run's best model is that of this state, or of an epoch that it will train again.
    fn has_best(&self, run: &RunFolder) -> Result<(), Problem> {
        let Some(best) = self.best else { return Ok(()) };
        let path = run.best();
        let card = ModelCard::read(&path).map_err(|error| {
            let lost = match &error {
                ModelError::Io { .. } | ModelError::NewerFormat { .. } => false,
                ModelError::Weights(error) => are_lost(error),
                _ => true,
            };
            Problem::of(&path, error, lost)
        })?;
        let averaged = self.averaged.as_ref().is_none_or(|row| card.metrics == row.repeatable());
        if card.epoch > self.epochs_done || (card.epoch == best && averaged) {
            return Ok(());
        }
        Err(Problem::of(
            &path,
            format!("it is a model of epoch {}, and the best is that of epoch {best}", card.epoch),
            true,
        ))
    }
}

impl Checkpoint {
    /// Reads the checkpoint of a run and deletes what a kill left beside it; none when nothing was saved yet.
    ///
    /// # Errors
    /// What is wrong with the last save, where the one before it can't be used either.
    pub(crate) fn read(run: &RunFolder) -> Result<Option<Self>, TrainError> {
        let folder = run.checkpoint();
        let [state, previous] = [STATE, PREVIOUS].map(|name| folder.join(name));
        let lost = match State::read(&state) {
            Ok(Some(state)) => match Self::of(state, run) {
                Ok(checkpoint) => {
                    sweep(&folder);
                    return Ok(Some(checkpoint));
                }
                Err(problem) => problem,
            },
            Ok(None) if !previous.exists() => return Ok(None),
            Ok(None) => Problem::of(&state, "it is missing", true),
            Err(problem) => problem,
        };
        let error = match lost {
            Problem::Lost(error) => error,
            Problem::Refused(error) => return Err(error),
        };
        // Nothing is deleted before the next save: somebody may still find what is missing.
        if let Some(before) = State::read(&previous).map_err(Problem::into_error)?
            && let Ok(checkpoint) = Self::of(before, run)
        {
            let setback = Some(format!("{error}; the save before it is taken"));
            return Ok(Some(Self { setback, ..checkpoint }));
        }
        // Where nothing but the best model is lost, it is that of the epochs to come.
        for path in [state, previous] {
            let Ok(Some(mut state)) = State::read(&path) else { continue };
            (state.best, state.averaged) = (None, None);
            if let Ok(checkpoint) = Self::of(state, run) {
                let setback = Some(format!("{error}; the best of the epochs that come takes its place"));
                return Ok(Some(Self { setback, ..checkpoint }));
            }
        }
        Err(error)
    }

    /// With all that the state names.
    fn of(state: State, run: &RunFolder) -> Result<Self, Problem> {
        state.has_best(run)?;
        let folder = run.checkpoint();
        state.has_tensors(&folder)?;
        let path = folder.join(state.file());
        let all = read_weights(&path).map_err(|error| Problem::weights(&path, &error))?;
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

fn write_tensors(
    path: &Path,
    tensors: &Tensors,
    metadata: &BTreeMap<String, String>,
) -> Result<(), TrainError> {
    write_atomic_with(path, |file| write_safetensors(file, tensors, metadata)).map_err(failed(path))
}

/// The file of an epoch's weights.
fn candidate(epoch: u32) -> String {
    format!("epoch-{epoch}.safetensors")
}

/// Keeps the weights of an epoch beside the checkpoint; a save deletes them unless its state or the one before names the epoch.
pub(crate) fn keep_candidate(folder: &Path, epoch: u32, tensors: &Tensors) -> Result<(), TrainError> {
    fs::create_dir_all(folder).map_err(failed(folder))?;
    write_tensors(&folder.join(candidate(epoch)), tensors, &BTreeMap::new())
}

/// The weights of an epoch that were kept.
pub(crate) fn read_candidate(folder: &Path, epoch: u32) -> Result<Tensors, TrainError> {
    let path = folder.join(candidate(epoch));
    read_weights(&path).map_err(|e| TrainError::Checkpoint { path, why: e.to_string() })
}
