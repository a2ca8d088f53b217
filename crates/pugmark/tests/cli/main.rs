//! The built program as people and scripts use it: exit status, stdout, stderr, files.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod errors;
mod harness;
mod help;
mod odd_files;
mod results;
mod resume;
mod split;
