//! The watch: a training debugger. [`recorder`] keeps in a run what its rules need, [`rules`] judge that, in the training and
//! again from the file.

mod record;
mod recorder;
mod replay;
mod rules;
mod system;
mod thresholds;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use record::{Layer, Name, Number, Record, Sample, Start, System, Weight};
pub(crate) use recorder::{Begun, Recorder, StepSeen};
pub use replay::{Watched, read_watch};
pub use rules::{Finding, RuleReport, Rules, reports_to_json};
pub use thresholds::{RuleInfo, Threshold, Thresholds, rules as watch_rules};

/// What the watch does with what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WatchMode {
    /// Nothing is watched.
    Off,
    /// It says so.
    #[default]
    Warn,
    /// It says so, and ends the training after the step, with everything saved; not for what depends on the machine alone.
    Stop,
}

impl FromStr for WatchMode {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "off" => Ok(Self::Off),
            "warn" => Ok(Self::Warn),
            "stop" => Ok(Self::Stop),
            _ => Err(format!("`{word}` is none of off, warn, stop")),
        }
    }
}
