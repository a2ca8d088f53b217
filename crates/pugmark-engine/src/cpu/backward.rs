//! The backward pass of a machine.

use pugmark_kernels as kernels;
use pugmark_kernels::{Plane, ResidualGradient};

use super::machine::{Machine, saved_for_backward};
use super::program::{Kind, Step, ValueId};
use crate::Pass;

impl Machine {
    /// Gradients of every trained parameter from that of the logits; `dropout` is the forward pass's seed.
    pub fn backward(&mut self, logits_gradient: &[f32], dropout: u64) {
        let output = self.program.output;
        let Some(mut gradient) = self.memory.take_gradient(output) else { return };
        gradient[..logits_gradient.len()].copy_from_slice(logits_gradient);
        self.memory.put_gradient(output, Some(gradient));
        self.clock.start();
        let mut written = vec![false; self.program.values.len()];
        let mut again: Vec<bool> = self.memory.again_buffer.iter().map(Option::is_some).collect();
        for index in (0..self.program.steps.len()).rev() {
            let step = self.program.steps[index].clone();
            if self.program.is_trained(&step) {
                for id in [step.input, step.output].into_iter().filter(|&id| saved_for_backward(&step, id)) {
                    if std::mem::take(&mut again[id.0]) {
                        self.compute_again(id);
                    }
                }
                self.step_back(index, &step, dropout, &mut written);
            }
        }
    }

    /// Makes the output of a norm once more from its input.
    fn compute_again(&mut self, id: ValueId) {
        let Some(buffer) = self.memory.again_buffer[id.0] else { return };
        let Some(index) = self.program.steps.iter().position(|step| step.output == id) else { return };
        let Step { input, kind: Kind::Norm { relu, .. }, .. } = self.program.steps[index] else { return };
        let (xp, yp) = (self.program.values[input.0].plane, self.program.values[id.0].plane);
        let mut output = std::mem::take(&mut self.memory.buffers[buffer]);
        let x = &self.memory.saved(input)[..self.images * xp.len()];
        let y = &mut output[..self.images * yp.len()];
        let own = &self.workspaces[index].norm;
        kernels::scale_shift(self.images, x, xp, &own.scale, &own.shift, None, relu, y, yp);
        self.memory.buffers[buffer] = output;
        self.clock.lap(Some(index), Pass::Forward, self.images);
    }

