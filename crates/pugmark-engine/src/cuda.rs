//! The GPU engine: NHWC in f32 or bf16, kernels of our own and convolutions and products of NVIDIA's libraries.

mod backward;
mod inference;
mod machine;
mod parameters;
mod training;
mod update;
mod workspace;

use std::sync::Arc;

use pugmark_cuda::{Device, Gpu, Type};
use pugmark_graph::{Graph, NodeId, ParamId, Tensors};

use crate::plan::{Clock, Costs, Program};
use crate::{
    Engine, EngineError, Inference, InputSpec, OperatorTime, Pass, Precision, Training, TrainingSpec,
};
use machine::Machine;

/// Runs graphs on an NVIDIA GPU.
#[derive(Debug, Clone)]
pub struct Cuda {
    gpu: Gpu,
    precision: Precision,
}

impl Cuda {
    /// An engine on a device, with activations and their gradients in f32.
    pub fn new(device: impl Device + 'static) -> Self {
        Self { gpu: Gpu(Arc::new(device)), precision: Precision::F32 }
    }

    /// The same engine with activations and their gradients in `precision`.
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

impl Engine for Cuda {
    fn name(&self) -> String {
        self.arithmetic()
    }

    fn arithmetic(&self) -> String {
        let bf16 = if self.precision == Precision::Bf16 { ", bf16" } else { "" };
        format!("{}{bf16}", self.gpu.0.name())
    }

    fn inference(
        &self,
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        taps: &[NodeId],
    ) -> Result<Box<dyn Inference>, EngineError> {
        let plan = inference::CudaInference::new(graph, tensors, input, taps, &self.gpu, self.precision)?;
        Ok(Box::new(plan))
    }

    fn training(
        &self,
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        spec: &TrainingSpec,
    ) -> Result<Box<dyn Training>, EngineError> {
        let plan = training::CudaTraining::new(graph, tensors, input, spec, &self.gpu, self.precision)?;
        Ok(Box::new(plan))
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn free_memory(&self) -> Option<u64> {
        self.gpu.0.free_memory().ok().map(|bytes| bytes as u64)
    }

    fn inference_bytes(&self, graph: &Graph, input: &InputSpec) -> Result<usize, EngineError> {
        inference::CudaInference::bytes(graph, input, self.precision)
    }

    fn training_bytes(
        &self,
        graph: &Graph,
        input: &InputSpec,
        spec: &TrainingSpec,
    ) -> Result<usize, EngineError> {
        training::CudaTraining::bytes(graph, input, spec, self.precision)
    }
}

fn type_of(precision: Precision) -> Type {
    match precision {
        Precision::F32 => Type::F32,
        Precision::Bf16 => Type::Bf16,
    }
}

/// A lap clock that waits for the GPU at the end of each lap; does nothing unless it is on.
#[derive(Debug, Default)]
struct Laps(Clock);

impl Laps {
    fn set(&mut self, on: bool) {
        self.0.set(on);
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn start(&mut self, gpu: &Gpu) -> Result<(), EngineError> {
        if self.0.is_on() {
            gpu.0.synchronize()?;
            self.0.start();
        }
        Ok(())
    }

    fn lap(&mut self, gpu: &Gpu, step: Option<usize>, pass: Pass, images: usize) -> Result<(), EngineError> {
        if self.0.is_on() {
            gpu.0.synchronize()?;
            self.0.lap(step, pass, images);
        }
        Ok(())
    }
}

impl Machine {
    /// The laps of the last call in words and numbers.
    fn operator_times(&self, laps: &Laps, optimiser: &str) -> Vec<OperatorTime> {
        (self as &dyn Costs).operator_times(&laps.0, optimiser)
    }
}

impl Costs for Machine {
    fn program(&self) -> &Program {
        &self.program
    }

    fn shape(&self, id: ParamId) -> &[usize] {
        &self.parameters.get(id).shape
    }

    fn activation_bytes(&self) -> usize {
        self.of.bytes()
    }

    fn packed_bytes(&self, _index: usize) -> usize {
        0
    }

    fn keeps_argmax(&self, index: usize) -> bool {
        self.workspaces.argmax(index, 0).is_some()
    }

    fn logits_len(&self) -> usize {
        self.logits().len()
    }

    fn optimiser_bytes(&self) -> usize {
        // The value and each moment are read and written, the gradient is read.
        let (values, _, moments) = self.parameters.moved();
        values.len() * (3 + 2 * moments.len()) * 4
    }
}
