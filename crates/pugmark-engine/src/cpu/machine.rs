//! A program with its memory: every buffer is there before the first call.

use std::ops::Range;

use pugmark_graph::{NodeId, Tensor};
use pugmark_kernels as kernels;
use pugmark_kernels::Plane;

use super::convolution::Activation;
use super::memory::Memory;
use super::parameters::Parameters;
use super::workspace::Workspaces;
use crate::plan::Given;
use crate::plan::Layout;
use crate::plan::Stages;
use crate::plan::{Clock, Kind, Observer, Program, Step, StochasticDepth, ValueId, node_seed, to_tensor};
use crate::{InputSpec, Pass};

/// A program ready to run; `E` is what its activations and their gradients are in memory.
pub(super) struct Machine<E> {
    pub program: Program,
    pub parameters: Parameters,
    pub input: InputSpec,
    pub memory: Memory<E>,
    pub workspaces: Workspaces<E>,
    pub stages: Stages,
    /// Of all images of the last call.
    pub logits: Vec<f32>,
    /// Images that run together now; after a call, all of it.
    pub images: usize,
    /// Those of the call that ran before them.
    before: usize,
    pub clock: Clock,
    pub observer: Observer,
}

impl<E: Activation> Machine<E> {
    /// With `winograd`, convolutions are Winograd's where that is faster.
    pub fn new(
        program: Program,
        parameters: Parameters,
        input: InputSpec,
        taps: &[NodeId],
        stages: Stages,
        winograd: bool,
    ) -> Self {
        let memory = Memory::new(&program, &stages, taps);
        let workspaces = Workspaces::new(&program, &parameters, &stages, winograd);
        let logits = vec![0.0; stages.images * program.values[program.output.0].plane.len()];
        let (images, before, clock, observer) = (0, 0, Clock::default(), Observer::default());
        Self {
            program,
            parameters,
            input,
            memory,
            workspaces,
            stages,
            logits,
            images,
            before,
            clock,
            observer,
        }
    }

    /// Bytes that a machine takes, without its parameters.
    pub fn memory_bytes(program: &Program, stages: &Stages, taps: &[NodeId], winograd: bool) -> usize {
        let arena = Layout::new(program, stages, taps).len * size_of::<E>();
        arena + Workspaces::<E>::bytes(program, stages, winograd)
    }

    /// Makes what the kernels read from the parameters; to be called when they have changed.
    pub fn prepare(&mut self) {
        self.prepare_where(|_, _| true);
    }

    /// As [`Machine::prepare`], where a step of training has changed them: what is not trained stays packed.
    pub fn prepare_trained(&mut self) {
        self.prepare_where(Program::is_trained);
    }

    fn prepare_where(&mut self, wanted: impl Fn(&Program, &Step) -> bool) {
        self.clock.start();
        for (index, (step, workspace)) in self.program.steps.iter().zip(&mut self.workspaces.of).enumerate() {
            if !wanted(&self.program, step) {
                continue;
            }
            if let Some(pass) = workspace.prepare(&step.kind, &self.parameters) {
                self.clock.lap(Some(index), pass, self.images);
            }
        }
    }

    /// Runs every step on `images` pictures; `dropout` is the seed of a training step, none outside training.
    pub fn forward(&mut self, images: usize, given: Given<'_>, dropout: Option<u64>) {
        self.clock.start();
        let (late, together) = (self.stages.late, self.stages.early_images);
        if late > 0 {
            for (index, (some, given)) in given.chunks(images, together).enumerate() {
                self.before = index * together;
                self.images = some;
                self.run_steps(0..late, given, dropout);
            }
        }
        (self.before, self.images) = (0, images);
        self.run_steps(late..self.program.steps.len(), given, dropout);
        let output = self.program.output;
        if !self.program.steps.iter().any(|step| step.output == output && step.is_linear()) {
            let plane = self.program.values[output.0].plane;
            let values = self.memory.read(self.window(output));
            let logits = &mut self.logits[..images * plane.len()];
            kernels::copy_plane(images, values, plane, logits, plane);
        }
    }

    fn run_steps(&mut self, steps: Range<usize>, given: Given<'_>, dropout: Option<u64>) {
        for index in steps {
            let step = self.program.steps[index].clone();
            self.run(index, &step, given, dropout);
            self.clock.lap(Some(index), Pass::Forward, self.images);
            self.observe(index);
        }
    }

