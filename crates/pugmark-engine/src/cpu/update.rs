//! From gradients to parameters: norm, clipping, optimiser, running average.

use pugmark_graph::ParamId;
use pugmark_kernels as kernels;

use super::parameters::Parameters;
use crate::plan::{Observer, Program, Updater};
use crate::{Clip, Optimiser};

impl Updater {
    /// Starts the averages of all that the training changes.
    pub(super) fn begin_averages(&self, program: &Program, parameters: &mut Parameters) {
        if self.average > 0.0 {
            let trained = (0..self.rules.len()).map(ParamId).filter(|&id| parameters.is_trained(id));
            let changed: Vec<ParamId> = trained.chain(program.moving_statistics()).collect();
            changed.into_iter().for_each(|id| parameters.average(id));
        }
    }

    /// Clips the gradients, whose norm together is `norm`, and moves the parameters; `step` counts from 1.
    pub(super) fn step(
        &self,
        parameters: &mut Parameters,
        observer: &mut Observer,
        norm: f64,
        (lr, weight_decay): (f32, f32),
        step: u64,
    ) {
        let factor = self.clip_factor(norm);
        for (index, parameter) in parameters.trained_mut() {
            let before = if self.watched[index] {
                observer.before(&parameter.value, &parameter.gradient)
            } else {
                None
            };
            let (value, gradient) = (&mut parameter.value, &mut parameter.gradient);
            match self.clip {
                Clip::Norm(_) => factor.into_iter().for_each(|factor| kernels::scale(factor, gradient)),
                Clip::Value(limit) => kernels::clip_values(limit, gradient),
                Clip::Adaptive(share) if !self.head[index] => {
                    let units = if parameter.shape.len() > 1 { parameter.shape[0] } else { 1 };
                    kernels::clip_adaptive(share, units, value, gradient);
                }
                Clip::None | Clip::Adaptive(_) => {}
            }
            let rule = self.rules[index];
            let (lr, weight_decay) = (lr * rule.learning_rate, weight_decay * rule.weight_decay);
            parameter.steps += 1;
            match (self.optimiser, parameter.moments.as_mut_slice()) {
                (Optimiser::AdamW, [m, v]) => {
                    let adamw = kernels::AdamW { lr, beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay };
                    kernels::adamw_step(&adamw, parameter.steps, value, gradient, m, v);
                }
                (Optimiser::Sgd { momentum, nesterov }, [buffer]) => {
                    let sgd = kernels::Sgd { lr, momentum, weight_decay, nesterov };
                    kernels::sgd_step(&sgd, parameter.steps == 1, value, gradient, buffer);
                }
                _ => unreachable!("as many moments are kept as the optimiser names"),
            }
            if let Some(before) = before {
                observer.after(ParamId(index), &before, &parameter.value);
            }
        }
        if let Some(share) = self.average_share(step) {
            for parameter in parameters.iter_mut().filter(|parameter| !parameter.average.is_empty()) {
                kernels::move_average(share, &mut parameter.average, &parameter.value);
            }
        }
    }
}

/// The Euclidean norm of all gradients together.
pub(super) fn gradient_norm(parameters: &Parameters) -> f64 {
    parameters.trained().map(|parameter| kernels::sum_of_squares(&parameter.gradient)).sum::<f64>().sqrt()
}
