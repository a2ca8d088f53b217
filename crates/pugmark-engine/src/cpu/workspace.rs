//! What the steps of a program keep beside their tensors.

use pugmark_kernels as kernels;
use pugmark_kernels::ChannelStats;

use super::convolution::{Activation, Convolution};
use super::parameters::Parameters;
use crate::Pass;
use crate::plan::Stages;
use crate::plan::{Kind, Norm, Program};

/// What a step keeps beside its tensors.
#[derive(Debug)]
pub(super) struct Workspace<E> {
    /// The way a convolution is computed.
    pub convolution: Option<Convolution>,
    /// Weights as the forward kernel reads them; empty where they are trained, for then they serve once.
    pub packed: Vec<E>,
    /// Those of a linear layer or depthwise convolution, which are f32 whatever the activations are.
    pub packed_f32: Vec<f32>,
    /// Bias of a convolution with its folded norm.
    pub bias: Vec<f32>,
    /// Sums of a convolution's output or a norm's input.
    pub stats: Option<ChannelStats>,
    /// Statistics of the batch and the scale and shift made of them.
    pub norm: NormWorkspace,
    /// Where each maximum was.
    pub argmax: Vec<u8>,
    /// Gradients of an attention's table and, as padding held it, of the linear layer's bias.
    pub attention: [Vec<f32>; 2],
    /// Of a stochastic depth in the last training step.
    pub image_factors: Vec<f32>,
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

/// What all steps of a program keep, and what a kernel needs while it runs.
#[derive(Debug)]
pub(super) struct Workspaces<E> {
    pub of: Vec<Workspace<E>>,
    /// For a norm over the batch: the convolution that summed its input on the way.
    pub summed_by: Vec<Option<usize>>,
    /// Packed weights that serve once.
    pub packed: Vec<E>,
    pub scratch: Vec<f32>,
}

impl<E: Activation> Workspaces<E> {
    /// With `winograd`, convolutions are Winograd's where that is faster.
    pub fn new(program: &Program, parameters: &Parameters, stages: &Stages, winograd: bool) -> Self {
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
        let mut own = Self { of: Vec::new(), summed_by, packed: Vec::new(), scratch: Vec::new() };
        let (mut packed, mut scratch) = (0, 0);
        for index in 0..program.steps.len() {
            let workspace = own.workspace(program, parameters, stages, index, winograd);
            let (own_packed, own_scratch) = shared_len::<E>(program, workspace.convolution, stages, index);
            (packed, scratch) = (packed.max(own_packed), scratch.max(own_scratch));
            own.of.push(workspace);
        }
        own.packed = vec![E::default(); packed];
        own.scratch = vec![0.0; scratch];
        own
    }

    /// Bytes that workspaces take; the few values a channel are not counted.
    pub fn bytes(program: &Program, stages: &Stages, winograd: bool) -> usize {
        let (mut kept, mut packed, mut scratch) = (0, 0, 0);
        for (index, step) in program.steps.iter().enumerate() {
            let output = program.values[step.output.0].plane;
            let convolution = match &step.kind {
                Kind::Conv { shape, .. } => {
                    Some(Convolution::new::<E>(*shape, winograd, output, program.is_trained(step)))
                }
                _ => None,
            };
            kept += match (&step.kind, convolution) {
                (_, Some(convolution)) if !program.is_trained(step) => {
                    convolution.packed_len::<E>() * size_of::<E>()
                }
                (Kind::MaxPool(_), _) if program.is_trained(step) => {
                    stages.images * output.pixels() * output.channels
                }
                (Kind::Depthwise { shape, .. }, _) if !program.is_trained(step) => {
                    shape.packed_len() * size_of::<f32>()
                }
                (Kind::Linear { .. }, _) if !program.is_trained(step) => {
                    let inputs = program.values[step.input.0].plane.channels;
                    kernels::linear_packed_len_forward(inputs, output.channels) * size_of::<f32>()
                }
                _ => 0,
            };
            let (own_packed, own_scratch) = shared_len::<E>(program, convolution, stages, index);
            (packed, scratch) = (packed.max(own_packed), scratch.max(own_scratch));
        }
        kept + packed * size_of::<E>() + scratch * size_of::<f32>()
    }

