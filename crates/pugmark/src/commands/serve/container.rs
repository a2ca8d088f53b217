//! A container of SageMaker that is run with the one word `serve`.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::WrongCall;

/// What the platform says: where the model is, and by variables how it will be asked.
pub(super) struct Container {
    pub(super) model: PathBuf,
    pub(super) port: Option<u16>,
    /// MiB.
    pub(super) max_body: Option<u16>,
    /// Seconds.
    pub(super) timeout: Option<u16>,
}

impl Container {
    /// Looks for the folder that the platform unpacks a model into; `SAGEMAKER_BASE_DIR` stands for `/opt/ml`.
    pub(super) fn find() -> Result<Self, WrongCall> {
        let base = std::env::var_os("SAGEMAKER_BASE_DIR").map_or_else(|| "/opt/ml".into(), PathBuf::from);
        let folder = base.join("model");
        if !folder.is_dir() {
            return Err(WrongCall::new("no run is named").with_hint(
                "name a run folder or a model file; without one, what SageMaker puts into /opt/ml/model is served",
            ));
        }
        Ok(Self {
            model: model_in(&folder)?,
            port: variable("SAGEMAKER_BIND_TO_PORT")?,
            max_body: variable("SAGEMAKER_MAX_PAYLOAD_IN_MB")?.filter(|&mib: &u16| mib > 0),
            timeout: variable("SAGEMAKER_MODEL_SERVER_TIMEOUT")?.filter(|&seconds: &u16| seconds > 0),
        })
    }
}

/// The run that the folder is, its best or last model, or the only model file in it.
fn model_in(folder: &Path) -> Result<PathBuf, WrongCall> {
    let best = ["best.safetensors", "last.safetensors"].map(|name| folder.join(name));
    if let Some(known) = best.into_iter().find(|path| path.is_file()) {
        return Ok(known);
    }
    let entries =
        fs::read_dir(folder).map_err(|error| WrongCall::new(format!("{}: {error}", folder.display())))?;
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    match files.as_slice() {
        [only] => Ok(only.clone()),
        files => {
            let text =
                format!("{} holds {} model files and no best.safetensors", folder.display(), files.len());
            Err(WrongCall::new(text).with_hint(
                "put one into the archive of the model: tar -czf model.tar.gz -C RUN best.safetensors",
            ))
        }
    }
}

fn variable<T: FromStr>(name: &str) -> Result<Option<T>, WrongCall> {
    let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) else { return Ok(None) };
    let number =
        value.parse().map_err(|_| WrongCall::new(format!("{name} is `{value}`, and no such number")))?;
    Ok(Some(number))
}
