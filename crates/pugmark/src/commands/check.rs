//! What a data set holds, before anything is trained on it.

mod page;
mod preview;
mod text;
mod thumbnails;

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use chrono::{DateTime, NaiveDateTime, TimeDelta};
use pugmark_data::Split;
use pugmark_data::check::{CheckSettings, Report, check, subject};
use pugmark_data::formats::{Format, validate};
use pugmark_model::write_atomic;

use super::data;
use crate::arguments::CheckArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;

pub(crate) fn run(arguments: &CheckArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    data::exists(&arguments.data, "data set")?;
    if let Some(format) = arguments.format {
        return rules(arguments, format, printer);
    }
    if let (Some(settings), Some(out)) = (&arguments.preview, &arguments.preview_out) {
        return preview::run(arguments, settings, out, printer);
    }
    for file in [&arguments.html, &arguments.drop_list].into_iter().flatten() {
        free(file, arguments.overwrite)?;
    }
    let subject = subject(&arguments.data, arguments.photos.as_deref(), !arguments.no_photos)?;
    let split = match &arguments.split_file {
        Some(file) => Some(Split::from_csv(file, &subject.dataset)?),
        None => None,
    };
    let facts = if arguments.no_photos {
        None
    } else {
        data::look(&subject.dataset, arguments.threads, arguments.file_dates, printer)?
    };
    let settings = CheckSettings {
        burst_gap: TimeDelta::from_std(arguments.burst_gap).unwrap_or(TimeDelta::MAX),
        seed: arguments.seed,
        val: arguments.val,
        split,
        now: now()?,
    };
    let report = check(&subject, facts.as_deref(), &settings)?;
    if arguments.json {
        printer.json(&report)?;
    } else {
        printer.result(&text::text(&report))?;
    }
    if let Some(file) = &arguments.html {
        let figures = thumbnails::of(&report, &subject);
        write(file, page::page(&report, &figures, settings.now).as_bytes())?;
        printer.note(&format!("the page is {}", file.display()));
    }
    if let Some(file) = &arguments.drop_list {
        let rows = drop_list(&report)?;
        write(file, &rows)?;
        printer.note(&format!("the photos to drop are in {}", file.display()));
    }
    Ok(ExitStatus::Done)
}

/// What breaks the rules of a format.
fn rules(arguments: &CheckArguments, format: Format, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let report = validate(&arguments.data, format)?;
    if arguments.json {
        printer.json(&report)?;
    } else {
        printer.result(&report.to_string())?;
    }
    Ok(if report.is_valid() { ExitStatus::Done } else { ExitStatus::Failed })
}

fn free(file: &Path, overwrite: bool) -> Result<(), WrongCall> {
    if overwrite || !file.exists() {
        return Ok(());
    }
    Err(WrongCall::new(format!("{} exists", file.display()))
        .with_hint("`--overwrite` replaces it, another name keeps it"))
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write_atomic(file, bytes).with_context(|| format!("cannot write {}", file.display()))
}

/// The time of this machine's clock, UTC.
fn now() -> anyhow::Result<NaiveDateTime> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let time = i64::try_from(seconds).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    Ok(time.context("the clock of this machine is wrong")?.naive_utc())
}

/// A CSV `id,reason`.
fn drop_list(report: &Report) -> anyhow::Result<Vec<u8>> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["id", "reason"])?;
    for row in report.to_drop() {
        csv.write_record([&row.id, &row.reason])?;
    }
    Ok(csv.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

/// A whole number with its thousands apart: 16,488.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things: `1 photo`, `16,488 photos`.
fn counted(number: usize, thing: &str) -> String {
    format!("{} {thing}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A time without the letter in its middle; empty where it is not known.
fn in_words(time: Option<&String>) -> String {
    time.map_or_else(String::new, |time| time.replacen('T', " ", 1))
}

/// How many times as many: `2.55`, `68`.
fn times(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// What a split is called in a heading.
fn split_name(how: &str) -> String {
    match how {
        "random" => "random split".to_owned(),
        "site" => "split by site".to_owned(),
        "given" => "the data set's own split".to_owned(),
        "file" => "the split in the file".to_owned(),
        other => format!("the data set's own split ({other})"),
    }
}

/// Bytes in the unit that fits: `12 MB`.
fn size(bytes: u64) -> String {
    match bytes as f64 {
        large if large >= 1e9 => format!("{:.1} GB", large / 1e9),
        large if large >= 1e6 => format!("{:.1} MB", large / 1e6),
        small => format!("{:.0} kB", (small / 1e3).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in
            [(0, "0"), (999, "999"), (1000, "1,000"), (16_488, "16,488"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!(counted(1, "photo"), "1 photo");
        assert_eq!((size(0), size(1), size(2_500_000)), ("0 kB".into(), "1 kB".into(), "2.5 MB".into()));
    }
}
