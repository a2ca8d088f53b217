//! A folder as a storage. Buckets are tested by `pugmark`'s tests, against a server.

#![expect(clippy::unwrap_used, reason = "a step that fails fails the test")]

use std::fs;
use std::io::Write;
use std::path::Path;

use pugmark_data::storage::{Entry, is_url};
use pugmark_data::{Storage, StorageError, StorageOptions};

fn open(place: &Path) -> Storage {
    Storage::open(place, &StorageOptions::default()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn files_are_written_listed_read_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(&folder.path().join("new"));
    assert_eq!(storage.list().unwrap(), []);
    assert_eq!(storage.read("b/c.txt").unwrap(), None);
    assert_eq!(storage.head("b/c.txt").unwrap(), None);
    storage.write("b/c.txt", b"0123456789").unwrap();
    storage.write("b/c.txt", b"abcdefghij").unwrap();
    storage.write("a", b"").unwrap();
    fs::write(folder.path().join("new/.hidden"), "").unwrap();
    let entry = |key: &str, size| Entry { key: key.to_owned(), size, etag: None };
    assert_eq!(storage.list().unwrap(), [entry("a", 0), entry("b/c.txt", 10)]);
    assert_eq!(storage.head("b/c.txt").unwrap(), Some(entry("b/c.txt", 10)));
    assert_eq!(storage.read("b/c.txt").unwrap().unwrap(), b"abcdefghij");
    assert_eq!(storage.read_range("b/c.txt", 3..7).unwrap(), b"defg");
    assert!(matches!(storage.read_range("b/c.txt", 8..12), Err(StorageError::Io { .. })));
    assert!(matches!(storage.read_range("none", 0..1), Err(StorageError::Missing { .. })));
    storage.delete("b/c.txt").unwrap();
    storage.delete("b/c.txt").unwrap();
    assert_eq!(storage.read("b/c.txt").unwrap(), None);
    assert_eq!(names(&folder.path().join("new/b")), [""; 0]);
}

#[test]
fn one_of_many_creates_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    assert!(storage.create("plan.json", b"first").unwrap());
    assert!(!storage.create("plan.json", b"second").unwrap());
    assert_eq!(storage.read("plan.json").unwrap().unwrap(), b"first");
    assert_eq!(names(folder.path()), ["plan.json"]);
}

#[test]
fn a_file_appears_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    let mut spool = storage.spool("a/b.tar").unwrap();
    spool.write_all(b"half").unwrap();
    assert_eq!(storage.list().unwrap(), []);
    spool.write_all(b" and half").unwrap();
    spool.finish().unwrap();
    assert_eq!(storage.read("a/b.tar").unwrap().unwrap(), b"half and half");

    let mut given_up = storage.spool("a/b.tar").unwrap();
    given_up.write_all(b"other").unwrap();
    drop(given_up);
    assert_eq!(storage.read("a/b.tar").unwrap().unwrap(), b"half and half");
    assert_eq!(names(&folder.path().join("a")), ["b.tar"]);
}

/// `/dev/full` answers every write with the error of a full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_earlier_file() {
    let folder = tempfile::tempdir().unwrap();
    let storage = open(folder.path());
    storage.write("a", b"earlier").unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join(".a.new")).unwrap();
    let error = storage.write("a", b"new").unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert_eq!(storage.read("a").unwrap().unwrap(), b"earlier");
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn places_are_told_apart() {
    for (place, url) in [
        ("photos", false),
        ("/s3://photos", false),
        ("s3://photos", true),
        ("https://example.org/photos", true),
    ] {
        assert_eq!(is_url(Path::new(place)), url, "{place}");
    }
    let anonymous = StorageOptions { s3_anonymous: true, ..StorageOptions::default() };
    for place in ["s3://", "s3:///photos", "https://exa mple.org/"] {
        let error = Storage::open(Path::new(place), &anonymous).unwrap_err();
        assert!(matches!(error, StorageError::Url { .. }), "{place}: {error}");
    }
    let bucket = Storage::open(Path::new("s3://photos/2024/"), &anonymous).unwrap();
    assert_eq!(
        (bucket.to_string(), bucket.place("a.jpg")),
        ("s3://photos/2024".into(), "s3://photos/2024/a.jpg".into())
    );
}
