//! The workers of this process, and what is seen of the study while they work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use pugmark_engine::Engine;
use pugmark_model::RunFolder;
use pugmark_train::{TrainError, TrainSettings};
use pugmark_tune::{Next, Run, Study};

use super::begin::{Desk, Search};
use super::outcome::{self, Retrained};
use super::watching::Watching;
use super::{trial, words};
use crate::commands::train::draw;
use crate::printer::{Printer, Progress, duration};

const POLL: Duration = Duration::from_millis(30);
/// Between two looks at what other processes did.
const REFRESH: Duration = Duration::from_secs(1);
/// Between two pages of a study that goes on.
const SAVE: Duration = Duration::from_secs(10);
/// Warnings of trials that are repeated here; the runs' logs have all.
const WARNINGS: usize = 10;

/// The threads that run trials.
pub(super) struct Workers<'a> {
    pub(super) search: &'a Search,
    stop: &'a AtomicBool,
    json: bool,
    /// Whether the search's time ends its trainings.
    timed: bool,
    aborted: AtomicBool,
    /// What each trial of this process does; without a number, the training at the end.
    statuses: Mutex<BTreeMap<Option<u32>, String>>,
    warnings: Mutex<Warnings>,
}

/// Tells all workers to stop when it is dropped.
struct Abort<'a>(&'a AtomicBool);

impl Drop for Abort<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Default)]
struct Warnings {
    known: BTreeSet<String>,
    new: Vec<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a thread that panicked left is what the journal says, and the panic goes on when it is joined.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<'a> Workers<'a> {
    pub(super) fn new(search: &'a Search, stop: &'a AtomicBool, json: bool) -> Self {
        let (statuses, warnings) = (Mutex::default(), Mutex::default());
        Self { search, stop, json, timed: true, aborted: AtomicBool::new(false), statuses, warnings }
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.search.desk()
    }

    /// Whether trials are to be left as they are.
    pub(super) fn are_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.aborted.load(Ordering::Relaxed) || self.out_of_time()
    }

    pub(super) fn out_of_time(&self) -> bool {
        self.timed && self.search.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Says what a trial does.
    pub(super) fn status(&self, number: Option<u32>, text: &str) {
        lock(&self.statuses).insert(number, text.to_owned());
    }

    /// Says a warning, once however many trials give it.
    pub(super) fn say(&self, text: String) {
        let mut warnings = lock(&self.warnings);
        if warnings.known.len() < WARNINGS && warnings.known.insert(text.clone()) {
            warnings.new.push(text);
        }
    }

    /// Runs trials until there are none, the time is over, or the work is interrupted.
    pub(super) fn run(&self, printer: &Printer) -> anyhow::Result<()> {
        let mut view = View::new(self, printer);
        thread::scope(|scope| {
            let threads: Vec<_> = (0..self.search.workers).map(|_| scope.spawn(|| self.work())).collect();
            while !threads.iter().all(ScopedJoinHandle::is_finished) {
                thread::sleep(POLL);
                if let Err(error) = view.look() {
                    // The scope waits for the threads: they are to stop.
                    self.aborted.store(true, Ordering::Relaxed);
                    return Err(error);
                }
            }
            for thread in threads {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            }
            view.look()
        })
    }

    fn work(&self) -> anyhow::Result<()> {
        // Also where a panic ends this thread: the others would wait for its trial for ever.
        let guard = Abort(&self.aborted);
        self.trials()?;
        std::mem::forget(guard);
        Ok(())
    }

    fn trials(&self) -> anyhow::Result<()> {
        let engine = self.engine(self.search.threads)?;
        while !self.are_stopping() {
            let next = {
                let Desk { study, sampler, .. } = &mut *self.desk();
                study.next(&**sampler)?
            };
            match next {
                Next::Over => break,
                Next::Wait => thread::sleep(POLL),
                Next::Trial { number, settings, taken_up } => {
                    self.status(Some(number), "begins");
                    trial::run(self, &*engine, number, &settings, taken_up)?;
                    lock(&self.statuses).remove(&Some(number));
                }
            }
        }
        Ok(())
    }

    fn engine(&self, threads: usize) -> anyhow::Result<Box<dyn Engine>> {
        let TrainSettings { device, precision, .. } = self.search.base;
        let (engine, why) = device.open(threads, precision)?;
        if let Some(why) = why {
            self.say(format!("the CPU does the work: {why}"));
        }
        Ok(engine)
    }

    /// Trains the best settings once more, with the next seed; none where no trial has a value, or when interrupted.
    pub(super) fn retrain_best(&self, printer: &Printer) -> anyhow::Result<Option<Retrained>> {
        let best = self.desk().study.best().map(|run| run.settings.clone());
        let Some(best) = best else { return Ok(None) };
        let settings = self.search.settings(&best)?;
        // What the best trial owes to its own seed would not be seen with the same one. The split is the study's.
        let seed = (settings.seed + 1) & i64::MAX as u64;
        let settings = TrainSettings { seed, ..settings };
        let run = self.search.folder.join("best");
        let engine = self.engine(self.search.threads * self.search.workers)?;
        // The time is over for trials alone.
        let untimed = Workers { timed: false, ..Workers::new(self.search, self.stop, self.json) };
        let train = || {
            let mut watching = Watching::new(&untimed, None, &settings);
            trial::training(&untimed, &*engine, &settings, &run, &mut watching)
        };
        printer.note(&format!("training the best settings again, with seed {seed}"));
        let outcome = match train() {
            // Of another best trial, or of fewer epochs.
            Err(TrainError::SettingChanged { .. }) => {
                RunFolder::overwrite(&run)?;
                train()
            }
            outcome => outcome,
        }?;
        if outcome.interrupted {
            return Ok(None);
        }
        draw(&RunFolder::open(&run)?, printer);
        outcome::retrained(&run, seed, &outcome, &self.search.dataset.classes).map(Some)
    }
}

/// What is shown while the workers work.
struct View<'a> {
    workers: &'a Workers<'a>,
    printer: &'a Printer,
    bar: Progress<'a>,
    begun: Instant,
    /// Trials that had ended before, and those whose end was told.
    before: usize,
    told: BTreeSet<u32>,
    refreshed: Instant,
    saved: Instant,
    stopping: bool,
}

