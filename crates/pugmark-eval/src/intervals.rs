//! 95 % intervals by the bootstrap: sites, not photos, are drawn anew, since the photos of a site are alike.

use std::collections::HashMap;

use serde::Serialize;

use crate::evaluation::{most_probable, ratio, squares, surprise};
use crate::random::Random;

/// 95 % intervals of the figures in [`Evaluation`](crate::Evaluation).
///
/// The percentiles of the bootstrap are too narrow for few units; they are widened as Hesterberg, "What Teachers Should Know
/// about the Bootstrap" (arXiv 1411.5279), section 5.3, does: by sqrt(n / (n - 1)) and to Student's t.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Intervals {
    /// What is drawn: "site" where sites are known, else "sequence" where those are, else "photo".
    pub unit: &'static str,
    /// How many there are; besides them photos of no site or sequence are drawn one by one.
    pub units: usize,
    /// Of the accuracy; so for the others.
    pub accuracy: [f64; 2],
    /// Of the balanced accuracy, over the classes that occur in the draw.
    pub balanced_accuracy: [f64; 2],
    /// Of the macro F1, over the classes that occur in the draw's labels or predictions.
    pub macro_f1: [f64; 2],
    /// Of the log loss.
    pub log_loss: [f64; 2],
    /// Of the Brier score.
    pub brier: [f64; 2],
}

/// Draws; the percentiles that are looked for have at least 20 of them outside where there are twelve units or more.
const DRAWS: usize = 2000;
/// Photos are drawn in so many random bundles where they are more: an interval of the mean is the same, and takes no longer.
const BUNDLES: usize = 1000;
const FIGURES: usize = 5;
/// The 97.5 % quantile of the standard normal distribution.
const NORMAL: f64 = 1.959_963_984_540_054;

/// What is drawn together.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Group(&'a str),
    Bundle(usize),
}

/// Sums over the photos of a unit, or of a draw.
#[derive(Clone)]
struct Sums {
    images: u64,
    log_loss: f64,
    brier: f64,
    /// Of each class: photos, photos predicted as it, and those rightly.
    classes: Vec<[u64; 3]>,
}

impl Sums {
    fn none(classes: usize) -> Self {
        Self { images: 0, log_loss: 0.0, brier: 0.0, classes: vec![[0; 3]; classes] }
    }

    fn add_photo(&mut self, label: usize, row: &[f32]) {
        let predicted = most_probable(row);
        self.images += 1;
        self.log_loss += surprise(row[label]);
        self.brier += squares(row, label);
        self.classes[label][0] += 1;
        self.classes[predicted][1] += 1;
        self.classes[label][2] += u64::from(predicted == label);
    }

    fn add(&mut self, other: &Self) {
        self.images += other.images;
        self.log_loss += other.log_loss;
        self.brier += other.brier;
        for (ours, theirs) in self.classes.iter_mut().zip(&other.classes) {
            for (our, their) in ours.iter_mut().zip(theirs) {
                *our += their;
            }
        }
    }

    fn figures(&self) -> [f64; FIGURES] {
        let mean = |values: &mut dyn Iterator<Item = f64>| {
            let (sum, count) = values.fold((0.0, 0u64), |(sum, count), value| (sum + value, count + 1));
            sum / count.max(1) as f64
        };
        let right: u64 = self.classes.iter().map(|class| class[2]).sum();
        let recalls = &mut self.classes.iter().filter(|c| c[0] > 0).map(|c| ratio(c[2], c[0]));
        let f1s = &mut self.classes.iter().filter(|c| c[0] + c[1] > 0).map(|c| ratio(2 * c[2], c[0] + c[1]));
        let images = self.images as f64;
        [ratio(right, self.images), mean(recalls), mean(f1s), self.log_loss / images, self.brier / images]
    }
}

