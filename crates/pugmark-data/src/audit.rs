//! The leakage audit: how much of a score comes without looking at the animal.
//!
//! Predictors that see only the site, only the hour, or only the colours and brightness of the whole frame are fitted on
//! train and measured on the other parts, beside the share of the most common class. What they score above it on a
//! split by photos and not on a split by sites is what a classifier, too, can score by knowing the place.

mod predictors;

use std::collections::HashSet;

use chrono::Timelike;
use serde::Serialize;

use crate::dataset::{Dataset, Part, counted};
use crate::scan::PhotoFacts;
use crate::split::Split;
use crate::time::CaptureTime;

use predictors::{Labelled, by_colours, by_key};

/// What is known of the photos besides their labels.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a> {
    /// When each sample was taken.
    pub times: &'a [Option<CaptureTime>],
    /// What the pass over the photos found, one a sample.
    pub facts: Option<&'a [PhotoFacts]>,
    /// Bursts, as indices of samples.
    pub bursts: &'a [Vec<usize>],
    /// Photos with the same bytes.
    pub exact: &'a [Vec<usize>],
    /// Photos of the same look.
    pub near: &'a [Vec<usize>],
}

/// How good a predictor is.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Score {
    /// Share of photos whose class it names, 0 to 1.
    pub accuracy: f64,
    /// Mean negative logarithm of the probability it gives to the true class.
    pub log_loss: f64,
}

/// The one thing a predictor sees.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Sees {
    /// The site: the class most common there in train.
    Site,
    /// The hour of the day on the camera's clock.
    Hour,
    /// Twenty numbers on colour and brightness of the whole frame: the five nearest photos of train vote.
    Colours,
}

impl Sees {
    /// "site", "hour" or "colours".
    pub fn name(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::Hour => "hour",
            Self::Colours => "colours",
        }
    }
}

/// A predictor and its score.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Predictor {
    /// What it sees.
    pub sees: Sees,
    /// Photos it was measured on: all, but for colours a fixed draw of at most 2,000.
    pub photos: usize,
    /// How good it is.
    #[serde(flatten)]
    pub score: Score,
}

/// Groups that reach from train into a part.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Shared {
    /// Groups in both.
    pub groups: usize,
    /// Groups in the part.
    pub of: usize,
    /// Photos of the part that belong to a group in both.
    pub photos: usize,
}

/// What train gives away about one part.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct PartAudit {
    /// The part.
    pub part: Part,
    /// Labelled photos in it.
    pub photos: usize,
    /// Naming the most common class of train; the class shares of train as probabilities.
    pub majority: Score,
    /// Predictors that do not look at the animal.
    pub predictors: Vec<Predictor>,
    /// Sites in train and in the part; none where no site is known.
    pub sites: Option<Shared>,
    /// Bursts in train and in the part.
    pub bursts: Shared,
    /// Groups of photos with the same bytes in train and in the part.
    pub duplicates: Shared,
    /// Groups of photos of the same look in train and in the part.
    pub near_duplicates: Shared,
}

/// What a split gives away.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Audit {
    /// How the split was made: "given", "file", "site", "random" or as [`Split::how`] says.
    pub split: String,
    /// Photos to learn from.
    pub train: usize,
    /// The other parts, those that have photos.
    pub parts: Vec<PartAudit>,
    /// What a person must know, in a sentence or two.
    pub verdict: String,
}

/// Points of accuracy above the most common class from which the site counts as a giveaway.
const GIVEAWAY: f64 = 0.05;

/// Measures what a split gives away.
pub fn audit(dataset: &Dataset, split: &Split, evidence: &Evidence<'_>, seed: u64) -> Audit {
    let members = |part: Part| -> Vec<usize> {
        let labelled = |&index: &usize| dataset.samples[index].class.is_some();
        split.indices(part).into_iter().filter(labelled).collect()
    };
    let train = members(Part::Train);
    let parts: Vec<PartAudit> = [Part::Val, Part::Test]
        .into_iter()
        .map(|part| (part, members(part)))
        .filter(|(_, chosen)| !chosen.is_empty() && !train.is_empty())
        .map(|(part, chosen)| audit_part(dataset, split, evidence, seed, &train, part, &chosen))
        .collect();
    let verdict = parts.iter().map(verdict).collect::<Vec<_>>().join(" ");
    Audit { split: split.how.clone(), train: train.len(), parts, verdict }
}

