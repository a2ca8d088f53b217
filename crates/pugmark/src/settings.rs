//! Settings: flag > `PUGMARK_*` variable > a job's hyperparameters > configuration file > recipe > default, merged into one
//! struct.
//!
//! A setting is described once, as a flag. Variables, files and recipes are read as if they were that flag, so that a value
//! means the same and is refused for the same reason wherever it stands.

mod document;
mod layer;
mod searched;

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Args, Command};
use pugmark_engine::{Cpu, DeviceChoice, Engine, PrecisionChoice};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::engine;
use crate::error::WrongCall;
use crate::printer::Printer;

pub(crate) use document::document;
pub(crate) use layer::{Layer, nearest_name, shipped_recipe};
pub(crate) use searched::{given, is_continuous, searched_setting, with_values};

/// How a data set is read.
#[derive(Serialize, Deserialize, Default, Debug)]
#[serde(default)]
pub(crate) struct ReadSettings {
    pub(crate) photos: Option<PathBuf>,
    pub(crate) skip_missing: bool,
}

/// How photos are run through a model.
#[derive(Serialize, Deserialize, Debug)]
#[serde(default)]
pub(crate) struct InferenceSettings {
    pub(crate) batch_size: usize,
    precision: PrecisionChoice,
    device: DeviceChoice,
    threads: usize,
    loader_threads: usize,
}

impl Default for InferenceSettings {
    fn default() -> Self {
        // Probabilities are the same on every machine, to the last digits shown.
        Self {
            batch_size: 32,
            precision: PrecisionChoice::F32,
            device: DeviceChoice::Cpu,
            threads: 0,
            loader_threads: 0,
        }
    }
}

impl InferenceSettings {
    pub(crate) fn engine(&self, printer: &Printer) -> anyhow::Result<Box<dyn Engine>> {
        engine::open(self.device, self.threads, self.precision, printer)
    }

    /// The engine of an endpoint.
    pub(crate) fn cpu(&self) -> anyhow::Result<Cpu> {
        if self.device != DeviceChoice::Cpu {
            return Err(WrongCall::new(format!("an endpoint computes on the CPU, not on `{}`", self.device))
                .with_hint("leave `--device` away")
                .into());
        }
        Ok(Cpu::new(self.threads)?.with_precision(self.precision.precision()))
    }

    /// What `auto` comes to here.
    pub(crate) fn precision(&self) -> PrecisionChoice {
        self.precision.precision().into()
    }

    /// Threads that decode photos, at least one.
    pub(crate) fn loader_threads(&self) -> usize {
        match self.loader_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}

/// Where a value stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    Flag(String),
    Variable(String),
    /// A file or a recipe, and the key in it.
    Document(String, String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::Document(name, key) => write!(f, "{name}: {key}"),
        }
    }
}

/// Settings with the place each value that is no default stands in.
#[derive(Debug)]
pub(crate) struct Resolved<S> {
    pub(crate) settings: S,
    pub(crate) origins: BTreeMap<String, Origin>,
}

/// What settings are read from, besides flags and variables; a layer goes before those after it.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    job: Option<Layer>,
    file: Option<Layer>,
    recipe: Option<Layer>,
}

impl Sources {
    /// Reads the configuration file, if there is one. A key that is no setting of a training is refused: those of the
    /// other verbs are among them.
    pub(crate) fn new(config: Option<&Path>) -> Result<Self, WrongCall> {
        Ok(Self { job: None, file: config.map(Layer::read).transpose()?, recipe: None })
    }

    /// Adds what a job says.
    pub(crate) fn with_job(self, job: Option<&Layer>) -> Self {
        Self { job: job.cloned(), ..self }
    }

    /// The recipe that the job or the file names.
    fn named_recipe(&self) -> Option<&str> {
        [&self.job, &self.file].into_iter().flatten().find_map(Layer::recipe)
    }

    /// Adds the recipe that the flag, the variable or the file names. The `config.toml` of a run has every setting and
    /// names its recipe only to tell.
    pub(crate) fn with_recipe(self, flag: Option<&str>) -> Result<Self, WrongCall> {
        let variable = std::env::var("PUGMARK_RECIPE").ok().filter(|name| !name.is_empty());
        if let (Some(file), Some(name)) = (self.file.as_ref().filter(|file| file.is_complete()), flag) {
            let text = format!("--recipe {name} would change nothing: {} has every setting", file.name());
            return Err(WrongCall::new(text).with_hint("leave out one of `--recipe` and `--config`"));
        }
        if self.file.as_ref().is_some_and(Layer::is_complete) {
            return Ok(self);
        }
        let Some(name) = flag.or(variable.as_deref()).or(self.named_recipe()) else { return Ok(self) };
        let recipe = Layer::recipe_called(name)?;
        Ok(Self { recipe, ..self })
    }

