//! Runs a graph: forward, backward, optimiser.
//!
//! [`Engine`] is the one trait with more than one implementation; [`Cpu`] and [`Cuda`] are those.

mod cpu;
mod cuda;
mod device;
mod engine;
mod freeze;
mod plan;
mod statistics;
mod timing;

pub use cpu::Cpu;
pub use cuda::Cuda;
pub use device::{DeviceChoice, check_gpu_libraries};
pub use engine::{
    Clip, Engine, EngineError, Inference, InputSpec, Loss, Optimiser, ParamRule, Precision, PrecisionChoice,
    StepOutput, TrainBatch, Training, TrainingSpec,
};
pub use freeze::Freeze;
pub use statistics::{LayerKind, LayerStatistics, StepStatistics, WeightStatistics};
pub use timing::{OperatorGroup, OperatorSums, OperatorTime, Pass};
