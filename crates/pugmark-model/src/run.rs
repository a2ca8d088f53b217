use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use crate::{ModelError, atomic};

/// The folder of one training run.
///
/// `config.toml` makes a folder a run. Every file but the log and the watch's is saved by [`crate::write_atomic`].
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Held while a process trains here; the system gives it back even after a kill.
    _lock: Option<File>,
}

const CONFIG: &str = "config.toml";
const CHECKPOINT: &str = "checkpoint";
const LOCK: &str = ".lock";
const TENSORBOARD: &str = "tensorboard";
/// How the names of event files for TensorBoard begin.
const EVENTS: &str = "events.out.tfevents.";
/// What `pugmark train --find-learning-rate` leaves: no run by itself, and kept where one comes to it.
const BESIDE: [&str; 2] = ["learning-rate.csv", "learning-rate.html"];
/// Everything that a run may hold; `config.toml` is last because overwriting deletes in this order.
const FILES: [&str; 14] = [
    "best.safetensors",
    "last.safetensors",
    "metrics.csv",
    "metrics.json",
    "predictions.csv",
    "report.html",
    "profile.json",
    "trace.json",
    "broken.csv",
    "split.csv",
    "watch.jsonl",
    "watch.json",
    "log.jsonl",
    CONFIG,
];

impl RunFolder {
    /// Makes the folder of a new run and locks it.
    ///
    /// # Errors
    /// [`ModelError::HoldsRun`], [`ModelError::HoldsOtherFiles`] or [`ModelError::InUse`]; nothing is changed then.
    pub fn create(path: &Path) -> Result<Self, ModelError> {
        Self::vacant(path)?;
        fs::create_dir_all(path).map_err(io_error(path))?;
        Self::lock(path)
    }

    /// Deletes what an earlier run left in the folder, and nothing else, and locks it.
    ///
    /// # Errors
    /// [`ModelError::HoldsOtherFiles`] where something else is in the folder, or [`ModelError::InUse`]; nothing is deleted
    /// then.
    pub fn overwrite(path: &Path) -> Result<Self, ModelError> {
        Self::replaceable(path)?;
        fs::create_dir_all(path).map_err(io_error(path))?;
        let run = Self::lock(path)?;
        match fs::remove_dir_all(run.checkpoint()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&run.checkpoint())(e)),
            _ => {}
        }
        // Whatever else lies between the event files stays.
        let events = fs::read_dir(run.tensorboard()).into_iter().flatten().flatten().filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with(EVENTS))
        });
        for file in events.map(|entry| entry.path()).chain(FILES.map(|name| path.join(name))) {
            match fs::remove_file(&file) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(&file)(e)),
                _ => {}
            }
        }
        let _ = fs::remove_dir(run.tensorboard());
        Ok(run)
    }

    /// Opens a run to go on with it, and locks it.
    ///
    /// # Errors
    /// [`ModelError::Missing`], [`ModelError::NotARun`] or [`ModelError::InUse`].
    pub fn resume(path: &Path) -> Result<Self, ModelError> {
        Self::open(path)?;
        Self::lock(path)
    }

    /// Opens a run to read it.
    ///
    /// # Errors
    /// [`ModelError::Missing`] or [`ModelError::NotARun`].
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        if !path.exists() {
            return Err(ModelError::Missing { path: path.into() });
        }
        if !path.join(CONFIG).is_file() {
            return Err(ModelError::NotARun { path: path.into() });
        }
        Ok(Self { path: path.into(), _lock: None })
    }

    /// Whether [`RunFolder::create`] would take the folder, without changing anything.
    ///
    /// # Errors
    /// [`ModelError::HoldsRun`] or [`ModelError::HoldsOtherFiles`].
    pub fn vacant(path: &Path) -> Result<(), ModelError> {
        if path.join(CONFIG).is_file() {
            return Err(ModelError::HoldsRun { path: path.into() });
        }
        foreign(path, &[])
    }

    /// Whether [`RunFolder::overwrite`] would take the folder, without changing anything.
    ///
    /// # Errors
    /// [`ModelError::HoldsOtherFiles`].
    pub fn replaceable(path: &Path) -> Result<(), ModelError> {
        if path.join(CONFIG).is_file() { foreign(path, &FILES) } else { Self::vacant(path) }
    }

    fn lock(path: &Path) -> Result<Self, ModelError> {
        let name = path.join(LOCK);
        let lock = File::create(&name).map_err(io_error(&name))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => Err(ModelError::InUse { path: path.into() }),
            // Some network file systems have no locks; the run itself needs none.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(Self { path: path.into(), _lock: Some(lock) }),
        }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The resolved settings, which `--config` takes back.
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// Which part every photo is in.
    pub fn split(&self) -> PathBuf {
        self.path.join("split.csv")
    }

    /// One row an epoch.
    pub fn metrics_csv(&self) -> PathBuf {
        self.path.join("metrics.csv")
    }

    /// The rows of `metrics.csv` as JSON.
    pub fn metrics_json(&self) -> PathBuf {
        self.path.join("metrics.json")
    }

    /// What happened, one JSON object a line.
    pub fn log(&self) -> PathBuf {
        self.path.join("log.jsonl")
    }

    /// What the watch keeps of the training, one JSON object a line.
    pub fn watch(&self) -> PathBuf {
        self.path.join("watch.jsonl")
    }

    /// What the rules of the watch came to.
    pub fn watch_json(&self) -> PathBuf {
        self.path.join("watch.json")
    }

    /// The model of the best epoch.
    pub fn best(&self) -> PathBuf {
        self.path.join("best.safetensors")
    }

    /// The model of the last whole epoch.
    pub fn last(&self) -> PathBuf {
        self.path.join("last.safetensors")
    }

    /// The folder from which a run is resumed.
    pub fn checkpoint(&self) -> PathBuf {
        self.path.join(CHECKPOINT)
    }

    /// The best model's probabilities for the test part, or for the validation part where there is none.
    pub fn predictions(&self) -> PathBuf {
        self.path.join("predictions.csv")
    }

    /// Photos that can't be decoded, or only in part.
    pub fn broken(&self) -> PathBuf {
        self.path.join("broken.csv")
    }

    /// Where the time went, if that was measured.
    pub fn profile(&self) -> PathBuf {
        self.path.join("profile.json")
    }

    /// The first and the last steps, for a trace viewer.
    pub fn trace(&self) -> PathBuf {
        self.path.join("trace.json")
    }

    /// The folder of event files for TensorBoard.
    pub fn tensorboard(&self) -> PathBuf {
        self.path.join(TENSORBOARD)
    }

    /// The report for people.
    pub fn report(&self) -> PathBuf {
        self.path.join("report.html")
    }
}

/// Refuses a folder that holds anything but `own` names and leftovers of a kill; no folder at all is fine.
fn foreign(path: &Path, own: &[&str]) -> Result<(), ModelError> {
    let entries = match fs::read_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io_error(path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(io_error(path))?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let known = |name: &str| {
        own.contains(&name)
            || (own.contains(&CONFIG) && [CHECKPOINT, TENSORBOARD].contains(&name))
            || name == LOCK
            || BESIDE.contains(&name)
            || atomic::is_temporary(name)
    };
    match names.into_iter().find(|name| !known(name)) {
        Some(name) => Err(ModelError::HoldsOtherFiles { path: path.into(), name }),
        None => Ok(()),
    }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ModelError {
    let path = path.to_path_buf();
    move |source| ModelError::Io { path, source }
}
