//! Folders that `pugmark prepare` has written.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::files::{entries, metadata, photo_id};
use crate::dataset::{Dataset, Part, Sample};
use crate::error::DataError;
use crate::prepare::{INDEX, Index, PLAN, PREPARED, Store, TableRow};
use crate::stored::Stored;

/// Reads a prepared folder, or one that holds nothing but prepared folders; none if it is another one.
pub(super) fn read(root: &Path) -> Result<Option<Dataset>, DataError> {
    let file = root.join(INDEX);
    let index = match fs::read(&file) {
        Ok(text) => Index::parse(&text, &file)?,
        Err(_) => None,
    };
    let Some(index) = index else {
        return match root.join(PLAN).is_file() {
            true => Err(DataError::Unfinished { folder: root.to_owned() }),
            false => together(root),
        };
    };
    let mut shards: HashMap<&str, (PathBuf, u64)> = HashMap::new();
    for shard in &index.shards {
        let path = root.join(&shard.file);
        let found = metadata(&path)?.len();
        if found != shard.bytes {
            let problem = format!("{found} bytes, where the index says {}", shard.bytes);
            return Err(DataError::Prepared { file: path, problem });
        }
        shards.insert(&shard.name, (path, found));
    }
    let mut samples = Vec::with_capacity(index.photos);
    for table in &index.tables {
        let path = root.join(&table.file);
        let damaged = |row: u64, problem: String| DataError::Csv { file: path.clone(), row, problem };
        let source = File::open(&path).map_err(|source| DataError::Io { path: path.clone(), source })?;
        let mut rows = csv::Reader::from_reader(source);
        for (row, line) in rows.deserialize::<TableRow>().zip(2..) {
            let row = row.map_err(|e| damaged(line, e.to_string()))?;
            let class = match &row.label {
                None => None,
                Some(label) => match index.classes.iter().position(|class| class == label) {
                    None => return Err(damaged(line, format!("`{label}` is no class of {INDEX}"))),
                    class => class,
                },
            };
            let time = row.time.as_deref().map(str::parse).transpose();
            let time = time.map_err(|error| damaged(line, format!("{error}")))?;
            let place = (row.shard.as_deref(), row.offset, row.bytes, row.width, row.height);
            let (path, stored) = match (place, row.reason) {
                (_, Some(reason)) => (root.join(&row.id), Stored::Broken(reason)),
                ((Some(shard), Some(offset), Some(bytes), Some(width), Some(height)), None) => {
                    let whole = |(_, size): &&(PathBuf, u64)| {
                        offset.checked_add(bytes).is_some_and(|end| end <= *size)
                    };
                    let Some((path, shard_bytes)) = shards.get(shard).filter(whole) else {
                        return Err(damaged(line, format!("`{}` is in no shard of {INDEX}", row.id)));
                    };
                    let pixels = (index.form.store == Store::Raw).then_some((width, height));
                    (
                        path.clone(),
                        Stored::Range {
                            shard_bytes: *shard_bytes,
                            offset,
                            bytes,
                            pixels,
                            truncated: row.truncated,
                        },
                    )
                }
                _ => return Err(damaged(line, format!("`{}` has neither a place nor a reason", row.id))),
            };
            samples.push(Sample {
                stored: Some(stored),
                class,
                site: row.site,
                sequence: row.sequence,
                time,
                part: row.split,
                ..Sample::new(row.id, path)
            });
        }
    }
    if samples.len() != index.photos {
        let problem = format!("{} photos, where its tables have {}", index.photos, samples.len());
        return Err(DataError::Prepared { file, problem });
    }
    samples.sort_unstable_by(|a, b| a.id.cmp(&b.id));
    let root = root.to_owned();
    Ok(Some(Dataset { root, classes: index.classes, samples, format: PREPARED, notes: Vec::new() }))
}

/// Reads prepared folders that lie side by side, of several machines or called as parts are; none where one of them is no
/// prepared folder.
fn together(root: &Path) -> Result<Option<Dataset>, DataError> {
    let folders: Vec<PathBuf> = entries(root)?.into_iter().filter(|entry| entry.is_dir()).collect();
    let is_one = |folder: &PathBuf| folder.join(INDEX).is_file() || folder.join(PLAN).is_file();
    if folders.is_empty() || !folders.iter().all(is_one) {
        return Ok(None);
    }
    let mut all: Vec<(String, Dataset)> = Vec::with_capacity(folders.len());
    for folder in &folders {
        let Some(dataset) = read(folder)? else { return Ok(None) };
        all.push((photo_id(root, folder), dataset));
    }
    let classes = union(all.iter().map(|(_, dataset)| dataset.classes.as_slice()));
    let mut whole =
        Dataset { root: root.to_owned(), classes, samples: Vec::new(), format: PREPARED, notes: Vec::new() };
    for (name, dataset) in all {
        let part: Option<Part> = name.parse().ok();
        for mut sample in dataset.samples {
            sample.class = sample
                .class
                .and_then(|class| whole.classes.iter().position(|known| *known == dataset.classes[class]));
            if part.is_some() {
                sample.part = part;
                sample.id = format!("{name}/{}", sample.id);
            }
            whole.samples.push(sample);
        }
        whole.notes.extend(dataset.notes);
    }
    whole.samples.sort_by(|a, b| a.id.cmp(&b.id));
    match whole.samples.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(pair) => {
            let problem = format!("`{}` is there twice, in {}", pair[0].id, pair[1].path.display());
            Err(DataError::Prepared { file: pair[0].path.clone(), problem })
        }
        None => Ok(Some(whole)),
    }
}

/// All classes, since machines that were given some of the photos may have none of a class. Sorted where each list is; else those
/// of the first list in its order, and then what the others have besides.
fn union<'a>(lists: impl Iterator<Item = &'a [String]> + Clone) -> Vec<String> {
    let mut classes: Vec<String> = Vec::new();
    for class in lists.clone().flatten() {
        if !classes.contains(class) {
            classes.push(class.clone());
        }
    }
    if lists.clone().all(|list| list.is_sorted()) {
        classes.sort_unstable();
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::union;

    #[test]
    fn classes_keep_their_order() {
        let of = |lists: &[&[&str]]| {
            let lists: Vec<Vec<String>> =
                lists.iter().map(|list| list.iter().map(ToString::to_string).collect()).collect();
            union(lists.iter().map(Vec::as_slice))
        };
        assert_eq!(of(&[&["b"], &["a", "b"]]), ["a", "b"]);
        assert_eq!(of(&[&["zebra", "ant"], &["zebra", "blank", "ant"]]), ["zebra", "ant", "blank"]);
    }
}
