//! Runs a graph: forward, backward, optimiser.
//!
//! [`Engine`] is the one trait with more than one implementation; [`Cpu`] is the first.

mod cpu;
mod engine;
mod timing;

pub use cpu::Cpu;
pub use engine::{
    Engine, EngineError, Freeze, Inference, InputSpec, Loss, Optimiser, Precision, PrecisionChoice,
    StepOutput, TrainBatch, Training, TrainingSpec,
};
pub use timing::{OperatorTime, Pass};
