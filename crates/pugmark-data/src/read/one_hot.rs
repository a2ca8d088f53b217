//! One-hot CSVs: `id` and one column of 0 and 1 for each class.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::files::{metadata, photo_id, photos_below};
use super::table::{Ids, as_id};
use super::{Photos, Rows, Search};
use crate::dataset::{Dataset, Sample};
use crate::error::{DataError, RowName};

/// Extensions an id may stand for; compared in lower case.
const EXTENSIONS: [&str; 3] = ["jpg", "jpeg", "png"];

pub(super) fn is_header(header: &[String]) -> bool {
    header.len() > 1 && header[0].eq_ignore_ascii_case("id")
}

/// Reads a one-hot CSV; its photos and sites come from the features CSV beside it, if there is one, else
/// photos are looked for as `<id>.jpg`, `.jpeg` or `.png` anywhere below the photo folder.
pub(super) fn read(mut rows: Rows, search: &Search<'_>) -> Result<Dataset, DataError> {
    let classes = rows.header[1..].to_vec();
    for (index, class) in classes.iter().enumerate() {
        if class.is_empty() || classes[..index].contains(class) {
            let problem = format!("a second column called `{class}`, or one without a name");
            return Err(DataError::Csv { file: rows.file, row: 1, problem });
        }
    }
    let features = Features::beside(&rows.file)?;
    let found = match (&features, search.photos) {
        (None, Photos::Needed) => Some(Found::below(search.folder)?),
        _ => None,
    };
    let (mut samples, mut ids) = (Vec::new(), Ids::default());
    let (mut missing, mut repeated) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let id = as_id(rows.required(&row, 0)?);
        if let Err(error) = ids.add(&rows.file, &id, row.line) {
            repeated.push(search.repeated(error)?);
            continue;
        }
        let mut ones = Vec::new();
        for (class, name) in classes.iter().enumerate() {
            let value = row.value(class + 1);
            match value.parse::<f64>() {
                Ok(1.0) => ones.push(class),
                Ok(0.0) => {}
                _ => {
                    let (file, row, column) = (rows.file.clone(), row.line, name.clone());
                    return Err(DataError::OneHotValue { file, row, column, value: value.to_owned() });
                }
            }
        }
        let class = match *ones.as_slice() {
            [class] => class,
            [] => return Err(DataError::NoClass { file: rows.file, row: row.line, id }),
            _ => {
                let classes = ones.iter().map(|&class| classes[class].clone()).collect();
                return Err(DataError::SeveralClasses { file: rows.file, row: row.line, id, classes });
            }
        };
        let (path, site) = if let Some(features) = &features {
            let (path, site) = features.get(&rows.file, row.line, &id)?;
            let path = search.folder.join(path);
            let there = search.photos != Photos::Needed || path.is_file();
            (there.then_some(path), site.clone())
        } else if let Some(found) = &found {
            (found.photo(&rows.file, row.line, &id)?, None)
        } else {
            (Some(search.folder.join(&id)), None)
        };
        match path {
            Some(path) => samples.push(Sample { class: Some(class), site, ..Sample::new(id, path) }),
            None => missing.push(RowName { row: row.line, name: id }),
        }
    }
    if samples.is_empty() && missing.is_empty() {
        return Err(DataError::NoRows { file: rows.file });
    }
    if found.is_some_and(|found| found.photos.is_empty()) {
        return Err(DataError::NoPhotos { folder: search.folder.to_owned() });
    }
    let notes = search.missing(missing)?.into_iter().chain(search.note_repeated(repeated)).collect();
    Ok(Dataset { root: PathBuf::new(), classes, samples, format: "one-hot CSV", notes })
}

/// `X_features.csv` for `X_labels.csv`, if it exists.
pub(super) fn features_file(labels: &Path) -> Option<PathBuf> {
    let part = labels.file_name()?.to_str()?.strip_suffix("_labels.csv")?;
    Some(labels.with_file_name(format!("{part}_features.csv"))).filter(|file| file.is_file())
}

/// `id,filepath[,site]`, the other half of Conser-vision's labels.
struct Features {
    file: PathBuf,
    rows: HashMap<String, (String, Option<String>)>,
}

impl Features {
    /// Reads the features CSV beside the labels, if there is one.
    fn beside(labels: &Path) -> Result<Option<Self>, DataError> {
        let Some(file) = features_file(labels) else { return Ok(None) };
        let mut rows = Rows::open(&file)?;
        let column = |names: &[&str]| Rows::column(&rows.header, names);
        let (Some(id), Some(path)) = (column(&["id"]), column(&["filepath"])) else {
            return Err(DataError::MissingColumns { file, wanted: "id and filepath", found: rows.header });
        };
        let site = column(&["site"]);
        let (mut found, mut ids) = (HashMap::new(), Ids::default());
        while let Some(row) = rows.next()? {
            let id = as_id(rows.required(&row, id)?);
            ids.add(&file, &id, row.line)?;
            let path = as_id(rows.required(&row, path)?);
            let site = site.map(|site| row.value(site)).filter(|site| !site.is_empty());
            found.insert(id, (path, site.map(str::to_owned)));
        }
        Ok(Some(Self { file, rows: found }))
    }

    fn get(&self, labels: &Path, row: u64, id: &str) -> Result<&(String, Option<String>), DataError> {
        self.rows.get(id).ok_or_else(|| DataError::UnknownId {
            file: labels.to_owned(),
            row,
            id: id.to_owned(),
            other: self.file.clone(),
        })
    }
}

/// The photos below a folder by what a row may call them: their path without the extension, or the last part
/// of that.
struct Found {
    photos: HashMap<String, Vec<PathBuf>>,
}

impl Found {
    fn below(folder: &Path) -> Result<Self, DataError> {
        if !metadata(folder)?.is_dir() {
            return Err(DataError::NotAFolder { path: folder.to_owned() });
        }
        let mut photos: HashMap<String, Vec<PathBuf>> = HashMap::new();
        for photo in photos_below(folder)? {
            let extension = photo.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            if !EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) {
                continue;
            }
            let path = photo_id(folder, &photo.with_extension(""));
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            if name != path {
                photos.entry(name).or_default().push(photo.clone());
            }
            photos.entry(path).or_default().push(photo);
        }
        Ok(Self { photos })
    }

    fn photo(&self, file: &Path, row: u64, id: &str) -> Result<Option<PathBuf>, DataError> {
        match self.photos.get(id).map_or(&[][..], Vec::as_slice) {
            [] => Ok(None),
            [photo] => Ok(Some(photo.clone())),
            [first, second, ..] => Err(DataError::AmbiguousPhoto {
                file: file.to_owned(),
                row,
                id: id.to_owned(),
                first: first.clone(),
                second: second.clone(),
            }),
        }
    }
}