fn audit_part(
    dataset: &Dataset,
    split: &Split,
    evidence: &Evidence<'_>,
    seed: u64,
    train: &[usize],
    part: Part,
    chosen: &[usize],
) -> PartAudit {
    let labelled = Labelled::new(dataset, train, chosen);
    let site = |index: usize| dataset.samples[index].site.as_deref();
    let hour = |index: usize| evidence.times[index].map(|time| time.local.hour());
    let known = |key: &dyn Fn(usize) -> bool| train.iter().any(|&index| key(index));
    let mut predictors = Vec::new();
    let mut add =
        |sees: Sees, photos: usize, score: Score| predictors.push(Predictor { sees, photos, score });
    if known(&|index| site(index).is_some()) {
        add(Sees::Site, chosen.len(), by_key(&labelled, site));
    }
    if known(&|index| hour(index).is_some()) {
        add(Sees::Hour, chosen.len(), by_key(&labelled, hour));
    }
    if let Some(facts) = evidence.facts
        && let Some((photos, score)) = by_colours(dataset, &labelled, facts, seed)
    {
        add(Sees::Colours, photos, score);
    }
    let crossing = |groups: &[Vec<usize>]| crossing(split, part, groups);
    PartAudit {
        part,
        photos: chosen.len(),
        majority: by_key(&labelled, |_| None::<()>),
        predictors,
        sites: shared_sites(train, chosen, site),
        bursts: crossing(evidence.bursts),
        duplicates: crossing(evidence.exact),
        near_duplicates: crossing(evidence.near),
    }
}

fn shared_sites<'a>(
    train: &[usize],
    chosen: &[usize],
    site: impl Fn(usize) -> Option<&'a str>,
) -> Option<Shared> {
    let in_train: HashSet<&str> = train.iter().filter_map(|&index| site(index)).collect();
    let in_part: HashSet<&str> = chosen.iter().filter_map(|&index| site(index)).collect();
    if in_train.is_empty() && in_part.is_empty() {
        return None;
    }
    let shared = |site: &&str| in_train.contains(site);
    let photos = chosen.iter().filter(|&&index| site(index).is_some_and(|site| shared(&site))).count();
    Some(Shared { groups: in_part.iter().filter(|site| shared(site)).count(), of: in_part.len(), photos })
}

fn crossing(split: &Split, part: Part, groups: &[Vec<usize>]) -> Shared {
    let mut shared = Shared::default();
    for group in groups {
        let count = |part: Part| group.iter().filter(|&&index| split.parts[index] == Some(part)).count();
        let in_part = count(part);
        if in_part > 0 {
            shared.of += 1;
            if count(Part::Train) > 0 {
                shared.groups += 1;
                shared.photos += in_part;
            }
        }
    }
    shared
}

impl PartAudit {
    /// The score of the predictor that sees this alone.
    pub fn score(&self, sees: Sees) -> Option<Score> {
        self.predictors.iter().find(|predictor| predictor.sees == sees).map(|predictor| predictor.score)
    }

    /// Bursts and duplicates that reach from train into the part, in words; none where none does.
    pub fn crossing(&self) -> Option<String> {
        let crossing = [
            (self.bursts, "burst", ""),
            (self.duplicates, "group", " of exact duplicates"),
            (self.near_duplicates, "group", " of near duplicates"),
        ];
        let crossing: Vec<String> = crossing
            .into_iter()
            .filter(|(shared, ..)| shared.groups > 0)
            .map(|(shared, thing, of)| {
                let photos = counted(shared.photos, "photo");
                format!("{}{of} ({photos} of {})", counted(shared.groups, thing), self.part)
            })
            .collect();
        (!crossing.is_empty()).then(|| crossing.join(", "))
    }

    /// Whether the site alone scores more than the most common class by five points of accuracy.
    pub fn site_gives_away(&self) -> bool {
        self.score(Sees::Site).is_some_and(|site| site.accuracy - self.majority.accuracy >= GIVEAWAY)
    }
}

/// A share as a person reads it: `51.0 %`.
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn verdict(part: &PartAudit) -> String {
    let name = part.part;
    let majority = percent(part.majority.accuracy);
    let mut text = match (part.sites, part.score(Sees::Site)) {
        (Some(sites), Some(site)) if part.site_gives_away() => format!(
            "This split leaks: {} of the {} sites of {name} are in train too, and knowing only the site, without a look at \
             the photo, scores {} (the most common class: {majority}). Expect less at new sites.",
            sites.groups,
            sites.of,
            percent(site.accuracy),
        ),
        (Some(sites), Some(site)) if sites.groups > 0 => format!(
            "{} of the {} sites of {name} are in train too; knowing only the site scores {} (the most common class: \
             {majority}).",
            sites.groups,
            sites.of,
            percent(site.accuracy),
        ),
        (Some(_), _) => format!(
            "No site of {name} is in train: knowing only the site scores no more than the most common class, {majority}."
        ),
        (None, _) => format!(
            "No sites are known, so nobody can tell how much of a score on {name} comes from knowing the place (the most \
             common class scores {majority})."
        ),
    };
    if let Some(crossing) = part.crossing() {
        text.push_str(&format!(" Reaching from train into {name}: {crossing}."));
    }
    text
}
