//! A program with its memory: every buffer is there before the first call.

use std::ops::Range;

use pugmark_graph::{NodeId, Tensor};
use pugmark_kernels as kernels;
use pugmark_kernels::{ChannelStats, Plane};

use super::convolution::Convolution;
use super::memory::{Lifetime, assign};
use super::parameters::Parameters;
use super::program::{Kind, Program, Step, ValueId};
use super::stages::Stages;
use super::timing::Clock;
use crate::{InputSpec, Pass};

/// What a step keeps beside its tensors.
#[derive(Debug, Default)]
pub(super) struct Workspace {
    /// The way a convolution is computed.
    pub convolution: Option<Convolution>,
    /// Weights as the forward kernel reads them; empty where they are trained, for then they serve once.
    pub packed: Vec<f32>,
    /// Bias of a convolution with its folded norm.
    pub bias: Vec<f32>,
    /// Sums of a convolution's output or a norm's input.
    pub stats: Option<ChannelStats>,
    /// Statistics of the batch and the scale and shift made of them.
    pub norm: NormWorkspace,
    /// Where each maximum was.
    pub argmax: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct NormWorkspace {
    pub mean: Vec<f32>,
    pub var: Vec<f32>,
    pub inverse_std: Vec<f32>,
    pub scale: Vec<f32>,
    pub shift: Vec<f32>,
    pub sum_gradient: Vec<f32>,
    pub sum_gradient_x: Vec<f32>,
}

impl NormWorkspace {
    fn new(channels: usize) -> Self {
        let zeros = || vec![0.0; channels];
        Self {
            mean: zeros(),
            var: zeros(),
            inverse_std: zeros(),
            scale: zeros(),
            shift: zeros(),
            sum_gradient: zeros(),
            sum_gradient_x: zeros(),
        }
    }
}

/// The buffers of values and gradients, shared by those that are never alive together.
#[derive(Debug)]
pub(super) struct Memory {
    pub buffers: Vec<Vec<f32>>,
    pub value_buffer: Vec<usize>,
    /// For a value that the backward pass computes again: where it puts it.
    pub again_buffer: Vec<Option<usize>>,
    pub gradient_buffer: Vec<Option<usize>>,
}

/// A program ready to run.
pub(super) struct Machine {
    pub program: Program,
    pub parameters: Parameters,
    pub input: InputSpec,
    pub memory: Memory,
    pub workspaces: Vec<Workspace>,
    /// What a kernel needs while it runs: packed weights that serve once, partial sums.
    pub scratch: Vec<f32>,
    /// For a norm over the batch: the convolution that summed its input on the way.
    pub summed_by: Vec<Option<usize>>,
    pub stages: Stages,
    /// Images that run together now; after a call, all of it.
    pub images: usize,
    /// Those of the call that ran before them.
    pub before: usize,
    pub clock: Clock,
}

impl Machine {
    /// With `winograd`, convolutions are Winograd's where that is faster.
    pub fn new(
        program: Program,
        parameters: Parameters,
        input: InputSpec,
        taps: &[NodeId],
        stages: Stages,
        winograd: bool,
    ) -> Self {
        let summed_by: Vec<Option<usize>> = program
            .steps
            .iter()
            .map(|step| match step.kind {
                Kind::Norm { running: false, .. } => program
                    .steps
                    .iter()
                    .position(|s| s.output == step.input && matches!(s.kind, Kind::Conv { .. })),
                _ => None,
            })
            .collect();
        let workspaces: Vec<Workspace> = (0..program.steps.len())
            .map(|index| workspace(&program, &parameters, &summed_by, index, &stages, winograd))
            .collect();
        let memory = Memory::new(&program, &stages, taps);
        let scratch = vec![0.0; scratch_len(&program, &workspaces, &stages)];
        let clock = Clock::default();
        let (images, before) = (0, 0);
        Self {
            program,
            parameters,
            input,
            memory,
            workspaces,
            scratch,
            summed_by,
            stages,
            images,
            before,
            clock,
        }
    }

    /// Makes what the kernels read from the parameters; to be called when they have changed.
    pub fn prepare(&mut self) {
        self.clock.start();
        for (index, (step, workspace)) in self.program.steps.iter().zip(&mut self.workspaces).enumerate() {
            let (Kind::Conv { shape, weight, bias, folded, .. }, Some(convolution)) =
                (&step.kind, workspace.convolution)
            else {
                continue;
            };
            let values = self.parameters.value(*weight);
            match bias {
                Some(bias) => workspace.bias.copy_from_slice(self.parameters.value(*bias)),
                None => workspace.bias.fill(0.0),
            }
            if workspace.packed.is_empty() {
                continue;
            }
            if let Some(norm) = folded {
                let scale = running_scale(&self.parameters, norm);
                let mean = self.parameters.value(norm.running_mean);
                let shift = self.parameters.value(norm.bias);
                for (channel, bias) in workspace.bias.iter_mut().enumerate() {
                    *bias = (*bias - mean[channel]) * scale[channel] + shift[channel];
                }
                let weights: Vec<f32> = values
                    .chunks_exact(shape.out_channels)
                    .flat_map(|row| row.iter().zip(&scale).map(|(w, s)| w * s))
                    .collect();
                convolution.pack(&weights, &mut workspace.packed);
            } else {
                convolution.pack(values, &mut workspace.packed);
            }
            self.clock.lap(Some(index), Pass::Prepare, self.images);
        }
    }

