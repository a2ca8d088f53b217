use std::sync::Arc;

use pugmark_graph::{Graph, NodeId, ParamId, Tensor, Tensors};
use pugmark_kernels as kernels;
use rayon::ThreadPool;

use super::Cpu;
use super::convolution::Activation;
use super::machine::Machine;
use super::parameters::Parameters;
use super::update::gradient_norm;
use crate::plan::Given;
use crate::plan::Stages;
use crate::plan::{Kind, Norm, Program, Updater, to_tensor};
use crate::{
    EngineError, InputSpec, Loss, OperatorTime, Pass, StepOutput, StepStatistics, TrainBatch, Training,
    TrainingSpec,
};

/// A training plan on the CPU.
pub(super) struct CpuTraining<E> {
    machine: Machine<E>,
    loss: Loss,
    updater: Updater,
    steps: u64,
    classes: usize,
    logits_gradient: Vec<f32>,
    pool: Arc<ThreadPool>,
}

impl<E: Activation> CpuTraining<E> {
    pub fn new(
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        spec: &TrainingSpec,
        cpu: &Cpu,
    ) -> Result<Self, EngineError> {
        let updater = Updater::new(graph, spec);
        let trained = |id: ParamId| spec.freeze.trains(graph.param(id));
        let program =
            Program::new(graph, (input.height, input.width), &trained, true, &spec.taps)?.with_borders();
        let classes = program.values[program.output.0].plane.channels;
        let mut parameters = Parameters::new(graph, tensors, &trained, updater.state_names().len())?;
        updater.begin_averages(&program, &mut parameters);
        let stages = Stages::together(&program, input.batch);
        let mut machine = Machine::new(program, parameters, *input, &spec.taps, stages, cpu.winograd);
        let pool = cpu.pool.clone();
        pool.install(|| machine.prepare());
        Ok(Self {
            machine,
            loss: spec.loss.clone(),
            updater,
            steps: 0,
            classes,
            logits_gradient: vec![0.0; input.batch * classes],
            pool,
        })
    }

    /// Bytes that a plan takes.
    pub fn bytes(
        graph: &Graph,
        input: &InputSpec,
        spec: &TrainingSpec,
        cpu: &Cpu,
    ) -> Result<usize, EngineError> {
        let trained = |id: ParamId| spec.freeze.trains(graph.param(id));
        let program =
            Program::new(graph, (input.height, input.width), &trained, true, &spec.taps)?.with_borders();
        let stages = Stages::together(&program, input.batch);
        let machine = Machine::<E>::memory_bytes(&program, &stages, &spec.taps, cpu.winograd);
        let moments = Updater::new(graph, spec).state_names().len();
        let average = usize::from(spec.average > 0.0);
        let values = |id: ParamId| match (trained(id), graph.param(id).len()) {
            // Its value, its gradient, the sum of several batches' gradients, and the optimiser's state.
            (true, len) => (3 + moments + average) * len,
            (false, len) => (1 + average) * len,
        };
        let values: usize = (0..graph.params().len()).map(|index| values(ParamId(index))).sum();
        Ok(machine + values * size_of::<f32>())
    }

