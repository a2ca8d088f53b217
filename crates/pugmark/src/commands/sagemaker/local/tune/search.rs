//! The trainings of a tuning job, some at a time.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use anyhow::Context;
use pugmark_tune::{Settings, State, Trial};
use serde_json::{Map, Value, json};

use super::config::Config;
use crate::commands::sagemaker::local::attendant::{Attendant, Foreground, Stop};
use crate::commands::sagemaker::local::container::LOOK;
use crate::commands::sagemaker::local::job::{Job, Kind, now};
use crate::commands::sagemaker::local::plan::Plan;
use crate::commands::sagemaker::local::training::{self, Trained};

/// One of the trainings.
pub(super) struct Training {
    pub(super) name: String,
    pub(super) folder: PathBuf,
    /// By numbers from 0, and with the sign by which the least is the best.
    pub(super) trial: Trial,
    /// What it was told, as `STOPS` counts.
    stop: Arc<AtomicU8>,
    /// What its `job.json` says, when it has ended.
    description: Option<Map<String, Value>>,
}

const STOPS: [Stop; 3] = [Stop::No, Stop::Gently, Stop::AtOnce];

impl Training {
    fn tell(&self, stop: Stop) {
        let place = STOPS.iter().position(|other| *other == stop).unwrap_or_default();
        self.stop.fetch_max(place as u8, Ordering::Relaxed);
    }
}

/// What trainings say, with their number.
enum Event {
    Line(String),
    Metric(String, f64),
    Ended(anyhow::Result<Trained>, Map<String, Value>),
}

/// A training's attendant: everything goes to the search.
struct Background {
    number: usize,
    events: Sender<(usize, Event)>,
    stop: Arc<AtomicU8>,
}

impl Background {
    fn send(&self, event: Event) {
        // The search is gone only where it failed itself.
        let _ = self.events.send((self.number, event));
    }
}

impl Attendant for Background {
    fn line(&self, text: &str) {
        self.send(Event::Line(text.to_owned()));
    }

    fn metric(&self, name: &str, value: f64) {
        self.send(Event::Metric(name.to_owned(), value));
    }

    fn stop(&self) -> Stop {
        STOPS[usize::from(self.stop.load(Ordering::Relaxed)).min(STOPS.len() - 1)]
    }
}

