//! A program with its memory on a GPU: every buffer is there before the first call.

use std::ops::Range;

use pugmark_cuda::{
    Attention, Buffer, Convolution, ConvolutionPass, Gpu, Matmul, Picture, Slice, Type, Window, add_bias,
    add_forward, batch_norm_prepare, channel_stats, convert, convolution, copy, depthwise_forward, dropout,
    gate_forward, gelu_forward, global_avg_pool_forward, input_from_u8, layer_norm_forward, matmul,
    max_pool_forward, merge_patches_forward, move_running, relu_forward, scale_forward, scale_shift,
    sigmoid_forward, silu_forward, window_attention_forward,
};
use pugmark_graph::{NodeId, ParamId, Tensor};
use pugmark_kernels as kernels;
use pugmark_kernels::{Bf16, ConvShape, Plane};

use super::parameters::Parameters;
use super::workspace::{NormPlace, Workspaces};
use crate::plan::{
    Given, Kind, Layout, Norm, Program, Stages, Step, StochasticDepth, ValueId, node_seed, to_tensor,
};
use crate::{EngineError, InputSpec, Pass};

/// What is called after each part of a pass.
pub(super) type After<'a> = &'a mut dyn FnMut(&Machine, usize, Pass) -> Result<(), EngineError>;

/// A program ready to run.
#[derive(Debug)]
pub(super) struct Machine {
    pub gpu: Gpu,
    /// What activations and their gradients are in memory.
    pub of: Type,
    pub program: Program,
    pub parameters: Parameters,
    pub input: InputSpec,
    layout: Layout,
    arena: Buffer,
    pub workspaces: Workspaces,
    /// Bytes of the pictures.
    pixels: Buffer,
    /// Values that are given instead of pictures.
    features: Option<Buffer>,
    /// Of all images of a call, f32.
    logits: Buffer,
    /// Images of the last call.
    pub images: usize,
}

impl Machine {
    pub fn new(
        gpu: Gpu,
        of: Type,
        program: Program,
        parameters: Parameters,
        input: InputSpec,
        taps: &[NodeId],
    ) -> Result<Self, EngineError> {
        let layout = Layout::new(&program, &Stages::together(&program, input.batch), taps);
        let batch = input.batch;
        let features = program.steps.iter().find(|step| matches!(step.kind, Kind::Features));
        let features = features.map(|step| program.values[step.output.0].plane.len());
        let machine = Self {
            arena: gpu.allocate(of, layout.len)?,
            workspaces: Workspaces::new(&gpu, of, &program, &parameters, batch)?,
            pixels: gpu.allocate(Type::U8, batch * input.height * input.width * 3)?,
            features: features.map(|each| gpu.allocate(Type::F32, batch * each)).transpose()?,
            logits: gpu.allocate(Type::F32, batch * program.values[program.output.0].plane.len())?,
            images: 0,
            gpu,
            of,
            program,
            parameters,
            input,
            layout,
        };
        machine.prepare()?;
        Ok(machine)
    }

    /// Bytes that a machine takes, without its parameters.
    pub fn memory_bytes(of: Type, program: &Program, input: &InputSpec, taps: &[NodeId]) -> usize {
        let layout = Layout::new(program, &Stages::together(program, input.batch), taps);
        let given = input.batch * input.height * input.width * 3;
        layout.len * of.bytes() + Workspaces::bytes(of, program, input.batch) + given
    }

