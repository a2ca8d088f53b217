//! `pugmark check`: what it says, what it writes, and what it refuses.

use std::fs;

use crate::harness::{Place, shared_data};

/// Six sites of ten photos, each with one class for the most part: whoever knows the site knows the class.
fn labels() -> String {
    let mut text = "filepath,label,site\n".to_owned();
    for site in 0..6 {
        for photo in 0..10 {
            let class = if photo == 0 { "blank" } else { ["duiker", "leopard"][site % 2] };
            text.push_str(&format!("s{site}/{photo}.png,{class},S{site}\n"));
        }
    }
    text
}

/// Photos of which some are broken, some twice, one has no label, and one label has no photo.
fn mixed() -> Place {
    let place = Place::new();
    for (number, name) in (0..).zip(["a", "b", "c", "d", "e", "f"]) {
        place.photo(&format!("{name}.png"), (number % 2) as u8, number * 7);
    }
    place.photo("copy-of-a.png", 0, 0);
    place.photo("unlabelled.png", 1, 50);
    place.write("empty.jpg", "");
    place.write("text.jpg", "no photo at all");
    let whole = fs::read(place.path("f.png")).expect("a photo");
    place.write("cut.png", &whole[..whole.len() / 2]);
    place.write("f.jpg", whole);
    fs::remove_file(place.path("f.png")).expect("a photo");
    place.write(
        "labels.csv",
        "filepath,label,site\na.png,day,S1\nb.png,night,S1\nc.png,day,S2\nd.png,night,S2\ne.png,day,S3\nf.jpg,night,S3\n\
         copy-of-a.png,day,S4\nempty.jpg,night,S4\ntext.jpg,day,S5\ncut.png,night,S5\nnone.png,day,S6\n",
    );
    place
}

#[test]
fn labels_alone() {
    let place = Place::new();
    place.write("labels.csv", labels());
    place.snapshot("check_labels", &["check", "labels.csv", "--no-photos"]);
}

