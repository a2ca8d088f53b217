//! From gradients to parameters: clipping, optimiser, running average.

use pugmark_cuda::{
    Buffer, Gpu, Moved, Type, adamw_step, clip_adaptive, clip_values, move_average, scale_values, sgd_step,
};
use pugmark_graph::ParamId;

use super::parameters::Parameters;
use crate::plan::{Observer, Updater};
use crate::{Clip, EngineError, Optimiser};

/// PyTorch's.
const BETAS: (f32, f32) = (0.9, 0.999);
const EPS: f32 = 1e-8;

/// Whose the trained values are, and the rates of each parameter in a step.
#[derive(Debug)]
pub(super) struct Table {
    owners: Buffer,
    rates: Buffer,
}

impl Table {
    pub fn new(gpu: &Gpu, parameters: &Parameters) -> Result<Self, EngineError> {
        let owners = gpu.put(&parameters.owners())?;
        Ok(Self { owners, rates: gpu.allocate(Type::F32, 3 * parameters.count())? })
    }

    /// Clips the gradients, whose norm together is `norm`, and moves the parameters; `step` counts from 1.
    pub fn step(
        &self,
        updater: &Updater,
        parameters: &mut Parameters,
        observer: &mut Observer,
        norm: f64,
        rates: (f32, f32),
        step: u64,
    ) -> Result<(), EngineError> {
        let mut before = Vec::new();
        if observer.is_on() {
            for id in self.watched(updater, parameters) {
                if let Some(gradient) = parameters.gradient(id) {
                    let (value, gradient) = (parameters.value(id).read()?, gradient.read()?);
                    before.extend(observer.before(&value, &gradient).map(|before| (id, before)));
                }
            }
        }
        clip(updater, parameters, norm)?;
        self.write_rates(updater, parameters, rates)?;
        let (values, gradients, moments) = parameters.moved();
        let moved = Moved { owner: self.owners.all(), rates: self.rates.all(), values, gradients };
        match (updater.optimiser, moments.as_slice()) {
            (Optimiser::AdamW, &[m, v]) => adamw_step(&moved, BETAS, EPS, m, v)?,
            (Optimiser::Sgd { momentum, nesterov }, &[buffer]) => {
                sgd_step(&moved, momentum, nesterov, buffer)?;
            }
            _ => unreachable!("as many moments are kept as the optimiser names"),
        }
        for (id, before) in before {
            observer.after(id, &before, &parameters.value(id).read::<f32>()?);
        }
        if let (Some(share), Some((averages, values))) = (updater.average_share(step), parameters.averaged())
        {
            move_average(share, averages, values)?;
        }
        Ok(())
    }

    fn watched(&self, updater: &Updater, parameters: &Parameters) -> Vec<ParamId> {
        (0..parameters.count()).filter(|&index| updater.watched[index]).map(ParamId).collect()
    }

    fn write_rates(
        &self,
        updater: &Updater,
        parameters: &mut Parameters,
        (learning_rate, weight_decay): (f32, f32),
    ) -> Result<(), EngineError> {
        let mut rates = vec![0.0; self.rates.len()];
        for (index, parameter) in parameters.trained_mut() {
            parameter.steps += 1;
            let rule = updater.rules[index];
            let (lr, decay) = (learning_rate * rule.learning_rate, weight_decay * rule.weight_decay);
            let correction = |beta: f32| 1.0 - f64::from(beta).powf(parameter.steps as f64);
            rates[3 * index..][..3].copy_from_slice(&match updater.optimiser {
                Optimiser::AdamW => [
                    (1.0 - f64::from(lr) * f64::from(decay)) as f32,
                    (f64::from(lr) / correction(BETAS.0)) as f32,
                    correction(BETAS.1).sqrt() as f32,
                ],
                Optimiser::Sgd { .. } => [lr, decay, f32::from(u8::from(parameter.steps == 1))],
            });
        }
        Ok(self.rates.all().write(&rates)?)
    }
}

fn clip(updater: &Updater, parameters: &mut Parameters, norm: f64) -> Result<(), EngineError> {
    let (_, gradients, _) = parameters.moved();
    match updater.clip {
        Clip::None => {}
        Clip::Norm(_) => {
            if let Some(factor) = updater.clip_factor(norm) {
                scale_values(factor, gradients)?;
            }
        }
        Clip::Value(limit) => clip_values(limit, gradients)?,
        Clip::Adaptive(share) => {
            for id in (0..parameters.count()).map(ParamId).filter(|id| !updater.head[id.0]) {
                let Some(gradient) = parameters.gradient(id) else { continue };
                let parameter = parameters.get(id);
                let units = if parameter.shape.len() > 1 { parameter.shape[0] } else { 1 };
                clip_adaptive(share, units, parameter.is_turned(), parameters.value(id), gradient)?;
            }
        }
    }
    Ok(())
}
