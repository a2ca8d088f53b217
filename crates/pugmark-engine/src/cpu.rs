//! The CPU engine: padded NHWC in f32, kernels chosen at run time.

mod backward;
mod convolution;
mod inference;
mod machine;
mod memory;
mod parameters;
mod statistics;
mod timing;
mod training;
mod update;
mod workspace;

use std::sync::Arc;

use pugmark_graph::{Graph, NodeId, Tensors};
use pugmark_kernels::{Bf16, Isa};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{Engine, EngineError, Inference, InputSpec, Precision, Training, TrainingSpec};

/// Runs graphs on the processor.
#[derive(Debug, Clone)]
pub struct Cpu {
    pool: Arc<ThreadPool>,
    precision: Precision,
    winograd: bool,
}

impl Cpu {
    /// An engine with `threads` compute threads; 0 takes one a core.
    ///
    /// # Errors
    /// [`EngineError::Threads`] when the system refuses them.
    pub fn new(threads: usize) -> Result<Self, EngineError> {
        ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("compute-{i}"))
            .build()
            .map(|pool| Self { pool: Arc::new(pool), precision: Precision::F32, winograd: true })
            .map_err(|e| EngineError::Threads { threads, why: e.to_string() })
    }

    /// The same engine with activations and their gradients in `precision`; a new one has f32.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same engine with every convolution as the plain sum over its taps: slower, and closer to exact arithmetic.
    #[must_use]
    pub fn without_winograd(self) -> Self {
        Self { winograd: false, ..self }
    }

    fn in_precision(&self) -> &'static str {
        if self.precision == Precision::Bf16 { ", bf16" } else { "" }
    }

    fn way(&self) -> &'static str {
        if self.winograd { "" } else { ", without Winograd" }
    }

    /// Has a compute thread run a short task when it has nothing to do, or waits for another. A panic in it ends the process.
    pub fn spawn(&self, task: impl FnOnce() + Send + 'static) {
        self.pool.spawn(task);
    }

    /// Compute threads.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }
}

impl Engine for Cpu {
    fn name(&self) -> String {
        let threads = self.threads();
        let s = if threads == 1 { "" } else { "s" };
        format!("cpu, {}{}, {threads} thread{s}{}", Isa::active(), self.in_precision(), self.way())
    }

    fn arithmetic(&self) -> String {
        format!("cpu, {}{}{}", Isa::active(), self.in_precision(), self.way())
    }

    fn inference(
        &self,
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        taps: &[NodeId],
    ) -> Result<Box<dyn Inference>, EngineError> {
        Ok(match self.precision {
            Precision::F32 => {
                Box::new(inference::CpuInference::<f32>::new(graph, tensors, input, taps, self)?)
            }
            Precision::Bf16 => {
                Box::new(inference::CpuInference::<Bf16>::new(graph, tensors, input, taps, self)?)
            }
        })
    }

    fn training(
        &self,
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        spec: &TrainingSpec,
    ) -> Result<Box<dyn Training>, EngineError> {
        Ok(match self.precision {
            Precision::F32 => Box::new(training::CpuTraining::<f32>::new(graph, tensors, input, spec, self)?),
            Precision::Bf16 => {
                Box::new(training::CpuTraining::<Bf16>::new(graph, tensors, input, spec, self)?)
            }
        })
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn free_memory(&self) -> Option<u64> {
        None
    }

    fn inference_bytes(&self, graph: &Graph, input: &InputSpec) -> Result<usize, EngineError> {
        match self.precision {
            Precision::F32 => inference::CpuInference::<f32>::bytes(graph, input, self),
            Precision::Bf16 => inference::CpuInference::<Bf16>::bytes(graph, input, self),
        }
    }

    fn training_bytes(
        &self,
        graph: &Graph,
        input: &InputSpec,
        spec: &TrainingSpec,
    ) -> Result<usize, EngineError> {
        match self.precision {
            Precision::F32 => training::CpuTraining::<f32>::bytes(graph, input, spec, self),
            Precision::Bf16 => training::CpuTraining::<Bf16>::bytes(graph, input, spec, self),
        }
    }
}
