//! A Gaussian process: Matern 5/2 with a length scale for each parameter, and noise.

use crate::samplers::minimise::{Limits, dot, minimise};

/// The least variance of the noise, the objective having variance 1.
const LEAST_NOISE: f64 = 1e-6;
/// Of the logarithms of the hyperparameters: nothing outside is meant, and nothing there overflows.
const BOUNDS: (f64, f64) = (-14.0, 14.0);

/// What the kernel's parameters are.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hyperparameters {
    /// 1 / length scale^2 by coordinate.
    pub(crate) inverse_squares: Vec<f64>,
    /// The variance of the function.
    pub(crate) scale: f64,
    /// The variance of the noise.
    pub(crate) noise: f64,
}

/// The process after its observations.
pub(crate) struct Process {
    points: Vec<Vec<f64>>,
    /// Coordinates without an order: they differ or they don't.
    pub(crate) categorical: Vec<bool>,
    pub(crate) hyperparameters: Hyperparameters,
    /// Of the observations' covariance, by row.
    cholesky: Vec<f64>,
    /// The inverse covariance times the observations.
    weights: Vec<f64>,
    values: Vec<f64>,
}

/// Matern 5/2 of a squared scaled distance, and its derivative.
fn matern(squared: f64) -> (f64, f64) {
    let root = (5.0 * squared).sqrt();
    let decay = (-root).exp();
    (decay * (1.0 + root + 5.0 / 3.0 * squared), -5.0 / 6.0 * (1.0 + root) * decay)
}

fn squared(categorical: bool, a: f64, b: f64) -> f64 {
    if categorical { f64::from(a != b) } else { (a - b) * (a - b) }
}

impl Process {
    /// The process with these hyperparameters; none where the covariance is not positive definite.
    pub(crate) fn new(
        points: &[Vec<f64>],
        values: &[f64],
        categorical: &[bool],
        hyperparameters: Hyperparameters,
    ) -> Option<Self> {
        let n = points.len();
        let mut process = Self {
            points: points.to_vec(),
            categorical: categorical.to_vec(),
            hyperparameters,
            cholesky: vec![0.0; n * n],
            weights: values.to_vec(),
            values: values.to_vec(),
        };
        for i in 0..n {
            for j in 0..=i {
                process.cholesky[i * n + j] = process.kernel(&points[i], &points[j]);
            }
            process.cholesky[i * n + i] += process.hyperparameters.noise;
        }
        if !factorise(&mut process.cholesky, n) {
            return None;
        }
        forward(&process.cholesky, n, &mut process.weights);
        backward(&process.cholesky, n, &mut process.weights);
        Some(process)
    }

    /// With the hyperparameters of the largest posterior density, searched from several starts.
    ///
    /// The priors are those of Optuna's `GPSampler`: exp(-0.1 (w + 1 / w)) of each inverse squared length scale, Gamma(2, 1) of the
    /// scale, Gamma(1.1, 30) of the noise. Values have mean 0 and variance 1.
    pub(crate) fn fit(points: &[Vec<f64>], values: &[f64], categorical: &[bool]) -> Self {
        let dimensions = categorical.len();
        let distances = Distances::new(points, categorical);
        let mut best: Option<(f64, Vec<f64>)> = None;
        // Smooth with some noise, and rougher without.
        for (inverse_square, noise) in [(1.0f64, 1e-1f64), (10.0, 1e-4)] {
            let mut logarithms = vec![inverse_square.ln(); dimensions];
            logarithms.extend([0.0, noise.ln()]);
            let bounds = vec![BOUNDS; dimensions + 2];
            let limits = Limits { iterations: 60, gradient: 1e-2 };
            let loss = minimise(
                |x, gradient| distances.loss(values, x, gradient),
                &mut logarithms,
                &bounds,
                &limits,
            );
            if best.as_ref().is_none_or(|best| loss < best.0) {
                best = Some((loss, logarithms));
            }
        }
        let logarithms = best.map(|best| best.1).unwrap_or_default();
        Self::with_noise(points, values, categorical, exponentials(&logarithms))
    }

    /// With as much more noise as it takes for the covariance to be positive definite.
    fn with_noise(
        points: &[Vec<f64>],
        values: &[f64],
        categorical: &[bool],
        mut hyperparameters: Hyperparameters,
    ) -> Self {
        loop {
            if let Some(process) = Self::new(points, values, categorical, hyperparameters.clone()) {
                return process;
            }
            hyperparameters.noise *= 10.0;
        }
    }

