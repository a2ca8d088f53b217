//! One run as a page.

use pugmark_data::Part;
use pugmark_engine::PrecisionChoice;
use pugmark_eval::{Group, accept, share_interval};
use pugmark_page::{
    Align, Bar, Figure, HeatTable, Html, Line, Tile, Tone, bars, fold, gallery, heat_table, lines,
    page as document, paragraph, section, side_by_side, table, tiles, verdict,
};

use super::advice::advice;
use super::files::{Mistake, Run};
use super::heat::Heat;
use super::profile;
use super::watch::watch;
use crate::commands::eval::{in_words, sites_are_apart};
use crate::commands::thumbnails::small;

/// Classes in a confusion matrix; of more, the most frequent mistakes are listed.
const MATRIX: usize = 25;
const PAIRS: usize = 20;
const SITES: usize = 20;
const WANTED: f64 = 0.95;

pub(super) fn page(run: &Run) -> String {
    let mut pieces = vec![verdict(tone(run), &sentences(run)), tiles(&numbers(run))];
    pieces.push(side_by_side(&[curves(run), reliability(run)]));
    pieces.push(confusion(run));
    let mut rows = vec![classes(run)];
    if run.detail.sites.len() > 1 {
        rows.push(sites(run));
    }
    pieces.push(side_by_side(&rows));
    if !run.mistakes.is_empty() {
        pieces.push(mistakes(run));
    }
    pieces.extend(run.watched.as_ref().map(watch));
    let advice = advice(run);
    if !advice.is_empty() {
        let rows: Vec<Vec<String>> = advice.into_iter().map(|(what, why)| vec![what, why]).collect();
        let header = [("try", Align::Left), ("because", Align::Left)];
        pieces.push(section("What to try next", &[table(&header, &rows)]));
    }
    pieces.extend(run.profile.as_ref().map(profile::section_of));
    pieces.push(card(run));
    let subtitle = format!("{}, {}", run.card.architecture, data(run));
    let footer = format!("pugmark {}", run.card.version);
    document(&format!("How good {} is", run.name), &subtitle, &pieces, &footer)
}

