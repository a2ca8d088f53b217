//! Splitting a data set into train, val and test.

mod site;

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Part, counted, hash_pairs};
use crate::error::DataError;
use crate::random::Random;
use crate::read::Rows;

/// What must stay together in one part.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// By site where the data set names sites, else random with a warning.
    #[default]
    Auto,
    /// All photos of a site in one part.
    Site,
    /// Each photo by itself, stratified by class.
    Random,
}

impl FromStr for SplitBy {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "auto" => Ok(Self::Auto),
            "site" => Ok(Self::Site),
            "random" => Ok(Self::Random),
            _ => Err(format!("`{word}` is none of auto, site, random")),
        }
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

/// Which part every sample is in.
#[derive(Clone, PartialEq, Debug)]
pub struct Split {
    /// One entry a sample; none where the sample has no label and is not used.
    pub parts: Vec<Option<Part>>,
    /// "given", "site" or "random"; "given, val by site" or "given, val random" where val was cut from a
    /// given train part; "file" where the split was read.
    pub how: String,
    /// What a person must know before they believe a number from this split.
    pub warning: Option<String>,
}

/// What a random split means, in plain words.
const RANDOM_WARNING: &str = "Random split: frames of one camera and one burst are on both sides, so the model \
     can recognise the place instead of the animal. The validation number is then optimistic and says little \
     about new cameras. Name the sites of the photos to split by site.";

/// Splits the labelled samples of a data set.
///
/// Parts that the data set gives are kept; val is cut out of train where none is given. Everything else is
/// decided by hashes of (seed, id) or (seed, site), so that the order in which files are listed does not
/// matter.
///
/// # Errors
/// Shares that leave nothing to train on; a split by site of a data set with no or too few sites.
pub fn split(dataset: &Dataset, settings: &SplitSettings) -> Result<Split, DataError> {
    let SplitSettings { val, test, .. } = *settings;
    if !((0.0..1.0).contains(&val) && (0.0..1.0).contains(&test) && val + test < 1.0) {
        return Err(DataError::Shares { val, test });
    }
    let labelled: Vec<usize> =
        (0..dataset.samples.len()).filter(|&index| dataset.samples[index].class.is_some()).collect();
    if labelled.iter().all(|&index| dataset.samples[index].part.is_none()) {
        let shares = [(Part::Train, 1.0 - val - test), (Part::Val, val), (Part::Test, test)];
        return cut(dataset, &labelled, &shares, settings);
    }
    given(dataset, &labelled, settings)
}

/// Keeps the parts that the data set gives.
fn given(dataset: &Dataset, labelled: &[usize], settings: &SplitSettings) -> Result<Split, DataError> {
    let mut parts = vec![None; dataset.samples.len()];
    let mut warnings = Vec::new();
    for &index in labelled {
        parts[index] = dataset.samples[index].part.or(Some(Part::Train));
    }
    let undecided = labelled.iter().filter(|&&index| dataset.samples[index].part.is_none()).count();
    if undecided > 0 {
        warnings.push(format!(
            "No part is given for {}, while others have one: train takes them.",
            counted(undecided, "photo")
        ));
    }
    let mut how = "given".to_owned();
    if settings.val > 0.0 && !parts.contains(&Some(Part::Val)) {
        let train: Vec<usize> =
            labelled.iter().copied().filter(|&index| parts[index] == Some(Part::Train)).collect();
        let shares = [(Part::Train, 1.0 - settings.val), (Part::Val, settings.val)];
        let inner = cut(dataset, &train, &shares, settings)?;
        for &index in &train {
            parts[index] = inner.parts[index];
        }
        how = if inner.how == "site" { "given, val by site" } else { "given, val random" }.to_owned();
        warnings.extend(inner.warning);
    }
    let shared = shared_sites(dataset, &parts);
    if shared > 0 {
        warnings.push(format!("In more than one of the given parts: {}.", counted(shared, "site")));
    }
    Ok(Split { parts, how, warning: joined(warnings) })
}

/// Distributes samples over parts with the wanted shares.
fn cut(
    dataset: &Dataset,
    chosen: &[usize],
    shares: &[(Part, f64)],
    settings: &SplitSettings,
) -> Result<Split, DataError> {
    let shares: Vec<(Part, f64)> = shares.iter().copied().filter(|&(_, share)| share > 0.0).collect();
    let sited = chosen.iter().filter(|&&index| dataset.samples[index].site.is_some()).count();
    let by_site = match settings.by {
        SplitBy::Random => false,
        SplitBy::Auto => sited > 0,
        SplitBy::Site if sited == 0 => return Err(DataError::NoSites { data: dataset.root.clone() }),
        SplitBy::Site => true,
    };
    let mut warnings = Vec::new();
    let parts = if by_site {
        if sited < chosen.len() {
            let without = counted(chosen.len() - sited, "photo");
            warnings.push(format!("No site is known of {without}: each counts as a site of its own."));
        }
        site::split(dataset, chosen, &shares, settings.seed)?
    } else {
        warnings.push(RANDOM_WARNING.to_owned());
        random(dataset, chosen, &shares, settings.seed)
    };
    for &(part, _) in &shares {
        let counts = counts_in(dataset, &parts, part);
        let total = dataset.class_counts(chosen);
        let lacking: Vec<&str> = (0..total.len())
            .filter(|&class| total[class] > 0 && counts[class] == 0)
            .map(|class| dataset.classes[class].as_str())
            .collect();
        if !lacking.is_empty() {
            warnings.push(format!("{part} has no photo of {}.", lacking.join(", ")));
        }
    }
    let how = if by_site { "site" } else { "random" };
    Ok(Split { parts, how: how.to_owned(), warning: joined(warnings) })
}

