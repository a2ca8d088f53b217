//! Photos that belong together.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

use chrono::TimeDelta;

use crate::bursts::bursts;
use crate::dataset::Dataset;
use crate::duplicates;
use crate::scan::PhotoFacts;

/// Photos of which none may be parted from the others of its group: duplicates, near duplicates and bursts, joined where
/// they share a photo. Each group has two or more indices into the samples, ascending; groups by their first.
///
/// `facts`, one a sample, are those of [`scan`](crate::scan::scan); without them only the sequences and times that
/// the data set names are known.
pub fn keep_together(dataset: &Dataset, facts: Option<&[PhotoFacts]>, gap: TimeDelta) -> Vec<Vec<usize>> {
    let mut groups = bursts(dataset, facts, gap);
    if let Some(facts) = facts {
        groups.extend(duplicates::exact(facts));
        groups.extend(duplicates::near(facts));
    }
    let mut joined = Joined::new(dataset.samples.len());
    for group in &groups {
        joined.join(group);
    }
    joined.groups()
}

/// Disjoint sets of the numbers below a count (Tarjan), each known by its smallest member.
pub(crate) struct Joined(Vec<usize>);

impl Joined {
    /// Each number by itself.
    pub(crate) fn new(count: usize) -> Self {
        Self((0..count).collect())
    }

    /// The smallest number of the set that `number` is in.
    pub(crate) fn first(&mut self, mut number: usize) -> usize {
        while self.0[number] != number {
            self.0[number] = self.0[self.0[number]];
            number = self.0[number];
        }
        number
    }

    /// Makes one set of all these.
    pub(crate) fn join(&mut self, numbers: &[usize]) {
        for pair in numbers.windows(2) {
            let (a, b) = (self.first(pair[0]), self.first(pair[1]));
            self.0[a.max(b)] = a.min(b);
        }
    }

    /// Makes one set of all that have the same key.
    pub(crate) fn join_equal<K: Hash + Eq>(&mut self, numbers: &[usize], key: impl Fn(usize) -> Option<K>) {
        let mut first: HashMap<K, usize> = HashMap::new();
        for &number in numbers {
            if let Some(key) = key(number) {
                let first = *first.entry(key).or_insert(number);
                self.join(&[first, number]);
            }
        }
    }

    /// The sets of two or more.
    pub(crate) fn groups(mut self) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for number in 0..self.0.len() {
            let first = self.first(number);
            if first != number {
                groups.entry(first).or_insert_with(|| vec![first]).push(number);
            }
        }
        groups.into_values().collect()
    }
}
