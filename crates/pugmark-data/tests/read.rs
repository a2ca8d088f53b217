//! What data sets are read, and what is said of those that cannot be.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use pugmark_data::{DataError, Dataset, Part, ReadOptions, photos_below, read, read_labels};
use tempfile::TempDir;

/// A folder with files, each a path and its content; photos need none to be read as data sets.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn strict() -> ReadOptions {
    ReadOptions::default()
}

/// Id, class and part of every sample, for comparison.
fn rows(dataset: &Dataset) -> Vec<(&str, &str, Option<Part>)> {
    let class = |class: Option<usize>| class.map_or("", |class| dataset.classes[class].as_str());
    dataset.samples.iter().map(|sample| (sample.id.as_str(), class(sample.class), sample.part)).collect()
}

#[test]
fn class_per_folder() {
    let data = folder(&[
        ("zebra/b.JPG", ""),
        ("zebra/deep/er/a.webp", ""),
        ("Ant/1.png", ""),
        ("Ant/.hidden.png", ""),
        ("Ant/notes.txt", ""),
        ("stray.jpg", ""),
        (".cache/x.jpg", ""),
    ]);
    let dataset = read(data.path(), &strict()).unwrap();
    assert_eq!(dataset.classes, ["Ant", "zebra"]);
    let expected =
        [("Ant/1.png", "Ant", None), ("zebra/b.JPG", "zebra", None), ("zebra/deep/er/a.webp", "zebra", None)];
    assert_eq!(rows(&dataset), expected);
    assert_eq!(dataset.samples[2].path, data.path().join("zebra/deep/er/a.webp"));
    assert_eq!(dataset.notes.len(), 1);
    assert_eq!(dataset.notes[0].items, ["Ant/notes.txt", "stray.jpg"]);
}

#[test]
fn folders_of_parts() {
    let data =
        folder(&[("train/a/1.jpg", ""), ("train/b/1.jpg", ""), ("valid/a/1.jpg", ""), ("test/b/2.jpg", "")]);
    let dataset = read(data.path(), &strict()).unwrap();
    assert_eq!(dataset.classes, ["a", "b"]);
    let expected = [
        ("test/b/2.jpg", "b", Some(Part::Test)),
        ("train/a/1.jpg", "a", Some(Part::Train)),
        ("train/b/1.jpg", "b", Some(Part::Train)),
        ("valid/a/1.jpg", "a", Some(Part::Val)),
    ];
    assert_eq!(rows(&dataset), expected);
    // A folder beside them is not forgotten.
    fs::create_dir(data.path().join("more")).unwrap();
    fs::write(data.path().join("more/3.jpg"), "").unwrap();
    assert_eq!(read(data.path(), &strict()).unwrap().notes[0].items, ["more/3.jpg"]);
    // Folders of these names that hold photos themselves are classes.
    let data = folder(&[("train/1.jpg", ""), ("bus/1.jpg", "")]);
    assert_eq!(read(data.path(), &strict()).unwrap().classes, ["bus", "train"]);
}

#[test]
fn one_hot() {
    // A byte-order mark, Windows line ends, quotes, both ways to write a number, an unsorted header.
    let labels = "\u{feff}id,zebra,\"ant, red\"\r\nx/2,1.0,0.0\r\n\"1\",0,1\r\n";
    let data = folder(&[("some.csv", labels), ("p/1.JPEG", ""), ("p/x/2.png", ""), ("p/3.jpg", "")]);
    let options = ReadOptions { photos: Some(data.path().join("p")), ..strict() };
    let dataset = read(&data.path().join("some.csv"), &options).unwrap();
    assert_eq!(dataset.classes, ["zebra", "ant, red"], "in the file's order");
    assert_eq!(rows(&dataset), [("x/2", "zebra", None), ("1", "ant, red", None)]);
    assert_eq!(dataset.samples[1].path, data.path().join("p/1.JPEG"));
    assert_eq!(dataset.notes[0].items, ["3.jpg"], "photos without a label");
}

