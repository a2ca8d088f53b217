//! The standard normal distribution, and the expected improvement under it.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The probability of a value below `z`.
pub(crate) fn cdf(z: f64) -> f64 {
    0.5 * libm::erfc(-FRAC_1_SQRT_2 * z)
}

fn log_pdf(z: f64) -> f64 {
    -0.5 * z * z - 0.5 * (2.0 * PI).ln()
}

/// The logarithm of `E max(0, z + X)`, X standard normal, and its derivative (Ament et al., 2023): finite where the expectation itself
/// is below the smallest number.
pub(crate) fn log_expected_improvement(z: f64) -> (f64, f64) {
    if z > -25.0 {
        let (density, below) = (log_pdf(z).exp(), cdf(z));
        let value = density + z * below;
        return (value.ln(), below / value);
    }
    // Mills' ratio and its integral in powers of 1 / z^2; the next term is below 1e-9 here.
    let r = 1.0 / (z * z);
    let below = 1.0 - r * (1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r)));
    let value = 1.0 - 3.0 * r * (1.0 - 5.0 * r * (1.0 - 7.0 * r * (1.0 - 9.0 * r)));
    (log_pdf(z) + (r * value).ln(), -z * below / value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The integral of max(0, z + x) times the density by Simpson's rule, scaled so that it doesn't underflow.
    fn integral(z: f64) -> f64 {
        // The integrand starts at -z, where the density falls at least as fast as exp(z x); above 12 there is nothing.
        let (start, steps) = (-z, 200_000);
        let width = if z < -1.0 { 40.0 / -z } else { 12.0 - start };
        let h = width / f64::from(steps);
        let shift = if z < 0.0 { -0.5 * z * z } else { 0.0 };
        let f = |x: f64| (z + x).max(0.0) * (-0.5 * x * x - shift).exp();
        let inner: f64 =
            (1..steps).map(|i| f(start + f64::from(i) * h) * if i % 2 == 1 { 4.0 } else { 2.0 }).sum();
        ((f(start) + f(start + width) + inner) * h / 3.0 / (2.0 * PI).sqrt()).ln() + shift
    }

    #[test]
    fn against_the_integral() {
        for z in [-60.0, -40.0, -26.0, -24.9, -10.0, -3.0, -1.0, -0.1, 0.0, 0.3, 1.0, 4.0, 10.0] {
            let (value, slope) = log_expected_improvement(z);
            // Simpson's error and the series' are both far below 1e-6 of a logarithm.
            assert!((value - integral(z)).abs() < 1e-6, "{z}: {value} {}", integral(z));
            let step = 1e-5 * f64::max(1.0, z.abs());
            let difference =
                (log_expected_improvement(z + step).0 - log_expected_improvement(z - step).0) / (2.0 * step);
            assert!((slope / difference - 1.0).abs() < 1e-5, "{z}: {slope} {difference}");
        }
        assert!(log_expected_improvement(-1e8).0.is_finite());
    }

    #[test]
    fn known_probabilities() {
        for (z, p) in [(0.0, 0.5), (1.0, 0.841_344_746_068_542_9), (-3.0, 0.001_349_898_031_630_094_6)] {
            assert!((cdf(z) - p).abs() < 1e-15);
        }
    }
}
