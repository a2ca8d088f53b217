//! Which photos stay together.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::time::Duration;

use super::folder::folders;
use super::{SplitBy, SplitOptions};
use crate::dataset::Dataset;
use crate::random::Random;
use crate::time::CaptureTime;

/// Marks a sample that is in no group.
const NONE: u32 = u32::MAX;

/// The kind of a key that is the photo's id.
const PHOTO: &str = "photo";

/// Photos that stay together.
pub(super) struct Group {
    /// Uniform bits that say where the group begins; the same whatever else is in the data set.
    pub(super) draw: u64,
    /// Photos.
    pub(super) photos: u32,
    /// Photos of each class that it has, by class.
    pub(super) counts: Vec<(u32, u32)>,
    /// The lowest index of its samples.
    pub(super) first: u32,
}

impl Group {
    /// The class of most of its photos; among equals the first.
    pub(super) fn main_class(&self) -> u32 {
        let most = self.counts.iter().max_by_key(|&&(class, count)| (count, std::cmp::Reverse(class)));
        most.map_or(0, |&(class, _)| class)
    }
}

/// The groups, in the order of their draws, and the group of each sample.
pub(super) struct Groups {
    pub(super) groups: Vec<Group>,
    of: Vec<u32>,
}

impl Groups {
    /// The group of a sample; none where it is not split.
    pub(super) fn of(&self, sample: usize) -> Option<usize> {
        (self.of[sample] != NONE).then_some(self.of[sample] as usize)
    }

    /// Groups the samples `chosen` by what `by` names; `Auto` is decided before.
    ///
    /// Besides that, sequences and bursts stay whole (but for a random split), and so does what the caller names.
    pub(super) fn new(
        dataset: &Dataset,
        chosen: &[usize],
        by: SplitBy,
        seed: u64,
        options: &SplitOptions<'_>,
    ) -> Self {
        let mut forest = Forest::new(dataset.samples.len());
        let folders = match by {
            SplitBy::Folder => folders(dataset, chosen),
            _ => Vec::new(),
        };
        let key = |index: usize| {
            let sample = &dataset.samples[index];
            let named = match by {
                SplitBy::Site => sample.site.as_deref().map(|site| ("site", site)),
                SplitBy::Folder => folders[index].map(|folder| ("folder", folder)),
                SplitBy::Column => {
                    let value = options.column.and_then(|column| column.get(index)?.as_deref());
                    value.map(|value| ("value", value))
                }
                SplitBy::Auto | SplitBy::Sequence | SplitBy::Random => None,
            };
            let sequence = sample.sequence.as_deref().filter(|_| by != SplitBy::Random);
            named.or(sequence.map(|sequence| ("sequence", sequence))).unwrap_or((PHOTO, &sample.id))
        };
        // A photo's own key is nobody else's.
        forest.join_equal(chosen, |index| Some(key(index)).filter(|&(kind, _)| kind != PHOTO));
        if by != SplitBy::Random {
            forest.join_equal(chosen, |index| dataset.samples[index].sequence.as_deref());
            for (earlier, later) in bursts(dataset, chosen, options.burst_gap) {
                forest.join(earlier, later);
            }
        }
        for together in options.keep_together {
            for pair in together.windows(2) {
                forest.join(pair[0], pair[1]);
            }
        }
        Self::gather(dataset, chosen, &mut forest, key, seed)
    }

