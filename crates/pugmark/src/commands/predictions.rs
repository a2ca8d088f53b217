//! A run's `predictions.csv`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::Part;
use pugmark_eval::{EvalError, Evaluation, conformal_threshold, evaluate};
use pugmark_model::{Prediction, RunFolder};

use crate::error::WrongCall;

/// Its rows, and the part of the data that they are of. `classes` are the model's.
pub(crate) fn read(path: &Path, classes: &[String]) -> anyhow::Result<(Option<Part>, Vec<Prediction>)> {
    let context = || format!("cannot read {}", path.display());
    let mut csv = csv::Reader::from_path(path).with_context(context)?;
    let (mut part, mut rows) = (None, Vec::new());
    for row in csv.records() {
        let row = row.with_context(context)?;
        let cell = |at: usize| row.get(at).unwrap_or_default();
        part = part.or_else(|| cell(1).parse().ok());
        // id, split, class, predicted, one probability a class, truncated, reason
        let (truncated, reason) = (4 + classes.len(), 5 + classes.len());
        let outcome = match cell(reason) {
            "" => Ok((4..truncated)
                .map(|at| cell(at).parse())
                .collect::<Result<_, _>>()
                .with_context(context)?),
            reason => Err(reason.to_owned()),
        };
        rows.push(Prediction {
            id: cell(0).to_owned(),
            path: PathBuf::new(),
            class: classes.iter().position(|class| class == cell(2)),
            outcome,
            truncated: cell(truncated) == "true",
            digest: None,
        });
    }
    Ok((part, rows))
}

/// How probable a class must be to be in a set that holds the true one with this probability, as the photos say that the
/// run's best model was not trained on; and the part that those are.
pub(crate) fn set_threshold(
    run: &Path,
    classes: &[String],
    coverage: f64,
) -> anyhow::Result<(f32, Option<Part>)> {
    if !run.is_dir() {
        return Err(WrongCall::new(format!("{} is a model file", run.display()))
            .with_hint("sets need the predictions that a run folder has: name that")
            .into());
    }
    let (part, rows) = read(&RunFolder::open(run)?.predictions(), classes)?;
    let (labels, probabilities) = labelled(&rows);
    Ok((conformal_threshold(&labels, &probabilities, coverage), part))
}

/// How good they are; photos that cannot be decoded do not count.
pub(crate) fn evaluation<'a>(
    classes: &[String],
    rows: impl IntoIterator<Item = &'a Prediction>,
) -> Result<Evaluation, EvalError> {
    let (labels, probabilities) = labelled(rows);
    evaluate(classes, &labels, &probabilities)
}

/// Classes and probabilities of the photos that have both.
fn labelled<'a>(rows: impl IntoIterator<Item = &'a Prediction>) -> (Vec<usize>, Vec<f32>) {
    let (mut labels, mut probabilities) = (Vec::new(), Vec::new());
    for row in rows {
        if let (Ok(values), Some(class)) = (&row.outcome, row.class) {
            labels.push(class);
            probabilities.extend_from_slice(values);
        }
    }
    (labels, probabilities)
}
