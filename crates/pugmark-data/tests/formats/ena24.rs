//! The same 21 photos of ENA24 as a CSV, as COCO and as Camtrap DP.

use std::collections::BTreeMap;

use pugmark_data::formats::{
    Deployment, Format, Label, LabelTable, Method, TableOptions, WriteOptions, read_table, validate,
};
use pugmark_data::{DataError, Dataset, ReadOptions, read as read_dataset};
use tempfile::TempDir;

use crate::common::test_data;
use crate::{METADATA, folder, read, write};

/// Id and class of every sample, sorted.
fn labels(dataset: &Dataset) -> BTreeMap<String, String> {
    let class = |class: Option<usize>| dataset.classes[class.unwrap()].clone();
    dataset.samples.iter().map(|sample| (sample.id.clone(), class(sample.class))).collect()
}

fn with_times(mut table: LabelTable) -> LabelTable {
    // The photos themselves say nothing of a time: these are made up, for this test alone.
    for (minute, photo) in table.photos.iter_mut().enumerate() {
        photo.time = Some(format!("2020-05-01T10:{minute:02}:00").parse().unwrap());
        photo.site = Some("ena24".into());
    }
    let place = Deployment { latitude: Some(38.9), longitude: Some(-78.2), ..Deployment::default() };
    table.deployments = [("ena24".into(), place)].into_iter().collect();
    table
}

#[test]
fn csv_coco_and_camtrap_dp_agree() {
    let Some(data) = test_data("ena24/assets/images/ena24_small") else { return };
    let strict = ReadOptions::default();
    let csv = read_dataset(&data.join("labels.csv"), &strict).unwrap();
    let coco = read_dataset(&data.join("coco_annotations.json"), &strict).unwrap();
    assert_eq!(csv.samples.len(), 21);
    assert_eq!(csv.classes.len(), 7);
    assert_eq!(labels(&csv), labels(&coco));
    assert_eq!(csv.hash(), coco.hash(), "a split or a run cannot tell them apart");

    let place = TempDir::new().unwrap();
    let (metadata, package) = (place.path().join("metadata.toml"), place.path().join("package"));
    std::fs::write(&metadata, METADATA).unwrap();
    let options =
        WriteOptions { offset_minutes: Some(-300), metadata: Some(metadata), ..WriteOptions::default() };
    write(&with_times(read(&data.join("labels.csv")).unwrap()), Format::CamtrapDp, &package, &options)
        .unwrap();
    let report = validate(&package, Format::CamtrapDp).unwrap();
    assert!(report.is_valid(), "{report}");
    let with_photos = ReadOptions { photos: Some(data.clone()), ..strict };
    let camtrap = read_dataset(&package, &with_photos).unwrap();
    assert_eq!(labels(&csv), labels(&camtrap));
    assert_eq!(csv.hash(), camtrap.hash());
    assert!(
        camtrap.samples.iter().all(|sample| sample.site.as_deref() == Some("ena24") && sample.time.is_some())
    );
}

#[test]
fn boxes_of_coco_and_megadetector() {
    let Some(data) = test_data("ena24/assets/images/ena24_small") else { return };
    let coco = read(&data.join("coco_annotations.json")).unwrap();
    let results = read(&data.join("md_annotations.json")).unwrap();
    assert_eq!((coco.photos.len(), results.photos.len()), (21, 21));
    let areas = |table: &LabelTable| {
        table.photos.iter().flat_map(|photo| &photo.annotations).filter(|one| one.area.is_some()).count()
    };
    assert!(areas(&coco) >= 21 && areas(&results) >= 21, "{} and {}", areas(&coco), areas(&results));
    assert_eq!(results.threshold, Some(0.8));
    let of = |table: &LabelTable| -> BTreeMap<String, String> {
        let plain = |label: &Label| label.word("blank").to_lowercase().replace(' ', "_");
        let first = |photo: &pugmark_data::formats::LabelledPhoto| {
            photo.annotations[0].label.as_ref().map(plain).unwrap()
        };
        table.photos.iter().map(|photo| (photo.id.clone(), first(photo))).collect()
    };
    let (people, machine) = (of(&coco), of(&results));
    let ids = |labels: &BTreeMap<String, String>| labels.keys().cloned().collect::<Vec<_>>();
    assert_eq!(ids(&people), ids(&machine), "the same photos, whatever the classifier thought");
    for photo in results.photos.iter().flat_map(|photo| &photo.annotations) {
        assert_eq!(photo.method, Some(Method::Machine));
        assert_eq!(photo.by.as_deref(), Some("ecosystem1_v2"));
    }
}

