//! The built program as people and scripts use it: exit status, stdout, stderr, files.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod boxes;
mod bucket;
mod calibrate;
mod check;
mod container;
mod convert;
#[cfg(unix)]
mod devtools;
mod ensemble;
mod errors;
mod explain;
mod export;
mod folds;
mod from_bucket;
mod harness;
mod help;
mod journal;
#[cfg(unix)]
mod keyboard;
mod leakage;
mod odd_files;
mod outputs;
mod pages;
mod prepare;
mod profile;
mod recipes;
mod reports;
mod results;
mod resume;
#[cfg(unix)]
mod sagemaker;
mod serve;
mod split;
mod tune;
mod watch;
