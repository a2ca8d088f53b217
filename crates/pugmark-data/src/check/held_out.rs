//! A competition's test set beside the labels: do its sites have labels?

use std::collections::HashSet;
use std::path::Path;

use serde::Serialize;

use crate::dataset::Dataset;
use crate::read::Rows;

/// A table of photos without labels, `id,filepath,site`, beside the labels.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct HeldOut {
    /// Its name.
    pub file: String,
    /// Its rows.
    pub photos: usize,
    /// Its sites.
    pub sites: usize,
    /// Those that have labelled photos too.
    pub shared_sites: usize,
}

/// Reads `test_features.csv`, if it is there and names sites. It is no part of the data set: what cannot be read of it
/// is passed over.
pub(super) fn beside(dataset: &Dataset, folder: &Path) -> Option<HeldOut> {
    let name = "test_features.csv";
    let folder = if dataset.root.is_dir() { &dataset.root } else { dataset.root.parent().unwrap_or(folder) };
    let mut rows = Rows::open(&folder.join(name)).ok()?;
    let site = Rows::column(&rows.header, &["site"])?;
    let (mut photos, mut sites) = (0, HashSet::new());
    while let Ok(Some(row)) = rows.next() {
        photos += 1;
        sites.insert(row.value(site).to_owned());
    }
    sites.remove("");
    let known: HashSet<&str> = dataset.samples.iter().filter_map(|sample| sample.site.as_deref()).collect();
    if known.is_empty() || sites.is_empty() {
        return None;
    }
    let shared_sites = sites.iter().filter(|site| known.contains(site.as_str())).count();
    Some(HeldOut { file: name.to_owned(), photos, sites: sites.len(), shared_sites })
}

impl HeldOut {
    /// What that means.
    pub(super) fn sentence(&self) -> String {
        let Self { file, sites, shared_sites, .. } = self;
        if *shared_sites == 0 {
            format!(
                "0 of the {sites} sites of {file} have labels: only a split by site foretells a score there."
            )
        } else {
            format!("{shared_sites} of the {sites} sites of {file} have labels too.")
        }
    }
}
