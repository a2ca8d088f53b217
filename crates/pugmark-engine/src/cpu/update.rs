//! From gradients to parameters: norm, clipping, optimiser, running average.

use pugmark_graph::{Graph, ParamId, Role};
use pugmark_kernels as kernels;

use super::parameters::Parameters;
use super::statistics::Observer;
use crate::plan::Program;
use crate::{Clip, Optimiser, ParamRule, TrainingSpec};

/// What one optimiser step does, apart from its rates.
#[derive(Debug)]
pub(super) struct Updater {
    optimiser: Optimiser,
    clip: Clip,
    average: f32,
    /// Of every parameter of the graph.
    rules: Vec<ParamRule>,
    /// Parameters that adaptive clipping leaves alone.
    head: Vec<bool>,
    /// Parameters that statistics are kept of.
    watched: Vec<bool>,
}

impl Updater {
    pub fn new(graph: &Graph, spec: &TrainingSpec) -> Self {
        let mut rules = spec.rules.clone();
        rules.resize(graph.params().len(), ParamRule::default());
        let head = graph.params().iter().map(|param| param.head).collect();
        let roles = [Role::ConvWeight, Role::LinearWeight, Role::LayerScale];
        let watched = graph.params().iter().map(|param| roles.contains(&param.role)).collect();
        Self { optimiser: spec.optimiser, clip: spec.clip, average: spec.average, rules, head, watched }
    }

    /// Starts the averages of all that the training changes.
    pub fn begin_averages(&self, program: &Program, parameters: &mut Parameters) {
        if self.average > 0.0 {
            let trained = (0..self.rules.len()).map(ParamId).filter(|&id| parameters.is_trained(id));
            let changed: Vec<ParamId> = trained.chain(program.moving_statistics()).collect();
            changed.into_iter().for_each(|id| parameters.average(id));
        }
    }

    /// The optimiser's name.
    pub fn name(&self) -> &'static str {
        match self.optimiser {
            Optimiser::AdamW => "AdamW",
            Optimiser::Sgd { .. } => "SGD",
        }
    }

    /// Names of the buffers it keeps for each parameter.
    pub fn state_names(&self) -> &'static [&'static str] {
        match self.optimiser {
            Optimiser::AdamW => &["adamw.m", "adamw.v"],
            Optimiser::Sgd { .. } => &["sgd.momentum"],
        }
    }

    /// Clips the gradients, whose norm together is `norm`, and moves the parameters; `step` counts from 1.
    pub fn step(
        &self,
        parameters: &mut Parameters,
        observer: &mut Observer,
        norm: f64,
        (lr, weight_decay): (f32, f32),
        step: u64,
    ) {
        // PyTorch's epsilon.
        let factor = |most: f32| (f64::from(most) / (norm + 1e-6)) as f32;
        for (index, parameter) in parameters.trained_mut() {
            let before = if self.watched[index] { observer.before(parameter) } else { None };
            let (value, gradient) = (&mut parameter.value, &mut parameter.gradient);
            match self.clip {
                Clip::Norm(most) if factor(most) < 1.0 => kernels::scale(factor(most), gradient),
                Clip::Value(limit) => kernels::clip_values(limit, gradient),
                Clip::Adaptive(share) if !self.head[index] => {
                    let units = if parameter.shape.len() > 1 { parameter.shape[0] } else { 1 };
                    kernels::clip_adaptive(share, units, value, gradient);
                }
                Clip::None | Clip::Norm(_) | Clip::Adaptive(_) => {}
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
                observer.after(ParamId(index), &before, parameter);
            }
        }
        if self.average > 0.0 {
            let decay = f64::from(self.average).min((1.0 + step as f64) / (10.0 + step as f64));
            for parameter in parameters.iter_mut().filter(|parameter| !parameter.average.is_empty()) {
                kernels::move_average((1.0 - decay) as f32, &mut parameter.average, &parameter.value);
            }
        }
    }
}

/// The Euclidean norm of all gradients together.
pub(super) fn gradient_norm(parameters: &Parameters) -> f64 {
    parameters.trained().map(|parameter| kernels::sum_of_squares(&parameter.gradient)).sum::<f64>().sqrt()
}
