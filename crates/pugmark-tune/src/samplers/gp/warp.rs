//! Objectives as a Gaussian process wants them.

/// Exponents that are tried: 1 leaves the values as they are, smaller ones draw in the bad ones.
const EXPONENTS: std::ops::RangeInclusive<i32> = -20..=10;

/// The values with mean 0 and variance 1, after the transform of Yeo and Johnson (2000) whose exponent, at most 1, makes them most
/// likely to be normal: trainings that went astray no longer hide the differences between good ones. All 0 where they are all the same.
pub(crate) fn warped(values: &[f64]) -> Vec<f64> {
    let plain = centred(&standardised(values));
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

/// With median 0 and the middle half of width 1, which no outlier changes; as they are where the middle half is all the same.
fn centred(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let quantile = |quarter: usize| sorted[(values.len() - 1) * quarter / 4];
    let width = if quantile(3) - quantile(1) > 1e-12 { quantile(3) - quantile(1) } else { 1.0 };
    values.iter().map(|x| (x - quantile(2)) / width).collect()
}

fn yeo_johnson(x: f64, exponent: f64) -> f64 {
    match (x >= 0.0, exponent) {
        (true, 0.0) => x.ln_1p(),
        (true, e) => ((e * x.ln_1p()).exp() - 1.0) / e,
        (false, e) => (1.0 - ((2.0 - e) * (-x).ln_1p()).exp()) / (2.0 - e),
    }
}

/// With mean 0 and variance 1; all 0 where they are all the same.
pub(crate) fn standardised(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    // Divided first: values as large as the largest number have no sum.
    let largest = values.iter().fold(0.0f64, |a, x| a.max(x.abs())).max(f64::MIN_POSITIVE);
    let mean = values.iter().map(|x| x / largest / n).sum::<f64>();
    let deviation = (values.iter().map(|x| (x / largest - mean).powi(2)).sum::<f64>() / n).sqrt();
    values.iter().map(|x| if deviation > 1e-15 { (x / largest - mean) / deviation } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samplers::random::Generator;

    #[test]
    fn the_order_stays() {
        for scale in [1e-300, 1.0, 1e300] {
            let mut random = Generator::new(1, 0, 0);
            let mut values: Vec<f64> = (0..40).map(|_| scale * (3.0 * random.normal()).exp()).collect();
            values.sort_by(f64::total_cmp);
            let warped = warped(&values);
            assert!(warped.is_sorted() && warped.iter().all(|x| x.is_finite()), "{warped:?}");
            // They had a skewness of about 4 before.
            let skewness = warped.iter().map(|x| x.powi(3)).sum::<f64>() / 40.0;
            assert!(skewness.abs() < 1.5, "{skewness}");
        }
        assert_eq!(warped(&[2.0; 5]), [0.0; 5]);
    }

    #[test]
    fn normal_values_stay() {
        let mut random = Generator::new(2, 0, 0);
        let values: Vec<f64> = (0..200).map(|_| 5.0 + 2.0 * random.normal()).collect();
        let (plain, warped) = (standardised(&values), warped(&values));
        // Up to the exponent's own scatter.
        assert!(plain.iter().zip(&warped).all(|(a, b)| (a - b).abs() < 0.5));
        let mean = plain.iter().sum::<f64>() / 200.0;
        assert!(mean.abs() < 1e-12 && (plain.iter().map(|x| x * x).sum::<f64>() / 200.0 - 1.0).abs() < 1e-12);
    }

    /// The published form, at exponents where it is simple.
    #[test]
    fn yeo_and_johnson() {
        for (x, exponent, expected) in
            [(3.0, 1.0, 3.0), (-3.0, 1.0, -3.0), (3.0, 0.0, 4f64.ln()), (3.0, -1.0, 0.75), (-3.0, 0.0, -7.5)]
        {
            assert!((yeo_johnson(x, exponent) - expected).abs() < 1e-12, "{x}, {exponent}");
        }
    }
}
