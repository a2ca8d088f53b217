//! Runs a graph: forward, backward, optimiser.
//!
//! [`Engine`] is the one trait with more than one implementation; [`Cpu`] is the first.

mod cpu;
mod engine;
mod freeze;
mod plan;
mod statistics;
mod timing;

pub use cpu::Cpu;
pub use engine::{
    Clip, Engine, EngineError, Inference, InputSpec, Loss, Optimiser, ParamRule, Precision, PrecisionChoice,
    StepOutput, TrainBatch, Training, TrainingSpec,
};
pub use freeze::Freeze;
pub use statistics::{LayerKind, LayerStatistics, StepStatistics, WeightStatistics};
pub use timing::{OperatorGroup, OperatorSums, OperatorTime, Pass};