    /// A group for each tree. Of the draws of its keys it takes that of the key with the smallest hash, so that neither
    /// order nor, mostly, a photo more changes it.
    fn gather<'a>(
        dataset: &Dataset,
        chosen: &[usize],
        forest: &mut Forest,
        key: impl Fn(usize) -> (&'static str, &'a str),
        seed: u64,
    ) -> Self {
        let mut number_of = vec![NONE; dataset.samples.len()];
        let mut of = vec![NONE; dataset.samples.len()];
        let mut groups: Vec<(u64, Group)> = Vec::new();
        let mut hashed: HashSet<(&str, &str)> = HashSet::new();
        for &index in chosen {
            let root = forest.root(index);
            if number_of[root] == NONE {
                number_of[root] = groups.len() as u32;
                let group = Group { draw: 0, photos: 0, counts: Vec::new(), first: index as u32 };
                groups.push((u64::MAX, group));
            }
            let number = number_of[root];
            of[index] = number;
            let (smallest, group) = &mut groups[number as usize];
            group.add(dataset.samples[index].class);
            let (kind, name) = key(index);
            if kind == PHOTO || hashed.insert((kind, name)) {
                let text =
                    if kind == PHOTO { format!("split {name}") } else { format!("split {kind} {name}") };
                let mut random = Random::new(seed, 0, &text);
                let hash = random.next_u64();
                if hash <= *smallest {
                    (*smallest, group.draw) = (hash, random.next_u64());
                }
            }
        }
        for (smallest, group) in &mut groups {
            // One hash is as good as a draw; the smallest of several would lean to one side.
            if group.photos == 1 && key(group.first as usize).0 == PHOTO {
                group.draw = *smallest;
            }
        }
        // Draws decide from here on; two that are equal have different smallest hashes.
        let mut order: Vec<u32> = (0..groups.len() as u32).collect();
        order.sort_unstable_by_key(|&number| {
            let (smallest, group) = &groups[number as usize];
            (group.draw, *smallest)
        });
        let mut place = vec![0; groups.len()];
        for (position, &number) in order.iter().enumerate() {
            place[number as usize] = position as u32;
        }
        for &index in chosen {
            of[index] = place[of[index] as usize];
        }
        let mut sorted: Vec<Group> = groups.into_iter().map(|(_, group)| group).collect();
        sorted.sort_by_cached_key(|group| of[group.first as usize]);
        Self { groups: sorted, of }
    }
}

impl Group {
    fn add(&mut self, class: Option<usize>) {
        self.photos += 1;
        // Only labelled samples are split.
        let Some(class) = class.map(|class| class as u32) else { return };
        match self.counts.binary_search_by_key(&class, |&(class, _)| class) {
            Ok(at) => self.counts[at].1 += 1,
            Err(at) => self.counts.insert(at, (class, 1)),
        }
    }
}

/// Neighbours in a burst: photos of one site, or of one folder where no site is known, at most `gap` apart by the time
/// that the labels give.
fn bursts(dataset: &Dataset, chosen: &[usize], gap: Duration) -> Vec<(usize, usize)> {
    let mut timed: Vec<((bool, &str), CaptureTime, usize)> = chosen
        .iter()
        .filter_map(|&index| {
            let sample = &dataset.samples[index];
            let place = match &sample.site {
                Some(site) => (true, site.as_str()),
                None => (false, sample.id.rsplit_once('/').map_or("", |(folder, _)| folder)),
            };
            Some((place, sample.time?, index))
        })
        .collect();
    timed.sort_unstable_by(|a, b| (a.0, a.1.local, a.2).cmp(&(b.0, b.1.local, b.2)));
    let neighbours = timed.iter().zip(timed.iter().skip(1));
    neighbours
        .filter(|(a, b)| a.0 == b.0 && b.1.since(a.1).to_std().is_ok_and(|apart| apart <= gap))
        .map(|(a, b)| (a.2, b.2))
        .collect()
}

/// Trees of samples that are joined (union-find with path halving, the smaller index on top).
struct Forest(Vec<u32>);

impl Forest {
    fn new(samples: usize) -> Self {
        Self((0..samples as u32).collect())
    }

    fn root(&mut self, index: usize) -> usize {
        let mut at = index;
        while self.0[at] as usize != at {
            self.0[at] = self.0[self.0[at] as usize];
            at = self.0[at] as usize;
        }
        at
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b) as u32;
    }

    /// Joins the samples that have the same key.
    fn join_equal<K: Hash + Eq>(&mut self, chosen: &[usize], key: impl Fn(usize) -> Option<K>) {
        let mut first: HashMap<K, usize> = HashMap::new();
        for &index in chosen {
            if let Some(key) = key(index) {
                let first = *first.entry(key).or_insert(index);
                self.join(first, index);
            }
        }
    }
}