/// Stratified by class: of each class, the samples with the smallest hashes go to test, the next to val.
fn random(dataset: &Dataset, chosen: &[usize], shares: &[(Part, f64)], seed: u64) -> Vec<Option<Part>> {
    let mut parts = vec![None; dataset.samples.len()];
    for class in 0..dataset.classes.len() {
        let mut members: Vec<usize> =
            chosen.iter().copied().filter(|&index| dataset.samples[index].class == Some(class)).collect();
        members.sort_by_cached_key(|&index| {
            let id = &dataset.samples[index].id;
            (hash(seed, id), id)
        });
        let mut rest = members.as_slice();
        for &(part, share) in shares.iter().rev() {
            let wanted = (members.len() as f64 * share).round() as usize;
            // The last of a class stays for train, which comes last here.
            let take =
                if part == Part::Train { rest.len() } else { wanted.min(rest.len().saturating_sub(1)) };
            let (taken, others) = rest.split_at(take);
            for &index in taken {
                parts[index] = Some(part);
            }
            rest = others;
        }
    }
    parts
}

/// A hash for splitting; the prefix keeps it apart from the order and the augmentation of the same id.
fn hash(seed: u64, id: &str) -> u64 {
    Random::new(seed, 0, &format!("split {id}")).next_u64()
}

fn counts_in(dataset: &Dataset, parts: &[Option<Part>], part: Part) -> Vec<usize> {
    let members: Vec<usize> = (0..parts.len()).filter(|&index| parts[index] == Some(part)).collect();
    dataset.class_counts(&members)
}

/// How many sites are in more than one part.
fn shared_sites(dataset: &Dataset, parts: &[Option<Part>]) -> usize {
    let mut seen: HashMap<&str, Vec<Part>> = HashMap::new();
    for (sample, part) in dataset.samples.iter().zip(parts) {
        if let (Some(site), &Some(part)) = (&sample.site, part) {
            let parts = seen.entry(site).or_default();
            if !parts.contains(&part) {
                parts.push(part);
            }
        }
    }
    seen.values().filter(|parts| parts.len() > 1).count()
}

fn joined(warnings: Vec<String>) -> Option<String> {
    (!warnings.is_empty()).then(|| warnings.join(" "))
}

impl Split {
    /// The samples of one part, in the data set's order.
    pub fn indices(&self, part: Part) -> Vec<usize> {
        (0..self.parts.len()).filter(|&index| self.parts[index] == Some(part)).collect()
    }

    /// A CSV `id,split,class,site` with one row for each sample that is used.
    pub fn to_csv(&self, dataset: &Dataset) -> String {
        let mut text = "id,split,class,site\n".to_owned();
        for (sample, part) in dataset.samples.iter().zip(&self.parts) {
            if let Some(part) = part {
                let class = sample.class.map_or("", |class| &dataset.classes[class]);
                let site = sample.site.as_deref().unwrap_or_default();
                let row = [&sample.id, part.name(), class, site].map(quoted).join(",");
                text.push_str(&row);
                text.push('\n');
            }
        }
        text
    }

    /// Reads what [`Split::to_csv`] wrote; samples without a row are not used, which a warning says.
    ///
    /// # Errors
    /// A file that cannot be read, lacks the columns `id` and `split`, or names an id twice or one that is not
    /// in the data set.
    pub fn from_csv(path: &Path, dataset: &Dataset) -> Result<Self, DataError> {
        let index: HashMap<&str, usize> =
            dataset.samples.iter().enumerate().map(|(index, sample)| (sample.id.as_str(), index)).collect();
        let mut rows = Rows::open(path)?;
        let (Some(id), Some(split)) =
            (Rows::column(&rows.header, &["id"]), Rows::column(&rows.header, &["split"]))
        else {
            return Err(DataError::MissingColumns {
                file: rows.file,
                wanted: "id and split",
                found: rows.header,
            });
        };
        let mut parts = vec![None; dataset.samples.len()];
        let mut first_rows: HashMap<usize, u64> = HashMap::new();
        while let Some(row) = rows.next()? {
            let file = || path.to_owned();
            let id = row.exact(id).to_owned();
            let &sample = index.get(id.as_str()).ok_or_else(|| DataError::UnknownId {
                file: file(),
                row: row.line,
                id: id.clone(),
                other: dataset.root.clone(),
            })?;
            if let Some(first) = first_rows.insert(sample, row.line) {
                return Err(DataError::DuplicateId { file: file(), id, first, row: row.line });
            }
            let word = rows.required(&row, split)?;
            parts[sample] = Some(word.parse().map_err(|_| DataError::UnknownPart {
                file: file(),
                row: row.line,
                column: rows.header[split].clone(),
                value: word.to_owned(),
            })?);
        }
        let unused = (0..parts.len())
            .filter(|&index| parts[index].is_none() && dataset.samples[index].class.is_some())
            .count();
        let warning = (unused > 0).then(|| {
            format!("Not used, being absent from {}: {}.", path.display(), counted(unused, "labelled photo"))
        });
        Ok(Self { parts, how: "file".to_owned(), warning })
    }

    /// SHA-256 (hex) over id and part of every used sample, sorted by id.
    pub fn hash(&self, dataset: &Dataset) -> String {
        let used = dataset.samples.iter().zip(&self.parts);
        hash_pairs(used.filter_map(|(sample, part)| Some((sample.id.as_str(), (*part)?.name()))).collect())
    }
}

/// A CSV field, quoted where it has to be (RFC 4180).
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) || field.trim() != field {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}
