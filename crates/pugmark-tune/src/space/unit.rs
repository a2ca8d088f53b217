//! Values as positions in the unit interval, on which the samplers work.

use super::{Domain, Scale, Space, Value};
use crate::Settings;

impl Scale {
    fn forward(self, x: f64) -> f64 {
        match self {
            Self::Linear => x,
            Self::Logarithmic => x.ln(),
            Self::ReverseLogarithmic => -(1.0 - x).ln(),
        }
    }

    fn backward(self, y: f64) -> f64 {
        match self {
            Self::Linear => y,
            Self::Logarithmic => y.exp(),
            Self::ReverseLogarithmic => 1.0 - (-y).exp(),
        }
    }
}

impl Domain {
    /// How many values it has; none where they are uncountable.
    pub fn count(&self) -> Option<u64> {
        match self {
            Self::Continuous { min, max, .. } => (min == max).then_some(1),
            Self::Integer { min, max, .. } => Some(max.abs_diff(*min) + 1),
            Self::Categorical(values) => Some(values.len() as u64),
        }
    }

    /// The ends on its scale. An integer has the half to each side of it, so that all have room.
    fn ends(&self) -> (f64, f64) {
        match self {
            Self::Continuous { min, max, scale } => (scale.forward(*min), scale.forward(*max)),
            Self::Integer { min, max, scale } => {
                (scale.forward(*min as f64 - 0.5), scale.forward(*max as f64 + 0.5))
            }
            Self::Categorical(values) => (0.0, values.len() as f64),
        }
    }

    /// The value's position in [0, 1]; none where it is no value of the domain.
    pub fn to_unit(&self, value: &Value) -> Option<f64> {
        if !self.contains(value) {
            return None;
        }
        let (low, high) = self.ends();
        let x = match (self, value) {
            (Self::Categorical(values), Value::Text(text)) => {
                values.iter().position(|value| value == text)? as f64 + 0.5
            }
            (Self::Continuous { scale, .. } | Self::Integer { scale, .. }, Value::Number(x)) => {
                scale.forward(*x)
            }
            (Self::Continuous { scale, .. } | Self::Integer { scale, .. }, Value::Integer(x)) => {
                scale.forward(*x as f64)
            }
            _ => return None,
        };
        Some(if high > low { ((x - low) / (high - low)).clamp(0.0, 1.0) } else { 0.5 })
    }

    /// The part of [0, 1] whose positions have the same value as this one; none where only it has.
    pub(crate) fn bin(&self, unit: f64) -> Option<(f64, f64)> {
        let (low, high) = self.ends();
        let ends = match (self, self.from_unit(unit)) {
            (Self::Integer { scale, .. }, Value::Integer(x)) => {
                (scale.forward(x as f64 - 0.5), scale.forward(x as f64 + 0.5))
            }
            (Self::Categorical(values), Value::Text(text)) => {
                let i = values.iter().position(|value| *value == text)? as f64;
                (i, i + 1.0)
            }
            _ => return None,
        };
        Some(((ends.0 - low) / (high - low), (ends.1 - low) / (high - low)))
    }

    /// The value at a position, which is taken into [0, 1].
    pub fn from_unit(&self, unit: f64) -> Value {
        let (low, high) = self.ends();
        let x = low + unit.clamp(0.0, 1.0) * (high - low);
        match self {
            Self::Continuous { min, max, scale } => Value::Number(scale.backward(x).clamp(*min, *max)),
            Self::Integer { min, max, scale } => {
                Value::Integer((scale.backward(x).round() as i64).clamp(*min, *max))
            }
            Self::Categorical(values) => Value::Text(values[(x as usize).min(values.len() - 1)].clone()),
        }
    }
}

impl Space {
    /// The position of each parameter, none for those that are not in `settings`.
    pub fn to_unit(&self, settings: &Settings) -> Vec<Option<f64>> {
        let position = |parameter: &super::Parameter| {
            settings.get(&parameter.name).and_then(|value| parameter.domain.to_unit(value))
        };
        self.parameters.iter().map(position).collect()
    }

    /// The settings at a point of the unit cube, one position a parameter; inactive parameters are left out.
    pub fn from_unit(&self, unit: &[f64]) -> Settings {
        let mut settings = Settings::new();
        for (parameter, &unit) in self.parameters.iter().zip(unit) {
            if self.is_active(parameter, &settings) {
                settings.insert(parameter.name.clone(), parameter.domain.from_unit(unit));
            }
        }
        settings
    }
}
