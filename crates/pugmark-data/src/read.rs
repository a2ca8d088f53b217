//! Readers: a folder or a CSV becomes a [`Dataset`].

mod column;
mod files;
mod folder;
mod one_hot;
mod prepared;
mod rows;
mod table;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::dataset::{Dataset, Note, ReadOptions, counted};
use crate::error::{DataError, RowName};
use crate::formats::{self, TableOptions};

pub use column::read_column;
pub use files::{is_photo, photos_below};
pub(crate) use files::{metadata, photo_id};
pub(crate) use rows::{Row, Rows};
pub(crate) use table::as_id;

/// Whether the files that labels name must be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Photos {
    Needed,
    Ignored,
    /// Not asked for, and a row that names a photo again is noted: a check lists whatever is there.
    Listed,
}

/// Reads the data set at `data`, a folder or a CSV file; its format is found from what is there.
///
/// * A folder that `pugmark prepare` has written is read as its index and tables say; so are several in one folder, as the
///   machines of one job leave them, or called `train`, `validation` and `test`.
/// * A folder with `train_labels.csv` is read as Conser-vision has it: one-hot labels, and paths and sites
///   from `train_features.csv` where that exists.
/// * A folder with `labels.csv` is read as that table.
/// * A folder with one other CSV that is a table of labels is read as that table.
/// * Any other folder is class-per-folder (torchvision's `ImageFolder`), at its top or below `train`, `val`
///   and `test`.
/// * A CSV with a path and a label column is a table of labels; one with `id` first is one-hot.
/// * A JSON file is COCO Camera Traps, MegaDetector results, SpeciesNet predictions or the description of a Camtrap DP
///   package, and a folder with `datapackage.json` is such a package: [`formats`](crate::formats).
///
/// # Errors
/// Every problem in the labels, with file, row and column; see [`DataError`].
pub fn read(data: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    read_with(data, options, Photos::Needed)
}

/// Reads the labels of [`read`] without looking for the photos they name; not for class-per-folder, whose
/// photos are its labels.
///
/// # Errors
/// As [`read`], except for what concerns photos.
pub fn read_labels(data: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    read_with(data, options, Photos::Ignored)
}

/// Every row of [`read_labels`], to be checked: one that names a photo again is left out with a note.
pub(crate) fn read_to_check(data: &Path, options: &ReadOptions) -> Result<Dataset, DataError> {
    read_with(data, options, Photos::Listed)
}

/// Reads a folder that `pugmark prepare` has written; none if it is something else.
///
/// # Errors
/// If it is not whole.
pub fn read_prepared(folder: &Path) -> Result<Option<Dataset>, DataError> {
    if folder.is_dir() { prepared::read(folder) } else { Ok(None) }
}

fn read_with(data: &Path, options: &ReadOptions, photos: Photos) -> Result<Dataset, DataError> {
    if let Some(folder) = &options.photos
        && !metadata(folder)?.is_dir()
    {
        return Err(DataError::NotAFolder { path: folder.clone() });
    }
    let is_folder = metadata(data)?.is_dir();
    let other = if is_folder { data.join("datapackage.json").is_file() } else { formats::is_json(data) };
    if options.crop.is_some() && !other {
        return Err(DataError::NoBoxes { path: data.to_owned() });
    }
    if is_folder && let Some(dataset) = prepared::read(data)? {
        let all: Vec<usize> = (0..dataset.samples.len()).collect();
        check_classes(&dataset.classes, &dataset.class_counts(&all), data, options)?;
        return Ok(dataset);
    }
    if other {
        return read_other(data, options, photos);
    }
    match labels_csv(data)? {
        Some(file) => read_csv(&file, data, options, photos),
        None => folder::read(data, options),
    }
}

/// The CSV of labels that `data` is or holds; none where the folders are the labels.
fn labels_csv(data: &Path) -> Result<Option<PathBuf>, DataError> {
    if !metadata(data)?.is_dir() {
        return Ok(Some(data.to_owned()));
    }
    for name in ["train_labels.csv", "labels.csv"] {
        let file = data.join(name);
        if file.is_file() {
            return Ok(Some(file));
        }
    }
    let mut tables = table::tables_in(data)?;
    if tables.len() > 1 {
        let files = tables.iter().map(|file| photo_id(data, file)).collect();
        return Err(DataError::SeveralTables { folder: data.to_owned(), files });
    }
    Ok(tables.pop())
}

fn read_csv(file: &Path, root: &Path, options: &ReadOptions, photos: Photos) -> Result<Dataset, DataError> {
    let rows = Rows::open(file)?;
    let folder = match &options.photos {
        Some(folder) => folder.clone(),
        None => parent(file),
    };
    let search = Search { file, folder: &folder, options, photos };
    let mut dataset = if let Some(columns) = table::Columns::find(&rows.header) {
        table::read(rows, &columns, &search)?
    } else if one_hot::is_header(&rows.header) {
        one_hot::read(rows, &search)?
    } else {
        let wanted = "filepath and label, or id and one for each class";
        return Err(DataError::MissingColumns { file: file.to_owned(), wanted, found: rows.header });
    };
    dataset.root = root.to_owned();
    if dataset.samples.is_empty() {
        return Err(DataError::NoPhotos { folder });
    }
    search.check_classes(&dataset)?;
    if photos == Photos::Needed {
        dataset.notes.extend(search.unlabelled(&dataset, &[])?);
    }
    Ok(dataset)
}

