//! Schedules against those of `torch.optim.lr_scheduler`.

use pugmark_train::{Plateau, Rates, Schedule};
use safetensors::SafeTensors;

#[test]
fn plateau_rates_are_pytorchs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/reduce_lr_on_plateau.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let fixture = SafeTensors::deserialize(&bytes).unwrap();
    let values = |name: String| -> Vec<f64> {
        let data = fixture.tensor(&name).unwrap();
        data.data().as_chunks().0.iter().map(|&chunk| f64::from_le_bytes(chunk)).collect()
    };
    for case in ["steady", "plateau", "below_threshold", "smallest"] {
        let mut schedule = Plateau::new(values(format!("{case}.learning_rate_0"))[0]);
        let rates: Vec<f64> = values(format!("{case}.losses"))
            .into_iter()
            .map(|loss| {
                schedule.step(loss);
                schedule.rate()
            })
            .collect();
        // The same operations on the same f64: equal to the bit.
        assert_eq!(rates, values(format!("{case}.learning_rates")), "{case}");
    }
}

/// PyTorch multiplies rates step by step where we compute each anew: some dozen roundings of f64. The last rate of the
/// cycle is a difference of numbers a million times as large.
#[test]
fn rates_are_pytorchs() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/learning_rates.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let fixture = SafeTensors::deserialize(&bytes).unwrap();
    for (case, schedule, warmup) in [
        ("constant", Schedule::Constant, 0.0),
        ("step", Schedule::Step, 0.0),
        ("cosine", Schedule::Cosine, 0.0),
        ("one-cycle", Schedule::OneCycle, 0.0),
        ("warmup_constant", Schedule::Constant, 6.0),
        ("warmup_step", Schedule::Step, 6.0),
        ("warmup_cosine", Schedule::Cosine, 6.0),
    ] {
        let rates = Rates { schedule, steps: 24.0, warmup, step_length: 6.0, step_factor: 0.3, least: 1e-5 };
        let data = fixture.tensor(case).unwrap();
        let expected: Vec<f64> = data.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect();
        assert_eq!(expected.len(), 24);
        for (step, expected) in expected.into_iter().enumerate() {
            let found = rates.rate(0.01, step as f64);
            assert!((found - expected).abs() < 1e-15, "{case}, step {step}: {found} against {expected}");
        }
    }
}

/// A cycle rises by itself; behind a warm-up it begins where the warm-up ends.
#[test]
fn a_warm_up_ends_where_the_schedule_begins() {
    for schedule in [Schedule::OneCycle, Schedule::Plateau, Schedule::Cosine] {
        let rates =
            Rates { schedule, steps: 100.0, warmup: 10.0, step_length: 1.0, step_factor: 0.5, least: 0.0 };
        let (before, after) = (rates.rate(0.1, 9.999_999), rates.rate(0.1, 10.0));
        assert!((before - after).abs() < 1e-6, "{schedule:?}: {before} {after}");
        assert!(rates.rate(0.1, 0.0) < 0.011 * after);
    }
}
