//! Which photo is in which part.

use std::path::Path;

use anyhow::Context;
use chrono::TimeDelta;
use pugmark_data::check::find_paths;
use pugmark_data::scan::Problem;
use pugmark_data::{
    Dataset, Evenness, Part, PartRow, ReadOptions, Split, SplitBy, SplitOptions, keep_together, read_column,
    split_with,
};
use pugmark_model::write_atomic;
use pugmark_train::TrainSettings;
use serde::Serialize;

use super::data;
use crate::arguments::SplitArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;
use crate::settings::Sources;

#[derive(Serialize)]
struct Report<'a> {
    data: &'a Path,
    file: &'a Path,
    /// What it was split by.
    by: &'a str,
    seed: u64,
    #[serde(flatten)]
    evenness: Evenness,
    /// The largest deviation of a class's share, signed, in percentage points.
    largest_points: Option<f64>,
    /// Sites that are in more than one part.
    shared_sites: usize,
    /// Groups that are not where their hash alone puts them.
    moved_groups: usize,
    warning: Option<&'a str>,
}

pub(crate) fn run(arguments: &SplitArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let SplitArguments { data, out, column, .. } = arguments;
    let sources = Sources::new(arguments.config.config.as_deref())?;
    let settings: TrainSettings = sources.resolve(&arguments.split)?.settings;
    let mut settings = settings.split_settings();
    if column.is_some() && settings.by == SplitBy::Auto {
        settings.by = SplitBy::Column;
    }
    if column.is_some() != (settings.by == SplitBy::Column) {
        return Err(WrongCall::new("`--by column` and `--column NAME` go together")
            .with_hint("name the column: `--by column --column NAME`")
            .into());
    }
    if out.exists() && !arguments.overwrite {
        return Err(WrongCall::new(format!("{} exists", out.display()))
            .with_hint(
                "`--overwrite` replaces it, another `--out` keeps it; `--keep` holds on to what is in it",
            )
            .into());
    }
    // A label whose photo is elsewhere divides like any other, and so does a class without one.
    let options =
        ReadOptions { photos: arguments.photos.clone(), allow_empty_class: true, ..ReadOptions::default() };
    let mut dataset = data::read_labels(data, &options, printer)?;
    if !arguments.no_photos {
        find_paths(data, &options, &mut dataset);
    }
    let split = divide(&dataset, &settings, arguments, printer)?;
    write_atomic(out, split.to_csv(&dataset).as_bytes())
        .with_context(|| format!("cannot write {}", out.display()))?;
    if let Some(warning) = &split.warning {
        printer.warning(warning);
    }
    let evenness = split.evenness(&dataset);
    let largest_points = evenness.largest.as_ref().map(|largest| 100.0 * largest.size());
    let report = Report {
        data,
        file: out,
        by: &split.how,
        seed: settings.seed,
        evenness,
        largest_points,
        shared_sites: split.shared_sites(&dataset),
        moved_groups: split.moved,
        warning: split.warning.as_deref(),
    };
    if arguments.json {
        printer.json(&report)?;
    } else {
        printer.result(&text(&report, split.fold_count()))?;
    }
    Ok(ExitStatus::Done)
}

fn divide(
    dataset: &Dataset,
    settings: &pugmark_data::SplitSettings,
    arguments: &SplitArguments,
    printer: &Printer,
) -> anyhow::Result<Split> {
    let column = match &arguments.column {
        Some(name) => Some(read_column(&arguments.data, dataset, name)?),
        None => None,
    };
    let mut earlier = None;
    if let Some(old) = &arguments.keep {
        data::exists(old, "earlier split")?;
        let (split, gone) = Split::earlier(old, dataset)?;
        let kept = split.parts.iter().flatten().count();
        let gone = if gone > 0 { format!("; {gone} of it are gone") } else { String::new() };
        printer.note(&format!("{kept} photos stay where {} has them{gone}", old.display()));
        earlier = Some(split);
    }
    let together = together(dataset, arguments, printer)?;
    let options = SplitOptions {
        folds: arguments.folds.unwrap_or(0),
        burst_gap: arguments.burst_gap,
        column: column.as_deref(),
        keep_together: &together,
        earlier: earlier.as_ref(),
    };
    let split = split_with(dataset, settings, &options)?;
    if let Some(earlier) = &earlier {
        let moved = |(old, new): (&Option<Part>, &Option<Part>)| old.is_some() && new.is_some() && old != new;
        let moved = earlier.parts.iter().zip(&split.parts).filter(|&pair| moved(pair)).count();
        if moved > 0 {
            printer.warning(&format!(
                "the data set itself gives {moved} of these photos another part, and that goes first"
            ));
        }
    }
    Ok(split)
}

