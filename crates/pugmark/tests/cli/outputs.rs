//! What `pugmark predict --out` writes besides its CSV, and photos sorted by class.

use std::fs;
use std::path::Path;

use crate::harness::Place;

/// A trained run, and photos of two sites; one is broken.
fn place() -> Place {
    let place = Place::new();
    place.photos(6);
    let train =
        ["train", "photos", "--out", "run", "--model", "simple_cnn", "--image-size", "32", "--epochs", "3"];
    place.done(&train);
    for (class, name) in (0..).zip(["A/1.png", "A/2.png", "B/1.png"]) {
        place.photo(&format!("new/{name}"), class, 70);
    }
    place.write("new/B/broken.jpg", "no photo");
    place
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        match path.is_dir() {
            true => found.extend(files(&path).into_iter().map(|below| format!("{name}/{below}"))),
            false => found.push(name),
        }
    }
    found.sort();
    found
}

#[test]
fn every_format_is_valid_and_says_the_same() {
    let place = place();
    let formats = "csv,jsonl,megadetector,speciesnet";
    place.done(&["predict", "run", "new", "--out", "all", "--format", formats]);
    assert_eq!(
        files(&place.path("all")),
        ["megadetector.json", "predictions.csv", "predictions.jsonl", "speciesnet.json"]
    );
    for (format, file) in [
        ("predictions", "predictions.csv"),
        ("megadetector", "megadetector.json"),
        ("speciesnet", "speciesnet.json"),
    ] {
        place.done(&["check", &format!("all/{file}"), "--format", format]);
    }
    let rows = fs::read_to_string(place.path("all/predictions.csv")).unwrap();
    let objects = fs::read_to_string(place.path("all/predictions.jsonl")).unwrap();
    assert_eq!((rows.lines().count(), objects.lines().count()), (5, 4));
    for (row, object) in rows.lines().skip(1).zip(objects.lines()) {
        let object: serde_json::Value = serde_json::from_str(object).unwrap();
        let cells: Vec<&str> = row.split(',').collect();
        assert_eq!(object["id"], cells[0]);
        for (cell, class) in cells[1..].iter().zip(["day", "dusk", "night"]) {
            let probability = object["probabilities"][class].as_f64();
            assert_eq!(probability.map(|p| p as f32), cell.parse::<f32>().ok(), "{class} of {row}");
        }
    }
    // What convert makes of the CSV, but for the name of the model.
    let convert = ["convert", "all/predictions.csv", "--to", "megadetector", "--out", "converted.json"];
    place.done(&convert);
    let images = |file: &str| {
        let text = fs::read_to_string(place.path(file)).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["images"].take()
    };
    assert_eq!(images("all/megadetector.json"), images("converted.json"));
}

#[test]
fn a_submission_of_other_photos_keeps_the_journal() {
    let place = place();
    let call = ["predict", "run", "new", "--out", "sub.csv", "--format", "submission"];
    place.write("format.csv", "id,night,day,dusk\nA/1,0,0,0\nC/9,0,0,0\n");
    let call = [&call[..], &["--submission-format", "format.csv"]].concat();
    place.snapshot("predict_submission_of_others", &call);
    assert!(!place.path("sub.csv").exists());
    place.write("format.csv", "id,night,day,dusk\nB/1,0,0,0\nA/1,0,0,0\n");
    let told = place.done(&call).stderr;
    assert!(told.contains("4 of 4 photos are done already"), "{told}");
    let rows = fs::read_to_string(place.path("sub.csv")).unwrap();
    assert!(rows.starts_with("id,night,day,dusk\nB/1,"), "{rows}");
    place.done(&["check", "sub.csv", "--format", "submission"]);
    assert_eq!(files(&place.path("")).iter().filter(|file| file.starts_with(".sub")).count(), 0);
}

