//! What a data set holds, before anything is trained on it.

mod files;
mod groups;
mod held_out;
mod labels;
mod subject;
mod when;

use std::collections::HashSet;
use std::path::PathBuf;

use chrono::{NaiveDateTime, TimeDelta};
use serde::Serialize;

use crate::audit::{Audit, Evidence, PartAudit, Sees, audit, percent};
use crate::bursts::{bursts, times};
use crate::dataset::Dataset;
use crate::duplicates;
use crate::error::DataError;
use crate::scan::PhotoFacts;
use crate::split::{Split, SplitBy, SplitError, SplitSettings, split};

pub use files::{Camera, FileReason, Files, Mismatch, Resolution, Temperatures};
pub use groups::{Bursts, Duplicates, Group};
pub use held_out::HeldOut;
pub use labels::{Count, PartCount, Site, Sites};
pub use subject::{Subject, find_paths, subject};
pub use when::{Hour, ImpossibleTime, Times};

/// How to check.
#[derive(Clone, Debug)]
pub struct CheckSettings {
    /// The longest time between two photos of one burst.
    pub burst_gap: TimeDelta,
    /// Seed of the splits that are tried.
    pub seed: u64,
    /// Share of the validation part of those.
    pub val: f64,
    /// The split to look at; without it, and without parts in the data set, a random one and one by site are tried.
    pub split: Option<Split>,
    /// Photos said to be taken later than this have a wrong clock.
    pub now: NaiveDateTime,
}

/// What a check found. As JSON, lists hold everything; ids are those of the data set.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Report {
    /// The folder or file that was checked.
    pub data: PathBuf,
    /// What kind of data set it is, in words.
    pub format: String,
    /// What a person must know, in a few sentences, the most important first.
    pub verdict: Vec<String>,
    /// Rows of labels, or photos.
    pub photos: usize,
    /// Those that have a class.
    pub labelled: usize,
    /// Photos of each class, in the data set's order.
    pub classes: Vec<Count>,
    /// Photos of the largest class for one of the smallest; none where a class has no photo.
    pub imbalance: Option<f64>,
    /// Photos of each part that the data set gives.
    pub parts: Vec<PartCount>,
    /// The sites; none where the data set names none.
    pub sites: Option<Sites>,
    /// A table of unlabelled photos beside the labels, such as a competition's test set.
    pub held_out: Option<HeldOut>,
    /// Labels whose photo does not exist; empty where photos were not looked at.
    pub labels_without_file: Vec<String>,
    /// Photos that no label names; empty where photos were not looked at.
    pub files_without_label: Vec<String>,
    /// What the pass over the photos found; none where they were not looked at.
    pub files: Option<Files>,
    /// When the photos were taken.
    pub times: Times,
    /// Frames taken one right after the other.
    pub bursts: Bursts,
    /// Photos that are there twice; none where photos were not looked at.
    pub duplicates: Option<Duplicates>,
    /// What the split, or the splits that were tried, give away.
    pub audits: Vec<Audit>,
    /// Things the reader of the labels noted.
    pub notes: Vec<String>,
}

/// A photo to drop and why.
#[derive(Serialize, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DropRow {
    /// The photo.
    pub id: String,
    /// Why, in a few words.
    pub reason: String,
}

/// Checks a data set. `facts`, one a sample, are those of [`scan`](crate::scan::scan); without them only the labels are
/// looked at.
///
/// # Errors
/// Those of [`split`].
pub fn check(
    subject: &Subject,
    facts: Option<&[PhotoFacts]>,
    settings: &CheckSettings,
) -> Result<Report, DataError> {
    let dataset = &subject.dataset;
    let times_of = times(dataset, facts);
    let burst_groups = bursts(dataset, facts, settings.burst_gap);
    let (exact, near) = match facts {
        Some(facts) => (duplicates::exact(facts), duplicates::near(facts)),
        None => (Vec::new(), Vec::new()),
    };
    let evidence = Evidence { times: &times_of, facts, bursts: &burst_groups, exact: &exact, near: &near };
    let audits = audits(dataset, &evidence, settings)?;
    let classes = labels::classes(dataset);
    let held_out = held_out::beside(dataset, &subject.folder);
    let mut report = Report {
        data: dataset.root.clone(),
        format: dataset.format.to_string(),
        verdict: Vec::new(),
        photos: dataset.samples.len(),
        labelled: classes.iter().map(|class| class.photos).sum(),
        imbalance: labels::imbalance(&classes),
        classes,
        parts: labels::parts(dataset),
        sites: labels::sites(dataset, &times_of),
        held_out,
        labels_without_file: facts.map_or_else(Vec::new, |facts| files::missing(dataset, facts)),
        files_without_label: subject.unlabelled.clone(),
        files: facts.map(|facts| Files::new(dataset, facts)),
        times: Times::new(dataset, &times_of, facts, settings.now),
        bursts: Bursts::new(&burst_groups, settings.burst_gap),
        duplicates: facts.map(|_| Duplicates::new(dataset, &exact, &near)),
        audits,
        notes: dataset.notes.iter().map(|note| note.text.clone()).collect(),
    };
    report.verdict = verdict(&report);
    Ok(report)
}

