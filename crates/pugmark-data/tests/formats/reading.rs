//! What the readers make of files as they are found.

use pugmark_data::formats::{Area, Format, Label, Method, TableOptions, detect, read_table};
use pugmark_data::{ReadOptions, read as read_dataset, read_labels};

use crate::{folder, read, words};

#[test]
fn formats_are_found_by_their_contents() {
    let cases = [
        ("a.json", "{\"images\": [{\"x\": [1, 2]}], \"annotations\": 3}", Format::Coco),
        ("b.json", "{\"info\": {}, \"images\": [], \"detection_categories\": {}}", Format::MegaDetector),
        ("c.JSON", "\u{feff}{\"predictions\": []}", Format::SpeciesNet),
        ("d.json", "{\"name\": \"x\", \"resources\": []}", Format::CamtrapDp),
        ("e.csv", "filepath,label\n", Format::Csv),
        ("f.csv", "path,classification,label\n", Format::PytorchWildlife),
        ("g.csv", "id,hog,duiker\n", Format::OneHot),
        ("h.csv", "id,hog,truncated,reason\n", Format::Predictions),
        (
            "i.csv",
            ",filepath,x1,y1,x2,y2,species_hog,detection_category,detection_conf\n",
            Format::ZambaPredictions,
        ),
        ("j/datapackage.json", "", Format::CamtrapDp),
        ("k/train_labels.csv", "id,hog,duiker\n", Format::OneHot),
        ("l/hog/1.jpg", "", Format::Folders),
    ];
    let data = folder(&cases.map(|(name, content, _)| (name, content)));
    for (name, _, format) in cases {
        let path = data.path().join(name.split_once('/').map_or(name, |(folder, _)| folder));
        assert_eq!(detect(&path).unwrap(), format, "{name}");
    }
}

const OLD_COCO: &str = r#"{
 "categories": [{"id": 0, "name": "Empty"}, {"id": 7, "name": "hog"}, {"id": 9, "name": "duiker"}, {"id": 11, "name": "unused"}],
 "images": [
  {"id": 1, "file_name": "a\\b\\1.jpg", "location": 26, "seq_id": 5, "frame_num": 1, "datetime": "2012-02-03 04:05:06",
   "width": 200, "height": 100, "anything": {"else": null}},
  {"id": 2, "file_name": "a/b/2.jpg", "location": 26, "datetime": "0000-00-00 00:00:00"},
  {"id": 3, "file_name": "a/b/3.jpg"},
  {"id": 4, "file_name": "a/b/4.jpg", "corrupt": true},
  {"id": 5, "file_name": "a/b/5.jpg"}
 ],
 "annotations": [
  {"id": 10, "image_id": 1, "category_id": 7, "bbox": [20, 10, 100, 50], "count": 2},
  {"id": 11, "image_id": 2, "category_id": 0},
  {"id": 12, "image_id": 3, "category_id": 7, "sequence_level_annotation": true, "bbox": [1, 2, 3, 4]},
  {"id": 13, "image_id": 3, "category_id": 9}
 ]}"#;

#[test]
fn an_old_coco_file() {
    let photos = ["1", "2", "3", "4", "5"].map(|name| format!("a/b/{name}.jpg"));
    let mut files: Vec<(&str, &str)> = photos.iter().map(|photo| (photo.as_str(), "")).collect();
    files.push(("old.json", OLD_COCO));
    let data = folder(&files);
    let table = read(&data.path().join("old.json")).unwrap();
    let expected: [(&str, Vec<&str>); 5] = [
        ("a/b/1.jpg", vec!["hog"]),
        ("a/b/2.jpg", vec!["-"]),
        ("a/b/3.jpg", vec!["hog", "duiker"]),
        ("a/b/4.jpg", vec![]),
        ("a/b/5.jpg", vec![]),
    ];
    assert_eq!(words(&table), expected);
    let first = &table.photos[0];
    assert_eq!(first.annotations[0].area, Some(Area { x: 0.1, y: 0.1, width: 0.5, height: 0.5 }));
    assert_eq!(
        (first.annotations[0].count, first.frame, first.key.as_deref()),
        (Some(2), Some(1), Some("1"))
    );
    assert_eq!((first.site.as_deref(), first.sequence.as_deref()), (Some("26"), Some("5")));
    let notes: Vec<_> = table.notes.iter().map(|note| (note.text.as_str(), note.items.len())).collect();
    assert_eq!(
        notes,
        [
            ("the box is left out, the size of its photo not being known: 1 annotation", 1),
            ("the time is not understood and left out: 1 photo", 1),
            ("said of whole sequences, not of single photos: 1 label", 0),
            ("`empty` (COCO Camera Traps) is read as an empty frame: 1 photo", 0),
        ]
    );
    let dataset = read_dataset(&data.path().join("old.json"), &ReadOptions::default()).unwrap();
    assert_eq!(dataset.classes, ["blank", "hog"], "unused categories are no classes");
    assert_eq!(dataset.samples.len(), 2);
    assert_eq!(dataset.samples[0].time.unwrap().to_string(), "2012-02-03T04:05:06");
    let notes: Vec<_> = dataset.notes.iter().flat_map(|note| &note.items).map(String::as_str).collect();
    assert_eq!(
        notes[2..],
        ["a/b/3.jpg (hog, duiker)", "a/b/5.jpg", "a/b/4.jpg (marked as corrupt)"],
        "each photo that is not used is listed once"
    );
}

