use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, value_parser};
use pugmark_data::SplitBy;
use serde::Serialize;

use super::ConfigFlags;
use super::data::gap;
use super::train::seed;

/// Split a data set into train, val and test, or into folds, and write which photo is where
///
/// Photos that belong together (of one site, one sequence, one burst) stay together in one part, and the parts get the
/// same classes as evenly as that allows; the largest deviation is told. Parts that the data set itself gives are kept.
/// Photos that are there are looked at once: duplicates, and bursts by the cameras' clocks, stay together too.
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

    /// Folder that the photos named in a CSV are below [default: the folder of the CSV]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) photos: Option<PathBuf>,

    /// Look at the labels alone
    #[arg(long)]
    pub(crate) no_photos: bool,

    /// Threads that read and decode photos; 0 takes every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,

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

    /// Take the date of the file (in UTC) for the time of a photo that does not say it; copying changes those dates
    #[arg(long, help_heading = "Split")]
    pub(crate) file_dates: bool,

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