fn data(run: &Run) -> String {
    run.settings.data.as_ref().map_or_else(String::new, |data| data.display().to_string())
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// The best of the answers that need no photo, and what it is called.
pub(super) fn floor(run: &Run) -> (f64, String) {
    let names = run.evaluation.per_class.iter().rev();
    let most = names.max_by_key(|class| class.support).map_or("", |class| class.class.as_str());
    let majority = run.evaluation.floors.majority_accuracy;
    match run.site_alone {
        Some(site) if site.accuracy > majority => (site.accuracy, "knowing the site alone".to_owned()),
        _ => (majority, format!("always saying {most}")),
    }
}

/// Whether no site of the photos shown was trained on, as far as that is known.
pub(super) fn apart(run: &Run) -> Option<bool> {
    sites_are_apart(&run.card.split_how, run.site_alone.as_ref())
}

fn tone(run: &Run) -> Tone {
    // Of a single site there is no interval, and nothing to be sure of.
    let low = run.detail.intervals.as_ref().map_or(0.0, |intervals| intervals.accuracy[0]);
    let beats = low > floor(run).0;
    match apart(run) {
        Some(true) if beats => Tone::Good,
        None if beats => Tone::Plain,
        _ => Tone::Warning,
    }
}

fn sentences(run: &Run) -> Vec<String> {
    let evaluation = &run.evaluation;
    let between = run.detail.intervals.as_ref().map_or_else(String::new, |i| {
        let [low, high] = i.accuracy.map(percent);
        format!(" ({low} to {high} for {} other {}s)", i.units, i.unit)
    });
    let (floor, how) = floor(run);
    let part = in_words(run.part);
    let mut sentences = vec![
        format!(
            "Right on {} of {} {part} photos{between}; {how} is right on {}.",
            percent(evaluation.accuracy),
            evaluation.images,
            percent(floor)
        ),
        match apart(run) {
            Some(true) => "None of their sites was trained on: this is what to expect at new places like these.",
            Some(false) => "Photos of the same places were trained on: expect less at new places.",
            None => "Whether photos of the same places were trained on is not known: a column site in the labels would tell.",
        }
        .to_owned(),
    ];
    if run.part == Part::Val {
        sentences.push(
            "The best epoch and its temperature were chosen on these photos: a test part (--test 0.2) is stricter."
                .into(),
        );
    }
    sentences
}

fn tile(label: &str, value: String, note: String) -> Tile {
    Tile { label: label.to_owned(), value, note, tone: Tone::Plain }
}

fn numbers(run: &Run) -> Vec<Tile> {
    let evaluation = &run.evaluation;
    let floors = evaluation.floors;
    let mut list = vec![
        tile(
            "accuracy",
            percent(evaluation.accuracy),
            format!("balanced {}", percent(evaluation.balanced_accuracy)),
        ),
        tile(
            "log loss",
            format!("{:.3}", evaluation.log_loss),
            format!("class shares alone {:.3}", floors.prior_log_loss),
        ),
        tile(
            "macro F1",
            format!("{:.3}", evaluation.macro_f1),
            format!("average precision {:.3}", run.detail.mean_average_precision),
        ),
        tile(
            "calibration error",
            percent(run.detail.calibration.expected_error),
            format!("at temperature {:.2}", run.card.temperature),
        ),
    ];
    let (labels, probabilities) = (&run.labels, &run.probabilities);
    if let Some(accepted) = accept(labels, probabilities, WANTED) {
        let note = format!(
            "{}, if what is {:.4} sure is accepted: {} right here",
            accepted.time(),
            accepted.confidence,
            percent(accepted.right)
        );
        list.push(tile("left for a person", format!("{} of {}", accepted.remain, labels.len()), note));
    }
    let broken = if run.broken > 0 { format!(", {} broken", run.broken) } else { String::new() };
    list.push(tile(
        "photos",
        run.trained_on.to_string(),
        format!("trained on; {} shown{broken}", evaluation.images),
    ));
    list
}

fn curves(run: &Run) -> Html {
    let line = |value: fn(&pugmark_train::EpochMetrics) -> f64| -> Vec<(f64, f64)> {
        run.epochs.iter().map(|row| (f64::from(row.epoch), value(row))).collect()
    };
    let [train, val] = [line(|row| row.train_loss), line(|row| row.val_loss)];
    let [train_acc, val_acc] = [line(|row| row.train_acc), line(|row| row.val_acc)];
    let best = run.card.epoch;
    section(
        "Epochs",
        &[
            paragraph("Loss; augmentation and label smoothing make that of the training higher."),
            lines(
                "loss by epoch",
                &[Line { name: "training", points: &train }, Line { name: "validation", points: &val }],
            ),
            paragraph(&format!("Accuracy. The best epoch is {best} of {}.", run.epochs.len())),
            lines(
                "accuracy by epoch",
                &[
                    Line { name: "training", points: &train_acc },
                    Line { name: "validation", points: &val_acc },
                ],
            ),
        ],
    )
}

fn reliability(run: &Run) -> Html {
    let bins = &run.detail.calibration.bins;
    let points: Vec<(f64, f64)> = bins.iter().map(|bin| (bin.confidence, bin.accuracy)).collect();
    let rows: Vec<Vec<String>> = bins
        .iter()
        .map(|bin| vec![percent(bin.confidence), percent(bin.accuracy), bin.images.to_string()])
        .collect();
    let header = [("sure", Align::Right), ("right", Align::Right), ("photos", Align::Right)];
    section(
        "Does it know what it knows?",
        &[
            paragraph(
                "Across: how sure it is. Up: how often it is right then. On the straight line both agree; below it, it is too sure.",
            ),
            lines(
                "reliability",
                &[
                    Line { name: "the model", points: &points },
                    Line { name: "as it should be", points: &[(0.0, 0.0), (1.0, 1.0)] },
                ],
            ),
            fold("as a table", &[table(&header, &rows)]),
        ],
    )
}

fn confusion(run: &Run) -> Html {
    let names: Vec<&str> = run.evaluation.per_class.iter().map(|class| class.class.as_str()).collect();
    let confusion = &run.evaluation.confusion;
    if names.len() > MATRIX {
        let mut pairs: Vec<(u64, usize, usize)> = Vec::new();
        for (truth, row) in confusion.iter().enumerate() {
            let wrong = row.iter().enumerate().filter(|&(predicted, &n)| predicted != truth && n > 0);
            pairs.extend(wrong.map(|(predicted, &n)| (n, truth, predicted)));
        }
        pairs.sort_by_key(|&(n, truth, predicted)| (std::cmp::Reverse(n), truth, predicted));
        let rows: Vec<Vec<String>> = pairs
            .iter()
            .take(PAIRS)
            .map(|&(n, truth, predicted)| vec![names[truth].into(), names[predicted].into(), n.to_string()])
            .collect();
        let header = [("shown", Align::Left), ("taken for", Align::Left), ("photos", Align::Right)];
        return section("What is taken for what", &[table(&header, &rows)]);
    }
    let rows = confusion
        .iter()
        .zip(&names)
        .map(|(row, name)| {
            let all = row.iter().sum::<u64>().max(1) as f64;
            let cell = |&n: &u64| (n as f64 / all, if n == 0 { String::new() } else { n.to_string() });
            ((*name).to_owned(), row.iter().map(cell).collect())
        })
        .collect();
    let columns = names.iter().map(|&name| name.to_owned()).collect();
    let heat = HeatTable { corner: "shown / taken for".to_owned(), columns, rows };
    section(
        "What is taken for what",
        &[paragraph("The darker, the larger the share of the row."), heat_table(&heat)],
    )
}

/// A share of `of` photos as a bar; with the interval that so few photos leave, where they have nothing to do with each other.
fn share_bar(label: &str, share: f64, of: usize, floor: f64, independent: bool) -> Bar {
    let [low, high] = share_interval(share, of).map(|end| (end * 100.0).round());
    let between = if independent { format!(" ({low} to {high})") } else { String::new() };
    Bar {
        label: label.to_owned(),
        value: share,
        text: format!("{:.0} % of {of}{between}", share * 100.0),
        tone: if share < floor { Tone::Warning } else { Tone::Plain },
    }
}

fn classes(run: &Run) -> Html {
    let per_class = &run.evaluation.per_class;
    let mut list: Vec<_> = per_class.iter().filter(|class| class.support > 0).collect();
    list.sort_by(|a, b| a.recall.total_cmp(&b.recall));
    let independent = run.detail.intervals.as_ref().is_some_and(|intervals| intervals.unit == "photo");
    let list: Vec<Bar> = list
        .iter()
        .map(|class| share_bar(&class.class, class.recall, class.support as usize, 0.5, independent))
        .collect();
    let rows: Vec<Vec<String>> = per_class
        .iter()
        .zip(&run.detail.average_precision)
        .map(|(class, area)| {
            let numbers = [class.precision, class.recall, class.f1].map(|value| format!("{value:.3}"));
            let [precision, recall, f1] = numbers;
            let area = area.map_or_else(String::new, |area| format!("{area:.3}"));
            vec![class.class.clone(), class.support.to_string(), precision, recall, f1, area]
        })
        .collect();
    let header = [
        ("class", Align::Left),
        ("photos", Align::Right),
        ("precision", Align::Right),
        ("recall", Align::Right),
        ("F1", Align::Right),
        ("average precision", Align::Right),
    ];
    section(
        "Each class: how many of its photos are found",
        &[bars(&list, Some(1.0), None), fold("precision, recall, F1", &[table(&header, &rows)])],
    )
}

fn sites(run: &Run) -> Html {
    let mut list: Vec<&Group> = run.detail.sites.iter().collect();
    list.sort_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    let all = list.len();
    list.truncate(SITES);
    let floor = floor(run).0;
    let shown: Vec<Bar> =
        list.iter().map(|site| share_bar(&site.name, site.accuracy, site.images, floor, false)).collect();
    let mut pieces = vec![bars(&shown, Some(1.0), Some(run.evaluation.accuracy))];
    if all > SITES {
        pieces.push(paragraph(&format!("The {SITES} weakest of {all}; the line is the accuracy on all.")));
    }
    section("Each site", &pieces)
}

fn mistakes(run: &Run) -> Html {
    let name = |class: usize| run.card.classes[class].as_str();
    let caption = |mistake: &Mistake| {
        let Mistake { id, truth, predicted, probability, .. } = mistake;
        format!(
            "{}, taken for {} ({}): {id}",
            name(*truth),
            name(*predicted),
            percent(f64::from(*probability))
        )
    };
    let mut heat = Heat::open(&run.folder);
    let mut figures = Vec::new();
    for mistake in &run.mistakes {
        let Some(path) = &mistake.path else { continue };
        figures.extend(small(path).map(|jpeg| Figure { jpeg, caption: caption(mistake) }));
        let map = heat.as_mut().and_then(|heat| heat.map(path, mistake.predicted));
        let caption = format!("what speaks for {}", name(mistake.predicted));
        figures.extend(map.map(|jpeg| Figure { jpeg, caption }));
    }
    let mut about = "Wrong and most sure of it. Often the label is what is wrong.".to_owned();
    if figures.len() > run.mistakes.len() {
        about.push_str(" Beside each photo, bright: what speaks for the wrong class (Grad-CAM).");
    }
    let about = paragraph(&about);
    if figures.is_empty() {
        let rows: Vec<Vec<String>> = run.mistakes.iter().map(|mistake| vec![caption(mistake)]).collect();
        return section("The worst mistakes", &[about, table(&[("photo", Align::Left)], &rows)]);
    }
    section("The worst mistakes", &[about, gallery(&figures)])
}

/// What was run, and how.
fn card(run: &Run) -> Html {
    let settings = &run.settings;
    let seconds: f64 = run.epochs.iter().map(|row| row.seconds).sum();
    let memory = run.epochs.iter().filter_map(|row| row.peak_memory_mib).max();
    let weights = settings
        .weights
        .as_ref()
        .map_or_else(|| "none: from nothing".into(), |file| file.display().to_string());
    let precision = if settings.precision == PrecisionChoice::Bf16 { "bf16" } else { "f32" };
    let mut rows = vec![
        ("model", format!("{}, {} classes", run.card.architecture, run.card.classes.len())),
        ("weights", weights),
        ("data", data(run)),
        ("split", format!("{}, seed {}", run.card.split_how, settings.seed)),
        ("recipe", settings.recipe.clone().unwrap_or_else(|| "none".to_owned())),
        ("epochs", format!("{} of {}, the best is {}", run.epochs.len(), settings.epochs, run.card.epoch)),
        ("time", format!("{:.1} minutes, {precision}", seconds / 60.0)),
    ];
    rows.extend(memory.map(|mib| ("memory", format!("{mib} MiB at most"))));
    rows.push(("hashes", format!("data {}, split {}", run.card.data_hash, run.card.split_hash)));
    rows.push(("version", format!("pugmark {}", run.card.version)));
    let rows: Vec<Vec<String>> = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let config: Vec<Vec<String>> = run
        .config
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(key, value)| vec![key.to_owned(), value.to_owned()])
        .collect();
    let header = [("", Align::Left), ("", Align::Left)];
    section(
        "What was run",
        &[
            table(&header, &rows),
            fold("every setting", &[table(&[("setting", Align::Left), ("value", Align::Left)], &config)]),
        ],
    )
}
