//! Splitting a data set into train, val and test, or into folds.
//!
//! A split is made of groups of photos that stay together. A group starts in the part that a hash of (seed, name) draws;
//! then as few groups as it takes are moved until the classes are even. `docs/decisions/0006-splits-that-stay.md` says
//! what is promised when photos are added, and what was measured.

mod balance;
mod decide;
mod error;
mod evenness;
mod file;
mod folder;
mod groups;
mod rank;

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Part, counted, hash_pairs};
use crate::error::DataError;
use balance::Balance;
use decide::decide;
use groups::Groups;

pub use error::SplitError;
pub use evenness::{Deviation, Evenness, PartRow};

/// What must stay together in one part.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// By site where the data set names sites, else by sequence where it names those, else by folder where the photos
    /// lie in a folder for each camera, else by burst where times are known, else random with a warning.
    #[default]
    Auto,
    /// All photos of a site in one part.
    Site,
    /// All photos of a sequence, or of a burst where no sequences are named.
    Sequence,
    /// All photos of the folder below the class folder, or below the folder that all photos share.
    Folder,
    /// All photos with the same value in [`SplitOptions::column`].
    Column,
    /// Each photo by itself, stratified by class.
    Random,
}

impl SplitBy {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Auto, Self::Site, Self::Sequence, Self::Folder, Self::Column, Self::Random];

    /// "auto", "site" and so on.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Site => "site",
            Self::Sequence => "sequence",
            Self::Folder => "folder",
            Self::Column => "column",
            Self::Random => "random",
        }
    }
}

impl FromStr for SplitBy {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|by| by.name() == word);
        known.ok_or_else(|| format!("`{word}` is none of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// How to split.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct SplitSettings {
    /// What must stay together.
    pub by: SplitBy,
    /// The validation part's share of the photos, in [0, 1).
    pub val: f64,
    /// The test part's share of the photos, in [0, 1).
    pub test: f64,
    /// Another seed gives another split.
    pub seed: u64,
}

impl Default for SplitSettings {
    fn default() -> Self {
        Self { by: SplitBy::Auto, val: 0.25, test: 0.0, seed: 0 }
    }
}

/// What else a split may be told.
#[derive(Clone, Copy, Debug)]
pub struct SplitOptions<'a> {
    /// Split what is not test into so many folds, instead of into train and val; 0 for none.
    pub folds: u32,
    /// Photos of one site (or folder, where no site is known) that were taken at most so far apart are one burst.
    pub burst_gap: Duration,
    /// One value a sample, for [`SplitBy::Column`].
    pub column: Option<&'a [Option<String>]>,
    /// Photos that stay together whatever the split goes by, such as duplicates: indices of samples.
    pub keep_together: &'a [Vec<usize>],
    /// An earlier split of the same samples. Every photo that it has stays in its part; a group with such photos
    /// follows them, and only other groups are placed.
    pub earlier: Option<&'a Split>,
}

impl Default for SplitOptions<'_> {
    fn default() -> Self {
        let burst_gap = Duration::from_secs(60);
        Self { folds: 0, burst_gap, column: None, keep_together: &[], earlier: None }
    }
}

/// Which part every sample is in.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// One entry a sample; none where the sample has no label and is not used.
    pub parts: Vec<Option<Part>>,
    /// One entry a sample: its fold, from 1; none in the test part. Empty where there are no folds. Photos in a fold
    /// are in the part train; [`Split::fold`] makes one of the folds val.
    pub folds: Vec<Option<u32>>,
    /// One entry a sample: the group it stays with, where groups were made. Empty for a split that was read.
    pub groups: Vec<Option<u32>>,
    /// Groups that are not where their hash alone puts them, to even out the classes.
    pub moved: usize,
    /// "given", or what it was split by: "site", "sequence", "burst", "folder", "column" or "random"; "given, val by
    /// site" or "given, val random" where val was cut from a given train part; "file" where the split was read.
    pub how: String,
    /// What a person must know before they believe a number from this split.
    pub warning: Option<String>,
}

/// One of the things that photos are dealt to.
#[derive(Clone, Copy, PartialEq)]
struct Bin {
    part: Part,
    fold: Option<u32>,
    share: f64,
}

impl Bin {
    fn name(self) -> String {
        self.fold.map_or_else(|| self.part.to_string(), |fold| format!("fold {fold}"))
    }
}

/// Splits the labelled samples of a data set by [`split_with`], without options.
///
/// # Errors
/// As [`split_with`].
pub fn split(dataset: &Dataset, settings: &SplitSettings) -> Result<Split, DataError> {
    split_with(dataset, settings, &SplitOptions::default())
}

