//! A study: trials that several workers run, and what is known of them.

mod earlier;
mod error;
mod plan;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::journal::{Journal, Record};
use crate::{Pruner, Sampler, Settings, State, Trial};

pub use error::StudyError;
pub use plan::{Direction, Limits, Metrics, Objective, Plan};

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ending {
    /// Not [`State::Running`].
    pub state: State,
    /// What it comes to; a trial that is complete has the objective here.
    #[serde(default)]
    pub metrics: Metrics,
    /// Why it was pruned or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What its last worker took for it.
    pub seconds: f64,
}

/// A trial as the journal has it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// From 0.
    pub number: u32,
    /// What it is trained with.
    pub settings: Settings,
    /// What it measured after each epoch, from 1.
    pub reported: BTreeMap<u32, Metrics>,
    /// None while it runs.
    #[serde(flatten)]
    pub ending: Option<Ending>,
}

impl Run {
    /// How far it is.
    pub fn state(&self) -> State {
        self.ending.as_ref().map_or(State::Running, |ending| ending.state)
    }

    /// As samplers and pruners know it.
    pub fn trial(&self, objective: &Objective) -> Trial {
        let reported = self.reported.values().filter_map(|metrics| objective.of(metrics)).collect();
        let value = self.ending.as_ref().and_then(|ending| objective.of(&ending.metrics));
        Trial {
            number: self.number,
            settings: self.settings.clone(),
            state: self.state(),
            reported,
            value: value.filter(|_| self.state() != State::Failed),
        }
    }
}

/// What a worker does next.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// This trial, and nobody else does.
    Trial {
        /// From 0.
        number: u32,
        /// What it is trained with.
        settings: Settings,
        /// Another worker began it and is gone.
        taken_up: bool,
    },
    /// Nothing yet: trials that others run must end first.
    Wait,
    /// Nothing any more.
    Over,
}

/// Why a study is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Over {
    /// All trials have ended.
    Trials,
    /// The target is reached.
    Target,
    /// For too long nothing was better.
    Patience,
}

/// An open study, which one process works on with any number of threads.
///
/// **What it comes to depends on its plan alone.** Trial n is proposed when trials 0 to n - W have ended, W being the workers
/// of the plan; of those between it knows that they run, ended or not. The same holds for what a pruner knows.
pub struct Study {
    folder: PathBuf,
    journal: Journal,
    plan: Plan,
    limits: Limits,
    runs: Vec<Run>,
    /// Trials of this process. Their locks go away with it.
    held: BTreeMap<u32, File>,
}

impl Study {
    /// Begins a study in a new or empty folder, or joins the one that is there. `prepare` is called before a new one's journal
    /// begins, and by nobody else at the same time.
    ///
    /// # Errors
    /// [`StudyError::Other`] where another study is there, [`StudyError::OtherFiles`] where anything else is, and those of
    /// the file system.
    pub fn begin(
        folder: &Path,
        plan: Plan,
        limits: Limits,
        prepare: impl FnOnce() -> io::Result<()>,
    ) -> Result<Self, StudyError> {
        let is_study = || Journal::path(folder).is_file();
        if !is_study()
            && let Err(error) = vacant(folder)
            // Another worker may have begun it meanwhile: its journal comes before its other files.
            && !is_study()
        {
            return Err(error);
        }
        let mut journal = Journal::open(folder, true)?;
        let held = journal.lock()?;
        let mut records = journal.news(&held)?;
        if records.is_empty() {
            prepare().map_err(|source| StudyError::Io { path: folder.into(), source })?;
            records = vec![Record::Study(plan.clone()), Record::Limits(limits)];
            for record in &records {
                journal.append(record, &held)?;
            }
        }
        let mut study = Self::of(folder, journal, records)?;
        if let Some((what, ours, theirs)) = plan.difference(&study.plan) {
            return Err(StudyError::Other { path: folder.into(), what, theirs, ours });
        }
        if study.limits != limits {
            study.journal.append(&Record::Limits(limits), &held)?;
            study.limits = limits;
        }
        Ok(study)
    }

    /// Opens the study of a folder.
    ///
    /// # Errors
    /// [`StudyError::NotAStudy`], [`StudyError::Damaged`], and those of the file system.
    pub fn open(folder: &Path) -> Result<Self, StudyError> {
        let mut journal = Journal::open(folder, false)?;
        let held = journal.lock()?;
        let records = journal.news(&held)?;
        Self::of(folder, journal, records)
    }

