//! Where the expected improvement is largest.

use super::{layout::Layout, regression::Process};
use crate::{
    Domain, Settings, Value,
    samplers::{
        minimise::{Limits, minimise},
        normal::log_expected_improvement,
        observed::Observed,
        random::Generator,
        sobol::Sequence,
    },
};

/// Points of the first look, of which the best are improved.
const POINTS: usize = 1024;
/// Points around each of the best trials.
const AROUND: usize = 64;
const IMPROVED: usize = 8;
/// Values of an integer that are all tried; of more, it is taken for a number and rounded.
const FEW: u64 = 16;
/// Keeps the variance above 0 at a trial.
const LEAST_VARIANCE: f64 = 1e-12;

/// The logarithm of the expected improvement below `best`.
pub(super) struct Acquisition<'a> {
    pub(super) process: &'a Process,
    pub(super) best: f64,
}

impl Acquisition<'_> {
    fn value(&self, x: &[f64]) -> f64 {
        let (mean, variance) = self.process.posterior(x);
        let deviation = (variance + LEAST_VARIANCE).sqrt();
        log_expected_improvement((self.best - mean) / deviation).0 + deviation.ln()
    }

    fn gradient(&self, x: &[f64], gradient: &mut [f64]) -> f64 {
        let (mean, variance, mean_slope, variance_slope) = self.process.gradients(x);
        let deviation = (variance + LEAST_VARIANCE).sqrt();
        let z = (self.best - mean) / deviation;
        let (value, slope) = log_expected_improvement(z);
        for (j, gradient) in gradient.iter_mut().enumerate() {
            let widening = variance_slope[j] / (2.0 * deviation);
            *gradient = (slope * (-mean_slope[j] - z * widening) + widening) / deviation;
        }
        value + deviation.ln()
    }
}

/// A candidate: a position for every parameter, active or not, and its acquisition.
struct Candidate {
    unit: Vec<f64>,
    value: f64,
}

/// The settings of the largest acquisition that no trial has had, unless all have.
pub(super) fn search(
    layout: &Layout<'_>,
    acquisition: &Acquisition<'_>,
    observed: &Observed,
    best: &[Vec<f64>],
    random: &mut Generator,
) -> Settings {
    let value = |unit: &[f64]| acquisition.value(&layout.coordinates(unit));
    let dimensions = layout.space.parameters.len();
    let sequence = Sequence::new(dimensions, random.bits());
    let mut units: Vec<Vec<f64>> =
        (0..POINTS as u32).map(|i| (0..dimensions).map(|j| sequence.coordinate(i, j)).collect()).collect();
    for unit in best {
        for i in 0..AROUND {
            // From a fifth of the space down to a thousandth.
            let width = 0.2 * 0.005f64.powf(i as f64 / AROUND as f64);
            units.push(unit.iter().map(|x| (x + width * random.normal()).clamp(0.0, 1.0)).collect());
        }
    }
    let mut candidates: Vec<Candidate> =
        units.into_iter().map(|unit| Candidate { value: value(&unit), unit }).collect();
    candidates.sort_by(|a, b| b.value.total_cmp(&a.value));

    let mut improved = starts(&candidates, random);
    improved.extend(best.iter().take(1).map(|unit| Candidate { unit: unit.clone(), value: value(unit) }));
    for candidate in &mut improved {
        improve(layout, acquisition, candidate);
    }
    improved.sort_by(|a, b| b.value.total_cmp(&a.value));
    let all = improved.iter().chain(&candidates).map(|candidate| layout.space.from_unit(&candidate.unit));
    let mut first = None;
    for settings in all {
        if !observed.has(&settings) {
            return settings;
        }
        first.get_or_insert(settings);
    }
    first.unwrap_or_default()
}

/// The best candidate and some more, each as likely as its expected improvement.
fn starts(candidates: &[Candidate], random: &mut Generator) -> Vec<Candidate> {
    let copy = |candidate: &Candidate| Candidate { unit: candidate.unit.clone(), value: candidate.value };
    let mut weights: Vec<f64> =
        candidates.iter().map(|candidate| (candidate.value - candidates[0].value).exp()).collect();
    weights[0] = 0.0;
    let mut starts = vec![copy(&candidates[0])];
    while starts.len() < IMPROVED && weights.iter().any(|weight| *weight > 0.0) {
        let next = random.pick(&weights);
        weights[next] = 0.0;
        starts.push(copy(&candidates[next]));
    }
    starts
}

/// Climbs: all numbers together, then each integer and category, until nothing helps.
fn improve(layout: &Layout<'_>, acquisition: &Acquisition<'_>, candidate: &mut Candidate) {
    for _ in 0..10 {
        let before = candidate.value;
        climb(layout, acquisition, candidate);
        for (j, parameter) in layout.space.parameters.iter().enumerate() {
            for unit in choices(&parameter.domain, candidate.unit[j]) {
                let mut changed = candidate.unit.clone();
                changed[j] = unit;
                let value = acquisition.value(&layout.coordinates(&changed));
                if value > candidate.value {
                    *candidate = Candidate { unit: changed, value };
                }
            }
        }
        if candidate.value - before < 1e-6 {
            break;
        }
    }
}

