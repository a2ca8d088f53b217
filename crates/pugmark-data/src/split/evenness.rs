//! How even a split is: what a person looks at before they use it.

use std::collections::HashSet;

use serde::Serialize;

use super::Split;
use crate::dataset::{Dataset, Part};

/// A part of a split, or a fold, or all photos that are used.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct PartRow {
    /// "train", "val", "test", "fold 1" or "all".
    pub name: String,
    /// Photos.
    pub photos: usize,
    /// Its share of all photos that are used.
    pub share: f64,
    /// Sites of its photos, where they are known.
    pub sites: usize,
    /// Groups of photos that stay together, where they were made.
    pub groups: usize,
    /// Photos of each class.
    pub counts: Vec<usize>,
}

impl PartRow {
    /// The share of a class in this part.
    pub fn class_share(&self, class: usize) -> f64 {
        if self.photos == 0 { 0.0 } else { self.counts[class] as f64 / self.photos as f64 }
    }
}

/// Where a class's share of a part is farthest from its share of all photos.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Deviation {
    /// The class.
    pub class: String,
    /// The part.
    pub part: String,
    /// The class's share of the part.
    pub share: f64,
    /// The class's share of all photos.
    pub overall: f64,
}

impl Deviation {
    /// How far apart the two shares are, signed: 0.01 is one percentage point too much.
    pub fn size(&self) -> f64 {
        self.share - self.overall
    }
}

/// How even a split is.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Evenness {
    /// The classes, in the data set's order.
    pub classes: Vec<String>,
    /// All photos that are used.
    pub all: PartRow,
    /// Each part that has photos; each fold where there are folds.
    pub parts: Vec<PartRow>,
    /// The largest deviation; none where everything is in one part.
    pub largest: Option<Deviation>,
}

impl Split {
    /// Counts what is in each part.
    pub fn evenness(&self, dataset: &Dataset) -> Evenness {
        let used: Vec<usize> = (0..self.parts.len()).filter(|&index| self.parts[index].is_some()).collect();
        let all = self.row("all".to_owned(), &used, used.len(), dataset);
        let fold = |index: usize| self.folds.get(index).copied().flatten();
        let mut places: Vec<(Option<Part>, Option<u32>)> =
            used.iter().map(|&index| (self.parts[index], fold(index))).collect();
        places.sort_unstable();
        places.dedup();
        let parts: Vec<PartRow> = places
            .into_iter()
            .map(|(part, of)| {
                let inside = |&index: &usize| self.parts[index] == part && fold(index) == of;
                let members: Vec<usize> = used.iter().copied().filter(inside).collect();
                let name = match (of, part) {
                    (Some(fold), _) => format!("fold {fold}"),
                    (None, part) => part.map_or_else(String::new, |part| part.to_string()),
                };
                self.row(name, &members, used.len(), dataset)
            })
            .collect();
        let deviations = parts.iter().flat_map(|part| {
            dataset.classes.iter().enumerate().map(|(class, name)| Deviation {
                class: name.clone(),
                part: part.name.clone(),
                share: part.class_share(class),
                overall: all.class_share(class),
            })
        });
        // Rounding may tell apart what is equal; the first of equals is meant.
        let larger = |a: Deviation, b: Deviation| if b.size().abs() > a.size().abs() + 1e-12 { b } else { a };
        let largest = if parts.len() > 1 { deviations.reduce(larger) } else { None };
        Evenness { classes: dataset.classes.clone(), all, parts, largest }
    }

    fn row(&self, name: String, members: &[usize], of: usize, dataset: &Dataset) -> PartRow {
        let sites: HashSet<&str> =
            members.iter().filter_map(|&index| dataset.samples[index].site.as_deref()).collect();
        let groups: HashSet<u32> =
            members.iter().filter_map(|&index| self.groups.get(index).copied().flatten()).collect();
        PartRow {
            name,
            photos: members.len(),
            share: members.len() as f64 / of.max(1) as f64,
            sites: sites.len(),
            groups: groups.len(),
            counts: dataset.class_counts(members),
        }
    }
}
