//! One training of a study.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Value;

/// The value of each parameter that is active in a trial.
pub type Settings = BTreeMap<String, Value>;

/// How far a trial is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has no value yet.
    Running,
    /// It ran to its end.
    Complete,
    /// A pruner ended it; its value is the last it reported.
    Pruned,
    /// It ended with an error and has no value.
    Failed,
}

/// One training of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// From 0.
    pub number: u32,
    /// What it was trained with.
    pub settings: Settings,
    /// How far it is.
    pub state: State,
    /// The objective after each epoch, the least is best.
    pub reported: Vec<f64>,
    /// The objective, the least is best; not finite values are none.
    pub value: Option<f64>,
}