    fn of(folder: &Path, journal: Journal, records: Vec<Record>) -> Result<Self, StudyError> {
        let mut records = records.into_iter();
        let Some(Record::Study(plan)) = records.next() else {
            return Err(StudyError::NotAStudy { path: folder.into() });
        };
        let limits = Limits { trials: 0, target: None, patience: None };
        let (runs, held) = (Vec::new(), BTreeMap::new());
        let mut study = Self { folder: folder.into(), journal, plan, limits, runs, held };
        study.apply(records.collect())?;
        Ok(study)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What decides it.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// When it ends.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Its trials, by number.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The complete trial with the best value; among equals the first.
    pub fn best(&self) -> Option<&Run> {
        let cost = |run: &&Run| run.trial(&self.plan.objective).value.unwrap_or(f64::INFINITY);
        let complete = self.runs.iter().filter(|run| run.state() == State::Complete);
        complete.min_by(|a, b| cost(a).total_cmp(&cost(b)))
    }

    /// What the proposal of a trial may know: earlier studies, and this one's trials before it, of which the last ones run.
    pub fn known(&self, number: u32) -> Vec<Trial> {
        let ended = self.ended_before(number);
        let own = self.runs.iter().take(number as usize).map(|run| {
            let trial = run.trial(&self.plan.objective);
            if run.number < ended {
                return trial;
            }
            Trial { state: State::Running, reported: Vec::new(), value: None, ..trial }
        });
        self.plan.earlier.iter().cloned().chain(own).collect()
    }

    /// Whether a trial ends after an epoch it has reported, by the trials that ended before it began.
    pub fn prunes(&self, pruner: &dyn Pruner, number: u32, epoch: u32) -> bool {
        let Some(run) = self.runs.get(number as usize) else { return false };
        let known = self.runs.iter().take(self.ended_before(number) as usize);
        let known: Vec<Trial> = known.map(|run| run.trial(&self.plan.objective)).collect();
        // Who takes a trial up may have the later epochs of its last worker before it.
        let reported =
            run.reported.range(..=epoch).filter_map(|(_, metrics)| self.plan.objective.of(metrics));
        let trial = Trial { reported: reported.collect(), ..run.trial(&self.plan.objective) };
        pruner.prune(&trial, &known)
    }

    /// Trials below this number have ended before trial `number` begins.
    fn ended_before(&self, number: u32) -> u32 {
        (number + 1).saturating_sub(self.plan.workers)
    }

    /// Reads what other processes did.
    ///
    /// # Errors
    /// [`StudyError::Damaged`], and those of the file system.
    pub fn refresh(&mut self) -> Result<(), StudyError> {
        let held = self.journal.lock()?;
        let news = self.journal.news(&held)?;
        self.apply(news)
    }

    /// Does something while no other process works on the study's files.
    ///
    /// # Errors
    /// [`StudyError::NoLocks`].
    pub fn alone<R>(&self, act: impl FnOnce() -> R) -> Result<R, StudyError> {
        let _held = self.journal.lock()?;
        Ok(act())
    }

    /// Changes when the study ends.
    ///
    /// # Errors
    /// Those of [`Study::refresh`].
    pub fn set_limits(&mut self, limits: Limits) -> Result<(), StudyError> {
        self.write(Record::Limits(limits))
    }

    /// What to do next: a trial whose worker is gone, else a new one. Whoever is given a trial calls [`Study::end`] or
    /// [`Study::release`].
    ///
    /// # Errors
    /// Those of [`Study::refresh`].
    pub fn next(&mut self, sampler: &dyn Sampler) -> Result<Next, StudyError> {
        let held = self.journal.lock()?;
        let news = self.journal.news(&held)?;
        self.apply(news)?;
        let running: Vec<u32> = self.running().map(|run| run.number).collect();
        for &number in running.iter().filter(|number| !self.held.contains_key(number)) {
            if let Some(lock) = self.journal.lock_trial(number, &held)? {
                self.held.insert(number, lock);
                let settings = self.runs[number as usize].settings.clone();
                return Ok(Next::Trial { number, settings, taken_up: true });
            }
        }
        let number = self.runs.len() as u32;
        let ended = self.ended_before(number);
        if running.iter().any(|&running| running < ended) {
            return Ok(Next::Wait);
        }
        if self.over(number).is_some() {
            return Ok(if running.is_empty() { Next::Over } else { Next::Wait });
        }
        let Some(lock) = self.journal.lock_trial(number, &held)? else { return Ok(Next::Wait) };
        let settings = sampler.propose(&self.plan.space, &self.known(number), number);
        let record = Record::Begun { number, settings: settings.clone() };
        self.journal.append(&record, &held)?;
        self.apply(vec![record])?;
        self.held.insert(number, lock);
        Ok(Next::Trial { number, settings, taken_up: false })
    }

    fn running(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| run.ending.is_none())
    }

