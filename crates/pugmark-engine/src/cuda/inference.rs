use pugmark_cuda::Gpu;
use pugmark_graph::{Graph, NodeId, Tensor, Tensors};

use super::machine::Machine;
use super::parameters::{Kept, Parameters};
use super::{Laps, type_of};
use crate::plan::{Given, Program};
use crate::{EngineError, Inference, InputSpec, OperatorTime, Precision};

/// An inference plan on a GPU.
pub(super) struct CudaInference {
    machine: Machine,
    laps: Laps,
}

impl CudaInference {
    pub fn new(
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        taps: &[NodeId],
        gpu: &Gpu,
        precision: Precision,
    ) -> Result<Self, EngineError> {
        let of = type_of(precision);
        let program = Program::new(graph, (input.height, input.width), &|_| false, false, taps)?;
        let parameters = Parameters::new(gpu, of, graph, tensors, &Kept::NONE)?;
        let machine = Machine::new(gpu.clone(), of, program, parameters, *input, taps)?;
        Ok(Self { machine, laps: Laps::default() })
    }

    /// Bytes that a plan without taps takes.
    pub fn bytes(graph: &Graph, input: &InputSpec, precision: Precision) -> Result<usize, EngineError> {
        let of = type_of(precision);
        let program = Program::new(graph, (input.height, input.width), &|_| false, false, &[])?;
        let parameters = Parameters::bytes(of, graph, &Kept::NONE);
        Ok(Machine::memory_bytes(of, &program, input, &[]) + parameters)
    }

    fn run(&mut self, images: usize, pixels: &[u8], features: &[f32]) -> Result<Vec<f32>, EngineError> {
        let Self { machine, laps } = self;
        let given = Given::checked(images, pixels, features, &machine.input, &machine.program)?;
        laps.clear();
        laps.start(&machine.gpu)?;
        machine.forward(images, given, None, &mut |machine, index, pass| {
            laps.lap(&machine.gpu, Some(index), pass, images)
        })?;
        Ok(machine.logits().read()?)
    }
}

impl Inference for CudaInference {
    fn logits(&mut self, images: usize, pixels: &[u8]) -> Result<Vec<f32>, EngineError> {
        self.run(images, pixels, &[])
    }

    fn logits_of_features(&mut self, images: usize, features: &[f32]) -> Result<Vec<f32>, EngineError> {
        self.run(images, &[], features)
    }

    fn set_tensors(&mut self, tensors: &Tensors) -> Result<(), EngineError> {
        self.machine.parameters.set(tensors)?;
        self.machine.prepare()
    }

    fn tap(&self, node: NodeId) -> Result<Option<Tensor>, EngineError> {
        self.machine.tap(node)
    }

    fn time_operators(&mut self, on: bool) {
        self.laps.set(on);
    }

    fn operator_times(&self) -> Vec<OperatorTime> {
        self.machine.operator_times(&self.laps, "")
    }
}
