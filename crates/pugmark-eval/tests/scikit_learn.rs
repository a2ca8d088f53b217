//! The metrics against scikit-learn's, from `fixtures/metrics.json`.

use pugmark_eval::{EvalError, Origins, detail, evaluate};
use serde_json::Value;

/// Both sides compute in f64 from the same f32 probabilities: only the order of sums differs.
const TOLERANCE: f64 = 1e-9;

#[track_caller]
fn close(name: &str, ours: f64, reference: &Value) {
    let reference = reference.as_f64().expect("a number");
    assert!((ours - reference).abs() <= TOLERANCE, "{name}: {ours} but scikit-learn says {reference}");
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class_{class}")).collect()
}

#[test]
fn agrees_with_scikit_learn() {
    let fixture = include_str!("../../../fixtures/metrics.json");
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 9);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let labels: Vec<usize> = serde_json::from_value(case["labels"].clone()).unwrap();
        let rows: Vec<Vec<f32>> = serde_json::from_value(case["probabilities"].clone()).unwrap();
        let evaluation = evaluate(&names(rows[0].len()), &labels, &rows.concat()).unwrap();
        assert_eq!(evaluation.images, labels.len(), "{name}");
        close(name, evaluation.accuracy, &case["accuracy"]);
        close(name, evaluation.log_loss, &case["log_loss"]);
        close(name, evaluation.top3, &case["top3"]);
        close(name, evaluation.top5, &case["top5"]);
        close(name, evaluation.balanced_accuracy, &case["balanced_accuracy"]);
        close(name, evaluation.brier, &case["brier"]);
        let detail = detail(&names(rows[0].len()), &labels, &rows.concat(), &Origins::default()).unwrap();
        close(name, detail.calibration.expected_error, &case["calibration_error"]);
        for (ours, reference) in
            detail.average_precision.iter().zip(case["average_precision"].as_array().unwrap())
        {
            match ours {
                Some(ours) => close(name, *ours, reference),
                None => assert!(reference.is_null(), "{name}"),
            }
        }
        close(name, evaluation.macro_precision, &case["macro"]["precision"]);
        close(name, evaluation.macro_recall, &case["macro"]["recall"]);
        close(name, evaluation.macro_f1, &case["macro"]["f1"]);
        close(name, evaluation.weighted_precision, &case["weighted"]["precision"]);
        close(name, evaluation.weighted_recall, &case["weighted"]["recall"]);
        close(name, evaluation.weighted_f1, &case["weighted"]["f1"]);
        for (class, metrics) in evaluation.per_class.iter().enumerate() {
            close(name, metrics.precision, &case["precision"][class]);
            close(name, metrics.recall, &case["recall"][class]);
            close(name, metrics.f1, &case["f1"][class]);
            assert_eq!(metrics.support, case["support"][class], "{name}");
        }
        assert_eq!(serde_json::to_value(&evaluation.confusion).unwrap(), case["confusion"], "{name}");
        close(name, evaluation.floors.majority_accuracy, &case["majority_accuracy"]);
        close(name, evaluation.floors.uniform_log_loss, &case["uniform_log_loss"]);
        close(name, evaluation.floors.prior_log_loss, &case["prior_log_loss"]);
    }
}

#[test]
fn refuses_what_cannot_be_evaluated() {
    struct Case {
        labels: &'static [usize],
        probabilities: &'static [f32],
        error: &'static str,
    }
    let cases = [
        Case { labels: &[], probabilities: &[], error: "no labelled photo to evaluate" },
        Case {
            labels: &[0, 1],
            probabilities: &[0.5, 0.5, 1.0],
            error: "2 photos and 2 classes need 4 probabilities, not 3",
        },
        Case {
            labels: &[2],
            probabilities: &[0.5, 0.5],
            error: "photo 0 (from 0): label 2, but there are 2 classes",
        },
        Case {
            labels: &[0, 1],
            probabilities: &[0.5, 0.5, f32::NAN, 0.5],
            error: "photo 1 (from 0): NaN is not between 0 and 1, so these are not the probabilities of one photo",
        },
        Case {
            labels: &[0],
            probabilities: &[0.9, 0.2],
            error: "photo 0 (from 0): the row sums to 1.1000, so these are not the probabilities of one photo",
        },
    ];
    for case in cases {
        let error: EvalError = evaluate(&names(2), case.labels, case.probabilities).unwrap_err();
        assert_eq!(error.to_string(), case.error);
        assert!(error.hint().is_some());
    }
}
