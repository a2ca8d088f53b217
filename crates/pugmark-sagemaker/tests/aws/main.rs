//! The built program against the services' published models, and against a stand-in for the services.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

mod clients;
mod dry_run;
mod endpoints;
mod faults;
mod harness;
mod jobs;
mod model;
mod stand_in;
mod validation;
mod wrong_calls;
