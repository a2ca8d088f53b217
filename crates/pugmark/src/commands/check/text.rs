//! The report as text: the verdict first, then what was counted.

use std::fmt::Write as _;

use pugmark_data::audit::{Audit, Sees, percent};
use pugmark_data::check::{Count, Files, Report, Sites};

use super::super::data::some;
use super::{counted, grouped, in_words, size, split_name, times};

/// Rows of a list that fill a screen.
const ROWS: usize = 30;

/// Sites that are named.
const SITES: usize = 5;

/// Room for the names of a table.
const NAMES: usize = 28;

pub(super) fn text(report: &Report) -> String {
    let mut text = head(report);
    for sentence in &report.verdict {
        let _ = write!(text, "\n{sentence}\n");
    }
    classes(&mut text, report);
    for audit in &report.audits {
        audited(&mut text, audit);
    }
    if let Some(sites) = &report.sites {
        site_list(&mut text, sites);
    }
    if let Some(files) = report.files.as_ref().filter(|files| files.files > 0) {
        file_list(&mut text, report, files);
    }
    findings(&mut text, report);
    text
}

/// One line: what it is and how much.
fn head(report: &Report) -> String {
    let mut parts = vec![counted(report.photos, "photo")];
    if let Some(sites) = &report.sites {
        parts.push(counted(sites.count, "site"));
    }
    match report.classes.len() {
        0 => {}
        1 => parts.push("1 class".to_owned()),
        classes => parts.push(format!("{} classes", grouped(classes))),
    }
    format!("{} ({}): {}\n", report.data.display(), report.format, parts.join(", "))
}

/// Rows of a table: a name, a number, what share that is.
fn rows(text: &mut String, rows: &[Count], all: usize) {
    for row in rows.iter().take(ROWS) {
        let share = percent(row.photos as f64 / all.max(1) as f64);
        let _ = writeln!(text, "  {:<NAMES$}  {:>9}  {share:>8}", row.name, grouped(row.photos));
    }
    if rows.len() > ROWS {
        let _ = writeln!(text, "  and {} more", grouped(rows.len() - ROWS));
    }
}

fn classes(text: &mut String, report: &Report) {
    if report.classes.is_empty() {
        return;
    }
    let ratio = report.imbalance.map_or_else(
        || "a class has no photo".to_owned(),
        |ratio| format!("the largest has {} photos for one of the smallest", times(ratio)),
    );
    let _ = write!(text, "\nclasses ({ratio})\n");
    rows(text, &report.classes, report.labelled);
    if !report.parts.is_empty() {
        text.push_str("\nparts\n");
        let parts: Vec<Count> = report
            .parts
            .iter()
            .map(|part| Count {
                name: part.part.map_or("none", pugmark_data::Part::name).to_owned(),
                photos: part.photos,
            })
            .collect();
        rows(text, &parts, report.photos);
    }
}

fn audited(text: &mut String, audit: &Audit) {
    for part in &audit.parts {
        let _ = write!(
            text,
            "\n{}: {} to learn from, {} in {}\n  {:<NAMES$}  {:>9}  {:>8}\n",
            split_name(&audit.split),
            grouped(audit.train),
            grouped(part.photos),
            part.part,
            "predictor",
            "accuracy",
            "log loss"
        );
        let mut row = |name: &str, score: pugmark_data::audit::Score| {
            let accuracy = percent(score.accuracy);
            let _ = writeln!(text, "  {name:<NAMES$}  {accuracy:>9}  {:>8.3}", score.log_loss);
        };
        row("most common class", part.majority);
        for predictor in &part.predictors {
            row(sees(predictor.sees), predictor.score);
        }
        let crossing = [
            (part.sites.unwrap_or_default(), "site", "sites"),
            (part.bursts, "burst", "bursts"),
            (part.duplicates, "group of exact duplicates", "groups of exact duplicates"),
            (part.near_duplicates, "group of near duplicates", "groups of near duplicates"),
        ];
        let crossing: Vec<String> = crossing
            .iter()
            .filter(|(shared, ..)| shared.of > 0)
            .map(|(shared, one, many)| {
                let name = if shared.of == 1 { one } else { many };
                format!("{} of {} {name}", grouped(shared.groups), grouped(shared.of))
            })
            .collect();
        if !crossing.is_empty() {
            let _ = writeln!(text, "  also in train: {}", crossing.join(", "));
        }
    }
}

/// What a predictor that sees only this is called.
pub(super) fn sees(sees: Sees) -> &'static str {
    match sees {
        Sees::Site => "only the site",
        Sees::Hour => "only the hour of the day",
        Sees::Colours => "only colours and brightness",
    }
}