/// The intervals; `groups` says what is drawn together and is called `unit`: it is empty or has one entry a photo. Photos in no
/// group are drawn one by one, and in random bundles where they are many.
pub(crate) fn intervals(
    classes: usize,
    labels: &[usize],
    probabilities: &[f32],
    unit: &'static str,
    groups: &[Option<String>],
) -> Option<Intervals> {
    let mut random = Random::new(0);
    let mut numbers = HashMap::<Key<'_>, usize>::new();
    let mut units: Vec<Sums> = Vec::new();
    let group_of = |photo: usize| groups.get(photo).and_then(Option::as_deref);
    let alone = (0..labels.len()).filter(|&photo| group_of(photo).is_none()).count();
    for (photo, (&label, row)) in labels.iter().zip(probabilities.chunks_exact(classes)).enumerate() {
        let key = match group_of(photo) {
            Some(group) => Key::Group(group),
            None if alone <= BUNDLES => Key::Bundle(photo),
            None => Key::Bundle(random.below(BUNDLES)),
        };
        let number = *numbers.entry(key).or_insert(units.len());
        if number == units.len() {
            units.push(Sums::none(classes));
        }
        units[number].add_photo(label, row);
    }
    let count = units.len();
    if count < 2 {
        return None;
    }
    let mut draws: [Vec<f64>; FIGURES] = Default::default();
    for _ in 0..DRAWS {
        let mut sums = Sums::none(classes);
        for _ in 0..count {
            sums.add(&units[random.below(count)]);
        }
        for (values, value) in draws.iter_mut().zip(sums.figures()) {
            values.push(value);
        }
    }
    let tail = tail(count);
    let [accuracy, balanced_accuracy, macro_f1, log_loss, brier] = draws.map(|mut values| {
        values.sort_unstable_by(f64::total_cmp);
        [quantile(&values, tail), quantile(&values, 1.0 - tail)]
    });
    let named = numbers.keys().filter(|key| matches!(key, Key::Group(_))).count();
    let (unit, units) = if named > 0 { (unit, named) } else { ("photo", labels.len()) };
    Some(Intervals { unit, units, accuracy, balanced_accuracy, macro_f1, log_loss, brier })
}

/// Wilson's 95 % interval of a share of `of` photos that have nothing to do with each other.
pub fn share_interval(share: f64, of: usize) -> [f64; 2] {
    if of == 0 {
        return [0.0, 1.0];
    }
    let (z, n) = (NORMAL, of as f64);
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    [(centre - half).max(0.0), (centre + half).min(1.0)]
}

/// Linear between the nearest two of sorted values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (low, part) = (place.floor() as usize, place.fract());
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + part * (sorted[high] - sorted[low])
}

/// Share of the draws outside the interval on either side for `units` units.
fn tail(units: usize) -> f64 {
    let n = units as f64;
    normal_below(-(n / (n - 1.0)).sqrt() * students_t(units - 1))
}

/// The 97.5 % quantile of Student's t: by halving, on the distribution for whole degrees of freedom (Abramowitz and Stegun
/// 26.7.3 and 26.7.4). It is the normal's for very many.
fn students_t(degrees: usize) -> f64 {
    if degrees > 10_000 {
        return NORMAL;
    }
    let (mut low, mut high) = (0.0, 64.0);
    while high - low > 1e-12 {
        let middle = f64::midpoint(low, high);
        let between = within(middle, degrees);
        if between < 0.95 { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Chance of a value of Student's t between -t and t.
fn within(t: f64, degrees: usize) -> f64 {
    let angle = (t / (degrees as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    // cos + 2/3 cos^3 + 2*4/(3*5) cos^5 ..., or 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 ...
    let mut term = if odd { cos } else { 1.0 };
    let mut sum = 0.0;
    let mut power = if odd { 1 } else { 0 };
    while power + 2 <= degrees {
        sum += term;
        term *= cos * cos * (power + 1) as f64 / (power + 2) as f64;
        power += 2;
    }
    match odd {
        true => std::f64::consts::FRAC_2_PI * (angle + sin * sum),
        false => sin * sum,
    }
}

/// The standard normal distribution below a negative `x`: Abramowitz and Stegun 26.2.17, off by at most 7.5e-8.
fn normal_below(x: f64) -> f64 {
    let k = 1.0 / (1.0 - 0.231_641_9 * x);
    let weights = [0.319_381_530, -0.356_563_782, 1.781_477_937, -1.821_255_978, 1.330_274_429];
    let sum = weights.iter().rev().fold(0.0, |sum, weight| (sum + weight) * k);
    sum * (-x * x / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_of_students_t() {
        // Printed tables, four digits.
        for (degrees, t) in
            [(1, 12.7062), (2, 4.3027), (3, 3.1824), (7, 2.3646), (30, 2.0423), (1000, 1.9623)]
        {
            assert!((students_t(degrees) - t).abs() < 5e-5, "{degrees}: {}", students_t(degrees));
        }
        assert!((normal_below(-NORMAL) - 0.025).abs() < 1e-7);
        // Brown, Cai, DasGupta (2001) and R's binom.confint for 8 of 10.
        let [low, high] = share_interval(0.8, 10);
        assert!((low - 0.4902).abs() < 5e-5 && (high - 0.9433).abs() < 5e-5, "{low} {high}");
        assert!(share_interval(1.0, 5)[1] <= 1.0 && share_interval(0.0, 5)[0] >= 0.0);
        assert!((normal_below(-4.0) - 3.167e-5).abs() < 1e-7);
    }
}
