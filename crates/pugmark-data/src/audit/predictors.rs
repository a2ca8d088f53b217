//! Predictors that do not look at the animal.

use std::collections::HashMap;
use std::hash::Hash;

use super::Score;
use crate::dataset::Dataset;
use crate::random::Random;
use crate::scan::{PhotoFacts, STATISTICS};

/// Labelled photos to learn from and to be measured on.
pub(super) struct Labelled {
    /// Index of the sample and its class.
    train: Vec<(usize, usize)>,
    measured: Vec<(usize, usize)>,
    /// Share of each class in train, each class counted once more (Laplace).
    prior: Vec<f64>,
}

impl Labelled {
    /// `train` and `measured` are indices of labelled samples.
    pub(super) fn new(dataset: &Dataset, train: &[usize], measured: &[usize]) -> Self {
        let with_class = |chosen: &[usize]| -> Vec<(usize, usize)> {
            chosen.iter().filter_map(|&index| Some((index, dataset.samples[index].class?))).collect()
        };
        let all = (train.len() + dataset.classes.len()) as f64;
        let counts = dataset.class_counts(train);
        let prior = counts.into_iter().map(|count| (count + 1) as f64 / all).collect();
        Self { train: with_class(train), measured: with_class(measured), prior }
    }
}

/// The class that is most common in train where the key is the same; the most common one of all where the key is none or
/// new. Probabilities are the class counts of the key, and the class shares of train for as many more photos as there are
/// classes.
pub(super) fn by_key<K: Eq + Hash>(labelled: &Labelled, key: impl Fn(usize) -> Option<K>) -> Score {
    let Labelled { train, measured, prior } = labelled;
    let mut counts: HashMap<K, Vec<u32>> = HashMap::new();
    for &(index, class) in train {
        if let Some(key) = key(index) {
            counts.entry(key).or_insert_with(|| vec![0; prior.len()])[class] += 1;
        }
    }
    // Per key: the class it names, and all its photos.
    let named: HashMap<&K, (usize, u32)> =
        counts.iter().map(|(key, counts)| (key, (most(counts, prior), counts.iter().sum()))).collect();
    let majority = most(&vec![0; prior.len()], prior);
    let more = prior.len() as f64;
    score(measured.iter().map(|&(index, class)| {
        let found = key(index).and_then(|key| Some((named.get(&key)?, counts.get(&key)?)));
        match found {
            Some((&(best, all), counts)) => {
                let probability = (f64::from(counts[class]) + more * prior[class]) / (f64::from(all) + more);
                (best == class, probability)
            }
            None => (majority == class, prior[class]),
        }
    }))
}

/// The class with the highest count; among equals the one with the larger share, then the first.
fn most(counts: &[u32], prior: &[f64]) -> usize {
    let mut best = 0;
    for class in 1..counts.len() {
        if counts[class] > counts[best] || counts[class] == counts[best] && prior[class] > prior[best] {
            best = class;
        }
    }
    best
}

/// Photos of train that are searched, and photos that are measured: comparing all with all would take hours for a
/// million.
const MOST_SEARCHED: usize = 20_000;
const MOST_MEASURED: usize = 2_000;

/// Photos that vote.
const NEIGHBOURS: usize = 5;

