//! `pugmark predict` on photos that lie in a bucket as they are.

use std::fs;

use crate::bucket::Bucket;
use crate::harness::{Ended, Place, ended};

struct Here {
    place: Place,
    bucket: Bucket,
}

impl Here {
    /// A run, and its photos (one of them broken) on the disk and in a bucket.
    fn new() -> Self {
        let (place, bucket) = (Place::new(), Bucket::new());
        place.photos(6);
        let quick = ["--model", "simple_cnn", "--image-size", "32", "--epochs", "1", "--precision", "f32"];
        place.done(&[&["train", "photos", "--out", "run"], &quick[..]].concat());
        place.write("photos/night/broken.jpg", "no photo");
        place.write("photos/notes.txt", "no photo, and not taken for one");
        copy(&place.path("photos"), &bucket.path("card"));
        Self { place, bucket }
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.bucket.known_to(&mut self.place.command(&[&["predict", "run"], arguments].concat())))
    }

    fn done(&self, arguments: &[&str]) -> Ended {
        let ended = self.run(arguments);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
        ended
    }

    fn read(&self, file: &str) -> String {
        fs::read_to_string(self.place.path(file)).unwrap()
    }

    /// Photos fetched since the last call.
    fn fetched(&self) -> usize {
        let photo = |request: &&String| request.starts_with("GET ") && request.contains(".png");
        self.bucket.requests().iter().filter(photo).count()
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let to = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &to),
            false => assert!(fs::copy(&path, &to).is_ok()),
        }
    }
}

#[test]
fn answers_are_those_of_the_same_photos_on_a_disk() {
    let here = Here::new();
    here.done(&["photos", "--out", "disk.csv"]);
    here.bucket.requests();
    here.bucket.faulty(true);
    here.done(&["s3://photos/card/", "--out", "bucket.csv"]);
    here.bucket.faulty(false);
    assert_eq!(here.read("bucket.csv"), here.read("disk.csv"));
    assert!(here.fetched() >= 18);

    // The journal knows them by size and version: one that is another now is looked at again, and no other.
    here.done(&["s3://photos/card", "--out", "bucket.csv"]);
    assert_eq!(here.fetched(), 0);
    here.place.photo("photos/day/00.png", 2, 77);
    fs::copy(here.place.path("photos/day/00.png"), here.bucket.path("card/day/00.png")).unwrap();
    here.done(&["s3://photos/card", "--out", "bucket.csv", "--overwrite"]);
    assert_eq!(here.fetched(), 1);
    here.done(&["photos", "--out", "disk.csv", "--overwrite"]);
    assert_eq!(here.read("bucket.csv"), here.read("disk.csv"));

    let explain = ["explain", "run", "s3://photos/card/day/02.png", "--out", "maps", "--random-orders", "0"];
    let explained = ended(here.bucket.known_to(&mut here.place.command(&explain)));
    assert_eq!(explained.code, Some(0), "{}", explained.stderr);

    // One photo, and a bucket beside a disk: ids tell where from.
    let one = here.done(&["s3://photos/card/day/01.png", "--json"]).stdout;
    assert!(one.contains("\"id\":\"s3://photos/card/day/01.png\""), "{one}");
    here.done(&["photos/day", "s3://photos/card/day", "--out", "both.csv"]);
    let both = here.read("both.csv");
    assert_eq!(both.matches("\ns3://photos/card/day/").count(), 6, "{both}");
    assert_eq!(both.lines().count(), 13, "{both}");
}

#[test]
fn boxes_of_photos_in_a_bucket() {
    let here = Here::new();
    here.place.write(
        "boxes.json",
        r#"{ "info": { "format_version": "1.3" }, "detection_categories": { "1": "animal" }, "images": [
            { "file": "00.png", "detections": [{ "category": "1", "conf": 0.9, "bbox": [0.1, 0.2, 0.5, 0.6] }] }
        ] }"#,
    );
    for (source, out) in [("photos/day", "disk.csv"), ("s3://photos/card/day", "bucket.csv")] {
        here.done(&[source, "--boxes", "boxes.json", "--out", out]);
    }
    assert_eq!(here.read("bucket.csv"), here.read("disk.csv"));
}

#[test]
fn what_goes_wrong_in_a_bucket() {
    let here = Here::new();
    let wrong = |arguments: &[&str], code, words: &str| {
        let ended = here.run(arguments);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(words) && ended.stderr.contains("hint: "), "{words}: {}", ended.stderr);
    };
    wrong(&["s3://photos/nothing", "--out", "x.csv"], 2, "there is no photo in s3://photos/nothing");
    wrong(&["s3://photos/card/none.png", "--out", "x.csv"], 1, "s3://photos/card/none.png");
    let sort = ["s3://photos/card", "--out", "x.csv", "--sort-into", "sorted"];
    wrong(&sort, 2, "lies in a bucket: it can be neither sorted nor put into a burst");
    // A half-made prepared folder is no folder of photos.
    fs::write(here.bucket.path("card/prepare.json"), "{}").unwrap();
    let ended = here.run(&["s3://photos/card", "--out", "x.csv"]);
    assert!(ended.code != Some(0) && ended.stderr.contains("prepare"), "{}", ended.stderr);
}
