//! Sets of classes that hold the true one as often as was asked for.

/// How probable a class must be to be in the set, so that the set holds the true class of a new photo with probability
/// `coverage` (between 0 and 1): split conformal prediction with the score 1 - p (Sadinle, Lei, Wasserman,
/// arXiv 1609.00451). `probabilities` are those of photos that were not trained on, one row each; the promise is for photos
/// like those, not for new places. 0, which takes every class, where they are too few to promise so much.
pub fn conformal_threshold(labels: &[usize], probabilities: &[f32], coverage: f64) -> f32 {
    let classes = probabilities.len() / labels.len().max(1);
    let mut of_truth: Vec<f32> = labels
        .iter()
        .zip(probabilities.chunks_exact(classes.max(1)))
        .map(|(&label, row)| row[label])
        .collect();
    of_truth.sort_unstable_by(|a, b| b.total_cmp(a));
    let needed = ((labels.len() + 1) as f64 * coverage).ceil() as usize;
    needed.checked_sub(1).map_or(1.0, |last| of_truth.get(last).copied().unwrap_or(0.0))
}

/// The classes that are at least as probable as `threshold`, the most probable first; that one is always in.
pub fn conformal_set(row: &[f32], threshold: f32) -> Vec<usize> {
    let mut classes: Vec<usize> = (0..row.len()).collect();
    classes.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    let size = classes.iter().filter(|&&class| row[class] >= threshold).count();
    classes.truncate(size.max(1));
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_by_hand() {
        // The true classes have 0.9, 0.8, ... 0.1.
        let rows: Vec<f32> = (1..10).flat_map(|i| [1.0 - i as f32 / 10.0, i as f32 / 10.0]).collect();
        let labels = [0; 9];
        // (9 + 1) * 0.5 = 5 of them must be in: the fifth has 0.5.
        assert_eq!(conformal_threshold(&labels, &rows, 0.5), rows[8]);
        assert_eq!(conformal_threshold(&labels, &rows, 0.9), rows[16]);
        // Nine photos cannot promise more than nine in ten.
        assert_eq!(conformal_threshold(&labels, &rows, 0.91), 0.0);
        assert_eq!(conformal_threshold(&[], &[], 0.9), 0.0);
        assert_eq!(conformal_set(&[0.2, 0.5, 0.3], 0.3), [1, 2]);
        assert_eq!(conformal_set(&[0.2, 0.5, 0.3], 0.9), [1]);
        assert_eq!(conformal_set(&[0.2, 0.5, 0.3], 0.0), [1, 2, 0]);
    }
}