/// Duplicates, and bursts by the clocks of the cameras, of the photos that are there.
fn together(
    dataset: &Dataset,
    arguments: &SplitArguments,
    printer: &Printer,
) -> anyhow::Result<Vec<Vec<usize>>> {
    if arguments.no_photos {
        return Ok(Vec::new());
    }
    let Some(facts) = data::look(dataset, arguments.threads, arguments.file_dates, printer)? else {
        return Ok(Vec::new());
    };
    let missing = facts.iter().filter(|facts| facts.problem == Some(Problem::Missing)).count();
    if missing > 0 {
        printer.note(&format!(
            "{missing} of {} photos are not there: their duplicates and bursts are not known (`--photos` names the \
             folder they are below)",
            facts.len()
        ));
    }
    let gap = TimeDelta::from_std(arguments.burst_gap).unwrap_or(TimeDelta::MAX);
    let groups = keep_together(dataset, Some(&facts), gap);
    let photos: usize = groups.iter().map(Vec::len).sum();
    if photos > 0 {
        printer
            .note(&format!("{photos} photos stay together in {} bursts or sets of duplicates", groups.len()));
    }
    Ok(groups)
}

/// A table with a column for each part and a row for each class, and what to do with it.
fn text(report: &Report<'_>, folds: u32) -> String {
    let Report { evenness, by, file, .. } = report;
    let all = &evenness.all;
    let columns: Vec<&PartRow> = evenness.parts.iter().chain([all]).collect();
    let mut rows: Vec<(String, Vec<String>)> = Vec::new();
    let mut row = |name: &str, value: &dyn Fn(&PartRow) -> String| {
        rows.push((name.to_owned(), columns.iter().map(|part| value(part)).collect()));
    };
    row("", &|part| part.name.clone());
    row("photos", &|part| part.photos.to_string());
    row("share", &|part| percent(part.share));
    if all.sites > 0 {
        row("sites", &|part| part.sites.to_string());
    }
    if all.groups > 0 && all.groups != all.sites && all.groups != all.photos {
        row("groups", &|part| part.groups.to_string());
    }
    for (class, name) in evenness.classes.iter().enumerate() {
        row(name, &|part| percent(part.class_share(class)));
    }
    let names = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let width =
        rows.iter().flat_map(|(_, values)| values).map(|value| value.chars().count()).max().unwrap_or(0);
    let how = match by.strip_prefix("given") {
        Some("") => "keeps the split that it gives itself".to_owned(),
        Some(_) => format!("is split ({by}, seed {})", report.seed),
        None if *by == "random" => format!("is split at random (seed {})", report.seed),
        None => format!("is split by {by} (seed {})", report.seed),
    };
    let mut text = format!("{} {how}\n\n", report.data.display());
    for (name, values) in rows {
        let values: String = values.iter().map(|value| format!("  {value:>width$}")).collect();
        text.push_str(format!("{name:<names$}{values}").trim_end());
        text.push('\n');
    }
    if let Some(largest) = &evenness.largest {
        text.push_str(&format!(
            "\nlargest deviation of a class: {} is {} of {} and {} of all photos ({:+.1} points)\n",
            largest.class,
            percent(largest.share),
            largest.part,
            percent(largest.overall),
            100.0 * largest.size()
        ));
    }
    if report.moved_groups > 0 {
        let (moved, all) = (report.moved_groups, all.groups);
        text.push_str(&format!("moved to even out the classes: {moved} of {all} groups\n"));
    }
    let fold = if folds > 0 { format!(" --fold 1   (to {folds})") } else { String::new() };
    let data = report.data.display();
    text + &format!(
        "written to {}\nnext   pugmark train {data} --split-file {}{fold}",
        file.display(),
        file.display()
    )
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}
