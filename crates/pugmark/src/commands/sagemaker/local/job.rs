//! A job's name, its folder in what stands for S3, and `job.json`, which says what `Describe...` would.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use pugmark_model::write_atomic;
use serde_json::{Map, Value, json};

use crate::arguments::JobFlags;
use crate::error::{Stopped, WrongCall};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Training,
    Processing,
    Tuning,
    Transform,
    Endpoint,
}

impl Kind {
    /// What SageMaker's fields begin with.
    fn field(self) -> &'static str {
        match self {
            Self::Training => "TrainingJob",
            Self::Processing => "ProcessingJob",
            Self::Tuning => "HyperParameterTuningJob",
            Self::Transform => "TransformJob",
            Self::Endpoint => "Endpoint",
        }
    }

    /// As in the job's ARN.
    fn words(self) -> &'static str {
        match self {
            Self::Training => "training-job",
            Self::Processing => "processing-job",
            Self::Tuning => "hyper-parameter-tuning-job",
            Self::Transform => "transform-job",
            Self::Endpoint => "endpoint",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::Training => "train",
            Self::Processing => "process",
            Self::Tuning => "tune",
            Self::Transform => "transform",
            Self::Endpoint => "endpoint",
        }
    }

    /// Characters of a name; a tuning job leaves room for the numbers of its trainings.
    fn longest(self) -> usize {
        if self == Self::Tuning { 32 } else { 63 }
    }
}

/// SageMaker's rule for a name: `[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}`.
fn check(name: &str, kind: Kind) -> Result<(), WrongCall> {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let most = kind.longest();
    if fits && ends(name.chars().next()) && ends(name.chars().last()) && name.len() <= most {
        return Ok(());
    }
    Err(WrongCall::new(format!("`{name}` is no name of a {}", kind.words().replace('-', " "))).with_hint(
        format!("a name has up to {most} letters, digits and `-`, and begins and ends with none of the last"),
    ))
}

/// A job that has its folder.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Absolute: instances have a working folder of their own.
    pub(super) folder: PathBuf,
    description: Map<String, Value>,
}

impl Job {
    /// Takes the name that the flags give, or the next free one.
    pub(super) fn create(flags: &JobFlags, kind: Kind) -> anyhow::Result<Self> {
        let made = |name: &str| Self::create_named(&flags.out, name, kind);
        if let Some(name) = &flags.job {
            return made(name)?.ok_or_else(|| {
                let folder = flags.out.join(name);
                WrongCall::new(format!("there is a job called {name}: {}", folder.display()))
                    .with_hint(
                        "name another `--job`, or delete that folder; SageMaker takes a name once, too",
                    )
                    .into()
            });
        }
        let mut numbered = (1_u32..).map(|number| format!("{}-{number}", kind.verb()));
        numbered.find_map(|name| made(&name).transpose()).context("every number is taken")?
    }

    /// The job of that name; none where there is one.
    pub(super) fn create_named(out: &Path, name: &str, kind: Kind) -> anyhow::Result<Option<Self>> {
        check(name, kind)?;
        let out = std::path::absolute(out)?;
        fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
        let folder = out.join(name);
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            made => made.with_context(|| format!("cannot create {}", folder.display()))?,
        }
        let mut job = Self { name: name.to_owned(), kind, folder, description: Map::new() };
        let now = now();
        job.set(&format!("{}Name", kind.field()), name);
        job.set(&format!("{}Arn", kind.field()), job.arn());
        job.set("CreationTime", now);
        Ok(Some(job))
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:sagemaker:local:000000000000:{}/{}", self.kind.words(), self.name)
    }

    /// The job's path in what stands for S3.
    pub(super) fn place(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    pub(super) fn set(&mut self, field: &str, value: impl Into<Value>) {
        self.description.insert(field.to_owned(), value.into());
    }

    pub(super) fn description(&self) -> &Map<String, Value> {
        &self.description
    }

    /// Sets the status and saves the description.
    pub(super) fn status(&mut self, status: &str) -> anyhow::Result<()> {
        self.set(&format!("{}Status", self.kind.field()), status);
        self.set("LastModifiedTime", now());
        let path = self.folder.join("job.json");
        let text = serde_json::to_vec_pretty(&self.description)?;
        write_atomic(&path, &text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// A training job's secondary status; `status` is the one above it.
    pub(super) fn transition(&mut self, status: &str, secondary: &str, message: &str) -> anyhow::Result<()> {
        let now = now();
        let transitions = self.description.entry("SecondaryStatusTransitions").or_insert_with(|| json!([]));
        if let Value::Array(transitions) = transitions {
            if let Some(last) = transitions.last_mut() {
                last["EndTime"] = json!(now);
            }
            transitions.push(json!({"Status": secondary, "StartTime": now, "StatusMessage": message}));
        }
        self.set("SecondaryStatus", secondary);
        self.status(status)
    }

    /// The job as an error, with where to look.
    pub(super) fn failed(&self, reason: &str) -> anyhow::Error {
        let name = &self.name;
        Stopped {
            message: format!("{} {name}: {reason}", self.kind.words().replace('-', " ")),
            hint: format!("{} has what the job said", self.folder.join("logs").display()),
        }
        .into()
    }
}

/// The time as it stands in a description.
pub(super) fn now() -> String {
    DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The first `most` characters of a text.
pub(super) fn first(text: &str, most: usize) -> String {
    text.trim().chars().take(most).collect()
}

/// Variables of the call; SageMaker takes 100.
pub(super) fn environment(flags: &JobFlags) -> Result<BTreeMap<String, String>, WrongCall> {
    let variables: BTreeMap<String, String> = flags.env.iter().cloned().collect();
    match variables.iter().find(|(name, value)| name.len().max(value.len()) > 512) {
        Some((name, _)) => Err(WrongCall::new(format!("--env {}: it is too long", first(name, 40)))
            .with_hint("SageMaker takes 512 characters of a name and of a value")),
        None if variables.len() > 100 => Err(WrongCall::new("SageMaker takes 100 variables")),
        None => Ok(variables),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sagemakers() {
        for name in ["a", "A-1", "a--b", &"x".repeat(63)] {
            assert!(check(name, Kind::Training).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "a_b", "a.b", "a/b", "..", "ä", &"x".repeat(64)] {
            assert!(check(name, Kind::Training).is_err(), "{name}");
        }
        assert!(
            check(&"x".repeat(32), Kind::Tuning).is_ok() && check(&"x".repeat(33), Kind::Tuning).is_err()
        );
    }
}
