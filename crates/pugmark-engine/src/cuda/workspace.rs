//! What the steps of a program keep beside their tensors.

use pugmark_cuda::{
    Buffer, Gpu, Picture, Slice, Type, Window, channel_scratch_len, depthwise_scratch_len,
    layer_norm_scratch_len, scale_scratch_len, window_attention_scratch_len,
};
use pugmark_kernels::Plane;

use super::machine::is_product;
use super::parameters::Parameters;
use crate::EngineError;
use crate::plan::{Kind, Program, Step};

/// Vectors of a norm, f32, one value a channel.
const NORM_VECTORS: usize = 7;

/// What a step keeps.
#[derive(Debug, Default)]
struct Workspace {
    /// Vectors of a norm.
    norm: Option<Buffer>,
    /// Where each maximum was.
    argmax: Option<Buffer>,
    /// Of a stochastic depth in the last training step.
    image_factors: Option<Buffer>,
    /// Gradients of an attention's table and, as padding held it, of the linear layer's bias.
    attention: Option<[Buffer; 2]>,
}

/// Those of all steps, and what they share.
#[derive(Debug)]
pub(super) struct Workspaces {
    of: Vec<Workspace>,
    /// Of sums, f32.
    scratch: Buffer,
    /// The gradient of a convolution's weights before it is made f32.
    weight: Option<Buffer>,
}

/// Statistics of a norm and the scale and shift made of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct NormPlace<'a> {
    pub mean: Slice<'a>,
    pub var: Slice<'a>,
    pub inverse_std: Slice<'a>,
    pub scale: Slice<'a>,
    pub shift: Slice<'a>,
    pub sum_gradient: Slice<'a>,
    pub sum_gradient_x: Slice<'a>,
}

/// The lengths of what a step keeps.
#[derive(Debug, Default)]
struct Lens {
    norm: usize,
    argmax: usize,
    image_factors: usize,
    table: usize,
    padding: usize,
    scratch: usize,
    weight: usize,
}

impl Lens {
    fn new(program: &Program, step: &Step, batch: usize) -> Self {
        let plane = program.values[step.output.0].plane;
        let trained = program.is_trained(step);
        let picture = |plane: Plane| Picture {
            images: batch,
            height: plane.height,
            width: plane.width,
            channels: plane.channels,
        };
        let of_x = program.values[step.input.0].plane;
        let channels = plane.channels;
        let sums = channel_scratch_len(batch * plane.pixels(), channels);
        let mut lens = Self { scratch: if trained { sums } else { 0 }, ..Self::default() };
        match &step.kind {
            Kind::Conv { shape, folded, .. } => {
                lens.norm = if folded.is_some() { NORM_VECTORS * channels } else { 0 };
                if trained && !is_product(shape) {
                    lens.weight = shape.kernel.0 * shape.kernel.1 * shape.in_channels * shape.out_channels;
                }
            }
            Kind::Norm { .. } => (lens.norm, lens.scratch) = (NORM_VECTORS * channels, sums),
            Kind::LayerNorm { .. } if trained => {
                lens.norm = NORM_VECTORS * channels;
                lens.scratch = layer_norm_scratch_len(batch * plane.pixels(), channels);
            }
            Kind::Depthwise { shape, .. } if trained => {
                let window = Window { kernel: shape.kernel, stride: shape.stride, padding: shape.padding };
                lens.scratch = sums.max(depthwise_scratch_len(&picture(of_x), &window));
            }
            Kind::Scale { stochastic_depth, .. } => {
                lens.image_factors = if stochastic_depth.is_some() { batch } else { 0 };
                if trained {
                    lens.scratch = scale_scratch_len(&picture(of_x));
                }
            }
            Kind::Attention { attention, .. } if trained => {
                let pugmark_kernels::WindowAttention { heads, window, shift } = *attention;
                let Plane { height, width, .. } = plane;
                let of =
                    pugmark_cuda::Attention { images: batch, height, width, channels, heads, window, shift };
                lens.scratch = window_attention_scratch_len(&of);
                (lens.table, lens.padding) = (attention.table_len(), 3 * channels);
            }
            Kind::MaxPool(_) if trained => lens.argmax = batch * plane.len(),
            _ => {}
        }
        lens
    }
}

