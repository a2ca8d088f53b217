//! One or several models that answer together.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::{Item, StorageOptions};
use pugmark_engine::{Engine, PrecisionChoice};
use pugmark_eval::Combine;
use pugmark_model::{Look, ModelCard, Opinions, Panel, Prediction};
use serde::Serialize;

use super::{data, eval};
use crate::arguments::EnsembleFlags;
use crate::error::{Interrupted, WrongCall};
use crate::printer::Printer;

/// Models and how their answers become one.
pub(super) struct Ensemble {
    paths: Vec<PathBuf>,
    panel: Panel,
    combine: Combine,
    weights: Vec<f64>,
    mirrored: bool,
}

/// Who answers, and how: answers of two that are equal in this are equal.
#[derive(Serialize)]
struct Who<'a> {
    pugmark: &'static str,
    models: Vec<&'a ModelCard>,
    combine: &'a str,
    weights: &'a [f64],
    precision: PrecisionChoice,
    /// A GPU with its arithmetic; none for the processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    mirrored: bool,
}

/// A model of an ensemble, for `--json`.
#[derive(Serialize)]
pub(super) struct Share<'a> {
    run: &'a Path,
    weight: f64,
}

impl Ensemble {
    /// Opens the run and those that answer with it; weights are those given, or all the same.
    pub(super) fn open(
        run: &Path,
        flags: &EnsembleFlags,
        engine: &dyn Engine,
        batch: usize,
    ) -> anyhow::Result<Self> {
        let paths: Vec<PathBuf> = [run.to_owned()].into_iter().chain(flags.with.clone()).collect();
        paths.iter().try_for_each(|path| data::exists(path, "run or model"))?;
        let weights = weights(&flags.weights, paths.len())?;
        let combine = flags.combine.parse().map_err(WrongCall::new)?;
        let panel = Panel::open(&paths, engine, batch)?;
        Ok(Self { paths, panel, combine, weights, mirrored: flags.mirrored })
    }

    /// What the first model says about itself; its classes are those of the ensemble.
    pub(super) fn card(&self) -> ModelCard {
        // At least the run itself was opened.
        self.panel.cards().next().cloned().expect("a first model")
    }

    /// Who answers, for people: architectures and the data they were trained on.
    pub(super) fn name(&self) -> String {
        let model = |card: &ModelCard| {
            let data = &card.data_hash[..card.data_hash.len().min(8)];
            format!("{} of epoch {} on data {data}", card.architecture, card.epoch)
        };
        let models: Vec<String> = self.panel.cards().map(model).collect();
        format!("pugmark {}: {}", env!("CARGO_PKG_VERSION"), models.join(", "))
    }

    /// Everything that answers depend on, as one line of JSON. A model is known by its card: its data, its recipe, and its metrics
    /// to the last digit.
    pub(super) fn who(&self, engine: &dyn Engine) -> anyhow::Result<String> {
        let models = self.panel.cards().collect();
        let (combine, weights) = (self.combine.name(), self.weights.as_slice());
        let pugmark = env!("CARGO_PKG_VERSION");
        Ok(serde_json::to_string(&Who {
            pugmark,
            models,
            combine,
            weights,
            precision: engine.precision().into(),
            device: engine.free_memory().map(|_| engine.arithmetic()),
            mirrored: self.mirrored,
        })?)
    }

    /// Tells which models may have been trained on a part of the first one's data.
    pub(super) fn warn_of_other_splits(&self, photos: &str, printer: &Printer) {
        let card = self.card();
        for (path, other) in self.paths.iter().zip(self.panel.cards()).skip(1) {
            if (&other.data_hash, &other.split_hash) != (&card.data_hash, &card.split_hash) {
                let path = path.display();
                printer.warning(&format!("{path} was trained on another split: it may have seen {photos}"));
            }
        }
    }

