use pugmark_cuda::{Buffer, Gpu, Slice, Type, sum_of_squares};
use pugmark_graph::{Graph, NodeId, ParamId, Tensor, Tensors};
use pugmark_kernels as kernels;

use super::machine::{Machine, read_bf16};
use super::parameters::{Kept, Parameters};
use super::update::Table;
use super::{Laps, type_of};
use crate::plan::{Given, Observer, Program, Updater};
use crate::{
    EngineError, InputSpec, Loss, OperatorTime, Pass, Precision, StepOutput, StepStatistics, TrainBatch,
    Training, TrainingSpec,
};

/// A training plan on a GPU.
pub(super) struct CudaTraining {
    machine: Machine,
    loss: Loss,
    updater: Updater,
    table: Table,
    steps: u64,
    classes: usize,
    /// Of all images of a call, f32.
    logits_gradient: Buffer,
    laps: Laps,
    observer: Observer,
}

impl CudaTraining {
    pub fn new(
        graph: &Graph,
        tensors: &Tensors,
        input: &InputSpec,
        spec: &TrainingSpec,
        gpu: &Gpu,
        precision: Precision,
    ) -> Result<Self, EngineError> {
        let of = type_of(precision);
        let updater = Updater::new(graph, spec);
        let trained = |id: ParamId| spec.freeze.trains(graph.param(id));
        let program = Program::new(graph, (input.height, input.width), &trained, true, &spec.taps)?;
        let classes = program.values[program.output.0].plane.channels;
        let moving: Vec<ParamId> = program.moving_statistics().collect();
        let (moments, averaged) = (updater.state_names().len(), spec.average > 0.0);
        let kept = Kept { trained: &trained, moving: &moving, moments, averaged };
        let parameters = Parameters::new(gpu, of, graph, tensors, &kept)?;
        Ok(Self {
            table: Table::new(gpu, &parameters)?,
            machine: Machine::new(gpu.clone(), of, program, parameters, *input, &spec.taps)?,
            loss: spec.loss.clone(),
            updater,
            steps: 0,
            classes,
            logits_gradient: gpu.allocate(Type::F32, input.batch * classes)?,
            laps: Laps::default(),
            observer: Observer::default(),
        })
    }

    /// Bytes that a plan takes.
    pub fn bytes(
        graph: &Graph,
        input: &InputSpec,
        spec: &TrainingSpec,
        precision: Precision,
    ) -> Result<usize, EngineError> {
        let of = type_of(precision);
        let trained = |id: ParamId| spec.freeze.trains(graph.param(id));
        let program = Program::new(graph, (input.height, input.width), &trained, true, &spec.taps)?;
        let moments = Updater::new(graph, spec).state_names().len();
        let kept = Kept { trained: &trained, moving: &[], moments, averaged: spec.average > 0.0 };
        let parameters = Parameters::bytes(of, graph, &kept);
        Ok(Machine::memory_bytes(of, &program, input, &spec.taps) + parameters)
    }

