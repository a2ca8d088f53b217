//! Class-per-folder data sets, as torchvision's `ImageFolder` reads them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::check_classes;
use super::files::{entries, files_below, is_photo, photo_id};
use crate::dataset::{Dataset, Note, Part, ReadOptions, Sample, counted};
use crate::error::DataError;

/// Reads `root/<class>/**/<photo>` or `root/{train,val,test}/<class>/**/<photo>`.
pub(super) fn read(root: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    let parts = part_folders(root)?;
    let (format, tops) = if parts.is_empty() {
        ("a folder for each class", vec![(None, root.to_owned())])
    } else {
        ("a folder for each class in train, val, test", parts)
    };
    let mut names = BTreeSet::new();
    for (_, top) in &tops {
        names.extend(folders_in(top)?.iter().map(|folder| photo_id(top, folder)));
    }
    let classes: Vec<String> = names.into_iter().collect();
    let mut samples = Vec::new();
    let mut stray = Vec::new();
    for file in files_below(root)? {
        let id = photo_id(root, &file);
        let place = tops.iter().find(|(_, top)| file.starts_with(top)).and_then(|(part, top)| {
            let below = photo_id(top, &file);
            let (class, _) = below.split_once('/')?;
            Some((*part, classes.binary_search_by(|name| name.as_str().cmp(class)).ok()?))
        });
        match place {
            Some((part, class)) if is_photo(&file) => {
                samples.push(Sample { class: Some(class), part, ..Sample::new(id, file) });
            }
            _ => stray.push(id),
        }
    }
    samples.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    if samples.is_empty() {
        let photos = stray.iter().filter(|id| is_photo(Path::new(id))).count();
        let folder = root.to_owned();
        return Err(if photos == 0 {
            DataError::NoPhotos { folder }
        } else {
            DataError::NoLabels { folder, photos }
        });
    }
    let mut dataset = Dataset { root: root.to_owned(), classes, samples, format, notes: Vec::new() };
    // Weights cannot be fitted to a class that only val or test has.
    for (part, top) in &tops {
        if matches!(part, None | Some(Part::Train)) {
            let chosen: Vec<usize> =
                (0..dataset.samples.len()).filter(|&index| dataset.samples[index].part == *part).collect();
            check_classes(&dataset.classes, &dataset.class_counts(&chosen), top, options)?;
        }
    }
    if !stray.is_empty() {
        stray.sort_unstable();
        let files = counted(stray.len(), "file");
        let text = format!("not used, being no photo or in no class folder: {files}");
        dataset.notes.push(Note { text, items: stray });
    }
    Ok(dataset)
}

fn folders_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|entry| entry.is_dir()).collect())
}

/// The folders `train`, `val` and `test` (or what else they may be called); none unless `train` has
/// sub-folders, since a class may be called "test".
fn part_folders(root: &Path) -> Result<Vec<(Option<Part>, PathBuf)>, DataError> {
    let mut found = Vec::new();
    for folder in folders_in(root)? {
        if let Ok(part) = photo_id(root, &folder).parse::<Part>() {
            found.push((Some(part), folder));
        }
    }
    for (part, folder) in &found {
        if *part == Some(Part::Train) && !folders_in(folder)?.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}