    fn step_back(&mut self, index: usize, step: &Step, dropout: u64, written: &mut [bool]) {
        let images = self.images;
        let Some(dyp) = self.program.values[step.output.0].gradient else { return };
        let mut dx = self.memory.take_gradient(step.input).map(|buffer| Target {
            buffer,
            plane: self.program.values[step.input.0].gradient.unwrap_or(dyp),
            accumulate: std::mem::replace(&mut written[step.input.0], true),
        });
        let mut dr = step.residual.and_then(|id| {
            Some(Target {
                buffer: self.memory.take_gradient(id)?,
                plane: self.program.values[id.0].gradient?,
                accumulate: std::mem::replace(&mut written[id.0], true),
            })
        });
        self.gradients_of(index, step, dyp, dropout, dx.as_mut(), dr.as_mut(), images);
        // Without a gradient to hand on, convolution and linear layer end with their weights.
        let only_weights = dx.is_none() && matches!(step.kind, Kind::Conv { .. } | Kind::Linear { .. });
        if !only_weights {
            self.clock.lap(Some(index), Pass::BackwardData, images);
        }
        self.memory.put_gradient(step.input, dx.map(|t| t.buffer));
        if let Some(id) = step.residual {
            self.memory.put_gradient(id, dr.map(|t| t.buffer));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one step's tensors")]
    fn gradients_of(
        &mut self,
        index: usize,
        step: &Step,
        dyp: Plane,
        dropout: u64,
        dx: Option<&mut Target>,
        dr: Option<&mut Target>,
        images: usize,
    ) {
        let value = |id: ValueId| {
            let plane = self.program.values[id.0].plane;
            (&self.memory.saved(id)[..images * plane.len()], plane)
        };
        let Some(dy) = self.memory.gradient(step.output) else { return };
        let dy = &dy[..images * dyp.len()];
        let workspace = &mut self.workspaces[index];
        match &step.kind {
            Kind::Input => {}
            Kind::Conv { weight, bias, .. } => {
                let convolution = workspace.convolution.expect("made for every convolution");
                if self.parameters.is_trained(*weight) {
                    let gradient = &mut self.parameters.get_mut(*weight).gradient;
                    let scratch = &mut self.scratch;
                    convolution.backward_weight(images, value(step.input), (dy, dyp), gradient, scratch);
                }
                if let Some(bias) = bias.filter(|&bias| self.parameters.is_trained(bias)) {
                    kernels::channel_sum(images, dy, dyp, &mut self.parameters.get_mut(bias).gradient);
                }
                self.clock.lap(Some(index), Pass::BackwardWeight, images);
                if let Some(dx) = dx {
                    let (packed, scratch) = self.scratch.split_at_mut(convolution.packed_len_backward());
                    convolution.pack_backward(self.parameters.value(*weight), packed);
                    self.clock.lap(Some(index), Pass::Prepare, images);
                    let accumulate = dx.accumulate;
                    convolution.backward_data(
                        images,
                        (dy, dyp),
                        packed,
                        dx.parts(images),
                        accumulate,
                        scratch,
                    );
                }
            }
            Kind::Norm { norm, running, relu } => {
                let (x, xp) = value(step.input);
                let y = relu.then(|| value(step.output));
                let own = &mut workspace.norm;
                let (mean, inverse_std) = (&own.mean, &own.inverse_std);
                let (sum_g, sum_gx) = (&mut own.sum_gradient, &mut own.sum_gradient_x);
                kernels::batch_norm_backward_reduce(
                    images,
                    dy,
                    dyp,
                    y,
                    x,
                    xp,
                    mean,
                    inverse_std,
                    sum_g,
                    sum_gx,
                );
                if self.parameters.is_trained(norm.weight) {
                    self.parameters.get_mut(norm.weight).gradient.copy_from_slice(sum_gx);
                    self.parameters.get_mut(norm.bias).gradient.copy_from_slice(sum_g);
                }
                let gamma = self.parameters.value(norm.weight);
                if let Some(dx) = dx {
                    let residual = dr.map(|target| {
                        let accumulate = target.accumulate;
                        let (gradient, plane) = target.parts(images);
                        ResidualGradient { gradient, plane, accumulate }
                    });
                    dx.write(images, |dx, dxp| {
                        kernels::batch_norm_backward_apply(
                            images,
                            dy,
                            dyp,
                            y,
                            x,
                            xp,
                            mean,
                            inverse_std,
                            gamma,
                            sum_g,
                            sum_gx,
                            *running,
                            dx,
                            dxp,
                            residual,
                        );
                    });
                }
            }
            Kind::MaxPool(shape) => {
                if let Some(dx) = dx {
                    let yp = self.program.values[step.output.0].plane;
                    let argmax = &workspace.argmax[..images * yp.pixels() * yp.channels];
                    dx.write(images, |dx, dxp| {
                        kernels::max_pool_backward(shape, images, dy, dyp, argmax, dx, dxp);
                    });
                }
            }
            Kind::GlobalAvgPool => {
                if let Some(dx) = dx {
                    dx.write(images, |dx, dxp| kernels::global_avg_pool_backward(images, dy, dx, dxp));
                }
            }
            Kind::Linear { weight, bias } => {
                let (x, xp) = value(step.input);
                let (inputs, outputs) = (xp.channels, dyp.channels);
                if self.parameters.is_trained(*weight) {
                    let gradient = &mut self.parameters.get_mut(*weight).gradient;
                    kernels::linear_backward_weight(images, inputs, outputs, x, dy, gradient);
                    kernels::channel_sum(images, dy, dyp, &mut self.parameters.get_mut(*bias).gradient);
                }
                self.clock.lap(Some(index), Pass::BackwardWeight, images);
                if let Some(dx) = dx {
                    let weight = self.parameters.value(*weight);
                    dx.write(images, |dx, _| {
                        kernels::linear_backward_data(images, inputs, outputs, dy, weight, dx);
                    });
                }
            }
            Kind::Dropout { p } => {
                if let Some(dx) = dx {
                    let seed = self.dropout_seed(step, dropout);
                    dx.write(images, |dx, _| kernels::dropout(seed, *p, dy, dx));
                }
            }
            Kind::Relu => {
                if let Some(dx) = dx {
                    let (y, yp) = value(step.output);
                    let accumulate = dx.accumulate;
                    let (dx, dxp) = dx.parts(images);
                    kernels::relu_backward(images, dy, dyp, y, yp, dx, dxp, accumulate);
                }
            }
            Kind::Add { relu } => {
                let y = relu.then(|| value(step.output));
                for target in [dx, dr].into_iter().flatten() {
                    let accumulate = target.accumulate;
                    let (dx, dxp) = target.parts(images);
                    match (y, accumulate) {
                        (Some((y, yp)), _) => {
                            kernels::relu_backward(images, dy, dyp, y, yp, dx, dxp, accumulate)
                        }
                        (None, true) => kernels::accumulate(images, dy, dyp, dx, dxp),
                        (None, false) => kernels::copy_plane(images, dy, dyp, dx, dxp),
                    }
                }
            }
        }
    }
}

/// A gradient being written, lent out of the memory.
struct Target {
    buffer: Vec<f32>,
    plane: Plane,
    /// Another consumer of the value has written already.
    accumulate: bool,
}

impl Target {
    fn parts(&mut self, images: usize) -> (&mut [f32], Plane) {
        (&mut self.buffer[..images * self.plane.len()], self.plane)
    }

    /// Runs a kernel that can only overwrite; its result is added through a copy where another consumer was first.
    fn write(&mut self, images: usize, kernel: impl FnOnce(&mut [f32], Plane)) {
        let accumulate = self.accumulate;
        let (target, plane) = self.parts(images);
        if accumulate {
            let mut own = vec![0.0; target.len()];
            kernel(&mut own, plane);
            kernels::accumulate(images, &own, plane, target, plane);
        } else {
            kernel(target, plane);
        }
    }
}
