//! The space of a search in the words of a training's settings.

use std::path::Path;

use anyhow::Context;
use pugmark_train::TrainSettings;
use pugmark_tune::{Domain, Parameter, Space, SpaceError, Value};

use crate::arguments::TuneArguments;
use crate::error::WrongCall;
use crate::settings::{given, is_continuous, searched_setting, with_values};

/// The space that the call names, of settings that a training has.
pub(super) fn space(arguments: &TuneArguments) -> anyhow::Result<Space> {
    let space = match &arguments.space {
        Some(file) => from_file(file)?,
        None if arguments.search.is_empty() => {
            return Err(WrongCall::new("nothing is searched")
                .with_hint(
                    "name it, as in `--search \"lr=log(1e-4,1e-1)\" batch=16,32`, or take `--space FILE`",
                )
                .into());
        }
        None => from_words(&arguments.search)?,
    };
    let given = given(&arguments.training);
    match space.parameters.iter().find(|parameter| given.contains(&parameter.name)) {
        Some(Parameter { name, .. }) => {
            let flag = name.replace('_', "-");
            Err(WrongCall::new(format!("`{name}` is searched, and `--{flag}` fixes it"))
                .with_hint("leave out one of them")
                .into())
        }
        None => Ok(space),
    }
}

fn wrong(error: &SpaceError) -> WrongCall {
    WrongCall::new(error.to_string()).with_hint(error.hint())
}

fn from_file(file: &Path) -> anyhow::Result<Space> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| WrongCall::new(format!("{}: {error}", file.display())))?;
    let space = Space::from_ranges(&text).map_err(|error| wrong(&error));
    Ok(named(space.with_context(|| format!("{} is no search space", file.display()))?)?)
}

fn from_words(words: &[String]) -> Result<Space, WrongCall> {
    if let Some(word) = words.iter().find(|word| !word.contains('=')) {
        return Err(WrongCall::new(format!("`{word}` names no values to search"))
            .with_hint("`--search` takes NAME=VALUES; the data set stands before it"));
    }
    let mut space = named(Space::from_flags(words).map_err(|error| wrong(&error))?)?;
    // `0..1` is meant as what the setting can be.
    for parameter in &mut space.parameters {
        if let &Domain::Integer { min, max, scale } = &parameter.domain
            && is_continuous(&parameter.name)
        {
            parameter.domain = Domain::Continuous { min: min as f64, max: max as f64, scale };
        }
    }
    Ok(space)
}

/// The space with the keys of settings for whatever names they were given.
fn named(mut space: Space) -> Result<Space, WrongCall> {
    for parameter in &mut space.parameters {
        parameter.name = searched_setting(&parameter.name)?;
        if let Some(condition) = &mut parameter.condition {
            condition.parameter = searched_setting(&condition.parameter)?;
        }
    }
    space.validate().map_err(|error| wrong(&error))?;
    Ok(space)
}

/// A recipe's warm-up is for its own number of epochs: fewer have a shorter one.
pub(super) fn shorten_warmup(settings: &mut TrainSettings) {
    settings.warmup_epochs = settings.warmup_epochs.min(f64::from(settings.epochs) / 2.0);
}

/// Tries the ends of every range and every category, before anything is trained.
pub(super) fn check(space: &Space, base: &TrainSettings, shorter_warmup: bool) -> Result<(), WrongCall> {
    for Parameter { name, domain, condition } in &space.parameters {
        let values: Vec<Value> = match domain {
            Domain::Categorical(words) => words.iter().cloned().map(Value::Text).collect(),
            // And one in between, for what can only be whole.
            range => [0.0, 0.382, 1.0].map(|unit| range.from_unit(unit)).into(),
        };
        let condition = condition.as_ref().and_then(|condition| {
            Some((condition.parameter.as_str(), condition.values.first()?.to_string()))
        });
        for value in values {
            let pair = (name.as_str(), value.to_string());
            let settings = with_values(base, condition.clone().into_iter().chain([pair]));
            let mut settings = settings.map_err(|error| match domain {
                Domain::Continuous { .. } => {
                    error.with_hint(format!("whole numbers are searched with `{name}=2..5`"))
                }
                _ => error,
            })?;
            if shorter_warmup {
                shorten_warmup(&mut settings);
            }
            settings.validate().map_err(|error| {
                let at = if error.name == name {
                    String::new()
                } else {
                    format!(": `{}` is {}", error.name, error.value)
                };
                WrongCall::new(format!("`{name}` is searched, and can't be {value}{at}: {}", error.why))
            })?;
        }
    }
    Ok(())
}