    fn workspace(
        &self,
        program: &Program,
        parameters: &Parameters,
        stages: &Stages,
        index: usize,
        winograd: bool,
    ) -> Workspace<E> {
        let step = &program.steps[index];
        let (input, output) = (program.values[step.input.0].plane, program.values[step.output.0].plane);
        let trained = program.is_trained(step);
        let mut own = Workspace {
            convolution: None,
            packed: Vec::new(),
            packed_f32: Vec::new(),
            bias: Vec::new(),
            stats: None,
            norm: NormWorkspace::default(),
            argmax: Vec::new(),
            attention: [Vec::new(), Vec::new()],
            image_factors: Vec::new(),
        };
        match &step.kind {
            Kind::Conv { shape, bias, folded, .. } => {
                let convolution = Convolution::new::<E>(*shape, winograd, output, trained);
                own.convolution = Some(convolution);
                if !trained {
                    own.packed = vec![E::default(); convolution.packed_len::<E>()];
                }
                if bias.is_some() || folded.is_some() {
                    own.bias = vec![0.0; shape.out_channels];
                }
                if self.summed_by.contains(&Some(index)) {
                    own.stats = Some(ChannelStats::new(shape.out_channels));
                }
            }
            Kind::Norm { norm, running, .. } => {
                let channels = parameters.value(norm.weight).len();
                if !running && self.summed_by[index].is_none() {
                    own.stats = Some(ChannelStats::new(channels));
                }
                own.norm = NormWorkspace::new(channels);
            }
            Kind::LayerNorm { weight, .. } if trained => {
                own.norm = NormWorkspace::new(parameters.value(*weight).len());
            }
            Kind::Scale { stochastic_depth: Some(_), .. } => own.image_factors = vec![1.0; stages.images],
            Kind::Attention { table, padding, .. } if trained => {
                own.attention = [*table, *padding].map(|id| vec![0.0; parameters.value(id).len()]);
            }
            Kind::MaxPool(_) if trained => {
                own.argmax = vec![0; stages.images * output.pixels() * output.channels];
            }
            Kind::Depthwise { shape, .. } if !trained => own.packed_f32 = vec![0.0; shape.packed_len()],
            Kind::Linear { .. } if !trained => {
                let len = kernels::linear_packed_len_forward(input.channels, output.channels);
                own.packed_f32 = vec![0.0; len];
            }
            _ => {}
        }
        own
    }
}

/// Values of packed weights and of scratch that a step needs while it runs.
fn shared_len<E: Activation>(
    program: &Program,
    convolution: Option<Convolution>,
    stages: &Stages,
    index: usize,
) -> (usize, usize) {
    let step = &program.steps[index];
    let (input, output) = (&program.values[step.input.0], &program.values[step.output.0]);
    let images = stages.room(step.output.0);
    let trained = program.is_trained(step);
    match (&step.kind, convolution) {
        (_, Some(convolution)) => {
            let forward = convolution.scratch_len::<E>(images, output.plane);
            let Some(gradient) = output.gradient.filter(|_| trained) else { return (0, forward) };
            let weight = convolution.weight_scratch_len::<E>(images, input.plane, gradient);
            let packed = convolution.packed_len::<E>().max(convolution.packed_len_backward::<E>());
            (packed, forward.max(weight))
        }
        (Kind::Depthwise { shape, .. }, _) => (0, if trained { shape.packed_len() } else { 0 }),
        (Kind::Linear { .. }, _) => {
            let (inputs, outputs) = (input.plane.channels, output.plane.channels);
            let packed = kernels::linear_packed_len_forward(inputs, outputs)
                .max(kernels::linear_packed_len_backward(inputs, outputs));
            (0, images * (2 * inputs + outputs) + if trained { packed } else { 0 })
        }
        _ => (0, 0),
    }
}

impl<E: Activation> Workspace<E> {
    /// Packs what the forward kernels read from parameters that are not trained, and all biases.
    pub fn prepare(&mut self, kind: &Kind, parameters: &Parameters) -> Option<Pass> {
        match (kind, self.convolution) {
            (Kind::Conv { shape, weight, bias, folded, .. }, Some(convolution)) => {
                match bias {
                    Some(bias) => self.bias.copy_from_slice(parameters.value(*bias)),
                    None => self.bias.fill(0.0),
                }
                if self.packed.is_empty() {
                    return None;
                }
                let values = parameters.value(*weight);
                let Some(norm) = folded else {
                    E::pack(&convolution, values, &mut self.packed);
                    return Some(Pass::Prepare);
                };
                let scale = running_scale(parameters, norm);
                let mean = parameters.value(norm.running_mean);
                let shift = parameters.value(norm.bias);
                for (channel, bias) in self.bias.iter_mut().enumerate() {
                    *bias = (*bias - mean[channel]) * scale[channel] + shift[channel];
                }
                let weights: Vec<f32> = values
                    .chunks_exact(shape.out_channels)
                    .flat_map(|row| row.iter().zip(&scale).map(|(w, s)| w * s))
                    .collect();
                E::pack(&convolution, &weights, &mut self.packed);
                Some(Pass::Prepare)
            }
            (Kind::Depthwise { shape, weight, .. }, _) if !self.packed_f32.is_empty() => {
                kernels::depthwise_pack(shape, parameters.value(*weight), &mut self.packed_f32);
                Some(Pass::Prepare)
            }
            (Kind::Linear { weight, .. }, _) if !self.packed_f32.is_empty() => {
                let (inputs, outputs) = parameters.linear_features(*weight).expect("a linear layer's weight");
                kernels::linear_pack_forward(
                    inputs,
                    outputs,
                    parameters.value(*weight),
                    &mut self.packed_f32,
                );
                Some(Pass::Prepare)
            }
            _ => None,
        }
    }
}

fn running_scale(parameters: &Parameters, norm: &Norm) -> Vec<f32> {
    let gamma = parameters.value(norm.weight);
    let var = parameters.value(norm.running_var);
    gamma.iter().zip(var).map(|(g, v)| g / (v + norm.eps).sqrt()).collect()
}

#[cfg(test)]
mod tests {
    use pugmark_graph::{Architecture, ParamId};
    use pugmark_kernels::Bf16;

