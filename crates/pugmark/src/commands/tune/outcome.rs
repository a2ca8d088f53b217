//! What a study found.

use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::Part;
use pugmark_eval::evaluate;
use pugmark_model::{RunFolder, write_atomic};
use pugmark_train::Outcome;
use pugmark_tune::{Limits, Metrics, Objective, Over, Plan, Run, State};
use serde::Serialize;

use super::begin::Search;
use super::{page, trial, words};
use crate::commands::predictions;
use crate::error::ExitStatus;
use crate::printer::Printer;

/// The best settings, trained again.
#[derive(Serialize)]
pub(super) struct Retrained {
    run: PathBuf,
    seed: u64,
    /// Of its best model on the validation part.
    metrics: Metrics,
    /// The same on the test part; none where there is none.
    test: Option<Tested>,
}

#[derive(Serialize)]
struct Tested {
    photos: usize,
    accuracy: f64,
    log_loss: f64,
    macro_f1: f64,
}

impl Retrained {
    /// For people.
    pub(super) fn sentence(&self, objective: &Objective) -> String {
        let Self { run, seed, metrics, test } = self;
        let run = run.display();
        let mut text =
            format!("Trained again with seed {seed}, into {run}: {}", words::measured(metrics, objective));
        text.push_str(&match test {
            Some(Tested { photos, accuracy, log_loss, .. }) => {
                format!("; on the {photos} photos of the test part: log-loss {log_loss:.4} after calibration, accuracy {accuracy:.4}.")
            }
            None => "; there is no test part, so nothing here is strict.".to_owned(),
        });
        text
    }
}

#[derive(Serialize)]
struct Report<'a> {
    study: &'a Path,
    objective: &'a Objective,
    sampler: &'a str,
    pruner: &'a str,
    seed: u64,
    workers: u32,
    #[serde(flatten)]
    limits: Limits,
    /// Why it is over; none where it can go on.
    over: Option<Over>,
    best: Option<u32>,
    trials: &'a [Run],
    retrained: Option<&'a Retrained>,
}

/// What the training of the best settings came to, from its files.
pub(super) fn retrained(
    run: &Path,
    seed: u64,
    outcome: &Outcome,
    classes: &[String],
) -> anyhow::Result<Retrained> {
    let metrics = outcome.best.as_ref().map(words::metrics).unwrap_or_default();
    let (part, rows) = predictions::read(&RunFolder::open(run)?.predictions(), classes)?;
    let (mut labels, mut probabilities) = (Vec::new(), Vec::new());
    for row in rows {
        if let (Ok(values), Some(class)) = (row.outcome, row.class) {
            labels.push(class);
            probabilities.extend(values);
        }
    }
    let test = match part {
        Some(Part::Test) if !labels.is_empty() => {
            let found = evaluate(classes, &labels, &probabilities)?;
            let (accuracy, log_loss, macro_f1) = (found.accuracy, found.log_loss, found.macro_f1);
            Some(Tested { photos: found.images, accuracy, log_loss, macro_f1 })
        }
        _ => None,
    };
    Ok(Retrained { run: run.to_owned(), seed, metrics, test })
}

/// The settings of the best trial.
fn best_settings(folder: &Path) -> PathBuf {
    folder.join("best.toml")
}

/// A study at a moment.
pub(super) struct Seen<'a> {
    pub(super) folder: &'a Path,
    pub(super) plan: &'a Plan,
    pub(super) limits: Limits,
    pub(super) runs: Vec<Run>,
    /// Number of the best trial.
    pub(super) best: Option<u32>,
    over: Option<Over>,
}

impl<'a> Seen<'a> {
    fn new(search: &'a Search) -> Self {
        let desk = search.desk();
        let study = &desk.study;
        Self {
            folder: &search.folder,
            plan: &search.plan,
            limits: study.limits(),
            runs: study.runs().to_vec(),
            best: study.best().map(|run| run.number),
            over: study.is_over(),
        }
    }
}

/// Saves the best settings and the page.
pub(super) fn save(search: &Search, printer: &Printer) -> anyhow::Result<()> {
    saved(search, &Seen::new(search), None, printer)
}

