//! SageMaker's `HyperParameterTuningJobConfig`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pugmark_tune::{Domain, Grid, Hyperband, Median, Pruner, Sampler, SamplerKind, Space};
use serde::Deserialize;
use serde_json::Value;

use crate::error::WrongCall;

/// SageMaker's limits: ranges, and values of a category.
const MOST: (usize, usize) = (30, 30);

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Written {
    strategy: Strategy,
    hyper_parameter_tuning_job_objective: Objective,
    resource_limits: ResourceLimits,
    parameter_ranges: Value,
    #[serde(default)]
    training_job_early_stopping_type: EarlyStopping,
    #[serde(default)]
    random_seed: u64,
    strategy_config: Option<StrategyConfig>,
    #[serde(default)]
    tuning_job_completion_criteria: Completion,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
enum Strategy {
    Bayesian,
    Random,
    Hyperband,
    Grid,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Objective {
    #[serde(rename = "Type")]
    pub(super) direction: Direction,
    pub(super) metric_name: String,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Maximize,
    Minimize,
}

impl Direction {
    /// The value with the sign by which the least is the best, and back.
    pub(super) fn signed(self, value: f64) -> f64 {
        if self == Self::Maximize { -value } else { value }
    }
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ResourceLimits {
    max_number_of_training_jobs: Option<u32>,
    max_parallel_training_jobs: u32,
    max_runtime_in_seconds: Option<u64>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
enum EarlyStopping {
    #[default]
    Off,
    Auto,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct StrategyConfig {
    hyperband_strategy_config: Option<Resources>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Resources {
    min_resource: u32,
    max_resource: u32,
}

#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Completion {
    pub(super) target_objective_metric_value: Option<f64>,
    best_objective_not_improving: Option<NotImproving>,
}

#[derive(Deserialize, Debug)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct NotImproving {
    max_number_of_training_jobs_not_improving: u32,
}

/// A search as it is asked for.
pub(super) struct Config {
    /// As it stands in the file.
    pub(super) json: Value,
    pub(super) objective: Objective,
    pub(super) space: Space,
    pub(super) sampler: Box<dyn Sampler>,
    pub(super) pruner: Option<Box<dyn Pruner>>,
    pub(super) jobs: u32,
    pub(super) parallel: u32,
    pub(super) seconds: Option<u64>,
    pub(super) target: Option<f64>,
    pub(super) patience: Option<u32>,
}

impl Config {
    /// Reads and checks the file; `fixed` are the hyperparameters that are not searched.
    pub(super) fn read(file: &Path, fixed: &BTreeMap<String, String>) -> Result<Self, WrongCall> {
        let text = fs::read_to_string(file)
            .map_err(|error| WrongCall::new(format!("{}: {error}", file.display())))?;
        let wrong = |what: String| WrongCall::new(format!("{}: {what}", file.display()));
        let json: Value = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        let json = json.get("HyperParameterTuningJobConfig").cloned().unwrap_or(json);
        let written = Written::deserialize(&json).map_err(|error| {
            wrong(error.to_string()).with_hint(
                "SageMaker's HyperParameterTuningJobConfig is meant; Autotune and ConvergenceDetected are not simulated",
            )
        })?;
        let space = Space::from_ranges(&written.parameter_ranges.to_string())
            .map_err(|error| wrong(error.to_string()).with_hint(error.hint()))?;
        if let Some(both) = space.parameters.iter().find(|parameter| fixed.contains_key(&parameter.name)) {
            return Err(wrong(format!("{} has a range, and --set fixes it", both.name))
                .with_hint("leave out one of them"));
        }
        within_limits(&space).map_err(&wrong)?;
        let Written { strategy, resource_limits: limits, tuning_job_completion_criteria: done, .. } =
            &written;
        let seed = written.random_seed;
        let kind = match strategy {
            Strategy::Bayesian => SamplerKind::GaussianProcess,
            Strategy::Random | Strategy::Hyperband => SamplerKind::Random,
            Strategy::Grid => SamplerKind::Grid(1),
        };
        let patience =
            done.best_objective_not_improving.as_ref().map(|it| it.max_number_of_training_jobs_not_improving);
        if patience.is_some_and(|jobs| jobs < 3) {
            return Err(wrong("MaxNumberOfTrainingJobsNotImproving is at least 3".to_owned()));
        }
        if !(1..=100).contains(&limits.max_parallel_training_jobs) {
            return Err(wrong("MaxParallelTrainingJobs is from 1 to 100".to_owned()));
        }
        Ok(Self {
            jobs: jobs(*strategy, limits, &space).map_err(&wrong)?,
            pruner: pruner(&written).map_err(&wrong)?,
            parallel: limits.max_parallel_training_jobs,
            seconds: limits.max_runtime_in_seconds,
            target: done.target_objective_metric_value,
            patience,
            sampler: kind.sampler(seed),
            objective: written.hyper_parameter_tuning_job_objective,
            space,
            json,
        })
    }
}

fn within_limits(space: &Space) -> Result<(), String> {
    let (ranges, values) = MOST;
    if space.parameters.len() > ranges {
        return Err(format!("SageMaker takes {ranges} ranges"));
    }
    for parameter in &space.parameters {
        if parameter.condition.is_some() {
            return Err(format!("{}: SageMaker knows no conditions", parameter.name));
        }
        if matches!(&parameter.domain, Domain::Categorical(words) if words.len() > values) {
            return Err(format!("{}: SageMaker takes {values} values", parameter.name));
        }
    }
    Ok(())
}

/// How many trainings there will be; a grid has as many as it has.
fn jobs(strategy: Strategy, limits: &ResourceLimits, space: &Space) -> Result<u32, String> {
    if strategy != Strategy::Grid {
        let count = limits.max_number_of_training_jobs.filter(|&count| count > 0);
        return count.ok_or_else(|| "ResourceLimits needs MaxNumberOfTrainingJobs, at least 1".to_owned());
    }
    let other = |domain: &Domain| !matches!(domain, Domain::Categorical(_));
    if let Some(parameter) = space.parameters.iter().find(|parameter| other(&parameter.domain)) {
        return Err(format!("{}: the strategy Grid takes only CategoricalParameterRanges", parameter.name));
    }
    let size = u32::try_from(Grid::new(1).size(space)).unwrap_or(u32::MAX);
    Ok(limits.max_number_of_training_jobs.map_or(size, |count| count.min(size)))
}

fn pruner(written: &Written) -> Result<Option<Box<dyn Pruner>>, String> {
    let auto = written.training_job_early_stopping_type == EarlyStopping::Auto;
    if written.strategy != Strategy::Hyperband {
        return Ok(auto.then(|| Box::new(Median) as Box<dyn Pruner>));
    }
    if auto {
        return Err("with the strategy Hyperband TrainingJobEarlyStoppingType must be Off".to_owned());
    }
    let config =
        written.strategy_config.as_ref().and_then(|config| config.hyperband_strategy_config.as_ref());
    match config {
        Some(&Resources { min_resource, max_resource }) if (1..=max_resource).contains(&min_resource) => {
            Ok(Some(Box::new(Hyperband::new(min_resource, max_resource))))
        }
        _ => Err("the strategy Hyperband needs StrategyConfig.HyperbandStrategyConfig, MinResource and \
                  MaxResource: the epochs after which it judges first, and those of a whole training"
            .to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config() -> Value {
        json!({
            "Strategy": "Bayesian",
            "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "val_acc"},
            "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 2},
            "ParameterRanges": {"CategoricalParameterRanges": [
                {"Name": "batch-size", "Values": ["8", "16", "32"]},
                {"Name": "optimiser", "Values": ["sgd", "adamw"]},
            ]},
        })
    }

    fn read(config: &Value) -> Result<Config, WrongCall> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        fs::write(&file, config.to_string()).unwrap();
        Config::read(&file, &BTreeMap::new())
    }

    #[test]
    fn a_grid_has_as_many_trainings_as_combinations() {
        let mut grid = config();
        grid["Strategy"] = json!("Grid");
        let read_grid = read(&grid).unwrap();
        assert_eq!((read_grid.jobs, read_grid.parallel), (6, 2));
        let mut seen: Vec<String> = Vec::new();
        for number in 0..read_grid.jobs {
            let settings = read_grid.sampler.propose(&read_grid.space, &[], number);
            seen.push(format!("{settings:?}"));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 6, "{seen:?}");
        // As part of a whole request.
        let whole = json!({"HyperParameterTuningJobName": "x", "HyperParameterTuningJobConfig": config()});
        assert_eq!(read(&whole).unwrap().jobs, 20);
    }

    #[test]
    fn what_is_not_sagemakers_or_not_simulated_is_refused() {
        let ranges = json!({"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1"}]});
        let hyperband = json!({"HyperbandStrategyConfig": {"MinResource": 3, "MaxResource": 2}});
        let many: Vec<String> = (0..31).map(|value| value.to_string()).collect();
        let many = json!({"CategoricalParameterRanges": [{"Name": "batch-size", "Values": many}]});
        for (changes, why) in [
            (json!({"Strategy": "Guess"}), "unknown variant `Guess`"),
            (json!({"Autotune": {"Mode": "Enabled"}}), "unknown field `Autotune`"),
            (json!({"ResourceLimits": {"MaxParallelTrainingJobs": 1}}), "needs MaxNumberOfTrainingJobs"),
            (
                json!({"ResourceLimits": {"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 0}}),
                "MaxParallelTrainingJobs is from 1 to 100",
            ),
            (json!({"Strategy": "Grid", "ParameterRanges": ranges}), "lr: the strategy Grid takes only"),
            (json!({"Strategy": "Hyperband"}), "needs StrategyConfig"),
            (json!({"Strategy": "Hyperband", "StrategyConfig": hyperband}), "needs StrategyConfig"),
            (
                json!({"Strategy": "Hyperband", "TrainingJobEarlyStoppingType": "Auto"}),
                "TrainingJobEarlyStoppingType must be Off",
            ),
            (json!({"ParameterRanges": many}), "batch-size: SageMaker takes 30 values"),
            (json!({"ParameterRanges": {}}), "it is empty"),
            (
                json!({"TuningJobCompletionCriteria": {"BestObjectiveNotImproving":
                    {"MaxNumberOfTrainingJobsNotImproving": 2}}}),
                "at least 3",
            ),
        ] {
            let mut config = config();
            for (key, value) in changes.as_object().unwrap() {
                config[key] = value.clone();
            }
            let error = read(&config).err().unwrap().to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
    }
}
