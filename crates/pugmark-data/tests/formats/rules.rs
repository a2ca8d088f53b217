//! The validators find what the specifications forbid, and nothing else.

use pugmark_data::formats::{Format, Severity, validate};

use crate::folder;

/// A valid file of each format; each case breaks it by replacing one text with another.
const MEGADETECTOR: &str = r#"{"info": {"format_version": "1.6"}, "detection_categories": {"1": "animal"},
 "classification_categories": {"0": "hog", "1": "cat"},
 "images": [{"file": "1.jpg", "detections": [{"category": "1", "conf": 0.5, "bbox": [0.1, 0.2, 0.3, 0.4],
   "classifications": [["0", 0.75], ["1", 0.25]]}]},
  {"file": "2.jpg", "detections": []}, {"file": "3.jpg", "detections": null, "failure": "no photo"}]}"#;

const COCO: &str = r#"{"info": {"version": "1"}, "categories": [{"id": 0, "name": "empty"}, {"id": 1, "name": "hog"}],
 "images": [{"id": "a", "file_name": "a.jpg", "location": "n", "width": 4, "height": 3, "datetime": "2021-02-03 04:05:06"},
  {"id": "b", "file_name": "b.jpg", "location": "n"}],
 "annotations": [{"id": "1", "image_id": "a", "category_id": 1, "bbox": [0, 0, 2, 2], "count": 1},
  {"id": "2", "image_id": "b", "category_id": 0}]}"#;

const SPECIESNET: &str = r#"{"predictions": [{"filepath": "1.jpg", "prediction": "u;;;;;;hog", "prediction_score": 0.9,
  "classifications": {"classes": ["u;;;;;;hog", "v;;;;;;cat"], "scores": [0.9, 0.1]},
  "detections": [{"category": "1", "label": "animal", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}]},
  {"filepath": "2.jpg", "failures": ["CLASSIFIER"]}]}"#;

/// Format, file, the file's name, what is replaced, by what, the rule.
type Case = (Format, &'static str, &'static str, &'static str, &'static str);

#[test]
fn rules_of_json_formats() {
    use Format::{Coco, MegaDetector, SpeciesNet};
    let cases: [Case; 41] = [
        (MegaDetector, MEGADETECTOR, "\"1.6\"", "1.6", "format-version-text"),
        (MegaDetector, MEGADETECTOR, "\"1.6\"", "\"1.2\"", "format-version"),
        (MegaDetector, MEGADETECTOR, "\"format_version\": \"1.6\"", "", "format-version"),
        (MegaDetector, MEGADETECTOR, "\"info\"", "\"inf\"", "required-keys"),
        (MegaDetector, MEGADETECTOR, "\"1\": \"animal\"", "\"one\": \"animal\"", "category-id"),
        (MegaDetector, MEGADETECTOR, "\"1\": \"animal\"", "\"1\": \" \"", "category-name"),
        (MegaDetector, MEGADETECTOR, "\"category\": \"1\"", "\"category\": 1", "detection-category"),
        (MegaDetector, MEGADETECTOR, "\"category\": \"1\"", "\"category\": \"4\"", "category-unknown"),
        (MegaDetector, MEGADETECTOR, "\"conf\": 0.5", "\"conf\": 1", "conf-float"),
        (MegaDetector, MEGADETECTOR, "\"conf\": 0.5", "\"conf\": 1.5", "conf-range"),
        (MegaDetector, MEGADETECTOR, "[0.1, 0.2, 0.3, 0.4]", "[1, 2, 30, 40]", "box-range"),
        (MegaDetector, MEGADETECTOR, "[0.1, 0.2, 0.3, 0.4]", "[0.1, 0.2]", "box-numbers"),
        (MegaDetector, MEGADETECTOR, "[\"0\", 0.75]", "[0, 0.75]", "classification"),
        (MegaDetector, MEGADETECTOR, "[\"0\", 0.75]", "[\"0\", 0.2]", "classification-order"),
        (MegaDetector, MEGADETECTOR, "[\"0\", 0.75]", "[\"7\", 0.75]", "category-unknown"),
        (MegaDetector, MEGADETECTOR, "\"detections\": null", "\"detections\": []", "failure-and-detections"),
        (MegaDetector, MEGADETECTOR, "\"detections\": []", "\"detections\": null", "detections-list"),
        (MegaDetector, MEGADETECTOR, "\"no photo\"", "7", "failure-text"),
        (MegaDetector, MEGADETECTOR, "\"2.jpg\"", "\"1.jpg\"", "file-twice"),
        (MegaDetector, MEGADETECTOR, "\"file\": \"2.jpg\"", "\"f\": \"2.jpg\"", "file"),
        (MegaDetector, MEGADETECTOR, "2.jpg", "2.mp4", "video-fields"),
        (MegaDetector, MEGADETECTOR, "]}", "]", "json"),
        (Coco, COCO, "\"id\": \"b\"", "\"id\": \"a\"", "image-id-twice"),
        (Coco, COCO, "\"id\": \"2\"", "\"id\": \"1\"", "annotation-id-twice"),
        (Coco, COCO, "\"id\": \"2\"", "\"id\": null", "id"),
        (Coco, COCO, "\"image_id\": \"b\"", "\"image_id\": \"c\"", "image-unknown"),
        (Coco, COCO, "\"category_id\": 1", "\"category_id\": 5", "category-unknown"),
        (Coco, COCO, "\"width\": 4, ", "", "size"),
        (Coco, COCO, "\"location\": \"n\"}", "\"sequence\": 3}", "sequence-key"),
        (Coco, COCO, "2021-02-03 04:05:06", "yesterday", "datetime"),
        (Coco, COCO, "\"id\": 1, \"name\"", "\"id\": \"1\", \"name\"", "category-id"),
        (Coco, COCO, "\"name\": \"hog\"", "\"name\": \"empty\"", "category-name-twice"),
        (Coco, COCO, "[0, 0, 2, 2]", "[0, 0, -2, 2]", "bbox"),
        (Coco, COCO, "\"count\": 1", "\"count\": \"one\"", "count"),
        (Coco, COCO, "\"annotations\"", "\"annotation\"", "required-keys"),
        (SpeciesNet, SPECIESNET, "\"prediction\": \"u;;;;;;hog\"", "\"prediction\": \"hog\"", "label-parts"),
        (SpeciesNet, SPECIESNET, ", \"prediction_score\": 0.9", "", "score-missing"),
        (SpeciesNet, SPECIESNET, "[0.9, 0.1]", "[0.1, 0.9]", "classification-order"),
        (SpeciesNet, SPECIESNET, "[0.9, 0.1]", "[0.9]", "classifications"),
        (SpeciesNet, SPECIESNET, "CLASSIFIER", "BATTERY", "failures"),
        (SpeciesNet, SPECIESNET, "2.jpg", "1.jpg", "filepath-twice"),
    ];
    for (format, file, from, to, rule) in cases {
        let data = folder(&[("good.json", file), ("bad.json", &file.replacen(from, to, 1))]);
        let good = validate(&data.path().join("good.json"), format).unwrap();
        assert!(good.findings.is_empty(), "{good}");
        let bad = validate(&data.path().join("bad.json"), format).unwrap();
        assert_ne!(file.replacen(from, to, 1), file, "`{from}` is not in the file");
        let found = bad.findings.iter().find(|finding| finding.rule == rule);
        assert!(found.is_some_and(|one| one.severity == Severity::Error), "{rule}: {bad}");
        assert!(!bad.is_valid());
    }
}