    /// Why no trial `number` begins, by what is known then.
    fn over(&self, number: u32) -> Option<Over> {
        if number >= self.limits.trials {
            return Some(Over::Trials);
        }
        let mut best: Option<(usize, f64)> = None;
        let ended = &self.runs[..(self.ended_before(number) as usize).min(self.runs.len())];
        for (at, run) in ended.iter().enumerate().filter(|(_, run)| run.state() == State::Complete) {
            if let Some(value) = run.trial(&self.plan.objective).value
                && best.is_none_or(|(_, best)| value < best)
            {
                best = Some((at, value));
            }
        }
        let target = self.limits.target.map(|target| self.plan.objective.cost(target));
        if target.zip(best).is_some_and(|(target, (_, value))| value <= target) {
            return Some(Over::Target);
        }
        let since = best.map_or(0, |(at, _)| ended.len() - 1 - at);
        self.limits.patience.filter(|&patience| since >= patience as usize).map(|_| Over::Patience)
    }

    /// Why the study is over; none where trials are to come or run.
    pub fn is_over(&self) -> Option<Over> {
        if self.running().next().is_some() { None } else { self.over(self.runs.len() as u32) }
    }

    /// Notes what a trial measured after an epoch. What is known already is not noted again: a trial that was taken up
    /// comes to the same.
    ///
    /// # Errors
    /// Those of [`Study::refresh`].
    pub fn report(&mut self, number: u32, epoch: u32, mut metrics: Metrics) -> Result<(), StudyError> {
        metrics.retain(|_, value| value.is_finite());
        match self.runs.get(number as usize) {
            Some(run) if !run.reported.contains_key(&epoch) => {
                self.write(Record::Reported { number, epoch, metrics })
            }
            _ => Ok(()),
        }
    }

    /// Ends a trial. One that is complete without having measured the objective has failed.
    ///
    /// # Errors
    /// Those of [`Study::refresh`].
    pub fn end(&mut self, number: u32, mut ending: Ending) -> Result<(), StudyError> {
        ending.metrics.retain(|_, value| value.is_finite());
        let metric = &self.plan.objective.metric;
        if ending.state == State::Complete && !ending.metrics.contains_key(metric) {
            let names: Vec<&str> = ending.metrics.keys().map(String::as_str).collect();
            ending.why = Some(format!("it measured no `{metric}`, but {}", names.join(", ")));
            ending.state = State::Failed;
        }
        self.write(Record::Ended { number, ending })?;
        let held = self.journal.lock()?;
        self.journal.forget_trial(number, &held);
        self.held.remove(&number);
        Ok(())
    }

    /// Leaves a trial, for whoever takes it up.
    pub fn release(&mut self, number: u32) {
        self.held.remove(&number);
    }

    fn write(&mut self, record: Record) -> Result<(), StudyError> {
        let held = self.journal.lock()?;
        let mut news = self.journal.news(&held)?;
        self.journal.append(&record, &held)?;
        news.push(record);
        self.apply(news)
    }

    fn apply(&mut self, records: Vec<Record>) -> Result<(), StudyError> {
        for record in records {
            let number = match &record {
                Record::Begun { number, .. } => (*number as usize == self.runs.len()).then_some(*number),
                Record::Reported { number, .. } | Record::Ended { number, .. } => {
                    self.runs.get(*number as usize).map(|run| run.number)
                }
                Record::Study(_) => None,
                Record::Limits(limits) => {
                    self.limits = *limits;
                    continue;
                }
            };
            let Some(run) = number else { return Err(self.journal.out_of_order()) };
            let run = run as usize;
            match record {
                Record::Begun { number, settings } => {
                    self.runs.push(Run { number, settings, reported: BTreeMap::new(), ending: None });
                }
                Record::Reported { epoch, metrics, .. } => {
                    self.runs[run].reported.insert(epoch, metrics);
                }
                Record::Ended { ending, .. } => self.runs[run].ending = Some(ending),
                Record::Study(_) | Record::Limits(_) => {}
            }
        }
        Ok(())
    }
}

/// Refuses a folder that holds anything but what a kill before the first line leaves.
fn vacant(folder: &Path) -> Result<(), StudyError> {
    let failed = |source| StudyError::Io { path: folder.into(), source };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(failed)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    match names.into_iter().find(|name| !name.starts_with('.')) {
        Some(name) => Err(StudyError::OtherFiles { path: folder.into(), name }),
        None => Ok(()),
    }
}