/// The positions to try of a parameter that is not a plain number: of all its values, or of those near by.
fn choices(domain: &Domain, unit: f64) -> Vec<f64> {
    match (domain, domain.count(), domain.from_unit(unit)) {
        (_, Some(1), _) => Vec::new(),
        (Domain::Categorical(values), ..) => {
            values.iter().filter_map(|value| domain.to_unit(&Value::Text(value.clone()))).collect()
        }
        (Domain::Integer { min, max, .. }, Some(count), Value::Integer(value)) => {
            let values = if count <= FEW { *min..=*max } else { value - 2..=value + 2 };
            values.filter_map(|value| domain.to_unit(&Value::Integer(value))).collect()
        }
        _ => Vec::new(),
    }
}

/// The numbers that are active, and integers of many values, all together by their gradient.
fn climb(layout: &Layout<'_>, acquisition: &Acquisition<'_>, candidate: &mut Candidate) {
    let point = layout.coordinates(&candidate.unit);
    let active = layout.active(&candidate.unit);
    let is_number = |j: &usize| {
        let domain = &layout.space.parameters[*j].domain;
        active[*j]
            && !matches!(domain, Domain::Categorical(_))
            && domain.count().is_none_or(|count| count > FEW)
    };
    let moved: Vec<usize> = (0..active.len()).filter(is_number).collect();
    if moved.is_empty() {
        return;
    }
    // In units of the length scales all directions curve alike.
    let width = |j: &usize| 1.0 / acquisition.process.hyperparameters.inverse_squares[*j].sqrt();
    let widths: Vec<f64> = moved.iter().map(width).collect();
    let bounds: Vec<(f64, f64)> = widths.iter().map(|width| (0.0, 1.0 / width)).collect();
    let mut x: Vec<f64> = moved.iter().zip(&widths).map(|(j, width)| point[*j] / width).collect();
    let mut slope = vec![0.0; point.len()];
    let mut whole = point;
    let function = |x: &[f64], gradient: &mut [f64]| {
        moved.iter().zip(x).zip(&widths).for_each(|((j, x), width)| whole[*j] = (x * width).clamp(0.0, 1.0));
        let value = acquisition.gradient(&whole, &mut slope);
        moved
            .iter()
            .zip(gradient)
            .zip(&widths)
            .for_each(|((j, gradient), width)| *gradient = -slope[*j] * width);
        -value
    };
    minimise(function, &mut x, &bounds, &Limits { iterations: 60, gradient: 1e-3 });
    let mut unit = candidate.unit.clone();
    moved.iter().zip(&x).zip(&widths).for_each(|((j, x), width)| unit[*j] = (x * width).clamp(0.0, 1.0));
    let value = acquisition.value(&layout.coordinates(&unit));
    if value > candidate.value {
        *candidate = Candidate { unit, value };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Space;

    /// Against central differences, between trials and near one.
    #[test]
    fn the_gradient() {
        let points = [vec![0.1, 0.2, 0.0], vec![0.6, 0.9, 1.0], vec![0.8, 0.3, 0.0], vec![0.4, 0.5, 1.0]];
        let process = Process::fit(&points, &[0.3, -1.2, 1.4, -0.5], &[false, false, true]);
        let acquisition = Acquisition { process: &process, best: -1.2 };
        for x in [[0.5, 0.5, 1.0], [0.05, 0.95, 0.0], [0.61, 0.88, 1.0]] {
            let mut gradient = [0.0; 3];
            let value = acquisition.gradient(&x, &mut gradient);
            assert!((value - acquisition.value(&x)).abs() < 1e-9);
            for j in 0..2 {
                let at = |step: f64| {
                    let mut x = x;
                    x[j] += step;
                    acquisition.value(&x)
                };
                let difference = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!(
                    (gradient[j] - difference).abs() < 1e-4 * difference.abs().max(1.0),
                    "{gradient:?} {difference}"
                );
            }
            assert_eq!(gradient[2], 0.0);
        }
    }

    #[test]
    fn choices_of_a_parameter() {
        let space =
            Space::from_flags(&["c=a,b", "n=1..4", "m=log(1,1000)", "x=0.0..1.0", "one=3..3"]).unwrap();
        let choices = |i: usize, unit| choices(&space.parameters[i].domain, unit);
        assert_eq!(choices(0, 0.1), [0.25, 0.75]);
        assert_eq!(choices(1, 0.1), [0.125, 0.375, 0.625, 0.875]);
        let near: Vec<_> =
            choices(2, 0.5).into_iter().map(|unit| space.parameters[2].domain.from_unit(unit)).collect();
        assert_eq!(near, [20, 21, 22, 23, 24].map(Value::Integer));
        assert!(choices(3, 0.5).is_empty() && choices(4, 0.5).is_empty());
    }
}
