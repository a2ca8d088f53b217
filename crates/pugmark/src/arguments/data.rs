use std::path::{Path, PathBuf};
use std::time::Duration;

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

impl DataFlags {
    /// Whether they name a data set.
    pub(super) fn names_data(&self) -> bool {
        self.data.is_some()
    }
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

impl ReadFlags {
    /// The folder that `--photos` names.
    pub(crate) fn photos(&self) -> Option<&Path> {
        self.photos.as_deref()
    }
}

/// Reads a time such as `60s`, `5min` or `1h`; a number alone means seconds.
pub(super) fn gap(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let seconds = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err("a time is a whole number with s, min or h: 60s".to_owned()),
    };
    let number: u64 = number.parse().map_err(|_| "a time begins with a whole number: 60s".to_owned())?;
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(|| "that is too long".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (text, seconds) in
            [("60s", 60), ("0", 0), (" 30 s", 30), ("5min", 300), ("2m", 120), ("1h", 3600)]
        {
            assert_eq!(gap(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "-1s", "1.5h", "3 days", "99999999999999999999s", "9999999999999999999h"] {
            assert!(gap(text).is_err(), "{text}");
        }
    }
}