    /// Where the images that run now lie in the arena.
    pub fn window(&self, id: ValueId) -> Range<usize> {
        let len = self.program.values[id.0].plane.len();
        let first = if self.stages.whole[id.0] { self.before } else { 0 };
        let start = self.memory.value(id).start;
        start + first * len..start + (first + self.images) * len
    }

    fn run(&mut self, index: usize, step: &Step, given: Given<'_>, dropout: Option<u64>) {
        let images = self.images;
        let plane_of = |id: ValueId| self.program.values[id.0].plane;
        let (xp, yp) = (plane_of(step.input), plane_of(step.output));
        if let Kind::Input | Kind::Features = step.kind {
            let [y] = self.memory.parts([self.window(step.output)]);
            match given {
                Given::Pixels(pixels) => {
                    kernels::input_from_u8(images, pixels, &self.input.mean, &self.input.std, y, yp);
                }
                Given::Features(features) => {
                    kernels::copy_plane(images, features, Plane { border: 0, ..yp }, y, yp);
                }
            }
            return;
        }
        let residual_window = step.residual.map_or(0..0, |id| self.window(id));
        let dropout_seed = dropout.map(|seed| self.dropout_seed(step, seed));
        let first_logit = self.before * yp.len();
        let [y, x, residual] =
            self.memory.parts([self.window(step.output), self.window(step.input), residual_window]);
        let x = &*x;
        let residual = step.residual.map(|id| (&*residual, plane_of(id)));
        let Workspaces { of, summed_by, packed, scratch } = &mut self.workspaces;
        let (before, rest) = of.split_at_mut(index);
        let workspace = &mut rest[0];
        match &step.kind {
            Kind::Input | Kind::Features => {}
            Kind::Conv { weight, bias, folded, relu, .. } => {
                let convolution = workspace.convolution.expect("made for every convolution");
                let bias = (bias.is_some() || folded.is_some()).then_some(&workspace.bias[..]);
                let epilogue = kernels::Epilogue { bias, residual, relu: *relu };
                let packed = match workspace.packed.as_slice() {
                    [] => {
                        let packed = &mut packed[..convolution.packed_len::<E>()];
                        E::pack(&convolution, self.parameters.value(*weight), packed);
                        self.clock.lap(Some(index), Pass::Prepare, images);
                        packed
                    }
                    packed => packed,
                };
                let mut stats = workspace.stats.as_mut();
                if let Some(stats) = &mut stats {
                    stats.clear();
                }
                E::forward(&convolution, images, (x, xp), packed, (y, yp), &epilogue, stats, scratch);
            }
            Kind::Depthwise { shape, weight, bias } => {
                let packed = match workspace.packed_f32.as_slice() {
                    [] => {
                        let packed = &mut scratch[..shape.packed_len()];
                        kernels::depthwise_pack(shape, self.parameters.value(*weight), packed);
                        packed
                    }
                    packed => packed,
                };
                let bias = bias.map(|bias| self.parameters.value(bias));
                kernels::depthwise_forward(shape, images, x, xp, packed, bias, y, yp);
            }
            Kind::Norm { norm, running, relu } => {
                let own = &mut workspace.norm;
                let gamma = self.parameters.value(norm.weight);
                let beta = self.parameters.value(norm.bias);
                if *running {
                    own.mean.copy_from_slice(self.parameters.value(norm.running_mean));
                    own.var.copy_from_slice(self.parameters.value(norm.running_var));
                } else {
                    let stats = match (summed_by[index], &mut workspace.stats) {
                        (Some(convolution), _) => before[convolution].stats.as_ref(),
                        (None, Some(stats)) => {
                            stats.clear();
                            kernels::channel_stats(images, x, xp, stats);
                            Some(&*stats)
                        }
                        (None, None) => None,
                    };
                    stats
                        .expect("a norm over the batch has statistics of its own or its convolution's")
                        .finish(images * xp.pixels(), &mut own.mean, &mut own.var);
                }
                for channel in 0..xp.channels {
                    own.inverse_std[channel] = 1.0 / (own.var[channel] + norm.eps).sqrt();
                    own.scale[channel] = gamma[channel] * own.inverse_std[channel];
                    own.shift[channel] = beta[channel] - own.mean[channel] * own.scale[channel];
                }
                kernels::scale_shift(images, x, xp, &own.scale, &own.shift, residual, *relu, y, yp);
            }
            Kind::MaxPool(shape) => {
                let argmax = (!workspace.argmax.is_empty())
                    .then(|| &mut workspace.argmax[..images * yp.pixels() * yp.channels]);
                kernels::max_pool_forward(shape, images, x, xp, y, yp, argmax);
            }
            Kind::GlobalAvgPool => kernels::global_avg_pool_forward(images, x, xp, y),
            Kind::Linear { weight, bias } => {
                let (inputs, outputs) = (xp.channels, yp.channels);
                let (own_x, rest) = scratch.split_at_mut(images * inputs);
                let (own_y, rest) = rest.split_at_mut(images * outputs);
                kernels::copy_plane(images, x, xp, own_x, xp);
                let packed = match workspace.packed_f32.as_slice() {
                    [] => {
                        let packed = &mut rest[..kernels::linear_packed_len_forward(inputs, outputs)];
                        kernels::linear_pack_forward(inputs, outputs, self.parameters.value(*weight), packed);
                        packed
                    }
                    packed => packed,
                };
                let bias = bias.map(|bias| self.parameters.value(bias));
                kernels::linear_forward(images, inputs, outputs, own_x, packed, bias, own_y);
                kernels::copy_plane(images, own_y, yp, y, yp);
                if step.output == self.program.output {
                    // Loss and softmax get all digits.
                    self.logits[first_logit..][..own_y.len()].copy_from_slice(own_y);
                }
            }
            Kind::LayerNorm { weight, bias, eps } => {
                let (gamma, beta) = (self.parameters.value(*weight), self.parameters.value(*bias));
                kernels::layer_norm_forward(images, x, xp, gamma, beta, *eps, y, yp);
            }
            Kind::Scale { layer_scale, stochastic_depth } => {
                let images_of = stochastic_depth.zip(dropout).map(|(StochasticDepth { p, node }, seed)| {
                    let factors = &mut workspace.image_factors[..images];
                    kernels::stochastic_depth(node_seed(node, seed), p, factors);
                    &*factors
                });
                let channels = layer_scale.map(|weight| self.parameters.value(weight));
                let factors = kernels::Factors { channels, images: images_of };
                kernels::scale_forward(images, x, xp, &factors, residual, y, yp);
            }
            Kind::Attention { attention, table, padding } => {
                let (table, padding) = (self.parameters.value(*table), self.parameters.value(*padding));
                kernels::window_attention_forward(attention, images, x, xp, padding, table, y, yp);
            }
            Kind::MergePatches => kernels::merge_patches_forward(images, x, xp, y, yp),
            Kind::Dropout { p } => match dropout_seed {
                Some(seed) => kernels::dropout(seed, *p, x, y),
                None => kernels::copy_plane(images, x, xp, y, yp),
            },
            Kind::Relu => kernels::relu_forward(images, x, xp, y, yp),
            Kind::Gelu => kernels::gelu_forward(images, x, xp, y, yp),
            Kind::Silu => kernels::silu_forward(images, x, xp, y, yp),
            Kind::Sigmoid => kernels::sigmoid_forward(images, x, xp, y, yp),
            Kind::Gate => {
                if let Some((gate, _)) = residual {
                    kernels::gate_forward(images, x, xp, gate, y, yp);
                }
            }
            Kind::Add { relu } => {
                if let Some((other, plane)) = residual {
                    kernels::add_forward(images, x, xp, other, plane, *relu, y, yp);
                }
            }
        }
    }

    /// The seed of one dropout layer.
    pub fn dropout_seed(&self, step: &Step, seed: u64) -> u64 {
        node_seed(self.program.values[step.output.0].node, seed)
    }

    /// The logits of the last call.
    pub fn logits(&self) -> &[f32] {
        &self.logits[..self.images * self.program.values[self.program.output.0].plane.len()]
    }

    /// The value of a node and the geometry it has.
    pub fn find(&self, node: NodeId) -> Option<ValueId> {
        self.program.values.iter().position(|v| v.node == node).map(ValueId)
    }

    /// The value of a tapped node in the last call.
    pub fn tap(&self, node: NodeId) -> Option<Tensor> {
        let id = self.find(node)?;
        let plane = self.program.values[id.0].plane;
        if id == self.program.output && plane.len() == plane.channels {
            return Some(to_tensor(self.images, &self.logits, plane));
        }
        Some(to_tensor(self.images, self.memory.read(self.memory.value(id)), plane))
    }
}