/// Splits the labelled samples of a data set.
///
/// Parts that the data set gives are kept; val (or folds) are cut out of train where no val is given. Everything else
/// is decided by hashes of (seed, id) or (seed, site), so that the order in which files are listed does not matter.
///
/// # Errors
/// Shares that leave nothing to train on; a split by something that the data set does not have, or that has too
/// few groups; folds of a data set that gives a val part; an earlier split that does not go with the folds.
pub fn split_with(
    dataset: &Dataset,
    settings: &SplitSettings,
    options: &SplitOptions<'_>,
) -> Result<Split, DataError> {
    let SplitSettings { val, test, .. } = *settings;
    let val = if options.folds > 0 { 0.0 } else { val };
    if !((0.0..1.0).contains(&val) && (0.0..1.0).contains(&test) && val + test < 1.0) {
        return Err(DataError::Shares { val, test });
    }
    if options.folds == 1 {
        return Err(SplitError::OneFold.into());
    }
    let labelled: Vec<usize> =
        (0..dataset.samples.len()).filter(|&index| dataset.samples[index].class.is_some()).collect();
    if labelled.iter().all(|&index| dataset.samples[index].part.is_none()) {
        return Cut::new(dataset, labelled, test, settings, options)?.split(dataset);
    }
    given(dataset, &labelled, settings, options)
}

/// Keeps the parts that the data set gives.
fn given(
    dataset: &Dataset,
    labelled: &[usize],
    settings: &SplitSettings,
    options: &SplitOptions<'_>,
) -> Result<Split, DataError> {
    let mut split = Split::of_parts(vec![None; dataset.samples.len()], "given");
    let mut warnings = Vec::new();
    for &index in labelled {
        split.parts[index] = dataset.samples[index].part.or(Some(Part::Train));
    }
    let undecided = labelled.iter().filter(|&&index| dataset.samples[index].part.is_none()).count();
    if undecided > 0 {
        warnings.push(format!(
            "No part is given for {}, while others have one: train takes them.",
            counted(undecided, "photo")
        ));
    }
    let has_val = split.parts.contains(&Some(Part::Val));
    if options.folds > 0 && has_val {
        return Err(SplitError::ValGiven { data: dataset.root.clone() }.into());
    }
    if !has_val && (settings.val > 0.0 || options.folds > 0) {
        let train: Vec<usize> =
            labelled.iter().copied().filter(|&index| split.parts[index] == Some(Part::Train)).collect();
        let inner = Cut::new(dataset, train.clone(), 0.0, settings, options)?.split(dataset)?;
        let what = if options.folds > 0 { "folds" } else { "val" };
        let by = if inner.how == "random" { "random".to_owned() } else { format!("by {}", inner.how) };
        for &index in &train {
            split.parts[index] = inner.parts[index];
        }
        split.how = format!("given, {what} {by}");
        (split.folds, split.groups, split.moved) = (inner.folds, inner.groups, inner.moved);
        warnings.extend(inner.warning);
    }
    let shared = split.shared_sites(dataset);
    if shared > 0 {
        warnings.push(format!("In more than one of the given parts: {}.", counted(shared, "site")));
    }
    let divided = |together: &&Vec<usize>| {
        let mut parts = together.iter().filter_map(|&index| split.parts[index]);
        parts.next().is_some_and(|first| parts.any(|part| part != first))
    };
    let divided = options.keep_together.iter().filter(divided).count();
    if divided > 0 {
        let groups = counted(divided, "group");
        warnings
            .push(format!("In more than one of the given parts: {groups} of photos that belong together."));
    }
    split.warning = joined(warnings);
    Ok(split)
}

/// Samples that are dealt to parts or folds.
struct Cut<'a> {
    chosen: Vec<usize>,
    bins: Vec<Bin>,
    by: SplitBy,
    how: &'static str,
    groups: Groups,
    earlier: Option<&'a Split>,
    warnings: Vec<String>,
}

impl<'a> Cut<'a> {
    fn new(
        dataset: &Dataset,
        chosen: Vec<usize>,
        test: f64,
        settings: &SplitSettings,
        options: &SplitOptions<'a>,
    ) -> Result<Self, DataError> {
        let (by, how, warnings) = decide(dataset, &chosen, settings.by, options)?;
        let bins = bins(settings.val, test, options.folds);
        let groups = Groups::new(dataset, &chosen, by, settings.seed, options);
        if by != SplitBy::Random && groups.groups.len() < bins.len() {
            let (data, groups, parts) = (dataset.root.clone(), groups.groups.len(), bins.len());
            return Err(SplitError::TooFewGroups { data, what: how, groups, parts }.into());
        }
        let earlier = options.earlier;
        if let Some(earlier) = earlier {
            let folds = earlier.folds.iter().flatten().max().copied().unwrap_or(0);
            if folds != options.folds {
                return Err(SplitError::OtherFolds { earlier: folds, asked: options.folds }.into());
            }
        }
        Ok(Self { chosen, bins, by, how, groups, earlier, warnings })
    }

