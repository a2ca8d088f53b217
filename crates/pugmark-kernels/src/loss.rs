//! Softmax and cross-entropy.

use crate::plane::check_len;

/// `probs[n][k] :=` the softmax of each row of `logits[n][k]`.
pub fn softmax(n: usize, k: usize, logits: &[f32], probs: &mut [f32]) {
    check_len("logits", logits.len(), n * k);
    check_len("probs", probs.len(), n * k);
    for (logits, probs) in logits.chunks_exact(k.max(1)).zip(probs.chunks_exact_mut(k.max(1))) {
        let log_sum = log_sum_exp(logits);
        for (p, &z) in probs.iter_mut().zip(logits) {
            *p = (f64::from(z) - log_sum).exp() as f32;
        }
    }
}

fn log_sum_exp(logits: &[f32]) -> f64 {
    let max = logits.iter().fold(f64::NEG_INFINITY, |max, &z| max.max(f64::from(z)));
    max + logits.iter().map(|&z| (f64::from(z) - max).exp()).sum::<f64>().ln()
}

/// Options of [`cross_entropy`].
#[derive(Clone, Copy, Default, Debug)]
pub struct CrossEntropy<'a> {
    /// Share of the target that is spread evenly over all classes, in [0, 1].
    pub label_smoothing: f32,
    /// A weight for each class; all 1 when absent.
    pub class_weights: Option<&'a [f32]>,
    /// A second label for each row, and the share of the first in the target, in [0, 1]; the target is the first alone when
    /// absent.
    pub mixed: Option<(&'a [u32], &'a [f32])>,
    /// What the sum over the rows is divided by, where they are part of a larger batch: the sum of its parts'
    /// [`CrossEntropy::rows`].
    pub rows: Option<f64>,
}

impl CrossEntropy<'_> {
    fn weight(&self, class: usize) -> f64 {
        self.class_weights.map_or(1.0, |weights| f64::from(weights[class]))
    }

    /// What PyTorch's mean divides the sum over these rows by: the weights of their labels, and where labels are mixed the
    /// number of rows.
    pub fn rows(&self, labels: &[u32]) -> f64 {
        match self.mixed {
            Some(_) => labels.len() as f64,
            None => labels.iter().map(|&label| self.weight(label as usize)).sum(),
        }
    }
}

/// The mean cross-entropy of `logits[n][k]` against `labels[n]`, as PyTorch's `CrossEntropyLoss(weight,
/// label_smoothing, reduction="mean")` computes it: a weighted mean where there are class weights; against targets of
/// probabilities where labels are mixed, for which PyTorch weighs the terms but divides by the number of rows.
///
/// `dlogits[n][k]`, if given, receives the gradient.
pub fn cross_entropy(
    n: usize,
    k: usize,
    logits: &[f32],
    labels: &[u32],
    ce: &CrossEntropy<'_>,
    mut dlogits: Option<&mut [f32]>,
) -> f64 {
    check_len("logits", logits.len(), n * k);
    check_len("labels", labels.len(), n);
    if let Some(dlogits) = &dlogits {
        check_len("dlogits", dlogits.len(), n * k);
    }
    if let Some(weights) = ce.class_weights {
        check_len("class_weights", weights.len(), k);
    }
    if let Some((labels, shares)) = ce.mixed {
        check_len("second labels", labels.len(), n);
        check_len("shares", shares.len(), n);
    }
    let class = |labels: &[u32], i: usize| {
        let label = labels[i] as usize;
        assert!(label < k, "labels: {label} at {i}, but there are {k} classes");
        label
    };
    for i in 0..n {
        class(labels, i);
    }
    let total = ce.rows.unwrap_or_else(|| ce.rows(labels));
    let all_classes: f64 = (0..k).map(|class| ce.weight(class)).sum();
    let smooth = f64::from(ce.label_smoothing);
    let mut loss = 0.0;
    for i in 0..n {
        let (logits, first) = (&logits[i * k..(i + 1) * k], class(labels, i));
        let (second, share) =
            ce.mixed.map_or((first, 1.0), |(labels, shares)| (class(labels, i), f64::from(shares[i])));
        let log_sum = log_sum_exp(logits);
        // What of the target's mass falls on each class, weighted.
        let target = |class: usize| {
            let of = |label: usize, share: f64| if class == label { share * (1.0 - smooth) } else { 0.0 };
            (of(first, share) + of(second, 1.0 - share) + smooth / k as f64) * ce.weight(class)
        };
        let labels_weight = share * ce.weight(first) + (1.0 - share) * ce.weight(second);
        let mass = (1.0 - smooth) * labels_weight + smooth / k as f64 * all_classes;
        for (class, &z) in logits.iter().enumerate() {
            let log_p = f64::from(z) - log_sum;
            let t = target(class);
            if t != 0.0 {
                loss -= t * log_p;
            }
            if let Some(dlogits) = &mut dlogits {
                dlogits[i * k + class] = ((mass * log_p.exp() - t) / total) as f32;
            }
        }
    }
    loss / total
}
