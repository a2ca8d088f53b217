//! The photos that a call names.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::{Item, photos_below};

use crate::commands::data;

/// Photos, and the folder that their ids are paths below.
pub(super) struct Found {
    pub(super) items: Vec<Item>,
    pub(super) root: PathBuf,
}

/// Every photo that `sources` name, in their order. Below one folder, the id is the path below it; in a prepared one it is
/// what it was there; otherwise the path.
pub(super) fn find(sources: &[PathBuf]) -> anyhow::Result<Found> {
    let root = match sources {
        [only] if only.is_dir() => only.as_path(),
        _ => Path::new(""),
    };
    let mut items = Vec::new();
    for source in sources {
        data::exists(source, "photo or folder")?;
        if let Some(prepared) = pugmark_data::read_prepared(source)? {
            items.extend(prepared.samples.iter().map(|sample| Item { class: None, ..Item::from(sample) }));
            continue;
        }
        let photos = if is_list(source) { listed(source)? } else { photos_below(source)? };
        items.extend(photos.into_iter().map(|path| {
            let below = path.strip_prefix(root).unwrap_or(&path);
            Item { id: below.to_string_lossy().replace('\\', "/"), path, stored: None, class: None }
        }));
    }
    // The same photo from two sources has one answer.
    let mut seen = std::collections::HashSet::new();
    let first: Vec<bool> = items.iter().map(|item| seen.insert(&item.id)).collect();
    let mut first = first.into_iter();
    items.retain(|_| first.next().unwrap_or(true));
    Ok(Found { items, root: root.to_owned() })
}

fn is_list(source: &Path) -> bool {
    source.is_file() && source.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("txt"))
}

/// The photos and folders of a list, one a line.
fn listed(list: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let text = fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    let mut photos = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match Path::new(line) {
            folder if folder.is_dir() => photos.extend(photos_below(folder)?),
            // One that is not there is a row with that reason.
            photo => photos.push(photo.to_owned()),
        }
    }
    Ok(photos)
}
