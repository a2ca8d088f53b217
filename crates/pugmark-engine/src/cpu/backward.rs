//! The backward pass of a machine.

use std::ops::Range;

use pugmark_kernels as kernels;
use pugmark_kernels::{Element, Factors, GradientTarget, Plane};

use super::convolution::Activation;
use super::machine::Machine;
use super::workspace::Workspaces;
use crate::Pass;
use crate::plan::saved_for_backward;
use crate::plan::{Kind, Step, ValueId};

impl<E: Activation> Machine<E> {
    /// Gradients of every trained parameter from that of the logits; `dropout` is the forward pass's seed.
    pub fn backward(&mut self, logits_gradient: &[f32], dropout: u64) {
        let output = self.program.output;
        let (Some(place), Some(plane)) =
            (self.memory.gradient(output), self.program.values[output.0].gradient)
        else {
            return;
        };
        let [gradient] = self.memory.parts([first_images(place, self.images, plane)]);
        kernels::copy_plane(self.images, logits_gradient, plane, gradient, plane);
        self.clock.start();
        let values = self.program.values.len();
        let mut written = vec![false; values];
        let mut again: Vec<bool> = (0..values).map(|id| self.memory.is_computed_again(ValueId(id))).collect();
        for index in (0..self.program.steps.len()).rev() {
            let step = self.program.steps[index].clone();
            if self.program.is_trained(&step) {
                for id in [Some(step.input), step.residual, Some(step.output)]
                    .into_iter()
                    .flatten()
                    .filter(|&id| saved_for_backward(&step, id))
                {
                    if std::mem::take(&mut again[id.0]) {
                        self.compute_again(id);
                    }
                }
                self.step_back(index, &step, logits_gradient, dropout, &mut written);
            }
        }
        self.add_padding_gradients();
    }

    /// A bias that padding holds gets a share of its gradient from there; that of its linear layer is there by now.
    fn add_padding_gradients(&mut self) {
        for (step, workspace) in self.program.steps.iter().zip(&self.workspaces.of) {
            let Kind::Attention { padding, .. } = step.kind else { continue };
            let [_, own] = &workspace.attention;
            for (sum, own) in self.parameters.get_mut(padding).gradient.iter_mut().zip(own) {
                *sum += own;
            }
        }
    }

    /// Makes the output of a norm or activation once more from its input.
    fn compute_again(&mut self, id: ValueId) {
        let Some(index) = self.program.steps.iter().position(|step| step.output == id) else { return };
        let Step { input, ref kind, .. } = self.program.steps[index];
        let (xp, yp) = (self.program.values[input.0].plane, self.program.values[id.0].plane);
        let images = self.images;
        let [y, x] = self.memory.parts([
            first_images(self.memory.saved(id), images, yp),
            first_images(self.memory.saved(input), images, xp),
        ]);
        match *kind {
            Kind::Norm { relu, .. } => {
                let own = &self.workspaces.of[index].norm;
                kernels::scale_shift(images, x, xp, &own.scale, &own.shift, None, relu, y, yp);
            }
            Kind::LayerNorm { weight, bias, eps } => {
                let (gamma, beta) = (self.parameters.value(weight), self.parameters.value(bias));
                kernels::layer_norm_forward(images, x, xp, gamma, beta, eps, y, yp);
            }
            Kind::Gelu => kernels::gelu_forward(images, x, xp, y, yp),
            Kind::Silu => kernels::silu_forward(images, x, xp, y, yp),
            _ => unreachable!("nothing else is cheap"),
        }
        self.clock.lap(Some(index), Pass::Forward, images);
    }