    fn run(
        &mut self,
        batches: &[TrainBatch<'_>],
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError> {
        self.laps.clear();
        self.machine.parameters.remember()?;
        let step = self.gradients_of(batches);
        if step.is_err() {
            self.machine.parameters.undo()?;
        }
        let output = step?;
        self.steps += 1;
        let Self { updater, machine, observer, table, .. } = self;
        let rates = (learning_rate, weight_decay);
        table.step(updater, &mut machine.parameters, observer, output.gradient_norm, rates, self.steps)?;
        self.machine.parameters.round()?;
        self.laps.lap(&self.machine.gpu, None, Pass::Optimiser, self.machine.images)?;
        Ok(output)
    }

    /// Loss and gradient over all batches; running statistics have moved.
    fn gradients_of(&mut self, batches: &[TrainBatch<'_>]) -> Result<StepOutput, EngineError> {
        let mut output = StepOutput { loss: 0.0, logits: Vec::new(), gradient_norm: 0.0 };
        for (index, batch) in batches.iter().enumerate() {
            let images = batch.labels.len();
            let logits = self.forward(batch)?;
            let mut gradient = vec![0.0; logits.len()];
            let loss = self.loss.of(batch, batches);
            let (classes, labels) = (self.classes, batch.labels);
            output.loss +=
                kernels::cross_entropy(images, classes, &logits, labels, &loss, Some(&mut gradient));
            output.logits.extend(logits);
            self.laps.lap(&self.machine.gpu, None, Pass::Loss, images)?;
            if !output.loss.is_finite() {
                return Err(EngineError::NonFiniteLoss { loss: output.loss });
            }
            self.backward(batch, &gradient)?;
            self.machine.update_running_statistics()?;
            let (first, last) = (index == 0, index + 1 == batches.len());
            self.machine.parameters.accumulate(&self.machine.gpu, first, last)?;
        }
        output.gradient_norm = self.gradient_norm()?;
        Ok(output)
    }

    fn given<'a>(&self, batch: &TrainBatch<'a>) -> Result<Given<'a>, EngineError> {
        batch.given(&self.machine.input, &self.machine.program)
    }

    fn forward(&mut self, batch: &TrainBatch<'_>) -> Result<Vec<f32>, EngineError> {
        let (images, given) = (batch.labels.len(), self.given(batch)?);
        let Self { machine, observer, laps, .. } = self;
        observer.begin();
        laps.start(&machine.gpu)?;
        machine.forward(images, given, Some(batch.seed), &mut |machine, index, pass| {
            laps.lap(&machine.gpu, Some(index), pass, images)?;
            machine.observe(observer, index)
        })?;
        Ok(machine.logits().read()?)
    }

    fn backward(&mut self, batch: &TrainBatch<'_>, gradient: &[f32]) -> Result<(), EngineError> {
        let images = batch.labels.len();
        let place = self.logits_gradient.slice(0..gradient.len());
        place.write(gradient)?;
        let (machine, laps) = (&self.machine, &mut self.laps);
        laps.start(&machine.gpu)?;
        machine.backward(place, batch.seed, &mut |machine, index, pass| {
            laps.lap(&machine.gpu, Some(index), pass, images)
        })
    }

    fn gradient_norm(&self) -> Result<f64, EngineError> {
        let (_, gradients, _) = self.machine.parameters.moved();
        let norm = sum_of_squares(&self.machine.gpu, gradients)?.sqrt();
        if !norm.is_finite() {
            return Err(EngineError::NonFiniteGradient { norm });
        }
        Ok(norm)
    }
}

impl Training for CudaTraining {
    fn accumulated_step(
        &mut self,
        batches: &[TrainBatch<'_>],
        learning_rate: f32,
        weight_decay: f32,
    ) -> Result<StepOutput, EngineError> {
        if batches.is_empty() {
            Given::checked(0, &[], &[], &self.machine.input, &self.machine.program)?;
        }
        batches.iter().try_for_each(|batch| self.given(batch).map(drop))?;
        self.run(batches, learning_rate, weight_decay)
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
        self.laps.clear();
        let logits = self.forward(batch)?;
        self.backward(batch, logits_gradient)?;
        let gradient_norm = self.gradient_norm()?;
        let products = logits.iter().zip(logits_gradient).map(|(z, g)| f64::from(*z) * f64::from(*g));
        Ok(StepOutput { loss: products.sum(), logits, gradient_norm })
    }

    fn tensors(&self) -> Result<Tensors, EngineError> {
        self.machine.parameters.tensors()
    }

    fn averaged_tensors(&self) -> Result<Tensors, EngineError> {
        self.machine.parameters.averaged_tensors()
    }

    fn gradients(&self) -> Result<Tensors, EngineError> {
        self.machine.parameters.gradients()
    }

    fn state(&self) -> Result<Tensors, EngineError> {
        self.machine.parameters.state(self.updater.state_names(), self.steps)
    }

    fn steps(&self) -> u64 {
        self.steps
    }

    fn restore(&mut self, tensors: &Tensors, state: &Tensors, steps: u64) -> Result<(), EngineError> {
        self.machine.parameters.restore(self.updater.state_names(), tensors, state, steps)?;
        self.steps = steps;
        self.machine.prepare()
    }

    fn tap(&self, node: NodeId) -> Result<Option<(Tensor, Tensor)>, EngineError> {
        let machine = &self.machine;
        let (Some(value), Some(id)) = (machine.tap(node)?, machine.find(node)) else { return Ok(None) };
        let gradient = match id == machine.program.output {
            true => Some(self.logits_gradient.slice(0..machine.logits().len())),
            false => machine.gradient(id),
        };
        gradient.map(|gradient| Ok((value, machine.read(gradient, id)?))).transpose()
    }

    fn watch(&mut self, on: bool) {
        self.observer.set(on);
    }

    fn statistics(&self) -> Option<StepStatistics> {
        self.observer.statistics().cloned()
    }

    fn time_operators(&mut self, on: bool) {
        self.laps.set(on);
    }

    fn operator_times(&self) -> Vec<OperatorTime> {
        self.machine.operator_times(&self.laps, self.updater.name())
    }
}

impl Machine {
    /// Keeps the statistics of a step's activation while its value is still there, summed up on the processor.
    fn observe(&self, observer: &mut Observer, index: usize) -> Result<(), EngineError> {
        observer.observe(&self.program, index, self.images, |id, limits| {
            let (values, plane): (Slice<'_>, _) = (self.value(id), self.plane(id));
            Ok(match values.of() {
                Type::Bf16 => kernels::channel_activity(self.images, &read_bf16(values)?, plane, limits),
                _ => kernels::channel_activity(self.images, &values.read::<f32>()?, plane, limits),
            })
        })
    }
}
