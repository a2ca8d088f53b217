//! Statistics of a watched step.

use pugmark_graph::ParamId;
use pugmark_kernels as kernels;
use pugmark_kernels::{ChannelActivity, Magnitude};

use super::program::{Kind, Program, ValueId};
use crate::{EngineError, LayerKind, LayerStatistics, StepStatistics, WeightStatistics};

/// Collects statistics; does nothing unless it is on.
#[derive(Debug, Default)]
pub(crate) struct Observer {
    on: bool,
    statistics: StepStatistics,
}

impl Observer {
    pub fn set(&mut self, on: bool) {
        *self = Self { on, ..Self::default() };
    }

    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Begins a batch, of which the layers are kept.
    pub fn begin(&mut self) {
        self.statistics.layers.clear();
        self.statistics.weights.clear();
    }

    /// What the last step saw.
    pub fn statistics(&self) -> Option<&StepStatistics> {
        self.on.then_some(&self.statistics)
    }

    /// A weight before the optimiser moves it, for [`Observer::after`].
    pub fn before(&self, value: &[f32], gradient: &[f32]) -> Option<Before> {
        self.on.then(|| Before {
            value: value.to_vec(),
            of_value: kernels::magnitude(value),
            of_gradient: kernels::magnitude(gradient),
        })
    }

    /// The same weight after that.
    pub fn after(&mut self, param: ParamId, before: &Before, after: &[f32]) {
        let Before { value, of_value, of_gradient } = before;
        let share = |sum: f64| sum / value.len() as f64;
        self.statistics.weights.push(WeightStatistics {
            param,
            gradient_mean: share(of_gradient.absolute),
            gradient_norm: of_gradient.square.sqrt(),
            gradient_zeros: share(of_gradient.zeros),
            norm: of_value.square.sqrt(),
            zeros: share(of_value.zeros),
            update_norm: kernels::squared_distance(value, after).sqrt(),
        });
    }

    /// Keeps the statistics of a step's activation while its value is still there: `activity` sums it up, by the limits.
    pub fn observe(
        &mut self,
        program: &Program,
        index: usize,
        images: usize,
        activity: impl FnOnce(ValueId, (f32, f32)) -> Result<ChannelActivity, EngineError>,
    ) -> Result<(), EngineError> {
        if !self.on {
            return Ok(());
        }
        let step = &program.steps[index];
        let kind = match step.kind {
            Kind::Input => LayerKind::Input,
            Kind::Norm { relu: true, .. } | Kind::Add { relu: true } | Kind::Relu => LayerKind::Relu,
            Kind::Gelu => LayerKind::Gelu,
            Kind::Silu => LayerKind::Silu,
            Kind::Sigmoid => LayerKind::Sigmoid,
            _ => return Ok(()),
        };
        if kind != LayerKind::Input && !program.is_trained(step) {
            return Ok(());
        }
        let id = if kind == LayerKind::Sigmoid { step.input } else { step.output };
        let ChannelActivity { outside, sum, square } = activity(id, kind.limits())?;
        let count = (images * program.values[id.0].plane.pixels()) as f64;
        let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
        // `max` would make a variance of 0 out of NaN.
        let variance = |(square, mean): (&f64, &f64)| match square / count - mean * mean {
            rounded if rounded < 0.0 => 0.0,
            variance => variance,
        };
        let std = square.iter().zip(&mean).map(variance).map(f64::sqrt).collect();
        let share = outside.iter().map(|outside| outside / count).collect();
        let name = program.names[index].clone();
        self.statistics.layers.push(LayerStatistics { name, kind, mean, std, share });
        Ok(())
    }
}

/// A weight before the optimiser moves it.
pub(crate) struct Before {
    value: Vec<f32>,
    of_value: Magnitude,
    of_gradient: Magnitude,
}