/// A tuning job under way.
pub(super) struct Search<'a> {
    pub(super) config: &'a Config,
    plan: &'a Plan,
    attendant: &'a Foreground<'a>,
    out: &'a Path,
    pub(super) trials: Vec<Training>,
    /// Why no more training begins.
    over: Option<&'static str>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        config: &'a Config,
        plan: &'a Plan,
        attendant: &'a Foreground<'a>,
        out: &'a Path,
    ) -> Self {
        Self { config, plan, attendant, out, trials: Vec::new(), over: None }
    }

    /// Runs all trainings; the job says how it ended.
    pub(super) fn run(&mut self, job: &mut Job) -> anyhow::Result<()> {
        job.status("InProgress")?;
        let ended = thread::scope(|scope| {
            let ended = self.trainings(scope, job);
            if ended.is_err() {
                // The scope waits for them.
                self.trials.iter().for_each(|training| training.tell(Stop::AtOnce));
            }
            ended
        });
        ended?;
        job.set("HyperParameterTuningEndTime", now());
        job.status(match self.over {
            Some(STOPPED) => "Stopped",
            _ if self.best().is_none() => "Failed",
            _ => "Completed",
        })
    }

    fn trainings<'scope>(&mut self, scope: &'scope Scope<'scope, '_>, job: &mut Job) -> anyhow::Result<()> {
        let (sender, events) = mpsc::channel();
        let begun = Instant::now();
        let limit = self.config.seconds.map(Duration::from_secs);
        loop {
            let running = self.trials.iter().filter(|training| training.description.is_none()).count();
            if self.over.is_none() && self.trials.len() as u32 >= self.config.jobs {
                self.over = Some("all trainings have begun");
            }
            if self.over.is_some() && running == 0 {
                return Ok(());
            }
            if self.over.is_none() && running < self.config.parallel as usize {
                self.begin(scope, job, &sender)?;
                self.describe(job)?;
                continue;
            }
            let asked = self.attendant.stop();
            if asked > Stop::No {
                if self.over != Some(STOPPED) {
                    self.over = Some(STOPPED);
                    job.status("Stopping")?;
                }
                self.trials.iter().for_each(|training| training.tell(asked));
            } else if limit.is_some_and(|limit| begun.elapsed() >= limit) && self.over != Some(TIME) {
                self.over = Some(TIME);
                self.attendant.line("MaxRuntimeInSeconds is over: the trainings are stopped");
                self.trials.iter().for_each(|training| training.tell(Stop::Gently));
            }
            if self.hear(&events)? {
                self.describe(job)?;
            }
        }
    }

    /// Begins the next training.
    fn begin<'scope>(
        &mut self,
        scope: &'scope Scope<'scope, '_>,
        job: &Job,
        events: &Sender<(usize, Event)>,
    ) -> anyhow::Result<()> {
        let number = self.trials.len();
        let history: Vec<Trial> = self.trials.iter().map(|training| training.trial.clone()).collect();
        let settings = self.config.sampler.propose(&self.config.space, &history, number as u32);
        let name = format!("{}-{:03}-{:08x}", job.name, number + 1, hash(&settings));
        let mut child = Job::create_named(self.out, &name, Kind::Training)?
            .with_context(|| format!("there is a job called {name}"))?;
        child.set("TuningJobArn", job.arn());
        let mut plan = self.plan.clone();
        plan.hyperparameters.extend(settings.iter().map(|(name, value)| (name.clone(), value.to_string())));
        let stop = Arc::new(AtomicU8::new(0));
        let attendant = Background { number, events: events.clone(), stop: Arc::clone(&stop) };
        let trial = Trial {
            number: number as u32,
            settings,
            state: State::Running,
            reported: Vec::new(),
            value: None,
        };
        self.trials.push(Training { name, folder: child.folder.clone(), trial, stop, description: None });
        scope.spawn(move || {
            let trained = training::run(&mut child, &plan, &attendant);
            attendant.send(Event::Ended(trained, child.description().clone()));
        });
        Ok(())
    }

    /// Hears of the trainings for a moment; whether one has ended.
    fn hear(&mut self, events: &Receiver<(usize, Event)>) -> anyhow::Result<bool> {
        let mut ended = false;
        let Ok(event) = events.recv_timeout(LOOK) else { return Ok(false) };
        for (number, event) in std::iter::once(event).chain(events.try_iter()) {
            match event {
                Event::Line(text) => {
                    self.attendant.line(&format!("{:03}: {text}", number + 1));
                }
                Event::Metric(name, value) if name == self.config.objective.metric_name => {
                    self.report(number, value);
                }
                Event::Metric(..) => {}
                Event::Ended(trained, description) => {
                    ended = true;
                    self.end(number, &trained?, description);
                }
            }
        }
        Ok(ended)
    }

    /// A training reports the objective; one that promises nothing is stopped.
    fn report(&mut self, number: usize, value: f64) {
        self.trials[number].trial.reported.push(self.config.objective.direction.signed(value));
        let Some(pruner) = &self.config.pruner else { return };
        let history: Vec<Trial> = self.trials.iter().map(|training| training.trial.clone()).collect();
        if pruner.prune(&history[number], &history) {
            self.trials[number].tell(Stop::Gently);
        }
    }

    fn end(&mut self, number: usize, trained: &Trained, description: Map<String, Value>) {
        let training = &mut self.trials[number];
        training.trial.value = training.trial.reported.last().copied();
        training.trial.state = match (trained.status, training.trial.value) {
            ("Completed", Some(_)) => State::Complete,
            ("Stopped", Some(_)) => State::Pruned,
            _ => State::Failed,
        };
        if training.trial.state == State::Failed {
            training.trial.value = None;
        }
        training.description = Some(description);
        self.attendant.line(&format!("{:03}: {}", number + 1, trained.secondary));
        let Some(best) = self.best() else { return };
        let signed = |value| self.config.objective.direction.signed(value);
        let reached = |target| best.trial.value.is_some_and(|value| value <= signed(target));
        let ended = self.trials.iter().filter(|training| training.description.is_some()).count();
        let before = self.trials.iter().take_while(|training| training.trial.number != best.trial.number);
        let before = before.filter(|training| training.description.is_some()).count();
        if self.over.is_none() && self.config.target.is_some_and(reached) {
            self.over = Some("the target is reached");
        } else if self.over.is_none()
            && self.config.patience.is_some_and(|jobs| ended - before > jobs as usize)
        {
            self.over = Some("no training was better");
        }
    }

    /// The training with the best objective; the first of equals.
    pub(super) fn best(&self) -> Option<&Training> {
        let with_value = self.trials.iter().filter(|training| training.trial.value.is_some());
        with_value.min_by(|a, b| {
            let value = |training: &Training| training.trial.value.unwrap_or(f64::INFINITY);
            value(a).total_cmp(&value(b))
        })
    }

    /// Brings the job's description up to date.
    fn describe(&self, job: &mut Job) -> anyhow::Result<()> {
        if let Some(best) = self.best() {
            job.set("BestTrainingJob", summary(best, self.config));
        }
        job.set("TrainingJobStatusCounters", counters(&self.trials));
        let count = |is: &dyn Fn(&Training) -> bool| self.trials.iter().filter(|it| is(it)).count();
        let failed = |training: &Training| training.trial.state == State::Failed;
        let pending = |training: &Training| training.description.is_none();
        job.set(
            "ObjectiveStatusCounters",
            json!({
                "Succeeded": count(&|it| !failed(it) && !pending(it)),
                "Pending": count(&pending),
                "Failed": count(&failed),
            }),
        );
        let summaries: Vec<Value> = self.trials.iter().map(|it| summary(it, self.config)).collect();
        job.set("TrainingJobSummaries", summaries);
        let status = if self.over == Some(STOPPED) { "Stopping" } else { "InProgress" };
        job.status(status)
    }
}