fn site_list(text: &mut String, sites: &Sites) {
    let all: usize = sites.sites.iter().map(|site| site.photos).sum();
    let median = sites.sites.get(sites.sites.len() / 2).map_or(0, |site| site.photos);
    let _ = write!(text, "\nsites (the middle one has {})\n", counted(median, "photo"));
    let shown: Vec<Count> =
        sites.sites.iter().map(|site| Count { name: site.site.clone(), photos: site.photos }).collect();
    // A single other site is better named.
    let named = if shown.len() > SITES + 1 { SITES } else { shown.len() };
    rows(text, &shown[..named], all);
    if let Some(rest) = shown.get(named..).filter(|rest| !rest.is_empty()) {
        let photos: usize = rest.iter().map(|site| site.photos).sum();
        rows(text, &[Count { name: format!("{} others", grouped(rest.len())), photos }], all);
    }
    if sites.photos_without > 0 {
        let _ = writeln!(text, "  {} without a site", counted(sites.photos_without, "photo"));
    }
}

fn file_list(text: &mut String, report: &Report, files: &Files) {
    let _ = write!(text, "\nfiles ({}, {})\n", counted(files.files, "file"), size(files.bytes));
    let sizes = files.resolutions.iter().map(|resolution| Count {
        name: format!("{} x {}", resolution.width, resolution.height),
        photos: resolution.photos,
    });
    let cameras =
        files.cameras.iter().map(|camera| Count { name: camera.camera.clone(), photos: camera.photos });
    for mut list in [files.formats.clone(), sizes.collect(), cameras.collect::<Vec<Count>>()] {
        let more = list.len().saturating_sub(4);
        if more > 1 {
            let photos = list.drain(4..).map(|count| count.photos).sum();
            list.push(Count { name: format!("{more} others"), photos });
        }
        rows(text, &list, report.photos);
    }
    let day = files.decoded - files.infrared;
    let light = [("in colour", day), ("infrared (night)", files.infrared)];
    let light = light.map(|(name, photos)| Count { name: name.to_owned(), photos });
    rows(text, &light, files.decoded);
    if let Some(range) = &files.temperatures {
        let photos = counted(range.photos, "photo");
        let _ = writeln!(text, "  {:.0} to {:.0} degrees Celsius in {photos}", range.lowest, range.highest);
    }
}

/// What is wrong or odd, a line each; what is not there is not mentioned.
fn findings(text: &mut String, report: &Report) {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut list = |what: &str, ids: &[String]| {
        if !ids.is_empty() {
            lines.push((ids.len(), format!("{what}: {}", some(ids))));
        }
    };
    list("labels without a file", &report.labels_without_file);
    list("files without a label", &report.files_without_label);
    if let Some(files) = &report.files {
        list("empty files", &files.empty);
        let undecodable: Vec<String> =
            files.undecodable.iter().map(|file| format!("{} ({})", file.id, file.reason)).collect();
        list("cannot be decoded", &undecodable);
        list("cut off or damaged, in part readable", &files.truncated);
        let wrong: Vec<String> =
            files.wrong_extension.iter().map(|file| format!("{} is {}", file.id, file.content)).collect();
        list("wrong extension", &wrong);
    }
    if let Some(duplicates) = &report.duplicates {
        let first = |groups: &[pugmark_data::check::Group]| {
            let groups: Vec<String> = groups.iter().map(|group| group.ids[..2].join(" = ")).collect();
            some(&groups)
        };
        if !duplicates.exact.is_empty() {
            lines.push((
                duplicates.exact_extra,
                format!("copies of others, byte for byte: {}", first(&duplicates.exact)),
            ));
        }
        if duplicates.exact_with_different_labels > 0 {
            let different = duplicates.exact_with_different_labels;
            lines.push((different, "groups of such copies have different labels".to_owned()));
        }
        if !duplicates.near.is_empty() {
            let (groups, sites) = (duplicates.near.len(), duplicates.near_across_sites);
            lines.push((
                duplicates.near_photos,
                format!(
                    "look the same as another; groups of them: {groups}, of those at several sites: {sites}"
                ),
            ));
        }
    }
    let bursts = &report.bursts;
    if bursts.count > 0 {
        lines.push((
            bursts.count,
            format!(
                "bursts of {} (at most {} s apart), the longest of {}",
                counted(bursts.photos, "photo"),
                bursts.gap_seconds,
                grouped(bursts.longest)
            ),
        ));
    }
    let taken = &report.times;
    if let (Some(first), Some(last)) = (&taken.first, &taken.last) {
        let (first, last) = (in_words(Some(first)), in_words(Some(last)));
        lines.push((taken.known, format!("photos have a time, from {first} to {last}")));
    }
    if !taken.impossible.is_empty() {
        let photos: Vec<String> = taken
            .impossible
            .iter()
            .map(|time| {
                let site = time.site.as_ref().map_or_else(String::new, |site| format!(" at {site}"));
                format!("{}{site}: {} ({})", time.id, in_words(Some(&time.time)), time.why)
            })
            .collect();
        lines.push((photos.len(), format!("times cannot be: {}", some(&photos))));
    }
    if !lines.is_empty() {
        text.push_str("\nfound\n");
    }
    for (count, line) in lines {
        let _ = writeln!(text, "  {:>9}  {line}", grouped(count));
    }
    for note in &report.notes {
        let _ = writeln!(text, "  {:>9}  {note}", "note");
    }
}