    /// Runs every step on `images` pictures; `dropout` is the seed of a training step, none outside training.
    pub fn forward(&mut self, images: usize, pixels: &[u8], dropout: Option<u64>) {
        self.clock.start();
        let (late, together) = (self.stages.late, self.stages.early_images);
        let picture = pixels.len() / images;
        if late > 0 {
            for (index, pixels) in pixels.chunks(together * picture).enumerate() {
                self.before = index * together;
                self.images = pixels.len() / picture;
                self.run_steps(0..late, pixels, dropout);
            }
        }
        (self.before, self.images) = (0, images);
        self.run_steps(late..self.program.steps.len(), pixels, dropout);
    }

    fn run_steps(&mut self, steps: Range<usize>, pixels: &[u8], dropout: Option<u64>) {
        for index in steps {
            let step = self.program.steps[index].clone();
            let mut output = self.memory.take_value(step.output);
            let window = self.window(step.output);
            self.run(index, &step, pixels, dropout, &mut output[window]);
            self.memory.put_value(step.output, output);
            self.clock.lap(Some(index), Pass::Forward, self.images);
        }
    }

    /// Where the images that run now lie in a value's buffer.
    fn window(&self, id: ValueId) -> Range<usize> {
        let len = self.program.values[id.0].plane.len();
        let first = if self.stages.whole[id.0] { self.before } else { 0 };
        first * len..(first + self.images) * len
    }