#[test]
fn the_word_for_an_empty_frame_is_a_setting() {
    let labels = "filepath,label\n1.jpg,hog\n2.jpg,nothing\n3.jpg,Blank\n";
    let data = folder(&[("labels.csv", labels)]);
    let path = data.path().join("labels.csv");
    let table = read(&path).unwrap();
    assert_eq!(
        words(&table).into_iter().map(|(_, words)| words[0]).collect::<Vec<_>>(),
        ["hog", "nothing", "-"]
    );
    let note = table.notes.iter().find(|note| note.text.contains("--blank-word \"nothing\"")).unwrap();
    assert_eq!(note.items, ["nothing"]);
    let options = TableOptions { blank_word: Some("nothing".into()), ..TableOptions::default() };
    let table = read_table(&path, None, &options).unwrap();
    assert_eq!(
        words(&table).into_iter().map(|(_, words)| words[0]).collect::<Vec<_>>(),
        ["hog", "-", "Blank"]
    );
    assert!(
        table.notes[0].text.starts_with("`nothing` (table of labels) is read as an empty frame: 1 photo")
    );
}

#[test]
fn megadetector_results() {
    let results = r#"{"info": {"format_version": 1.3, "detector": "md_v5a",
        "detector_metadata": {"typical_detection_threshold": 0.5}},
        "detection_categories": {"1": "animal", "2": "person"},
        "images": [
         {"file": "a\\1.jpg", "max_detection_conf": 0.9, "detections": [
           {"category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.3, 0.4]}, {"category": "2", "conf": 0.3, "bbox": [0, 0, 1, 1]}]},
         {"file": "a/2.jpg", "detections": []},
         {"file": "a/3.jpg", "detections": null, "failure": "Failure image access"},
         {"file": "a/4.jpg", "detections": [{"category": "1", "conf": 0.2, "bbox": [0.1, 0.2, 0.3, 0.4]}]},
         {"file": "a/5.mp4", "frame_rate": 30, "detections": []}]}"#;
    let data = folder(&[("md.json", results)]);
    let path = data.path().join("md.json");
    let table = read(&path).unwrap();
    assert_eq!(table.photos[0].annotations.len(), 2);
    assert_eq!(table.photos[0].annotations[0].by.as_deref(), Some("md_v5a"));
    assert_eq!(table.photos[2].failure.as_deref(), Some("Failure image access"));
    let dataset = read_labels(&path, &ReadOptions::default()).unwrap();
    let named: Vec<_> = dataset
        .samples
        .iter()
        .map(|sample| (sample.id.as_str(), dataset.classes[sample.class.unwrap()].as_str()))
        .collect();
    assert_eq!(named, [("a/1.jpg", "animal"), ("a/2.jpg", "blank")]);
    let listed: Vec<_> = dataset.notes.iter().flat_map(|note| &note.items).collect();
    assert_eq!(listed, ["a/5.mp4", "a/4.jpg", "a/3.jpg (Failure image access)"]);
}

#[test]
fn speciesnet_predictions() {
    let file = r#"{"predictions": [
      {"filepath": "1.jpg", "classifications": {"classes": ["x;mammalia;;;;;wild boar", "y;;;;;;blank"], "scores": [0.9, 0.1]},
       "detections": [{"category": "1", "label": "animal", "conf": 0.8, "bbox": [0.1, 0.1, 0.2, 0.2]}],
       "prediction": "x;mammalia;;;;;wild boar", "prediction_score": 0.9, "prediction_source": "classifier", "model_version": "4.0.1a"},
      {"filepath": "2.jpg", "prediction": "f1856211-cfb7-4a5b-9158-c0f72fd09ee6;;;;;;blank", "prediction_score": 0.7},
      {"filepath": "3.jpg", "prediction": "z;aves;;;;;", "prediction_score": 0.6},
      {"filepath": "4.jpg", "failures": ["DETECTOR", "CLASSIFIER"]}]}"#;
    let data = folder(&[("predictions.json", file)]);
    let table = read(&data.path().join("predictions.json")).unwrap();
    let expected: [(&str, Vec<&str>); 4] =
        [("1.jpg", vec!["wild boar"]), ("2.jpg", vec!["-"]), ("3.jpg", vec!["aves"]), ("4.jpg", vec![])];
    assert_eq!(words(&table), expected);
    let first = &table.photos[0];
    assert_eq!(first.annotations[0].scores[1], (Label::Blank, 0.1));
    assert_eq!(first.annotations[1].detection.as_ref().unwrap().confidence, 0.8);
    assert_eq!(first.annotations[0].by.as_deref(), Some("4.0.1a"));
    assert_eq!(table.photos[3].failure.as_deref(), Some("DETECTOR, CLASSIFIER"));
}

