//! The backward pass of a machine.

use pugmark_cuda::{
    ConvolutionPass, Matmul, Slice, Window, accumulate, batch_norm_backward_apply,
    batch_norm_backward_reduce, channel_sum, convert, copy, depthwise_backward_data,
    depthwise_backward_weight, dropout, gate_backward, gate_forward, gelu_backward, gelu_forward,
    global_avg_pool_backward, layer_norm_backward, layer_norm_forward, matmul, max_pool_backward,
    merge_patches_backward, relu_backward, scale_backward, scale_backward_channels, scale_shift,
    sigmoid_backward, silu_backward, silu_forward, window_attention_backward,
};
use pugmark_graph::ParamId;
use pugmark_kernels::ConvShape;

use super::machine::{After, Machine, is_product};
use crate::plan::{Kind, Step, ValueId, saved_for_backward};
use crate::{EngineError, Pass};

/// Where a gradient goes, and whether it is added there.
type Target<'a> = Option<(Slice<'a>, bool)>;

impl Machine {
    /// Gradients of every trained parameter from that of the logits, f32; `dropout` is the forward pass's seed.
    pub fn backward(
        &self,
        logits_gradient: Slice<'_>,
        dropout: u64,
        after: After<'_>,
    ) -> Result<(), EngineError> {
        let Some(gradient) = self.gradient(self.program.output) else { return Ok(()) };
        convert(logits_gradient, gradient)?;
        let values = self.program.values.len();
        let mut written = vec![false; values];
        let mut again: Vec<bool> = (0..values).map(|id| self.is_computed_again(ValueId(id))).collect();
        for (index, step) in self.program.steps.iter().enumerate().rev() {
            if self.program.is_trained(step) {
                for id in [Some(step.input), step.residual, Some(step.output)]
                    .into_iter()
                    .flatten()
                    .filter(|&id| saved_for_backward(step, id))
                {
                    if std::mem::take(&mut again[id.0]) {
                        self.compute_again(id)?;
                    }
                }
                self.step_back(index, step, dropout, &mut written, after)?;
            }
        }
        self.add_padding_gradients()
    }

    /// A bias that padding holds gets a share of its gradient from there; that of its linear layer is there by now.
    fn add_padding_gradients(&self) -> Result<(), EngineError> {
        for (index, step) in self.program.steps.iter().enumerate() {
            let Kind::Attention { padding, .. } = step.kind else { continue };
            if let (Some([_, own]), Some(sum)) =
                (self.workspaces.attention(index), self.parameters.gradient(padding))
            {
                accumulate(own, sum)?;
            }
        }
        Ok(())
    }

    /// Makes the output of a norm or activation once more from its input.
    fn compute_again(&self, id: ValueId) -> Result<(), EngineError> {
        let Some(index) = self.program.steps.iter().position(|step| step.output == id) else { return Ok(()) };
        let step = &self.program.steps[index];
        let (x, y) = (self.saved(step.input), self.saved(id));
        let value = |id: ParamId| self.parameters.value(id);
        Ok(match step.kind {
            Kind::Norm { relu, .. } => {
                let own = self.workspaces.norm(index);
                scale_shift(x, own.scale, own.shift, None, relu, y)
            }
            Kind::LayerNorm { weight, bias, eps } => {
                layer_norm_forward(x, self.plane(id).channels, value(weight), value(bias), eps, y)
            }
            Kind::Gelu => gelu_forward(x, y),
            Kind::Silu => silu_forward(x, y),
            _ => unreachable!("nothing else is cheap"),
        }?)
    }