impl<'a> View<'a> {
    fn new(workers: &'a Workers<'a>, printer: &'a Printer) -> Self {
        let desk = workers.desk();
        let study = &desk.study;
        let ended: Vec<&Run> = study.runs().iter().filter(|run| run.ending.is_some()).collect();
        let told: BTreeSet<u32> = ended.iter().map(|run| run.number).collect();
        let plan = &workers.search.plan;
        printer.note(&format!(
            "{} trials in {}: {}, pruner {}, {} of {} workers here with {} compute threads each",
            study.limits().trials,
            workers.search.folder.display(),
            plan.sampler,
            plan.pruner,
            workers.search.workers,
            plan.workers,
            workers.search.threads,
        ));
        if !told.is_empty() {
            printer.note(&format!("{} of them have ended before", told.len()));
        }
        let bar = printer.progress("trials", study.limits().trials.into());
        let now = Instant::now();
        let (before, stopping) = (told.len(), false);
        Self { workers, printer, bar, begun: now, before, told, refreshed: now, saved: now, stopping }
    }

    /// Tells what is new.
    fn look(&mut self) -> anyhow::Result<()> {
        let mut desk = self.workers.desk();
        if self.refreshed.elapsed() >= REFRESH {
            self.refreshed = Instant::now();
            desk.study.refresh()?;
        }
        let (ended, message) = self.tell(&desk.study)?;
        drop(desk);
        for text in std::mem::take(&mut lock(&self.workers.warnings).new) {
            self.printer.warning(&text);
        }
        if self.workers.stop.load(Ordering::Relaxed) && !self.stopping {
            self.stopping = true;
            self.printer.note(
                "stopping: steps in progress are finished and saved first (once more Ctrl-C ends at once)",
            );
        }
        if ended && self.saved.elapsed() >= SAVE {
            self.saved = Instant::now();
            outcome::save(self.workers.search, self.printer)?;
        }
        self.bar.set(self.told.len() as u64, &message);
        Ok(())
    }

    /// Tells of trials that have ended; whether there were any, and how far the study is.
    fn tell(&mut self, study: &Study) -> anyhow::Result<(bool, String)> {
        let best = study.best();
        let mut any = false;
        for run in study.runs().iter().filter(|run| run.ending.is_some()) {
            if !self.told.insert(run.number) {
                continue;
            }
            any = true;
            let line =
                words::line(run, best.is_some_and(|best| best.number == run.number), &study.plan().objective);
            match self.workers.json {
                true => self.printer.note(&line),
                false => self.printer.result(&line)?,
            }
        }
        let metric = &study.plan().objective.metric;
        let value = best.and_then(|run| Some((run.number, run.ending.as_ref()?.metrics.get(metric)?)));
        let mut message = value.map_or_else(String::new, |(number, value)| {
            format!("best {metric} {value:.4} (trial {number}), ")
        });
        let done = self.told.len() - self.before;
        let each = self.begun.elapsed().as_secs_f64() / done.max(1) as f64;
        if done > 0 {
            let left = each * (study.limits().trials as usize).saturating_sub(self.told.len()) as f64;
            message.push_str(&format!(
                "{:.1} trials/min, {} left",
                60.0 / each.max(1e-3),
                duration(Duration::from_secs_f64(left))
            ));
        }
        for (number, status) in &*lock(&self.workers.statuses) {
            let number = number.map_or_else(|| "again".to_owned(), |number| number.to_string());
            message.push_str(&format!(" | {number}: {status}"));
        }
        Ok((any, message))
    }
}
