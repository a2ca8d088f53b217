//! Vector scaling against SciPy's minimum, and on photos that it was not fitted on.

use pugmark_eval::{VectorScaling, evaluate, fit_temperature, fit_vector};
use serde_json::Value;

/// xorshift64*, uniform in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.next()).ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos()
    }

    /// Logits, and labels drawn from the softmax of `scales * logits + shifts`.
    fn photos(&mut self, number: usize, scales: &[f64], shifts: &[f64]) -> (Vec<usize>, Vec<f32>) {
        let (mut labels, mut logits) = (Vec::new(), Vec::new());
        for _ in 0..number {
            let row: Vec<f32> = scales.iter().map(|_| (3.0 * self.normal()) as f32).collect();
            let weight = |(&logit, (w, b)): (&f32, (&f64, &f64))| (w * f64::from(logit) + b).exp();
            let weights: Vec<f64> = row.iter().zip(scales.iter().zip(shifts)).map(weight).collect();
            let mut left = self.next() * weights.iter().sum::<f64>();
            let label = weights.iter().position(|weight| {
                left -= weight;
                left < 0.0
            });
            labels.push(label.unwrap_or(scales.len() - 1));
            logits.extend(row);
        }
        (labels, logits)
    }
}

fn log_loss(labels: &[usize], logits: &[f32], scaling: &VectorScaling) -> f64 {
    let classes = scaling.scales.len();
    let rows = logits.chunks_exact(classes).flat_map(|row| {
        let changed = row.iter().zip(scaling.scales.iter().zip(&scaling.shifts));
        let changed: Vec<f64> =
            changed.map(|(&z, (&w, &b))| f64::from(w) * f64::from(z) + f64::from(b)).collect();
        let sum: f64 = changed.iter().map(|z| z.exp()).sum();
        changed.into_iter().map(move |z| (z.exp() / sum) as f32)
    });
    let names: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    evaluate(&names, labels, &rows.collect::<Vec<_>>()).expect("well-formed").log_loss
}

/// What the temperature alone says.
fn by_temperature(labels: &[usize], logits: &[f32]) -> VectorScaling {
    let classes = logits.len() / labels.len();
    VectorScaling { scales: vec![1.0 / fit_temperature(labels, logits); classes], shifts: vec![0.0; classes] }
}

#[test]
fn agrees_with_scipy_and_is_never_worse_than_the_temperature() {
    let fixture: Value =
        serde_json::from_str(include_str!("../../../fixtures/calibration.json")).expect("JSON");
    let cases = fixture["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 6);
    for case in cases {
        let name = &case["name"];
        let read = |key: &str| serde_json::from_value::<Vec<f64>>(case[key].clone()).expect("numbers");
        let labels: Vec<usize> = serde_json::from_value(case["labels"].clone()).expect("labels");
        let logits: Vec<Vec<f32>> = serde_json::from_value(case["logits"].clone()).expect("rows");
        let logits = logits.concat();
        let temperature = f64::from(fit_temperature(&labels, &logits));
        let theirs = case["temperature"].as_f64().expect("a temperature");
        assert!((temperature / theirs - 1.0).abs() < 1e-6, "{name}: {temperature} {theirs}");
        let found = fit_vector(&labels, &logits);
        // Both are within 1e-9 of the minimum; ours are rounded to f32, which moves them by 6e-8 of themselves, as does that of
        // the temperature.
        for (ours, theirs) in [(&found.scales, read("scales")), (&found.shifts, read("shifts"))] {
            for (&ours, theirs) in ours.iter().zip(theirs) {
                let off = (f64::from(ours) - theirs).abs();
                assert!(off < 1e-6 * theirs.abs().max(1.0), "{name}: {ours} {theirs}");
            }
        }
        let [vector, plain] =
            [found, by_temperature(&labels, &logits)].map(|scaling| log_loss(&labels, &logits, &scaling));
        println!("{name}: {plain:.4} -> {vector:.4}");
        assert!(vector <= plain + 1e-7, "{name}: {vector} {plain}");
    }
}

/// Draws photos to fit on, again and again: what vector scaling gives over the temperature on 2,000 new ones, on average.
fn gain(photos: usize, scales: &[f64], shifts: &[f64]) -> f64 {
    let mut random = Random(photos as u64);
    let trials = 40;
    let one = |_| {
        let (labels, logits) = random.photos(photos, scales, shifts);
        let (vector, plain) = (fit_vector(&labels, &logits), by_temperature(&labels, &logits));
        let (labels, logits) = random.photos(2000, scales, shifts);
        log_loss(&labels, &logits, &plain) - log_loss(&labels, &logits, &vector)
    };
    (0..trials).map(one).sum::<f64>() / f64::from(trials)
}

#[test]
fn many_photos_are_used_and_few_do_no_harm() {
    // A model that is too sure of some classes and names some too often; and one that needs a temperature alone.
    let scales = [0.3, 0.6, 0.5, 0.8, 0.5, 0.4, 0.7, 0.5];
    let shifts = [1.0, -1.0, 0.0, 0.5, -0.5, 0.0, 0.7, -0.7];
    for (photos, least) in [(10, 0.01), (30, 0.03), (100, 0.1), (1000, 0.18)] {
        let (gained, lost) = (gain(photos, &scales, &shifts), -gain(photos, &[0.5; 8], &[0.0; 8]));
        println!(
            "{photos} photos: gains {gained:.4} where classes differ, loses {lost:.4} where they do not"
        );
        // Of a log loss of about 1.
        assert!(gained > least && lost < 0.025, "{photos}: {gained} {lost}");
    }
    assert_eq!(fit_vector(&[], &[]), VectorScaling { scales: Vec::new(), shifts: Vec::new() });
}
