//! The watch's part of a run's page.

use pugmark_page::{Align, Html, Line, block, fold, lines, paragraph, section, side_by_side, table};
use pugmark_train::{Record, Sample, Watched, Weight};

/// Weights drawn in a plot: from the first to the last layer.
const DRAWN: usize = 4;

pub(super) fn watch(watched: &Watched) -> Html {
    let findings: usize = watched.reports.iter().map(|report| report.findings.len()).sum();
    let said = match findings {
        0 => "Nothing was found.".to_owned(),
        1 => "One finding.".to_owned(),
        n => format!("{n} findings."),
    };
    let about = paragraph(&format!(
        "The training watched itself: gradients, activations, updates, losses, the machine. {said}"
    ));
    let mut pieces = vec![about];
    let (triggered, silent): (Vec<_>, Vec<_>) =
        watched.reports.iter().partition(|report| !report.findings.is_empty());
    let numbers = |parameters: &[(&str, f64)]| {
        parameters.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
    };
    if !triggered.is_empty() {
        let mut rows = Vec::new();
        for report in triggered {
            let first = &report.findings[0];
            rows.push(vec![
                report.info.id.to_owned(),
                report.findings.len().to_string(),
                format!("step {}, {}: {}", first.step, first.tensor, first.text),
                numbers(&report.parameters),
                format!("{}: {}", first.advice, first.command),
            ]);
        }
        let header = [
            ("rule", Align::Left),
            ("found in", Align::Right),
            ("first", Align::Left),
            ("thresholds", Align::Left),
            ("try", Align::Left),
        ];
        pieces.push(table(&header, &rows));
    }
    let rows: Vec<Vec<String>> = silent
        .into_iter()
        .map(|report| {
            let (points, beyond) = (report.datapoints.to_string(), report.violations.to_string());
            vec![report.info.id.to_owned(), points, beyond, numbers(&report.parameters)]
        })
        .collect();
    let header = [
        ("rule", Align::Left),
        ("measurements", Align::Right),
        ("beyond a threshold", Align::Right),
        ("thresholds", Align::Left),
    ];
    pieces.push(fold("rules that found nothing", &[table(&header, &rows)]));
    pieces.extend(plots(&watched.records));
    section("The watch", &pieces)
}

/// The size of gradients and updates over time, of the weights that were trained last.
fn plots(records: &[Record]) -> Option<Html> {
    let names = records.iter().rev().find_map(|record| match record {
        Record::Names { weights, .. } => Some(weights),
        _ => None,
    })?;
    let samples: Vec<&Sample> = records
        .iter()
        .filter_map(|record| match record {
            Record::Sample(sample) if sample.weights.len() == names.len() => Some(&**sample),
            _ => None,
        })
        .collect();
    let weights: Vec<usize> = (0..names.len()).filter(|&at| names[at].kind == "weight").collect();
    if samples.len() < 2 || weights.is_empty() {
        return None;
    }
    let last = weights.len() - 1;
    let mut drawn: Vec<usize> = (0..DRAWN).map(|turn| weights[turn * last / (DRAWN - 1)]).collect();
    drawn.dedup();
    let plot = |title: &str, about: &str, value: &dyn Fn(&Weight) -> f64| {
        let points: Vec<Vec<(f64, f64)>> = drawn
            .iter()
            .map(|&at| samples.iter().map(|s| (s.step as f64, value(&s.weights[at]).log10())).collect())
            .collect();
        let own: Vec<Line<'_>> =
            drawn.iter().zip(&points).map(|(&at, points)| Line { name: &names[at].name, points }).collect();
        block(&[paragraph(about), lines(title, &own)])
    };
    let gradient =
        plot("gradient norms by step", "Norm of the gradient by step, as a power of ten.", &|weight| {
            weight.gradient_norm
        });
    let update = plot(
        "update ratios by step",
        "Change of the weight over the weight by step, as a power of ten; about -3 is usual.",
        &|weight| weight.update_norm / weight.norm,
    );
    Some(side_by_side(&[gradient, update]))
}
