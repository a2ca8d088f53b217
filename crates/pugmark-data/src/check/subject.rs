//! Reading a data set to check it: nothing in it may stop the check but labels that cannot be read.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, ReadOptions, Sample};
use crate::error::DataError;
use crate::read::{photo_id, photos_below, read, read_to_check};

/// A data set to check.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Every row of labels, also those whose photo does not exist; of unlabelled photos, every photo.
    pub dataset: Dataset,
    /// The folder that the photos or the labels are in.
    pub folder: PathBuf,
    /// Photos that no label names, by their path below the folder, sorted.
    pub unlabelled: Vec<String>,
}

/// Reads labels without asking for their photos. A folder without labels gives its photos without a class.
///
/// `photos` is the folder that a CSV's photos are below, by default its own; with `look_for_photos` false nothing is
/// looked up below it.
///
/// # Errors
/// Labels that cannot be read, and a folder with neither labels nor photos.
pub fn subject(data: &Path, photos: Option<&Path>, look_for_photos: bool) -> Result<Subject, DataError> {
    let options = ReadOptions {
        photos: photos.map(Path::to_owned),
        skip_missing: true,
        allow_empty_class: true,
        crop: None,
    };
    let folder = if data.is_dir() { data } else { data.parent().unwrap_or(Path::new("")) };
    let folder = photos.unwrap_or(folder).to_owned();
    let mut dataset = match read_to_check(data, &options) {
        Ok(dataset) => dataset,
        Err(DataError::NoLabels { .. }) => return unlabelled(data, folder),
        Err(error) => return Err(error),
    };
    if !look_for_photos {
        return Ok(Subject { dataset, folder, unlabelled: Vec::new() });
    }
    find_paths(data, &options, &mut dataset);
    let named: HashSet<&Path> = dataset.samples.iter().map(|sample| sample.path.as_path()).collect();
    let mut unlabelled = Vec::new();
    let top = if data.is_dir() || photos.is_some() {
        Some(folder.as_path())
    } else {
        common(&dataset).filter(|top| top.starts_with(&folder))
    };
    if let Some(top) = top.filter(|top| top.is_dir()) {
        let others = photos_below(top)?.into_iter().filter(|path| !named.contains(path.as_path()));
        unlabelled = others.map(|path| photo_id(top, &path)).collect();
        unlabelled.sort_unstable();
    }
    Ok(Subject { dataset, folder, unlabelled })
}

/// Every photo below a folder.
fn unlabelled(data: &Path, folder: PathBuf) -> Result<Subject, DataError> {
    let photos = photos_below(data)?.into_iter();
    let mut samples: Vec<Sample> = photos.map(|path| Sample::new(photo_id(data, &path), path)).collect();
    samples.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let root = data.to_owned();
    let format = "photos without labels";
    let dataset = Dataset { root, classes: Vec::new(), samples, format, notes: Vec::new() };
    Ok(Subject { dataset, folder, unlabelled: Vec::new() })
}

/// Where ids stand for files whose extension they do not name, looks for those files.
pub fn find_paths(data: &Path, options: &ReadOptions, dataset: &mut Dataset) {
    if dataset.samples.iter().all(|sample| sample.path.extension().is_some()) {
        return;
    }
    // Rows that cannot be found keep a path that leads nowhere, which the pass over the photos tells.
    let Ok(found) = read(data, options) else { return };
    let mut paths: HashMap<String, PathBuf> =
        found.samples.into_iter().map(|sample| (sample.id, sample.path)).collect();
    for sample in &mut dataset.samples {
        if let Some(path) = paths.remove(&sample.id) {
            sample.path = path;
        }
    }
}

/// The deepest folder that holds every photo that is named and there, since a CSV may lie in a home folder.
fn common(dataset: &Dataset) -> Option<&Path> {
    let mut folders = dataset.samples.iter().filter_map(|sample| sample.path.parent());
    let mut common = folders.next()?;
    for folder in folders {
        while !folder.starts_with(common) {
            common = common.parent()?;
        }
    }
    (!common.as_os_str().is_empty()).then_some(common)
}