#[test]
fn what_formats_need_is_told_before_the_work() {
    let place = place();
    let call = |more: &[&'static str]| [&["predict", "run", "new", "--out", "x", "--format"], more].concat();
    place.snapshot("predict_submission_without_format", &call(&["csv,submission"]));
    place.snapshot("predict_camtrap_without_file", &call(&["camtrap-dp", "--metadata", "none.toml"]));
    place.write("x/mine.txt", "mine");
    place.snapshot("predict_format_into_a_folder", &call(&["jsonl", "--overwrite"]));
    assert!(!place.path("x.journal").exists());
}

/// The same call again changes nothing, and a file that is missing is written again, without a look at a photo.
#[test]
fn a_call_is_repeated() {
    let place = place();
    let call = ["predict", "run", "new", "--out", "all", "--format", "csv,jsonl,megadetector"];
    place.done(&call);
    let csv = fs::read(place.path("all/predictions.csv")).unwrap();
    place.write("all/megadetector.json", "mine by now");
    fs::remove_file(place.path("all/predictions.csv")).unwrap();
    let told = place.done(&call).stderr;
    assert!(told.contains("4 of 4 photos are done already"), "{told}");
    assert_eq!(fs::read(place.path("all/predictions.csv")).unwrap(), csv);
    assert_eq!(fs::read_to_string(place.path("all/megadetector.json")).unwrap(), "mine by now");
    // As after a kill between two of the files.
    let journal = fs::read_to_string(place.path("all.journal")).unwrap();
    let begun = journal.lines().filter(|line| !line.starts_with("{\"written\":true"));
    place.write("all.journal", begun.map(|line| line.to_owned() + "\n").collect::<String>());
    place.done(&call);
    place.done(&["check", "all/megadetector.json", "--format", "megadetector"]);
    // Another call on the same files is refused.
    let other = ["predict", "run", "new", "--out", "all", "--format", "csv,jsonl"];
    assert_eq!(place.run(&other).code, Some(2));
}

#[test]
fn a_file_where_a_folder_is_needed() {
    let place = place();
    place.write("rows.csv", "mine");
    place.snapshot(
        "predict_formats_into_a_file",
        &["predict", "run", "new", "--out", "rows.csv", "--format", "csv,jsonl", "--overwrite"],
    );
    assert_eq!(fs::read_to_string(place.path("rows.csv")).unwrap(), "mine");
}

#[test]
fn photos_into_folders() {
    let place = place();
    let sort = |out: &str, more: &[&str]| {
        place.run(&[&["predict", "run", "new", "--out", out, "--sort-into"], more].concat())
    };
    assert_eq!(sort("rows.csv", &["sorted"]).code, Some(0));
    let rows = fs::read_to_string(place.path("rows.csv")).unwrap();
    let sorted_as = |row: &str| {
        let cells: Vec<&str> = row.split(',').collect();
        let probabilities: Vec<f32> = cells[1..4].iter().filter_map(|cell| cell.parse().ok()).collect();
        let most = probabilities.iter().copied().fold(0.0, f32::max);
        let class = probabilities
            .iter()
            .position(|&p| p == most)
            .map_or("cannot-read", |at| ["day", "dusk", "night"][at]);
        format!("{class}/{}", cells[0])
    };
    let mut copies: Vec<String> = rows.lines().skip(1).map(sorted_as).collect();
    copies.sort();
    assert_eq!(copies[0], "cannot-read/B/broken.jpg");
    assert_eq!(files(&place.path("sorted")), copies);
    for copy in &copies {
        let original = format!("new/{}", copy.split_once('/').unwrap().1);
        assert_eq!(
            fs::read(place.path(&format!("sorted/{copy}"))).unwrap(),
            fs::read(place.path(&original)).unwrap()
        );
    }
    // What is there stays; another photo of that name is told.
    let taken = format!("sorted/{}", copies[1]);
    place.write(&taken, "mine");
    let ended = sort("rows.csv", &["sorted"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("0 photos copied into sorted, 3 were there"), "{}", ended.stderr);
    let told = format!("being other photos of these names: {taken}");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(place.path(&taken)).unwrap(), "mine");

    assert_eq!(sort("rows.csv", &["links", "--sort-how", "hard-link", "--sort-sure", "1.1"]).code, Some(0));
    assert_eq!(
        files(&place.path("links")),
        ["cannot-read/B/broken.jpg", "unsure/A/1.png", "unsure/A/2.png", "unsure/B/1.png"]
    );
    for folder in ["new/sorted", "./new/A/x/../sorted", "new"] {
        let ended = sort("rows.csv", &[folder]);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(&format!("{folder} is among the photos")), "{}", ended.stderr);
    }
    // A move that was cut off: the rest is moved, and no answer leaves the file.
    let rows = fs::read_to_string(place.path("rows.csv")).unwrap();
    let (_, first) = copies[1].split_once('/').unwrap();
    fs::create_dir_all(place.path("moved").join(&copies[1]).parent().unwrap()).unwrap();
    fs::rename(place.path("new").join(first), place.path("moved").join(&copies[1])).unwrap();
    assert_eq!(sort("rows.csv", &["moved"]).code, Some(2), "a copy is of photos that are there");
    assert_eq!(sort("rows.csv", &["moved", "--sort-how", "move"]).code, Some(0));
    assert_eq!(files(&place.path("moved")), copies);
    assert!(files(&place.path("new")).is_empty());
    assert_eq!(fs::read_to_string(place.path("rows.csv")).unwrap(), rows);
    place.snapshot("predict_no_photo_left", &["predict", "run", "new", "--out", "rows.csv", "--overwrite"]);
    assert_eq!(fs::read_to_string(place.path("rows.csv")).unwrap(), rows);
    assert_eq!(
        place.run(&["predict", "run", "photos", "--out", "x.csv", "--sort-into", "rows.csv"]).code,
        Some(2)
    );
}

#[test]
fn the_most_probable_classes_only() {
    let place = place();
    let text = place.done(&["predict", "run", "new/A/1.png", "--top", "2"]).stdout;
    assert_eq!(text.lines().count(), 3, "{text}");
    let text = place.done(&["predict", "run", "new/A/1.png", "--top", "1", "--json"]).stdout;
    let object: serde_json::Value = serde_json::from_str(&text).unwrap();
    let classes: Vec<&String> = object["probabilities"].as_object().unwrap().keys().collect();
    assert_eq!(classes, [object["class"].as_str().unwrap()]);
}