    fn run(&mut self, index: usize, step: &Step, pixels: &[u8], dropout: Option<u64>, y: &mut [f32]) {
        let images = self.images;
        let plane_of = |id: ValueId| self.program.values[id.0].plane;
        let (xp, yp) = (plane_of(step.input), plane_of(step.output));
        if let Kind::Input = step.kind {
            kernels::input_from_u8(images, pixels, &self.input.mean, &self.input.std, y, yp);
            return;
        }
        let x = &self.memory.value(step.input)[self.window(step.input)];
        let residual = step.residual.map(|id| (id, self.window(id)));
        let residual = residual.map(|(id, window)| (&self.memory.value(id)[window], plane_of(id)));
        let (before, rest) = self.workspaces.split_at_mut(index);
        let workspace = &mut rest[0];
        match &step.kind {
            Kind::Input => {}
            Kind::Conv { weight, bias, folded, relu, .. } => {
                let convolution = workspace.convolution.expect("made for every convolution");
                let bias = (bias.is_some() || folded.is_some()).then_some(&workspace.bias[..]);
                let epilogue = kernels::Epilogue { bias, residual, relu: *relu };
                let (packed, scratch) = match workspace.packed.as_slice() {
                    [] => {
                        let (packed, rest) = self.scratch.split_at_mut(convolution.packed_len());
                        convolution.pack(self.parameters.value(*weight), packed);
                        self.clock.lap(Some(index), Pass::Prepare, images);
                        (&*packed, rest)
                    }
                    packed => (packed, &mut self.scratch[..]),
                };
                let mut stats = workspace.stats.as_mut();
                if let Some(stats) = &mut stats {
                    stats.clear();
                }
                convolution.forward(images, (x, xp), packed, (y, yp), &epilogue, stats, scratch);
            }
            Kind::Norm { norm, running, relu } => {
                let own = &mut workspace.norm;
                let gamma = self.parameters.value(norm.weight);
                let beta = self.parameters.value(norm.bias);
                if *running {
                    own.mean.copy_from_slice(self.parameters.value(norm.running_mean));
                    own.var.copy_from_slice(self.parameters.value(norm.running_var));
                } else {
                    let stats = match (self.summed_by[index], &mut workspace.stats) {
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
                let (weight, bias) = (self.parameters.value(*weight), self.parameters.value(*bias));
                kernels::linear_forward(images, xp.channels, yp.channels, x, weight, Some(bias), y);
            }
            Kind::Dropout { p } => match dropout {
                Some(seed) => kernels::dropout(self.dropout_seed(step, seed), *p, x, y),
                None => kernels::copy_plane(images, x, xp, y, yp),
            },
            Kind::Relu => kernels::relu_forward(images, x, xp, y, yp),
            Kind::Add { relu } => {
                if let Some((other, plane)) = residual {
                    kernels::add_forward(images, x, xp, other, plane, *relu, y, yp);
                }
            }
        }
    }

    /// The seed of one dropout layer: its node's, so that fusing other nodes does not change it.
    pub fn dropout_seed(&self, step: &Step, seed: u64) -> u64 {
        seed.wrapping_add(self.program.values[step.output.0].node.0 as u64)
    }

    /// The logits of the last call.
    pub fn logits(&self) -> &[f32] {
        let output = self.program.output;
        &self.memory.value(output)[..self.images * self.program.values[output.0].plane.len()]
    }

    /// The value of a node and the geometry it has.
    pub fn find(&self, node: NodeId) -> Option<ValueId> {
        self.program.values.iter().position(|v| v.node == node).map(ValueId)
    }

    /// The value of a tapped node in the last call.
    pub fn tap(&self, node: NodeId) -> Option<Tensor> {
        let id = self.find(node)?;
        Some(to_tensor(self.images, self.memory.value(id), self.program.values[id.0].plane))
    }
}

/// Padded pictures to `[images, channels, height, width]`; one-pixel pictures to `[images, channels]`.
pub(super) fn to_tensor(images: usize, values: &[f32], plane: Plane) -> Tensor {
    let mut out = Vec::with_capacity(images * plane.pixels() * plane.channels);
    for image in values.chunks_exact(plane.len()).take(images) {
        for channel in 0..plane.channels {
            for y in 0..plane.height {
                out.extend((0..plane.width).map(|x| image[plane.offset(y, x) + channel]));
            }
        }
    }
    let mut shape = vec![images, plane.channels];
    if plane.pixels() > 1 {
        shape.extend([plane.height, plane.width]);
    }
    Tensor { shape, values: out }
}

fn running_scale(parameters: &Parameters, norm: &super::program::Norm) -> Vec<f32> {
    let gamma = parameters.value(norm.weight);
    let var = parameters.value(norm.running_var);
    gamma.iter().zip(var).map(|(g, v)| g / (v + norm.eps).sqrt()).collect()
}

fn workspace(
    program: &Program,
    parameters: &Parameters,
    summed_by: &[Option<usize>],
    index: usize,
    stages: &Stages,
    winograd: bool,
) -> Workspace {
    let step = &program.steps[index];
    let output = &program.values[step.output.0];
    match &step.kind {
        Kind::Conv { shape, bias, folded, .. } => {
            let convolution = Convolution::new(*shape, winograd, output.plane);
            let trained = program.is_trained(step);
            let has_bias = bias.is_some() || folded.is_some();
            Workspace {
                convolution: Some(convolution),
                packed: vec![0.0; if trained { 0 } else { convolution.packed_len() }],
                bias: vec![0.0; if has_bias { shape.out_channels } else { 0 }],
                stats: summed_by.contains(&Some(index)).then(|| ChannelStats::new(shape.out_channels)),
                ..Workspace::default()
            }
        }
        Kind::Norm { norm, running, .. } => {
            let channels = parameters.value(norm.weight).len();
            let own_stats = !running && summed_by[index].is_none();
            Workspace {
                stats: own_stats.then(|| ChannelStats::new(channels)),
                norm: NormWorkspace::new(channels),
                ..Workspace::default()
            }
        }
        Kind::MaxPool(_) if program.is_trained(step) => {
            let plane = output.plane;
            Workspace {
                argmax: vec![0; stages.images * plane.pixels() * plane.channels],
                ..Workspace::default()
            }
        }
        _ => Workspace::default(),
    }
}

/// The most that any convolution needs at once.
fn scratch_len(program: &Program, workspaces: &[Workspace], stages: &Stages) -> usize {
    let needs = program.steps.iter().zip(workspaces).map(|(step, workspace)| {
        let Some(convolution) = workspace.convolution else { return 0 };
        let output = program.values[step.output.0].plane;
        let batch = stages.room(step.output.0);
        let own = convolution.scratch_len(batch, output);
        if !program.is_trained(step) {
            return own;
        }
        let packed = convolution.packed_len().max(convolution.packed_len_backward());
        (packed + own).max(convolution.weight_scratch_len(batch, output))
    });
    needs.max().unwrap_or(0)
}

impl Memory {
    /// Time runs over the steps, the loss, and the steps backwards.
    fn new(program: &Program, stages: &Stages, taps: &[NodeId]) -> Self {
        let steps = program.steps.len();
        let loss = steps;
        let backward = |step: usize| 2 * steps - step;
        let forever = 2 * steps + 1;
        let mut lifetimes: Vec<Lifetime> = Vec::with_capacity(3 * program.values.len());
        let mut add = |lifetime| {
            lifetimes.push(lifetime);
            lifetimes.len() - 1
        };
        let (mut value_of, mut again_of, mut gradient_of) = (Vec::new(), Vec::new(), Vec::new());
        for (index, value) in program.values.iter().enumerate() {
            let id = ValueId(index);
            let tapped = taps.contains(&value.node);
            let producer = program.steps.iter().position(|s| s.output == id).unwrap_or(0);
            let (mut last, mut first_gradient) = (producer, backward(producer));
            if id == program.output {
                (last, first_gradient) = (loss, loss);
            }
            // The backward passes that read the value.
            let mut saved: Option<(usize, usize)> = None;
            for (at, step) in program.steps.iter().enumerate() {
                let trained = program.is_trained(step);
                if step.input == id || step.residual == Some(id) {
                    last = last.max(at);
                    if trained {
                        first_gradient = first_gradient.min(backward(at));
                    }
                }
                if trained && saved_for_backward(step, id) {
                    let (first, last) = saved.unwrap_or((backward(at), backward(at)));
                    saved = Some((first.min(backward(at)), last.max(backward(at))));
                }
            }
            let again = saved.filter(|_| !tapped && id != program.output && is_cheap(program, id));
            if let (Some((_, last_saved)), None) = (saved, again) {
                last = last.max(last_saved);
            }
            if tapped {
                last = forever;
            }
            // What the late steps read is filled a few images at a time while the early ones run again.
            let first = if producer < stages.late && stages.whole[index] { 0 } else { producer };
            let len = stages.room(index) * value.plane.len();
            value_of.push(add(Lifetime { len, first, last }));
            again_of.push(again.map(|(first, last)| add(Lifetime { len, first, last })));
            gradient_of.push(value.gradient.map(|plane| {
                let last = if tapped { forever } else { backward(producer) };
                add(Lifetime { len: stages.room(index) * plane.len(), first: first_gradient, last })
            }));
        }
        let (buffer_of, lengths) = assign(&lifetimes);
        let assigned = |of: Vec<Option<usize>>| of.into_iter().map(|i| i.map(|i| buffer_of[i])).collect();
        Self {
            buffers: lengths.into_iter().map(|len| vec![0.0; len]).collect(),
            value_buffer: value_of.into_iter().map(|i| buffer_of[i]).collect(),
            again_buffer: assigned(again_of),
            gradient_buffer: assigned(gradient_of),
        }
    }

    /// A value as the backward pass reads it.
    pub fn saved(&self, id: ValueId) -> &[f32] {
        &self.buffers[self.again_buffer[id.0].unwrap_or(self.value_buffer[id.0])]
    }

    pub fn value(&self, id: ValueId) -> &[f32] {
        &self.buffers[self.value_buffer[id.0]]
    }

    /// Lends a buffer out for writing while others are read.
    pub fn take_value(&mut self, id: ValueId) -> Vec<f32> {
        std::mem::take(&mut self.buffers[self.value_buffer[id.0]])
    }

    pub fn put_value(&mut self, id: ValueId, buffer: Vec<f32>) {
        self.buffers[self.value_buffer[id.0]] = buffer;
    }

    pub fn gradient(&self, id: ValueId) -> Option<&[f32]> {
        self.gradient_buffer[id.0].map(|buffer| self.buffers[buffer].as_slice())
    }

    pub fn take_gradient(&mut self, id: ValueId) -> Option<Vec<f32>> {
        self.gradient_buffer[id.0].map(|buffer| std::mem::take(&mut self.buffers[buffer]))
    }

    pub fn put_gradient(&mut self, id: ValueId, gradient: Option<Vec<f32>>) {
        if let (Some(buffer), Some(gradient)) = (self.gradient_buffer[id.0], gradient) {
            self.buffers[buffer] = gradient;
        }
    }
}

/// Whether computing the value again costs less than keeping it: a norm is one sweep over its input, which is kept anyway.
fn is_cheap(program: &Program, id: ValueId) -> bool {
    let producer = program.steps.iter().find(|step| step.output == id);
    producer.is_some_and(|step| {
        matches!(step.kind, Kind::Norm { .. })
            && step.residual.is_none()
            && program.is_trained(step)
            && !is_cheap(program, step.input)
    })
}

/// Whether the step's backward pass reads the value.
pub(super) fn saved_for_backward(step: &Step, id: ValueId) -> bool {
    match step.kind {
        Kind::Conv { .. } | Kind::Linear { .. } => step.input == id,
        Kind::Norm { relu, .. } => step.input == id || (relu && step.output == id),
        Kind::Relu | Kind::Add { relu: true } => step.output == id,
        Kind::Input
        | Kind::MaxPool(_)
        | Kind::GlobalAvgPool
        | Kind::Dropout { .. }
        | Kind::Add { relu: false } => false,
    }
}
