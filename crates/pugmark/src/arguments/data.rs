use std::path::PathBuf;

use clap::Args;
use clap::builder::BoolishValueParser;
use serde::Serialize;

/// The data set of a training.
#[derive(Args, Serialize, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataFlags {
    /// The same as DATA, as the older scripts call it
    #[arg(long = "data-dir", value_name = "DATA")]
    data: Option<PathBuf>,

    #[command(flatten)]
    #[serde(flatten)]
    read: ReadFlags,

    /// Keep classes that have no photo, instead of stopping
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    allow_empty_class: Option<bool>,
}

/// How a data set is read.
#[derive(Args, Serialize, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct ReadFlags {
    /// Folder that the photos named in a CSV are below [default: the folder of the CSV]
    #[arg(long, value_name = "FOLDER")]
    photos: Option<PathBuf>,

    /// Leave out labels whose photo does not exist, instead of stopping
    #[arg(long, value_name = "BOOL", value_parser = BoolishValueParser::new())]
    skip_missing: Option<bool>,
}
