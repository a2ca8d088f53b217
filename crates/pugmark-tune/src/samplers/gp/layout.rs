//! Settings as coordinates of the Gaussian process.

use crate::{Domain, Settings, Space};

/// A coordinate for each parameter: a number's position, a category's index. A parameter that is not active has the middle of its range
/// or a category of its own, so that trials without it are alike in it.
pub(crate) struct Layout<'a> {
    pub(crate) space: &'a Space,
}

impl Layout<'_> {
    /// Which coordinates have no order.
    pub(crate) fn categorical(&self) -> Vec<bool> {
        self.space
            .parameters
            .iter()
            .map(|parameter| matches!(parameter.domain, Domain::Categorical(_)))
            .collect()
    }

    /// The coordinates of settings.
    pub(crate) fn of_settings(&self, settings: &Settings) -> Vec<f64> {
        let coordinate = |(parameter, unit): (&crate::Parameter, Option<f64>)| match (&parameter.domain, unit)
        {
            (Domain::Categorical(values), Some(unit)) => {
                (unit * values.len() as f64).floor().min(values.len() as f64 - 1.0)
            }
            (Domain::Categorical(_), None) => -1.0,
            (_, unit) => unit.unwrap_or(0.5),
        };
        self.space.parameters.iter().zip(self.space.to_unit(settings)).map(coordinate).collect()
    }

    /// The coordinates of the settings at a point of the unit cube.
    pub(crate) fn coordinates(&self, unit: &[f64]) -> Vec<f64> {
        self.of_settings(&self.space.from_unit(unit))
    }

    /// Which parameters are active there.
    pub(crate) fn active(&self, unit: &[f64]) -> Vec<bool> {
        let settings = self.space.from_unit(unit);
        self.space.parameters.iter().map(|parameter| settings.contains_key(&parameter.name)).collect()
    }
}
