//! Photos that are named one by one or by folder, without labels.

use std::path::{Path, PathBuf};

use pugmark_data::{Item, photos_below};

use super::data;

/// Every photo that `sources` name, in their order. Below one folder, the id is the path below it; in a prepared one it is
/// what it was there; otherwise the path.
pub(super) fn items(sources: &[PathBuf]) -> anyhow::Result<Vec<Item>> {
    let mut items = Vec::new();
    for source in sources {
        data::exists(source, "photo or folder")?;
        if let Some(prepared) = pugmark_data::read_prepared(source)? {
            items.extend(prepared.samples.iter().map(|sample| Item { class: None, ..Item::from(sample) }));
            continue;
        }
        let root = if sources.len() == 1 && source.is_dir() { source.as_path() } else { Path::new("") };
        items.extend(photos_below(source)?.into_iter().map(|path| {
            let below = path.strip_prefix(root).unwrap_or(&path);
            Item { id: below.to_string_lossy().replace('\\', "/"), path, stored: None, class: None }
        }));
    }
    Ok(items)
}