    /// The process if at each of `at` its mean were observed.
    pub(crate) fn with_beliefs(&self, at: impl Iterator<Item = Vec<f64>>) -> Self {
        let (mut points, mut values) = (self.points.clone(), self.values.clone());
        for point in at {
            values.push(self.mean(&point));
            points.push(point);
        }
        Self::with_noise(&points, &values, &self.categorical, self.hyperparameters.clone())
    }

    fn kernel(&self, a: &[f64], b: &[f64]) -> f64 {
        self.hyperparameters.scale * matern(self.distance(a, b)).0
    }

    fn distance(&self, a: &[f64], b: &[f64]) -> f64 {
        let mut sum = 0.0;
        for (j, weight) in self.hyperparameters.inverse_squares.iter().enumerate() {
            sum += weight * squared(self.categorical[j], a[j], b[j]);
        }
        sum
    }

    /// The mean at a point.
    pub(crate) fn mean(&self, x: &[f64]) -> f64 {
        self.points.iter().zip(&self.weights).map(|(point, weight)| weight * self.kernel(x, point)).sum()
    }

    /// Mean and variance of the function, without noise, at a point.
    pub(crate) fn posterior(&self, x: &[f64]) -> (f64, f64) {
        let mut covariance: Vec<f64> = self.points.iter().map(|point| self.kernel(x, point)).collect();
        let mean = dot(&covariance, &self.weights);
        forward(&self.cholesky, self.points.len(), &mut covariance);
        (mean, (self.hyperparameters.scale - dot(&covariance, &covariance)).max(0.0))
    }

    /// Mean, variance and their derivatives in the coordinates, which are 0 in categorical ones.
    pub(crate) fn gradients(&self, x: &[f64]) -> (f64, f64, Vec<f64>, Vec<f64>) {
        let (n, scale) = (self.points.len(), self.hyperparameters.scale);
        let pairs: Vec<(f64, f64)> =
            self.points.iter().map(|point| matern(self.distance(x, point))).collect();
        let covariance: Vec<f64> = pairs.iter().map(|pair| scale * pair.0).collect();
        let mut solved = covariance.clone();
        forward(&self.cholesky, n, &mut solved);
        let variance = (scale - dot(&solved, &solved)).max(0.0);
        backward(&self.cholesky, n, &mut solved);
        let (mut mean_slope, mut variance_slope) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        for (i, point) in self.points.iter().enumerate() {
            for j in (0..x.len()).filter(|j| !self.categorical[*j]) {
                let slope =
                    scale * pairs[i].1 * 2.0 * self.hyperparameters.inverse_squares[j] * (x[j] - point[j]);
                mean_slope[j] += self.weights[i] * slope;
                variance_slope[j] -= 2.0 * solved[i] * slope;
            }
        }
        (dot(&covariance, &self.weights), variance, mean_slope, variance_slope)
    }
}

fn exponentials(logarithms: &[f64]) -> Hyperparameters {
    let (squares, rest) = logarithms.split_at(logarithms.len() - 2);
    Hyperparameters {
        inverse_squares: squares.iter().map(|x| x.exp()).collect(),
        scale: rest[0].exp(),
        noise: LEAST_NOISE + rest[1].exp(),
    }
}

/// The squared differences of all pairs of points, which no hyperparameter changes.
struct Distances {
    n: usize,
    dimensions: usize,
    /// By pair (i, j < i) and coordinate.
    squared: Vec<f64>,
}

impl Distances {
    fn new(points: &[Vec<f64>], categorical: &[bool]) -> Self {
        let mut all = Vec::new();
        for (i, a) in points.iter().enumerate() {
            for b in &points[..i] {
                all.extend(
                    categorical.iter().enumerate().map(|(j, &categorical)| squared(categorical, a[j], b[j])),
                );
            }
        }
        Self { n: points.len(), dimensions: categorical.len(), squared: all }
    }

