//! Features on disk: a folder for each frozen backbone, with one safetensors file for each pass over photos that were new.
//!
//! A folder's name is a hash of everything that features depend on besides the photo: architecture, weights, recipe and
//! arithmetic. A photo's key is a hash of its path, size and time of change, and of the random changes made to it. Files
//! are written once and never changed; a kill loses what was computed since the last one.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pugmark_data::{Augment, Item, Stored};
use pugmark_graph::{Graph, Tensor, Tensors, read_metadata, read_weights, write_safetensors};
use pugmark_model::{ModelCard, write_atomic_with};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Row, View};
use crate::{TrainError, TrainSettings};

/// Part of every hash: to be raised when features change for another reason than those hashed.
const FORMAT: u32 = 2;
/// Values that are hashed at once.
const VALUES: usize = 1024;
const TENSOR: &str = "features";
const PHOTOS: &str = "photos";
const EXTENSION: &str = "safetensors";

/// The features of one frozen backbone.
pub(super) struct Store {
    /// None where features are kept in memory alone.
    folder: Option<PathBuf>,
}

/// A photo of a file, in the order of the tensor's rows. One that can't be decoded is not kept: what is wrong with it may
/// be the network.
#[derive(Serialize, Deserialize)]
struct Entry {
    key: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    truncated: bool,
}

impl Store {
    /// The store of a backbone, which is made when something is written.
    pub(super) fn open(
        settings: &TrainSettings,
        card: &ModelCard,
        graph: &Graph,
        tensors: &Tensors,
        arithmetic: &str,
    ) -> Result<Self, TrainError> {
        let Some(folder) = &settings.feature_folder else { return Ok(Self { folder: None }) };
        let mut hash = Sha256::new();
        let recipe = serde_json::to_string(&card.recipe)
            .map_err(|e| TrainError::Save { path: folder.clone(), source: e.into() })?;
        hash.update(format!("{FORMAT} {} {arithmetic} {recipe}", card.architecture));
        for param in graph.params().iter().filter(|param| !param.head) {
            hash.update(&param.name);
            let mut bytes = [0; 4 * VALUES];
            for values in tensors.get(&param.name).iter().flat_map(|tensor| tensor.values.chunks(VALUES)) {
                for (bytes, value) in bytes.chunks_exact_mut(4).zip(values) {
                    bytes.copy_from_slice(&value.to_le_bytes());
                }
                hash.update(&bytes[..values.len() * 4]);
            }
        }
        Ok(Self { folder: Some(folder.join(hex(hash))) })
    }

    /// Fills in what is known already; how many that is. A file that can't be read is as good as none.
    pub(super) fn read(&self, seed: u64, views: &mut [View<'_>]) -> usize {
        let mut known: HashMap<String, Row> = HashMap::new();
        for path in self.folder.iter().flat_map(|folder| files(folder)) {
            if let Some(file) = read_file(&path) {
                known.extend(file);
                touch(&path);
            }
        }
        let mut found = 0;
        for view in views {
            for (item, slot) in view.items.iter().zip(&mut view.known) {
                let key = if known.is_empty() { None } else { key(item, &view.augment, seed, view.epoch) };
                *slot = key.and_then(|key| known.get(&key).cloned().map(Ok));
                found += usize::from(slot.is_some());
            }
        }
        found
    }

    /// Adds a file with these photos.
    pub(super) fn write(&self, new: Vec<(String, Row)>) -> Result<(), TrainError> {
        let (Some(folder), false) = (&self.folder, new.is_empty()) else { return Ok(()) };
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| TrainError::Save { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let mut name = Sha256::new();
        let shape = vec![new.len(), new[0].1.values.len()];
        let (mut entries, mut values) = (Vec::with_capacity(new.len()), Vec::new());
        for (key, row) in new {
            name.update(&key);
            values.extend(row.values);
            entries.push(Entry { key, truncated: row.truncated });
        }
        let path = folder.join(hex(name)).with_extension(EXTENSION);
        let tensors = Tensors::from([(TENSOR.into(), Tensor { shape, values })]);
        let entries = serde_json::to_string(&entries).map_err(|e| failed(&path)(e.into()))?;
        let metadata = BTreeMap::from([(PHOTOS.into(), entries)]);
        write_atomic_with(&path, |file| write_safetensors(file, &tensors, &metadata)).map_err(failed(&path))
    }

    /// What was found and what was computed, for people; the least recently used features of other backbones go where all
    /// together take more than `room` MiB.
    pub(super) fn summary(
        &self,
        found: usize,
        computed: usize,
        width: usize,
        took: Duration,
        room: u64,
    ) -> String {
        let photos = found + computed;
        let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let what = format!(
            "features of {photos} photos, {width} values each ({}): {found} were kept, {computed} computed in {:.1} s",
            mib((photos * width * 4) as u64),
            took.as_secs_f64()
        );
        let Some((folder, all)) = self.folder.as_ref().and_then(|folder| Some((folder, folder.parent()?)))
        else {
            return what + "; not kept for the next training";
        };
        let bytes = sweep(all, folder, room.saturating_mul(1 << 20));
        format!("{what}; {} holds {}", all.display(), mib(bytes))
    }
}

/// What tells a photo's features apart: path, size and time of change, and what is random in them. None where the file
/// can't be looked at: nothing is kept of it.
pub(super) fn key(item: &Item, augment: &Augment, seed: u64, epoch: u64) -> Option<String> {
    let path = std::path::absolute(&item.path).ok()?;
    let mut hash = Sha256::new();
    hash.update(path.as_os_str().as_encoded_bytes());
    let facts = match &item.stored {
        Some(Stored::Broken(_)) => return None,
        stored => {
            let file = fs::metadata(&path).ok()?;
            let changed = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
            let crop = item.crop.as_ref().map(|crop| format!(" {crop:?}")).unwrap_or_default();
            format!("\0{} {changed} {stored:?}{crop}", file.len())
        }
    };
    hash.update(facts);
    if *augment != Augment::default() {
        hash.update(format!("\0{augment:?} {seed} {epoch} {}", item.id));
    }
    Some(hex(hash))
}

/// The first 128 bits, which no two photos share by chance.
fn hex(hash: Sha256) -> String {
    hash.finalize()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == EXTENSION)).collect();
    files.sort();
    files
}