/// The class that is most common among the five photos of train with the most similar statistics, each statistic divided
/// by its standard deviation. Probabilities are their votes and one vote of the class shares. None where too few photos
/// were decoded; else how many were measured.
pub(super) fn by_colours(
    dataset: &Dataset,
    labelled: &Labelled,
    facts: &[PhotoFacts],
    seed: u64,
) -> Option<(usize, Score)> {
    let statistics = |index: usize| facts[index].picture.as_ref().map(|picture| &picture.statistics);
    let draw = |photos: &[(usize, usize)], most: usize| {
        let mut drawn: Vec<(usize, usize)> =
            photos.iter().copied().filter(|&(index, _)| statistics(index).is_some()).collect();
        drawn.sort_by_cached_key(|&(index, _)| {
            let id = &dataset.samples[index].id;
            (Random::new(seed, 0, &format!("audit {id}")).next_u64(), id.clone())
        });
        drawn.truncate(most);
        drawn
    };
    let train = draw(&labelled.train, MOST_SEARCHED);
    let measured = draw(&labelled.measured, MOST_MEASURED);
    if train.len() < NEIGHBOURS || measured.is_empty() {
        return None;
    }
    let raw: Vec<(&[f32; STATISTICS], usize)> =
        train.iter().filter_map(|&(index, class)| Some((statistics(index)?, class))).collect();
    let scale = scale(&raw);
    let scaled = |values: &[f32; STATISTICS]| -> [f32; STATISTICS] {
        std::array::from_fn(|at| values[at] * scale[at])
    };
    let searched: Vec<([f32; STATISTICS], usize)> =
        raw.iter().map(|&(values, class)| (scaled(values), class)).collect();
    let score = score(measured.iter().filter_map(|&(index, class)| {
        let votes = votes(&searched, &scaled(statistics(index)?), labelled.prior.len());
        let probability = (f64::from(votes[class]) + labelled.prior[class]) / (NEIGHBOURS as f64 + 1.0);
        Some((most(&votes, &labelled.prior) == class, probability))
    }));
    Some((measured.len(), score))
}

/// One over the standard deviation of each statistic; 0 where it is the same everywhere.
fn scale(photos: &[(&[f32; STATISTICS], usize)]) -> [f32; STATISTICS] {
    let count = photos.len() as f64;
    std::array::from_fn(|at| {
        let values = photos.iter().map(|(values, _)| f64::from(values[at]));
        let mean = values.clone().sum::<f64>() / count;
        let deviation = (values.map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
        if deviation > 1e-6 { (1.0 / deviation) as f32 } else { 0.0 }
    })
}

/// The classes of the nearest photos; among equally near ones, those drawn first.
fn votes(searched: &[([f32; STATISTICS], usize)], at: &[f32; STATISTICS], classes: usize) -> Vec<u32> {
    let mut nearest = [(f32::INFINITY, 0); NEIGHBOURS];
    for (values, class) in searched {
        let distance: f32 = values.iter().zip(at).map(|(a, b)| (a - b) * (a - b)).sum();
        if distance < nearest[NEIGHBOURS - 1].0 {
            let place = nearest.partition_point(|&(other, _)| other <= distance);
            nearest[place..].rotate_right(1);
            nearest[place] = (distance, *class);
        }
    }
    let mut votes = vec![0; classes];
    for (_, class) in nearest {
        votes[class] += 1;
    }
    votes
}

/// Accuracy and log loss of (whether it was right, probability of the true class).
fn score(outcomes: impl Iterator<Item = (bool, f64)>) -> Score {
    let (mut count, mut right, mut loss) = (0.0, 0.0, 0.0);
    for (is_right, probability) in outcomes {
        count += 1.0;
        right += f64::from(u8::from(is_right));
        loss -= probability.ln();
    }
    Score { accuracy: right / count, log_loss: loss / count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_nearest_vote() {
        let mut random = Random::new(5, 0, "nearest");
        let mut point = || -> [f32; STATISTICS] { std::array::from_fn(|_| random.normal()) };
        let searched: Vec<([f32; STATISTICS], usize)> = (0..200).map(|index| (point(), index % 3)).collect();
        for _ in 0..20 {
            let at = point();
            let distance = |(values, _): &([f32; STATISTICS], usize)| -> f32 {
                values.iter().zip(&at).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            let mut sorted = searched.clone();
            sorted.sort_by(|a, b| distance(a).total_cmp(&distance(b)));
            let mut expected = vec![0; 3];
            for (_, class) in &sorted[..NEIGHBOURS] {
                expected[*class] += 1;
            }
            assert_eq!(votes(&searched, &at, 3), expected);
        }
    }

    #[test]
    fn a_statistic_that_is_the_same_everywhere_says_nothing() {
        let [mut a, mut b] = [[0.5; STATISTICS]; 2];
        (a[0], b[0]) = (0.0, 1.0);
        let scale = scale(&[(&a, 0), (&b, 1)]);
        assert_eq!((scale[0], scale[1]), (2.0, 0.0));
    }
}