    fn run(
        &mut self,
        batches: &[TrainBatch<'_>],
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError> {
        self.machine.clock.clear();
        let before = self.machine.statistics();
        let step = self.gradients_of(batches);
        if step.is_err() {
            self.machine.set_statistics(&before);
        }
        let output = step?;
        self.steps += 1;
        let Machine { parameters, observer, .. } = &mut self.machine;
        let rates = (learning_rate, weight_decay);
        self.updater.step(parameters, observer, output.gradient_norm, rates, self.steps);
        self.machine.clock.lap(None, Pass::Optimiser, self.machine.images);
        self.machine.prepare_trained();
        Ok(output)
    }

    /// Loss and gradient over all batches; running statistics have moved.
    fn gradients_of(&mut self, batches: &[TrainBatch<'_>]) -> Result<StepOutput, EngineError> {
        let mut output = StepOutput { loss: 0.0, logits: Vec::new(), gradient_norm: 0.0 };
        for (index, batch) in batches.iter().enumerate() {
            let (images, labels) = (batch.labels.len(), batch.labels);
            self.machine.observer.begin();
            let given = self.given(batch)?;
            self.machine.forward(images, given, Some(batch.seed));
            let logits = self.machine.logits();
            let gradient = &mut self.logits_gradient[..images * self.classes];
            let loss = self.loss.of(batch, batches);
            output.loss +=
                kernels::cross_entropy(images, self.classes, logits, labels, &loss, Some(&mut *gradient));
            output.logits.extend_from_slice(logits);
            self.machine.clock.lap(None, Pass::Loss, images);
            if !output.loss.is_finite() {
                return Err(EngineError::NonFiniteLoss { loss: output.loss });
            }
            self.machine.backward(gradient, batch.seed);
            self.machine.update_running_statistics();
            for (_, parameter) in self.machine.parameters.trained_mut() {
                parameter.accumulate(index == 0, index + 1 == batches.len());
            }
        }
        output.gradient_norm = gradient_norm(&self.machine.parameters);
        if !output.gradient_norm.is_finite() {
            return Err(EngineError::NonFiniteGradient { norm: output.gradient_norm });
        }
        Ok(output)
    }

    /// Forward and backward of one batch from a gradient of its logits; nothing moves.
    fn run_back(
        &mut self,
        batch: &TrainBatch<'_>,
        logits_gradient: &[f32],
    ) -> Result<StepOutput, EngineError> {
        self.machine.clock.clear();
        self.machine.observer.begin();
        let given = self.given(batch)?;
        self.machine.forward(batch.labels.len(), given, Some(batch.seed));
        let logits = self.machine.logits().to_vec();
        let own = &mut self.logits_gradient[..logits_gradient.len()];
        own.copy_from_slice(logits_gradient);
        self.machine.backward(own, batch.seed);
        let gradient_norm = gradient_norm(&self.machine.parameters);
        if !gradient_norm.is_finite() {
            return Err(EngineError::NonFiniteGradient { norm: gradient_norm });
        }
        let products = logits.iter().zip(logits_gradient).map(|(z, g)| f64::from(*z) * f64::from(*g));
        Ok(StepOutput { loss: products.sum(), logits, gradient_norm })
    }

    fn tapped(&self, node: NodeId) -> Option<(Tensor, Tensor)> {
        let value = self.machine.tap(node)?;
        let id = self.machine.find(node)?;
        let plane = self.machine.program.values[id.0].gradient?;
        let images = self.machine.images;
        if id == self.machine.program.output {
            return Some((value, to_tensor(images, &self.logits_gradient, plane)));
        }
        let gradient = self.machine.memory.read(self.machine.memory.gradient(id)?);
        Some((value, to_tensor(images, gradient, plane)))
    }

    fn given<'a>(&self, batch: &TrainBatch<'a>) -> Result<Given<'a>, EngineError> {
        batch.given(&self.machine.input, &self.machine.program)
    }
}

impl<E: Activation> Training for CpuTraining<E> {
    fn accumulated_step(
        &mut self,
        batches: &[TrainBatch<'_>],
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError> {
        if batches.is_empty() {
            let Machine { input, program, .. } = &self.machine;
            Given::checked(0, &[], &[], input, program)?;
        }
        batches.iter().try_for_each(|batch| self.given(batch).map(drop))?;
        let pool = self.pool.clone();
        pool.install(|| self.run(batches, learning_rate, weight_decay))
    }

    fn backward_from(
        &mut self,
        batch: &TrainBatch<'_>,
        logits_gradient: &[f32],
    ) -> Result<StepOutput, EngineError> {
        self.given(batch)?;
        let (images, classes) = (batch.labels.len(), self.classes);
        if logits_gradient.len() != images * classes {
            return Err(EngineError::LogitsGradient { images, classes, found: logits_gradient.len() });
        }
        let pool = self.pool.clone();
        pool.install(|| self.run_back(batch, logits_gradient))
    }

    fn tensors(&self) -> Result<Tensors, EngineError> {
        Ok(self.machine.parameters.tensors())
    }

    fn averaged_tensors(&self) -> Result<Tensors, EngineError> {
        Ok(self.machine.parameters.averaged_tensors())
    }

    fn gradients(&self) -> Result<Tensors, EngineError> {
        Ok(self.machine.parameters.gradients())
    }

    fn state(&self) -> Result<Tensors, EngineError> {
        Ok(self.machine.parameters.state(self.updater.state_names(), self.steps))
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn restore(&mut self, tensors: &Tensors, state: &Tensors, steps: u64) -> Result<(), EngineError> {
        let mut parameters = self.machine.parameters.clone();
        parameters.set(tensors)?;
        parameters.set_state(self.updater.state_names(), state, steps)?;
        self.machine.parameters = parameters;
        self.steps = steps;
        self.pool.install(|| self.machine.prepare());
        Ok(())
    }

    fn tap(&self, node: NodeId) -> Result<Option<(Tensor, Tensor)>, EngineError> {
        Ok(self.tapped(node))
    }

    fn watch(&mut self, on: bool) {
        self.machine.observer.set(on);
    }

    fn statistics(&self) -> Option<StepStatistics> {
        self.machine.observer.statistics().cloned()
    }

    fn time_operators(&mut self, on: bool) {
        self.machine.clock.set(on);
    }

    fn operator_times(&self) -> Vec<OperatorTime> {
        self.machine.operator_times(self.updater.name())
    }
}

impl<E: Activation> Machine<E> {
    /// The running statistics that move.
    fn statistics(&self) -> Vec<Vec<f32>> {
        self.program.moving_statistics().map(|id| self.parameters.value(id).to_vec()).collect()
    }

    fn set_statistics(&mut self, values: &[Vec<f32>]) {
        for (id, values) in self.program.moving_statistics().zip(values) {
            self.parameters.get_mut(id).value.copy_from_slice(values);
        }
    }

    /// Moves the running statistics of every norm towards those of the last batch; the variance unbiased, as PyTorch does.
    fn update_running_statistics(&mut self) {
        for (step, workspace) in self.program.steps.iter().zip(&self.workspaces.of) {
            let Kind::Norm { norm: Norm { running_mean, running_var, momentum, .. }, running: false, .. } =
                step.kind
            else {
                continue;
            };
            let count = (self.images * self.program.values[step.input.0].plane.pixels()) as f32;
            let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
            let mut blend = |id: ParamId, batch: &[f32], factor: f32| {
                for (running, batch) in self.parameters.get_mut(id).value.iter_mut().zip(batch) {
                    *running += momentum * (batch * factor - *running);
                }
            };
            blend(running_mean, &workspace.norm.mean, 1.0);
            blend(running_var, &workspace.norm.var, unbiased);
        }
    }
}
