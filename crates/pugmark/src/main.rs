//! The command line: arguments to settings to one function a command.
fn main() {}
