//! The command line: arguments to settings to one function a command.

mod arguments;
mod commands;
mod container;
mod demo;
mod engine;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod interrupt;
mod memory;
mod printer;
mod settings;

use std::process::ExitCode;

use printer::Printer;

/// Runs what the command line of this process says.
pub fn main() -> ExitCode {
    let arguments = arguments::parse();
    let printer = Printer::new(arguments.quiet);
    match commands::run(arguments.command, &printer) {
        Ok(status) => status.into(),
        Err(error) => {
            let status = error::report(&error, &printer);
            if status != error::ExitStatus::Interrupted {
                container::tell_failure(&error::text(&error));
            }
            status.into()
        }
    }
}
