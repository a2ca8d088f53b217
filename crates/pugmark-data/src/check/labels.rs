//! Counts of classes, parts and sites.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::dataset::{Dataset, Part};
use crate::time::CaptureTime;

/// How many photos have a name.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Count {
    /// The class, the format, ...
    pub name: String,
    /// Its photos.
    pub photos: usize,
}

/// How many photos a part has.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct PartCount {
    /// The part; none for photos that the data set gives no part.
    pub part: Option<Part>,
    /// Its photos.
    pub photos: usize,
}

/// The sites of a data set.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Sites {
    /// How many there are.
    pub count: usize,
    /// Photos of which no site is known.
    pub photos_without: usize,
    /// Each site, the one with the most photos first.
    pub sites: Vec<Site>,
}

/// One site.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Site {
    /// Its name.
    pub site: String,
    /// Its photos.
    pub photos: usize,
    /// Classes that were seen there.
    pub classes: usize,
    /// Share of its labelled photos that are of its most common class, 0 to 1; none where it has none.
    pub largest_class: Option<f64>,
    /// Its earliest time on the camera's clock.
    pub first: Option<String>,
    /// Its latest.
    pub last: Option<String>,
}

pub(super) fn classes(dataset: &Dataset) -> Vec<Count> {
    let all: Vec<usize> = (0..dataset.samples.len()).collect();
    let counts = dataset.class_counts(&all);
    dataset.classes.iter().zip(counts).map(|(name, photos)| Count { name: name.clone(), photos }).collect()
}

pub(super) fn imbalance(classes: &[Count]) -> Option<f64> {
    let most = classes.iter().map(|class| class.photos).max()?;
    let fewest = classes.iter().map(|class| class.photos).min().filter(|&fewest| fewest > 0)?;
    Some(most as f64 / fewest as f64)
}

pub(super) fn parts(dataset: &Dataset) -> Vec<PartCount> {
    let mut counts: BTreeMap<(bool, Option<Part>), usize> = BTreeMap::new();
    for sample in &dataset.samples {
        *counts.entry((sample.part.is_none(), sample.part)).or_default() += 1;
    }
    if counts.keys().all(|(none, _)| *none) {
        return Vec::new();
    }
    counts.into_iter().map(|((_, part), photos)| PartCount { part, photos }).collect()
}

pub(super) fn sites(dataset: &Dataset, times: &[Option<CaptureTime>]) -> Option<Sites> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (index, sample) in dataset.samples.iter().enumerate() {
        if let Some(site) = &sample.site {
            members.entry(site).or_default().push(index);
        }
    }
    if members.is_empty() {
        return None;
    }
    let with: usize = members.values().map(Vec::len).sum();
    let mut sites: Vec<Site> = members
        .into_iter()
        .map(|(site, members)| {
            let seen = members.iter().filter_map(|&index| dataset.samples[index].class);
            let classes = seen.collect::<BTreeSet<_>>().len();
            let counts = dataset.class_counts(&members);
            let labelled: usize = counts.iter().sum();
            let largest = counts.iter().max().copied().unwrap_or(0);
            let times = || members.iter().filter_map(|&index| times[index]);
            Site {
                site: site.to_owned(),
                photos: members.len(),
                classes,
                largest_class: (labelled > 0).then(|| largest as f64 / labelled as f64),
                first: times().min().map(|time| time.to_string()),
                last: times().max().map(|time| time.to_string()),
            }
        })
        .collect();
    sites.sort_by(|a, b| b.photos.cmp(&a.photos).then_with(|| a.site.cmp(&b.site)));
    Some(Sites { count: sites.len(), photos_without: dataset.samples.len() - with, sites })
}