#[test]
fn predictions_of_pugmark_and_zamba() {
    let own = "id,blank,hog,truncated,reason\n1.jpg,0.25,0.75,true,\n2.jpg,,,false,empty file\n";
    let zamba = "filepath,detection_category,detection_conf,x1,y1,x2,y2,hog,species_cat\n\
        1.png,1,0.9,0,5,10,15,0.2,0.8\n1.png,animal,0.8,1,1,2,2,0.6,0.4\ngone.png,1,0.5,0,0,1,1,0.5,0.5\n";
    let data = folder(&[("own.csv", own), ("zamba.csv", zamba)]);
    image::RgbImage::new(20, 20).save(data.path().join("1.png")).unwrap();
    let options = TableOptions { model: Some("run 3".into()), ..TableOptions::default() };
    let table = read_table(&data.path().join("own.csv"), None, &options).unwrap();
    let one = &table.photos[0].annotations[0];
    assert_eq!(
        (one.confidence, one.method, one.by.as_deref()),
        (Some(0.75), Some(Method::Machine), Some("run 3"))
    );
    assert_eq!(one.scores.last(), Some(&(Label::Blank, 0.25)));
    assert_eq!(table.photos[1].failure.as_deref(), Some("empty file"));
    assert_eq!(table.notes[0].items, ["1.jpg"], "cut off");

    let table = read(&data.path().join("zamba.csv")).unwrap();
    assert_eq!(words(&table), [("1.png", vec!["cat", "hog"]), ("gone.png", vec!["hog"])]);
    assert_eq!(table.photos[0].annotations[0].area, Some(Area { x: 0.0, y: 0.25, width: 0.5, height: 0.5 }));
    assert_eq!(table.notes[0].items, ["gone.png"]);
}