#[test]
fn a_row_whose_file_is_missing_is_listed() {
    let Some(data) = test_data("ena24/assets") else { return };
    let labels = data.join("images/labels.csv");
    // Two of its photos are in train and in val: no data set, but every row that repeats one is found.
    assert!(matches!(read(&labels), Err(DataError::DuplicateId { row: 6, first: 3, .. })));
    let report = validate(&labels, Format::Csv).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert_eq!(
        (report.findings[0].rule, &report.findings[0].places[..]),
        ("name-twice", &["row 6".into(), "row 7".into()][..])
    );

    let text = std::fs::read_to_string(&labels).unwrap();
    let first: Vec<&str> = text.lines().take(5).collect();
    let place = folder(&[("labels.csv", &first.join("\n"))]);
    let options = ReadOptions { photos: Some(data), skip_missing: true, ..ReadOptions::default() };
    let dataset = read_dataset(&place.path().join("labels.csv"), &options).unwrap();
    let note =
        dataset.notes.iter().find(|note| note.text.starts_with("skipped for want of a photo")).unwrap();
    assert_eq!(note.items, ["images/this_file_does_not_exist.jpg (row 5)"]);
    let table = read(&place.path().join("labels.csv")).unwrap();
    assert!(table.photos.iter().any(|photo| photo.id == "images/this_file_does_not_exist.jpg"));
}

#[test]
fn a_camtrap_dp_package_of_another_tool() {
    let Some(data) = test_data("ena24/assets/images/camtrap_dp_small") else { return };
    let photos = Some(data.join(".."));
    let table =
        read_table(&data, None, &TableOptions { photos: photos.clone(), ..TableOptions::default() }).unwrap();
    let rows: Vec<_> = table
        .photos
        .iter()
        .map(|photo| (photo.id.as_str(), photo.site.as_deref().unwrap(), photo.annotations.len()))
        .collect();
    assert_eq!(
        rows,
        [
            ("small_cat.jpg", "loc1", 2),
            ("wild_dog_jackal.jpg", "loc1", 1),
            ("chimpanzee_bonobo.jpeg", "loc2", 1),
            ("https://example.com/remote.jpg", "loc2", 1),
        ]
    );
    let notes: Vec<_> = table.notes.iter().map(|note| note.text.as_str()).collect();
    assert!(notes.iter().any(|note| note.ends_with("being no photo: 1 file")), "{notes:?}");
    assert!(notes.iter().any(|note| note.contains("not used, every photo of the event")), "{notes:?}");
    let options = ReadOptions { photos, skip_missing: true, ..ReadOptions::default() };
    let dataset = read_dataset(&data, &options).unwrap();
    assert_eq!(dataset.classes, ["Canis aureus", "Felis catus", "Pan"]);
    assert_eq!(dataset.samples[0].sequence.as_deref(), Some("evt1"));

    let report = validate(&data, Format::CamtrapDp).unwrap();
    let rules: Vec<_> = report.findings.iter().map(|finding| finding.rule).collect();
    for rule in ["required-keys", "resource-schema", "row-length", "column-absent"] {
        assert!(rules.contains(&rule), "{rule}: {report}");
    }
}