    fn split(mut self, dataset: &Dataset) -> Result<Split, DataError> {
        let fixed = self.fixed_bins();
        let (places, moved) = match self.by {
            SplitBy::Random => (rank::deal(&self.groups.groups, &self.bins, &fixed), 0),
            _ => self.balanced(&fixed, dataset.classes.len()),
        };
        let mut split = Split::of_parts(vec![None; dataset.samples.len()], self.how);
        split.groups = vec![None; dataset.samples.len()];
        split.moved = moved;
        if self.bins.iter().any(|bin| bin.fold.is_some()) {
            split.folds = vec![None; dataset.samples.len()];
        }
        for &index in &self.chosen {
            let Some(group) = self.groups.of(index) else { continue };
            split.groups[index] = Some(group as u32);
            let bin = self.earlier_bin(index).unwrap_or(places[group]);
            split.parts[index] = Some(bin.part);
            if let Some(fold) = split.folds.get_mut(index) {
                *fold = bin.fold;
            }
        }
        self.warn_of_divided_groups(&split);
        let shared = split.shared_sites(dataset);
        if shared > 0 && matches!(self.by, SplitBy::Folder | SplitBy::Column) {
            self.warnings.push(format!("In more than one part: {}.", counted(shared, "site")));
        }
        self.warn_of_absent_classes(dataset, &split);
        split.warning = joined(self.warnings);
        Ok(split)
    }

    /// Where the earlier split has a sample.
    fn earlier_bin(&self, index: usize) -> Option<Bin> {
        let earlier = self.earlier?;
        let part = (*earlier.parts.get(index)?)?;
        let fold = earlier.folds.get(index).copied().flatten();
        let known = self.bins.iter().find(|bin| bin.part == part && bin.fold == fold);
        Some(known.copied().unwrap_or(Bin { part, fold, share: 0.0 }))
    }

    /// Where the earlier split has most of each group's photos; among equals test before val before train.
    fn fixed_bins(&self) -> Vec<Option<Bin>> {
        let mut fixed = vec![None; self.groups.groups.len()];
        if self.earlier.is_none() {
            return fixed;
        }
        let mut counts: HashMap<usize, Vec<(Bin, u32)>> = HashMap::new();
        for &index in &self.chosen {
            if let (Some(group), Some(bin)) = (self.groups.of(index), self.earlier_bin(index)) {
                let counts = counts.entry(group).or_default();
                match counts.iter_mut().find(|(known, _)| *known == bin) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((bin, 1)),
                }
            }
        }
        for (group, counts) in counts {
            let order = |bin: &Bin| (bin.part, bin.fold);
            let most = counts.iter().max_by(|(a, m), (b, n)| m.cmp(n).then(order(a).cmp(&order(b))));
            fixed[group] = most.map(|&(bin, _)| bin);
        }
        fixed
    }

    /// Each free group where its hash draws it, then moved where that evens out the classes; and how many were moved.
    fn balanced(&self, fixed: &[Option<Bin>], classes: usize) -> (Vec<Bin>, usize) {
        let shares: Vec<f64> = self.bins.iter().map(|bin| bin.share).collect();
        // Photos in a part that is not asked for any more count as train: they are not in the way there.
        let place = |bin: &Bin| self.bins.iter().position(|b| b == bin).unwrap_or(self.bins.len() - 1);
        let known: Vec<Option<usize>> = fixed.iter().map(|bin| bin.as_ref().map(place)).collect();
        let mut balance = Balance::new(&self.groups.groups, &known, &shares, classes);
        balance.even_out();
        let places = balance.bins.iter().zip(fixed).map(|(&bin, fixed)| fixed.unwrap_or(self.bins[bin]));
        (places.collect(), balance.moved())
    }

    fn warn_of_divided_groups(&mut self, split: &Split) {
        if self.earlier.is_none() {
            return;
        }
        let mut places = HashMap::new();
        let mut divided = vec![false; self.groups.groups.len()];
        for &index in &self.chosen {
            let Some(group) = self.groups.of(index) else { continue };
            let place = (split.parts[index], split.folds.get(index).copied().flatten());
            divided[group] |= *places.entry(group).or_insert(place) != place;
        }
        let divided = divided.iter().filter(|&&divided| divided).count();
        if divided > 0 {
            self.warnings.push(format!(
                "The earlier split has photos that belong together in more than one part, and they stay there: {}.",
                counted(divided, "group")
            ));
        }
    }

    fn warn_of_absent_classes(&mut self, dataset: &Dataset, split: &Split) {
        let total = dataset.class_counts(&self.chosen);
        for &bin in bins_in_order(&self.bins).iter() {
            let inside = |&index: &usize| {
                split.parts[index] == Some(bin.part) && split.folds.get(index).copied().flatten() == bin.fold
            };
            let members: Vec<usize> = self.chosen.iter().copied().filter(inside).collect();
            let counts = dataset.class_counts(&members);
            let lacking: Vec<&str> = (0..total.len())
                .filter(|&class| total[class] > 0 && counts[class] == 0)
                .map(|class| dataset.classes[class].as_str())
                .collect();
            if !lacking.is_empty() {
                self.warnings.push(format!("{} has no photo of {}.", bin.name(), lacking.join(", ")));
            }
        }
    }
}

