//! SageMaker's jobs on this machine: its trees, its signals, its files, without AWS and without Docker.

mod archive;
mod attendant;
mod container;
mod endpoint;
mod isolate;
mod job;
mod plan;
mod process;
mod server;
mod train;
mod training;
mod transform;
mod tree;
mod tune;
mod upload;

use crate::arguments::{LocalArguments, LocalCommand};
use crate::error::ExitStatus;
use crate::printer::Printer;

pub(super) fn run(arguments: &LocalArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match &arguments.command {
        LocalCommand::Train(arguments) => train::run(arguments, printer),
        LocalCommand::Process(arguments) => process::run(arguments, printer),
        LocalCommand::Tune(arguments) => tune::run(arguments, printer),
        LocalCommand::Endpoint(arguments) => endpoint::run(arguments, printer),
        LocalCommand::Transform(arguments) => transform::run(arguments, printer),
    }
}