const STOPPED: &str = "it was stopped";
const TIME: &str = "the time is over";

/// How many trainings ended in which way.
pub(super) fn counters(trainings: &[Training]) -> Value {
    let status = |training: &Training| match &training.description {
        Some(description) => description["TrainingJobStatus"].clone(),
        None => json!("InProgress"),
    };
    let count = |name| trainings.iter().filter(|training| status(training) == name).count();
    json!({
        "Completed": count("Completed"),
        "InProgress": count("InProgress"),
        "RetryableError": 0,
        "NonRetryableError": count("Failed"),
        "Stopped": count("Stopped"),
    })
}

/// A training as `ListTrainingJobsForHyperParameterTuningJob` tells it.
pub(super) fn summary(training: &Training, config: &Config) -> Value {
    let Training { name, trial, description, .. } = training;
    let settings: Map<String, Value> =
        trial.settings.iter().map(|(name, value)| (name.clone(), json!(value.to_string()))).collect();
    let mut summary = json!({
        "TrainingJobName": name,
        "TrainingJobStatus": "InProgress",
        "TunedHyperParameters": settings,
        "ObjectiveStatus": match (description, trial.state) {
            (None, _) => "Pending",
            (Some(_), State::Failed) => "Failed",
            (Some(_), _) => "Succeeded",
        },
    });
    let told = [
        "TrainingJobArn",
        "TrainingJobStatus",
        "CreationTime",
        "TrainingStartTime",
        "TrainingEndTime",
        "FailureReason",
    ];
    for field in told {
        if let Some(value) = description.as_ref().and_then(|description| description.get(field)) {
            summary[field] = value.clone();
        }
    }
    if let Some(value) = trial.value {
        let objective = &config.objective;
        summary["FinalHyperParameterTuningJobObjectiveMetric"] = json!({
            "Type": format!("{:?}", objective.direction),
            "MetricName": objective.metric_name,
            "Value": objective.direction.signed(value),
        });
    }
    summary
}

/// FNV-1a of the settings, for the name of their training.
fn hash(settings: &Settings) -> u32 {
    let text: String = settings.iter().map(|(name, value)| format!("{name}={value};")).collect();
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
