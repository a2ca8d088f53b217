//! What decides a study.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{Space, Trial};

/// What a trial measured: names and values, all finite.
pub type Metrics = BTreeMap<String, f64>;

/// Which way the objective is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The least is best.
    Minimise,
    /// The largest is best.
    Maximise,
}

/// The metric that is searched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objective {
    /// A name in [`Metrics`].
    pub metric: String,
    /// Which way it is better.
    pub direction: Direction,
}

impl Objective {
    /// The objective among what was measured, the least being best; none where it was not measured.
    pub fn of(&self, metrics: &Metrics) -> Option<f64> {
        metrics.get(&self.metric).map(|&value| self.cost(value))
    }

    /// A value of the metric, the least being best; and back.
    pub fn cost(&self, value: f64) -> f64 {
        match self.direction {
            Direction::Minimise => value,
            Direction::Maximise => -value,
        }
    }
}

/// Letters of a value that are shown.
const SHOWN: usize = 300;

/// What decides a study: the same plan gives the same trials. It stands in the first line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What is searched.
    pub space: Space,
    /// By what.
    pub objective: Objective,
    /// Name of the sampler.
    pub sampler: String,
    /// Name of the pruner.
    pub pruner: String,
    /// Decides what is proposed.
    pub seed: u64,
    /// Trials that run at once, at least 1: a proposal knows none of the `workers - 1` trials before it.
    pub workers: u32,
    /// What else the trials depend on: settings that are not searched, the data.
    pub fixed: BTreeMap<String, Json>,
    /// Trials of earlier studies, which every proposal knows.
    pub earlier: Vec<Trial>,
}

impl Plan {
    /// The first thing in which another plan differs: its name, what stands here and what there.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        // Both are plain values, and what one can't write the other can't.
        let [mut ours, mut theirs] = [self, other].map(|plan| serde_json::to_value(plan).unwrap_or_default());
        let empty = serde_json::Map::new();
        let map = |plan: &Json, key: &str| plan.get(key).and_then(Json::as_object).unwrap_or(&empty).clone();
        let fixed = [map(&ours, "fixed"), map(&theirs, "fixed")];
        for plan in [&mut ours, &mut theirs] {
            if let Some(plan) = plan.as_object_mut() {
                plan.remove("fixed");
            }
        }
        let [ours, theirs] = [ours, theirs].map(|plan| plan.as_object().cloned().unwrap_or_default());
        first(&ours, &theirs).or_else(|| first(&fixed[0], &fixed[1]))
    }
}

fn first(
    ours: &serde_json::Map<String, Json>,
    theirs: &serde_json::Map<String, Json>,
) -> Option<(String, String, String)> {
    // A space or the trials of another study are longer than a message.
    let show = |value: Option<&Json>| {
        let text = value.map_or_else(|| "not set".into(), Json::to_string);
        text.char_indices().nth(SHOWN).map_or(text.clone(), |(end, _)| format!("{}...", &text[..end]))
    };
    let mut names: Vec<&String> = ours.keys().chain(theirs.keys()).collect();
    names.sort();
    let name = names.into_iter().find(|name| ours.get(*name) != theirs.get(*name))?;
    Some((name.clone(), show(ours.get(name)), show(theirs.get(name))))
}

/// When a study ends. They may change when it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Trials in all.
    pub trials: u32,
    /// No trial begins once the metric is as good as this.
    pub target: Option<f64>,
    /// No trial begins once so many in a row were no better than the best before them.
    pub patience: Option<u32>,
}
