//! Bursts and duplicates, with the names of the photos.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use serde::Serialize;

use crate::dataset::Dataset;

/// Bursts of a data set.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bursts {
    /// The longest time between two photos of one burst, in seconds.
    pub gap_seconds: i64,
    /// How many there are.
    pub count: usize,
    /// Photos in them.
    pub photos: usize,
    /// Photos in the longest one.
    pub longest: usize,
}

impl Bursts {
    pub(super) fn new(groups: &[Vec<usize>], gap: TimeDelta) -> Self {
        Self {
            gap_seconds: gap.num_seconds(),
            count: groups.len(),
            photos: groups.iter().map(Vec::len).sum(),
            longest: groups.iter().map(Vec::len).max().unwrap_or(0),
        }
    }
}

/// Photos that are there twice.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Duplicates {
    /// Groups of photos with the same bytes.
    pub exact: Vec<Group>,
    /// Photos that need not be there: all but one of each group.
    pub exact_extra: usize,
    /// Groups of photos with the same bytes and different labels.
    pub exact_with_different_labels: usize,
    /// Groups of photos of the same look but different bytes; at a fixed camera, frames in which little moved are among
    /// them.
    pub near: Vec<Group>,
    /// Photos in them.
    pub near_photos: usize,
    /// Groups of the same look at more than one site.
    pub near_across_sites: usize,
}

/// Photos that belong together.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// The photos, sorted.
    pub ids: Vec<String>,
    /// Their classes, each once.
    pub classes: Vec<String>,
    /// Their sites, each once.
    pub sites: Vec<String>,
}

impl Group {
    fn new(dataset: &Dataset, members: &[usize]) -> Self {
        let samples = || members.iter().map(|&index| &dataset.samples[index]);
        let mut ids: Vec<String> = samples().map(|sample| sample.id.clone()).collect();
        ids.sort_unstable();
        let classes: BTreeSet<usize> = samples().filter_map(|sample| sample.class).collect();
        let sites: BTreeSet<&String> = samples().filter_map(|sample| sample.site.as_ref()).collect();
        Self {
            ids,
            classes: classes.into_iter().map(|class| dataset.classes[class].clone()).collect(),
            sites: sites.into_iter().cloned().collect(),
        }
    }
}

impl Duplicates {
    pub(super) fn new(dataset: &Dataset, exact: &[Vec<usize>], near: &[Vec<usize>]) -> Self {
        let named = |groups: &[Vec<usize>]| -> Vec<Group> {
            let mut groups: Vec<Group> = groups.iter().map(|group| Group::new(dataset, group)).collect();
            // The largest first.
            groups.sort_unstable_by(|a, b| b.ids.len().cmp(&a.ids.len()).then_with(|| a.ids.cmp(&b.ids)));
            groups
        };
        let (exact, near) = (named(exact), named(near));
        Self {
            exact_extra: exact.iter().map(|group| group.ids.len() - 1).sum(),
            exact_with_different_labels: exact.iter().filter(|group| group.classes.len() > 1).count(),
            near_photos: near.iter().map(|group| group.ids.len()).sum(),
            near_across_sites: near.iter().filter(|group| group.sites.len() > 1).count(),
            exact,
            near,
        }
    }
}
