//! The report as a page.

use chrono::NaiveDateTime;
use pugmark_data::audit::{Audit, PartAudit, percent};
use pugmark_data::check::{Count, Files, Group, Report, Sites, Times};
use pugmark_page::{
    Align, Bar, Column, Html, Tile, Tone, bars, block, columns, fold, gallery, page as document, paragraph,
    section, side_by_side, table, tiles, verdict,
};

use super::text::sees;
use super::thumbnails::{BROKEN, Figures, GROUPS, OF_EACH};
use super::{counted, grouped, in_words, size, split_name, times};

/// Bars of a list; the rest is one bar more.
const MOST_BARS: usize = 14;

/// Rows of a list of files; the rest is in the JSON.
const MOST_ROWS: usize = 100;

pub(super) fn page(report: &Report, figures: &Figures, now: NaiveDateTime) -> String {
    let name = report
        .data
        .file_name()
        .map_or_else(|| report.data.display().to_string(), |name| name.to_string_lossy().into_owned());
    let subtitle = format!(
        "{}, {}, checked on {} UTC",
        report.data.display(),
        report.format,
        now.format("%Y-%m-%d %H:%M")
    );
    let mut pieces = vec![verdict(tone(report), &report.verdict), tiles(&main_numbers(report))];
    pieces.extend(
        report.audits.iter().map(leak).collect::<Option<Vec<_>>>().map(|audits| side_by_side(&audits)),
    );
    pieces.push(side_by_side(&counts(report)));
    if let Some(files) = &report.files {
        pieces.extend(broken(report, files, figures));
    }
    pieces.extend(twice(report, figures));
    let footer = format!("pugmark {}", env!("CARGO_PKG_VERSION"));
    document(&format!("What {name} holds"), &subtitle, &pieces, &footer)
}

/// Whether the splits that were looked at give the site away.
fn tone(report: &Report) -> Tone {
    let parts = || report.audits.iter().flat_map(|audit| &audit.parts);
    if parts().any(PartAudit::site_gives_away) {
        Tone::Warning
    } else if parts().any(|part| part.sites.is_some_and(|sites| sites.groups == 0)) {
        Tone::Good
    } else {
        Tone::Plain
    }
}

fn tile(label: &str, value: String, note: String, tone: Tone) -> Tile {
    Tile { label: label.to_owned(), value, note, tone }
}

fn main_numbers(report: &Report) -> Vec<Tile> {
    let bad = |count: usize| if count > 0 { Tone::Warning } else { Tone::Plain };
    let labelled = if report.labelled == report.photos {
        "all with a label".to_owned()
    } else {
        format!("{} with a label", grouped(report.labelled))
    };
    let mut tiles = vec![tile("photos", grouped(report.photos), labelled, Tone::Plain)];
    if !report.classes.is_empty() {
        let ratio = report.imbalance.map_or_else(
            || "one has no photo".to_owned(),
            |ratio| format!("{} of the largest for 1 of the smallest", times(ratio)),
        );
        tiles.push(tile("classes", grouped(report.classes.len()), ratio, Tone::Plain));
    }
    if let Some(sites) = &report.sites {
        let note = match sites.photos_without {
            0 => "each photo has one".to_owned(),
            without => format!("{} without one", counted(without, "photo")),
        };
        tiles.push(tile("sites", grouped(sites.count), note, Tone::Plain));
    }
    if let Some(files) = &report.files {
        let lost = files.empty.len() + files.undecodable.len() + report.labels_without_file.len();
        let note = format!(
            "{} missing, {} empty, {} undecodable",
            grouped(report.labels_without_file.len()),
            grouped(files.empty.len()),
            grouped(files.undecodable.len())
        );
        tiles.push(tile("unusable", grouped(lost), note, bad(lost)));
        tiles.push(tile(
            "damaged",
            grouped(files.truncated.len()),
            "cut off; used as far as they go".to_owned(),
            bad(files.truncated.len()),
        ));
        let share = percent(files.infrared as f64 / files.decoded.max(1) as f64);
        tiles.push(tile("night frames", share, format!("{} infrared", grouped(files.infrared)), Tone::Plain));
    }
    if let Some(duplicates) = &report.duplicates {
        let note = format!("{} look like another", grouped(duplicates.near_photos));
        let extra = duplicates.exact_extra;
        tiles.push(tile("exact copies", grouped(extra), note, bad(extra)));
    }
    if report.bursts.count > 0 {
        let note = format!(
            "of {}, the longest of {}",
            counted(report.bursts.photos, "photo"),
            report.bursts.longest
        );
        tiles.push(tile("bursts", grouped(report.bursts.count), note, Tone::Plain));
    }
    tiles
}