#[test]
fn conser_vision() {
    let data = folder(&[
        ("train_labels.csv", "id,bird,hog\nZJ1,0.0,1.0\nZJ0,1.0,0.0\n"),
        (
            "train_features.csv",
            "id,filepath,site\nZJ0,train_features/ZJ0.jpg,S0001\nZJ1,train_features/ZJ1.jpg,\n",
        ),
        ("train_features/ZJ0.jpg", ""),
        ("train_features/ZJ1.jpg", ""),
        ("train_features/ZJ2.jpg", ""),
        ("test_features/ZJ3.jpg", ""),
    ]);
    let dataset = read(data.path(), &strict()).unwrap();
    assert_eq!(rows(&dataset), [("ZJ1", "hog", None), ("ZJ0", "bird", None)]);
    assert_eq!(dataset.samples[1].path, data.path().join("train_features/ZJ0.jpg"));
    assert_eq!(dataset.samples[1].site.as_deref(), Some("S0001"));
    assert_eq!(dataset.samples[0].site, None);
    assert_eq!(dataset.notes[0].items, ["ZJ2.jpg"], "the test photos are not meant to have labels");
}

#[test]
fn table_of_labels() {
    let labels = "FilePath,note,label,split,Location\n\
                  .\\img\\b.jpg,x,dog,train,north\n\
                  img//a.jpg,y,cat,holdout,\n\
                  img/c.jpg,z,dog,,south\n";
    let data = folder(&[("any.csv", labels), ("img/a.jpg", ""), ("img/b.jpg", ""), ("img/c.jpg", "")]);
    let by_file = read(&data.path().join("any.csv"), &strict()).unwrap();
    let expected = [
        ("img/b.jpg", "dog", Some(Part::Train)),
        ("img/a.jpg", "cat", Some(Part::Test)),
        ("img/c.jpg", "dog", None),
    ];
    assert_eq!(rows(&by_file), expected);
    assert_eq!(by_file.classes, ["cat", "dog"]);
    let sites: Vec<_> = by_file.samples.iter().map(|sample| sample.site.as_deref()).collect();
    assert_eq!(sites, [Some("north"), None, Some("south")]);
    let by_folder = read(data.path(), &strict()).unwrap();
    assert_eq!(by_folder.samples, by_file.samples, "the only table in a folder is found");
    assert!(by_file.notes.is_empty());
}

#[test]
fn skipped_rows_are_noted() {
    let data =
        folder(&[("labels.csv", "filepath,label\na.jpg,cat\ngone.jpg,lion\n"), ("a.jpg", ""), ("b.jpg", "")]);
    let options = ReadOptions { skip_missing: true, ..strict() };
    let dataset = read(data.path(), &options).unwrap();
    assert_eq!(rows(&dataset), [("a.jpg", "cat", None)]);
    let notes: Vec<_> = dataset.notes.iter().map(|note| note.items.as_slice()).collect();
    assert_eq!(notes, [["gone.jpg (row 3)"], ["b.jpg"]]);
}

#[test]
fn labels_alone() {
    let data = folder(&[("labels.csv", "filepath,label\na.jpg,cat\nb.jpg,lion\n")]);
    let dataset = read_labels(data.path(), &strict()).unwrap();
    assert_eq!(rows(&dataset), [("a.jpg", "cat", None), ("b.jpg", "lion", None)]);
}