    /// Whether nothing says which recipe to take, or that there is none.
    pub(crate) fn leave_the_recipe_open(&self, flag: Option<&str>) -> bool {
        let variable = std::env::var_os("PUGMARK_RECIPE").is_some_and(|name| !name.is_empty());
        let complete = self.file.as_ref().is_some_and(Layer::is_complete);
        !(variable || complete || self.named_recipe().is_some() || flag.is_some())
    }

    /// Merges the settings `S`, whose keys are the flags of `F`. Keys of other verbs in the file or the recipe are passed over.
    pub(crate) fn resolve<F, S>(&self, given: &F) -> Result<Resolved<S>, WrongCall>
    where
        F: Args + Serialize,
        S: DeserializeOwned,
    {
        let command = flags::<F>();
        let mut merged = Table::new();
        let mut origins = BTreeMap::new();
        for arg in command.get_arguments() {
            let key = arg.get_id().as_str();
            // Every flag of a settings group is a long one.
            let Some(long) = arg.get_long() else { continue };
            let variable = format!("PUGMARK_{}", key.to_uppercase());
            let layers = [&self.job, &self.file, &self.recipe];
            let in_document = layers.into_iter().flatten().find_map(|layer| Some((layer, layer.get(key)?)));
            let in_environment = std::env::var_os(&variable).filter(|value| !value.is_empty());
            let (origin, text) = match (in_environment, in_document) {
                (Some(value), _) => (Origin::Variable(variable), value.to_string_lossy().into_owned()),
                (None, Some((layer, value))) => {
                    let origin = layer.origin(key);
                    let text = scalar(value).ok_or_else(|| {
                        WrongCall::new(format!("{origin} is `{value}`: one value is meant"))
                    })?;
                    (origin, text)
                }
                (None, None) => continue,
            };
            let values = parse::<F>(&command, long, &text)
                .map_err(|why| WrongCall::new(format!("{origin} is `{text}`: {why}")))?;
            merged.extend(values);
            origins.insert(key.to_owned(), origin);
        }
        for (key, value) in to_table(given).map_err(WrongCall::new)? {
            let long = command
                .get_arguments()
                .find(|arg| arg.get_id() == key.as_str())
                .and_then(|arg| arg.get_long());
            origins.insert(key.clone(), Origin::Flag(format!("--{}", long.unwrap_or(&key))));
            merged.insert(key, value);
        }
        let settings = S::deserialize(merged).map_err(|error| WrongCall::new(error.to_string()))?;
        Ok(Resolved { settings, origins })
    }
}

/// A command that has the flags of `F` alone.
fn flags<F: Args>() -> Command {
    F::augment_args(Command::new("settings").no_binary_name(true).disable_help_flag(true))
}

/// The value of one flag, typed; or why it has none.
fn parse<F: Args + Serialize>(command: &Command, long: &str, text: &str) -> Result<Table, String> {
    let values = command.clone().try_get_matches_from([format!("--{long}={text}")]);
    to_table(&values.and_then(|matches| F::from_arg_matches(&matches)).map_err(|error| why(&error))?)
}

/// Why clap refuses a value, without naming a flag that nobody wrote.
fn why(error: &clap::Error) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(valid)) if !valid.is_empty() => {
            format!("it must be one of {}", valid.join(", "))
        }
        _ => error.source().map_or_else(|| "it has no such value".to_owned(), ToString::to_string),
    }
}

/// The keys that have a value.
fn to_table(value: &impl Serialize) -> Result<Table, String> {
    Table::try_from(value).map_err(|error| error.to_string())
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Some(value.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;
    use pugmark_train::{TrainSettings, shipped_recipes};

    use crate::arguments::TrainFlags;

    use super::*;

    #[test]
    fn every_setting_has_a_flag() {
        let command = flags::<TrainFlags>();
        for key in to_table(&TrainSettings::default()).unwrap().keys() {
            assert!(command.get_arguments().any(|arg| arg.get_id() == key.as_str()), "{key}");
        }
    }

    #[test]
    fn every_shipped_recipe_is_settings() {
        for recipe in shipped_recipes() {
            let sources = Sources::default().with_recipe(Some(recipe.name)).unwrap();
            let Resolved { settings, origins } =
                sources.resolve::<_, TrainSettings>(&TrainFlags::default()).unwrap();
            settings.validate().unwrap();
            assert!(origins.values().all(|origin| origin.to_string().starts_with("recipe ")), "{origins:?}");
        }
    }

    #[test]
    fn every_choice_of_a_flag_is_a_setting() {
        let command = flags::<TrainFlags>();
        for arg in command.get_arguments() {
            for choice in arg.get_possible_values() {
                let flag = format!("--{}={}", arg.get_long().unwrap(), choice.get_name());
                let matches = command.clone().try_get_matches_from([&flag]).unwrap();
                let given = TrainFlags::from_arg_matches(&matches).unwrap();
                Sources::default()
                    .resolve::<_, TrainSettings>(&given)
                    .unwrap_or_else(|error| panic!("{flag}: {error}"));
            }
        }
    }
}
