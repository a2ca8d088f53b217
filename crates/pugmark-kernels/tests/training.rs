//! Losses and optimiser updates against plain arithmetic in f64.

mod common;

use common::{Random, UNIT};
use pugmark_kernels::*;

#[test]
fn softmax_sums_to_one_and_survives_large_logits() {
    for (n, k) in [(1, 1), (3, 2), (5, 133)] {
        let logits: Vec<f32> = Random(1).values(n * k).iter().map(|v| 300.0 * v + 1e4).collect();
        let mut probs = vec![f32::NAN; n * k];
        softmax(n, k, &logits, &mut probs);
        for (logits, probs) in logits.chunks(k).zip(probs.chunks(k)) {
            let sum: f64 = probs.iter().map(|&p| f64::from(p)).sum();
            // One rounding a value.
            assert!((sum - 1.0).abs() <= k as f64 * UNIT, "{n} x {k}: {sum}");
            let ratio = (f64::from(logits[0]) - f64::from(logits[k - 1])).exp();
            let (a, b) = (f64::from(probs[0]), f64::from(probs[k - 1]));
            // Both values are rounded; below the smallest normal value that is an absolute error.
            assert!(
                (a - ratio * b).abs() <= 4.0 * UNIT * (a + ratio * b) + 1e-38 * (1.0 + ratio),
                "{a} {b} {ratio}"
            );
        }
    }
}

/// The loss by its definition, for logits in f64.
fn loss(k: usize, logits: &[f64], labels: &[u32], ce: &CrossEntropy<'_>) -> f64 {
    let weight = |class: usize| ce.class_weights.map_or(1.0, |w| f64::from(w[class]));
    let smooth = f64::from(ce.label_smoothing);
    let (mut sum, mut total) = (0.0, 0.0);
    for (logits, &label) in logits.chunks(k).zip(labels) {
        let log_sum = logits.iter().map(|z| z.exp()).sum::<f64>().ln();
        for (class, z) in logits.iter().enumerate() {
            let hard = if class == label as usize { 1.0 - smooth } else { 0.0 };
            sum -= weight(class) * (hard + smooth / k as f64) * (z - log_sum);
        }
        total += weight(label as usize);
    }
    sum / total
}

#[test]
fn cross_entropy_and_its_gradient_agree_with_finite_differences() {
    const STEP: f64 = 1e-5;
    for (n, k) in [(1, 2), (4, 5), (7, 13)] {
        let mut random = Random(2);
        let logits = random.values(n * k);
        let weights: Vec<f32> = random.values(k).iter().map(|w| w.abs() + 0.1).collect();
        let labels: Vec<u32> = (0..n).map(|_| (random.next() % k as u64) as u32).collect();
        for label_smoothing in [0.0, 0.1] {
            for class_weights in [None, Some(&weights[..])] {
                let ce = CrossEntropy { label_smoothing, class_weights, ..Default::default() };
                let mut dlogits = vec![f32::NAN; n * k];
                let got = cross_entropy(n, k, &logits, &labels, &ce, Some(&mut dlogits));
                let exact: Vec<f64> = logits.iter().map(|&z| f64::from(z)).collect();
                assert!((got - loss(k, &exact, &labels, &ce)).abs() < 1e-12, "{n} x {k}, {ce:?}: {got}");
                assert_eq!(got, cross_entropy(n, k, &logits, &labels, &ce, None));
                for i in 0..n * k {
                    let at = |step: f64| {
                        let mut logits = exact.clone();
                        logits[i] += step;
                        loss(k, &logits, &labels, &ce)
                    };
                    let slope = (at(STEP) - at(-STEP)) / (2.0 * STEP);
                    // One rounding to f32, and the differences' own error of the order of STEP squared.
                    let error = (f64::from(dlogits[i]) - slope).abs();
                    assert!(error < UNIT * slope.abs() + 1e-9, "{n} x {k}, {ce:?}, {i}: {error:e}");
                }
            }
        }
    }
}

