use std::path::PathBuf;

use clap::{Args, value_parser};

use super::{ConfigFlags, ReadFlags, StorageFlags};

/// Resize photos once and pack them into tar shards to train from
///
/// DATA is a data set as `train` takes it, on this machine or in a bucket (`s3://BUCKET/PREFIX`). Each photo is decoded,
/// turned upright, made RGB, resized and packed; one that cannot be decoded gets a row with the reason. The folder also gets
/// `train_metadata.csv`, `test_metadata.csv` and `preprocessing_summary.txt`, and `train` takes it as its DATA.
///
/// The same call again goes on where an earlier one ended, however that ended, and does again what has changed since. The
/// files are the same to the byte, also from several machines that share the work: `--shard 0/3`, `1/3`, `2/3`.
#[derive(Args, Debug)]
pub(crate) struct PrepareArguments {
    /// The data set: a folder, a CSV file or `s3://...`
    pub(crate) data: PathBuf,

    /// Folder to write to, or `s3://BUCKET/PREFIX`
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,

    /// Pixels a side, or `keep`
    #[arg(long, value_name = "PIXELS", default_value = "224", value_parser = size)]
    pub(crate) size: Size,

    /// Cut each box of the labels out and take it for a photo of its own, with a margin on each side in shares of the box's
    /// longer side: for MegaDetector, SpeciesNet, COCO and Camtrap DP files
    #[arg(long, value_name = "MARGIN", value_parser = margin)]
    pub(crate) crop: Option<f64>,

    /// How pixels are stored: JPEG, or raw for speed and exactness
    #[arg(long, value_name = "FORM", default_value = "jpeg", value_parser = ["jpeg", "raw"])]
    pub(crate) store: String,

    /// JPEG quality [default: 95]
    #[arg(long, value_name = "N", value_parser = value_parser!(u8).range(1..=100))]
    pub(crate) quality: Option<u8>,

    /// Tar shards of each part of the data [default: as many as are 64 MiB each]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=99_999))]
    pub(crate) shards: Option<u32>,

    /// The share of this machine: `0/3`, `1/3` and `2/3` on three
    #[arg(long, value_name = "I/N", default_value = "0/1", value_parser = machine)]
    pub(crate) shard: (usize, usize),

    /// Threads that decode photos; 0 takes every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,

    /// Throw away what the folder was prepared as before
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) read: ReadFlags,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,
}

/// Pixels a side; none keeps the photo's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) Option<u32>);

fn size(word: &str) -> Result<Size, String> {
    match (word, word.parse()) {
        ("keep", _) => Ok(Size(None)),
        (_, Ok(pixels @ 1..=4096)) => Ok(Size(Some(pixels))),
        _ => Err("it is `keep` or a number from 1 to 4096".to_owned()),
    }
}

pub(super) fn margin(word: &str) -> Result<f64, String> {
    let margin = word.parse().ok().filter(|margin| (0.0..=10.0).contains(margin));
    margin.ok_or_else(|| "it is a number from 0 to 10, such as 0.1".to_owned())
}

fn machine(word: &str) -> Result<(usize, usize), String> {
    let parsed = word.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    parsed.filter(|(i, n)| i < n).ok_or_else(|| "it is I/N with I from 0 to N - 1, such as 0/3".to_owned())
}
