//! Several runs that answer together.

use serde_json::Value;

use crate::harness::Place;

const QUICK: [&str; 10] = [
    "--model",
    "simple_cnn",
    "--image-size",
    "32",
    "--epochs",
    "2",
    "--batch-size",
    "4",
    "--loader-threads",
    "1",
];

/// Runs `one`, `two` (another seed, other photos to validate) and `dawn` (another class).
fn trained() -> Place {
    let place = Place::new();
    place.photos(10);
    let train = |arguments: &[&str]| {
        place.done(&[&["train"], arguments, &QUICK[..]].concat());
    };
    train(&["photos", "--out", "one"]);
    train(&["photos", "--out", "two", "--seed", "1"]);
    for number in 0..4 {
        place.photo(&format!("others/dawn/{number}.png"), 0, number);
        place.photo(&format!("others/night/{number}.png"), 2, number);
    }
    train(&["others", "--out", "dawn"]);
    place
}

/// The row that two models' rows make.
type Combination<'a> = &'a dyn Fn(&[f64], &[f64]) -> Vec<f64>;

fn probabilities(place: &Place, arguments: &[&str]) -> Vec<Vec<f64>> {
    let rows = place.done(&[&["predict", "one", "photos"], arguments].concat()).stdout;
    let mut csv = csv::Reader::from_reader(rows.as_bytes());
    csv.records()
        .map(|row| (1..4).map(|cell| row.as_ref().unwrap()[cell].parse().unwrap()).collect())
        .collect()
}

#[test]
fn answers_become_one() {
    let place = trained();
    let one = probabilities(&place, &[]);
    let two: Vec<Vec<f64>> = {
        let rows = place.done(&["predict", "two", "photos"]).stdout;
        let mut csv = csv::Reader::from_reader(rows.as_bytes());
        csv.records()
            .map(|row| (1..4).map(|cell| row.as_ref().unwrap()[cell].parse().unwrap()).collect())
            .collect()
    };
    // Three f32 of a row, rounded once: 1e-6 covers them.
    let close = |found: &[Vec<f64>], expected: Combination<'_>| {
        assert_eq!(found.len(), one.len());
        for ((row, a), b) in found.iter().zip(&one).zip(&two) {
            let expected = expected(a, b);
            assert!(row.iter().zip(&expected).all(|(x, y)| (x - y).abs() < 1e-6), "{row:?} {expected:?}");
        }
    };
    let mean = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a + b) / 2.0).collect();
    close(&probabilities(&place, &["--with", "two"]), &mean);
    let weighted = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| 0.75 * a + 0.25 * b).collect();
    close(&probabilities(&place, &["--with", "two", "--weights", "3,1"]), &weighted);
    let geometric = |a: &[f64], b: &[f64]| {
        let roots: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a * b).sqrt()).collect();
        let sum: f64 = roots.iter().sum();
        roots.into_iter().map(|root| root / sum).collect()
    };
    close(&probabilities(&place, &["--with", "two", "--combine", "geometric"]), &geometric);
    let ended = place.done(&["predict", "one", "photos", "--with", "two", "--fit-weights"]);
    assert!(ended.stderr.contains("weights fitted on"), "{}", ended.stderr);
    assert!(ended.stderr.contains("two was trained on another split"), "{}", ended.stderr);

    place.snapshot_of_figures("eval_ensemble", &["eval", "one", "--with", "two", "--fit-weights"]);
    let measured = |arguments: &[&str]| -> Value {
        serde_json::from_str(&place.done(&[&["eval", "one", "--json"], arguments].concat()).stdout).unwrap()
    };
    let (alone, even) = (measured(&[]), measured(&["--with", "two"]));
    let fitted = measured(&["--with", "two", "--fit-weights"]);
    assert!(alone.get("ensemble").is_none());
    let weights: Vec<f64> = fitted["ensemble"]
        .as_array()
        .unwrap()
        .iter()
        .map(|share| share["weight"].as_f64().unwrap())
        .collect();
    assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-9, "{weights:?}");
    let loss = |value: &Value| value["log_loss"].as_f64().unwrap();
    assert!(loss(&fitted) <= loss(&even) + 1e-6 && loss(&fitted) <= loss(&alone) + 1e-6);
}

#[test]
fn wrong_ensembles() {
    let place = trained();
    place.snapshot("ensemble_other_classes", &["predict", "one", "photos", "--with", "dawn"]);
    place.snapshot("ensemble_no_such", &["eval", "one", "--with", "three"]);
    place.snapshot("ensemble_too_many_weights", &["eval", "one", "--with", "two", "--weights", "1,2,3"]);
    place.snapshot("ensemble_no_weight", &["eval", "one", "--with", "two", "--weights", "0,0"]);
    place.snapshot("ensemble_of_one", &["eval", "one", "--fit-weights"]);
    place.snapshot(
        "ensemble_fit_without_data",
        &["predict", "one/best.safetensors", "photos", "--with", "two", "--fit-weights"],
    );
}
