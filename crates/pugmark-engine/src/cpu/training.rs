use std::sync::Arc;

use pugmark_graph::{Graph, NodeId, ParamId, Tensor, Tensors};
use pugmark_kernels as kernels;
use rayon::ThreadPool;

use super::Cpu;
use super::convolution::Activation;
use super::given::Given;
use super::machine::{Machine, to_tensor};
use super::parameters::Parameters;
use super::program::{Kind, Norm, Program};
use super::stages::Stages;
use crate::{
    EngineError, Freeze, InputSpec, Loss, OperatorTime, Optimiser, Pass, StepOutput, TrainBatch, Training,
    TrainingSpec,
};

/// A training plan on the CPU.
pub(super) struct CpuTraining<E> {
    machine: Machine<E>,
    loss: Loss,
    optimiser: Optimiser,
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
        let trained = |id: ParamId| {
            let param = graph.param(id);
            param.role.is_trained() && (spec.freeze == Freeze::None || param.head)
        };
        let program = Program::new(graph, (input.height, input.width), &trained, &spec.taps)?;
        let classes = program.values[program.output.0].plane.channels;
        let parameters = Parameters::new(graph, tensors, &trained, state_names(&spec.optimiser).len())?;
        let stages = Stages::together(&program, input.batch);
        let mut machine = Machine::new(program, parameters, *input, &spec.taps, stages, cpu.winograd);
        let pool = cpu.pool.clone();
        pool.install(|| machine.prepare());
        Ok(Self {
            machine,
            loss: spec.loss.clone(),
            optimiser: spec.optimiser,
            steps: 0,
            classes,
            logits_gradient: vec![0.0; input.batch * classes],
            pool,
        })
    }

    fn run(
        &mut self,
        batch: &TrainBatch<'_>,
        given: Given<'_>,
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError> {
        let images = batch.labels.len();
        self.machine.clock.clear();
        self.machine.forward(images, given, Some(batch.seed));
        let logits = self.machine.logits().to_vec();
        let cross_entropy = kernels::CrossEntropy {
            label_smoothing: self.loss.label_smoothing,
            class_weights: self.loss.class_weights.as_deref(),
        };
        let gradient = &mut self.logits_gradient[..images * self.classes];
        let loss = kernels::cross_entropy(
            images,
            self.classes,
            &logits,
            batch.labels,
            &cross_entropy,
            Some(&mut *gradient),
        );
        self.machine.clock.lap(None, Pass::Loss, images);
        if !loss.is_finite() {
            return Err(EngineError::NonFiniteLoss { loss });
        }
        self.machine.backward(gradient, batch.seed);
        self.machine.update_running_statistics();
        self.update(learning_rate, weight_decay);
        self.machine.clock.lap(None, Pass::Optimiser, images);
        self.machine.prepare();
        Ok(StepOutput { loss, logits })
    }

    fn update(&mut self, lr: f32, weight_decay: f32) {
        self.steps += 1;
        for parameter in self.machine.parameters.trained_mut() {
            let (value, gradient) = (&mut parameter.value, &parameter.gradient);
            match (self.optimiser, parameter.moments.as_mut_slice()) {
                (Optimiser::AdamW, [m, v]) => {
                    let adamw = kernels::AdamW { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
                    kernels::adamw_step(&adamw, self.steps, value, gradient, m, v);
                }
                (Optimiser::Sgd { momentum, nesterov }, [buffer]) => {
                    let sgd = kernels::Sgd { lr, momentum, weight_decay, nesterov };
                    kernels::sgd_step(&sgd, self.steps == 1, value, gradient, buffer);
                }
                _ => unreachable!("as many moments are kept as the optimiser names"),
            }
        }
    }
}

impl<E: Activation> Training for CpuTraining<E> {
    fn step(
        &mut self,
        batch: &TrainBatch<'_>,
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError> {
        let TrainBatch { pixels, features, labels, .. } = *batch;
        let Machine { input, program, .. } = &self.machine;
        let given = Given::checked(labels.len(), pixels, features, input, program)?;
        if let Some(&label) = batch.labels.iter().find(|&&label| label as usize >= self.classes) {
            return Err(EngineError::Label { label, classes: self.classes });
        }
        let pool = self.pool.clone();
        pool.install(|| self.run(batch, given, learning_rate, weight_decay))
    }

    fn tensors(&self) -> Tensors {
        self.machine.parameters.tensors()
    }

    fn gradients(&self) -> Tensors {
        self.machine.parameters.gradients()
    }

    fn state(&self) -> Tensors {
        self.machine.parameters.state(state_names(&self.optimiser))
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn restore(&mut self, tensors: &Tensors, state: &Tensors, steps: u64) -> Result<(), EngineError> {
        let mut parameters = self.machine.parameters.clone();
        parameters.set(tensors)?;
        parameters.set_state(state_names(&self.optimiser), state)?;
        self.machine.parameters = parameters;
        self.steps = steps;
        self.pool.install(|| self.machine.prepare());
        Ok(())
    }

    fn tap(&self, node: NodeId) -> Option<(Tensor, Tensor)> {
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

    fn time_operators(&mut self, on: bool) {
        self.machine.clock.set(on);
    }

    fn operator_times(&self) -> Vec<OperatorTime> {
        self.machine.operator_times(match self.optimiser {
            Optimiser::AdamW => "AdamW",
            Optimiser::Sgd { .. } => "SGD",
        })
    }
}

/// Names of the buffers an optimiser keeps for each parameter.
fn state_names(optimiser: &Optimiser) -> &'static [&'static str] {
    match optimiser {
        Optimiser::AdamW => &["adamw.m", "adamw.v"],
        Optimiser::Sgd { .. } => &["sgd.momentum"],
    }
}

impl<E: Activation> Machine<E> {
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
