//! What all folds say together.

use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::Part;
use pugmark_eval::{Beside, Evaluation};
use pugmark_model::Prediction;
use pugmark_train::predictions_csv;
use serde::Serialize;

use crate::commands::predictions::evaluation;

/// What the run of a fold says of the photos it did not see.
pub(super) struct OutOfFold {
    pub(super) fold: u32,
    pub(super) run: PathBuf,
    pub(super) rows: Vec<Prediction>,
}

#[derive(Serialize)]
pub(super) struct Summary {
    /// How the folds were parted.
    split: String,
    folds: Vec<Fold>,
    mean: Figures,
    /// Standard deviation over the folds (with n - 1).
    spread: Figures,
    /// Of all photos together.
    pooled: Evaluation,
    /// Photos that cannot be decoded; they do not count.
    broken: usize,
}

#[derive(Serialize)]
struct Fold {
    fold: u32,
    run: PathBuf,
    photos: usize,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Serialize, Clone, Copy)]
struct Figures {
    accuracy: f64,
    log_loss: f64,
    macro_f1: f64,
}

/// The rows of all folds as a run's `predictions.csv` has them, by id.
pub(super) fn to_csv(classes: &[String], folds: &[OutOfFold]) -> anyhow::Result<Vec<u8>> {
    let mut rows: Vec<Prediction> = folds.iter().flat_map(|fold| fold.rows.clone()).collect();
    rows.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(predictions_csv(classes, Part::Val, &rows)?)
}

impl Summary {
    pub(super) fn new(classes: &[String], split: &str, folds: &[OutOfFold]) -> anyhow::Result<Self> {
        let mut rows = Vec::with_capacity(folds.len());
        for OutOfFold { fold, run, rows: predictions } in folds {
            let evaluation = evaluation(classes, predictions.iter())
                .with_context(|| format!("{} has no photo that can be measured", run.display()))?;
            let Evaluation { accuracy, log_loss, macro_f1, images, .. } = evaluation;
            let figures = Figures { accuracy, log_loss, macro_f1 };
            rows.push(Fold { fold: *fold, run: run.clone(), photos: images, figures });
        }
        let every = || folds.iter().flat_map(|fold| &fold.rows);
        let count = rows.len() as f64;
        let mean =
            |value: fn(&Figures) -> f64| rows.iter().map(|row| value(&row.figures)).sum::<f64>() / count;
        let spread = |value: fn(&Figures) -> f64| {
            let centre = mean(value);
            let squares: f64 = rows.iter().map(|row| (value(&row.figures) - centre).powi(2)).sum();
            (squares / (count - 1.0).max(1.0)).sqrt()
        };
        let of = |how: &dyn Fn(fn(&Figures) -> f64) -> f64| Figures {
            accuracy: how(|figures| figures.accuracy),
            log_loss: how(|figures| figures.log_loss),
            macro_f1: how(|figures| figures.macro_f1),
        };
        let (mean, spread) = (of(&mean), of(&spread));
        Ok(Self {
            split: split.to_owned(),
            mean,
            spread,
            pooled: evaluation(classes, every())?,
            broken: every().filter(|row| row.outcome.is_err()).count(),
            folds: rows,
        })
    }

    /// One line a fold, their mean and spread, and all photos together.
    pub(super) fn table(&self, out: &Path) -> String {
        let mut text = "fold    photos  accuracy  log loss  macro F1\n".to_owned();
        let mut row = |name: &str, photos: String, Figures { accuracy, log_loss, macro_f1 }: Figures| {
            text.push_str(&format!(
                "{name:<6}  {photos:>6}  {accuracy:>8.4}  {log_loss:>8.4}  {macro_f1:>8.4}\n"
            ));
        };
        for fold in &self.folds {
            row(&fold.fold.to_string(), fold.photos.to_string(), fold.figures);
        }
        row("mean", String::new(), self.mean);
        row("spread", String::new(), self.spread);
        let with: String =
            self.folds.iter().skip(1).map(|fold| format!(" --with {}", fold.run.display())).collect();
        let first = self.folds.first().map_or_else(String::new, |fold| fold.run.display().to_string());
        format!(
            "{text}\nAll photos, each by the run that did not see it (but for the temperature, which is fitted on them):\n\n{}\nwritten to {} and {}\nnext   pugmark predict {first} PHOTOS{with}",
            self.pooled.table(Beside::default()),
            out.join(super::PREDICTIONS).display(),
            out.join(super::SUMMARY).display(),
        )
    }
}