/// What photos are dealt to; the last one takes what rounding leaves. Test comes first, so that it stays where it is when
/// another share of val is asked for.
fn bins(val: f64, test: f64, folds: u32) -> Vec<Bin> {
    let mut bins = vec![Bin { part: Part::Test, fold: None, share: test }];
    if folds > 0 {
        let share = (1.0 - test) / f64::from(folds);
        bins.extend((1..=folds).map(|fold| Bin { part: Part::Train, fold: Some(fold), share }));
    } else {
        bins.push(Bin { part: Part::Val, fold: None, share: val });
        bins.push(Bin { part: Part::Train, fold: None, share: 1.0 - val - test });
    }
    bins.retain(|bin| bin.share > 0.0);
    bins
}

/// Train before val before test, as people name them.
fn bins_in_order(bins: &[Bin]) -> Vec<Bin> {
    let mut bins = bins.to_vec();
    bins.sort_by_key(|bin| (bin.part, bin.fold));
    bins
}

fn joined(warnings: Vec<String>) -> Option<String> {
    (!warnings.is_empty()).then(|| warnings.join(" "))
}

impl Split {
    /// A split of which only the parts are known.
    fn of_parts(parts: Vec<Option<Part>>, how: &str) -> Self {
        let (folds, groups) = (Vec::new(), Vec::new());
        Self { parts, folds, groups, moved: 0, how: how.to_owned(), warning: None }
    }

    /// The samples of one part, in the data set's order.
    pub fn indices(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len()).filter(|&index| self.parts[index] == Some(part)).collect()
    }

    /// How many folds there are.
    pub fn fold_count(&self) -> u32 {
        self.folds.iter().flatten().max().copied().unwrap_or(0)
    }

    /// The split in which fold `fold` is val and the others are train; none where there is no such fold.
    pub fn fold(&self, fold: u32) -> Option<Self> {
        if !(1..=self.fold_count()).contains(&fold) {
            return None;
        }
        let part = |(part, of): (&Option<Part>, &Option<u32>)| match of {
            Some(of) if *of == fold => Some(Part::Val),
            Some(_) => Some(Part::Train),
            None => *part,
        };
        let parts = self.parts.iter().zip(&self.folds).map(part).collect();
        Some(Self { parts, folds: Vec::new(), ..self.clone() }.called_fold(Some(fold)))
    }

    /// The same split, whose name says that val is a fold.
    pub fn called_fold(self, fold: Option<u32>) -> Self {
        let how = fold.map(|fold| format!("{}, fold {fold}", self.how));
        Self { how: how.unwrap_or_else(|| self.how.clone()), ..self }
    }

    /// How many sites are in more than one part or fold.
    pub fn shared_sites(&self, dataset: &Dataset) -> usize {
        let mut first = HashMap::new();
        for (index, sample) in dataset.samples.iter().enumerate() {
            if let (Some(site), Some(part)) = (&sample.site, self.parts[index]) {
                let place = (part, self.folds.get(index).copied().flatten());
                let (first, shared) = first.entry(site.as_str()).or_insert((place, false));
                *shared |= *first != place;
            }
        }
        first.values().filter(|(_, shared)| *shared).count()
    }

    /// SHA-256 (hex) over id and part of every used sample, sorted by id.
    pub fn hash(&self, dataset: &Dataset) -> String {
        let used = dataset.samples.iter().zip(&self.parts);
        hash_pairs(used.filter_map(|(sample, part)| Some((sample.id.as_str(), (*part)?.name()))).collect())
    }
}
