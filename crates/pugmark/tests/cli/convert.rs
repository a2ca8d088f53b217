//! `pugmark convert`: formats are found, written and refused as they should be.

use crate::harness::Place;

const LABELS: &str =
    "filepath,label,site\nnorth/1.jpg,duiker,north\nnorth/2.jpg,blank,north\nsouth/1.jpg,hog,south\n";

const PREDICTIONS: &str = "id,blank,duiker,hog,truncated,reason\n\
    north/1.jpg,0.1,0.7,0.2,false,\nnorth/2.jpg,0.8,0.1,0.1,true,\nsouth/1.jpg,,,,false,not a photo\n";

fn place() -> Place {
    let place = Place::new();
    place.write("labels.csv", LABELS);
    place.write("predictions.csv", PREDICTIONS);
    place
}

#[test]
fn labels_and_predictions() {
    let place = place();
    place.snapshot("convert_labels", &["convert", "labels.csv", "--to", "coco", "--out", "labels.json"]);
    let coco = std::fs::read_to_string(place.path("labels.json")).unwrap();
    assert!(coco.contains("\"name\": \"empty\"") && !coco.contains("blank"), "{coco}");
    place.snapshot("convert_back", &["convert", "labels.json", "--to", "zamba", "--out", "again.csv"]);
    assert_eq!(std::fs::read_to_string(place.path("again.csv")).unwrap(), LABELS);
    let call =
        ["convert", "predictions.csv", "--to", "megadetector", "--model", "taï 1", "--out", "results.json"];
    place.snapshot("convert_predictions", &call);
    let results = std::fs::read_to_string(place.path("results.json")).unwrap();
    for part in [
        "\"format_version\": \"1.6\"",
        "\"classifier\": \"taï 1\"",
        "\"conf\": 1.0",
        "\"detections\": []",
        "\"detections\": null,\n      \"failure\": \"not a photo\"",
    ] {
        assert!(results.contains(part), "{part} is not in {results}");
    }
}

#[test]
fn what_stops_a_conversion() {
    let place = place();
    place.write("other.json", "{\"photos\": []}");
    place.write("broken.json", "{\"images\": [{\"file_name\": 3}], \"categories\": []}");
    place.write("format.csv", "id,blank,hog\n1,0.5,0.5\n");
    place.write("test_features.csv", "id,filepath,site\n");
    let cases: [(&str, &[&str]); 10] = [
        ("convert_features_exist", &["labels.csv", "--to", "one-hot", "--out", "test_labels.csv"]),
        ("convert_exists", &["labels.csv", "--to", "coco", "--out", "predictions.csv"]),
        ("convert_no_such", &["label.csv", "--to", "coco", "--out", "x.json"]),
        ("convert_unknown", &["other.json", "--to", "coco", "--out", "x.json"]),
        ("convert_no_json", &["broken.json", "--to", "csv", "--out", "x.csv"]),
        ("convert_no_metadata", &["labels.csv", "--to", "camtrap-dp", "--out", "package"]),
        ("convert_one_hot_name", &["labels.csv", "--to", "one-hot", "--out", "x.csv"]),
        ("convert_no_submission_format", &["predictions.csv", "--to", "submission", "--out", "x.csv"]),
        (
            "convert_other_classes",
            &["predictions.csv", "--to", "submission", "--submission-format", "format.csv", "--out", "x.csv"],
        ),
        ("convert_timezone", &["labels.csv", "--to", "camtrap-dp", "--timezone", "CET", "--out", "package"]),
    ];
    for (name, arguments) in cases {
        place.snapshot(name, &[&["convert"], arguments].concat());
    }
    for left in ["x.json", "x.csv", "package", ".x.csv.new"] {
        assert!(!place.path(left).exists(), "{left} was left behind");
    }
    assert_eq!(std::fs::read_to_string(place.path("predictions.csv")).unwrap(), PREDICTIONS);
}