#[test]
fn sets_of_classes() {
    let place = place();
    let object = |more: &[&str]| -> serde_json::Value {
        let call = [&["predict", "run", "new/A/2.png", "--json"], more].concat();
        serde_json::from_str(&place.done(&call).stdout).unwrap()
    };
    assert!(object(&[]).get("set").is_none());
    // The validation part is too small to promise that much: every class is in.
    let all = object(&["--sets", "0.99"]);
    assert_eq!(all["set"].as_array().unwrap().len(), 3);
    assert_eq!(all["set"][0], all["class"]);
    let few = object(&["--sets", "0.1"]);
    assert_eq!(few["set"].as_array().unwrap().len(), 1);
    let text = place.done(&["predict", "run", "new/A/2.png", "--sets", "0.1"]).stdout;
    assert!(text.contains("reckon with "), "{text}");
    place.done(&["predict", "run", "new", "--out", "rows.jsonl", "--format", "jsonl", "--sets", "0.99"]);
    let lines = fs::read_to_string(place.path("rows.jsonl")).unwrap();
    assert_eq!(lines.matches("\"set\":[").count(), 3, "{lines}");
    let eval: serde_json::Value =
        serde_json::from_str(&place.done(&["eval", "run", "photos", "--sets", "0.99", "--json"]).stdout)
            .unwrap();
    assert_eq!((&eval["sets"]["held"], &eval["sets"]["size"]), (&1.0.into(), &3.0.into()));
    let text = place.done(&["eval", "run", "--sets", "0.8"]).stdout;
    assert!(text.contains("should hold the true one on 80 % of photos"), "{text}");
    assert!(text.contains("on these, which set it,"), "{text}");
    place.snapshot("sets_of_a_model_file", &["eval", "run/best.safetensors", "photos", "--sets", "0.9"]);
}

#[test]
fn a_camtrap_package_has_the_times_of_the_cameras() {
    let place = place();
    place.photo_taken("card/S1/a.jpg", 0, 1, "2026:05:01 10:00:00");
    place.photo_taken("card/S1/b.jpg", 2, 2, "2026:05:01 10:20:00");
    place.write(
        "project.toml",
        "title = \"T\"\nsampling_design = \"opportunistic\"\ncapture_method = [\"activityDetection\"]\n\
         individual_animals = false\n[[contributors]]\ntitle = \"A\"\n",
    );
    place.write("places.csv", "deploymentID,latitude,longitude\nS1,5.8,-7.3\n");
    let call = [
        "predict",
        "run",
        "card",
        "--out",
        "package",
        "--format",
        "camtrap-dp",
        "--metadata",
        "project.toml",
    ];
    let call = [&call[..], &["--deployments", "places.csv", "--timezone", "+00:00"]].concat();
    place.snapshot_of_figures("predict_camtrap_dp", &call);
    let media = fs::read_to_string(place.path("package/media.csv")).unwrap();
    assert!(media.contains("2026-05-01T10:20:00"), "{media}");
    place.done(&["check", "package", "--format", "camtrap-dp"]);
}

/// Frames of one camera 20 seconds apart are one burst; a frame an hour later is not.
#[test]
fn frames_of_a_burst_have_one_answer() {
    let place = place();
    let times = ["2026:05:01 10:00:00", "2026:05:01 10:00:20", "2026:05:01 11:00:00"];
    for (number, time) in (0..).zip(times) {
        place.photo_taken(&format!("burst/{number}.jpg"), number as u8, number, time);
    }
    let rows = |more: &[&str]| -> Vec<Vec<f64>> {
        let call = [&["predict", "run", "burst", "--out", "rows.csv", "--overwrite"], more].concat();
        place.done(&call);
        let text = fs::read_to_string(place.path("rows.csv")).unwrap();
        text.lines()
            .skip(1)
            .map(|row| row.split(',').skip(1).take(3).map(|cell| cell.parse().unwrap()).collect())
            .collect()
    };
    let plain = rows(&[]);
    for how in ["geometric", "max"] {
        let together = rows(&["--by-burst", how]);
        assert!(together[0] == together[1] && together[0] != plain[0], "{how}: {together:?}");
    }
    let together = rows(&["--by-burst", "mean", "--sort-into", "sorted"]);
    let sorted = files(&place.path("sorted"));
    let class = |frame: &str| sorted.iter().find_map(|file| file.strip_suffix(frame)).unwrap().to_owned();
    assert_eq!(class("/0.jpg"), class("/1.jpg"), "{sorted:?}");
    assert_eq!(together[0], together[1]);
    assert_eq!(together[2], plain[2]);
    for class in 0..3 {
        // Of two f32.
        assert!((together[0][class] - (plain[0][class] + plain[1][class]) / 2.0).abs() < 1e-7);
    }
    assert_eq!(rows(&["--by-burst", "mean", "--burst-gap", "10"]), plain);
}
