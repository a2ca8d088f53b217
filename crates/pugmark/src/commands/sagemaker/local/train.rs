//! `local train`: a training job in the foreground.

use std::path::Path;

use super::attendant::Foreground;
use super::job::{Job, Kind};
use super::plan::Plan;
use super::training::{self, Trained};
use crate::arguments::LocalTrainArguments;
use crate::error::ExitStatus;
use crate::interrupt::Requests;
use crate::printer::{Printer, duration};

pub(super) fn run(arguments: &LocalTrainArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let plan = Plan::new(&arguments.training, &arguments.job)?;
    let requests = Requests::listen()?;
    let mut job = Job::create(&arguments.job, Kind::Training)?;
    let attendant = Foreground { printer, requests: &requests };
    let trained = training::run(&mut job, &plan, &attendant)?;
    if arguments.json {
        printer.json(job.description())?;
    } else {
        printer.result(&summary(&job, &trained))?;
    }
    match (trained.status, trained.secondary) {
        ("Completed", _) => Ok(ExitStatus::Done),
        ("Stopped", "Stopped") => Ok(ExitStatus::Interrupted),
        (_, secondary) => Err(job.failed(trained.reason.as_deref().unwrap_or(secondary))),
    }
}

fn summary(job: &Job, trained: &Trained) -> String {
    let interrupted = match trained.interruptions {
        0 => String::new(),
        1 => ", 1 interruption".to_owned(),
        n => format!(", {n} interruptions"),
    };
    let mut lines = vec![format!(
        "{}: {}, {} of training{interrupted}",
        job.name,
        trained.secondary,
        duration(trained.training)
    )];
    let metrics: Vec<String> =
        trained.metrics.iter().map(|(name, value)| format!("{name} {value}")).collect();
    if !metrics.is_empty() {
        lines.push(metrics.join(", "));
    }
    lines.push(format!("job    {}", shown(&job.folder)));
    if let Some(model) = &trained.model {
        lines.push(format!("model  {}", shown(model)));
        lines.push(format!("next   pugmark sagemaker local endpoint --model {}", shown(model)));
    }
    lines.join("\n")
}

/// A path from here where it lies below.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
