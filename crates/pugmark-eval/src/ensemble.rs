//! Several classifiers that answer together.

use std::str::FromStr;

/// How the probabilities of several classifiers become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combine {
    /// Their weighted mean.
    #[default]
    Mean,
    /// The weighted mean of their logarithms, scaled to sum to 1: a class that one model rules out stays out.
    Geometric,
    /// The largest of each class, whatever the weights, scaled to sum to 1: one frame that shows the animal is enough. For
    /// frames, not for models: [`Combine::fit`] leaves the weights even.
    Max,
}

impl Combine {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Mean, Self::Geometric, Self::Max];

    /// Those that combine models.
    pub const MODELS: [Self; 2] = [Self::Mean, Self::Geometric];

    /// `mean`, `geometric` or `max`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Geometric => "geometric",
            Self::Max => "max",
        }
    }

    /// One distribution from those of the members (one row a member, one probability a class). `weights` are at least 0
    /// and sum to 1.
    pub fn probabilities(self, weights: &[f64], rows: &[Vec<f32>]) -> Vec<f32> {
        if let [only] = rows {
            return only.clone();
        }
        let classes = rows.first().map_or(0, Vec::len);
        let sum = |class: usize, term: fn(f32) -> f64| -> f64 {
            weights.iter().zip(rows).map(|(weight, row)| weight * term(row[class])).sum()
        };
        match self {
            Self::Mean => (0..classes).map(|class| sum(class, f64::from) as f32).collect(),
            Self::Geometric => {
                let logits: Vec<f64> = (0..classes).map(|class| sum(class, log)).collect();
                softmax(&logits).into_iter().map(|value| value as f32).collect()
            }
            Self::Max => {
                let most = |class: usize| rows.iter().map(|row| f64::from(row[class])).fold(0.0, f64::max);
                let sum: f64 = (0..classes).map(most).sum();
                (0..classes).map(|class| (most(class) / sum) as f32).collect()
            }
        }
    }

    /// The weights with the lowest log loss of `labels` (one class a photo), at least 0 and summing to 1; `rows` has one
    /// distribution a member for each photo. The problem is convex, so that there is one best answer; the same photos
    /// give the same weights.
    ///
    /// For the mean by expectation maximisation of a mixture's shares (Dempster, Laird, Rubin 1977), for the geometric mean
    /// by exponentiated gradient (Kivinen, Warmuth 1997) with steps that shrink until the loss falls.
    pub fn fit(self, labels: &[usize], rows: &[Vec<Vec<f32>>]) -> Vec<f64> {
        let members = rows.first().map_or(0, Vec::len);
        let even = vec![1.0 / members.max(1) as f64; members];
        if members < 2 {
            return even;
        }
        match self {
            Self::Mean => fit_mean(even, labels, rows),
            Self::Geometric => fit_geometric(even, labels, rows),
            Self::Max => even,
        }
    }
}