/// The leakage audit of one split, as bars against the most common class.
fn leak(audit: &Audit) -> Option<Html> {
    let mut pieces = Vec::new();
    for part in &audit.parts {
        pieces.push(paragraph(&format!(
            "{} to learn from, {} in {}. Accuracy of what does not look at the animal:",
            grouped(audit.train),
            grouped(part.photos),
            part.part
        )));
        let bar = |label: &str, accuracy: f64, tone: Tone| Bar {
            label: label.to_owned(),
            value: accuracy,
            text: percent(accuracy),
            tone,
        };
        let majority = part.majority.accuracy;
        let mut list = vec![bar("most common class", majority, Tone::Plain)];
        list.extend(part.predictors.iter().map(|predictor| {
            let accuracy = predictor.score.accuracy;
            let tone = if accuracy - majority >= 0.05 { Tone::Warning } else { Tone::Plain };
            bar(sees(predictor.sees), accuracy, tone)
        }));
        pieces.push(bars(&list, Some(1.0), Some(majority)));
        let crossing = [
            ("sites", part.sites.unwrap_or_default()),
            ("bursts", part.bursts),
            ("exact duplicates", part.duplicates),
            ("near duplicates", part.near_duplicates),
        ];
        let rows: Vec<Vec<String>> = crossing
            .into_iter()
            .filter(|(_, shared)| shared.of > 0)
            .map(|(name, shared)| {
                vec![name.to_owned(), grouped(shared.groups), grouped(shared.of), grouped(shared.photos)]
            })
            .collect();
        if !rows.is_empty() {
            let of = format!("in {}", part.part);
            let header = [
                ("groups", Align::Left),
                ("also in train", Align::Right),
                (of.as_str(), Align::Right),
                ("photos", Align::Right),
            ];
            pieces.push(table(&header, &rows));
        }
    }
    let name = split_name(&audit.split);
    let mut letters = name.chars();
    let title: String = letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect();
    (!pieces.is_empty()).then(|| section(&title, &pieces))
}

/// A share that is as wide as `100.0 %`.
fn in_column(share: &str) -> String {
    let room = "100.0 %".len().saturating_sub(share.len());
    format!("{}{share}", "\u{2007}".repeat(room))
}

/// Bars of the largest and one of the rest.
fn count_bars(counts: &[Count], all: usize) -> Html {
    let bar = |label: String, photos: usize| Bar {
        label,
        value: photos as f64,
        // Spaces as wide as a digit keep the numbers below each other.
        text: format!("{} {}", grouped(photos), in_column(&percent(photos as f64 / all.max(1) as f64))),
        tone: Tone::Plain,
    };
    let shown = if counts.len() > MOST_BARS + 1 { MOST_BARS } else { counts.len() };
    let mut list: Vec<Bar> =
        counts[..shown].iter().map(|count| bar(count.name.clone(), count.photos)).collect();
    if shown < counts.len() {
        let rest = counts[shown..].iter().map(|count| count.photos).sum();
        // No bar: that of many together would dwarf each of the others.
        list.push(Bar { value: 0.0, ..bar(format!("{} others", grouped(counts.len() - shown)), rest) });
    }
    bars(&list, None, None)
}

