//! Where the time of a run went.

use pugmark_page::{
    Align, Bar, Column, Html, Line, Tile, Tone, bars, block, columns, fold, lines, paragraph, section, table,
    tiles,
};
use pugmark_train::Profile;
use pugmark_train::profile::{LoaderTime, Phase, Spread, StepTimes};

/// Operators that are shown; the others are folded up.
const OPERATORS: usize = 12;

/// The section.
pub(super) fn section_of(profile: &Profile) -> Html {
    let verdict = profile.verdict.replace('`', "");
    let mut pieces =
        vec![block(&[paragraph(&verdict), tiles(&numbers(profile))]), paragraph(&about(profile))];
    pieces.push(phases(profile));
    pieces.extend(profile.loader.iter().flat_map(loading));
    if let Some(steps) = &profile.steps {
        pieces.extend(lengths(steps));
        pieces.extend(operators(profile, steps.seconds.mean));
    }
    if !profile.system.is_empty() {
        pieces.extend(system(profile));
    }
    section("Profile: where the time went", &pieces)
}

fn numbers(profile: &Profile) -> Vec<Tile> {
    let tile = |label: &str, value: String, note: String| Tile {
        label: label.into(),
        value,
        note,
        tone: Tone::Plain,
    };
    let mut list = Vec::new();
    if let Some(steps) = &profile.steps {
        list.push(tile(
            "images/s",
            format!("{:.1}", steps.images_per_sec),
            format!("at least {:.1} with the loader free", steps.images_per_sec_without_loading),
        ));
        list.push(tile(
            "a step",
            time(steps.seconds.p50),
            format!("median of {}; p95 {}", steps.count, time(steps.seconds.p95)),
        ));
        let whole = steps.seconds.mean * steps.count as f64;
        let waiting = profile.in_phase(Phase::Loading) / whole.max(f64::MIN_POSITIVE);
        let tone = if waiting > 0.1 { Tone::Warning } else { Tone::Plain };
        list.push(Tile { tone, ..tile("waiting for photos", percent(waiting), "of the steps' time".into()) });
    }
    list.extend(profile.system.first().map(|metric| {
        tile(
            "processor",
            format!("{:.0} %", metric.values.p95),
            "of all cores, for this training (p95)".into(),
        )
    }));
    list
}