/// The audit of the split that is there; else of a random one and, where sites are known, of one by site.
fn audits(
    dataset: &Dataset,
    evidence: &Evidence<'_>,
    settings: &CheckSettings,
) -> Result<Vec<Audit>, DataError> {
    let labelled = dataset.samples.iter().filter(|sample| sample.class.is_some());
    if dataset.classes.len() < 2 || labelled.clone().count() < 2 {
        return Ok(Vec::new());
    }
    let look = |split: &Split| audit(dataset, split, evidence, settings.seed);
    if let Some(split) = &settings.split {
        let folds = (1..=split.fold_count()).filter_map(|fold| split.fold(fold));
        return Ok(if split.fold_count() == 0 {
            vec![look(split)]
        } else {
            folds.map(|fold| look(&fold)).collect()
        });
    }
    let made = |by| {
        let settings =
            SplitSettings { by, val: settings.val, seed: settings.seed, ..SplitSettings::default() };
        split(dataset, &settings)
    };
    if labelled.clone().any(|sample| sample.part.is_some()) {
        return match made(SplitBy::Auto) {
            // Val cannot be cut from a train part of one site: what is given is audited as it is.
            Err(DataError::Split(SplitError::TooFewGroups { .. })) => {
                let given = SplitSettings { val: 0.0, ..SplitSettings::default() };
                Ok(vec![look(&split(dataset, &given)?)])
            }
            split => Ok(vec![look(&split?)]),
        };
    }
    let mut audits = vec![look(&made(SplitBy::Random)?)];
    if labelled.clone().any(|sample| sample.site.is_some()) {
        match made(SplitBy::Site) {
            Ok(split) => audits.push(look(&split)),
            // A single site cannot be parted; the random split is then all there is.
            Err(DataError::Split(SplitError::TooFewGroups { .. })) => {}
            Err(error) => return Err(error),
        }
    }
    audits.retain(|audit| !audit.parts.is_empty());
    Ok(audits)
}

/// What a person must know.
fn verdict(report: &Report) -> Vec<String> {
    let mut sentences = Vec::new();
    if report.photos > 0 && report.labels_without_file.len() == report.photos {
        sentences.push(
            "None of the photos that the labels name is there: name the folder they are below with --photos, or look at \
             the labels alone with --no-photos."
                .to_owned(),
        );
    }
    if let [only] = report.classes.as_slice() {
        sentences.push(format!(
            "All photos are of one class, `{}`: there is nothing to tell apart. Is that folder a class?",
            only.name
        ));
    }
    match report.audits.as_slice() {
        [] if report.labelled == 0 => {
            sentences.push("No photo has a label: there is nothing to train on yet.".to_owned())
        }
        [] => {}
        [only] => sentences.push(only.verdict.clone()),
        [random, by_site, ..] => sentences.extend(two_splits(random, by_site)),
    }
    if let Some(held_out) = &report.held_out {
        sentences.push(held_out.sentence());
    }
    sentences
}

/// A random split beside one by site.
fn two_splits(random: &Audit, by_site: &Audit) -> Option<String> {
    let (random, by_site) = (random.parts.first()?, by_site.parts.first()?);
    let site = |part: &PartAudit| part.score(Sees::Site).map_or(0.0, |score| score.accuracy);
    let (of_random, of_site) = (percent(site(random)), percent(site(by_site)));
    let majority = percent(random.majority.accuracy);
    let mut text = if random.site_gives_away() {
        format!(
            "Split by site. A random split of these photos leaks: knowing only the site, without a look at the photo, \
             scores {of_random} on it, where always naming the most common class scores {majority}. Split by site, \
             knowing the site scores {of_site}."
        )
    } else {
        format!(
            "Split by site. Knowing only the site scores {of_random} on a random split, not much more than always naming \
             the most common class ({majority}); photos of one place still share their background and their animals."
        )
    };
    if let Some(crossing) = by_site.crossing() {
        text.push_str(&format!(" Also by site, some reach from train into {}: {crossing}.", by_site.part));
    }
    Some(text)
}

impl Report {
    /// The photos to drop, by id: labels without a file, empty and undecodable files, and of photos with the same bytes
    /// all but the first by id.
    pub fn to_drop(&self) -> Vec<DropRow> {
        let mut drops: Vec<DropRow> = self
            .labels_without_file
            .iter()
            .map(|id| DropRow { id: id.clone(), reason: "there is no such file".to_owned() })
            .collect();
        if let Some(files) = &self.files {
            drops.extend(
                files
                    .empty
                    .iter()
                    .map(|id| DropRow { id: id.clone(), reason: "the file is empty".to_owned() }),
            );
            drops.extend(files.undecodable.iter().map(|FileReason { id, reason }| DropRow {
                id: id.clone(),
                reason: format!("cannot be decoded: {reason}"),
            }));
        }
        // A file that cannot be decoded is told once, not also as a copy of another.
        let told: HashSet<String> = drops.iter().map(|drop| drop.id.clone()).collect();
        for group in self.duplicates.iter().flat_map(|duplicates| &duplicates.exact) {
            let mut kept = group.ids.iter().filter(|id| !told.contains(*id));
            let Some(first) = kept.next() else { continue };
            let labels = if group.classes.len() > 1 { ", with another label among them" } else { "" };
            drops.extend(
                kept.map(|id| DropRow {
                    id: id.clone(),
                    reason: format!("the same bytes as {first}{labels}"),
                }),
            );
        }
        drops.sort_unstable();
        drops
    }
}
