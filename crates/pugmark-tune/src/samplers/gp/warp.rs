//! Objectives as a Gaussian process wants them.

/// Exponents that are tried: 1 leaves the values as they are, smaller ones draw in the bad ones.
const EXPONENTS: std::ops::RangeInclusive<i32> = -20..=10;

/// The values with mean 0 and variance 1, after the transform of Yeo and Johnson (2000) whose exponent, at most 1, makes them most
/// likely to be normal: trainings that went astray no longer hide the differences between good ones. All 0 where they are all the same.
pub(crate) fn warped(values: &[f64]) -> Vec<f64> {
    let plain = standardised(values);
    let likelihood = |exponent: f64| {
        let moved: Vec<f64> = plain.iter().map(|x| yeo_johnson(*x, exponent)).collect();
        let mean = moved.iter().sum::<f64>() / moved.len() as f64;
        let variance = moved.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / moved.len() as f64;
        let stretch: f64 = plain.iter().map(|x| x.signum() * x.abs().ln_1p()).sum();
        -0.5 * moved.len() as f64 * variance.max(f64::MIN_POSITIVE).ln() + (exponent - 1.0) * stretch
    };
    let exponents = EXPONENTS.rev().map(|tenth| f64::from(tenth) / 10.0);
    let best = exponents
        .map(|exponent| (likelihood(exponent), exponent))
        .reduce(|a, b| if b.0 > a.0 { b } else { a });
    let exponent = best.map_or(1.0, |best| best.1);
    standardised(&plain.iter().map(|x| yeo_johnson(*x, exponent)).collect::<Vec<_>>())
}

fn yeo_johnson(x: f64, exponent: f64) -> f64 {
    match (x >= 0.0, exponent) {
        (true, 0.0) => x.ln_1p(),
        (true, e) => ((e * x.ln_1p()).exp() - 1.0) / e,
        (false, e) => (1.0 - ((2.0 - e) * (-x).ln_1p()).exp()) / (2.0 - e),
    }
}

/// With mean 0 and variance 1; all 0 where they are all the same.
fn standardised(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    // Divided first: values as large as the largest number have no sum.
    let largest = values.iter().fold(0.0f64, |a, x| a.max(x.abs())).max(f64::MIN_POSITIVE);
    let mean = values.iter().map(|x| x / largest / n).sum::<f64>();
    let deviation = (values.iter().map(|x| (x / largest - mean).powi(2)).sum::<f64>() / n).sqrt();
    values.iter().map(|x| if deviation > 1e-15 { (x / largest - mean) / deviation } else { 0.0 }).collect()
}
