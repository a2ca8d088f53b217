//! What the files are: formats, sizes, cameras, and what is wrong with them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::labels::Count;
use crate::dataset::{Dataset, Sample};
use crate::scan::{PhotoFacts, Problem};

/// What the pass over the photos found.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Files {
    /// Files that are there.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Photos that could be decoded, at least in part.
    pub decoded: usize,
    /// Those that are infrared frames, taken at night.
    pub infrared: usize,
    /// Widths and heights, the most common first.
    pub resolutions: Vec<Resolution>,
    /// Formats by content, the most common first.
    pub formats: Vec<Count>,
    /// Cameras as the EXIF names them, the most common first.
    pub cameras: Vec<Camera>,
    /// Temperatures that cameras wrote; none where none did.
    pub temperatures: Option<Temperatures>,
    /// Files without a byte.
    pub empty: Vec<String>,
    /// Files that nothing can be decoded of.
    pub undecodable: Vec<FileReason>,
    /// Files that end early or are damaged: a part of the picture is there.
    pub truncated: Vec<String>,
    /// Files whose name ends as that of another format.
    pub wrong_extension: Vec<Mismatch>,
}

/// A size of photos.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Resolution {
    /// Pixels in a row, upright.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Photos of that size.
    pub photos: usize,
}

/// A model of camera.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Camera {
    /// Make and model.
    pub camera: String,
    /// Serial numbers that were seen.
    pub serials: usize,
    /// Its photos.
    pub photos: usize,
}

/// Temperatures in degrees Celsius.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Temperatures {
    /// Photos that have one.
    pub photos: usize,
    /// The lowest.
    pub lowest: f32,
    /// The highest.
    pub highest: f32,
}

/// A file and what is wrong with it.
#[derive(Serialize, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FileReason {
    /// The photo.
    pub id: String,
    /// What is wrong, in a sentence.
    pub reason: String,
}

/// A file whose name says another format than its content.
#[derive(Serialize, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Mismatch {
    /// The photo.
    pub id: String,
    /// What its content is.
    pub content: String,
}

/// The labels whose photo does not exist, sorted.
pub(super) fn missing(dataset: &Dataset, facts: &[PhotoFacts]) -> Vec<String> {
    ids(dataset, facts, |facts| facts.problem == Some(Problem::Missing))
}

fn ids(dataset: &Dataset, facts: &[PhotoFacts], wanted: impl Fn(&PhotoFacts) -> bool) -> Vec<String> {
    let all = dataset.samples.iter().zip(facts);
    let mut ids: Vec<String> =
        all.filter(|(_, facts)| wanted(facts)).map(|(sample, _)| sample.id.clone()).collect();
    ids.sort_unstable();
    ids
}

impl Files {
    pub(super) fn new(dataset: &Dataset, facts: &[PhotoFacts]) -> Self {
        let pictures = || facts.iter().filter_map(|facts| facts.picture.as_ref());
        let with_reason = |(sample, facts): (&Sample, &PhotoFacts)| match &facts.problem {
            Some(Problem::Undecodable(reason)) => {
                Some(FileReason { id: sample.id.clone(), reason: reason.clone() })
            }
            _ => None,
        };
        let mut undecodable: Vec<FileReason> =
            dataset.samples.iter().zip(facts).filter_map(with_reason).collect();
        undecodable.sort_unstable();
        let mismatch = |(sample, facts): (&Sample, &PhotoFacts)| {
            let content = facts.format.filter(|_| facts.wrong_extension)?.name().to_owned();
            Some(Mismatch { id: sample.id.clone(), content })
        };
        let mut wrong_extension: Vec<Mismatch> =
            dataset.samples.iter().zip(facts).filter_map(mismatch).collect();
        wrong_extension.sort_unstable();
        let formats = facts.iter().filter_map(|facts| facts.format);
        Self {
            files: facts.iter().filter(|facts| facts.problem != Some(Problem::Missing)).count(),
            bytes: facts.iter().map(|facts| facts.bytes).sum(),
            decoded: pictures().count(),
            infrared: pictures().filter(|picture| picture.infrared).count(),
            resolutions: most_common(pictures().map(|picture| (picture.width, picture.height)))
                .into_iter()
                .map(|((width, height), photos)| Resolution { width, height, photos })
                .collect(),
            formats: most_common(formats)
                .into_iter()
                .map(|(format, photos)| Count { name: format.name().to_owned(), photos })
                .collect(),
            cameras: cameras(facts),
            temperatures: temperatures(facts),
            empty: ids(dataset, facts, |facts| facts.problem == Some(Problem::Empty)),
            undecodable,
            truncated: ids(dataset, facts, |facts| facts.problem == Some(Problem::Truncated)),
            wrong_extension,
        }
    }
}

/// Each value and how often it is there, the most common first.
fn most_common<T: Ord>(values: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<(T, usize)> = counts.into_iter().collect();
    // Stable: equally common ones stay sorted.
    counts.sort_by_key(|&(_, count)| Reverse(count));
    counts
}

fn cameras(facts: &[PhotoFacts]) -> Vec<Camera> {
    let mut serials: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for facts in facts {
        if let (Some(camera), Some(serial)) = (facts.exif.camera(), &facts.exif.serial) {
            serials.entry(camera).or_default().insert(serial);
        }
    }
    most_common(facts.iter().filter_map(|facts| facts.exif.camera()))
        .into_iter()
        .map(|(camera, photos)| {
            let serials = serials.get(&camera).map_or(0, BTreeSet::len);
            Camera { camera, serials, photos }
        })
        .collect()
}

fn temperatures(facts: &[PhotoFacts]) -> Option<Temperatures> {
    let all = || facts.iter().filter_map(|facts| facts.exif.temperature);
    let lowest = all().min_by(f32::total_cmp)?;
    let highest = all().max_by(f32::total_cmp)?;
    Some(Temperatures { photos: all().count(), lowest, highest })
}