fn saved(
    search: &Search,
    seen: &Seen<'_>,
    retrained: Option<&Retrained>,
    printer: &Printer,
) -> anyhow::Result<()> {
    // Other processes save the same files.
    let write = |path: &Path, text: &str| {
        search
            .desk()
            .study
            .alone(|| write_atomic(path, text.as_bytes()))?
            .with_context(|| format!("cannot write {}", path.display()))
    };
    if let Some(best) = seen.best {
        let config = RunFolder::open(&trial::folder(seen.folder, best))?.config();
        let text =
            std::fs::read_to_string(&config).with_context(|| format!("cannot read {}", config.display()))?;
        let settings: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let head = format!(
            "# The best of {} trials, number {best}: `pugmark train --config best.toml` trains it again.\n",
            seen.runs.len()
        );
        let path = best_settings(seen.folder);
        write(&path, &(head + &settings.join("\n") + "\n"))?;
    }
    // It can be drawn again from the journal; the study is worth more than its page.
    let path = seen.folder.join("study.html");
    if let Err(error) = write(&path, &page::page(seen, retrained)) {
        printer.warning(&format!("{error:#}"));
    }
    Ok(())
}

/// Saves and tells the result.
pub(super) fn tell(
    search: &Search,
    retrained: Option<&Retrained>,
    json: bool,
    printer: &Printer,
) -> anyhow::Result<ExitStatus> {
    let seen = Seen::new(search);
    saved(search, &seen, retrained, printer)?;
    let Seen { plan, runs, limits, .. } = &seen;
    if json {
        printer.json(&Report {
            study: &search.folder,
            objective: &plan.objective,
            sampler: &plan.sampler,
            pruner: &plan.pruner,
            seed: plan.seed,
            workers: plan.workers,
            limits: *limits,
            over: seen.over,
            best: seen.best,
            trials: runs,
            retrained,
        })?;
    }
    let Some(best) = seen.best.and_then(|best| runs.get(best as usize)) else {
        return Ok(none(&seen, printer));
    };
    if !json {
        printer.result(&text(&seen, best, retrained))?;
    }
    Ok(ExitStatus::Done)
}

/// No trial has a value.
fn none(seen: &Seen<'_>, printer: &Printer) -> ExitStatus {
    let failed = seen.runs.iter().find(|run| run.state() == State::Failed);
    let why = failed.and_then(|run| Some((run.number, run.ending.as_ref()?.why.clone()?)));
    let Some((number, why)) = why else {
        printer.note("no trial has ended yet");
        return ExitStatus::Done;
    };
    let all = seen.runs.len();
    let text = format!("none of the {all} trials has a result; trial {number} failed: {why}");
    let run = trial::folder(seen.folder, number);
    let hint = format!(
        "`pugmark train --config {}` shows it alone; search smaller values",
        run.join("config.toml").display()
    );
    printer.error(&text, &[], Some(&hint));
    ExitStatus::Failed
}

fn text(seen: &Seen<'_>, best: &Run, retrained: Option<&Retrained>) -> String {
    let Seen { folder, plan, runs, over, .. } = seen;
    let metrics = best.ending.as_ref().map(|ending| &ending.metrics);
    let measured = metrics.map(|metrics| words::measured(metrics, &plan.objective)).unwrap_or_default();
    let ended = match over {
        Some(Over::Target) => ": the target is reached",
        Some(Over::Patience) => ": no trial was better for long enough",
        Some(Over::Trials) | None => "",
    };
    let mut lines = vec![
        format!("best trial {} of {}: {measured}", best.number, runs.len()),
        format!("       {}", words::settings(&best.settings)),
        format!("trials {}{ended}", words::counts(runs)),
    ];
    if let Some(again) = retrained {
        lines.push(again.sentence(&plan.objective));
    }
    lines.push(format!("page   {}", folder.join("study.html").display()));
    lines.push(format!("next   pugmark train --config {} --out RUN", best_settings(folder).display()));
    lines.push(format!("       pugmark eval {}", trial::folder(folder, best.number).display()));
    lines.join("\n")
}