    /// Minus the logarithm of the posterior density of the hyperparameters, without constants, and its gradient in their logarithms.
    fn loss(&self, values: &[f64], logarithms: &[f64], gradient: &mut [f64]) -> f64 {
        let (n, d) = (self.n, self.dimensions);
        let Hyperparameters { inverse_squares, scale, noise } = exponentials(logarithms);
        let mut slopes = Vec::with_capacity(self.squared.len() / d.max(1));
        let mut covariance = vec![0.0; n * n];
        let mut pairs = self.squared.chunks_exact(d.max(1));
        for i in 0..n {
            for j in 0..i {
                let squared = pairs.next().map_or(0.0, |pair| dot(pair, &inverse_squares));
                let (value, slope) = matern(squared);
                covariance[i * n + j] = scale * value;
                slopes.push(scale * slope);
            }
            covariance[i * n + i] = scale + noise;
        }
        let kernel = covariance.clone();
        if !factorise(&mut covariance, n) {
            return f64::INFINITY;
        }
        let mut weights = values.to_vec();
        forward(&covariance, n, &mut weights);
        let fit = 0.5 * dot(&weights, &weights);
        backward(&covariance, n, &mut weights);
        let logarithm: f64 = (0..n).map(|i| covariance[i * n + i].ln()).sum();
        let inverse = inverse(&covariance, n);

        gradient.fill(0.0);
        let (squares_slope, rest) = gradient.split_at_mut(d);
        let mut pair = 0;
        for i in 0..n {
            for j in 0..i {
                // Twice a half: the pair stands on both sides of the diagonal.
                let factor = inverse[i * n + j] - weights[i] * weights[j];
                rest[0] += factor * kernel[i * n + j];
                for (slope, squared) in squares_slope.iter_mut().zip(&self.squared[pair * d..]) {
                    *slope += factor * slopes[pair] * squared;
                }
                pair += 1;
            }
            let factor = 0.5 * (inverse[i * n + i] - weights[i] * weights[i]);
            rest[0] += factor * scale;
            rest[1] += factor * (noise - LEAST_NOISE);
        }
        let mut prior = -scale.ln() + scale - 0.1 * noise.ln() + 30.0 * noise;
        for (slope, weight) in squares_slope.iter_mut().zip(&inverse_squares) {
            prior += 0.1 / weight + 0.1 * weight;
            *slope = *slope * weight - 0.1 / weight + 0.1 * weight;
        }
        rest[0] += scale - 1.0;
        rest[1] += (30.0 - 0.1 / noise) * (noise - LEAST_NOISE);
        logarithm + fit + prior
    }
}

/// The lower triangle of a symmetric matrix becomes its Cholesky factor; false where it is not positive definite.
fn factorise(matrix: &mut [f64], n: usize) -> bool {
    for i in 0..n {
        for j in 0..=i {
            let (a, b) = (&matrix[i * n..i * n + j], &matrix[j * n..j * n + j]);
            let rest = matrix[i * n + j] - dot(a, b);
            if i > j {
                matrix[i * n + j] = rest / matrix[j * n + j];
            } else if rest > 0.0 {
                matrix[i * n + i] = rest.sqrt();
            } else {
                return false;
            }
        }
    }
    true
}

/// Solves L x = b.
fn forward(cholesky: &[f64], n: usize, b: &mut [f64]) {
    for i in 0..n {
        b[i] = (b[i] - dot(&cholesky[i * n..i * n + i], &b[..i])) / cholesky[i * n + i];
    }
}

/// Solves L^T x = b.
fn backward(cholesky: &[f64], n: usize, b: &mut [f64]) {
    for i in (0..n).rev() {
        b[i] /= cholesky[i * n + i];
        let x = b[i];
        for (b, l) in b[..i].iter_mut().zip(&cholesky[i * n..i * n + i]) {
            *b -= x * l;
        }
    }
}

/// The lower triangle of the inverse of L L^T.
fn inverse(cholesky: &[f64], n: usize) -> Vec<f64> {
    // The rows of the transposed inverse of L: row j is L^-1 e_j, zero before j.
    let mut columns = vec![0.0; n * n];
    for j in 0..n {
        let column = &mut columns[j * n..(j + 1) * n];
        column[j] = 1.0 / cholesky[j * n + j];
        for i in j + 1..n {
            column[i] = -dot(&cholesky[i * n + j..i * n + i], &column[j..i]) / cholesky[i * n + i];
        }
    }
    let mut inverse = vec![0.0; n * n];
    for i in 0..n {
        for j in 0..=i {
            inverse[i * n + j] = dot(&columns[i * n + i..(i + 1) * n], &columns[j * n + i..(j + 1) * n]);
        }
    }
    inverse
}

#[cfg(test)]
mod tests;
