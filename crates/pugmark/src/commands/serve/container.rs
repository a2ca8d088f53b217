//! A container of SageMaker that is run with the one word `serve`.

use std::path::PathBuf;
use std::str::FromStr;

use pugmark_serve::model_in;

use super::wrong_call;
use crate::container;
use crate::error::WrongCall;

/// What the platform says: where the model is, and by variables how it will be asked.
pub(super) struct Container {
    pub(super) model: Option<PathBuf>,
    /// Where models will be that are loaded by request.
    pub(super) models: Option<PathBuf>,
    pub(super) port: Option<u16>,
    /// MiB.
    pub(super) max_body: Option<u16>,
    /// Seconds.
    pub(super) timeout: Option<u16>,
}

impl Container {
    /// Looks for the folder that the platform unpacks a model into.
    pub(super) fn find() -> Result<Self, WrongCall> {
        let base = container::base();
        let folder = base.join("model");
        let multi =
            std::env::var("SAGEMAKER_MULTI_MODEL").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
        if !multi && !folder.is_dir() {
            return Err(WrongCall::new("no run is named").with_hint(
                "name a run folder or a model file; without one, what SageMaker puts into /opt/ml/model is served",
            ));
        }
        Ok(Self {
            model: if multi { None } else { Some(model_in(&folder).map_err(|error| wrong_call(&error))?) },
            models: multi.then(|| base.join("models")),
            port: variable("SAGEMAKER_BIND_TO_PORT")?,
            max_body: variable("SAGEMAKER_MAX_PAYLOAD_IN_MB")?.filter(|&mib: &u16| mib > 0),
            timeout: variable("SAGEMAKER_MODEL_SERVER_TIMEOUT")?.filter(|&seconds: &u16| seconds > 0),
        })
    }
}

fn variable<T: FromStr>(name: &str) -> Result<Option<T>, WrongCall> {
    let Some(value) = std::env::var(name).ok().filter(|value| !value.is_empty()) else { return Ok(None) };
    let number =
        value.parse().map_err(|_| WrongCall::new(format!("{name} is `{value}`, and no such number")))?;
    Ok(Some(number))
}
