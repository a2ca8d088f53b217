//! What the help says of a setting besides its text: its variable and its default.

use clap::builder::ValueParser;
use clap::{Arg, Args, Command};
use pugmark_data::StorageOptions;
use pugmark_train::TrainSettings;
use serde::Serialize;
use toml::Table;

use super::{InferenceSettings, ReadSettings, flags};
use crate::arguments::{InferenceFlags, ReadFlags, SplitFlags, StorageFlags, TrainFlags};

/// Completes the settings of every verb.
pub(crate) fn document(command: Command) -> Command {
    command
        .mut_subcommand("split", settings::<SplitFlags, TrainSettings>)
        .mut_subcommand("prepare", |prepare| buckets(settings::<ReadFlags, ReadSettings>(prepare)))
        .mut_subcommand("train", |train| buckets(settings::<TrainFlags, TrainSettings>(train)))
        .mut_subcommand("tune", |tune| {
            let budget = "End the search in time: 30m, 2h; trials in progress are saved, and `--resume` goes on with them";
            buckets(settings::<TrainFlags, TrainSettings>(tune.mut_arg("time_budget", |arg| arg.help(budget))))
        })
        .mut_subcommand("eval", |eval| {
            buckets(settings::<InferenceFlags, InferenceSettings>(settings::<ReadFlags, ReadSettings>(eval)))
        })
        .mut_subcommand("predict", settings::<InferenceFlags, InferenceSettings>)
}

fn buckets(command: Command) -> Command {
    settings::<StorageFlags, StorageOptions>(command)
}

/// The flags of `F` in a verb, whose defaults are those of `S`.
fn settings<F: Args, S: Default + Serialize>(command: Command) -> Command {
    // Default settings are plain values; were they not, the snapshot of the help would lose every default.
    let defaults = Table::try_from(S::default()).unwrap_or_default();
    let known = flags::<F>();
    command.mut_args(|arg| {
        if known.get_arguments().any(|flag| flag.get_id() == arg.get_id()) {
            complete(arg, &defaults)
        } else {
            arg
        }
    })
}

fn complete(arg: Arg, defaults: &Table) -> Arg {
    let key = arg.get_id().as_str().to_owned();
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    match defaults.get(&key) {
        None | Some(toml::Value::Boolean(false)) => {}
        Some(toml::Value::String(word)) => help.push_str(&format!(" [default: {word}]")),
        // As f32, which the setting may be: 0.01 widened to f64 has seventeen digits.
        Some(toml::Value::Float(value)) => help.push_str(&format!(" [default: {}]", *value as f32)),
        Some(value) => help.push_str(&format!(" [default: {value}]")),
    }
    help.push_str(&format!(" [env: PUGMARK_{}]", key.to_uppercase()));
    let arg = arg.help(help).allow_negative_numbers(true);
    if is_bool(arg.get_value_parser()) {
        // `--flip` alone means true; `--flip=false` overrules a file.
        arg.num_args(0..=1).require_equals(true).default_missing_value("true").hide_possible_values(true)
    } else {
        arg
    }
}

fn is_bool(parser: &ValueParser) -> bool {
    parser.type_id() == ValueParser::bool().type_id()
}