#[test]
fn broken_files_are_rows() {
    let place = mixed();
    place.snapshot_of_figures("check_photos", &["check", "labels.csv"]);
    let ended = place.done(&["check", "labels.csv", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["labels_without_file"], serde_json::json!(["none.png"]));
    assert_eq!(report["files_without_label"], serde_json::json!(["unlabelled.png"]));
    assert_eq!(report["files"]["empty"], serde_json::json!(["empty.jpg"]));
    assert_eq!(report["files"]["undecodable"][0]["id"], "text.jpg");
    assert_eq!(report["files"]["truncated"], serde_json::json!(["cut.png"]));
    assert_eq!(report["files"]["wrong_extension"], serde_json::json!([{"id": "f.jpg", "content": "PNG"}]));
    assert_eq!(report["duplicates"]["exact"][0]["ids"], serde_json::json!(["a.png", "copy-of-a.png"]));
}

#[test]
fn the_list_of_photos_to_drop() {
    let place = mixed();
    place.done(&["check", "labels.csv", "--drop-list", "drop.csv"]);
    let list = fs::read_to_string(place.path("drop.csv")).expect("the list");
    assert_eq!(
        list,
        "id,reason\ncopy-of-a.png,the same bytes as a.png\nempty.jpg,the file is empty\nnone.png,there is no such \
         file\ntext.jpg,\"cannot be decoded: not a JPEG, PNG, WebP, BMP, TIFF, PNM or GIF file\"\n"
    );
    place.snapshot("check_list_exists", &["check", "labels.csv", "--drop-list", "drop.csv"]);
    place.done(&["check", "labels.csv", "--drop-list", "drop.csv", "--overwrite"]);
}

#[test]
fn the_page_holds_the_numbers_and_leads_nowhere() {
    let place = mixed();
    place.photo("a&<b>.png", 0, 0);
    place.write(
        "labels.csv",
        fs::read_to_string(place.path("labels.csv")).expect("labels") + "a&<b>.png,night,S1\n",
    );
    place.done(&["check", "labels.csv", "--html", "page.html"]);
    let page = fs::read_to_string(place.path("page.html")).expect("the page");
    for part in
        ["<h1>What labels.csv holds</h1>", "text.jpg", "a&amp;&lt;b&gt;.png", "data:image/jpeg;base64,"]
    {
        assert!(page.contains(part), "{part}");
    }
    for part in ["http", "<script", "<b>", "href"] {
        assert!(!page.contains(part), "{part}");
    }
    // The verdict and the twelve rows are on the page as in the text.
    let text = place.done(&["check", "labels.csv"]).stdout;
    let verdict = text.lines().nth(2).expect("a verdict");
    assert!(page.contains(verdict), "{verdict}");
    assert!(page.contains("<div class=\"value\">12</div>"));
}

#[test]
fn a_contact_sheet_of_what_a_training_sees() {
    let place = mixed();
    place.write(
        "finetune.toml",
        "image_size = 48\nrandom_crop = 0.4\nauto_augment = \"trivialaugment\"\ncutmix = 1.0\n",
    );
    let sheet = ["check", "labels.csv", "--preview", "finetune.toml", "--preview-out", "sheet.html"];
    place.snapshot("check_preview", &sheet);
    let page = fs::read_to_string(place.path("sheet.html")).expect("the sheet");
    // Eight photos that decode: one picture as in validation and seven epochs of each, and four batches of eight.
    assert_eq!(page.matches("data:image/jpeg;base64,").count(), 8 * 8 + 4 * 8);
    assert!(!page.contains("text.jpg") && !page.contains("http") && page.contains("% night"));
    place.snapshot("check_preview_exists", &sheet);
    place.done(&[&sheet[..], &["--overwrite"]].concat());
    assert_eq!(fs::read_to_string(place.path("sheet.html")).expect("the sheet"), page, "one seed, one sheet");
}

#[test]
fn a_contact_sheet_that_can_not_be_made() {
    let place = mixed();
    place.write("hue.toml", "hue = 0.7\n");
    place.write("fine.toml", "hue = 0.1\n");
    place.write("broken/one.jpg", "no photo at all");
    place.snapshot(
        "check_preview_setting",
        &["check", "labels.csv", "--preview", "hue.toml", "--preview-out", "a.html"],
    );
    place.snapshot(
        "check_preview_no_file",
        &["check", "labels.csv", "--preview", "no.toml", "--preview-out", "a.html"],
    );
    place.snapshot(
        "check_preview_no_photo",
        &["check", "broken", "--preview", "fine.toml", "--preview-out", "a.html"],
    );
    place.snapshot("check_preview_nowhere", &["check", "labels.csv", "--preview", "fine.toml"]);
}

#[test]
fn a_split_that_is_given_is_the_one_that_is_looked_at() {
    let place = Place::new();
    place.write("labels.csv", labels());
    let mut split = "id,split\n".to_owned();
    for site in 0..6 {
        for photo in 0..10 {
            split.push_str(&format!("s{site}/{photo}.png,{}\n", if photo < 8 { "train" } else { "val" }));
        }
    }
    place.write("split.csv", split);
    place.snapshot("check_split_file", &["check", "labels.csv", "--no-photos", "--split-file", "split.csv"]);
    let folds = ["--folds", "3", "--no-photos", "--out", "folds.csv"];
    place.done(&[&["split", "labels.csv"][..], &folds].concat());
    place.snapshot("check_folds", &["check", "labels.csv", "--no-photos", "--split-file", "folds.csv"]);
    place.write("other.csv", "id,split\nnowhere.png,train\n");
    place.snapshot(
        "check_split_of_others",
        &["check", "labels.csv", "--no-photos", "--split-file", "other.csv"],
    );
}

#[test]
fn wrong_calls() {
    let place = Place::new();
    place.write("labels.csv", labels());
    place.write("folder/readme.txt", "no photo");
    place.snapshot("check_no_such", &["check", "label.csv"]);
    place.snapshot("check_gap", &["check", "labels.csv", "--burst-gap", "2 days"]);
    place.snapshot("check_nothing", &["check", "folder"]);
    place.snapshot("check_no_photo_there", &["check", "labels.csv"]);
}

#[test]
fn photos_without_labels() {
    let Some(data) = shared_data("photos_without_labels") else { return };
    let place = Place::new();
    let data = data.join("small-mammal/raw_images");
    let ended = place.done(&["check", &data.to_string_lossy(), "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!(report["photos"], 150);
    assert_eq!(report["files"]["infrared"], 150);
}

#[test]
fn odd_files_do_not_stop_a_check() {
    let Some(data) = shared_data("odd_files_do_not_stop_a_check") else { return };
    let place = Place::new();
    let data = data.join("odd-images");
    let ended = place.done(&["check", &data.to_string_lossy(), "--html", "page.html"]);
    assert!(ended.stdout.contains("cannot be decoded"), "{}", ended.stdout);
    assert!(place.path("page.html").is_file());
}
