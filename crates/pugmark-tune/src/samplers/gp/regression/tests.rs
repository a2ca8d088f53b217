use super::*;
use crate::samplers::random::Generator;

fn data(n: usize, dimensions: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut random = Generator::new(5, 0, 0);
    let points: Vec<Vec<f64>> = (0..n).map(|_| (0..dimensions).map(|_| random.uniform()).collect()).collect();
    let values = points.iter().map(|x| (6.0 * x[0]).sin() + x[1] * x[1] + 0.1 * random.normal()).collect();
    (points, values)
}

/// scikit-learn 1.9.1 (`fixtures/gaussian_process.py`): GaussianProcessRegressor with a fixed kernel.
#[test]
fn the_posterior_of_scikit_learn() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../../../../../../fixtures/gaussian_process.json")).unwrap();
    let numbers = |key: &str| -> Vec<f64> { serde_json::from_value(fixture[key].clone()).unwrap() };
    let rows = |key: &str| -> Vec<Vec<f64>> { serde_json::from_value(fixture[key].clone()).unwrap() };
    let inverse_squares = numbers("length_scales").iter().map(|x| 1.0 / (x * x)).collect();
    let hyperparameters =
        Hyperparameters { inverse_squares, scale: numbers("scale")[0], noise: numbers("noise")[0] };
    let process = Process::new(&rows("points"), &numbers("values"), &[false; 3], hyperparameters).unwrap();
    for ((at, mean), deviation) in rows("at").iter().zip(numbers("mean")).zip(numbers("deviation")) {
        let (ours, variance) = process.posterior(at);
        // Both solve in f64; the condition number is below 1e5.
        assert!((ours - mean).abs() < 1e-9, "{ours} {mean}");
        assert!((variance.sqrt() - deviation).abs() < 1e-9, "{} {deviation}", variance.sqrt());
        assert!((process.mean(at) - mean).abs() < 1e-9);
    }
    // Its log marginal likelihood, from our loss less the priors.
    let distances = Distances::new(&rows("points"), &[false; 3]);
    let Hyperparameters { inverse_squares, scale, noise } = process.hyperparameters;
    let mut logarithms: Vec<f64> = inverse_squares.iter().map(|x| x.ln()).collect();
    logarithms.extend([scale.ln(), (noise - LEAST_NOISE).ln()]);
    let prior: f64 = inverse_squares.iter().map(|x| 0.1 / x + 0.1 * x).sum::<f64>() - scale.ln() + scale
        - 0.1 * noise.ln()
        + 30.0 * noise;
    let loss = distances.loss(&numbers("values"), &logarithms, &mut [0.0; 5]);
    let constant = 0.5 * numbers("values").len() as f64 * (2.0 * std::f64::consts::PI).ln();
    assert!((-(loss - prior) - constant - numbers("log_likelihood")[0]).abs() < 1e-8);
}

/// Against central differences.
#[test]
fn the_gradient_of_the_loss() {
    let (points, values) = data(12, 3);
    let points: Vec<Vec<f64>> = points.into_iter().map(|x| vec![x[0], x[1], (3.0 * x[2]).floor()]).collect();
    let distances = Distances::new(&points, &[false, false, true]);
    for logarithms in [[0.3, -1.0, 0.5, 0.2, -3.0], [2.0, 1.0, -2.0, -1.0, -8.0]] {
        let mut gradient = [0.0; 5];
        distances.loss(&values, &logarithms, &mut gradient);
        for j in 0..5 {
            let at = |step: f64| {
                let mut logarithms = logarithms;
                logarithms[j] += step;
                distances.loss(&values, &logarithms, &mut [0.0; 5])
            };
            let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
            // The differences' own rounding is 1e-16 * loss / 1e-5.
            assert!(
                (gradient[j] - difference).abs() < 1e-6 * difference.abs().max(1.0),
                "{j}: {gradient:?} {difference}"
            );
        }
    }
}

/// The first two coordinates matter, the third does not; the noise is a tenth.
#[test]
fn the_fit_finds_what_matters() {
    let (points, values) = data(60, 3);
    let values = super::super::warped(&values);
    let Hyperparameters { inverse_squares, noise, .. } =
        Process::fit(&points, &values, &[false; 3]).hyperparameters;
    assert!(inverse_squares[0] > 5.0 * inverse_squares[2], "{inverse_squares:?}");
    // 0.1^2 over the variance of the values, which is about 0.65.
    assert!((0.005..0.05).contains(&noise), "{noise}");
}

#[test]
fn the_same_point_again_and_again() {
    let points = vec![vec![0.5, 0.5]; 20];
    let values: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
    let process = Process::fit(&points, &values, &[false; 2]);
    assert!(process.mean(&points[0]).abs() < 1e-6);
    assert!(Process::fit(&points, &[0.0; 20], &[false; 2]).posterior(&points[0]).1.is_finite());
}