fn counts(report: &Report) -> Vec<Html> {
    let mut sections = Vec::new();
    if !report.classes.is_empty() {
        let mut classes = report.classes.clone();
        classes.sort_by_key(|class| std::cmp::Reverse(class.photos));
        sections.push(section("Classes", &[count_bars(&classes, report.labelled)]));
    }
    if let Some(sites) = &report.sites {
        sections.push(site_section(sites));
    }
    if !report.parts.is_empty() {
        let parts: Vec<Count> = report
            .parts
            .iter()
            .map(|part| Count {
                name: part.part.map_or("none", pugmark_data::Part::name).to_owned(),
                photos: part.photos,
            })
            .collect();
        sections.push(section("Parts", &[count_bars(&parts, report.photos)]));
    }
    if let Some(files) = &report.files {
        let sizes: Vec<Count> = files
            .resolutions
            .iter()
            .map(|size| Count { name: format!("{} × {}", size.width, size.height), photos: size.photos })
            .collect();
        let about = format!("{} in {}.", size(files.bytes), counted(files.files, "file"));
        sections.push(section("Sizes in pixels", &[paragraph(&about), count_bars(&sizes, files.decoded)]));
        if files.formats.len() > 1 {
            sections.push(section("Formats", &[count_bars(&files.formats, files.files)]));
        }
        if !files.cameras.is_empty() {
            sections.push(cameras(files));
        }
    }
    if !report.times.hours.is_empty() {
        sections.push(hours(&report.times));
    }
    sections
}

fn site_section(sites: &Sites) -> Html {
    let photos: usize = sites.sites.iter().map(|site| site.photos).sum();
    let counts: Vec<Count> =
        sites.sites.iter().map(|site| Count { name: site.site.clone(), photos: site.photos }).collect();
    let rows: Vec<Vec<String>> = sites
        .sites
        .iter()
        .take(MOST_ROWS * 5)
        .map(|site| {
            vec![
                site.site.clone(),
                grouped(site.photos),
                grouped(site.classes),
                site.largest_class.map_or_else(String::new, percent),
                in_words(site.first.as_ref()),
                in_words(site.last.as_ref()),
            ]
        })
        .collect();
    let header = [
        ("site", Align::Left),
        ("photos", Align::Right),
        ("classes", Align::Right),
        ("most common class", Align::Right),
        ("first", Align::Left),
        ("last", Align::Left),
    ];
    let timed = sites.sites.iter().any(|site| site.first.is_some());
    let list = table(if timed { &header } else { &header[..4] }, &rows);
    section("Sites", &[count_bars(&counts, photos), fold("each site", &[list])])
}

fn cameras(files: &Files) -> Html {
    let numbered = files.cameras.iter().any(|camera| camera.serials > 0);
    let rows: Vec<Vec<String>> = files
        .cameras
        .iter()
        .take(MOST_ROWS)
        .map(|camera| {
            let serials = if camera.serials > 0 { grouped(camera.serials) } else { String::new() };
            vec![camera.camera.clone(), grouped(camera.photos), serials]
        })
        .collect();
    let header = [("camera", Align::Left), ("photos", Align::Right), ("serial numbers seen", Align::Right)];
    let mut pieces = vec![table(if numbered { &header } else { &header[..2] }, &rows)];
    if let Some(range) = &files.temperatures {
        pieces.push(paragraph(&format!(
            "{} know the temperature: {:.0} to {:.0} °C.",
            counted(range.photos, "photo"),
            range.lowest,
            range.highest
        )));
    }
    section("Cameras", &pieces)
}

fn hours(taken: &Times) -> Html {
    let infrared: usize = taken.hours.iter().map(|hour| hour.infrared).sum();
    let column = |(hour, count): (usize, &pugmark_data::check::Hour)| Column {
        label: if hour % 3 == 0 { hour.to_string() } else { String::new() },
        parts: vec![(count.photos - count.infrared) as f64, count.infrared as f64],
    };
    let list: Vec<Column> = taken.hours.iter().enumerate().map(column).collect();
    let series: &[&str] = if infrared > 0 { &["in colour", "infrared"] } else { &["photos"] };
    let about = format!(
        "{} with a time, from {} to {}, by the clocks of the cameras.",
        counted(taken.known, "photo"),
        in_words(taken.first.as_ref()),
        in_words(taken.last.as_ref())
    );
    let mut pieces = vec![paragraph(&about), columns("photos by hour of the day", series, &list)];
    if !taken.impossible.is_empty() {
        let rows: Vec<Vec<String>> = taken
            .impossible
            .iter()
            .take(MOST_ROWS)
            .map(|time| {
                vec![
                    time.id.clone(),
                    time.site.clone().unwrap_or_default(),
                    time.time.clone(),
                    time.why.clone(),
                ]
            })
            .collect();
        let header =
            [("photo", Align::Left), ("site", Align::Left), ("clock", Align::Left), ("why", Align::Left)];
        let summary = format!("{} with a time that cannot be", counted(taken.impossible.len(), "photo"));
        pieces.push(fold(&summary, &[table(&header, &rows)]));
    }
    section("Hours of the day", &pieces)
}

