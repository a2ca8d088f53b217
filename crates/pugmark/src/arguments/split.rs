use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, value_parser};
use pugmark_data::SplitBy;
use serde::Serialize;

use super::ConfigFlags;
use super::train::seed;

/// Split a data set into train, val and test, or into folds, and write which photo is where
///
/// Photos that belong together (of one site, one sequence, one burst) stay together in one part, and the parts get the
/// same classes as evenly as that allows; the largest deviation is told. Parts that the data set itself gives are kept.
/// Only labels are read: the photos need not be there.
///
/// `pugmark train DATA --split-file split.csv` trains on it, with `--fold I` on fold I of `--folds`. The same labels and
/// seed give the same split in whatever order they are listed. More photos change few of the old ones' parts, and with
/// `--keep OLD.csv` none at all.
#[derive(Args, Debug)]
pub(crate) struct SplitArguments {
    /// The data set: a folder or a CSV file
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,

    /// File to write, `id,split,class,site` and with folds `fold`
    #[arg(long, value_name = "FILE", default_value = "split.csv")]
    pub(crate) out: PathBuf,

    /// Replace that file
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    /// Column of the labels' CSV whose values stay together (with `--by column`)
    #[arg(long, value_name = "NAME", help_heading = "Split")]
    pub(crate) column: Option<String>,

    /// Split what is not test into so many folds instead of train and val
    #[arg(long, value_name = "K", value_parser = value_parser!(u32).range(2..=1000), help_heading = "Split")]
    #[arg(conflicts_with = "val")]
    pub(crate) folds: Option<u32>,

    /// Photos of a site or folder taken at most so long apart are one burst: `60s`, `5min`, `1h`
    #[arg(long, value_name = "TIME", value_parser = gap, default_value = "60s", help_heading = "Split")]
    pub(crate) burst_gap: Duration,

    /// An earlier split: its photos keep their parts, and only new ones are placed
    #[arg(long, value_name = "OLD.csv", help_heading = "Split")]
    pub(crate) keep: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) split: SplitFlags,
}

/// The settings of a split, named as those of a training.
#[derive(Args, Serialize, Debug, Default)]
#[command(next_help_heading = "Split")]
pub(crate) struct SplitFlags {
    /// What stays together in one part; `auto` takes the first that is known of site, sequence, folder of a camera, burst
    #[arg(long = "by", alias = "split", value_name = "BY")]
    #[arg(value_parser = PossibleValuesParser::new(SplitBy::ALL.map(SplitBy::name)))]
    split: Option<String>,

    /// Share of the photos in the validation part
    #[arg(long, value_name = "X")]
    val: Option<f64>,

    /// Share of the photos in the test part
    #[arg(long, value_name = "X")]
    test: Option<f64>,

    /// Another seed gives another split
    #[arg(long, value_name = "N", value_parser = seed())]
    seed: Option<u64>,
}

/// Reads a time such as `60s`, `5min` or `1h`; a number alone means seconds.
fn gap(text: &str) -> Result<Duration, String> {
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
