use std::path::PathBuf;

use chrono::TimeDelta;
use clap::Args;

/// Check a data set before training: what it holds, what is broken, and what a split of it would give away
///
/// Reads the labels, then every photo once. Finds files that are missing, empty, cut off or cannot be decoded, duplicates,
/// bursts, night frames and clocks that were never set. The leakage audit measures how well predictors score that see only
/// the site, the hour or the colours of a photo: what they score on a random split and not on a split by site, a classifier
/// scores for knowing the place. A folder of photos without labels is checked too.
///
/// Whatever is found is a result: the exit status is 0.
#[derive(Args, Debug)]
pub(crate) struct CheckArguments {
    /// The data set: a folder or a CSV file
    #[arg(value_name = "DATA")]
    pub(crate) data: PathBuf,

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

    /// Replace those files
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Longest time between two photos of one burst: 60s, 2min, 1h
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = gap)]
    pub(crate) burst_gap: TimeDelta,

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

/// Reads a time with its unit; a bare number is seconds.
fn gap(text: &str) -> Result<TimeDelta, String> {
    let wrong = || format!("`{text}` is not a time such as 60s, 2min or 1h");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(seconds).and_then(TimeDelta::try_seconds).ok_or_else(wrong)
}

/// Reads a share of the photos.
fn share(text: &str) -> Result<f64, String> {
    let share: f64 = text.parse().map_err(|_| format!("`{text}` is no number"))?;
    if share > 0.0 && share < 1.0 { Ok(share) } else { Err("it must be above 0 and below 1".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::{gap, share};

    #[test]
    fn gaps_have_units() {
        for (text, seconds) in
            [("60s", 60), ("60", 60), ("2min", 120), ("30m", 1800), ("1h", 3600), ("0s", 0)]
        {
            assert_eq!(gap(text).unwrap().num_seconds(), seconds);
        }
        for text in ["", "s", "-3s", "1d", "1.5h", "99999999999999999999s", "9223372036854775807h"] {
            assert!(gap(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_leave_something_on_both_sides() {
        assert_eq!(share("0.25"), Ok(0.25));
        for text in ["0", "1", "1.5", "-0.1", "NaN", "half"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
