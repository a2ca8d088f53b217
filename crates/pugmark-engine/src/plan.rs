//! What every engine makes of a graph before it runs.

mod given;
mod layout;
mod program;
mod stages;

pub(crate) use given::Given;
pub(crate) use layout::{Layout, saved_for_backward};
pub(crate) use program::{Kind, Norm, Program, Step, StochasticDepth, ValueId};
pub(crate) use stages::Stages;
