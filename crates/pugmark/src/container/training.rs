//! A training job: `pugmark train`, and nothing else on the command line.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_model::{RunFolder, write_atomic};

use super::channels::Channels;
use super::{Hosts, base, hyperparameters, read_json};
use crate::error::WrongCall;
use crate::settings::Layer;

/// What a person wants to see of a run, besides its model.
const RESULTS: [&str; 12] = [
    "report.html",
    "metrics.csv",
    "metrics.json",
    "predictions.csv",
    "split.csv",
    "broken.csv",
    "watch.json",
    "watch.jsonl",
    "profile.json",
    "trace.json",
    "log.jsonl",
    "config.toml",
];

/// The job that the platform describes.
#[derive(Debug)]
pub(crate) struct TrainingJob {
    base: PathBuf,
    channels: Channels,
    settings: Layer,
}

/// Whether the tree is that of a training job.
pub(super) fn is_job(base: &Path) -> bool {
    base.join("input/config").is_dir()
}

impl TrainingJob {
    /// The job of the container that this is; none on any other machine.
    pub(crate) fn find() -> Result<Option<Self>, WrongCall> {
        let base = base();
        if !is_job(&base) {
            return Ok(None);
        }
        let config = base.join("input/config");
        let hosts = match std::env::var("SM_HOSTS").ok().filter(|text| !text.is_empty()) {
            Some(text) => serde_json::from_str(&text)
                .map_err(|error| WrongCall::new(format!("SM_HOSTS is no JSON list of names: {error}")))?,
            None => read_json::<Hosts>(&config.join("resourceconfig.json"))?.unwrap_or_default().hosts,
        };
        if hosts.len() > 1 {
            return Err(WrongCall::new(format!(
                "the job has {} instances, and a training runs on one",
                hosts.len()
            ))
            .with_hint("InstanceCount 1 and a larger InstanceType"));
        }
        let channels = Channels::read(&base)?;
        let mut settings = hyperparameters::read(&config)?;
        if !settings.names("weights")
            && let Some(weights) = channels.weights()?
        {
            let weights = ("weights".into(), weights.to_string_lossy().into_owned());
            settings = settings.overridden(Layer::from_words("weights", [weights])?);
        }
        Ok(Some(Self { base, channels, settings }))
    }

    /// The settings that the job gives.
    pub(crate) fn settings(&self) -> &Layer {
        &self.settings
    }

    /// Whether something else than its channels says what to train on.
    pub(crate) fn names_data(&self) -> bool {
        let variable = std::env::var_os("PUGMARK_DATA").is_some_and(|value| !value.is_empty());
        variable || self.settings.names("data")
    }

    /// The data set.
    pub(crate) fn data(&self) -> Result<PathBuf, WrongCall> {
        self.channels.data()
    }

    /// The folder of the run: the platform keeps what is below `checkpoints` when it takes the machine away, and puts it back.
    pub(crate) fn run(&self) -> PathBuf {
        self.base.join("checkpoints/run")
    }

    /// Whether an earlier machine of this job has begun the run.
    pub(crate) fn has_begun(&self) -> bool {
        RunFolder::open(&self.run()).is_ok()
    }

    /// Copies the best model so far, and what a person wants to see, to where the platform collects them.
    pub(crate) fn deliver(&self, run: &RunFolder) -> anyhow::Result<()> {
        let place = |variable: &str, name: &str| {
            std::env::var_os(variable).map_or_else(|| self.base.join(name), PathBuf::from)
        };
        let (model, output) = (place("SM_MODEL_DIR", "model"), place("SM_OUTPUT_DATA_DIR", "output/data"));
        let copy = |from: &Path, to: &Path| match fs::read(from) {
            Ok(bytes) => write_atomic(to, &bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        let all = || -> std::io::Result<()> {
            fs::create_dir_all(&model)?;
            fs::create_dir_all(&output)?;
            copy(&run.best(), &model.join("best.safetensors"))?;
            RESULTS.iter().try_for_each(|name| copy(&run.path().join(name), &output.join(name)))
        };
        all().with_context(|| format!("cannot write to {} and {}", model.display(), output.display()))
    }
}
