use std::sync::Arc;

use pugmark_graph::{Graph, NodeId, Param, Tensor, Tensors};
use rayon::ThreadPool;

use super::Cpu;
use super::convolution::Activation;
use super::machine::Machine;
use super::parameters::Parameters;
use crate::plan::Given;
use crate::plan::Program;
use crate::plan::Stages;
use crate::{EngineError, Inference, InputSpec, OperatorTime};

/// An inference plan on the CPU.
pub(super) struct CpuInference<E> {
    machine: Machine<E>,
    pool: Arc<ThreadPool>,
}

impl<E: Activation> CpuInference<E> {
    pub fn new(
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        taps: &[NodeId],
        cpu: &Cpu,
    ) -> Result<Self, EngineError> {
        let program =
            Program::new(graph, (input.height, input.width), &|_| false, false, taps)?.with_borders();
        let parameters = Parameters::new(graph, tensors, &|_| false, 0)?;
        let stages = match taps {
            [] => Stages::inference(&program, input.batch),
            _ => Stages::together(&program, input.batch),
        };
        let mut machine = Machine::new(program, parameters, *input, taps, stages, cpu.winograd);
        let pool = cpu.pool.clone();
        pool.install(|| machine.prepare());
        Ok(Self { machine, pool })
    }

    /// Bytes that a plan without taps takes.
    pub fn bytes(graph: &Graph, input: &InputSpec, cpu: &Cpu) -> Result<usize, EngineError> {
        let program =
            Program::new(graph, (input.height, input.width), &|_| false, false, &[])?.with_borders();
        let stages = Stages::inference(&program, input.batch);
        let values: usize = graph.params().iter().map(Param::len).sum();
        Ok(Machine::<E>::memory_bytes(&program, &stages, &[], cpu.winograd) + values * size_of::<f32>())
    }
}

impl<E: Activation> CpuInference<E> {
    fn run(&mut self, images: usize, pixels: &[u8], features: &[f32]) -> Result<Vec<f32>, EngineError> {
        let machine = &mut self.machine;
        let given = Given::checked(images, pixels, features, &machine.input, &machine.program)?;
        machine.clock.clear();
        self.pool.install(|| {
            let mut logits = Vec::new();
            for (some, given) in given.chunks(images, machine.stages.images) {
                machine.forward(some, given, None);
                logits.extend_from_slice(machine.logits());
            }
            Ok(logits)
        })
    }
}

impl<E: Activation> Inference for CpuInference<E> {
    fn logits(&mut self, images: usize, pixels: &[u8]) -> Result<Vec<f32>, EngineError> {
        self.run(images, pixels, &[])
    }

    fn logits_of_features(&mut self, images: usize, features: &[f32]) -> Result<Vec<f32>, EngineError> {
        self.run(images, &[], features)
    }

    fn set_tensors(&mut self, tensors: &Tensors) -> Result<(), EngineError> {
        self.machine.parameters.set(tensors)?;
        self.pool.install(|| self.machine.prepare());
        Ok(())
    }

    fn tap(&self, node: NodeId) -> Result<Option<Tensor>, EngineError> {
        Ok(self.machine.tap(node))
    }

    fn time_operators(&mut self, on: bool) {
        self.machine.clock.set(on);
    }

    fn operator_times(&self) -> Vec<OperatorTime> {
        self.machine.operator_times("")
    }
}
