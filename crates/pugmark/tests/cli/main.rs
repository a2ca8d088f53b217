//! The built program as people and scripts use it: exit status, stdout, stderr, files.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod bucket;
mod check;
mod convert;
mod errors;
mod harness;
mod help;
mod odd_files;
mod prepare;
mod results;
mod resume;
mod split;