#[test]
fn cross_entropy_of_a_certain_answer_is_zero_and_of_an_impossible_one_finite() {
    let ce = CrossEntropy::default();
    assert_eq!(cross_entropy(1, 2, &[500.0, -500.0], &[0], &ce, None), 0.0);
    assert_eq!(cross_entropy(1, 2, &[500.0, -500.0], &[1], &ce, None), 1000.0);
}

#[test]
#[should_panic(expected = "labels: 2 at 1, but there are 2 classes")]
fn cross_entropy_names_a_label_that_is_no_class() {
    cross_entropy(2, 2, &[0.0; 4], &[1, 2], &CrossEntropy::default(), None);
}

/// More than one task's values, and a rest.
const PARAMETERS: usize = 70_001;
const STEPS: u64 = 5;

/// Panics unless both agree to some roundings of values of order 1.
fn assert_parameters(what: &str, got: &[f32], expected: &[f64]) {
    for (i, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(got) - expected).abs();
        assert!(error < 8.0 * STEPS as f64 * UNIT, "{what}: parameter {i} is {got} instead of {expected}");
    }
}

#[test]
fn adamw_follows_its_definition() {
    let o = AdamW { lr: 1e-2, beta1: 0.9, beta2: 0.99, eps: 1e-6, weight_decay: 0.1 };
    let [lr, beta1, beta2, eps, weight_decay] =
        [o.lr, o.beta1, o.beta2, o.eps, o.weight_decay].map(f64::from);
    for isa in Isa::available() {
        let mut random = Random(3);
        let mut p = random.values(PARAMETERS);
        let (mut m, mut v) = (vec![0.0; PARAMETERS], vec![0.0; PARAMETERS]);
        let mut expected: Vec<f64> = p.iter().map(|&p| f64::from(p)).collect();
        let (mut first, mut second) = (vec![0f64; PARAMETERS], vec![0f64; PARAMETERS]);
        for step in 1..=STEPS {
            let g = random.values(PARAMETERS);
            with_isa(isa, || adamw_step(&o, step, &mut p, &g, &mut m, &mut v));
            for i in 0..PARAMETERS {
                let g = f64::from(g[i]);
                first[i] = beta1 * first[i] + (1.0 - beta1) * g;
                second[i] = beta2 * second[i] + (1.0 - beta2) * g * g;
                let mean = first[i] / (1.0 - beta1.powi(step as i32));
                let square = second[i] / (1.0 - beta2.powi(step as i32));
                expected[i] -= lr * weight_decay * expected[i];
                expected[i] -= lr * mean / (square.sqrt() + eps);
            }
        }
        assert_parameters(&format!("adamw on {isa}"), &p, &expected);
    }
}

#[test]
fn sgd_follows_its_definition() {
    for (momentum, nesterov) in [(0.0, false), (0.9, false), (0.9, true)] {
        let o = Sgd { lr: 1e-2, momentum, weight_decay: 0.1, nesterov };
        let [lr, momentum, weight_decay] = [o.lr, o.momentum, o.weight_decay].map(f64::from);
        for isa in Isa::available() {
            let mut random = Random(4);
            let (mut p, mut buf) = (random.values(PARAMETERS), vec![f32::NAN; PARAMETERS]);
            let mut expected: Vec<f64> = p.iter().map(|&p| f64::from(p)).collect();
            let mut velocity = vec![0f64; PARAMETERS];
            for step in 0..STEPS {
                let g = random.values(PARAMETERS);
                with_isa(isa, || sgd_step(&o, step == 0, &mut p, &g, &mut buf));
                for i in 0..PARAMETERS {
                    let g = f64::from(g[i]) + weight_decay * expected[i];
                    velocity[i] = momentum * velocity[i] + g;
                    expected[i] -= lr * if nesterov { g + momentum * velocity[i] } else { velocity[i] };
                }
            }
            assert_parameters(&format!("{o:?} on {isa}"), &p, &expected);
        }
    }
}
