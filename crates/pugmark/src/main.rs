//! The command `pugmark`.

use std::process::ExitCode;

fn main() -> ExitCode {
    pugmark::main()
}
