//! Hyperparameter search: search spaces, samplers, pruners and the study journal. Knows trials, not photos.

mod importance;
mod journal;
mod pruner;
mod samplers;
mod space;
mod study;
mod trial;

pub use importance::importance;
pub use pruner::{Hyperband, Median, Pruner, SuccessiveHalving};
pub use samplers::{Grid, SAMPLERS, SamplerKind};
pub use space::{Condition, Domain, Parameter, Scale, Space, SpaceError, Value};
pub use study::{Direction, Ending, Limits, Metrics, Next, Objective, Over, Plan, Run, Study, StudyError};
pub use trial::{Settings, State, Trial};

/// Proposes settings for the next trial.
///
/// A proposal depends on nothing but the space, the seed the sampler was made with, the trial's number and `history`: the same four
/// give the same settings, so that a study that was killed, or that several workers share, goes where its seed leads.
pub trait Sampler: Send {
    /// The settings of trial `number`, from 0. `history` has the trials this proposal may know, in the order of their numbers; those
    /// that still run among them have no value. The objective is minimised.
    fn propose(&self, space: &Space, history: &[Trial], number: u32) -> Settings;
}
