//! Several runs beside each other.

use pugmark_page::{Align, Html, Line, Tone, lines, page as document, paragraph, section, table, verdict};

use super::files::Run;
use super::page::percent;
use crate::commands::eval::in_words;

/// Lines that one plot can show.
const LINES: usize = 4;

pub(super) fn page(runs: &[Run]) -> String {
    let mut pieces = warnings(runs);
    pieces.push(section("Figures", &[figures(runs)]));
    pieces.push(curves(runs));
    if runs.iter().all(|run| run.card.classes == runs[0].card.classes) {
        pieces.push(section("F1 of each class", &[classes(runs)]));
    }
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let footer = format!("pugmark {}", env!("CARGO_PKG_VERSION"));
    document(&format!("{} runs beside each other", runs.len()), &names.join(", "), &pieces, &footer)
}

/// Figures of different photos are not to be compared.
fn warnings(runs: &[Run]) -> Vec<Html> {
    let same = |of: fn(&Run) -> String| runs.iter().all(|run| of(run) == of(&runs[0]));
    if same(|run| run.card.split_hash.clone()) && same(|run| run.part.name().to_owned()) {
        return Vec::new();
    }
    let sentence =
        "These runs were measured on different photos: their figures differ for that alone.".to_owned();
    let hint = "The same data, split and part make them comparable: `--split-file`, or the same `--seed`."
        .to_owned();
    vec![verdict(Tone::Warning, &[sentence, hint])]
}

fn figures(runs: &[Run]) -> Html {
    let header = [
        ("run", Align::Left),
        ("model", Align::Left),
        ("recipe", Align::Left),
        ("measured on", Align::Left),
        ("accuracy", Align::Right),
        ("95 % interval", Align::Right),
        ("balanced", Align::Right),
        ("macro F1", Align::Right),
        ("log loss", Align::Right),
        ("calibration error", Align::Right),
        ("minutes", Align::Right),
    ];
    let row = |run: &Run| {
        let evaluation = &run.evaluation;
        let interval = run.detail.intervals.as_ref().map_or_else(String::new, |i| {
            let [low, high] = i.accuracy.map(percent);
            format!("{low} to {high}")
        });
        let seconds: f64 = run.epochs.iter().map(|row| row.seconds).sum();
        vec![
            run.folder.display().to_string(),
            run.card.architecture.to_string(),
            run.settings.recipe.clone().unwrap_or_default(),
            format!("{} {} photos", evaluation.images, in_words(run.part)),
            percent(evaluation.accuracy),
            interval,
            percent(evaluation.balanced_accuracy),
            format!("{:.3}", evaluation.macro_f1),
            format!("{:.3}", evaluation.log_loss),
            percent(run.detail.calibration.expected_error),
            format!("{:.1}", seconds / 60.0),
        ]
    };
    table(&header, &runs.iter().map(row).collect::<Vec<_>>())
}

fn curves(runs: &[Run]) -> Html {
    let points: Vec<Vec<(f64, f64)>> = runs
        .iter()
        .take(LINES)
        .map(|run| run.epochs.iter().map(|row| (f64::from(row.epoch), row.val_loss)).collect())
        .collect();
    let curves: Vec<Line<'_>> =
        runs.iter().zip(&points).map(|(run, points)| Line { name: &run.name, points }).collect();
    let mut pieces = vec![lines("validation loss by epoch", &curves)];
    if runs.len() > LINES {
        pieces.push(paragraph(&format!("The first {LINES} of {}.", runs.len())));
    }
    section("Validation loss by epoch", &pieces)
}

fn classes(runs: &[Run]) -> Html {
    let mut header = vec![("class", Align::Left)];
    header.extend(runs.iter().map(|run| (run.name.as_str(), Align::Right)));
    let rows: Vec<Vec<String>> = runs[0]
        .card
        .classes
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let f1 = runs.iter().map(|run| format!("{:.3}", run.evaluation.per_class[class].f1));
            std::iter::once(name.clone()).chain(f1).collect()
        })
        .collect();
    table(&header, &rows)
}
