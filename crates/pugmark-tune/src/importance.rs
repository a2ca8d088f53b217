//! Which parameters the objective depends on.

use crate::{
    Space, Trial,
    samplers::{gp, observed::Observed, sobol::Sequence},
};

/// Ended trials below which nothing is said.
const FEWEST: usize = 5;
/// Pairs of points the effects are averaged over.
const PAIRS: u32 = 512;

/// The importance of each parameter in the order of the space; they sum to 1. All are 0 with fewer than five ended trials, or where
/// nothing has an effect.
///
/// A Gaussian process is fitted to the trials. A parameter's importance is its total effect (Sobol, 2001; the estimator of Jansen, 1999):
/// how much of the variance of the process's mean over the whole space is lost, with all that the parameter interacts with, when the
/// parameter is known last. This is the quantity of functional ANOVA (Hutter et al., 2014), whose surrogate is a forest: a process needs
/// fewer trials. Trials without a value count as bad as the worst.
pub fn importance(space: &Space, history: &[Trial]) -> Vec<f64> {
    let dimensions = space.parameters.len();
    let observed = Observed::new(space, history);
    if observed.ended.len() < FEWEST {
        return vec![0.0; dimensions];
    }
    let (layout, process) = gp::fit(space, &observed, gp::standardised);

    let sequence = Sequence::new(2 * dimensions, 0);
    let mut effects = vec![0.0; dimensions];
    for i in 0..PAIRS {
        let mut unit: Vec<f64> = (0..dimensions).map(|j| sequence.coordinate(i, j)).collect();
        let value = process.mean(&layout.coordinates(&unit));
        for (j, effect) in effects.iter_mut().enumerate() {
            let before = std::mem::replace(&mut unit[j], sequence.coordinate(i, dimensions + j));
            *effect += (process.mean(&layout.coordinates(&unit)) - value).powi(2);
            unit[j] = before;
        }
    }
    let sum: f64 = effects.iter().sum();
    // Values without a spread leave rounding errors.
    effects.iter().map(|effect| if sum > 1e-12 { effect / sum } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SamplerKind, Settings, State, Value};

    fn shares(flags: &[&str], trials: u32, objective: impl Fn(&Settings) -> f64) -> Vec<f64> {
        let space = Space::from_flags(flags).unwrap();
        let sampler = SamplerKind::Random.sampler(3);
        let trial = |number| {
            let settings = sampler.propose(&space, &[], number);
            let value = Some(objective(&settings));
            Trial { number, settings, state: State::Complete, reported: Vec::new(), value }
        };
        importance(&space, &(0..trials).map(trial).collect::<Vec<_>>())
    }

    fn number(settings: &Settings, name: &str) -> f64 {
        match settings.get(name) {
            Some(Value::Number(x)) => *x,
            Some(Value::Integer(x)) => *x as f64,
            _ => 0.0,
        }
    }

    fn near(found: &[f64], expected: &[f64], tolerance: f64) {
        let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < tolerance);
        assert!(close && found.len() == expected.len(), "{found:?}, not {expected:?}");
    }

    #[test]
    fn of_a_sum() {
        // Variances of 3x, log10(y) in [-1, 1] and an unused z: 9/12, 4/12 and 0.
        let found = shares(&["x=0.0..1.0", "y=log(0.1,10.0)", "z=0.0..1.0"], 40, |settings| {
            3.0 * number(settings, "x") + number(settings, "y").log10()
        });
        near(&found, &[9.0 / 13.0, 4.0 / 13.0, 0.0], 0.03);
    }

    #[test]
    fn of_categories_and_integers() {
        // A category that is 1 in one of two: variance 1/4; n in 0..=3 has 5/4, weighted by 1/5^(1/2): 1/4.
        let found = shares(&["c=a,b", "n=0..3", "d=a,b,c"], 60, |settings| {
            f64::from(settings["c"] == Value::Text("a".to_owned())) + number(settings, "n") / 5f64.sqrt()
        });
        near(&found, &[0.5, 0.5, 0.0], 0.05);
    }

    #[test]
    fn of_an_interaction() {
        // (x - 1/2)(y - 1/2) has no main effect: both total effects are all there is.
        let found = shares(&["x=0.0..1.0", "y=0.0..1.0", "z=0.0..1.0"], 80, |settings| {
            (number(settings, "x") - 0.5) * (number(settings, "y") - 0.5)
        });
        near(&found, &[0.5, 0.5, 0.0], 0.05);
    }

    #[test]
    fn of_a_condition() {
        // m matters in half of the space: half of the variance 1/12 of it, against 1/4 (2)^2 of the category, and what m adds to it.
        let found = shares(&["c=a,b", "m=0.0..1.0 if c=a"], 80, |settings| {
            if settings["c"] == Value::Text("a".to_owned()) { number(settings, "m") } else { 2.5 }
        });
        // Total effects, E Var(f | others): m 1/24; c (2.5 - m)^2 / 4 averaged, (4 + 1/12) / 4.
        let (m, c) = (1.0 / 24.0, (4.0 + 1.0 / 12.0) / 4.0);
        near(&found, &[c / (c + m), m / (c + m)], 0.03);
    }

    #[test]
    fn of_nothing() {
        assert_eq!(shares(&["x=0.0..1.0"], 4, |settings| number(settings, "x")), [0.0]);
        assert_eq!(shares(&["x=0.0..1.0"], 9, |_| f64::NAN), [0.0]);
        assert_eq!(shares(&["x=0.0..1.0", "one=a"], 9, |settings| number(settings, "x")), [1.0, 0.0]);
    }
}
