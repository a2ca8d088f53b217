//! Prepared folders: what is cut out for them, what is said of them, and how they come from elsewhere.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use image::{ImageBuffer, Rgb};
use pugmark_data::prepare::{Prepare, PrepareError, fetch, prepare};
use pugmark_data::{
    DataError, Dataset, Form, Input, Limits, PrepareSettings, ReadOptions, Storage, StorageOptions, Store,
    Stored, read, read_prepared,
};
use tempfile::TempDir;

/// A photo whose red is the column and green the row.
fn photo(path: &Path, blue: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    ImageBuffer::from_fn(40, 20, |x, y| Rgb([x as u8, y as u8, blue])).save(path).unwrap();
}

fn settings(crop: Option<f64>) -> PrepareSettings {
    PrepareSettings {
        form: Form { size: None, store: Store::Raw, quality: None, crop },
        shards: Some(2),
        machine: (0, 1),
        threads: 2,
        limits: Limits::default(),
        overwrite: false,
    }
}

fn prepared(data: &Path, out: &Path, crop: Option<f64>) -> Result<Prepare, PrepareError> {
    let options = ReadOptions { allow_empty_class: true, crop, ..ReadOptions::default() };
    let input = Input::open(data, &options, &StorageOptions::default())?;
    let out = Storage::open(out, &StorageOptions::default())?;
    prepare(&input, &out, &settings(crop), &AtomicBool::new(false), &mut |_| {})
}

/// The pixels of a sample of a prepared folder, with its width and height.
fn pixels(dataset: &Dataset, id: &str) -> ((u32, u32), Vec<u8>) {
    let sample = dataset.samples.iter().find(|sample| sample.id == id).unwrap();
    let Some(Stored::Range { offset, bytes, pixels: Some(size), .. }) = sample.stored else {
        panic!("{id} has no pixels: {:?}", sample.stored)
    };
    let shard = fs::read(&sample.path).unwrap();
    (size, shard[offset as usize..(offset + bytes) as usize].to_vec())
}

fn megadetector(second_box: &str) -> String {
    format!(
        r#"{{"info": {{"format_version": "1.6", "detector": "d"}},
        "detection_categories": {{"1": "animal", "2": "person"}},
        "images": [
         {{"file": "n/a.png", "detections": [
          {{"category": "1", "conf": 0.9, "bbox": [0.25, 0.5, 0.25, 0.25]}},
          {{"category": "2", "conf": 0.8, "bbox": {second_box}}},
          {{"category": "1", "conf": 0.01, "bbox": [0.0, 0.0, 0.1, 0.1]}}]}},
         {{"file": "n/b.png", "detections": []}},
         {{"file": "n/c.png", "detections": [{{"category": "1", "conf": 0.7, "bbox": [2.0, 0.0, 0.1, 0.1]}}]}}]}}"#
    )
}

#[test]
fn every_box_is_a_photo_of_its_own() {
    let place = TempDir::new().unwrap();
    for name in ["a", "b", "c"] {
        photo(&place.path().join(format!("n/{name}.png")), 9);
    }
    let (labels, out) = (place.path().join("results.json"), place.path().join("crops"));
    fs::write(&labels, megadetector("[0.0, 0.0, 0.5, 0.5]")).unwrap();
    let first = prepared(&labels, &out, Some(0.0)).unwrap();
    assert_eq!((first.progress.done, first.progress.broken), (3, 1));

    let dataset = read_prepared(&out).unwrap().unwrap();
    let known: Vec<(&str, &str)> = dataset
        .samples
        .iter()
        .map(|one| (one.id.as_str(), dataset.classes[one.class.unwrap()].as_str()))
        .collect();
    assert_eq!(known, [("n/a.png#1", "animal"), ("n/a.png#2", "person"), ("n/c.png#1", "animal")]);
    let together: Vec<_> = dataset.samples.iter().map(|one| one.sequence.as_deref()).collect();
    assert_eq!(together, [Some("n/a.png"), Some("n/a.png"), Some("n/c.png")]);
    assert!(matches!(&dataset.samples[2].stored, Some(Stored::Broken(reason)) if reason.contains("pixels")));
    // 10 to 20 of 40 columns, 10 to 15 of 20 rows.
    let expected: Vec<u8> = (10..15).flat_map(|y| (10..20).flat_map(move |x| [x, y, 9])).collect();
    assert_eq!(pixels(&dataset, "n/a.png#1"), ((10, 5), expected));
    assert_eq!(pixels(&dataset, "n/a.png#2").0, (20, 10));

    assert_eq!(prepared(&labels, &out, Some(0.0)).unwrap().progress.done, 0, "a second run does no work");
    fs::write(&labels, megadetector("[0.0, 0.0, 0.25, 0.5]")).unwrap();
    assert!(prepared(&labels, &out, Some(0.0)).unwrap().progress.done > 0, "another box is another photo");
    let dataset = read_prepared(&out).unwrap().unwrap();
    assert_eq!(pixels(&dataset, "n/a.png#2").0, (10, 10));
    let other = prepared(&labels, &out, Some(0.5)).map(drop).unwrap_err();
    assert!(
        matches!(&other, PrepareError::OtherSettings { there, asked, .. }
        if there.contains("a margin of 0,") && asked.contains("a margin of 0.5,")),
        "{other}"
    );
}

