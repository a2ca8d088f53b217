//! One function a verb: arguments in, exit status out.

mod bench;
mod data;
mod doctor;
mod eval;
mod predict;
mod train;

use crate::arguments::Command;
use crate::error::ExitStatus;
use crate::printer::Printer;

/// Does what was asked.
pub(crate) fn run(command: Command, printer: &Printer) -> anyhow::Result<ExitStatus> {
    match command {
        Command::Doctor(arguments) => doctor::run(&arguments, printer),
        Command::Bench(arguments) => bench::run(&arguments, printer),
        Command::Eval(arguments) => eval::run(&arguments, printer),
        Command::Predict(arguments) => predict::run(&arguments, printer),
        Command::Train(arguments) => train::run(&arguments, printer),
        _ => Err(crate::error::WrongCall::new("not written yet").into()),
    }
}
