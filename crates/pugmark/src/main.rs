//! The command line: arguments to settings to one function a command.

mod arguments;
mod commands;
mod demo;
mod error;
mod interrupt;
mod memory;
mod printer;
mod settings;

use std::process::ExitCode;

use printer::Printer;

fn main() -> ExitCode {
    let arguments = arguments::parse();
    let printer = Printer::new(arguments.quiet);
    match commands::run(arguments.command, &printer) {
        Ok(status) => status.into(),
        Err(error) => error::report(&error, &printer).into(),
    }
}