#[test]
fn what_has_no_boxes_is_not_cut() {
    let place = TempDir::new().unwrap();
    photo(&place.path().join("photos/hog/a.png"), 1);
    photo(&place.path().join("photos/duiker/b.png"), 2);
    let coco = place.path().join("photos/labels.json");
    let text = r#"{"categories": [{"id": 1, "name": "hog"}], "images": [{"id": "a", "file_name": "hog/a.png"}],
        "annotations": [{"id": 1, "image_id": "a", "category_id": 1}]}"#;
    fs::write(&coco, text).unwrap();
    for data in [&place.path().join("photos/hog").parent().unwrap().to_owned(), &coco] {
        let error = prepared(data, &place.path().join("out"), Some(0.1)).map(drop).unwrap_err();
        assert!(error.to_string().contains("has no boxes to cut out"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("MegaDetector")));
    }
}

#[test]
fn a_class_without_photos_is_told_of_prepared_folders_too() {
    let place = TempDir::new().unwrap();
    photo(&place.path().join("photos/1.png"), 1);
    photo(&place.path().join("photos/2.png"), 2);
    let labels = place.path().join("photos/labels.csv");
    fs::write(&labels, "id,hog,duiker,leopard\n1,1,0,0\n2,0,1,0\n").unwrap();
    let out = place.path().join("out");
    prepared(&labels, &out, None).unwrap();
    let error = read(&out, &ReadOptions::default()).unwrap_err();
    assert!(matches!(&error, DataError::EmptyClass { classes, .. } if classes == &["leopard"]), "{error}");
    let allowed = ReadOptions { allow_empty_class: true, ..ReadOptions::default() };
    assert_eq!(read(&out, &allowed).unwrap().classes.len(), 3);
}

#[test]
fn a_newer_state_leaves_what_another_training_reads() {
    let place = TempDir::new().unwrap();
    let (data, out, cache) =
        (place.path().join("photos"), place.path().join("out"), place.path().join("cache"));
    for number in 0..8 {
        photo(&data.join(format!("hog/{number}.png")), number);
        photo(&data.join(format!("duiker/{number}.png")), number);
    }
    let fetched = || -> PathBuf {
        let (options, stop) = (StorageOptions::default(), AtomicBool::new(false));
        fetch(&out, &cache, &options, &stop, &mut |_| {}).unwrap().unwrap()
    };
    prepared(&data, &out, None).unwrap();
    let before = fetched();
    let dataset = read_prepared(&before).unwrap().unwrap();
    let photo_before = pixels(&dataset, "hog/3.png");
    assert_eq!(fetched(), before);

    // One photo more changes one of the two shards.
    photo(&data.join("hog/8.png"), 8);
    prepared(&data, &out, None).unwrap();
    let after = fetched();
    assert_ne!(after, before);
    assert_eq!(read_prepared(&after).unwrap().unwrap().samples.len(), 17);
    assert_eq!(pixels(&dataset, "hog/3.png"), photo_before);
    assert_eq!(read_prepared(&before).unwrap().unwrap().samples.len(), 16);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let links = fs::read_dir(&after).unwrap().map(|entry| entry.unwrap().metadata().unwrap().nlink());
        let shared = links.filter(|&links| links == 2).count();
        assert!(shared >= 1, "the shard that stayed takes no room twice");
    }
}

#[test]
fn tables_that_were_damaged_are_written_again() {
    let place = TempDir::new().unwrap();
    let (data, out) = (place.path().join("photos"), place.path().join("out"));
    photo(&data.join("hog/1.png"), 1);
    photo(&data.join("duiker/2.png"), 2);
    prepared(&data, &out, None).unwrap();
    let tables = ["train_metadata.csv", "test_metadata.csv", "preprocessing_summary.txt"];
    for name in tables {
        let whole = fs::read(out.join(name)).unwrap();
        fs::write(out.join(name), b"id,label\nhog/1.png,\xff\n").unwrap();
        prepared(&data, &out, None).unwrap();
        assert_eq!(fs::read(out.join(name)).unwrap(), whole, "{name}");
    }
    assert_eq!(read_prepared(&out).unwrap().unwrap().samples.len(), 2);
}
