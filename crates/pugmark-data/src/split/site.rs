//! Splitting by site: no site in two parts, class shares as even as that allows.

use std::collections::BTreeMap;

use super::hash;
use crate::dataset::{Dataset, Part};
use crate::error::DataError;

/// Rounds of the balance pass; real data sets need about ten.
const MAX_ROUNDS: usize = 50;

/// Groups up to which pairs are tried; with more, moving single ones is fine enough.
const MAX_TO_SWAP: usize = 2000;

/// A smaller gain is only rounding, and would move groups in circles.
const LEAST_GAIN: f64 = 1e-9;

/// The photos of one site, or a photo without a site.
struct Group {
    hash: u64,
    members: Vec<usize>,
    /// Photos of each class.
    counts: Vec<usize>,
    /// Index into the shares.
    part: usize,
}

/// Each site starts in a part drawn by its hash; then sites move, alone or in exchange, to where they even out the class
/// counts most, until nothing is gained. All of that goes by the order of the hashes.
pub(super) fn split(
    dataset: &Dataset,
    chosen: &[usize],
    shares: &[(Part, f64)],
    seed: u64,
) -> Result<Vec<Option<Part>>, DataError> {
    let mut groups = groups(dataset, chosen, shares, seed);
    if groups.len() < shares.len() {
        let data = dataset.root.clone();
        return Err(DataError::TooFewSites { data, sites: groups.len(), parts: shares.len() });
    }
    let mut balance = Balance::new(dataset.classes.len(), shares, &groups);
    balance.fill_empty_parts(&mut groups);
    for _ in 0..MAX_ROUNDS {
        let moved = balance.move_groups(&mut groups);
        if !moved && (groups.len() > MAX_TO_SWAP || !balance.swap_groups(&mut groups)) {
            break;
        }
    }
    let mut parts = vec![None; dataset.samples.len()];
    for group in &groups {
        for &index in &group.members {
            parts[index] = Some(shares[group.part].0);
        }
    }
    Ok(parts)
}

/// The groups in the order of their hashes.
fn groups(dataset: &Dataset, chosen: &[usize], shares: &[(Part, f64)], seed: u64) -> Vec<Group> {
    let mut members: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for &index in chosen {
        let sample = &dataset.samples[index];
        let name = match &sample.site {
            Some(site) => ("site", site.as_str()),
            None => ("photo", sample.id.as_str()),
        };
        members.entry(name).or_default().push(index);
    }
    let mut groups: Vec<Group> = members
        .into_iter()
        .map(|((kind, name), members)| {
            let hash = hash(seed, &format!("{kind} {name}"));
            let counts = dataset.class_counts(&members);
            Group { hash, members, counts, part: drawn(hash, shares) }
        })
        .collect();
    groups.sort_by_key(|group| group.hash);
    groups
}

/// The part whose share of [0, 1) a hash falls into.
fn drawn(hash: u64, shares: &[(Part, f64)]) -> usize {
    let mut left = hash as f64 / u64::MAX as f64;
    for (part, &(_, share)) in shares.iter().enumerate() {
        if left < share {
            return part;
        }
        left -= share;
    }
    0
}

/// Photos of each class in each part, and how far that is from what is wanted.
struct Balance {
    /// `[part][class]`.
    counts: Vec<Vec<f64>>,
    wanted: Vec<Vec<f64>>,
    groups_in: Vec<usize>,
}

impl Balance {
    fn new(classes: usize, shares: &[(Part, f64)], groups: &[Group]) -> Self {
        let mut counts = vec![vec![0.0; classes]; shares.len()];
        let mut groups_in = vec![0; shares.len()];
        let mut total = vec![0.0; classes];
        for group in groups {
            groups_in[group.part] += 1;
            for (class, &count) in group.counts.iter().enumerate() {
                counts[group.part][class] += count as f64;
                total[class] += count as f64;
            }
        }
        let wanted =
            shares.iter().map(|(_, share)| total.iter().map(|count| count * share).collect()).collect();
        Self { counts, wanted, groups_in }
    }

    /// How much better everything fits when photos by class go from one part to another: the fall of the sum over
    /// parts and classes of (count - wanted)^2 / wanted, Pearson's chi-squared.
    fn gain(&self, moved: impl Iterator<Item = f64>, from: usize, to: usize) -> f64 {
        let mut gain = 0.0;
        for (class, moved) in moved.enumerate() {
            if moved != 0.0 {
                let misfit = |part: usize, change: f64| {
                    let wanted = self.wanted[part][class];
                    let off = self.counts[part][class] + change - wanted;
                    off * off / wanted
                };
                gain += misfit(from, 0.0) - misfit(from, -moved);
                gain += misfit(to, 0.0) - misfit(to, moved);
            }
        }
        gain
    }

    fn gain_of_move(&self, group: &Group, part: usize) -> f64 {
        self.gain(group.counts.iter().map(|&count| count as f64), group.part, part)
    }

    fn gain_of_swap(&self, a: &Group, b: &Group) -> f64 {
        let moved = a.counts.iter().zip(&b.counts).map(|(&a, &b)| a as f64 - b as f64);
        self.gain(moved, a.part, b.part)
    }

    fn shift(&mut self, group: &mut Group, part: usize) {
        for (class, &moved) in group.counts.iter().enumerate() {
            self.counts[group.part][class] -= moved as f64;
            self.counts[part][class] += moved as f64;
        }
        self.groups_in[group.part] -= 1;
        self.groups_in[part] += 1;
        group.part = part;
    }

    /// Gives each empty part the group that fits it best, so that no part is empty however few groups there are.
    fn fill_empty_parts(&mut self, groups: &mut [Group]) {
        for part in 0..self.counts.len() {
            if self.groups_in[part] > 0 {
                continue;
            }
            let spare = groups.iter_mut().filter(|group| self.groups_in[group.part] > 1);
            let best = spare.max_by(|a, b| self.gain_of_move(a, part).total_cmp(&self.gain_of_move(b, part)));
            // There are at least as many groups as parts, so some part has one to spare.
            if let Some(group) = best {
                self.shift(group, part);
            }
        }
    }

    /// Moves each group to the part it fits best, in the order of their hashes; whether any moved.
    fn move_groups(&mut self, groups: &mut [Group]) -> bool {
        let mut moved = false;
        for group in groups {
            if self.groups_in[group.part] == 1 {
                continue;
            }
            let others = (0..self.counts.len()).filter(|&part| part != group.part);
            let gains = others.map(|part| (self.gain_of_move(group, part), part));
            if let Some((gain, part)) = gains.max_by(|a, b| a.0.total_cmp(&b.0))
                && gain > LEAST_GAIN
            {
                self.shift(group, part);
                moved = true;
            }
        }
        moved
    }

    /// Swaps each group with the one of another part that gains most; whether any was swapped.
    fn swap_groups(&mut self, groups: &mut [Group]) -> bool {
        let mut swapped = false;
        for first in 0..groups.len() {
            let others = (first + 1..groups.len()).filter(|&other| groups[other].part != groups[first].part);
            let gains = others.map(|other| (self.gain_of_swap(&groups[first], &groups[other]), other));
            if let Some((gain, other)) = gains.max_by(|a, b| a.0.total_cmp(&b.0))
                && gain > LEAST_GAIN
            {
                let (part, others_part) = (groups[first].part, groups[other].part);
                self.shift(&mut groups[first], others_part);
                self.shift(&mut groups[other], part);
                swapped = true;
            }
        }
        swapped
    }
}