#[test]
fn rules_of_csv_formats() {
    let cases = [
        (Format::Csv, "filepath,label\n1.jpg,hog\n", "label", "class", "column-missing"),
        (Format::Csv, "filepath,label\n1.jpg,hog\n2.jpg,hog\n", "2.jpg", "1.jpg", "name-twice"),
        (Format::Csv, "filepath,label\n1.jpg,hog\n", ",hog", ",", "label-missing"),
        (Format::Csv, "filepath,label,split\n1.jpg,hog,val\n", "val\n", "maybe\n", "split"),
        (Format::Csv, "filepath,label\n1.jpg,hog\n", "hog\n", "hog,x\n", "row-length"),
        (Format::Csv, "filepath,label\n1.jpg,hog\n", "1.jpg,hog\n", "", "no-rows"),
        (
            Format::PytorchWildlife,
            "path,classification,label\n1.jpg,0,hog\n2.jpg,1,cat\n",
            "1,cat",
            "0,cat",
            "classification-label",
        ),
        (
            Format::PytorchWildlife,
            "path,classification,label\n1.jpg,0,hog\n",
            "0,hog",
            "x,hog",
            "classification",
        ),
        (
            Format::PytorchWildlife,
            "path,classification,label,Photo_time\n1.jpg,0,hog,\n",
            "hog,\n",
            "hog,noon\n",
            "photo-time",
        ),
        (Format::OneHot, "id,a,b\n1,1.0,0\n", "1.0", "0.5", "one-hot-value"),
        (Format::OneHot, "id,a,b\n1,1.0,0\n", "1.0", "0", "one-hot"),
        (Format::OneHot, "id,a,b\n1,1.0,0\n", "id,", "name,", "id-first"),
        (Format::Submission, "id,a,b\n1,0.25,0.75\n", "0.25", "0.5", "sum"),
        (Format::Submission, "id,a,b\n1,0.25,0.75\n", "0.25", "", "class-value"),
        (
            Format::Predictions,
            "id,a,b,truncated,reason\n1,0.25,0.75,false,\n",
            "false,",
            "false,broken",
            "reason",
        ),
        (
            Format::Predictions,
            "id,a,b,truncated,reason\n1,0.25,0.75,false,\n",
            "truncated,",
            "cut,",
            "columns",
        ),
        (
            Format::ZambaPredictions,
            "filepath,detection_category,detection_conf,x1,y1,x2,y2,hog\n1.jpg,1,0.5,0,0,9,9,1\n",
            "0,0,9,9",
            "0,10,9,9",
            "box",
        ),
    ];
    for (format, file, from, to, rule) in cases {
        let data = folder(&[("good.csv", file), ("bad.csv", &file.replacen(from, to, 1))]);
        let good = validate(&data.path().join("good.csv"), format).unwrap();
        assert!(good.findings.is_empty(), "{good}");
        let bad = validate(&data.path().join("bad.csv"), format).unwrap();
        assert!(
            bad.findings.iter().any(|one| one.rule == rule && one.severity == Severity::Error),
            "{rule}: {bad}"
        );
    }
}

#[test]
fn a_report_counts_by_rule() {
    let rows: String = (0..9).map(|row| format!("{row}.jpg,\n")).collect();
    let data = folder(&[("labels.csv", &format!("filepath,label\n{rows}"))]);
    let report = validate(&data.path().join("labels.csv"), Format::Csv).unwrap();
    assert_eq!(report.findings.len(), 1);
    assert_eq!((report.findings[0].count, report.findings[0].places.len(), report.entries), (9, 5, 9));
    let said = report.to_string();
    assert!(said.contains("is not valid as table of labels: 9 entries, 1 error, 0 warnings"), "{said}");
    assert!(said.contains("at row 2, row 3, row 4, row 5, row 6 and 4 more"), "{said}");
    let report = validate(&data.path().join("no.csv"), Format::Csv);
    assert!(report.is_err());
    assert!(validate(data.path(), Format::Folders).is_err());
}
