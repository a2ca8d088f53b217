//! A prepared folder comes from a bucket to a disk.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use sha2::{Digest, Sha256};

use super::index::{Index, IndexedFile};
use super::listing::hex;
use super::{INDEX, PLAN, PrepareError};
use crate::error::DataError;
use crate::storage::{Storage, StorageError, StorageOptions};

/// Bytes of a request.
const PIECE: u64 = 8 << 20;

/// How far the work has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetching {
    /// Bytes that are here.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

/// Brings the prepared folder at `url` into a folder of its own below `cache`, and gives that; none if `stop` became true.
///
/// Files that are there are not fetched again, one that was cut off is taken up where it ended. Each is named by its SHA-256
/// and checked against it before it gets its name, so that what lies there is what the index means. Another state of the
/// folder at `url` gets a folder of its own, since a training may be reading the earlier one; they share the shards that are
/// in both.
///
/// # Errors
/// If there is no prepared folder at `url`, and as [`Storage::read_range`].
pub fn fetch(
    url: &Path,
    cache: &Path,
    options: &StorageOptions,
    stop: &AtomicBool,
    observe: &mut dyn FnMut(Fetching),
) -> Result<Option<PathBuf>, PrepareError> {
    let from = Storage::open(url, options)?;
    let place = from.place(INDEX);
    let text = match from.read(INDEX)? {
        Some(text) => text,
        None if from.head(PLAN)?.is_some() => {
            return Err(DataError::Unfinished { folder: url.to_owned() }.into());
        }
        None => return Err(DataError::NotPrepared { folder: url.to_owned() }.into()),
    };
    let damaged = |problem: &str| PrepareError::Damaged { place: place.clone(), problem: problem.to_owned() };
    let mut index = Index::parse(&text, Path::new(&place))?
        .ok_or_else(|| damaged("not the index of a prepared folder"))?;
    let source = hex(&Sha256::digest(url.to_string_lossy().trim_end_matches('/').as_bytes())[..8]);
    let folder = cache.join(format!("{source}-{}", hex(&Sha256::digest(&text)[..8])));
    let earlier =
        folders_of(cache, &source).map_err(|source| StorageError::Io { path: cache.to_owned(), source })?;
    let to = Storage::open(&folder, options)?;
    let total = index.shards.iter().chain(&index.tables).map(|file| file.bytes).sum();
    let mut done = 0;
    for file in index.shards.iter_mut().chain(&mut index.tables) {
        let hash = file.sha256.get(..16).filter(|hash| hash.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        let hash = hash.ok_or_else(|| damaged("a file without a checksum"))?;
        let local = folder.join(format!("{hash}-{}", file.name.replace('/', "-")));
        let is_there = |path: &Path| fs::metadata(path).is_ok_and(|metadata| metadata.len() == file.bytes);
        if !is_there(&local) && !share(&local, &earlier, &is_there) {
            let mut pieces = |here: u64| {
                observe(Fetching { done: done + here, total });
                !stop.load(Ordering::Relaxed)
            };
            if !bring(&from, file, &local, &mut pieces)? {
                return Ok(None);
            }
        }
        file.file = local.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        done += file.bytes;
        observe(Fetching { done, total });
    }
    let text = index.to_json();
    if to.read(INDEX)?.as_deref() != Some(text.as_bytes()) {
        to.write(INDEX, text.as_bytes())?;
    }
    Ok(Some(folder))
}

/// The folders in `cache` of a prepared folder's states.
fn folders_of(cache: &Path, source: &str) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(cache) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_string_lossy().strip_prefix(source).is_some_and(|rest| rest.starts_with('-'))
        {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

/// Takes a file over from an earlier state; whether there was one and the file system has links.
fn share(local: &Path, earlier: &[PathBuf], is_there: &dyn Fn(&Path) -> bool) -> bool {
    let (Some(folder), Some(name)) = (local.parent(), local.file_name()) else { return false };
    let candidate = earlier.iter().map(|folder| folder.join(name)).find(|path| is_there(path));
    let link = |from: PathBuf| fs::create_dir_all(folder).and_then(|()| fs::hard_link(from, local));
    candidate.is_some_and(|from| link(from).is_ok())
}

/// Brings one file; whether it was not stopped.
fn bring(
    from: &Storage,
    file: &IndexedFile,
    local: &Path,
    pieces: &mut dyn FnMut(u64) -> bool,
) -> Result<bool, PrepareError> {
    let part = local.with_extension("part");
    let io = |source| StorageError::Io { path: local.to_owned(), source };
    let make = || -> io::Result<File> {
        fs::create_dir_all(local.parent().unwrap_or(Path::new(".")))?;
        OpenOptions::new().create(true).append(true).read(true).open(&part)
    };
    let mut out = make().map_err(io)?;
    let mut here = out.metadata().map_err(io)?.len();
    if here > file.bytes {
        out.set_len(0).map_err(io)?;
        here = 0;
    }
    while here < file.bytes {
        if !pieces(here) {
            return Ok(false);
        }
        let end = file.bytes.min(here + PIECE);
        let bytes = from.read_range(&file.file, here..end)?;
        out.write_all(&bytes).map_err(io)?;
        here += bytes.len() as u64;
        if bytes.is_empty() {
            break;
        }
    }
    if hash_of(&part).map_err(io)? != file.sha256 {
        // Another version than the index's, or damaged: the next attempt begins anew.
        fs::remove_file(&part).map_err(io)?;
        return Err(StorageError::Changed { place: from.place(&file.file) }.into());
    }
    out.sync_all().and_then(|()| fs::rename(&part, local)).map_err(io)?;
    Ok(true)
}

fn hash_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hash.finalize())),
            read => hash.update(&piece[..read]),
        }
    }
}
