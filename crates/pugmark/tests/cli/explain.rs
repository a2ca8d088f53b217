//! `pugmark explain`: pictures, figures, and what it refuses.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Command;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::harness::Place;

/// Photos of gray noise with a square somewhere whose colour tells the class: the only thing to look at.
fn square(path: &Path, colour: [u8; 3], number: u32) {
    let noise = |x: u32, y: u32| ((x * 73 + y * 179 + number * 283).wrapping_mul(2_654_435_761) >> 26) as u8;
    let (left, top) = ((number * 7 % 3) * 20, (number * 5 % 3) * 20);
    let photo = RgbImage::from_fn(64, 64, |x, y| {
        let inside = (left..left + 24).contains(&x) && (top..top + 24).contains(&y);
        let level = noise(x, y);
        if inside { Rgb(colour.map(|value| value + level / 4)) } else { Rgb([90 + level; 3]) }
    });
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    photo.save(path).unwrap();
}

const CLASSES: [(&str, [u8; 3]); 2] = [("blue", [20, 40, 230]), ("red", [230, 40, 20])];

fn trained() -> Place {
    let place = Place::new();
    for (class, colour) in CLASSES {
        for number in 0..18 {
            square(&place.path(&format!("photos/{class}/{number:02}.png")), colour, number);
        }
    }
    let call = ["train", "photos", "--out", "run", "--model", "simple_cnn", "--image-size", "64"];
    place.done(&[&call[..], &["--epochs", "8", "--batch-size", "6", "--precision", "f32"]].concat());
    for (class, colour) in CLASSES {
        square(&place.path(&format!("new/{class}/one.png")), colour, 100);
    }
    place
}