/// Seconds as people say them.
pub(in crate::commands) fn time(seconds: f64) -> String {
    match seconds {
        ..0.1 => format!("{:.1} ms", seconds * 1e3),
        0.1..1.0 => format!("{:.0} ms", seconds * 1e3),
        1.0..120.0 => format!("{seconds:.1} s"),
        120.0..7200.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn about(profile: &Profile) -> String {
    let from = match profile.first_epoch {
        1 => String::new(),
        epoch => format!(", from epoch {epoch} on, after the run was resumed"),
    };
    format!("Measured over {} on {}{from}.", time(profile.seconds), profile.engine)
}

fn phases(profile: &Profile) -> Html {
    let bar = |time_of: &pugmark_train::profile::PhaseTime| Bar {
        label: time_of.phase.name().to_owned(),
        value: time_of.seconds,
        text: format!("{}  {}", time(time_of.seconds), percent(time_of.seconds / profile.seconds)),
        tone: if time_of.phase == Phase::Loading && time_of.seconds > 0.1 * profile.seconds {
            Tone::Warning
        } else {
            Tone::Plain
        },
    };
    let list: Vec<Bar> = profile.phases.iter().map(bar).collect();
    bars(&list, Some(profile.seconds), None)
}

fn loading(loader: &LoaderTime) -> Vec<Html> {
    let LoaderTime { threads, batches, read, decode, resize, augment, idle, ready, ready_over_time } = loader;
    let parts = [
        ("reading", read),
        ("decoding", decode),
        ("resizing", resize),
        ("augmenting", augment),
        ("idle, enough is ready", idle),
    ];
    let all: f64 = parts.iter().map(|(_, seconds)| **seconds).sum();
    let list: Vec<Bar> = parts
        .into_iter()
        .map(|(name, &seconds)| Bar {
            label: name.to_owned(),
            value: seconds,
            text: format!("{}  {}", time(seconds), percent(seconds / all.max(f64::MIN_POSITIVE))),
            tone: Tone::Plain,
        })
        .collect();
    let points: Vec<(f64, f64)> = ready_over_time.iter().map(|point| (point[0], point[1])).collect();
    vec![
        paragraph(&format!(
            "Meanwhile, on {threads} loader thread{}, in thread-seconds, for {batches} batches:",
            if *threads == 1 { "" } else { "s" }
        )),
        bars(&list, Some(all), None),
        fold(
            "batches ready when one was asked for, over seconds",
            &[
                lines("batches ready", &[Line { name: "ready", points: &points }]),
                paragraph(&format!(
                    "{:.1} on average, at most {:.0}. At 0 the training waits, but at the end of an epoch.",
                    ready.mean, ready.max
                )),
            ],
        ),
    ]
}

fn lengths(steps: &StepTimes) -> Vec<Html> {
    let Spread { mean, max, p99, p95, p50, min } = steps.seconds;
    let histogram = &steps.histogram;
    let last = histogram.counts.len().saturating_sub(1);
    let mut shown: Vec<Column> = histogram
        .counts
        .iter()
        .enumerate()
        .map(|(bin, &count)| Column {
            // The ends and the middle; more would not fit a phone.
            label: match bin {
                0 => time(histogram.edges[0]),
                bin if bin == last / 2 => time(histogram.edges[bin]),
                _ => String::new(),
            },
            parts: vec![count as f64, 0.0],
        })
        .collect();
    shown.push(Column { label: String::new(), parts: vec![0.0, steps.outlier_count as f64] });
    let mut pieces = vec![
        paragraph(&format!(
            "A step takes {} at the median ({} to {}; mean {}, p95 {}, p99 {}). {}",
            time(p50),
            time(min),
            time(max),
            time(mean),
            time(p95),
            time(p99),
            match steps.outlier_above {
                Some(above) => format!("{} took longer than {}.", steps.outlier_count, time(above)),
                None => "There are too few to say which stand out.".to_owned(),
            }
        )),
        columns("how long steps took", &["steps", "outliers, in one column"], &shown),
    ];
    if !steps.outliers.is_empty() {
        let rows: Vec<Vec<String>> = steps
            .outliers
            .iter()
            .map(|outlier| {
                vec![
                    format!("epoch {}, step {}", outlier.epoch, outlier.step),
                    time(outlier.seconds),
                    outlier.cause.name().to_owned(),
                    format!("+ {}", time(outlier.excess)),
                ]
            })
            .collect();
        let header = [
            ("step", Align::Left),
            ("took", Align::Right),
            ("because of", Align::Left),
            ("longer by", Align::Right),
        ];
        let rule = paragraph(&format!("An outlier is {}.", steps.outlier_rule));
        pieces.push(fold("the outliers and their causes", &[rule, table(&header, &rows)]));
    }
    pieces
}

fn operators(profile: &Profile, step: f64) -> Vec<Html> {
    let header = [
        ("operator", Align::Left),
        ("pass", Align::Left),
        ("a step", Align::Right),
        ("share", Align::Right),
        ("GFLOP/s", Align::Right),
    ];
    let rows: Vec<Vec<String>> = profile
        .operators
        .iter()
        .map(|group| {
            let speed = match group.flops {
                0.0 => String::new(),
                flops => format!("{:.0}", flops / group.seconds.max(f64::MIN_POSITIVE) / 1e9),
            };
            vec![
                group.kind.clone(),
                group.pass.name().to_owned(),
                time(group.seconds),
                percent(group.seconds / step),
                speed,
            ]
        })
        .collect();
    let (first, rest) = rows.split_at(rows.len().min(OPERATORS));
    let mut pieces =
        vec![paragraph("The operators of a mean step, the slowest first."), table(&header, first)];
    if !rest.is_empty() {
        pieces.push(fold(&format!("{} more", rest.len()), &[table(&header, rest)]));
    }
    pieces
}

fn system(profile: &Profile) -> Vec<Html> {
    let header = [
        ("of the machine, each second", Align::Left),
        ("max", Align::Right),
        ("p99", Align::Right),
        ("p95", Align::Right),
        ("p50", Align::Right),
        ("min", Align::Right),
    ];
    let rows: Vec<Vec<String>> = profile
        .system
        .iter()
        .map(|metric| {
            let Spread { max, p99, p95, p50, min, .. } = metric.values;
            let mut row = vec![format!("{} ({})", metric.name, metric.unit)];
            row.extend([max, p99, p95, p50, min].map(|value| format!("{value:.0}")));
            row
        })
        .collect();
    vec![
        paragraph(&format!("100 % of the processor are all of its {} cores.", profile.cores)),
        table(&header, &rows),
    ]
}
