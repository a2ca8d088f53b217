//! Which photos stay together.

use std::collections::HashSet;

use chrono::TimeDelta;

use super::folder::folders;
use super::{SplitBy, SplitOptions};
use crate::bursts::bursts;
use crate::dataset::Dataset;
use crate::groups::Joined;
use crate::random::Random;

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
        let mut joined = Joined::new(dataset.samples.len());
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
        joined.join_equal(chosen, |index| Some(key(index)).filter(|&(kind, _)| kind != PHOTO));
        let gap = TimeDelta::from_std(options.burst_gap).unwrap_or(TimeDelta::MAX);
        let bursts = if by == SplitBy::Random { Vec::new() } else { bursts(dataset, None, gap) };
        for together in bursts.iter().chain(options.keep_together) {
            joined.join(together);
        }
        Self::gather(dataset, chosen, &mut joined, key, seed)
    }

    /// A group for each tree. Of the draws of its keys it takes that of the key with the smallest hash, so that neither
    /// order nor, mostly, a photo more changes it.
    fn gather<'a>(
        dataset: &Dataset,
        chosen: &[usize],
        joined: &mut Joined,
        key: impl Fn(usize) -> (&'static str, &'a str),
        seed: u64,
    ) -> Self {
        let mut number_of = vec![NONE; dataset.samples.len()];
        let mut of = vec![NONE; dataset.samples.len()];
        let mut groups: Vec<(u64, Group)> = Vec::new();
        let mut hashed: HashSet<(&str, &str)> = HashSet::new();
        for &index in chosen {
            let root = joined.first(index);
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
