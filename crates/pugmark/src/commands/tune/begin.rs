//! From a call to a study that workers can begin with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use pugmark_data::{Dataset, ReadOptions, Split, split};
use pugmark_engine::DeviceChoice;
use pugmark_model::{hub, write_atomic};
use pugmark_train::{BestBy, TimeBudget, TrainSettings};
use pugmark_tune::{Grid, Limits, Objective, Plan, Pruner, Sampler, Settings, Space, Study};
use serde_json::Value as Json;

use super::words::{pruner, sampler, sampler_name};
use super::{space, words};
use crate::arguments::TuneArguments;
use crate::commands::{data, train};
use crate::error::WrongCall;
use crate::printer::Printer;
use crate::settings::{Sources, given, with_values};

/// The settings that are not searched, with which `--resume` goes on.
const SETTINGS: &str = "study.toml";
const SPLIT: &str = "split.csv";
/// In the plan: whether a trial of few epochs warms up for half of them at most.
const SHORTER_WARMUP: &str = "a warm-up of at most half the epochs";
/// Values of a range that stand for all of them where points are counted.
const GRID: u32 = 4096;
/// Trials where nobody says how many.
const TRIALS: u32 = 20;
/// The machine's and not the study's: the results do not depend on them, or the data's hash stands for them.
const FREE: [&str; 12] = [
    "data",
    "photos",
    "skip_missing",
    "allow_empty_class",
    "split_file",
    "recipe",
    "device",
    "threads",
    "loader_threads",
    "cache_mib",
    "memory",
    "checkpoint_minutes",
];

/// Where workers get their trials.
pub(super) struct Desk {
    pub(super) study: Study,
    pub(super) sampler: Box<dyn Sampler>,
    pub(super) pruner: Option<Box<dyn Pruner>>,
}

/// A study and what its trials need.
pub(super) struct Search {
    pub(super) folder: PathBuf,
    pub(super) dataset: Dataset,
    /// The settings that are not searched.
    pub(super) base: TrainSettings,
    /// A recipe's warm-up, which is for its own number of epochs.
    shorter_warmup: bool,
    pub(super) plan: Plan,
    desk: Mutex<Desk>,
    /// Workers of this process, and compute threads of each.
    pub(super) workers: usize,
    pub(super) threads: usize,
    pub(super) deadline: Option<Instant>,
}