/// Reads a format that has more than one label a photo.
fn read_other(data: &Path, options: &ReadOptions, photos: Photos) -> Result<Dataset, DataError> {
    let given = TableOptions { photos: options.photos.clone(), ..TableOptions::default() };
    let mut table = formats::read_table(data, None, &given)?;
    let folder = table.folder.clone();
    let search = Search { file: data, folder: &folder, options, photos };
    let mut missing = Vec::new();
    if photos == Photos::Needed {
        // Photos without a label are listed for that.
        table.photos.retain(|photo| {
            let kept = photo.annotations.is_empty() || folder.join(&photo.id).is_file();
            if !kept {
                missing.push(RowName { row: 0, name: photo.id.clone() });
            }
            kept
        });
    }
    let named: Vec<PathBuf> = table.photos.iter().map(|photo| folder.join(&photo.id)).collect();
    let mut dataset = table.into_dataset_with(options.crop);
    dataset.notes.extend(search.missing(missing)?);
    if dataset.samples.is_empty() {
        return Err(match options.crop {
            Some(_) => DataError::NoBoxes { path: data.to_owned() },
            None => DataError::NoPhotos { folder },
        });
    }
    if photos == Photos::Needed {
        dataset.notes.extend(search.unlabelled(&dataset, &named)?);
    }
    Ok(dataset)
}

/// The folder a file is in.
fn parent(file: &Path) -> PathBuf {
    match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Where a CSV's photos are looked for, and what is done about those that are not there.
struct Search<'a> {
    file: &'a Path,
    folder: &'a Path,
    options: &'a ReadOptions,
    photos: Photos,
}

impl Search<'_> {
    /// A row that names a photo again: an error, or its name where rows are only listed.
    fn repeated(&self, error: DataError) -> Result<String, DataError> {
        match error {
            DataError::DuplicateId { id, row, .. } if self.photos == Photos::Listed => {
                Ok(format!("{id} (row {row})"))
            }
            error => Err(error),
        }
    }

    /// Notes such rows.
    fn note_repeated(&self, items: Vec<String>) -> Option<Note> {
        let count = counted(items.len(), "row");
        let text = format!("left out for naming a photo again: {count} of {}", self.file.display());
        (!items.is_empty()).then_some(Note { text, items })
    }

    /// Rows without a photo: an error, or a note where they may be skipped.
    fn missing(&self, rows: Vec<RowName>) -> Result<Option<Note>, DataError> {
        if rows.is_empty() {
            return Ok(None);
        }
        if !self.options.skip_missing {
            let (file, photos) = (self.file.to_owned(), self.folder.to_owned());
            return Err(DataError::MissingPhotos { file, photos, rows });
        }
        let count = counted(rows.len(), "row");
        let text = format!("skipped for want of a photo: {count} of {}", self.file.display());
        let items = rows.into_iter().map(|RowName { row, name }| match row {
            0 => name,
            row => format!("{name} (row {row})"),
        });
        let items = items.collect();
        Ok(Some(Note { text, items }))
    }

    fn check_classes(&self, dataset: &Dataset) -> Result<(), DataError> {
        let all: Vec<usize> = (0..dataset.samples.len()).collect();
        check_classes(&dataset.classes, &dataset.class_counts(&all), self.file, self.options)
    }

    /// Notes the photos that no row names: below the folder that was asked for, else below the deepest folder that
    /// holds all named photos, since a CSV may lie in a home folder; not where that leads out of the CSV's folder.
    /// Photos that are `left_out` have notes of their own.
    fn unlabelled(&self, dataset: &Dataset, left_out: &[PathBuf]) -> Result<Option<Note>, DataError> {
        let folder = match &self.options.photos {
            Some(folder) => folder.as_path(),
            None => match common_folder(dataset) {
                Some(folder) if folder.starts_with(self.folder) => folder,
                _ => return Ok(None),
            },
        };
        let used = dataset.samples.iter().map(|sample| &sample.path);
        let named: HashSet<&Path> = used.chain(left_out).map(PathBuf::as_path).collect();
        let mut items: Vec<String> = photos_below(folder)?
            .iter()
            .filter(|photo| !named.contains(photo.as_path()))
            .map(|photo| photo_id(folder, photo))
            .collect();
        items.sort_unstable();
        let count = counted(items.len(), "photo");
        let text = format!("not used for want of a label: {count} below {}", folder.display());
        Ok((!items.is_empty()).then_some(Note { text, items }))
    }
}

fn common_folder(dataset: &Dataset) -> Option<&Path> {
    let mut folders = dataset.samples.iter().filter_map(|sample| sample.path.parent());
    let mut common = folders.next()?;
    for folder in folders {
        while !folder.starts_with(common) {
            common = common.parent()?;
        }
    }
    Some(common)
}

/// Fails if a class has no photo and that was not allowed.
fn check_classes(
    classes: &[String],
    counts: &[usize],
    place: &Path,
    options: &ReadOptions,
) -> Result<(), DataError> {
    let empty = |(class, &count): (&String, &usize)| (count == 0).then(|| class.clone());
    let classes: Vec<String> = classes.iter().zip(counts).filter_map(empty).collect();
    if classes.is_empty() || options.allow_empty_class {
        return Ok(());
    }
    Err(DataError::EmptyClass { place: place.to_owned(), classes })
}
