//! A document of settings: a configuration file, a recipe or the hyperparameters of a job.

use std::path::Path;

use clap::builder::PossibleValuesParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Arg, Command};
use pugmark_train::{ShippedRecipe, TrainSettings, shipped_recipes};
use toml::de::DeTable;
use toml::{Table, Value};

use super::{Origin, flags, to_table};
use crate::arguments::{StorageFlags, TrainFlags};
use crate::error::WrongCall;

/// The recipe that is none.
const NONE: &str = "none";

/// A document, whose keys are known to be settings.
#[derive(Clone, Default, Debug)]
pub(crate) struct Layer {
    name: String,
    table: Table,
}

impl Layer {
    /// Reads a configuration file.
    pub(super) fn read(path: &Path) -> Result<Self, WrongCall> {
        let name = path.display().to_string();
        let text =
            std::fs::read_to_string(path).map_err(|error| WrongCall::new(format!("{name}: {error}")))?;
        Self::parse(name, &text)
    }

    /// A recipe by its name or file; nothing where the name is `none`.
    pub(super) fn recipe_called(word: &str) -> Result<Option<Self>, WrongCall> {
        let path = Path::new(word);
        let layer = if word == NONE {
            return Ok(None);
        } else if let Some(recipe) = ShippedRecipe::find(word) {
            Self::parse(format!("recipe {}", recipe.name), recipe.text)?
        } else if path.exists() || path.extension().is_some() || path.components().count() > 1 {
            Self::read(path).map_err(|error| match path.exists() {
                true => error,
                false => error.with_hint("`pugmark recipes` lists the recipes that have a name"),
            })?
        } else {
            return Err(unknown(word));
        };
        if layer.table.contains_key("recipe") {
            return Err(WrongCall::new(format!("{}: a recipe can't start from a recipe", layer.name))
                .with_hint("copy what it should take over"));
        }
        Ok(Some(layer))
    }

    /// Settings by any name that a person or a search may give them, each as it would stand behind its flag.
    pub(crate) fn from_words(
        name: &str,
        words: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, WrongCall> {
        let (training, buckets) = (flags::<TrainFlags>(), flags::<StorageFlags>());
        let mut table = Table::new();
        for (word, text) in words {
            let Some(key) = named_setting(&training, &word).or_else(|| named_setting(&buckets, &word)) else {
                let error = WrongCall::new(format!("{name}: unknown setting `{word}`"));
                return Err(match nearest_setting(&training, &word) {
                    Some(nearest) => error.with_hint(format!("is `{nearest}` meant?")),
                    None => error.with_hint("`pugmark train --help` lists the settings"),
                });
            };
            if table.insert(key.clone(), Value::String(text)).is_some() {
                return Err(WrongCall::new(format!("{name}: `{key}` is given twice, once as `{word}`")));
            }
        }
        Ok(Self { name: name.to_owned(), table })
    }

    /// These settings, but where `other` has a value too.
    pub(crate) fn overridden(mut self, other: Self) -> Self {
        self.table.extend(other.table);
        if self.name.is_empty() { Self { name: other.name, ..self } } else { self }
    }

    /// Whether it says something of a setting.
    pub(crate) fn names(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    fn parse(name: String, text: &str) -> Result<Self, WrongCall> {
        let wrong =
            |error: toml::de::Error| WrongCall::new(format!("{name}: {}", error.to_string().trim_end()));
        let table: Table = text.parse().map_err(wrong)?;
        let (training, buckets) = (flags::<TrainFlags>(), flags::<StorageFlags>());
        let known = |key: &str| {
            training.get_arguments().chain(buckets.get_arguments()).any(|arg| arg.get_id() == key)
        };
        let keys = DeTable::parse(text).map_err(wrong)?;
        let unknown = keys.get_ref().keys().filter(|key| !known(key.get_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(Self { name, table }) };
        let line = text[..key.span().start].matches('\n').count() + 1;
        let error = WrongCall::new(format!("{name}, line {line}: unknown setting `{}`", key.get_ref()));
        Err(match nearest_setting(&training, key.get_ref()) {
            Some(nearest) => error.with_hint(format!("is `{nearest}` meant?")),
            None => error.with_hint("`pugmark train --help` lists the settings"),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.table.get(key)
    }

    /// The recipe that the document names.
    pub(super) fn recipe(&self) -> Option<&str> {
        self.get("recipe")?.as_str()
    }

    /// Whether every setting that has a default is there, as in a run's `config.toml`.
    pub(super) fn is_complete(&self) -> bool {
        let defaults = to_table(&TrainSettings::default()).unwrap_or_default();
        defaults.keys().all(|key| self.table.contains_key(key))
    }

    pub(super) fn origin(&self, key: &str) -> Origin {
        Origin::Document(self.name.clone(), key.to_owned())
    }
}

/// The shipped recipe called `name`.
pub(crate) fn shipped_recipe(name: &str) -> Result<&'static ShippedRecipe, WrongCall> {
    ShippedRecipe::find(name).ok_or_else(|| unknown(name))
}

fn unknown(word: &str) -> WrongCall {
    let names: Vec<&str> = shipped_recipes().iter().map(|recipe| recipe.name).collect();
    let error = WrongCall::new(format!("there is no recipe `{word}`; there are {}", names.join(", ")));
    match nearest_name(word, names.into_iter().map(str::to_owned)) {
        Some(nearest) => error.with_hint(format!("is `{nearest}` meant?")),
        None => error.with_hint("`--recipe FILE.toml` takes a file"),
    }
}

/// The name that `word` resembles most, as clap finds it.
pub(crate) fn nearest_name(word: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let name = Arg::new("name").value_parser(PossibleValuesParser::new(names));
    let refused = Command::new("names").no_binary_name(true).arg(name).try_get_matches_from([word]);
    suggested(&refused.err()?, ContextKind::SuggestedValue)
}

/// Short names that people write.
const SHORT: [(&str, &str); 4] =
    [("lr", "learning_rate"), ("batch", "batch_size"), ("wd", "weight_decay"), ("optimizer", "optimiser")];

/// The key of the setting that a word names: its key, its flag or a short name.
pub(super) fn named_setting(command: &Command, word: &str) -> Option<String> {
    let long = word.trim_start_matches('-').replace('_', "-");
    let named = |arg: &&Arg| {
        arg.get_id() == word
            || arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&&*long))
    };
    let short = SHORT.iter().find(|(short, _)| *short == word).map(|(_, key)| *key);
    let known = |key: &&str| command.get_arguments().any(|arg| arg.get_id() == *key);
    let key = short.filter(known).map(str::to_owned);
    key.or_else(|| command.get_arguments().find(named).map(|arg| arg.get_id().to_string()))
}

/// The setting that `key` resembles most, as clap finds it.
pub(super) fn nearest_setting(command: &Command, key: &str) -> Option<String> {
    let error = command.clone().try_get_matches_from([format!("--{}", key.replace('_', "-"))]).err()?;
    let flag = suggested(&error, ContextKind::SuggestedArg)?;
    let long = flag.trim_start_matches('-').split('=').next()?;
    command.get_arguments().find(|arg| arg.get_long() == Some(long)).map(|arg| arg.get_id().to_string())
}

fn suggested(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(some) => some.first().cloned(),
        _ => None,
    }
}