    /// Makes what the kernels read from the parameters; to be called when they have changed from outside.
    pub fn prepare(&self) -> Result<(), EngineError> {
        for (index, step) in self.program.steps.iter().enumerate() {
            match step.kind {
                Kind::Conv { bias, folded: Some(norm), .. } => self.prepare_running(index, &norm, bias)?,
                Kind::Norm { norm, running: true, .. } => self.prepare_running(index, &norm, None)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Scale and shift of a norm by its running statistics.
    fn prepare_running(&self, index: usize, norm: &Norm, bias: Option<ParamId>) -> Result<(), EngineError> {
        let own = self.workspaces.norm(index);
        copy(self.parameters.value(norm.running_mean), own.mean)?;
        copy(self.parameters.value(norm.running_var), own.var)?;
        self.prepare_norm(&own, norm, bias)
    }

    fn prepare_norm(
        &self,
        own: &NormPlace<'_>,
        norm: &Norm,
        bias: Option<ParamId>,
    ) -> Result<(), EngineError> {
        let (gamma, beta) = (self.parameters.value(norm.weight), self.parameters.value(norm.bias));
        let bias = bias.map(|bias| self.parameters.value(bias));
        let NormPlace { mean, var, inverse_std, scale, shift, .. } = *own;
        Ok(batch_norm_prepare(mean, var, gamma, beta, norm.eps, bias, inverse_std, scale, shift)?)
    }

    /// The geometry of a value.
    pub fn plane(&self, id: ValueId) -> Plane {
        self.program.values[id.0].plane
    }

    /// All images of a value.
    pub fn picture(&self, id: ValueId) -> Picture {
        let Plane { height, width, channels, .. } = self.plane(id);
        Picture { images: self.images, height, width, channels }
    }

    fn part(&self, place: &Range<usize>, id: ValueId) -> Slice<'_> {
        self.arena.slice(place.start..place.start + self.images * self.plane(id).len())
    }

    /// Where a value is in the forward pass.
    pub fn value(&self, id: ValueId) -> Slice<'_> {
        self.part(&self.layout.values[id.0], id)
    }

    /// Where a value is in the backward pass.
    pub fn saved(&self, id: ValueId) -> Slice<'_> {
        self.part(self.layout.again[id.0].as_ref().unwrap_or(&self.layout.values[id.0]), id)
    }

    /// Whether the backward pass must compute the value before it reads it.
    pub fn is_computed_again(&self, id: ValueId) -> bool {
        self.layout.again[id.0].is_some()
    }

