//! Settings whose values a search proposes: named and read as their flags are.

use clap::{Arg, value_parser};
use pugmark_train::TrainSettings;
use toml::Table;

use super::layer::{named_setting, nearest_setting};
use super::{flags, parse, to_table};
use crate::arguments::TrainFlags;
use crate::error::WrongCall;

/// What is not searched, and why.
const FIXED: [(&[&str], &str); 4] = [
    (
        &[
            "data",
            "photos",
            "skip_missing",
            "allow_empty_class",
            "split",
            "val",
            "test",
            "split_file",
            "fold",
            "seed",
        ],
        "it decides which photos a trial is measured on, and trials would not be comparable",
    ),
    (&["recipe"], "it is a name for many settings: search those"),
    (
        &["threads", "loader_threads", "cache_mib", "memory", "checkpoint_minutes", "precision", "device"],
        "it is for the machine",
    ),
    (&["time_budget"], "what is trained in a time depends on the machine's load"),
];

/// The key of the setting that a word names: its key, its flag or a short name.
pub(crate) fn searched_setting(word: &str) -> Result<String, WrongCall> {
    let command = flags::<TrainFlags>();
    let Some(key) = named_setting(&command, word) else {
        let error = WrongCall::new(format!("there is no setting `{word}` to search"));
        return Err(match nearest_setting(&command, word) {
            Some(nearest) => error.with_hint(format!("is `{nearest}` meant?")),
            None => error.with_hint("`pugmark train --help` lists the settings"),
        });
    };
    match FIXED.iter().find(|(keys, _)| keys.contains(&&*key)) {
        Some((_, why)) => Err(WrongCall::new(format!("`{key}` can't be searched: {why}"))),
        None => Ok(key),
    }
}

/// Whether the setting is a number that need not be whole.
pub(crate) fn is_continuous(key: &str) -> bool {
    let command = flags::<TrainFlags>();
    let kind = clap::builder::ValueParser::from(value_parser!(f64)).type_id();
    command.get_arguments().any(|arg| arg.get_id() == key && arg.get_value_parser().type_id() == kind)
}

/// `base` with some values, each read as its flag would be.
pub(crate) fn with_values<'a>(
    base: &TrainSettings,
    values: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<TrainSettings, WrongCall> {
    let command = flags::<TrainFlags>();
    let mut table: Table = to_table(base).map_err(WrongCall::new)?;
    for (key, text) in values {
        let arg = command.get_arguments().find(|arg| arg.get_id() == key);
        let long = arg.and_then(Arg::get_long).unwrap_or(key);
        let value = parse::<TrainFlags>(&command, long, &text)
            .map_err(|why| WrongCall::new(format!("`{key}` is searched, and can't be `{text}`: {why}")))?;
        table.extend(value);
    }
    let settings: TrainSettings =
        table.try_into().map_err(|error: toml::de::Error| WrongCall::new(error.to_string()))?;
    // It is the machine's, and in no document.
    Ok(TrainSettings { feature_folder: base.feature_folder.clone(), ..settings })
}

/// The keys that flags give.
pub(crate) fn given(flags: &TrainFlags) -> Vec<String> {
    to_table(flags).map(|table| table.keys().cloned().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_by_every_name() {
        for word in ["lr", "learning-rate", "learning_rate", "--learning-rate"] {
            assert_eq!(searched_setting(word).unwrap(), "learning_rate", "{word}");
        }
        let error = searched_setting("learning-rat").unwrap_err();
        assert!(error.to_string().contains("no setting `learning-rat`"), "{error}");
        for word in ["seed", "val", "threads", "recipe", "time-budget"] {
            assert!(searched_setting(word).unwrap_err().to_string().contains("can't be searched"), "{word}");
        }
        assert!(is_continuous("rotation") && !is_continuous("epochs") && !is_continuous("batch_size"));
    }

    #[test]
    fn values_are_read_as_flags_are() {
        let base = TrainSettings { feature_folder: Some("features".into()), ..TrainSettings::default() };
        let values =
            [("learning_rate", "0.003"), ("batch_size", "auto"), ("flip", "true"), ("optimiser", "sgd")];
        let settings = with_values(&base, values.map(|(key, value)| (key, value.to_owned()))).unwrap();
        assert_eq!((settings.learning_rate, settings.batch_size, settings.flip), (0.003, 0, true));
        assert_eq!(settings.feature_folder, base.feature_folder);
        let error = with_values(&base, [("optimiser", "adam".to_owned())]).unwrap_err();
        assert!(error.to_string().contains("it must be one of adamw, sgd"), "{error}");
        let error = with_values(&base, [("epochs", "2.5".to_owned())]).unwrap_err();
        assert!(error.to_string().contains("`epochs` is searched, and can't be `2.5`"), "{error}");
    }
}