fn read_file(path: &Path) -> Option<Vec<(String, Row)>> {
    let entries: Vec<Entry> = serde_json::from_str(read_metadata(path).ok()?.get(PHOTOS)?).ok()?;
    let Tensor { shape, values } = read_weights(path).ok()?.remove(TENSOR)?;
    let width = shape.get(1).copied().filter(|&width| width > 0 && entries.len() * width == values.len())?;
    let row = |(entry, values): (Entry, &[f32])| {
        (entry.key, Row { values: values.to_vec(), truncated: entry.truncated })
    };
    Some(entries.into_iter().zip(values.chunks_exact(width)).map(row).collect())
}

/// Says that a file was used, for [`sweep`]; a file system that does not let us is none the worse.
fn touch(path: &Path) {
    if let Ok(file) = File::options().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

/// Deletes the least recently used folders below `all`, but not `own`, until all take at most `room` bytes; what they
/// take then. What can't be deleted now is deleted another time.
fn sweep(all: &Path, own: &Path, room: u64) -> u64 {
    let mut folders = Vec::new();
    // Nothing is ours whose name is none that `hex` gives.
    let is_ours =
        |name: &OsStr| name.len() == 32 && name.as_encoded_bytes().iter().all(u8::is_ascii_hexdigit);
    let entries = fs::read_dir(all).into_iter().flatten().flatten();
    for folder in entries.filter(|entry| is_ours(&entry.file_name())).map(|entry| entry.path()) {
        let facts = files(&folder).into_iter().filter_map(|file| fs::metadata(file).ok());
        let (bytes, used) = facts.fold((0, UNIX_EPOCH), |(bytes, used), file| {
            (bytes + file.len(), used.max(file.modified().unwrap_or(UNIX_EPOCH)))
        });
        folders.push((used, folder, bytes));
    }
    folders.sort();
    let mut total: u64 = folders.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, folder, bytes) in folders {
        if total > room && bytes > 0 && folder != own {
            files(&folder).iter().for_each(|file| drop(fs::remove_file(file)));
            let _ = fs::remove_dir(&folder);
            total -= bytes;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> Store {
        Store { folder: Some(folder.join("backbone")) }
    }

    fn item(folder: &Path, name: &str) -> Item {
        Item { id: name.into(), path: folder.join(name), stored: None, crop: None, class: Some(0) }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let items: Vec<Item> = ["a", "b", "c"].map(|name| item(folder.path(), name)).into();
        items.iter().for_each(|item| fs::write(&item.path, &item.id).unwrap());
        let keys: Vec<String> =
            items.iter().map(|item| key(item, &Augment::default(), 1, 0).unwrap()).collect();
        let row = |values: [f32; 2], truncated| Row { values: values.into(), truncated };
        let rows = [row([0.1, 1e-30], false), row([2.0, -0.0], false), row([-3.0, 4.0], true)];
        let store = store(folder.path());
        store.write(keys[..2].iter().cloned().zip(rows.clone()).collect()).unwrap();
        store.write(vec![(keys[2].clone(), rows[2].clone())]).unwrap();
        let mut views = [View::new(&items, Augment::default(), 0)];
        assert_eq!(store.read(7, &mut views), 3, "the seed does not matter to photos as they are");
        assert_eq!(views[0].known, rows.map(|row| Some(Ok(row))));

        // Half a file and a photo that changed are as good as none.
        let all = files(store.folder.as_ref().unwrap());
        let path = all.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        fs::write(&items[2].path, "other").unwrap();
        let mut views = [View::new(&items, Augment::default(), 0)];
        assert_eq!((all.len(), store.read(1, &mut views)), (2, 0));
    }

    #[test]
    fn views_have_keys_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let photo = item(folder.path(), "a");
        let plain = Augment::default();
        assert_eq!(key(&photo, &plain, 0, 0), None, "there is no such file");
        fs::write(&photo.path, "a").unwrap();
        let flip = Augment { flip: true, ..plain };
        let keys = [
            key(&photo, &plain, 0, 0),
            key(&photo, &flip, 0, 1),
            key(&photo, &flip, 0, 2),
            key(&photo, &flip, 1, 1),
            key(&photo, &Augment { jitter: 0.1, ..flip }, 0, 1),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(one.is_some() && !keys[..index].contains(one), "{index}");
        }
        assert_eq!(key(&photo, &plain, 0, 0), key(&photo, &plain, 3, 1));
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, age: u64| {
            let path = folder.path().join(name).join("x.safetensors");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [0; 100]).unwrap();
            let then = SystemTime::now() - Duration::from_secs(age);
            File::options().append(true).open(&path).unwrap().set_modified(then).unwrap();
            path
        };
        let name = |number: u8| format!("{number:032x}");
        let [own, old, new] = [file(&name(1), 300), file(&name(2), 200), file(&name(3), 100)];
        let others = file("a person's", 400);
        let in_use = folder.path().join(name(1));
        assert_eq!(sweep(folder.path(), &in_use, 250), 200);
        assert!(own.exists() && !old.exists() && new.exists());
        assert_eq!(sweep(folder.path(), &in_use, 0), 100, "never those in use");
        assert!(own.exists() && !new.exists() && others.exists());
    }
}
