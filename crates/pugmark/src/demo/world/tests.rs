use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pugmark_data::{Dataset, Limits, ReadOptions, decode_file};
use tempfile::tempdir;

use super::*;

fn settings(seed: u64) -> WorldSettings {
    WorldSettings { seed, sites: [5, 3], photos: [70, 40], size: [96, 72], animals: 1.0 }
}

fn draw(folder: &Path, seed: u64, threads: usize) -> Broken {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
    pool.install(|| write_world(folder, &settings(seed), &|| Ok(()))).expect("a writable folder")
}

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_owned()]);
    while let Some(next) = folders.pop() {
        for path in fs::read_dir(next).expect("a folder").map(|entry| entry.expect("an entry").path()) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).expect("a file");
                found.insert(path.strip_prefix(folder).expect("a path below").to_owned(), bytes);
            }
        }
    }
    found
}

fn read(folder: &Path, labels: &str) -> Dataset {
    pugmark_data::read(&folder.join(labels), &ReadOptions::default())
        .expect("a data set in the Conser-vision shape")
}

#[test]
fn one_seed_gives_the_same_bytes_whatever_the_threads() {
    let folders = [tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap()];
    for (folder, (seed, threads)) in folders.iter().zip([(7, 1), (7, 2), (8, 2)]) {
        draw(folder.path(), seed, threads);
    }
    let [one, two, other] = folders.each_ref().map(|folder| files(folder.path()));
    // Photos, four CSV files and README.txt.
    assert_eq!(one.len(), 70 + 40 + 5);
    assert!(one == two, "one and two threads differ");
    assert!(one != other, "two seeds drew the same world");
}

#[test]
fn reads_back_with_every_class_and_with_sites_of_its_own_on_each_side() {
    let folder = tempdir().unwrap();
    draw(folder.path(), 0, 2);
    let mut sites = Vec::new();
    for (labels, photos) in [("train_labels.csv", 70), ("test_labels.csv", 40)] {
        let data = read(folder.path(), labels);
        assert_eq!(data.classes, CLASSES);
        assert_eq!(data.samples.len(), photos);
        assert_eq!(data.notes, []);
        let counts = data.class_counts(&(0..photos).collect::<Vec<_>>());
        assert!(counts.iter().all(|&count| count > 0), "{counts:?}");
        sites.push(data.samples.iter().map(|s| s.site.clone().expect("a site")).collect::<BTreeSet<_>>());
    }
    assert_eq!(sites.iter().map(BTreeSet::len).collect::<Vec<_>>(), [5, 3]);
    assert!(sites[0].is_disjoint(&sites[1]));
}

#[test]
fn the_broken_files_are_the_ones_that_the_readme_lists() {
    let folder = tempdir().unwrap();
    let broken = draw(folder.path(), 3, 2);
    let (mut truncated, mut empty) = (Vec::new(), Vec::new());
    let [train, test] = ["train_labels.csv", "test_labels.csv"].map(|labels| read(folder.path(), labels));
    for sample in train.samples.into_iter().chain(test.samples) {
        match decode_file(&sample.path, &Limits::default()) {
            Ok(photo) => {
                assert_eq!((photo.width, photo.height), (96, 72));
                if photo.truncated {
                    truncated.push(sample.id);
                }
            }
            Err(_) => {
                assert_eq!(fs::metadata(&sample.path).unwrap().len(), 0, "{}", sample.id);
                empty.push(sample.id);
            }
        }
    }
    assert_eq!((truncated.len(), empty.len()), (2, 2));
    assert_eq!((&truncated, &empty), (&broken.truncated, &broken.empty));
    let readme = fs::read_to_string(folder.path().join("README.txt")).unwrap();
    assert!(readme.contains(&format!("cut short: {}\n", truncated.join(" "))), "{readme}");
    assert!(readme.contains(&format!("empty: {}\n", empty.join(" "))), "{readme}");
}

#[test]
fn exif_tells_when_and_the_frames_of_a_burst_are_seconds_apart() {
    let frames = plan(0, 0..5, 200);
    let mut bursts: BTreeMap<(usize, [u32; 5]), Vec<u32>> = BTreeMap::new();
    for Frame { site, moment, .. } in &frames {
        let [year, month, day, hour, minute, second] = moment.clock;
        bursts.entry((*site, [year, month, day, hour, minute])).or_default().push(second);
    }
    let longest = bursts.values().max_by_key(|seconds| seconds.len()).expect("a burst");
    assert_eq!(longest.len(), 4);
    assert!(longest.iter().max() <= longest.iter().min().map(|first| first + 6).as_ref());

    let folder = tempdir().unwrap();
    let broken = draw(folder.path(), 0, 2);
    let whole = |id: &&pugmark_data::Sample| !broken.empty.contains(&id.id);
    for sample in read(folder.path(), "train_labels.csv").samples.iter().filter(whole) {
        let mut file = io::BufReader::new(fs::File::open(&sample.path).unwrap());
        let exif = exif::Reader::new().read_from_container(&mut file).expect("EXIF");
        let time = exif.get_field(exif::Tag::DateTimeOriginal, exif::In::PRIMARY).expect("DateTimeOriginal");
        let exif::Value::Ascii(text) = &time.value else { panic!("{time:?}") };
        exif::DateTime::from_ascii(&text[0]).expect("a date");
        assert_eq!(exif.fields().count(), 2);
    }
}

#[test]
fn an_error_ends_the_work() {
    let folder = tempdir().unwrap();
    let error =
        write_world(folder.path(), &settings(0), &|| Err(io::ErrorKind::Interrupted.into())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
    assert!(!folder.path().join("README.txt").exists(), "README.txt says that the world is whole");
}
