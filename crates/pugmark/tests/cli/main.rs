//! The built program as people and scripts use it: exit status, stdout, stderr, files.

mod errors;
mod harness;
mod help;
mod odd_files;
mod results;
mod resume;
