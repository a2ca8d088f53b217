//! A density of points: one kernel a point and a wide one in the middle.

use crate::{Domain, Space, samplers::normal, samplers::random::Generator};

/// Trials from the last that weigh the same; earlier ones weigh less.
const FLAT: usize = 25;

/// A mixture of products: a truncated normal for each number, a table for each category. Densities are per unit of the unit cube, an
/// integer's and a category's are the probability of its value.
pub(super) struct Parzen {
    /// The logarithms of the shares of the kernels.
    log_weights: Vec<f64>,
    dimensions: Vec<Dimension>,
}

enum Dimension {
    /// Centre, width and the logarithm of the mass in [0, 1] of each kernel.
    Number { kernels: Vec<(f64, f64, f64)>, domain: Domain },
    /// The probability of each category by kernel.
    Category(Vec<Vec<f64>>),
}

impl Parzen {
    /// Of `points`, whose positions are none where the parameter is inactive.
    pub(super) fn new(space: &Space, points: &[Vec<Option<f64>>]) -> Self {
        let mut weights = weights(points.len());
        weights.push(1.0);
        let sum: f64 = weights.iter().sum();
        let dimension = |(i, parameter): (usize, &crate::Parameter)| {
            let values: Vec<Option<f64>> = points.iter().map(|point| point[i]).collect();
            match &parameter.domain {
                Domain::Categorical(categories) => Dimension::Category(tables(&values, categories.len())),
                domain => Dimension::Number { kernels: kernels(&values), domain: domain.clone() },
            }
        };
        let dimensions = space.parameters.iter().enumerate().map(dimension).collect();
        Self { log_weights: weights.iter().map(|weight| (weight / sum).ln()).collect(), dimensions }
    }

    /// A point, also in the parameters that will not be active.
    pub(super) fn sample(&self, random: &mut Generator) -> Vec<f64> {
        let weights: Vec<f64> = self.log_weights.iter().map(|weight| weight.exp()).collect();
        let kernel = random.pick(&weights);
        let coordinate = |dimension: &Dimension| match dimension {
            Dimension::Number { kernels, .. } => truncated(kernels[kernel], random),
            Dimension::Category(tables) => {
                (random.pick(&tables[kernel]) as f64 + 0.5) / tables[kernel].len() as f64
            }
        };
        self.dimensions.iter().map(coordinate).collect()
    }

    /// The logarithm of the density of the active coordinates.
    pub(super) fn log_density(&self, point: &[Option<f64>]) -> f64 {
        let mut terms = self.log_weights.clone();
        for (dimension, x) in self.dimensions.iter().zip(point) {
            let Some(x) = x else { continue };
            match dimension {
                Dimension::Number { kernels, domain } => {
                    let bin = domain.bin(*x);
                    for (term, kernel) in terms.iter_mut().zip(kernels) {
                        *term += log_kernel(*kernel, *x, bin);
                    }
                }
                Dimension::Category(tables) => {
                    for (term, table) in terms.iter_mut().zip(tables) {
                        *term += table[((x * table.len() as f64) as usize).min(table.len() - 1)].ln();
                    }
                }
            }
        }
        let most = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        most + terms.iter().map(|term| (term - most).exp()).sum::<f64>().ln()
    }
}

/// As in Optuna and hyperopt: a ramp from 1 / n to 1, then `FLAT` ones.
fn weights(n: usize) -> Vec<f64> {
    let ramp = n.saturating_sub(FLAT);
    let rise = |i: usize| if ramp > 1 { i as f64 / (ramp - 1) as f64 } else { 0.0 };
    (0..n).map(|i| if i < ramp { 1.0 / n as f64 + (1.0 - 1.0 / n as f64) * rise(i) } else { 1.0 }).collect()
}

/// As wide as the distance to the farther neighbour, but not too narrow; then the wide one in the middle, which points without a value
/// have too.
fn kernels(values: &[Option<f64>]) -> Vec<(f64, f64, f64)> {
    let mut sorted: Vec<f64> = values.iter().flatten().copied().collect();
    sorted.sort_by(f64::total_cmp);
    let narrowest = 1.0 / (sorted.len() as f64 + 2.0).min(100.0);
    let wide = kernel(0.5, 1.0);
    let of_value = |value: &Option<f64>| {
        let Some(x) = *value else { return wide };
        let i = sorted.partition_point(|other| *other < x);
        let (left, right) =
            (i.checked_sub(1).map(|i| x - sorted[i]), sorted.get(i + 1).map(|other| other - x));
        // An end of the range is a neighbour only where there is no other.
        let width = match (left, right) {
            (None, None) => x.max(1.0 - x),
            (left, right) => left.unwrap_or(0.0).max(right.unwrap_or(0.0)),
        };
        kernel(x, width.clamp(narrowest, 1.0))
    };
    values.iter().map(of_value).chain([wide]).collect()
}

fn kernel(centre: f64, width: f64) -> (f64, f64, f64) {
    (centre, width, (normal::cdf((1.0 - centre) / width) - normal::cdf(-centre / width)).ln())
}

