//! Verbs that make jobs.

use std::fs;
use std::process::ExitCode;

use serde_json::Value;

use crate::account::Account;
use crate::arguments::{JobFlags, ProcessArguments, TrainArguments, TransformArguments, TuneArguments};
use crate::kinds::Kind;
use crate::logs;
use crate::names::wrong;
use crate::plan::{self, Call};

pub(crate) fn train(arguments: &TrainArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let name = name(&arguments.job, "train");
    begin(Kind::Training, &name, &plan::train(arguments, &name)?, &arguments.job, account)
}

pub(crate) fn process(arguments: &ProcessArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let name = name(&arguments.job, arguments.call.first().map_or("process", String::as_str));
    begin(Kind::Processing, &name, &plan::process(arguments, &name)?, &arguments.job, account)
}

pub(crate) fn transform(arguments: &TransformArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let name = name(&arguments.job, "predict");
    begin(Kind::Transform, &name, &plan::transform(arguments, &name)?, &arguments.job, account)
}

pub(crate) fn tune(arguments: &TuneArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let place = arguments.config.display();
    let text = fs::read_to_string(&arguments.config).map_err(|error| wrong(format!("{place}: {error}")))?;
    let config: Value = serde_json::from_str(&text).map_err(|error| wrong(format!("{place}: {error}")))?;
    let name = name(&arguments.job, "tune");
    begin(Kind::Tuning, &name, &plan::tune(arguments, &name, config)?, &arguments.job, account)
}

/// The name that was given, or one of verb and time.
fn name(flags: &JobFlags, verb: &str) -> String {
    flags.name.clone().unwrap_or_else(|| format!("pugmark-{verb}-{}", stamp()))
}

/// The time, as names have it: short enough for a tuning job's 32 characters.
pub(crate) fn stamp() -> String {
    chrono::DateTime::<chrono::Utc>::from(std::time::SystemTime::now()).format("%y%m%d-%H%M%S").to_string()
}

/// Sends the requests, and waits where that is asked for.
fn begin(
    kind: Kind,
    name: &str,
    calls: &[Call],
    flags: &JobFlags,
    account: &Account,
) -> anyhow::Result<ExitCode> {
    if account.dry_run {
        println!("{:#}", plan::to_json(calls));
        return Ok(ExitCode::SUCCESS);
    }
    let api = account.open()?;
    // Before it is asked for: where the answer is lost, the name is needed.
    println!("{name}");
    plan::send_all(calls, &api)?;
    let kind_name = kind.name();
    eprintln!(
        "started; `pugmark sagemaker logs {kind_name} {name} --follow` shows its log, `stop {name}` ends it"
    );
    if !flags.wait {
        return Ok(ExitCode::SUCCESS);
    }
    logs::until_the_end(kind, name, &api)
}
