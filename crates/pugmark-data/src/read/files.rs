//! Walking folders for photos.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use crate::error::DataError;

/// What torchvision's `ImageFolder` takes for a photo, and GIF; compared in lower case.
const EXTENSIONS: [&str; 10] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp", "gif"];

/// Every photo below `path`, sorted by path; a file gives itself, whatever its name.
///
/// Photos are known by their extension, in any case. Names that begin with a dot are skipped: they are
/// thumbnails and what other systems leave behind, never photos. Links are followed, but not in circles.
///
/// # Errors
/// If there is nothing at `path` or a folder cannot be read.
pub fn photos_below(path: &Path) -> Result<Vec<PathBuf>, DataError> {
    if !metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for file in files_below(path)? {
        if is_photo(&file) {
            found.push(file);
        }
    }
    Ok(found)
}

/// Every file below a folder, sorted by path, without names that begin with a dot.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            if !entry.is_dir() {
                found.push(entry);
            } else if !leads_back(&entry, &folder) {
                folders.push(entry);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What is in a folder, sorted by name, without names that begin with a dot.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |source| DataError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            found.push(entry.path());
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Whether a folder is a link to one that it is in.
fn leads_back(folder: &Path, parent: &Path) -> bool {
    if !folder.is_symlink() {
        return false;
    }
    match (folder.canonicalize(), parent.canonicalize()) {
        (Ok(target), Ok(parent)) => parent.starts_with(target),
        _ => true,
    }
}

/// Whether a file is named as photos are.
pub fn is_photo(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)))
}

/// A photo's identity: its path below `root`, with forward slashes.
pub(crate) fn photo_id(root: &Path, photo: &Path) -> String {
    let below = photo.strip_prefix(root).unwrap_or(photo);
    let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
    names.join("/")
}

/// What is known of a path, following links.
pub(crate) fn metadata(path: &Path) -> Result<Metadata, DataError> {
    fs::metadata(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => DataError::NotFound { path: path.to_owned() },
        _ => DataError::Io { path: path.to_owned(), source },
    })
}