fn log_kernel((centre, width, log_mass): (f64, f64, f64), x: f64, bin: Option<(f64, f64)>) -> f64 {
    match bin {
        None => {
            let z = (x - centre) / width;
            -0.5 * z * z - (width * (2.0 * std::f64::consts::PI).sqrt()).ln() - log_mass
        }
        Some((low, high)) => {
            // On the side of the smaller tail, where differences are exact.
            let (low, high) = ((low - centre) / width, (high - centre) / width);
            let mass = if low > 0.0 {
                normal::cdf(-low) - normal::cdf(-high)
            } else {
                normal::cdf(high) - normal::cdf(low)
            };
            mass.ln() - log_mass
        }
    }
}

/// A kernel's centre lies in [0, 1] and its width is at most 1, so that every third try is in [0, 1].
fn truncated((centre, width, _): (f64, f64, f64), random: &mut Generator) -> f64 {
    loop {
        let x = centre + width * random.normal();
        if (0.0..=1.0).contains(&x) {
            return x;
        }
    }
}

/// The observed category is the more likely the more kernels there are; the last table, and that of points without a value, is even.
fn tables(values: &[Option<f64>], categories: usize) -> Vec<Vec<f64>> {
    let prior = 1.0 / (values.len() + 1) as f64;
    let even = vec![1.0 / categories as f64; categories];
    let of_value = |value: &Option<f64>| match value {
        None => even.clone(),
        Some(x) => {
            let mut table = vec![prior / (1.0 + prior * categories as f64); categories];
            table[((x * categories as f64) as usize).min(categories - 1)] +=
                1.0 / (1.0 + prior * categories as f64);
            table
        }
    };
    values.iter().map(of_value).chain([even.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parzen(flags: &[&str], points: usize) -> (Space, Parzen) {
        let space = Space::from_flags(flags).unwrap();
        let mut random = Generator::new(7, 0, 0);
        let point = |_| {
            let unit: Vec<f64> = space.parameters.iter().map(|_| random.uniform()).collect();
            space.to_unit(&space.from_unit(&unit))
        };
        let points: Vec<_> = (0..points).map(point).collect();
        let parzen = Parzen::new(&space, &points);
        (space, parzen)
    }

    /// The midpoint rule in one number; for integers and categories the sum over the values.
    #[test]
    fn densities_integrate_to_one() {
        for points in [0, 1, 2, 9, 40] {
            let (_, numbers) = parzen(&["x=0.0..1.0", "y=log(1e-4,1e-1)"], points);
            let at = |i: i32| (f64::from(i) + 0.5) / 400.0;
            let sum: f64 = (0..400)
                .flat_map(|i| (0..400).map(move |j| (i, j)))
                .map(|(i, j)| numbers.log_density(&[Some(at(i)), Some(at(j))]).exp())
                .sum();
            // The narrowest kernel is as wide as four steps at least; then the rule is exact to its truncation at the ends.
            assert!((sum / 160_000.0 - 1.0).abs() < 2e-3, "{points}: {}", sum / 160_000.0);
            let (space, values) = parzen(&["n=1..5", "m=log(2,40)", "c=a,b,c"], points);
            let mut sum = 0.0;
            for n in 0..5 {
                for m in 2..=40 {
                    for c in 0..3 {
                        let m = space.parameters[1].domain.to_unit(&crate::Value::Integer(m));
                        let point = [Some((f64::from(n) + 0.5) / 5.0), m, Some((f64::from(c) + 0.5) / 3.0)];
                        sum += values.log_density(&point).exp();
                    }
                }
            }
            // Sums of differences of the error function.
            assert!((sum - 1.0).abs() < 1e-9, "{points}: {sum}");
        }
    }

    /// Half of the points have a momentum: those without one still have a density.
    #[test]
    fn inactive_parameters_are_left_out() {
        let (_, parzen) = parzen(&["o=sgd,adam", "m=0.0..1.0 if o=sgd"], 30);
        let with: f64 = (0..1000)
            .map(|i| parzen.log_density(&[Some(0.25), Some((f64::from(i) + 0.5) / 1000.0)]).exp())
            .sum();
        let without = |o| parzen.log_density(&[Some(o), None]).exp();
        assert!((with / 1000.0 - without(0.25)).abs() < 1e-3);
        assert!((without(0.25) + without(0.75) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn samples_follow_the_density() {
        let (_, parzen) = parzen(&["x=0.0..1.0"], 5);
        let mut random = Generator::new(1, 2, 3);
        let mut counts = [0.0; 10];
        for _ in 0..20_000 {
            counts[(parzen.sample(&mut random)[0] * 10.0).min(9.0) as usize] += 1.0 / 20_000.0;
        }
        for (i, count) in counts.into_iter().enumerate() {
            let mass: f64 = (0..100)
                .map(|j| parzen.log_density(&[Some((i * 100 + j) as f64 / 1000.0 + 0.0005)]).exp() / 1000.0)
                .sum();
            // Five standard errors of a share of 20,000.
            assert!((count - mass).abs() < 5.0 * (mass / 20_000.0).sqrt() + 1e-4, "{i}: {count} {mass}");
        }
    }
}