fn rows(place: &Place, out: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(place.path(out).join("explain.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_method_finds_what_tells_the_class() {
    let place = trained();
    for (method, flags) in [
        ("grad-cam", ["--random-orders", "6"].as_slice()),
        ("occlusion", &["--patch", "16", "--stride", "8"]),
        ("shap", &["--segments", "12", "--samples", "200"]),
    ] {
        let call = ["explain", "run", "new", "--out", method, "--method", method];
        let ended = place.done(&[&call[..], flags].concat());
        assert_eq!(ended.stdout.lines().count(), 3, "{}", ended.stdout);
        let rows = rows(&place, method);
        assert_eq!(rows.len(), 2);
        for (row, (class, _)) in rows.iter().zip(CLASSES) {
            assert_eq!((&row["id"], &row["class"]), (&format!("{class}/one.png").into(), &class.into()));
            assert_eq!(row["map"]["method"], method);
            let faithfulness = &row["faithfulness"];
            let floor = |area: &Value| {
                let random = area["random"].as_array().unwrap();
                random.iter().map(number).sum::<f64>() / random.len() as f64
            };
            let (deletion, insertion) = (&faithfulness["deletion"], &faithfulness["insertion"]);
            assert!(number(&deletion["map"]) < floor(deletion), "{method} {class}: {faithfulness}");
            assert!(number(&insertion["map"]) > floor(insertion), "{method} {class}: {faithfulness}");
            let picture = image::open(place.path(method).join(row["picture"].as_str().unwrap())).unwrap();
            // 64 pixels, four times, and the map beside them.
            assert_eq!((picture.width(), picture.height()), (512, 256));
        }
        // The same photo names in two folders.
        assert_eq!(
            (&rows[0]["picture"], &rows[1]["picture"]),
            (&"0001-one.png".into(), &"0002-one.png".into())
        );
        if method == "shap" {
            let segments = rows[0]["map"]["segments"].as_array().unwrap();
            let sum: f64 = segments.iter().map(|segment| number(&segment["value"])).sum();
            let (base, whole) = (number(&rows[0]["map"]["base"]), number(&rows[0]["probability"]));
            assert!((base + sum - whole).abs() < 1e-6, "{base} {sum} {whole}");
            let share: f64 = segments.iter().map(|segment| number(&segment["share"])).sum();
            assert!((share - 1.0).abs() < 1e-9 && segments.len() > 6, "{share}");
        }
    }
    assert_eq!(rows(&place, "grad-cam")[0]["map"]["layer"], "block4.pool");
    assert_eq!(rows(&place, "occlusion")[0]["map"]["grid"].as_array().unwrap().len(), 7);
}

#[test]
fn a_class_can_be_named_and_a_map_put_to_the_test() {
    let place = trained();
    let call = ["explain", "run", "new/red/one.png", "--class", "blue", "--sanity", "--json"];
    let ended = place.done(&[&call[..], &["--out", "out", "--random-orders", "0"]].concat());
    let row: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(row, rows(&place, "out")[0], "stdout has the file's lines");
    assert_eq!((&row["class"], &row["predicted"]), (&"blue".into(), &"red".into()));
    assert!(number(&row["probability"]) < 0.5);
    assert!(row["faithfulness"].is_null());
    let sanity = &row["sanity"];
    for random in ["random_head", "random_weights"] {
        // A map of random values may be 0 all over.
        assert!(sanity[random].is_null() || number(&sanity[random]) < 0.99, "{sanity}");
    }
}

#[test]
fn broken_photos_are_rows() {
    let place = trained();
    place.write("new/broken.jpg", "not a photo");
    let call = ["explain", "run", "new", "--out", "out", "--random-orders", "1"];
    let ended = place.done(&call);
    assert!(ended.stdout.contains("broken.jpg  cannot be read: "), "{}", ended.stdout);
    assert!(ended.stderr.contains("3 photos, 1 cannot be read"), "{}", ended.stderr);
    let rows = rows(&place, "out");
    assert!(rows.iter().any(|row| row["id"] == "broken.jpg" && row["picture"].is_null()));
    let alone = place.run(&["explain", "run", "new/broken.jpg", "--out", "alone"]);
    assert_eq!(alone.code, Some(1));
}

#[test]
fn folders_of_others_are_left_alone() {
    let place = trained();
    let call = ["explain", "run", "new", "--out", "out", "--random-orders", "0"];
    let names = || {
        let entries = std::fs::read_dir(place.path("out")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    place.write("out/mine.txt", "mine");
    place.snapshot("explain_out_holds_other_files", &call);
    place.snapshot("explain_overwrite_spares_other_files", &[&call[..], &["--overwrite"]].concat());
    place.write("out/explain.jsonl", "mine\n");
    let ended = place.run(&[&call[..], &["--overwrite"]].concat());
    assert!(ended.code == Some(2) && ended.stderr.contains("holds other files"), "{}", ended.stderr);
    assert_eq!(names(), ["explain.jsonl", "mine.txt"]);

    std::fs::remove_file(place.path("out/explain.jsonl")).unwrap();
    std::fs::remove_file(place.path("out/mine.txt")).unwrap();
    place.done(&call);
    place.write("out/mine.png", "mine");
    place.snapshot("explain_exists", &call);
    // A line of another's hand names a file that is not ours to remove, and a kill left half a line.
    place.write("keep.png", "mine");
    let mut text = std::fs::read_to_string(place.path("out/explain.jsonl")).unwrap();
    text.push_str("{\"picture\":\"../keep.png\",\"map\":null,\"reason\":null}\n{\"picture\":\"mine.p");
    place.write("out/explain.jsonl", text);
    place.done(&["explain", "run", "new/red", "--out", "out", "--random-orders", "0", "--overwrite"]);
    assert_eq!(names(), ["0001-one.png", "explain.jsonl", "mine.png"]);
    assert!(place.path("keep.png").exists());
    place.snapshot("explain_out_is_a_file", &["explain", "run", "new", "--out", "keep.png"]);
}

#[test]
fn wrong_calls_are_told() {
    let place = trained();
    place.write("empty/note.txt", "no photo");
    let out = ["--out", "out"];
    let call = |rest: &[&'static str]| [&["explain", "run", "new"], rest, &out].concat();
    place.snapshot("explain_no_run", &["explain", "away", "new", "--out", "out"]);
    place.snapshot("explain_no_such_photo", &["explain", "run", "away.jpg", "--out", "out"]);
    place.snapshot("explain_no_photo", &["explain", "run", "empty", "--out", "out"]);
    place.snapshot("explain_unknown_class", &call(&["--class", "bleu"]));
    place.snapshot("explain_unlike_any_class", &call(&["--class", "okapi"]));
    place.snapshot("explain_foreign_setting", &call(&["--segments", "9"]));
    place.snapshot("explain_gaps", &call(&["--method", "occlusion", "--patch", "8", "--stride", "9"]));
    place.snapshot("explain_large_patch", &call(&["--method", "occlusion", "--patch", "65"]));
    place.snapshot("explain_unknown_method", &call(&["--method", "lime"]));
    assert!(!place.path("out").exists(), "nothing is made by a wrong call");
}

#[cfg(unix)]
#[test]
fn ctrl_c_keeps_what_is_done() {
    let place = trained();
    for number in 0..20 {
        square(&place.path(&format!("many/{number:02}.png")), CLASSES[0].1, number);
    }
    // Some thousand patches a photo: it is not done before it is asked to stop.
    let call =
        ["explain", "run", "many", "--out", "out", "--method", "occlusion", "--patch", "4", "--stride", "1"];
    let mut child = place.command(&call).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("00.png  blue"), "{line}");
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{said}");
    let rows = rows(&place, "out");
    assert!(!rows.is_empty() && rows.len() < 20, "{}", rows.len());
    assert!(
        said.contains(&format!("interrupted: {} of 20 photos are done, and in out", rows.len())),
        "{said}"
    );
    for row in rows {
        assert!(place.path("out").join(row["picture"].as_str().unwrap()).exists());
    }
}

/// A photo with the wrong label is a mistake, and the run's page shows what misled the model.
#[test]
fn the_report_shows_what_speaks_for_a_wrong_answer() {
    let place = Place::new();
    for (class, colour) in CLASSES {
        for number in 0..18 {
            let part = if number < 12 { "train" } else { "val" };
            square(&place.path(&format!("photos/{part}/{class}/{number:02}.png")), colour, number);
        }
    }
    square(&place.path("photos/val/blue/mislabelled.png"), CLASSES[1].1, 50);
    let call = ["train", "photos", "--out", "run", "--model", "simple_cnn", "--image-size", "64"];
    place.done(&[&call[..], &["--epochs", "8", "--batch-size", "6", "--precision", "f32"]].concat());
    let page = std::fs::read_to_string(place.path("run/report.html")).unwrap();
    let (_, mistakes) = page.split_once("The worst mistakes").unwrap();
    assert!(mistakes.contains("blue/mislabelled.png"), "{mistakes}");
    assert!(mistakes.contains("what speaks for red"), "{mistakes}");
}
