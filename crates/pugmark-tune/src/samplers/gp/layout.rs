//! Settings as coordinates of the Gaussian process.

use crate::{Domain, Settings, Space};

/// A coordinate for each parameter: a number's position, a category's index. A parameter that is not active has the middle of its range
/// or a category of its own, so that trials without it are alike in it.
/// Where trials were pruned, one more says how far a trial came: what is good early need not be in the end.
pub(crate) struct Layout<'a> {
    pub(crate) space: &'a Space,
    /// Whether there is that one more.
    pub(crate) progress: bool,
}

impl Layout<'_> {
    /// Which coordinates have no order.
    pub(crate) fn categorical(&self) -> Vec<bool> {
        let parameters = self.space.parameters.iter();
        let unordered = parameters.map(|parameter| matches!(parameter.domain, Domain::Categorical(_)));
        unordered.chain(self.progress.then_some(false)).collect()
    }

    /// The coordinates of settings, trained to the end.
    pub(crate) fn of_settings(&self, settings: &Settings) -> Vec<f64> {
        let coordinate = |(parameter, unit): (&crate::Parameter, Option<f64>)| match (&parameter.domain, unit)
        {
            (Domain::Categorical(values), Some(unit)) => {
                (unit * values.len() as f64).floor().min(values.len() as f64 - 1.0)
            }
            (Domain::Categorical(_), None) => -1.0,
            (_, unit) => unit.unwrap_or(0.5),
        };
        self.space
            .parameters
            .iter()
            .zip(self.space.to_unit(settings))
            .map(coordinate)
            .chain(self.progress.then_some(1.0))
            .collect()
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
