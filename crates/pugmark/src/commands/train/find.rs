//! `train --find-learning-rate`: which learning rate to take.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use pugmark_data::Dataset;
use pugmark_engine::Engine;
use pugmark_model::write_atomic;
use pugmark_page::{Html, Line, lines, page, paragraph, section};
use pugmark_train::{RatePoint, RateSearch, TrainSettings, find_learning_rate};

use super::observer::Progressing;
use crate::error::{ExitStatus, Interrupted, WrongCall};
use crate::printer::Printer;

/// Runs the test and leaves its points and a plot in the folder.
pub(super) fn run(
    dataset: &Dataset,
    settings: &TrainSettings,
    out: &Path,
    overwrite: bool,
    engine: &dyn Engine,
    stop: &AtomicBool,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let (table, plot) = (out.join("learning-rate.csv"), out.join("learning-rate.html"));
    if let Some(there) = [&table, &plot].into_iter().find(|path| path.exists() && !overwrite) {
        return Err(WrongCall::new(format!("{} is there already", there.display()))
            .with_hint("`--overwrite` replaces it; `--out` names another folder")
            .into());
    }
    let mut observer = Progressing::new(printer, stop);
    let search = find_learning_rate(dataset, settings, engine, stop, &mut observer)?;
    drop(observer);
    let search = search.ok_or(Interrupted("nothing was saved; the test starts anew"))?;
    fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    for (path, bytes) in [(&table, search.to_csv()?), (&plot, draw(&search, settings).into_bytes())] {
        write_atomic(path, &bytes).with_context(|| format!("cannot save {}", path.display()))?;
    }
    let suggestion = match search.suggestion {
        Some(rate) => format!("--learning-rate {}", rounded(rate)),
        None => "no suggestion: the loss does not fall with any learning rate".to_owned(),
    };
    printer.result(&format!("{suggestion}\nplot   {}", plot.display()))?;
    Ok(ExitStatus::Done)
}

/// Two digits are more than the test can tell.
fn rounded(rate: f64) -> String {
    let rounded: f64 = format!("{rate:.1e}").parse().unwrap_or(rate);
    if rounded < 1e-4 { format!("{rounded:e}") } else { rounded.to_string() }
}

/// The losses over the decades of the learning rate.
fn draw(search: &RateSearch, settings: &TrainSettings) -> String {
    let decades = |value: &dyn Fn(&RatePoint) -> f64| -> Vec<(f64, f64)> {
        search.points.iter().map(|point| (point.learning_rate.log10(), value(point))).collect()
    };
    let smoothed = decades(&|point| point.smoothed);
    // The last losses dwarf all others.
    let highest = smoothed.iter().map(|(_, loss)| *loss).fold(f64::NEG_INFINITY, f64::max);
    let losses = decades(&|point| point.loss.min(highest));
    let names = [("smoothed loss", &smoothed), ("loss", &losses)];
    let plot = lines("loss over the learning rate", &names.map(|(name, points)| Line { name, points }));
    let advice = match search.suggestion {
        Some(rate) => format!(
            "Suggested: {}. Two thirds down the longest descent of the smoothed loss, as fastai takes it; where the loss rises again the rate is too high.",
            rounded(rate)
        ),
        None => "The loss does not fall with any of these learning rates.".to_owned(),
    };
    let axis = "From left to right the learning rate, as its decimal logarithm: -3 is 0.001.";
    let pieces = [section("Loss over the learning rate", &[plot, paragraph(axis), paragraph(&advice)])];
    let subtitle =
        format!("{}, batches of {}, {} steps", settings.model, settings.batch_size, search.points.len());
    page("Learning rate", &subtitle, &pieces as &[Html], concat!("pugmark ", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_as_people_write_them() {
        for (rate, text) in [(0.002_754, "0.0028"), (1.2e-5, "1.2e-5"), (0.1, "0.1"), (2.0, "2")] {
            assert_eq!(rounded(rate), text);
        }
    }

    #[test]
    fn the_plot_shows_the_suggestion() {
        let point = |step: i32| {
            let loss = f64::from((step - 60).abs()) / 10.0;
            RatePoint { learning_rate: 1e-7 * 1.2_f64.powi(step), loss, smoothed: loss }
        };
        let points: Vec<RatePoint> = (0..100).map(point).collect();
        let search = RateSearch { points, suggestion: Some(0.003) };
        let html = draw(&search, &TrainSettings::default());
        assert!(html.contains("Suggested: 0.003.") && html.contains("<polyline"));
        assert!(!html.contains("http"), "self-contained");
    }
}