    /// The gradient of a value.
    pub fn gradient(&self, id: ValueId) -> Option<Slice<'_>> {
        self.layout.gradients[id.0].as_ref().map(|place| self.part(place, id))
    }

    /// The logits of the last call.
    pub fn logits(&self) -> Slice<'_> {
        self.logits.slice(0..self.images * self.plane(self.program.output).len())
    }

    /// Runs every step on `images` pictures; `dropout` is the seed of a training step, none outside training.
    pub fn forward(
        &mut self,
        images: usize,
        given: Given<'_>,
        dropout: Option<u64>,
        after: After<'_>,
    ) -> Result<(), EngineError> {
        self.images = images;
        for index in 0..self.program.steps.len() {
            self.run(index, given, dropout)?;
            after(self, index, Pass::Forward)?;
        }
        let output = self.program.output;
        if !self.program.steps.iter().any(|step| step.output == output && step.is_linear()) {
            convert(self.value(output), self.logits())?;
        }
        Ok(())
    }

    fn run(&self, index: usize, given: Given<'_>, dropout_seed: Option<u64>) -> Result<(), EngineError> {
        let step = &self.program.steps[index];
        let y = self.value(step.output);
        if let Kind::Input | Kind::Features = step.kind {
            return self.take(given, y);
        }
        let (x, of_x) = (self.value(step.input), self.picture(step.input));
        let parameters = &self.parameters;
        let value = |id: ParamId| parameters.value(id);
        let residual = step.residual.map(|id| self.value(id));
        let channels = self.plane(step.output).channels;
        match &step.kind {
            Kind::Input | Kind::Features => {}
            Kind::Conv { shape, weight, bias, folded, relu } => {
                self.product(
                    ConvolutionPass::Forward,
                    shape,
                    step,
                    [x, parameters.weight(*weight), y],
                    false,
                )?;
                if folded.is_some() {
                    let own = self.workspaces.norm(index);
                    scale_shift(y, own.scale, own.shift, residual, *relu, y)?;
                } else {
                    if let Some(bias) = bias {
                        add_bias(y, channels, value(*bias), y)?;
                    }
                    match residual {
                        Some(residual) => add_forward(y, residual, *relu, y)?,
                        None if *relu => relu_forward(y, y)?,
                        None => {}
                    }
                }
            }
            Kind::Depthwise { shape, weight, bias } => {
                let window = Window { kernel: shape.kernel, stride: shape.stride, padding: shape.padding };
                depthwise_forward(&of_x, &window, x, value(*weight), bias.map(value), y)?;
            }
            Kind::Norm { norm, running, relu } => {
                let own = self.workspaces.norm(index);
                if !running {
                    channel_stats(x, channels, self.workspaces.scratch(), own.mean, own.var)?;
                    self.prepare_norm(&own, norm, None)?;
                }
                scale_shift(x, own.scale, own.shift, residual, *relu, y)?;
            }
            Kind::LayerNorm { weight, bias, eps } => {
                layer_norm_forward(x, channels, value(*weight), value(*bias), *eps, y)?;
            }
            Kind::Scale { layer_scale, stochastic_depth } => {
                let images_of = stochastic_depth.zip(dropout_seed);
                let images_of = images_of.map(|(depth, seed)| self.draw(index, depth, seed)).transpose()?;
                scale_forward(&of_x, x, layer_scale.map(value), images_of, residual, y)?;
            }
            Kind::Attention { attention, table, padding } => {
                let of = self.attention(step, attention);
                window_attention_forward(&of, x, value(*padding), value(*table), y)?;
            }
            Kind::MergePatches => merge_patches_forward(&of_x, x, y)?,
            Kind::MaxPool(shape) => {
                let window = Window { kernel: shape.kernel, stride: shape.stride, padding: shape.padding };
                max_pool_forward(&of_x, &window, x, y, self.workspaces.argmax(index, y.len()))?;
            }
            Kind::GlobalAvgPool => global_avg_pool_forward(&of_x, x, y)?,
            Kind::Linear { weight, bias } => {
                let shape =
                    Matmul { m: self.images, n: channels, k: of_x.channels, turn_a: false, turn_b: true };
                // Loss and softmax get all digits.
                let y = if step.output == self.program.output { self.logits() } else { y };
                matmul(&shape, x, parameters.weight(*weight), y, false)?;
                if let Some(bias) = bias {
                    add_bias(y, channels, value(*bias), y)?;
                }
            }
            Kind::Dropout { p } => match dropout_seed {
                Some(seed) => dropout(self.seed_of(step, seed), *p, x, y, false)?,
                None => copy(x, y)?,
            },
            Kind::Relu => relu_forward(x, y)?,
            Kind::Gelu => gelu_forward(x, y)?,
            Kind::Silu => silu_forward(x, y)?,
            Kind::Sigmoid => sigmoid_forward(x, y)?,
            Kind::Gate => {
                if let Some(gate) = residual {
                    gate_forward(&of_x, x, gate, y, false)?;
                }
            }
            Kind::Add { relu } => {
                if let Some(other) = residual {
                    add_forward(x, other, *relu, y)?;
                }
            }
        }
        Ok(())
    }

    fn take(&self, given: Given<'_>, y: Slice<'_>) -> Result<(), EngineError> {
        match given {
            Given::Pixels(pixels) => {
                let on_gpu = self.pixels.slice(0..pixels.len());
                on_gpu.write(pixels)?;
                input_from_u8(on_gpu, self.input.mean, self.input.std, y)?;
            }
            Given::Features(features) => {
                if let Some(buffer) = &self.features {
                    let on_gpu = buffer.slice(0..features.len());
                    on_gpu.write(features)?;
                    convert(on_gpu, y)?;
                }
            }
        }
        Ok(())
    }

    /// Draws which images a stochastic depth leaves out, as the CPU does.
    fn draw(&self, index: usize, depth: StochasticDepth, seed: u64) -> Result<Slice<'_>, EngineError> {
        let mut factors = vec![0.0; self.images];
        kernels::stochastic_depth(node_seed(depth.node, seed), depth.p, &mut factors);
        let place = self.workspaces.image_factors(index, self.images);
        place.write(&factors)?;
        Ok(place)
    }

    /// The seed of one dropout layer.
    pub fn seed_of(&self, step: &Step, seed: u64) -> u64 {
        node_seed(self.program.values[step.output.0].node, seed)
    }

    /// A step's attention on all images.
    pub fn attention(&self, step: &Step, of: &kernels::WindowAttention) -> Attention {
        let Plane { height, width, channels, .. } = self.plane(step.output);
        let kernels::WindowAttention { heads, window, shift } = *of;
        Attention { images: self.images, height, width, channels, heads, window, shift }
    }

    /// One product of a convolution, of a single tap by matrices; `x`, `w` and `y` are values or gradients.
    pub fn product(
        &self,
        pass: ConvolutionPass,
        shape: &ConvShape,
        step: &Step,
        [x, w, y]: [Slice<'_>; 3],
        accumulate: bool,
    ) -> Result<(), EngineError> {
        let &ConvShape { kernel, stride, padding, in_channels, out_channels } = shape;
        let Plane { height, width, .. } = self.plane(step.input);
        let pixels = self.images * height * width;
        if !is_product(shape) {
            let images = self.images;
            let of =
                Convolution { images, height, width, in_channels, out_channels, kernel, stride, padding };
            return Ok(convolution(pass, &of, x, w, y, accumulate)?);
        }
        let of = |m, n, k, turn_a, turn_b| Matmul { m, n, k, turn_a, turn_b };
        Ok(match pass {
            ConvolutionPass::Forward => {
                matmul(&of(pixels, out_channels, in_channels, false, true), x, w, y, accumulate)
            }
            ConvolutionPass::BackwardData => {
                matmul(&of(pixels, in_channels, out_channels, false, false), y, w, x, accumulate)
            }
            ConvolutionPass::BackwardWeight => {
                matmul(&of(out_channels, in_channels, pixels, true, false), y, x, w, accumulate)
            }
        }?)
    }

    /// Moves the running statistics of every norm towards those of the last batch; the variance unbiased, as PyTorch does.
    pub fn update_running_statistics(&self) -> Result<(), EngineError> {
        for (index, step) in self.program.steps.iter().enumerate() {
            let Kind::Norm { norm, running: false, .. } = step.kind else { continue };
            let own = self.workspaces.norm(index);
            let count = (self.images * self.plane(step.input).pixels()) as f32;
            let unbiased = if count > 1.0 { count / (count - 1.0) } else { 1.0 };
            let running = (self.parameters.value(norm.running_mean), self.parameters.value(norm.running_var));
            move_running(own.mean, own.var, norm.momentum, unbiased, running.0, running.1)?;
        }
        Ok(())
    }

    /// The value of a node.
    pub fn find(&self, node: NodeId) -> Option<ValueId> {
        self.program.values.iter().position(|v| v.node == node).map(ValueId)
    }

    /// The value of a tapped node in the last call.
    pub fn tap(&self, node: NodeId) -> Result<Option<Tensor>, EngineError> {
        let Some(id) = self.find(node) else { return Ok(None) };
        let value = if id == self.program.output { self.logits() } else { self.value(id) };
        self.read(value, id).map(Some)
    }

    /// Values of an activation's geometry as PyTorch has them.
    pub fn read(&self, values: Slice<'_>, id: ValueId) -> Result<Tensor, EngineError> {
        let plane = self.plane(id);
        Ok(match values.of() {
            Type::Bf16 => to_tensor(self.images, &read_bf16(values)?, plane),
            _ => to_tensor(self.images, &values.read::<f32>()?, plane),
        })
    }
}

/// Whether a convolution is one product of matrices.
pub(super) fn is_product(shape: &ConvShape) -> bool {
    (shape.kernel, shape.stride, shape.padding) == ((1, 1), 1, 0)
}

/// Values in bf16.
pub(super) fn read_bf16(values: Slice<'_>) -> Result<Vec<Bf16>, EngineError> {
    Ok(values.read::<u16>()?.into_iter().map(Bf16::from_bits).collect())
}
