//! `pugmark predict --boxes`: each animal that a detector has found is looked at by itself.

use std::fs;

use serde_json::{Value, json};

use crate::harness::Place;

/// A run that tells colours, and a photo that is day on its left and night on its right, with a detector's boxes.
fn place() -> Place {
    let place = Place::new();
    place.photos(8);
    let quick = ["--model", "simple_cnn", "--image-size", "32", "--epochs", "4", "--precision", "f32"];
    place.done(&[&["train", "photos", "--out", "run"], &quick[..]].concat());
    place.photo("halves/day.png", 0, 50);
    place.photo("halves/night.png", 2, 51);
    let [day, night] = ["day", "night"]
        .map(|name| image::open(place.path(&format!("halves/{name}.png"))).unwrap().into_rgb8());
    let mut both = image::RgbImage::new(80, 36);
    image::imageops::replace(&mut both, &day, 0, 0);
    image::imageops::replace(&mut both, &night, 40, 0);
    fs::create_dir_all(place.path("new/A")).unwrap();
    for name in ["both", "empty", "person", "unknown"] {
        both.save(place.path(&format!("new/A/{name}.png"))).unwrap();
    }
    place.write("new/broken.jpg", "no photo");
    let found = |category: &str, conf: f64, x: f64| json!({ "category": category, "conf": conf, "bbox": [x, 0.0, 0.5, 1.0] });
    let images = json!([
        { "file": "A\\both.png", "detections": [
            found("1", 0.5, 0.0), found("1", 0.9, 0.5), found("1", 0.1, 0.25), found("2", 0.95, 0.0),
        ] },
        { "file": "A/empty.png", "detections": [] },
        { "file": "A/person.png", "detections": [found("2", 0.9, 0.0)] },
        { "file": "broken.jpg", "failure": "Failure image access" },
        { "file": "elsewhere.jpg", "detections": [] },
    ]);
    place.write("boxes.json", boxes(&images));
    place
}

fn boxes(images: &Value) -> String {
    let info = json!({ "format_version": "1.3", "detector": "MDv5" });
    json!({ "info": info, "detection_categories": { "1": "animal", "2": "person" }, "images": images })
        .to_string()
}

const CALL: [&str; 7] = ["predict", "run", "new", "--boxes", "boxes.json", "--box-margin", "0"];

