//! Photos that are named one by one, by folder, pattern or list, without labels.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::storage::is_url;
use pugmark_data::{Item, Object, Storage, StorageOptions, Stored, is_photo, photos_below};

use super::data;
use crate::error::WrongCall;
use crate::printer::Printer;

/// A source without patterns.
enum Named {
    Path(PathBuf),
    /// What a URL names.
    Objects(PathBuf, Vec<Object>),
}

/// Photos, and the folder that their ids are paths below.
pub(super) struct Found {
    pub(super) items: Vec<Item>,
    pub(super) root: PathBuf,
}

/// Every photo that `sources` name, in their order. Below one folder or prefix, the id is the path below it; in a prepared one it
/// is what it was there; otherwise the path.
pub(super) fn find(
    sources: &[PathBuf],
    storage: &StorageOptions,
    printer: &Printer,
) -> anyhow::Result<Found> {
    let mut named = Vec::new();
    for source in sources {
        match source {
            url if is_url(url) => named.push(match objects(url, storage)? {
                Some(photos) => Named::Objects(url.clone(), photos),
                None => Named::Path(data::fetched(url, storage, printer)?),
            }),
            pattern if !pattern.exists() && is_pattern(pattern) => {
                named.extend(matching(pattern)?.into_iter().map(Named::Path));
            }
            path => named.push(Named::Path(path.clone())),
        }
    }
    let root = match named.as_slice() {
        [Named::Path(only)] if only.is_dir() => only.clone(),
        _ => PathBuf::new(),
    };
    let (one, mut items) = (named.len() == 1, Vec::new());
    for source in named {
        let source = match source {
            Named::Path(path) => path,
            Named::Objects(url, photos) => {
                let below =
                    if one && !is_photo(&url) { url.join("").display().to_string() } else { String::new() };
                items.extend(photos.into_iter().map(|photo| {
                    let path = photo.place();
                    let id = path.strip_prefix(&below).unwrap_or(&path).to_owned();
                    let stored = Some(Stored::Object(photo.into()));
                    Item { id, path: path.into(), stored, crop: None, class: None }
                }));
                continue;
            }
        };
        let source = source.as_path();
        data::exists(source, "photo or folder")?;
        if let Some(prepared) = pugmark_data::read_prepared(source)? {
            items.extend(prepared.samples.iter().map(|sample| Item { class: None, ..Item::from(sample) }));
            continue;
        }
        let photos = if is_list(source) { listed(source)? } else { photos_below(source)? };
        items.extend(photos.into_iter().map(|path| {
            let below = path.strip_prefix(&root).unwrap_or(&path);
            let id = below.to_string_lossy().replace('\\', "/");
            Item { id, path, stored: None, crop: None, class: None }
        }));
    }
    once(&mut items)?;
    if items.is_empty() {
        let names: Vec<String> = sources.iter().map(|source| source.display().to_string()).collect();
        return Err(WrongCall::new(format!("there is no photo in {}", data::some(&names)))
            .with_hint("name photos, or a folder with photos in it or below it")
            .into());
    }
    Ok(Found { items, root })
}

/// The photos in a bucket that a URL names; none where it names a prepared folder.
fn objects(url: &Path, options: &StorageOptions) -> anyhow::Result<Option<Vec<Object>>> {
    if is_photo(url) {
        return Ok(Some(vec![Object::at(url, options)?]));
    }
    // Web servers do not list what they have.
    if !url.starts_with("s3:") {
        return Ok(None);
    }
    Ok(Object::photos(&Storage::open(url, options)?)?)
}

/// Leaves each photo once; refuses two of one name.
fn once(items: &mut Vec<Item>) -> Result<(), WrongCall> {
    let mut first: HashMap<&str, &Item> = HashMap::with_capacity(items.len());
    let mut again = Vec::new();
    for (place, item) in items.iter().enumerate() {
        match first.insert(&item.id, item) {
            None => {}
            Some(other) if (&other.path, &other.stored) == (&item.path, &item.stored) => again.push(place),
            Some(other) => {
                let (one, two) = (other.path.display(), item.path.display());
                return Err(WrongCall::new(format!("two photos are called {}: in {one} and {two}", item.id))
                    .with_hint("name them in two calls"));
            }
        }
    }
    let (mut place, mut again) = (0, again.into_iter().peekable());
    items.retain(|_| {
        place += 1;
        again.next_if_eq(&(place - 1)).is_none()
    });
    Ok(())
}

fn is_pattern(source: &Path) -> bool {
    source.to_string_lossy().contains(['*', '?', '['])
}

/// What matches a pattern that no shell has expanded.
fn matching(pattern: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = pattern.to_string_lossy();
    let paths =
        glob::glob(&text).map_err(|error| WrongCall::new(format!("`{text}` is no pattern: {error}")))?;
    let mut found: Vec<PathBuf> = paths.collect::<Result<_, _>>()?;
    // Lists are named, not found.
    found.retain(|path| !is_list(path));
    if found.is_empty() {
        return Err(WrongCall::new(format!("nothing matches {text}"))
            .with_hint("`*` is any part of a name, `**` any folders; it is looked up from the folder the command runs in")
            .into());
    }
    Ok(found)
}

fn is_list(source: &Path) -> bool {
    source.is_file() && source.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt"))
}

/// The photos and folders of a list, one a line.
fn listed(list: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let mut photos = Vec::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match Path::new(line) {
            folder if folder.is_dir() => photos.extend(photos_below(folder)?),
            // One that is not there is a row with that reason.
            photo => photos.push(photo.to_owned()),
        }
    }
    Ok(photos)
}
