//! Photos made ready for training: decoded, upright, resized, packed into tar shards.
//!
//! What is written depends on the photos, their labels and the settings alone: not on threads, not on the number of machines,
//! not on how often the work was cut off. `docs/prepare.md` describes the files.

mod error;
mod fetch;
mod form;
mod index;
mod input;
mod listing;
mod pack;
mod plan;
mod tables;
mod tar;

use std::collections::{BTreeSet, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use crate::photo::Limits;
use crate::storage::{Entry, Storage};

pub use error::PrepareError;
pub use fetch::{Fetching, fetch};
pub use form::{Form, Store};
pub(crate) use index::{Index, PREPARED, is_prepared};
pub use input::{Input, read_data};
use listing::Listing;
use pack::Packer;
use plan::{Plan, Shard};
pub(crate) use tables::{TABLES, TableRow};

/// The file that says what a folder is being prepared as; first to be written.
pub(crate) const PLAN: &str = "prepare.json";
/// The file that says that everything is there; last to be written.
pub(crate) const INDEX: &str = "index.json";
const SUMMARY: &str = "preprocessing_summary.txt";
const SHARDS: &str = "shards/";

/// How photos are prepared.
#[derive(Clone, PartialEq, Debug)]
pub struct PrepareSettings {
    /// What becomes of a photo.
    pub form: Form,
    /// Shards of each part; none lets their size decide. A folder that is being prepared keeps its number.
    pub shards: Option<usize>,
    /// Which of how many machines this is, from 0 on: it makes every shard whose number leaves that rest.
    pub machine: (usize, usize),
    /// Threads that decode; 0 counts as 1.
    pub threads: usize,
    /// What is refused before it is decoded.
    pub limits: Limits,
    /// Throw away what the folder was prepared as before.
    pub overwrite: bool,
}

/// How far the work has come.
#[derive(Clone, Copy, PartialEq, Eq, Default, Serialize, Debug)]
pub struct Progress {
    /// Photos of the data set.
    pub photos: usize,
    /// Photos of other machines.
    pub others: usize,
    /// Photos that were done before and have not changed.
    pub skipped: usize,
    /// Photos done now, broken ones among them.
    pub done: usize,
    /// Photos among those that cannot be decoded.
    pub broken: usize,
    /// Photos among those that are cut off or damaged, and were packed as far as they go.
    pub truncated: usize,
    /// Bytes of photos read.
    pub bytes_read: u64,
    /// Bytes of shards written.
    pub bytes_written: u64,
    /// Shards written.
    pub shards_written: usize,
}

/// What came of it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Debug)]
pub struct Prepare {
    /// The counts at the end.
    #[serde(flatten)]
    pub progress: Progress,
    /// Shards of the whole folder.
    pub shards: usize,
    /// Every shard of every machine is there, and so are index and tables.
    pub complete: bool,
    /// It was stopped before its end; the same call goes on.
    pub interrupted: bool,
}

/// Prepares `input` into `out`. When `stop` becomes true, shards that are not finished are given up.
///
/// # Errors
/// See [`PrepareError`]. What was finished before stays, and the same call goes on from there.
pub fn prepare(
    input: &Input,
    out: &Storage,
    settings: &PrepareSettings,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Prepare, PrepareError> {
    let mut there = out.list()?;
    if settings.overwrite {
        clear(out, &there)?;
        there.clear();
    } else if !there.is_empty() && !there.iter().any(|entry| entry.key == PLAN) {
        let file = there[0].key.clone();
        return Err(PrepareError::OtherFiles { out: out.to_string(), file });
    }
    if !there.is_empty() {
        check_photos(input, out)?;
    }
    let plan = Plan::agree(input, out, settings)?;
    let shards = plan.shards(input);
    let (machine, machines) = settings.machine;
    let mut progress = Progress { photos: input.dataset.samples.len(), ..Progress::default() };
    let mut listings: Vec<Option<Listing>> = Vec::new();
    let mut to_do = Vec::new();
    for (at, shard) in shards.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Ok(Prepare { progress, shards: shards.len(), complete: false, interrupted: true });
        }
        let listing = Listing::read(out, &there, shard, &settings.form)?;
        let mine = shard.number % machines == machine;
        if !mine {
            progress.others += shard.photos.len();
            listings.push(listing);
        } else if listing.as_ref().is_some_and(|listing| listing.is_current(shard, settings)) {
            progress.skipped += shard.photos.len();
            listings.push(listing);
        } else {
            to_do.push(at);
            listings.push(None);
        }
        observe(&progress);
    }
    if !to_do.is_empty() {
        // From here on the folder is unfinished, and says so.
        out.delete(INDEX)?;
        let mut packer = Packer { out, settings, stop, progress: &mut progress, observe };
        let work: Vec<&Shard<'_>> = to_do.iter().map(|&at| &shards[at]).collect();
        let done = packer.pack(&work, &mut |at, listing| listings[to_do[at]] = Some(listing))?;
        if done.is_break() {
            return Ok(Prepare { progress, shards: shards.len(), complete: false, interrupted: true });
        }
    }
    // What other machines have done meanwhile. Of those that find everything done, each writes the same: the last one does.
    if listings.iter().any(Option::is_none) {
        let there = out.list()?;
        for (shard, listing) in shards.iter().zip(&mut listings).filter(|(_, listing)| listing.is_none()) {
            *listing = Listing::read(out, &there, shard, &settings.form)?;
        }
    }
    let complete = match listings.into_iter().collect::<Option<Vec<Listing>>>() {
        Some(listings) => {
            finish(input, out, settings, &shards, &listings)?;
            true
        }
        None => false,
    };
    Ok(Prepare { progress, shards: shards.len(), complete, interrupted: false })
}

