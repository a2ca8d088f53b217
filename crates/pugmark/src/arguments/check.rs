use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pugmark_data::formats::Format;

use super::convert::formats;
use super::data::gap;

/// Check a data set before training: what it holds, what is broken, and what a split of it would give away
///
/// Reads the labels, then every photo once. Finds files that are missing, empty, cut off or cannot be decoded, duplicates,
/// bursts, night frames and clocks that were never set. The leakage audit measures how well predictors score that see only
/// the site, the hour or the colours of a photo: what they score on a random split and not on a split by site, a classifier
/// scores for knowing the place. A folder of photos without labels is checked too.
///
/// Whatever is found is a result: the exit status is 0. With `--format`, a file of labels or predictions is checked against
/// the rules of its format instead, and one that breaks them ends with 1.
#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    /// The data set: a folder or a CSV file
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,

    /// Check the file against the rules of this format instead: what is wrong, where, and what to do
    #[arg(long, value_name = "FORMAT", value_parser = formats(|format| format != Format::Folders))]
    #[arg(conflicts_with_all = ["photos", "no_photos", "html", "drop_list", "split_file"])]
    pub(crate) format: Option<Format>,

    /// Folder that the photos named in a CSV are below [default: the folder of the CSV]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) photos: Option<PathBuf>,

    /// Look at the labels alone
    #[arg(long)]
    pub(crate) no_photos: bool,

    /// Print JSON, with every list in full
    #[arg(long)]
    pub(crate) json: bool,

    /// Also write a page with plots and thumbnails, one file that needs no network
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    /// Also write a CSV `id,reason` of the photos to drop: missing, empty, undecodable, and all but one of exact duplicates
    #[arg(long, value_name = "FILE")]
    pub(crate) drop_list: Option<PathBuf>,

    /// Instead, show photos as a training with this recipe (a NAME of `pugmark recipes` or a TOML file) would see them, for
    /// `--preview-out`
    #[arg(long, value_name = "NAME|FILE", requires = "preview_out")]
    #[arg(conflicts_with_all = ["format", "no_photos", "json", "html", "drop_list", "split_file"])]
    pub(crate) preview: Option<String>,

    /// The page they are shown on: a contact sheet, one file that needs no network
    #[arg(long, value_name = "FILE.html", requires = "preview")]
    pub(crate) preview_out: Option<PathBuf>,

    /// Replace those files
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Longest time between two photos of one burst: 60s, 2min, 1h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = gap)]
    pub(crate) burst_gap: Duration,

    /// Take the date of the file (in UTC) for the time of a photo that does not say it; copying changes those dates
    #[arg(long)]
    pub(crate) file_dates: bool,

    /// Split to audit, a CSV `id,split` [default: the data set's own, else a random one beside one by site]
    #[arg(long, value_name = "FILE")]
    pub(crate) split_file: Option<PathBuf>,

    /// Share of the validation part of the splits that are tried
    #[arg(long, value_name = "SHARE", default_value_t = 0.25, value_parser = share)]
    pub(crate) val: f64,

    /// Seed of the splits that are tried
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,

    /// Threads that read and decode photos; 0 takes every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: usize,
}

/// Reads a share of the photos.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err("it must be above 0 and below 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn shares_leave_something_on_both_sides() {
        assert_eq!(share("0.25"), Ok(0.25));
        for text in ["0", "1", "1.5", "-0.1", "NaN", "half"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
