//! A server on a free port, asked over TCP: by clients that behave, and by others.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod contract;
mod harness;
mod hostile;
mod load;
mod stop;
