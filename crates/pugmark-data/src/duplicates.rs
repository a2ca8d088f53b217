//! Photos that are there twice.

use std::collections::HashMap;
use std::hash::Hash;

use crate::groups::Joined;
use crate::scan::{PerceptualHash, PhotoFacts};

/// Photos with the same bytes: groups of two or more indices, ascending; groups by their first.
pub fn exact(facts: &[PhotoFacts]) -> Vec<Vec<usize>> {
    let contents = facts.iter().enumerate().filter_map(|(index, facts)| Some((facts.content?, index)));
    repeated(contents)
}

/// Photos of the same look: re-encoded, resized, or frames of one scene in which hardly anything moved. A group is joined
/// by pairs whose hashes are within [`PerceptualHash::SAME_LOOK`] bits, and holds files that differ.
///
/// Groups of two or more indices, ascending; groups by their first. Flat pictures, as of a covered lens, are in none.
///
/// Takes 20 sorts of the distinct hashes: two hashes that differ in at most 3 bits agree in at
/// least 3 of 6 blocks, so that only those need be compared that share some three blocks (multi-index hashing; Norouzi,
/// Punjani and Fleet 2012).
pub fn near(facts: &[PhotoFacts]) -> Vec<Vec<usize>> {
    let hash = |facts: &PhotoFacts| facts.picture.as_ref().and_then(|picture| picture.hash);
    let mut hashes: Vec<PerceptualHash> = facts.iter().filter_map(hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    let mut joined = join_near(&hashes);
    let looks = facts.iter().enumerate().filter_map(|(index, facts)| {
        let place = hashes.binary_search(&hash(facts)?).ok()?;
        Some((joined.first(place), index))
    });
    let mut groups = repeated(looks);
    groups.retain(|group| group.iter().any(|&index| facts[index].content != facts[group[0]].content));
    groups
}

/// Blocks of a hash; any three of them are agreed on by hashes that differ in three bits or fewer.
const BLOCKS: u32 = 6;

/// Joins the places of hashes within [`PerceptualHash::SAME_LOOK`] bits; the hashes are distinct.
fn join_near(hashes: &[PerceptualHash]) -> Joined {
    let mut joined = Joined::new(hashes.len());
    let block = |number: u32| {
        let (start, end) = (64 * number / BLOCKS, 64 * (number + 1) / BLOCKS);
        ((1_u64 << (end - start)) - 1) << start
    };
    for (a, b, c) in threes(BLOCKS) {
        let mask = block(a) | block(b) | block(c);
        // Keys lie beside their places, so that sorting does not jump through memory.
        let mut keyed: Vec<(u64, u32)> =
            hashes.iter().zip(0..).map(|(hash, place)| (hash.0 & mask, place)).collect();
        keyed.sort_unstable();
        for run in keyed.chunk_by(|a, b| a.0 == b.0) {
            for (at, &(_, first)) in run.iter().enumerate() {
                for &(_, second) in &run[at + 1..] {
                    let (first, second) = (first as usize, second as usize);
                    if hashes[first].distance(hashes[second]) <= PerceptualHash::SAME_LOOK {
                        joined.join(&[first, second]);
                    }
                }
            }
        }
    }
    joined
}

/// Every three different numbers below `count`, ascending.
fn threes(count: u32) -> impl Iterator<Item = (u32, u32, u32)> {
    (0..count).flat_map(move |a| (a + 1..count).flat_map(move |b| (b + 1..count).map(move |c| (a, b, c))))
}

/// The indices of each key that has several.
fn repeated<K: Eq + Hash>(keyed: impl Iterator<Item = (K, usize)>) -> Vec<Vec<usize>> {
    let mut by_key: HashMap<K, Vec<usize>> = HashMap::new();
    for (key, index) in keyed {
        by_key.entry(key).or_default().push(index);
    }
    let mut groups: Vec<Vec<usize>> = by_key.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// Hashes in clusters, so that many are close.
    fn clustered(count: usize) -> Vec<PerceptualHash> {
        let mut random = Random::new(3, 0, "hashes");
        let centres: Vec<u64> = (0..count / 20).map(|_| random.next_u64()).collect();
        let mut hashes: Vec<PerceptualHash> = (0..count)
            .map(|_| {
                let mut hash = centres[random.below(centres.len())];
                for _ in 0..random.below(9) {
                    hash ^= 1 << random.below(64);
                }
                PerceptualHash(hash)
            })
            .collect();
        hashes.sort_unstable();
        hashes.dedup();
        hashes
    }

    #[test]
    fn close_hashes_are_those_that_comparing_every_pair_finds() {
        let hashes = clustered(3000);
        let mut expected = Joined::new(hashes.len());
        let mut pairs = 0;
        for (at, first) in hashes.iter().enumerate() {
            for (second, other) in hashes.iter().enumerate().skip(at + 1) {
                if first.distance(*other) <= 3 {
                    expected.join(&[at, second]);
                    pairs += 1;
                }
            }
        }
        assert!(pairs > 1000, "{pairs} pairs test something");
        assert_eq!(join_near(&hashes).groups(), expected.groups());
    }

    #[test]
    fn blocks_cover_a_hash_once() {
        let widths: Vec<u32> =
            (0..BLOCKS).map(|number| 64 * (number + 1) / BLOCKS - 64 * number / BLOCKS).collect();
        assert_eq!(widths.iter().sum::<u32>(), 64);
        assert_eq!(threes(BLOCKS).count(), 20);
    }
}