impl Workspaces {
    pub fn new(
        gpu: &Gpu,
        of: Type,
        program: &Program,
        parameters: &Parameters,
        batch: usize,
    ) -> Result<Self, EngineError> {
        let (mut scratch, mut weight) = (0, 0);
        let mut all = Vec::with_capacity(program.steps.len());
        for step in &program.steps {
            let lens = Lens::new(program, step, batch);
            scratch = scratch.max(lens.scratch);
            let own = matches!(step.kind, Kind::Conv { weight, .. } if parameters.is_trained(weight));
            weight = weight.max(if own && of != Type::F32 { lens.weight } else { 0 });
            let some = |of, len: usize| (len > 0).then(|| gpu.allocate(of, len)).transpose();
            let attention = match lens.table {
                0 => None,
                len => Some([gpu.allocate(Type::F32, len)?, gpu.allocate(Type::F32, lens.padding)?]),
            };
            all.push(Workspace {
                norm: some(Type::F32, lens.norm)?,
                argmax: some(Type::U8, lens.argmax)?,
                image_factors: some(Type::F32, lens.image_factors)?,
                attention,
            });
        }
        let weight = (weight > 0).then(|| gpu.allocate(of, weight)).transpose()?;
        Ok(Self { of: all, scratch: gpu.allocate(Type::F32, scratch)?, weight })
    }

    /// Bytes they take.
    pub fn bytes(of: Type, program: &Program, batch: usize) -> usize {
        let (mut kept, mut scratch, mut weight) = (0, 0, 0);
        for step in &program.steps {
            let lens = Lens::new(program, step, batch);
            kept += lens.argmax + 4 * (lens.norm + lens.image_factors + lens.table + lens.padding);
            scratch = scratch.max(4 * lens.scratch);
            weight = weight.max(if of == Type::F32 { 0 } else { of.bytes() * lens.weight });
        }
        kept + scratch + weight
    }

    /// The vectors of a step's norm.
    pub fn norm(&self, step: usize) -> NormPlace<'_> {
        let buffer = self.of[step].norm.as_ref().expect("kept for every norm");
        let channels = buffer.len() / NORM_VECTORS;
        let vector = |i: usize| buffer.slice(i * channels..(i + 1) * channels);
        NormPlace {
            mean: vector(0),
            var: vector(1),
            inverse_std: vector(2),
            scale: vector(3),
            shift: vector(4),
            sum_gradient: vector(5),
            sum_gradient_x: vector(6),
        }
    }

    /// Where the maxima of a step's outputs were; none where no gradient needs it.
    pub fn argmax(&self, step: usize, len: usize) -> Option<Slice<'_>> {
        self.of[step].argmax.as_ref().map(|buffer| buffer.slice(0..len))
    }

    /// The factors of the images of a stochastic depth.
    pub fn image_factors(&self, step: usize, images: usize) -> Slice<'_> {
        self.of[step].image_factors.as_ref().expect("kept for every stochastic depth").slice(0..images)
    }

    /// The gradients of a step's table and of what padding holds.
    pub fn attention(&self, step: usize) -> Option<[Slice<'_>; 2]> {
        self.of[step].attention.as_ref().map(|buffers| [buffers[0].all(), buffers[1].all()])
    }

    /// Room for sums.
    pub fn scratch(&self) -> Slice<'_> {
        self.scratch.all()
    }

    /// Room for a convolution's gradient in another type than f32.
    pub fn weight(&self, len: usize) -> Option<Slice<'_>> {
        self.weight.as_ref().map(|buffer| buffer.slice(0..len))
    }
}