fn rows(place: &Place, file: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(place.path(file)).unwrap();
    text.lines().skip(1).map(|row| row.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn each_box_has_classes_and_a_photo_those_of_its_surest() {
    let place = place();
    let formats = ["--out", "all", "--format", "csv,jsonl,megadetector"];
    place.snapshot_of_figures("predict_boxes", &[&CALL[..], &formats].concat());
    let ids = |rows: &[Vec<String>]| rows.iter().map(|row| row[0].clone()).collect::<Vec<_>>();
    let found = rows(&place, "all/predictions.csv");
    assert_eq!(ids(&found), ["A/both.png", "A/empty.png", "A/person.png", "A/unknown.png", "broken.jpg"]);
    // The halves are the pictures that a whole photo of each gives.
    place.done(&["predict", "run", "halves", "--out", "halves.csv"]);
    let halves = rows(&place, "halves.csv");
    assert_eq!(found[0][1..], halves[1][1..], "the surer box is the night");
    for (row, why) in found[1..].iter().zip([
        "the detector found no animal",
        "the detector found no animal",
        "the detector's file says nothing of it",
        "the detector could not read it: Failure image access",
    ]) {
        assert_eq!(row[1..], ["", "", "", "false", why]);
    }

    place.done(&["check", "all/megadetector.json", "--format", "megadetector"]);
    let text = fs::read_to_string(place.path("all/megadetector.json")).unwrap();
    let file: Value = serde_json::from_str(&text).unwrap();
    let images = file["images"].as_array().unwrap();
    let files: Vec<&str> = images.iter().filter_map(|image| image["file"].as_str()).collect();
    assert_eq!(files, ["A/both.png", "A/empty.png", "A/person.png", "broken.jpg"]);
    let detections = images[0]["detections"].as_array().unwrap();
    let conf: Vec<f64> = detections.iter().filter_map(|found| found["conf"].as_f64()).collect();
    assert_eq!(conf, [0.5, 0.9, 0.1, 0.95], "all that the detector said is kept");
    for (found, half) in detections.iter().zip(&halves) {
        for class in found["classifications"].as_array().unwrap() {
            let name = file["classification_categories"][class[0].as_str().unwrap()].as_str().unwrap();
            let column = 1 + ["day", "dusk", "night"].iter().position(|known| *known == name).unwrap();
            assert_eq!(class[1].as_f64().unwrap() as f32, half[column].parse::<f32>().unwrap());
        }
    }
    for doubtful in &detections[2..] {
        assert!(doubtful.get("classifications").is_none(), "{doubtful}");
    }
    assert_eq!(images[3]["failure"], "Failure image access");
}

#[test]
fn other_boxes_of_the_same_file_are_asked_anew() {
    let place = place();
    let call = |more: &[&'static str]| [&CALL[..], &["--out", "rows.csv"], more].concat();
    place.done(&call(&[]));
    let first = rows(&place, "rows.csv");
    let again = place.done(&call(&[])).stderr;
    assert!(again.contains("2 of 2 boxes are done already"), "{again}");
    // Another threshold asks for one box more, and leaves the answers to the others.
    let more = place.done(&call(&["--overwrite", "--box-threshold", "0.1"])).stderr;
    assert!(more.contains("2 of 3 boxes are done already"), "{more}");
    assert_eq!(rows(&place, "rows.csv"), first, "the surest is still the surest");
    // Another margin is another picture.
    let wider = [&CALL[..5], &["--out", "rows.csv", "--overwrite", "--box-margin", "0.2"]].concat();
    let told = place.done(&wider).stderr;
    assert!(!told.contains("done already"), "{told}");
    assert_ne!(rows(&place, "rows.csv")[0], first[0]);
    // A box that is elsewhere has the name of the earlier one.
    let moved = json!([{ "file": "A/both.png", "detections": [
        { "category": "1", "conf": 0.9, "bbox": [0.0, 0.0, 0.5, 1.0] },
    ] }]);
    place.write("boxes.json", boxes(&moved));
    place.done(&call(&["--overwrite"]));
    place.done(&["predict", "run", "halves", "--out", "halves.csv"]);
    assert_eq!(rows(&place, "rows.csv")[0][1..], rows(&place, "halves.csv")[0][1..]);
}

#[test]
fn a_photo_without_a_box_is_news() {
    let place = place();
    let call = [&CALL[..], &["--out", "rows.csv"]].concat();
    place.done(&call);
    fs::copy(place.path("new/A/empty.png"), place.path("new/A/late.png")).unwrap();
    let said = place.run(&call);
    assert!(said.code == Some(2) && said.stderr.contains("--overwrite"), "{}", said.stderr);
    place.done(&[&call[..], &["--overwrite"]].concat());
    assert!(rows(&place, "rows.csv").iter().any(|row| row[0] == "A/late.png"));
}

#[test]
fn a_box_outside_the_photo_leaves_the_others() {
    let place = place();
    let found = |x: f64| json!({ "category": "1", "conf": 0.9, "bbox": [x, 0.0, 0.5, 1.0] });
    place.write(
        "boxes.json",
        boxes(&json!([{ "file": "A/both.png", "detections": [found(0.0), found(2.0)] }])),
    );
    place.run(&[&CALL[..], &["--out", "all.json", "--format", "megadetector"]].concat());
    let file: Value = serde_json::from_slice(&fs::read(place.path("all.json")).unwrap()).unwrap();
    let image = &file["images"].as_array().unwrap()[0];
    assert!(image["failure"].is_null(), "{image}");
    let detections = image["detections"].as_array().unwrap();
    assert!(detections.len() == 2 && detections[0]["classifications"].is_array(), "{image}");
}

#[test]
fn photos_are_sorted_by_their_surest_box() {
    let place = place();
    place.done(&[&CALL[..], &["--out", "rows.csv", "--sort-into", "sorted"]].concat());
    for file in [
        "night/A/both.png",
        "no-animal/A/empty.png",
        "no-animal/A/person.png",
        "no-detection/A/unknown.png",
        "cannot-read/broken.jpg",
    ] {
        assert!(place.path("sorted").join(file).exists(), "{file}");
    }
}

#[test]
fn what_boxes_do_not_go_with() {
    let place = place();
    place.write("others.json", boxes(&json!([{ "file": "x/1.jpg", "detections": [] }])));
    place.write("empty.json", boxes(&json!([{ "file": "A/both.png", "detections": [] }])));
    let cases: [(&str, &[&str]); 5] = [
        ("boxes_without_out", &["--boxes", "boxes.json"]),
        ("boxes_no_file", &["--boxes", "none.json", "--out", "x.csv"]),
        ("boxes_of_other_photos", &["--boxes", "others.json", "--out", "x.csv"]),
        ("boxes_by_burst", &["--boxes", "boxes.json", "--out", "x.csv", "--by-burst", "mean"]),
        ("boxes_as_speciesnet", &["--boxes", "boxes.json", "--out", "x.json", "--format", "speciesnet"]),
    ];
    for (name, more) in cases {
        place.snapshot(name, &[&["predict", "run", "new"], more].concat());
    }
    assert!(!place.path("x.csv.journal").exists() && !place.path("x.json.journal").exists());
    // No box at all is an answer too.
    place.done(&["predict", "run", "new", "--boxes", "empty.json", "--out", "rows.csv"]);
    assert_eq!(rows(&place, "rows.csv").len(), 5);
}
