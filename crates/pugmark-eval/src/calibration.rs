//! Whether probabilities mean what they say, and the temperature that makes them.

mod vector;

use serde::Serialize;

pub use vector::{VectorScaling, fit_vector};

use crate::evaluation::most_probable;

/// Photos by the probability of their predicted class, in bins of equal width.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibration {
    /// Expected calibration error: the mean over the photos of their bin's |accuracy - confidence| (Guo et al., arXiv
    /// 1706.04599).
    pub expected_error: f64,
    /// The bins that have photos, from the least confident.
    pub bins: Vec<Bin>,
}

/// Photos that the model is about as sure of: a point of the reliability diagram.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bin {
    /// Confidence above this, or from 0 ...
    pub above: f64,
    /// ... up to this.
    pub to: f64,
    /// Photos in it.
    pub images: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Their accuracy.
    pub accuracy: f64,
}

/// Guo et al.'s.
const BINS: usize = 15;

pub(crate) fn calibration(labels: &[usize], probabilities: &[f32]) -> Calibration {
    let count = probabilities.len() / labels.len();
    let mut sums = [(0usize, 0.0, 0usize); BINS];
    for (&label, row) in labels.iter().zip(probabilities.chunks_exact(count)) {
        let predicted = most_probable(row);
        let confidence = f64::from(row[predicted]);
        let bin = ((confidence * BINS as f64).ceil() as usize).clamp(1, BINS) - 1;
        let (images, confidences, right) = &mut sums[bin];
        *images += 1;
        *confidences += confidence;
        *right += usize::from(predicted == label);
    }
    let bins: Vec<Bin> = sums
        .into_iter()
        .enumerate()
        .filter(|(_, (images, ..))| *images > 0)
        .map(|(bin, (images, confidences, right))| Bin {
            above: bin as f64 / BINS as f64,
            to: (bin + 1) as f64 / BINS as f64,
            images,
            confidence: confidences / images as f64,
            accuracy: right as f64 / images as f64,
        })
        .collect();
    let off = |bin: &Bin| (bin.accuracy - bin.confidence).abs() * bin.images as f64;
    Calibration { expected_error: bins.iter().map(off).sum::<f64>() / labels.len() as f64, bins }
}

/// Temperatures looked at.
const COLDEST: f64 = 0.05;
const HOTTEST: f64 = 20.0;

/// The temperature T with the lowest mean log loss of softmax(logits / T) (`photos x classes`), as if one photo more had said
/// every class alike: else a model that is right on all photos would be told to be as sure as can be. 1 where that, or no
/// photo, makes nothing better.
///
/// The loss is convex in 1/T (its second derivative is a variance), so that halving on the sign of its slope finds the one
/// best value, within [0.05, 20].
pub fn fit_temperature(labels: &[usize], logits: &[f32]) -> f32 {
    if labels.is_empty() {
        return 1.0;
    }
    let count = logits.len() / labels.len();
    let rows = || labels.iter().zip(logits.chunks_exact(count));
    let even = 1.0 / (labels.len() + 1) as f64;
    // Of one photo: the log loss at 1/T, and how the mean logit differs from the one that is aimed at.
    let photo = |(&label, row): (&usize, &[f32]), inverse: f64| {
        let most = f64::from(row.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        let (mut weights, mut weighted, mut plain) = (0.0, 0.0, 0.0);
        for &logit in row {
            let over = f64::from(logit) - most;
            let weight = (over * inverse).exp();
            weights += weight;
            weighted += weight * over;
            plain += over;
        }
        let truth = f64::from(row[label]) - most;
        let aim = (1.0 - even) * truth + even * plain / count as f64;
        (weights.ln() - inverse * truth, weighted / weights - aim)
    };
    let slope = |inverse: f64| -> f64 { rows().map(|row| photo(row, inverse).1).sum() };
    let loss = |inverse: f64| -> f64 { rows().map(|row| photo(row, inverse).0).sum() };
    let (mut low, mut high) = (1.0 / HOTTEST, 1.0 / COLDEST);
    while high - low > 1e-9 * high {
        let middle = f64::midpoint(low, high);
        if slope(middle) < 0.0 { low = middle } else { high = middle }
    }
    let best = f64::midpoint(low, high);
    if loss(best) < loss(1.0) { (1.0 / best) as f32 } else { 1.0 }
}
