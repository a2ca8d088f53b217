use serde::Serialize;

use crate::EvalError;

/// How well a classifier did on labelled photos.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Photos evaluated.
    pub images: usize,
    /// Share of the photos whose most probable class is the true one; a tie goes to the first class.
    pub accuracy: f64,
    /// Mean of -ln(probability of the true class), with probabilities clipped to [2^-23, 1 - 2^-23].
    pub log_loss: f64,
    /// Share of the photos whose true class is among the three most probable; ties as in `accuracy`.
    pub top3: f64,
    /// Share of the photos whose true class is among the five most probable.
    pub top5: f64,
    /// Mean recall over the classes that occur in the labels: what the accuracy would be if they were equally frequent.
    pub balanced_accuracy: f64,
    /// Mean over the photos of the summed squared differences between probabilities and truth; 0 to 2.
    pub brier: f64,
    /// Mean precision over the classes that occur in the labels or the predictions; so for the other macro means.
    pub macro_precision: f64,
    /// Mean recall.
    pub macro_recall: f64,
    /// Mean F1.
    pub macro_f1: f64,
    /// Mean precision over the classes, weighted by their number of photos; so for the other weighted means.
    pub weighted_precision: f64,
    /// Mean recall; equals the accuracy.
    pub weighted_recall: f64,
    /// Mean F1.
    pub weighted_f1: f64,
    /// One entry a class, in the order of the classes.
    pub per_class: Vec<ClassMetrics>,
    /// Photos, as `[true class][predicted class]`.
    pub confusion: Vec<Vec<u64>>,
    /// What somebody who never looks at a photo reaches on the same labels.
    pub floors: Floors,
}

/// One class against all others. A ratio without a denominator is 0.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassMetrics {
    /// Name of the class.
    pub class: String,
    /// Photos that show it.
    pub support: u64,
    /// Of the photos predicted as it, the share that show it.
    pub precision: f64,
    /// Of the photos that show it, the share predicted as it.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

/// Scores reached without looking at a photo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Floors {
    /// Accuracy of always answering the most frequent class of these labels.
    pub majority_accuracy: f64,
    /// Log loss of answering 1 / classes everywhere: ln(classes).
    pub uniform_log_loss: f64,
    /// Log loss of answering these labels' own class shares everywhere: their entropy.
    pub prior_log_loss: f64,
}

/// Evaluates `probabilities` (photos x classes, row by row) against `labels` (an index into `classes` for each photo).
///
/// # Errors
/// No photo, lengths or labels that do not fit, or a row that is not a probability distribution (within 0.001).
pub fn evaluate(
    classes: &[String],
    labels: &[usize],
    probabilities: &[f32],
) -> Result<Evaluation, EvalError> {
    check(classes.len(), labels, probabilities)?;
    let count = classes.len();
    let images = labels.len();
    let mut confusion = vec![vec![0u64; count]; count];
    let mut log_loss = 0.0;
    let mut brier = 0.0;
    let (mut top3, mut top5) = (0u64, 0u64);
    for (&label, row) in labels.iter().zip(probabilities.chunks_exact(count)) {
        let predicted = most_probable(row);
        confusion[label][predicted] += 1;
        let ahead = |&class: &usize| row[class] > row[label] || (row[class] == row[label] && class < label);
        let rank = (0..count).filter(ahead).count();
        top3 += u64::from(rank < 3);
        top5 += u64::from(rank < 5);
        log_loss += surprise(row[label]);
        brier += squares(row, label);
    }

    let correct: u64 = (0..count).map(|class| confusion[class][class]).sum();
    let per_class: Vec<_> = classes
        .iter()
        .enumerate()
        .map(|(class, name)| {
            let support: u64 = confusion[class].iter().sum();
            let predicted: u64 = confusion.iter().map(|row| row[class]).sum();
            let hits = confusion[class][class];
            ClassMetrics {
                class: name.clone(),
                support,
                precision: ratio(hits, predicted),
                recall: ratio(hits, support),
                f1: ratio(2 * hits, support + predicted),
            }
        })
        .collect();
    let occurs =
        |class: usize| confusion[class].iter().any(|&n| n > 0) || confusion.iter().any(|row| row[class] > 0);
    let [macro_precision, macro_recall, macro_f1] = mean(&per_class, |class, _| f64::from(occurs(class)));
    let [_, balanced_accuracy, _] = mean(&per_class, |_, m| f64::from(m.support > 0));
    let [weighted_precision, weighted_recall, weighted_f1] = mean(&per_class, |_, m| m.support as f64);
    let shares = per_class.iter().map(|m| m.support as f64 / images as f64);
    let floors = Floors {
        majority_accuracy: shares.clone().fold(0.0, f64::max),
        uniform_log_loss: (count as f64).ln(),
        prior_log_loss: shares.filter(|&share| share > 0.0).map(|share| -share * share.ln()).sum(),
    };
    Ok(Evaluation {
        images,
        accuracy: ratio(correct, images as u64),
        log_loss: log_loss / images as f64,
        top3: ratio(top3, images as u64),
        top5: ratio(top5, images as u64),
        balanced_accuracy,
        brier: brier / images as f64,
        macro_precision,
        macro_recall,
        macro_f1,
        weighted_precision,
        weighted_recall,
        weighted_f1,
        per_class,
        confusion,
        floors,
    })
}

/// The class; a tie goes to the first.
pub(crate) fn most_probable(row: &[f32]) -> usize {
    (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best })
}

/// -ln of the true class's probability, which scikit-learn clips at the epsilon of its type, here f32.
pub(crate) fn surprise(probability: f32) -> f64 {
    -f64::from(probability.clamp(f32::EPSILON, 1.0 - f32::EPSILON)).ln()
}

/// Summed squared differences between a row and its truth.
pub(crate) fn squares(row: &[f32], label: usize) -> f64 {
    row.iter().enumerate().map(|(class, &p)| (f64::from(p) - f64::from(class == label)).powi(2)).sum()
}

pub(crate) fn check(classes: usize, labels: &[usize], probabilities: &[f32]) -> Result<(), EvalError> {
    if labels.is_empty() || classes == 0 {
        return Err(EvalError::Empty);
    }
    if probabilities.len() != labels.len() * classes {
        return Err(EvalError::Shape { photos: labels.len(), classes, found: probabilities.len() });
    }
    for (photo, (&label, row)) in labels.iter().zip(probabilities.chunks_exact(classes)).enumerate() {
        if label >= classes {
            return Err(EvalError::Label { photo, label, classes });
        }
        if let Some(value) = row.iter().find(|p| !(0.0..=1.001).contains(*p)) {
            return Err(EvalError::Probabilities { photo, what: format!("{value} is not between 0 and 1") });
        }
        let sum: f64 = row.iter().map(|&p| f64::from(p)).sum();
        if (sum - 1.0).abs() > 1e-3 {
            return Err(EvalError::Probabilities { photo, what: format!("the row sums to {sum:.4}") });
        }
    }
    Ok(())
}

pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// Weighted means of precision, recall and F1; at least one photo was evaluated, so some weight is above 0.
fn mean(per_class: &[ClassMetrics], weight: impl Fn(usize, &ClassMetrics) -> f64) -> [f64; 3] {
    let mut sums = [0.0; 3];
    let mut total = 0.0;
    for (class, metrics) in per_class.iter().enumerate() {
        let weight = weight(class, metrics);
        total += weight;
        for (sum, value) in sums.iter_mut().zip([metrics.precision, metrics.recall, metrics.f1]) {
            *sum += weight * value;
        }
    }
    sums.map(|sum| sum / total)
}