    use super::*;

    fn check<E: Activation>(architecture: Architecture) {
        let graph = architecture.graph(3);
        let tensors = graph.initialise(0);
        for (everything, images) in [(true, 1), (true, 5), (false, 20)] {
            let trained = |id: ParamId| everything && graph.param(id).role.is_trained();
            let program = Program::new(&graph, (40, 40), &trained, false, &[]).unwrap().with_borders();
            let parameters = Parameters::new(&graph, &tensors, &trained, 0).unwrap();
            let stages = match everything {
                true => Stages::together(&program, images),
                false => Stages::inference(&program, images),
            };
            let made = Workspaces::<E>::new(&program, &parameters, &stages, true);
            let elements = made.packed.len() + made.of.iter().map(|own| own.packed.len()).sum::<usize>();
            let floats = made.scratch.len() + made.of.iter().map(|own| own.packed_f32.len()).sum::<usize>();
            let bytes: usize = made.of.iter().map(|own| own.argmax.len()).sum();
            assert_eq!(
                Workspaces::<E>::bytes(&program, &stages, true),
                elements * size_of::<E>() + floats * size_of::<f32>() + bytes,
                "{architecture}"
            );
        }
    }

    #[test]
    fn the_bytes_announced_are_those_taken() {
        for architecture in [
            Architecture::ResNet18,
            Architecture::ConvNextTiny,
            Architecture::SwinT,
            Architecture::EfficientNetB0,
        ] {
            check::<f32>(architecture);
            check::<Bf16>(architecture);
        }
    }
}