#[test]
fn pytorch_wildlife_labels_have_times() {
    let labels = "path,classification,label,Location,Photo_time\n1.jpg,0,hog,north,2021-03-04 05:06:07\n2.jpg,1,cat,south,\n";
    let data = folder(&[("labels.csv", labels), ("1.jpg", ""), ("2.jpg", "")]);
    let dataset = read_dataset(&data.path().join("labels.csv"), &ReadOptions::default()).unwrap();
    assert_eq!(dataset.samples[0].time.unwrap().to_string(), "2021-03-04T05:06:07");
    assert_eq!((dataset.samples[1].time, dataset.samples[1].site.as_deref()), (None, Some("south")));
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let coco = |images: &str, annotations: &str| {
        format!(
            "{{\"categories\": [{{\"id\": 1, \"name\": \"hog\"}}], \"images\": [{images}], \"annotations\": [{annotations}]}}"
        )
    };
    let photo = r#"{"id": "a", "file_name": "1.jpg"}"#;
    let md =
        |images: &str| format!("{{\"detection_categories\": {{\"1\": \"animal\"}}, \"images\": [{images}]}}");
    let cases = [
        ("cut.json", "{\"images\": [".to_owned(), "line 1 column 12"),
        ("list.json", "[1, 2]".to_owned(), "line 1 column"),
        ("keys.json", "{\"photos\": 1}".to_owned(), "its keys are photos"),
        ("twice.json", coco(&format!("{photo},{photo}"), ""), "images[1]: id `a` is already that of images[0]"),
        (
            "file.json",
            coco(&format!(r#"{photo},{{"id": "b", "file_name": "./1.jpg"}}"#), ""),
            "images[1]: `1.jpg` is already images[0]",
        ),
        ("image.json", coco(photo, r#"{"id": "x", "image_id": "b", "category_id": 1}"#), "annotations[0]: image_id `b`"),
        ("class.json", coco(photo, r#"{"id": "x", "image_id": "a", "category_id": 2}"#), "annotations[0]: category_id `2`"),
        (
            "box.json",
            coco(photo, r#"{"id": "x", "image_id": "a", "category_id": 1, "bbox": [1, 2]}"#),
            "annotations[0]: a box is not four numbers",
        ),
        ("field.json", coco("{\"id\": 1}", ""), "missing field `file_name`"),
        ("neither.json", md(r#"{"file": "1.jpg"}"#), "images[0]: neither `detections` nor `failure`"),
        (
            "category.json",
            md(r#"{"file": "1.jpg", "detections": [{"category": "3", "conf": 0.5}]}"#),
            "images[0]: category `3` is not in",
        ),
        ("score.csv", "id,a,b,truncated,reason\n1.jpg,0.5,2,false,\n".to_owned(), "row 2, column `b`: `2` is no probability"),
        (
            "scores.json",
            r#"{"predictions": [{"filepath": "1.jpg", "classifications": {"classes": ["a"], "scores": []}}]}"#.to_owned(),
            "predictions[0].classifications: 1 classes have 0 scores",
        ),
        ("time.csv", "path,label,photo_time\n1.jpg,hog,noon\n".to_owned(), "row 2, column `photo_time`: `noon` is not a time"),
        ("columns.csv", "photo,kind\n".to_owned(), "its columns are photo, kind"),
    ];
    for (name, content, said) in cases {
        let data = folder(&[(name, &content)]);
        let error = read(&data.path().join(name)).unwrap_err();
        assert!(error.to_string().contains(said), "{name}: {error}");
        assert!(error.to_string().contains(name), "{name}: {error}");
        assert!(error.hint().is_some(), "{name}");
    }
}

#[test]
fn what_is_wrong_in_a_camtrap_dp_package() {
    let deployments = "deploymentID,latitude,longitude\nd1,1.5,2.5\n";
    let media = "mediaID,deploymentID,timestamp,filePath,fileMediatype\nm1,d1,2021-03-04T05:06:07Z,1.jpg,image/jpeg\n";
    let observations = "observationID,mediaID,observationType\no1,m1,animal\n";
    let cases = [
        ("datapackage.json", "{", "EOF"),
        ("deployments.csv", "id\nd1\n", "no column deploymentID"),
        (
            "deployments.csv",
            "deploymentID,latitude\nd1,north\n",
            "row 2, column `latitude`: `north` cannot be read",
        ),
        ("deployments.csv", "deploymentID\nd1\nd1\n", "row 3: a second deployment `d1`"),
        (
            "media.csv",
            "mediaID,deploymentID,filePath\nm1,d1,1.jpg\nm1,d1,2.jpg\n",
            "row 3: a second medium `m1`",
        ),
        (
            "media.csv",
            "mediaID,deploymentID,timestamp,filePath\nm1,d1,noon,1.jpg\n",
            "column `timestamp`: `noon`",
        ),
        (
            "observations.csv",
            "observationID,mediaID,observationType\no1,m2,animal\n",
            "row 2: mediaID `m2` is not",
        ),
        (
            "observations.csv",
            "mediaID,observationType\nm1,beast\n",
            "row 2, column `observationType`: `beast`",
        ),
    ];
    for (name, content, said) in cases {
        let data = folder(&[
            ("datapackage.json", "{\"resources\": []}"),
            ("deployments.csv", deployments),
            ("media.csv", media),
            ("observations.csv", observations),
        ]);
        assert_eq!(words(&read(data.path()).unwrap()), [("1.jpg", vec!["animal"])]);
        std::fs::write(data.path().join(name), content).unwrap();
        let error = read(data.path()).unwrap_err();
        assert!(error.to_string().contains(said) && error.to_string().contains(name), "{error}");
        assert!(error.hint().is_some());
    }
}

#[test]
fn a_prepared_folder_is_told_from_others() {
    let data = folder(&[("prepare.json", "{}"), ("index.json", "{}"), ("hog/1.jpg", "")]);
    assert_eq!(detect(data.path()).unwrap(), Format::Prepared);
}