    fn step_back(
        &self,
        index: usize,
        step: &Step,
        seed: u64,
        written: &mut [bool],
        after: After<'_>,
    ) -> Result<(), EngineError> {
        let Some(dy) = self.gradient(step.output) else { return Ok(()) };
        let mut into = |id: ValueId| -> Target<'_> {
            let gradient = self.gradient(id)?;
            Some((gradient, std::mem::replace(&mut written[id.0], true)))
        };
        let (dx, dr) = (into(step.input), step.residual.and_then(&mut into));
        let (x, y) = (self.saved(step.input), self.saved(step.output));
        let (of_x, channels) = (self.picture(step.input), self.plane(step.output).channels);
        let scratch = self.workspaces.scratch();
        let gradient_of = |id: ParamId| self.parameters.gradient(id);
        match &step.kind {
            Kind::Input | Kind::Features => {}
            Kind::Conv { shape, weight, bias, .. } => {
                self.weight_gradient(shape, step, *weight, x, dy)?;
                self.bias_gradient(*bias, dy, channels)?;
                after(self, index, Pass::BackwardWeight)?;
                if let Some((dx, add)) = dx {
                    let w = self.parameters.weight(*weight);
                    self.product(ConvolutionPass::BackwardData, shape, step, [dx, w, dy], add)?;
                }
            }
            Kind::Depthwise { shape, weight, bias } => {
                let window = Window { kernel: shape.kernel, stride: shape.stride, padding: shape.padding };
                if let Some(dw) = gradient_of(*weight) {
                    depthwise_backward_weight(&of_x, &window, x, dy, scratch, dw)?;
                }
                self.bias_gradient(*bias, dy, channels)?;
                after(self, index, Pass::BackwardWeight)?;
                if let Some((dx, add)) = dx {
                    depthwise_backward_data(&of_x, &window, dy, self.parameters.value(*weight), dx, add)?;
                }
            }
            Kind::Norm { norm, running, relu } => {
                let own = self.workspaces.norm(index);
                let y = relu.then_some(y);
                let (sum_g, sum_gx) = (own.sum_gradient, own.sum_gradient_x);
                batch_norm_backward_reduce(dy, y, x, own.mean, own.inverse_std, scratch, sum_g, sum_gx)?;
                if let (Some(dgamma), Some(dbeta)) = (gradient_of(norm.weight), gradient_of(norm.bias)) {
                    copy(sum_gx, dgamma)?;
                    copy(sum_g, dbeta)?;
                }
                let gamma = self.parameters.value(norm.weight);
                batch_norm_backward_apply(
                    dy,
                    y,
                    x,
                    own.mean,
                    own.inverse_std,
                    gamma,
                    sum_g,
                    sum_gx,
                    *running,
                    dx,
                    dr,
                )?;
            }
            Kind::LayerNorm { weight, bias, eps } => {
                let own = self.workspaces.norm(index);
                let (dgamma, dbeta) = (own.sum_gradient_x, own.sum_gradient);
                let gamma = self.parameters.value(*weight);
                layer_norm_backward(dy, x, channels, gamma, *eps, dx, scratch, dgamma, dbeta)?;
                if let (Some(to_gamma), Some(to_beta)) = (gradient_of(*weight), gradient_of(*bias)) {
                    copy(dgamma, to_gamma)?;
                    copy(dbeta, to_beta)?;
                }
            }
            Kind::Scale { layer_scale, stochastic_depth } => {
                let images = stochastic_depth.map(|_| self.workspaces.image_factors(index, self.images));
                if let Some(dw) = layer_scale.and_then(gradient_of) {
                    scale_backward_channels(&of_x, dy, x, images, scratch, dw)?;
                }
                if let Some((dx, add)) = dx {
                    let factors = layer_scale.map(|weight| self.parameters.value(weight));
                    scale_backward(&of_x, dy, factors, images, dx, add)?;
                }
                hand_on(dy, dr)?;
            }
            Kind::Attention { attention, table, padding } => {
                let of = self.attention(step, attention);
                if let (Some(dx), Some([dtable, dpadding])) = (dx, self.workspaces.attention(index)) {
                    let (held, biases) = (self.parameters.value(*padding), self.parameters.value(*table));
                    window_attention_backward(&of, dy, x, held, biases, dx, scratch, dpadding, dtable)?;
                    if let Some(to) = gradient_of(*table) {
                        copy(dtable, to)?;
                    }
                }
            }
            Kind::MergePatches => {
                if let Some((dx, add)) = dx {
                    merge_patches_backward(&of_x, dy, dx, add)?;
                }
            }
            Kind::MaxPool(shape) => {
                let window = Window { kernel: shape.kernel, stride: shape.stride, padding: shape.padding };
                if let (Some((dx, add)), Some(argmax)) = (dx, self.workspaces.argmax(index, dy.len())) {
                    max_pool_backward(&of_x, &window, dy, argmax, dx, add)?;
                }
            }
            Kind::GlobalAvgPool => {
                if let Some((dx, add)) = dx {
                    global_avg_pool_backward(&of_x, dy, dx, add)?;
                }
            }
            Kind::Linear { weight, bias } => {
                let (images, inputs) = (self.images, of_x.channels);
                if let Some(dw) = gradient_of(*weight) {
                    let shape = Matmul { m: channels, n: inputs, k: images, turn_a: true, turn_b: false };
                    matmul(&shape, dy, x, dw, false)?;
                }
                self.bias_gradient(*bias, dy, channels)?;
                after(self, index, Pass::BackwardWeight)?;
                if let Some((dx, add)) = dx {
                    let shape = Matmul { m: images, n: inputs, k: channels, turn_a: false, turn_b: false };
                    matmul(&shape, dy, self.parameters.weight(*weight), dx, add)?;
                }
            }
            Kind::Dropout { p } => {
                if let Some((dx, add)) = dx {
                    dropout(self.seed_of(step, seed), *p, dy, dx, add)?;
                }
            }
            Kind::Relu => {
                if let Some((dx, add)) = dx {
                    relu_backward(dy, y, dx, add)?;
                }
            }
            Kind::Gelu => {
                if let Some((dx, add)) = dx {
                    gelu_backward(dy, x, dx, add)?;
                }
            }
            Kind::Silu => {
                if let Some((dx, add)) = dx {
                    silu_backward(dy, x, dx, add)?;
                }
            }
            Kind::Sigmoid => {
                if let Some((dx, add)) = dx {
                    sigmoid_backward(dy, x, dx, add)?;
                }
            }
            Kind::Gate => {
                if let (Some((dx, add)), Some(gate)) = (dx, step.residual.map(|id| self.saved(id))) {
                    gate_forward(&of_x, dy, gate, dx, add)?;
                }
                if let Some((dr, add)) = dr {
                    gate_backward(&of_x, dy, x, dr, add)?;
                }
            }
            Kind::Add { relu } => {
                for target in [dx, dr] {
                    match target {
                        Some((to, add)) if *relu => relu_backward(dy, y, to, add)?,
                        target => hand_on(dy, target)?,
                    }
                }
            }
        }
        // Without a gradient to hand on, what has weights ends with them.
        match dx.is_some() || !step.has_weights() {
            true => after(self, index, Pass::BackwardData),
            false => Ok(()),
        }
    }

    fn weight_gradient(
        &self,
        shape: &ConvShape,
        step: &Step,
        weight: ParamId,
        x: Slice<'_>,
        dy: Slice<'_>,
    ) -> Result<(), EngineError> {
        let Some(dw) = self.parameters.gradient(weight) else { return Ok(()) };
        let pass = ConvolutionPass::BackwardWeight;
        // A product of matrices is f32 at once.
        let own = if is_product(shape) { None } else { self.workspaces.weight(dw.len()) };
        match own {
            Some(own) => {
                self.product(pass, shape, step, [x, own, dy], false)?;
                Ok(convert(own, dw)?)
            }
            None => self.product(pass, shape, step, [x, dw, dy], false),
        }
    }

    fn bias_gradient(
        &self,
        bias: Option<ParamId>,
        dy: Slice<'_>,
        channels: usize,
    ) -> Result<(), EngineError> {
        match bias.and_then(|bias| self.parameters.gradient(bias)) {
            Some(db) => Ok(channel_sum(dy, channels, self.workspaces.scratch(), db)?),
            None => Ok(()),
        }
    }
}

/// The gradient of an operand of a sum.
fn hand_on(dy: Slice<'_>, target: Target<'_>) -> Result<(), EngineError> {
    match target {
        Some((to, true)) => accumulate(dy, to)?,
        Some((to, false)) => copy(dy, to)?,
        None => {}
    }
    Ok(())
}