    fn step_back(
        &mut self,
        index: usize,
        step: &Step,
        logits_gradient: &[f32],
        dropout: u64,
        written: &mut [bool],
    ) {
        let images = self.images;
        let seed = self.dropout_seed(step, dropout);
        let value = |id: ValueId| &self.program.values[id.0];
        let Some(dyp) = value(step.output).gradient else { return };
        let (xp, yp) = (value(step.input).plane, value(step.output).plane);
        let saved = |id: ValueId| {
            let needed = saved_for_backward(step, id);
            if needed { first_images(self.memory.saved(id), images, value(id).plane) } else { 0..0 }
        };
        let target = |id: ValueId| value(id).gradient.map(|plane| (id, plane));
        let (dxp, drp) = (target(step.input), step.residual.and_then(target));
        let place = |id: ValueId, plane| {
            self.memory.gradient(id).map_or(0..0, |place| first_images(place, images, plane))
        };
        let place_of = |target: Option<(ValueId, Plane)>| target.map_or(0..0, |(id, plane)| place(id, plane));
        let residual = step.residual.map_or(0..0, saved);
        let places = [
            place(step.output, dyp),
            saved(step.input),
            saved(step.output),
            residual,
            place_of(dxp),
            place_of(drp),
        ];
        let [dy, x, y, residual, dx, dr] = self.memory.parts(places);
        let (dy, x, y, residual) = (&*dy, &*x, &*y, &*residual);
        let mut into = |gradient, target: Option<(ValueId, Plane)>| {
            let (id, plane) = target?;
            Some(GradientTarget { gradient, plane, accumulate: std::mem::replace(&mut written[id.0], true) })
        };
        let (dx, dr) = (into(dx, dxp), into(dr, drp));
        let Workspaces { of, packed, scratch, .. } = &mut self.workspaces;
        let workspace = &mut of[index];
        match &step.kind {
            Kind::Input | Kind::Features => {}
            Kind::Conv { weight, bias, .. } => {
                let convolution = workspace.convolution.expect("made for every convolution");
                if self.parameters.is_trained(*weight) {
                    let gradient = &mut self.parameters.get_mut(*weight).gradient;
                    E::backward_weight(&convolution, images, (x, xp), (dy, dyp), gradient, scratch);
                }
                if let Some(bias) = bias.filter(|&bias| self.parameters.is_trained(bias)) {
                    kernels::channel_sum(images, dy, dyp, &mut self.parameters.get_mut(bias).gradient);
                }
                self.clock.lap(Some(index), Pass::BackwardWeight, images);
                if let Some(dx) = dx {
                    let packed = &mut packed[..convolution.packed_len_backward::<E>()];
                    E::pack_backward(&convolution, self.parameters.value(*weight), packed);
                    self.clock.lap(Some(index), Pass::Prepare, images);
                    let accumulate = dx.accumulate;
                    let dx = (&mut *dx.gradient, dx.plane);
                    E::backward_data(&convolution, images, (dy, dyp), packed, dx, accumulate, scratch);
                }
            }
            Kind::Depthwise { shape, weight, bias } => {
                if self.parameters.is_trained(*weight) {
                    let gradient = &mut self.parameters.get_mut(*weight).gradient;
                    kernels::depthwise_backward_weight(shape, images, x, xp, dy, dyp, gradient);
                }
                if let Some(bias) = bias.filter(|&bias| self.parameters.is_trained(bias)) {
                    kernels::channel_sum(images, dy, dyp, &mut self.parameters.get_mut(bias).gradient);
                }
                self.clock.lap(Some(index), Pass::BackwardWeight, images);
                if let Some(dx) = dx {
                    let packed = &mut scratch[..shape.packed_len()];
                    kernels::depthwise_pack_backward(shape, self.parameters.value(*weight), packed);
                    kernels::depthwise_backward_data(shape, images, dy, dyp, packed, dx);
                }
            }
            Kind::Norm { norm, running, relu } => {
                let y = relu.then_some((y, yp));
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
                    write(dx, images, |dx, dxp| {
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
                            dr,
                        );
                    });
                }
            }
            Kind::LayerNorm { weight, bias, eps } => {
                let own = &mut workspace.norm;
                let (dgamma, dbeta) = (&mut own.sum_gradient_x, &mut own.sum_gradient);
                let gamma = self.parameters.value(*weight);
                kernels::layer_norm_backward(images, dy, dyp, x, xp, gamma, *eps, dx, dgamma, dbeta);
                if self.parameters.is_trained(*weight) {
                    self.parameters.get_mut(*weight).gradient.copy_from_slice(dgamma);
                    self.parameters.get_mut(*bias).gradient.copy_from_slice(dbeta);
                }
            }
            Kind::Scale { layer_scale, stochastic_depth } => {
                let image_factors = stochastic_depth.map(|_| &workspace.image_factors[..images]);
                if let Some(weight) = layer_scale.filter(|&weight| self.parameters.is_trained(weight)) {
                    let gradient = &mut self.parameters.get_mut(weight).gradient;
                    kernels::scale_backward_channels(images, dy, dyp, x, xp, image_factors, gradient);
                }
                if let Some(dx) = dx {
                    let channels = layer_scale.map(|weight| self.parameters.value(weight));
                    kernels::scale_backward(
                        images,
                        dy,
                        dyp,
                        &Factors { channels, images: image_factors },
                        dx,
                    );
                }
                if let Some(GradientTarget { gradient: dr, plane: drp, accumulate }) = dr {
                    match accumulate {
                        true => kernels::accumulate(images, dy, dyp, dr, drp),
                        false => kernels::copy_plane(images, dy, dyp, dr, drp),
                    }
                }
            }
            Kind::Attention { attention, table, padding } => {
                let [dtable, dpadding] = &mut workspace.attention;
                let parameters = &mut self.parameters;
                if let Some(dx) = dx {
                    let (table, padding) = (parameters.value(*table), parameters.value(*padding));
                    write(dx, images, |dx, dxp| {
                        kernels::window_attention_backward(
                            attention, images, dy, dyp, x, xp, padding, table, dx, dxp, dpadding, dtable,
                        );
                    });
                }
                if parameters.is_trained(*table) {
                    parameters.get_mut(*table).gradient.copy_from_slice(dtable);
                }
            }
            Kind::MergePatches => {
                if let Some(dx) = dx {
                    write(dx, images, |dx, dxp| kernels::merge_patches_backward(images, dy, dyp, dx, dxp));
                }
            }
            Kind::MaxPool(shape) => {
                if let Some(dx) = dx {
                    let argmax = &workspace.argmax[..images * yp.pixels() * yp.channels];
                    write(dx, images, |dx, dxp| {
                        kernels::max_pool_backward(shape, images, dy, dyp, argmax, dx, dxp);
                    });
                }
            }
            Kind::GlobalAvgPool => {
                if let Some(dx) = dx {
                    write(dx, images, |dx, dxp| kernels::global_avg_pool_backward(images, dy, dx, dxp));
                }
            }
            Kind::Linear { weight, bias } => {
                let (inputs, outputs) = (xp.channels, dyp.channels);
                let (own_x, rest) = scratch.split_at_mut(images * inputs);
                let (own_dx, rest) = rest.split_at_mut(images * inputs);
                let (own_dy, rest) = rest.split_at_mut(images * outputs);
                kernels::copy_plane(images, x, xp, own_x, xp);
                if step.output == self.program.output {
                    own_dy.copy_from_slice(logits_gradient);
                } else {
                    kernels::copy_plane(images, dy, dyp, own_dy, dyp);
                }
                if self.parameters.is_trained(*weight) {
                    let gradient = &mut self.parameters.get_mut(*weight).gradient;
                    kernels::linear_backward_weight(images, inputs, outputs, own_x, own_dy, gradient);
                }
                if let Some(bias) = bias.filter(|&bias| self.parameters.is_trained(bias)) {
                    kernels::channel_sum(images, own_dy, dyp, &mut self.parameters.get_mut(bias).gradient);
                }
                self.clock.lap(Some(index), Pass::BackwardWeight, images);
                if let Some(dx) = dx {
                    let packed = &mut rest[..kernels::linear_packed_len_backward(inputs, outputs)];
                    kernels::linear_pack_backward(inputs, outputs, self.parameters.value(*weight), packed);
                    kernels::linear_backward_data(images, inputs, outputs, own_dy, packed, own_dx);
                    write(dx, images, |dx, dxp| kernels::copy_plane(images, own_dx, dxp, dx, dxp));
                }
            }
            Kind::Dropout { p } => {
                if let Some(dx) = dx {
                    write(dx, images, |dx, _| kernels::dropout(seed, *p, dy, dx));
                }
            }
            Kind::Relu => {
                if let Some(GradientTarget { gradient: dx, plane: dxp, accumulate }) = dx {
                    kernels::relu_backward(images, dy, dyp, y, yp, dx, dxp, accumulate);
                }
            }
            Kind::Gelu => {
                if let Some(GradientTarget { gradient: dx, plane: dxp, accumulate }) = dx {
                    kernels::gelu_backward(images, dy, dyp, x, xp, dx, dxp, accumulate);
                }
            }
            Kind::Silu => {
                if let Some(GradientTarget { gradient: dx, plane: dxp, accumulate }) = dx {
                    kernels::silu_backward(images, dy, dyp, x, xp, dx, dxp, accumulate);
                }
            }
            Kind::Sigmoid => {
                if let Some(GradientTarget { gradient: dx, plane: dxp, accumulate }) = dx {
                    kernels::sigmoid_backward(images, dy, dyp, x, xp, dx, dxp, accumulate);
                }
            }
            Kind::Gate => {
                if let Some(dx) = dx {
                    write(dx, images, |dx, dxp| kernels::gate_forward(images, dy, dyp, residual, dx, dxp));
                }
                if let Some(dr) = dr {
                    write(dr, images, |dr, _| kernels::gate_backward(images, dy, dyp, x, xp, dr));
                }
            }
            Kind::Add { relu } => {
                for GradientTarget { gradient: dx, plane: dxp, accumulate } in [dx, dr].into_iter().flatten()
                {
                    match (relu, accumulate) {
                        (true, _) => kernels::relu_backward(images, dy, dyp, y, yp, dx, dxp, accumulate),
                        (false, true) => kernels::accumulate(images, dy, dyp, dx, dxp),
                        (false, false) => kernels::copy_plane(images, dy, dyp, dx, dxp),
                    }
                }
            }
        }
        // Without a gradient to hand on, what has weights ends with them.
        if dxp.is_some() || !step.has_weights() {
            self.clock.lap(Some(index), Pass::BackwardData, images);
        }
    }
}

/// Runs a kernel that can only overwrite; its result is added through a copy where another consumer of the value was first.
fn write<E: Element>(target: GradientTarget<'_, E>, images: usize, kernel: impl FnOnce(&mut [E], Plane)) {
    let GradientTarget { gradient, plane, accumulate } = target;
    if accumulate {
        let mut own = vec![E::default(); gradient.len()];
        kernel(&mut own, plane);
        kernels::accumulate(images, &own, plane, gradient, plane);
    } else {
        kernel(gradient, plane);
    }
}

/// The place of some images of a tensor.
fn first_images(place: Range<usize>, images: usize, plane: Plane) -> Range<usize> {
    place.start..place.start + images * plane.len()
}
