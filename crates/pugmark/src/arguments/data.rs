use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

/// Which photos, and which labels.
#[derive(Args, Serialize, Debug, Default)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataFlags {
    /// The same as DATA, as the older scripts call it
    #[arg(long = "data-dir", value_name = "DATA")]
    pub(crate) data: Option<PathBuf>,

    /// Folder that the photos named in a CSV are below (by default the folder of the CSV)
    #[arg(long, value_name = "FOLDER")]
    pub(crate) photos: Option<PathBuf>,

    /// Leave out labels whose photo does not exist, instead of stopping
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) skip_missing: Option<bool>,

    /// Keep classes that have no photo, instead of stopping
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) allow_empty_class: Option<bool>,
}
