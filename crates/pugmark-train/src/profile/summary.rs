//! What was measured, in numbers and words.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::machine::metrics;
use super::recorder::{Loading, Recording};
use super::steps::{DEVIATIONS, MANY};
use super::verdict::{WAITING, slowest_stage, verdict};
use super::{FORMAT, LoaderTime, Phase, PhaseTime, Profile, Rule, Spread, StepTimes};

/// SageMaker's defaults: outliers before StepOutlier fires, and minutes before MaxInitializationTime does.
const OUTLIERS: u64 = 10;
const START_MINUTES: f64 = 20.0;

impl Profile {
    /// What was measured so far.
    pub(super) fn of(recording: &Recording) -> Self {
        let Recording {
            started,
            since,
            began,
            totals,
            steps,
            operators,
            loader,
            engine,
            first_epoch,
            sampler,
            ..
        } = recording;
        let phases: Vec<PhaseTime> = Phase::ALL
            .into_iter()
            .zip(totals)
            .filter(|(_, seconds)| **seconds > 0.0)
            .map(|(phase, &seconds)| PhaseTime { phase, seconds })
            .collect();
        let waiting = steps.waiting();
        let loader = loader.time();
        let lengths = steps.lengths();
        let count = steps.count();
        let system = metrics(&sampler.samples());
        let steps = steps.summary();
        let verdict = verdict(steps.as_ref(), waiting, loader.as_ref(), &system);
        let mut profile = Self {
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            engine: engine.clone(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            began: *began,
            seconds: (*since - *started).as_secs_f64(),
            first_epoch: *first_epoch,
            verdict,
            phases,
            loader,
            steps,
            operators: operators.mean(count as usize),
            system,
            rules: BTreeMap::new(),
        };
        profile.rules = profile.judged(&lengths, waiting);
        profile
    }

    /// The rules; `lengths` are those of the steps that are kept.
    fn judged(&self, lengths: &[f64], waiting: f64) -> BTreeMap<String, Rule> {
        let start = [Phase::StartUp, Phase::Features].map(|phase| self.in_phase(phase)).iter().sum::<f64>();
        let slow_start = u64::from(start > START_MINUTES * 60.0);
        let count = self.steps.as_ref().map_or(0, |steps| steps.count);
        let waits = u64::from(waiting >= WAITING);
        let phases: BTreeMap<&str, f64> =
            self.phases.iter().map(|time| (time.phase.name(), time.seconds)).collect();
        let system: BTreeMap<&str, Spread> =
            self.system.iter().map(|metric| (metric.name.as_str(), metric.values)).collect();
        let rules = [
            ("StepOutlier", step_outlier(self.steps.as_ref(), lengths)),
            (
                "MaxInitializationTime",
                Rule {
                    rule_triggered: slow_start,
                    violations: slow_start,
                    details: json!({ "seconds_before_the_first_step": start }),
                    datapoints: u64::from(count > 0),
                    rule_parameters: format!("threshold:{START_MINUTES}"),
                },
            ),
            (
                "LoaderBottleneck",
                Rule {
                    rule_triggered: waits,
                    violations: waits,
                    details: json!({
                        "waiting_share": waiting,
                        "slowest_stage": self.loader.as_ref().map(|loader| slowest_stage(loader).0),
                    }),
                    datapoints: count,
                    rule_parameters: format!("threshold:{WAITING}"),
                },
            ),
            // These never fire: they feed the report.
            ("OverallSystemUsage", never(json!(system), self.system.len() as u64)),
            ("OverallFrameworkMetrics", never(json!({ "phases": phases }), count)),
        ];
        rules.into_iter().map(|(name, rule)| (name.to_owned(), rule)).collect()
    }
}

impl Loading {
    fn time(&self) -> Option<LoaderTime> {
        if self.batches == 0 {
            return None;
        }
        let [read, decode, resize, augment] = self.seconds;
        Some(LoaderTime {
            threads: self.threads,
            batches: self.batches,
            read,
            decode,
            resize,
            augment,
            idle: self.idle,
            ready: Spread::of(self.ready.iter().map(|point| point[1])),
            ready_over_time: self.ready.clone(),
        })
    }
}

fn never(details: Value, datapoints: u64) -> Rule {
    Rule { rule_triggered: 0, violations: 0, details, datapoints, rule_parameters: String::new() }
}

/// As `smdebug/profiler/analysis/rules/step_outlier.py`: it needs more than 100 steps and fires at more than 10 outliers.
fn step_outlier(steps: Option<&StepTimes>, lengths: &[f64]) -> Rule {
    let parameters =
        format!("threshold:{DEVIATIONS}\nmode:train\nn_outliers:{OUTLIERS}\nstddev:{DEVIATIONS}");
    let Some(steps) = steps.filter(|_| lengths.len() > MANY) else {
        return Rule { rule_parameters: parameters, ..never(json!({}), lengths.len() as u64) };
    };
    let outliers = if steps.outlier_count > OUTLIERS { steps.outlier_count } else { 0 };
    let mean = steps.seconds.mean;
    let variance = lengths.iter().map(|seconds| (seconds - mean).powi(2)).sum::<f64>() / lengths.len() as f64;
    Rule {
        rule_triggered: u64::from(outliers > 0),
        violations: outliers,
        details: json!({ "step_details": {
            "step_stats": steps.seconds,
            "stddev": variance.sqrt(),
            "phase": "train",
            "number_of_outliers": steps.outlier_count,
            "probs": steps.histogram.counts,
            "binedges": steps.histogram.edges,
            "step_numbers": steps.outliers.iter().map(|outlier| [outlier.epoch as usize, outlier.step]).collect::<Vec<_>>(),
        } }),
        datapoints: steps.count,
        rule_parameters: parameters,
    }
}
