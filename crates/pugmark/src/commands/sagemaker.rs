//! SageMaker: its jobs on this machine, what it must know of ours, and the way to the program that calls AWS.

mod aws;
#[cfg(unix)]
mod local;
mod metrics;

use pugmark_train::EpochMetrics;

use crate::arguments::{SagemakerArguments, SagemakerCommand};
use crate::error::ExitStatus;
use crate::printer::Printer;

pub(crate) fn run(arguments: &SagemakerArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match &arguments.command {
        #[cfg(unix)]
        SagemakerCommand::Local(arguments) => local::run(arguments, printer),
        #[cfg(not(unix))]
        SagemakerCommand::Local(_) => anyhow::bail!("`sagemaker local` needs the links and signals of Unix"),
        SagemakerCommand::Metrics => {
            printer.json(&EpochMetrics::definitions())?;
            Ok(ExitStatus::Done)
        }
        SagemakerCommand::Aws(words) => aws::run(words),
    }
}