/// Whether a name is that of a shard or its listing: other files below the folder are not ours to delete.
fn is_shard(key: &str) -> bool {
    let name = key.strip_prefix(SHARDS).and_then(|name| name.rsplit_once('.'));
    let numbered =
        name.filter(|(_, end)| matches!(*end, "tar" | "json")).and_then(|(name, _)| name.split_once('-'));
    numbered.is_some_and(|(group, number)| {
        plan::GROUPS.contains(&group)
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Refuses to replace what was prepared from other photos.
fn check_photos(input: &Input, out: &Storage) -> Result<(), PrepareError> {
    let known: HashSet<&str> = input.dataset.samples.iter().map(|sample| sample.id.as_str()).collect();
    let mut others = false;
    for table in TABLES {
        let Some(text) = out.read(table)? else { continue };
        for row in csv::Reader::from_reader(text.as_slice()).records().flatten() {
            match row.get(0) {
                Some(id) if known.contains(id) => return Ok(()),
                _ => others = true,
            }
        }
    }
    if others { Err(PrepareError::OtherPhotos { out: out.to_string() }) } else { Ok(()) }
}

/// Deletes what earlier calls wrote, the plan last: a folder without one is nobody's.
fn clear(out: &Storage, there: &[Entry]) -> Result<(), PrepareError> {
    let ours = |key: &str| is_shard(key) || key == SUMMARY || TABLES.contains(&key);
    if !there.iter().any(|entry| entry.key == PLAN) {
        if let Some(entry) = there.first() {
            return Err(PrepareError::OtherFiles { out: out.to_string(), file: entry.key.clone() });
        }
        return Ok(());
    }
    out.delete(INDEX)?;
    for entry in there.iter().filter(|entry| ours(&entry.key)) {
        out.delete(&entry.key)?;
    }
    Ok(out.delete(PLAN)?)
}

/// Writes tables, summary and at last the index, where they are not there already; deletes shards that hold nothing any more.
fn finish(
    input: &Input,
    out: &Storage,
    settings: &PrepareSettings,
    shards: &[Shard<'_>],
    listings: &[Listing],
) -> Result<(), PrepareError> {
    let tables = tables::write(listings);
    let summary = tables::summary(&settings.form, &input.dataset.classes, listings);
    let index = Index::new(&settings.form, &input.dataset.classes, shards, listings, &tables).to_json();
    let is_there =
        |name: &str, text: &str| out.read(name).map(|there| there.as_deref() == Some(text.as_bytes()));
    let mut missing = Vec::new();
    for (name, text) in tables.iter().map(|(name, text)| (*name, text)).chain([(SUMMARY, &summary)]) {
        if !is_there(name, text)? {
            missing.push((name, text));
        }
    }
    if missing.is_empty() && is_there(INDEX, &index)? {
        return Ok(());
    }
    // An index of other shards must not outlive them.
    out.delete(INDEX)?;
    let wanted: BTreeSet<String> = shards.iter().flat_map(|shard| [shard.tar(), shard.listing()]).collect();
    for entry in out.list()? {
        if is_shard(&entry.key) && !wanted.contains(&entry.key) {
            out.delete(&entry.key)?;
        }
    }
    for (name, text) in missing {
        out.write(name, text.as_bytes())?;
    }
    Ok(out.write(INDEX, index.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::is_shard;

    #[test]
    fn only_shards_are_ours_to_delete() {
        for ours in ["shards/train-00000.tar", "shards/photos-00012.json", "shards/val-1.tar"] {
            assert!(is_shard(ours), "{ours}");
        }
        for other in [
            "shards/notes.txt",
            "shards/old/train-00000.tar",
            "shards/train-.tar",
            "shards/mine-1.tar",
            "train-1.tar",
        ] {
            assert!(!is_shard(other), "{other}");
        }
    }
}