impl FromStr for Combine {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|combine| combine.name() == word);
        known.ok_or_else(|| format!("`{word}` is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// More rounds than any fit has needed; it ends when a round changes nothing that shows.
const ROUNDS: usize = 20_000;
const STILL: f64 = 1e-10;

/// Scikit-learn clips probabilities at the epsilon of their type.
fn clipped(probability: f32) -> f64 {
    f64::from(probability.max(f32::EPSILON))
}

fn log(probability: f32) -> f64 {
    clipped(probability).ln()
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let most = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let values: Vec<f64> = logits.iter().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = values.iter().sum();
    values.into_iter().map(|value| value / sum).collect()
}

fn fit_mean(mut weights: Vec<f64>, labels: &[usize], rows: &[Vec<Vec<f32>>]) -> Vec<f64> {
    let truths: Vec<Vec<f64>> = rows
        .iter()
        .zip(labels)
        .map(|(members, &label)| members.iter().map(|row| clipped(row[label])).collect())
        .collect();
    for _ in 0..ROUNDS {
        let mut shares = vec![0.0; weights.len()];
        for truth in &truths {
            let sum: f64 = weights.iter().zip(truth).map(|(weight, p)| weight * p).sum();
            for ((share, weight), p) in shares.iter_mut().zip(&weights).zip(truth) {
                *share += weight * p / sum / truths.len() as f64;
            }
        }
        let change = shares.iter().zip(&weights).map(|(new, old)| (new - old).abs()).fold(0.0, f64::max);
        weights = shares;
        if change < STILL {
            break;
        }
    }
    weights
}

fn fit_geometric(mut weights: Vec<f64>, labels: &[usize], rows: &[Vec<Vec<f32>>]) -> Vec<f64> {
    let logs: Vec<Vec<Vec<f64>>> = rows
        .iter()
        .map(|members| members.iter().map(|row| row.iter().map(|&p| log(p)).collect()).collect())
        .collect();
    let (mut loss, mut gradient) = geometric_loss(&weights, labels, &logs);
    let mut step = 1.0;
    for _ in 0..ROUNDS {
        let moved: Vec<f64> =
            weights.iter().zip(&gradient).map(|(weight, slope)| weight.ln() - step * slope).collect();
        let moved = softmax(&moved);
        let change = moved.iter().zip(&weights).map(|(new, old)| (new - old).abs()).fold(0.0, f64::max);
        if change < STILL {
            break;
        }
        let (new_loss, new_gradient) = geometric_loss(&moved, labels, &logs);
        if new_loss <= loss {
            (weights, loss, gradient) = (moved, new_loss, new_gradient);
            step *= 1.5;
        } else {
            step /= 2.0;
        }
    }
    weights
}

/// Mean log loss of the geometric mean, and its slope in each weight.
fn geometric_loss(weights: &[f64], labels: &[usize], logs: &[Vec<Vec<f64>>]) -> (f64, Vec<f64>) {
    let (mut loss, mut gradient) = (0.0, vec![0.0; weights.len()]);
    for (members, &label) in logs.iter().zip(labels) {
        let classes = members.first().map_or(0, Vec::len);
        let logits: Vec<f64> = (0..classes)
            .map(|class| weights.iter().zip(members).map(|(w, row)| w * row[class]).sum())
            .collect();
        let probabilities = softmax(&logits);
        loss -= probabilities[label].max(f64::MIN_POSITIVE).ln() / labels.len() as f64;
        for (slope, row) in gradient.iter_mut().zip(members) {
            let mean: f64 = probabilities.iter().zip(row).map(|(p, log)| p * log).sum();
            *slope += (mean - row[label]) / labels.len() as f64;
        }
    }
    (loss, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Photos of three members: the first is often right, the second seldom, the third is the first with more doubt.
    fn photos() -> (Vec<usize>, Vec<Vec<Vec<f32>>>) {
        let mut state = 7_u32;
        let mut random = move || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(state >> 8) / f64::from(1 << 24)
        };
        let mut labels = Vec::new();
        let mut rows = Vec::new();
        for photo in 0..120 {
            let label = photo % 3;
            let mut opinion = |sure: f64| {
                let logits: Vec<f64> =
                    (0..3).map(|class| 3.0 * random() + if class == label { sure } else { 0.0 }).collect();
                softmax(&logits).into_iter().map(|p| p as f32).collect::<Vec<f32>>()
            };
            rows.push(vec![opinion(2.0), opinion(0.4), opinion(1.2)]);
            labels.push(label);
        }
        (labels, rows)
    }

    fn log_loss(combine: Combine, weights: &[f64], labels: &[usize], rows: &[Vec<Vec<f32>>]) -> f64 {
        let of = |(rows, &label): (&Vec<Vec<f32>>, &usize)| -log(combine.probabilities(weights, rows)[label]);
        rows.iter().zip(labels).map(of).sum::<f64>() / labels.len() as f64
    }

    #[test]
    fn means_of_known_rows() {
        let rows = [vec![0.5, 0.5, 0.0], vec![0.1, 0.8, 0.1]];
        let mean = Combine::Mean.probabilities(&[0.25, 0.75], &rows);
        for (found, expected) in mean.iter().zip([0.2, 0.725, 0.075]) {
            assert!((found - expected).abs() < 1e-6, "{mean:?}");
        }
        // sqrt(0.05), sqrt(0.4) and sqrt(0.1 x 2^-23) over their sum.
        let geometric = Combine::Geometric.probabilities(&[0.5, 0.5], &rows);
        let sum = 0.223_606_8 + 0.632_455_5 + 0.000_109_184;
        for (found, expected) in geometric.iter().zip([0.223_606_8, 0.632_455_5, 0.000_109_184]) {
            assert!((found - expected / sum).abs() < 1e-6, "{geometric:?}");
        }
        assert_eq!(Combine::Mean.probabilities(&[1.0], &rows[..1]), rows[0], "one alone is as it is");
    }

    /// No point of a fine grid on the simplex beats the fit.
    #[test]
    fn fitted_weights_are_the_best() {
        let (labels, rows) = photos();
        for combine in Combine::MODELS {
            let fitted = combine.fit(&labels, &rows);
            assert!((fitted.iter().sum::<f64>() - 1.0).abs() < 1e-9 && fitted.iter().all(|&w| w >= 0.0));
            assert_eq!(fitted, combine.fit(&labels, &rows));
            let best = log_loss(combine, &fitted, &labels, &rows);
            let even = log_loss(combine, &[1.0 / 3.0; 3], &labels, &rows);
            assert!(best < even - 1e-3, "{combine:?}: {best} and {even}: there was something to find");
            let steps = 40;
            for first in 0..=steps {
                for second in 0..=steps - first {
                    let weights = [first, second, steps - first - second].map(|w| w as f64 / steps as f64);
                    let loss = log_loss(combine, &weights, &labels, &rows);
                    // The rows are f32: 1e-6 of a loss near 1.
                    assert!(
                        loss > best - 1e-6,
                        "{combine:?}: {weights:?} has {loss}, the fit {fitted:?} {best}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_member_that_only_harms_gets_nothing() {
        let (labels, rows) = photos();
        let wrong: Vec<Vec<Vec<f32>>> =
            rows.iter().map(|members| vec![members[0].clone(), vec![1.0 / 3.0; 3]]).collect();
        let weights = Combine::Mean.fit(&labels, &wrong);
        assert!(weights[0] > 0.9, "{weights:?}");
    }
}
