//! A server on a free port, asked over TCP: by clients that behave, and by others.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod access;
mod attacks;
mod contract;
mod crowd;
mod harness;
mod hostile;
mod load;
mod log;
mod models;
mod shadow;
mod stop;
mod trace;