impl Search {
    pub(super) fn begin(arguments: &TuneArguments, printer: &Printer) -> anyhow::Result<Self> {
        let earlier = arguments.resume.as_deref().map(Study::open).transpose()?;
        let resumed = earlier.as_ref().map(|study| study.folder().join(SETTINGS));
        let config = arguments.config.config.as_deref();
        let sources = Sources::new(resumed.as_deref().or(config))?;
        let mut base = train::settings(
            &arguments.training,
            sources,
            arguments.dataset.as_deref(),
            resumed.as_deref(),
            printer,
        )?;
        if base.device == DeviceChoice::Cpu {
            base.precision = base.precision.precision().into();
        }
        let data = base.data.clone().ok_or_else(|| {
            WrongCall::new("no data set is named").with_hint("name one: `pugmark tune DATA --search ...`")
        })?;
        let space = match &earlier {
            Some(study) => study.plan().space.clone(),
            None => space::space(arguments)?,
        };
        let searched = |name: &str| space.parameters.iter().any(|parameter| parameter.name == name);
        let given = given(&arguments.training);
        let fixed = |name: &str| searched(name) || given.iter().any(|key| key == name);
        let shorter_warmup = match &earlier {
            Some(study) => study.plan().fixed.get(SHORTER_WARMUP) == Some(&Json::Bool(true)),
            None => searched("epochs") && !fixed("warmup_epochs"),
        };
        // Of the search and not of each training.
        let budget = std::mem::take(&mut base.time_budget);
        let objective = match &earlier {
            Some(study) => study.plan().objective.clone(),
            None => words::objective(arguments.objective.as_deref().unwrap_or(words::LOG_LOSS)),
        };
        if earlier.is_none() && !fixed("best_by") {
            base.best_by = best_by(&objective);
        }
        space::check(&space, &base, shorter_warmup)?;

        let options = ReadOptions {
            photos: base.photos.clone(),
            skip_missing: base.skip_missing,
            allow_empty_class: base.allow_empty_class,
            crop: None,
        };
        let storage = Sources::new(config)?.resolve(&arguments.storage)?.settings;
        let dataset = data::read(&data, &options, &storage, printer)?;
        let folder = match (&arguments.resume, &arguments.out) {
            (Some(folder), _) | (None, Some(folder)) => folder.clone(),
            (None, None) => train::free_folder(&data, "-study"),
        };
        let split = the_split(&dataset, &base, earlier.as_ref().map(|_| folder.join(SPLIT)).as_deref())?;
        let file = folder.join(SPLIT);
        base.split_file = Some(std::path::absolute(&file).unwrap_or(file));
        base.fold = None;
        base = base.resolved(&dataset);
        base.feature_folder = hub::cache_dir().ok().map(|weights| weights.with_file_name("features"));

        let mut limits = earlier.as_ref().map_or(
            Limits { trials: arguments.trials.unwrap_or(TRIALS), target: None, patience: None },
            Study::limits,
        );
        limits.trials = arguments.trials.unwrap_or(limits.trials);
        limits.target = arguments.target.or(limits.target);
        limits.patience = arguments.patience.or(limits.patience);
        let mut fixed = fixed_settings(&base, &dataset, &split)?;
        fixed.insert(SHORTER_WARMUP.into(), shorter_warmup.into());
        let points = Grid::new(GRID).size(&space);
        if u64::from(limits.trials) > points {
            printer.warning(&format!(
                "the space has {points} points: some of the {} trials repeat others",
                limits.trials
            ));
        }
        let plan = match &earlier {
            Some(study) => Plan { fixed, ..study.plan().clone() },
            None => {
                let asked = arguments.sampler.as_deref().unwrap_or("auto");
                let sampler = sampler_name(asked, &space, &mut limits.trials, arguments.trials.is_none());
                Plan {
                    earlier: warm_start(&arguments.warm_start, &space, &objective, &fixed, printer)?,
                    sampler,
                    pruner: arguments.pruner.as_deref().unwrap_or("none").to_owned(),
                    seed: base.seed,
                    workers: arguments.workers.unwrap_or(1),
                    space,
                    objective,
                    fixed,
                }
            }
        };
        drop(earlier);
        let prepare = || {
            let head =
                "# The settings that are not searched; `pugmark tune --resume` with this folder goes on.\n\n";
            let text = toml::to_string(&base).map_err(std::io::Error::other)?;
            write_atomic(&folder.join(SPLIT), split.to_csv(&dataset).as_bytes())?;
            write_atomic(&folder.join(SETTINGS), (head.to_owned() + &text).as_bytes())
        };
        let study = Study::begin(&folder, plan, limits, prepare)?;
        let plan = study.plan().clone();
        let workers = arguments.local_workers.unwrap_or(plan.workers).min(plan.workers) as usize;
        let threads = match base.threads {
            0 => available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        Ok(Self {
            folder,
            dataset,
            shorter_warmup,
            desk: Mutex::new(Desk {
                study,
                sampler: sampler(&plan.sampler, plan.seed)?,
                pruner: pruner(&plan, &base)?,
            }),
            plan,
            workers,
            threads: (threads / workers).max(1),
            deadline: budget.seconds().map(|seconds| Instant::now() + Duration::from_secs(seconds)),
            base: TrainSettings { time_budget: TimeBudget::default(), ..base },
        })
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        // What a thread that panicked left is what the journal says, and the panic goes on when it is joined.
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The settings of a trial, as its own call of `pugmark train` would have them.
    pub(super) fn settings(&self, values: &Settings) -> anyhow::Result<TrainSettings> {
        let values = values.iter().map(|(name, value)| (name.as_str(), value.to_string()));
        let mut settings = with_values(&self.base, values)?;
        if self.shorter_warmup {
            space::shorten_warmup(&mut settings);
        }
        if let Some(weights) = &settings.weights
            && self.base.weights.as_ref() != Some(weights)
        {
            let source = hub::resolve(&weights.to_string_lossy(), None)?;
            settings.weights = source.path().map(std::path::absolute).transpose()?;
        }
        Ok(settings)
    }
}

fn best_by(objective: &Objective) -> BestBy {
    if objective.metric == words::LOG_LOSS { BestBy::LogLoss } else { BestBy::Accuracy }
}

/// The one split of all trials: that of the study, of the file that is named, or a new one.
fn the_split(dataset: &Dataset, base: &TrainSettings, study: Option<&Path>) -> anyhow::Result<Split> {
    Ok(match (study, &base.split_file) {
        (Some(file), _) => Split::exactly(file, dataset, None, base.skip_missing)?,
        (None, Some(file)) => Split::exactly(file, dataset, base.fold, base.skip_missing)?,
        (None, None) => split(dataset, &base.split_settings())?,
    })
}

/// What else a trial depends on, for the plan.
fn fixed_settings(
    base: &TrainSettings,
    dataset: &Dataset,
    split: &Split,
) -> anyhow::Result<BTreeMap<String, Json>> {
    let settings = serde_json::to_value(base)?;
    let mut fixed: BTreeMap<String, Json> =
        settings.as_object().cloned().unwrap_or_default().into_iter().collect();
    fixed.retain(|name, _| !FREE.contains(&name.as_str()));
    fixed.insert("photos and labels".into(), dataset.hash().into());
    fixed.insert("split of the photos".into(), split.hash(dataset).into());
    Ok(fixed)
}

/// The trials of earlier studies that lie in this space.
fn warm_start(
    folders: &[PathBuf],
    space: &Space,
    objective: &Objective,
    fixed: &BTreeMap<String, Json>,
    printer: &Printer,
) -> anyhow::Result<Vec<pugmark_tune::Trial>> {
    let mut trials = Vec::new();
    for folder in folders {
        let study = Study::open(folder)?;
        let found = study.inside(space, objective);
        let (name, all) = (folder.display(), study.runs().len());
        printer.note(&format!("{} of the {all} trials of {name} lie in this space", found.len()));
        let differs = |(key, value): &(&String, &Json)| study.plan().fixed.get(*key) != Some(value);
        if let Some((key, _)) = fixed.iter().find(differs)
            && !found.is_empty()
        {
            printer.warning(&format!(
                "its trials were trained with another `{key}`: what they know may not hold here"
            ));
        }
        trials.extend(found);
    }
    Ok(trials)
}