/// What is wrong with files, as one table; pictures of those that are cut off.
fn broken(report: &Report, files: &Files, figures: &Figures) -> Vec<Html> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut add = |id: &str, what: &str| rows.push(vec![id.to_owned(), what.to_owned()]);
    for id in &report.labels_without_file {
        add(id, "there is no such file");
    }
    for id in &files.empty {
        add(id, "the file is empty");
    }
    for file in &files.undecodable {
        add(&file.id, &file.reason);
    }
    for id in &files.truncated {
        add(id, "cut off or damaged; what is there is used");
    }
    for file in &files.wrong_extension {
        add(&file.id, &format!("the content is {}", file.content));
    }
    let mut sections = Vec::new();
    if !rows.is_empty() {
        let shown: Vec<_> =
            files.truncated.iter().take(BROKEN).filter_map(|id| figures.get(id).cloned()).collect();
        let mut pieces = Vec::new();
        if !shown.is_empty() {
            pieces.push(gallery(&shown));
        }
        let all = rows.len();
        rows.truncate(MOST_ROWS);
        pieces.push(table(&[("file", Align::Left), ("what is wrong", Align::Left)], &rows));
        if all > rows.len() {
            pieces.push(paragraph(&format!("and {} more, in the JSON.", grouped(all - rows.len()))));
        }
        sections.push(section(&format!("Broken files: {}", grouped(all)), &pieces));
    }
    if !report.files_without_label.is_empty() {
        let names: Vec<Vec<String>> =
            report.files_without_label.iter().take(MOST_ROWS).map(|id| vec![id.clone()]).collect();
        let title = format!("Files without a label: {}", grouped(report.files_without_label.len()));
        sections.push(section(&title, &[fold("their names", &[table(&[("file", Align::Left)], &names)])]));
    }
    sections
}

/// Duplicates with their pictures.
fn twice(report: &Report, figures: &Figures) -> Vec<Html> {
    let Some(duplicates) = &report.duplicates else { return Vec::new() };
    let mut sections = Vec::new();
    if !duplicates.exact.is_empty() {
        let mut about = format!("{} that have the same bytes.", group_count(duplicates.exact.len()));
        if duplicates.exact_with_different_labels > 0 {
            about.push_str(&format!(
                " In {} the labels differ: one of them must be wrong.",
                grouped(duplicates.exact_with_different_labels)
            ));
        }
        sections.push(groups("Exact copies", &about, &duplicates.exact, figures));
    }
    if !duplicates.near.is_empty() {
        let about = format!(
            "{} that look the same, {} of them at several sites. Frames of a fixed camera in which little moved are among \
             them; none of a group should be in another part of a split.",
            group_count(duplicates.near.len()),
            grouped(duplicates.near_across_sites)
        );
        sections.push(groups("Photos that look the same", &about, &duplicates.near, figures));
    }
    sections
}

fn group_count(groups: usize) -> String {
    if groups == 1 { "1 group of photos".to_owned() } else { format!("{} groups of photos", grouped(groups)) }
}

fn groups(title: &str, about: &str, groups: &[Group], figures: &Figures) -> Html {
    let mut shown_groups = Vec::new();
    for group in groups.iter().take(GROUPS) {
        let shown: Vec<_> =
            group.ids.iter().take(OF_EACH).filter_map(|id| figures.get(id).cloned()).collect();
        let mut line = counted(group.ids.len(), "photo");
        for (names, what) in [(&group.classes, "labelled"), (&group.sites, "at")] {
            if !names.is_empty() {
                line.push_str(&format!(", {what} {}", super::super::data::some(names)));
            }
        }
        shown_groups.push(block(&[paragraph(&line), gallery(&shown)]));
    }
    let mut pieces = vec![paragraph(about), side_by_side(&shown_groups)];
    if groups.len() > GROUPS {
        pieces.push(paragraph(&format!("and {} more groups, in the JSON.", grouped(groups.len() - GROUPS))));
    }
    section(title, &pieces)
}
