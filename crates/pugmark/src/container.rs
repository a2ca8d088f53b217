//! What SageMaker puts around the program: a tree below `/opt/ml`, which says what to do and takes what comes of it.

mod channels;
mod hyperparameters;
mod pipe;
mod processing;
mod training;

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::WrongCall;

pub(crate) use processing::name_by_host;
pub(crate) use training::TrainingJob;

/// The tree; `SAGEMAKER_BASE_DIR` stands for `/opt/ml`.
pub(crate) fn base() -> PathBuf {
    std::env::var_os("SAGEMAKER_BASE_DIR").map_or_else(|| "/opt/ml".into(), PathBuf::from)
}

/// The machines of a job, as `resourceconfig.json` names them.
#[derive(Deserialize, Default)]
struct Hosts {
    #[serde(default)]
    current_host: String,
    #[serde(default)]
    hosts: Vec<String>,
}

/// Reads a channel in Pipe mode, for the fuzz targets.
#[cfg(fuzzing)]
pub(crate) fn read_pipe(stream: &Path, into: &Path) -> Result<PathBuf, WrongCall> {
    pipe::read(stream, into)
}

/// A file of the platform's; none where it has written none.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, WrongCall> {
    if !path.is_file() {
        return Ok(None);
    }
    let wrong = |error: &dyn std::fmt::Display| WrongCall::new(format!("{}: {error}", path.display()));
    let text = fs::read(path).map_err(|error| wrong(&error))?;
    serde_json::from_slice(&text).map(Some).map_err(|error| wrong(&error))
}

/// Leaves the reason why the job failed where the platform looks for it: 1024 bytes of a training's are told, of a processing
/// job's too.
pub(crate) fn tell_failure(reason: &str) {
    let base = base();
    let name = if training::is_job(&base) {
        "failure"
    } else if processing::is_job(&base) {
        "message"
    } else {
        return;
    };
    let end = reason.floor_char_boundary(1024);
    let folder = base.join("output");
    // The reason is on stderr in any case.
    let _ = fs::create_dir_all(&folder).and_then(|()| fs::write(folder.join(name), &reason[..end]));
}