    /// Fits the weights on the validation part of the run's own data.
    pub(super) fn fit(
        &mut self,
        storage: &StorageOptions,
        look: Look,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<()> {
        let card = self.card();
        let subject = eval::own_data(&self.paths[0], None, &card, storage, printer)?;
        self.warn_of_other_splits(
            "the photos that the weights are fitted on, and then counts too much",
            printer,
        );
        let items = eval::items(&subject, &card)?;
        let (mut labels, mut rows) = (Vec::new(), Vec::new());
        self.look(&mut items.into_iter(), look, stop, printer, &mut |opinions| {
            if let (Ok(row), Some(class)) = (opinions.outcome, opinions.class) {
                labels.push(class);
                rows.push(row);
            }
            Ok(())
        })?;
        if stop.load(Ordering::Relaxed) {
            return Err(Interrupted("nothing was written; the same call begins again").into());
        }
        self.weights = self.combine.fit(&labels, &rows);
        let shares: Vec<String> = self
            .paths
            .iter()
            .zip(&self.weights)
            .map(|(path, weight)| format!("{weight:.4} {}", path.display()))
            .collect();
        printer.note(&format!("weights fitted on {} photos: {}", labels.len(), shares.join(", ")));
        Ok(())
    }

    /// Hands the ensemble's prediction of each photo to `row`, until that fails or it is stopped.
    pub(super) fn predict(
        &mut self,
        items: &mut dyn ExactSizeIterator<Item = Item>,
        look: Look,
        stop: &AtomicBool,
        printer: &Printer,
        row: &mut dyn FnMut(Prediction) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (combine, weights) = (self.combine, self.weights.clone());
        self.look(items, look, stop, printer, &mut |opinions| {
            let Opinions { id, path, class, outcome, truncated, digest } = opinions;
            let outcome = outcome.map(|rows| combine.probabilities(&weights, &rows));
            row(Prediction { id, path, class, outcome, truncated, digest })
        })
    }

    fn look(
        &mut self,
        items: &mut dyn ExactSizeIterator<Item = Item>,
        look: Look,
        stop: &AtomicBool,
        printer: &Printer,
        on: &mut dyn FnMut(Opinions) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut progress = printer.progress("photos", items.len() as u64);
        let mut done = 0;
        let mut failed = None;
        self.panel.predict(items, look, &mut |opinions| {
            if let Err(error) = on(opinions) {
                failed = Some(error);
                return ControlFlow::Break(());
            }
            done += 1;
            progress.set_with_rate(done, "photos");
            if stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The models with their weights; nothing where there is but one.
    pub(super) fn shares(&self) -> Vec<Share<'_>> {
        let shares = self.paths.iter().zip(&self.weights).map(|(run, &weight)| Share { run, weight });
        if self.paths.len() > 1 { shares.collect() } else { Vec::new() }
    }

    /// One line about the models; nothing where there is but one.
    pub(super) fn line(&self) -> Option<String> {
        let shares = self.shares();
        let first = shares.first()?;
        let mut line = format!("{} mean of {} models", self.combine.name(), shares.len());
        if self.combine == Combine::Mean {
            line = format!("mean of {} models", shares.len());
        }
        for Share { run, weight } in std::iter::once(first).chain(&shares[1..]) {
            line.push_str(&format!(", {weight:.4} {}", run.display()));
        }
        Some(line)
    }
}

/// The weights given, scaled to sum to 1; or all the same.
fn weights(given: &[f64], models: usize) -> Result<Vec<f64>, WrongCall> {
    if given.is_empty() {
        return Ok(vec![1.0 / models as f64; models]);
    }
    let sum: f64 = given.iter().sum();
    if given.len() != models {
        return Err(WrongCall::new(format!("--weights has {} weights for {models} models", given.len()))
            .with_hint("give one for RUN and one for each `--with`, in this order"));
    }
    if given.iter().any(|weight| !(0.0..=1e9).contains(weight)) || sum <= 0.0 {
        return Err(WrongCall::new("--weights must be 0 or more, and not all 0"));
    }
    Ok(given.iter().map(|weight| weight / sum).collect())
}