#[test]
fn what_is_wrong_and_where() {
    struct Case {
        name: &'static str,
        files: &'static [(&'static str, &'static str)],
        data: &'static str,
        /// The message, with the folder's name left out.
        message: &'static str,
        matches: fn(&DataError) -> bool,
    }
    let cases = [
        Case {
            name: "nothing there",
            files: &[],
            data: "nowhere",
            message: "nowhere does not exist",
            matches: |e| matches!(e, DataError::NotFound { .. }),
        },
        Case {
            name: "no photos",
            files: &[("a/readme.txt", "")],
            data: ".",
            message: "no photos found below .",
            matches: |e| matches!(e, DataError::NoPhotos { .. }),
        },
        Case {
            name: "photos without labels",
            files: &[("1.jpg", ""), ("2.jpg", "")],
            data: ".",
            message: ". holds 2 photos but no labels",
            matches: |e| matches!(e, DataError::NoLabels { photos: 2, .. }),
        },
        Case {
            name: "a class folder without a photo",
            files: &[("ant/1.jpg", ""), ("bee/readme.txt", "")],
            data: ".",
            message: "a class has no photo in .: `bee`",
            matches: |e| matches!(e, DataError::EmptyClass { .. }),
        },
        Case {
            name: "a class that only val has",
            files: &[("train/ant/1.jpg", ""), ("val/ant/2.jpg", ""), ("val/bee/1.jpg", "")],
            data: ".",
            message: "a class has no photo in ./train: `bee`",
            matches: |e| matches!(e, DataError::EmptyClass { .. }),
        },
        Case {
            name: "a one-hot class without a photo",
            files: &[("l.csv", "id,ant,bee,wasp\n1,1,0,0\n"), ("1.jpg", "")],
            data: "l.csv",
            message: "2 classes have no photo in l.csv: `bee`, `wasp`",
            matches: |e| matches!(e, DataError::EmptyClass { .. }),
        },
        Case {
            name: "rows without a file",
            files: &[
                ("l.csv", "filepath,label\na.jpg,x\nb.jpg,x\nc.jpg,x\nd.jpg,x\ne.jpg,x\nf.jpg,x\ng.jpg,x\n"),
                ("a.jpg", ""),
            ],
            data: "l.csv",
            message: "l.csv: 6 of its photos cannot be found below .: `b.jpg` (row 3), `c.jpg` (row 4), \
                      `d.jpg` (row 5), `e.jpg` (row 6), `f.jpg` (row 7) and 1 more",
            matches: |e| matches!(e, DataError::MissingPhotos { rows, .. } if rows.len() == 6),
        },
        Case {
            name: "a one-hot row without a file",
            files: &[("l.csv", "id,x\na,1\nb,1\n"), ("a.jpg", ""), ("b.gif", "")],
            data: "l.csv",
            message: "l.csv: 1 of its photos cannot be found below .: `b` (row 3)",
            matches: |e| matches!(e, DataError::MissingPhotos { .. }),
        },
        Case {
            name: "one-hot labels and no photos at all",
            files: &[("l.csv", "id,x\na,1\nb,1\n")],
            data: "l.csv",
            message: "no photos found below .",
            matches: |e| matches!(e, DataError::NoPhotos { .. }),
        },
        Case {
            name: "two photos for one id",
            files: &[("l.csv", "id,x\na,1\n"), ("p/a.jpg", ""), ("q/a.png", "")],
            data: "l.csv",
            message: "l.csv, row 2: `a` could be ./p/a.jpg or ./q/a.png",
            matches: |e| matches!(e, DataError::AmbiguousPhoto { row: 2, .. }),
        },
        Case {
            name: "an id twice",
            files: &[("l.csv", "id,x\na,1\nb,1\na,1\n"), ("a.jpg", ""), ("b.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 4: `a` is already in row 2",
            matches: |e| matches!(e, DataError::DuplicateId { first: 2, row: 4, .. }),
        },
        Case {
            name: "a path twice in different spelling",
            files: &[("l.csv", "filepath,label\np/a.jpg,x\n.\\p\\a.jpg,x\n"), ("p/a.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 3: `p/a.jpg` is already in row 2",
            matches: |e| matches!(e, DataError::DuplicateId { .. }),
        },
        Case {
            name: "a one-hot row of zeros",
            files: &[("l.csv", "id,x,y\na,1,0\nb,0,0\n"), ("a.jpg", ""), ("b.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 3: `b` has no class: none of its columns is 1",
            matches: |e| matches!(e, DataError::NoClass { row: 3, .. }),
        },
        Case {
            name: "a one-hot row with two ones",
            files: &[("l.csv", "id,x,y,z\na,1,0,1.0\n"), ("a.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 2: `a` has several classes: x, z",
            matches: |e| matches!(e, DataError::SeveralClasses { row: 2, .. }),
        },
        Case {
            name: "a probability",
            files: &[("l.csv", "id,x,y\na,0.4,0.6\n"), ("a.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 2, column `x`: `0.4` is neither 0 nor 1",
            matches: |e| matches!(e, DataError::OneHotValue { row: 2, .. }),
        },
        Case {
            name: "a one-hot value that is missing",
            files: &[("l.csv", "id,x,y\na,1,\n"), ("a.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 2, column `y`: `` is neither 0 nor 1",
            matches: |e| matches!(e, DataError::OneHotValue { .. }),
        },
        Case {
            name: "two one-hot columns of one name",
            files: &[("l.csv", "id,x,x\na,1,0\n"), ("a.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 1: a second column called `x`, or one without a name",
            matches: |e| matches!(e, DataError::Csv { row: 1, .. }),
        },
        Case {
            name: "an empty label",
            files: &[("l.csv", "filepath,label\na.jpg,x\nb.jpg, \n"), ("a.jpg", ""), ("b.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 3, column `label`: empty",
            matches: |e| matches!(e, DataError::EmptyValue { row: 3, .. }),
        },
        Case {
            name: "an empty path",
            files: &[("l.csv", "filepath,label\n,x\n")],
            data: "l.csv",
            message: "l.csv, row 2, column `filepath`: empty",
            matches: |e| matches!(e, DataError::EmptyValue { row: 2, .. }),
        },
        Case {
            name: "an unknown split",
            files: &[("l.csv", "filepath,label,split\na.jpg,x,dev\n"), ("a.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 2, column `split`: `dev` is not a part of a split",
            matches: |e| matches!(e, DataError::UnknownPart { row: 2, .. }),
        },
        Case {
            name: "other columns",
            files: &[("l.csv", "name,species\na.jpg,x\n")],
            data: "l.csv",
            message: "l.csv: no column filepath and label, or id and one for each class (its columns are `name`, \
                      `species`)",
            matches: |e| matches!(e, DataError::MissingColumns { .. }),
        },
        Case {
            name: "a header alone",
            files: &[("l.csv", "filepath,label\n")],
            data: "l.csv",
            message: "l.csv has no rows",
            matches: |e| matches!(e, DataError::NoRows { .. }),
        },
        Case {
            name: "a ragged row",
            files: &[("l.csv", "filepath,label\n\na.jpg,x\nb.jpg\n"), ("a.jpg", "")],
            data: "l.csv",
            message: "l.csv, row 4: 1 values where the header has 2",
            matches: |e| matches!(e, DataError::Csv { row: 4, .. }),
        },
        Case {
            name: "labels of a photo that the features lack",
            files: &[
                ("train_labels.csv", "id,x\na,1\nb,1\n"),
                ("train_features.csv", "id,filepath,site\na,p/a.jpg,S1\n"),
                ("p/a.jpg", ""),
            ],
            data: ".",
            message: "./train_labels.csv, row 3: `b` is not in ./train_features.csv",
            matches: |e| matches!(e, DataError::UnknownId { row: 3, .. }),
        },
        Case {
            name: "two tables",
            files: &[("a.csv", "filepath,label\n"), ("b.csv", "path,label\n"), ("c.csv", "x,y\n")],
            data: ".",
            message: ". holds several tables of labels: `a.csv`, `b.csv`",
            matches: |e| matches!(e, DataError::SeveralTables { .. }),
        },
    ];
    for Case { name, files, data, message, matches } in cases {
        let place = folder(files);
        let path = if data == "." { place.path().to_owned() } else { place.path().join(data) };
        let error = read(&path, &strict()).expect_err(name);
        let root = place.path().to_str().unwrap();
        let said = error.to_string().replace(&format!("{root}/{data}"), data);
        let said = if data == "." {
            said.replace(root, ".")
        } else {
            said.replace(&format!("below {root}"), "below .")
        };
        let said = said.replace(root, ".");
        assert_eq!(said, message, "{name}");
        assert!(matches(&error), "{name}: {error:?}");
        assert!(error.hint().is_some(), "{name}: no hint");
    }
}

#[test]
fn not_utf8() {
    let data = folder(&[("a.jpg", "")]);
    let file = data.path().join("l.csv");
    // Windows-1252, as spreadsheets save it.
    fs::write(&file, b"filepath,label\na.jpg,x\nb.jpg,\xe9l\xe9phant\n").unwrap();
    let error = read(&file, &strict()).unwrap_err();
    assert!(matches!(&error, DataError::Csv { row: 3, problem, .. } if problem == "not UTF-8"), "{error:?}");
    assert!(error.hint().unwrap().contains("UTF-8"));
}

#[test]
fn photos_must_be_a_folder() {
    let data = folder(&[("l.csv", "filepath,label\na.jpg,x\n"), ("a.jpg", "")]);
    let file = data.path().join("l.csv");
    let options = |photos: &Path| ReadOptions { photos: Some(photos.to_owned()), ..strict() };
    assert!(matches!(read(&file, &options(&file)), Err(DataError::NotAFolder { .. })));
    assert!(matches!(read(&file, &options(Path::new("/nowhere"))), Err(DataError::NotFound { .. })));
}

#[test]
fn empty_classes_can_be_allowed() {
    let data = folder(&[("ant/1.jpg", ""), ("bee/readme.txt", "")]);
    let options = ReadOptions { allow_empty_class: true, ..strict() };
    assert_eq!(read(data.path(), &options).unwrap().classes, ["ant", "bee"]);
}

#[test]
fn photos_in_folders() {
    let data = folder(&[("b/2.JPG", ""), ("b/1.tiff", ""), ("a.gif", ""), ("c.csv", ""), (".d/3.jpg", "")]);
    let found = photos_below(data.path()).unwrap();
    let names: Vec<_> =
        found.iter().map(|photo| photo.strip_prefix(data.path()).unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["a.gif", "b/1.tiff", "b/2.JPG"]);
    let file = data.path().join("c.csv");
    assert_eq!(photos_below(&file).unwrap(), std::slice::from_ref(&file), "a file gives itself");
    assert!(matches!(photos_below(&data.path().join("x")), Err(DataError::NotFound { .. })));
}

#[cfg(unix)]
#[test]
fn links_in_circles_end() {
    let data = folder(&[("a/1.jpg", ""), ("elsewhere/2.jpg", "")]);
    std::os::unix::fs::symlink(data.path(), data.path().join("a/up")).unwrap();
    std::os::unix::fs::symlink(data.path().join("elsewhere"), data.path().join("a/other")).unwrap();
    let found = photos_below(&data.path().join("a")).unwrap();
    assert_eq!(found, [data.path().join("a/1.jpg"), data.path().join("a/other/2.jpg")]);
}

#[test]
fn the_hash_is_of_the_labels() {
    let hash = |labels: &str| read_labels(folder(&[("l.csv", labels)]).path(), &strict()).unwrap().hash();
    let one = hash("filepath,label\na.jpg,x\nb.jpg,y\n");
    assert_eq!(one, hash("label,filepath\ny,b.jpg\nx,a.jpg\n"), "order does not matter");
    assert_ne!(one, hash("filepath,label\na.jpg,y\nb.jpg,x\n"));
    assert_ne!(one, hash("filepath,label\na.jpg,x\n"));
    assert_eq!(one.len(), 64);
}

#[test]
fn real_data_sets() {
    if let Some(data) = common::test_data("ants-bees") {
        let dataset = read(&data, &strict()).unwrap();
        assert_eq!(dataset.classes, ["ants", "bees"]);
        let count = |part| dataset.samples.iter().filter(|sample| sample.part == Some(part)).count();
        // 244 training photos and the set's stray GIF.
        assert_eq!((count(Part::Train), count(Part::Val)), (245, 153));
    }
    if let Some(data) = common::test_data("ena24/assets/images") {
        let small = read(&data.join("ena24_small"), &strict()).unwrap();
        assert_eq!((small.samples.len(), small.classes.len()), (21, 7));
        // It names a photo twice, once in train and once in val.
        let options = ReadOptions { photos: Some(data.join("..")), ..strict() };
        let error = read(&data.join("labels.csv"), &options).unwrap_err();
        assert!(matches!(&error, DataError::DuplicateId { first: 3, row: 6, .. }), "{error}");
    }
    if let Some(data) = common::test_data("conser-vision") {
        let dataset = read_labels(&data, &strict()).unwrap();
        let all: Vec<usize> = (0..dataset.samples.len()).collect();
        assert_eq!(dataset.class_counts(&all), [2474, 1641, 2213, 2423, 978, 2254, 2492, 2013]);
        let sites: std::collections::HashSet<_> =
            dataset.samples.iter().map(|sample| sample.site.as_deref().unwrap()).collect();
        assert_eq!(sites.len(), 148);
        let error = read(&data, &strict()).unwrap_err();
        assert!(matches!(&error, DataError::MissingPhotos { rows, .. } if rows.len() == 16_488), "{error}");
    }
}
