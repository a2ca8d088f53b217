//! What a run may be written over, and what not.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;
use std::path::Path;

use pugmark_model::{ModelError, RunFolder};

fn folder_with(files: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    folder
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".lock");
    names.sort();
    names
}

const RUN: [&str; 5] =
    ["config.toml", "split.csv", "best.safetensors", "checkpoint/state.json", ".last.safetensors.new"];

#[test]
fn what_a_folder_is_good_for() {
    struct Case {
        files: &'static [&'static str],
        create: &'static str,
        overwrite: &'static str,
        resume: &'static str,
    }
    let cases = [
        Case { files: &[], create: "", overwrite: "", resume: "is not a run folder" },
        Case { files: &[".config.toml.new"], create: "", overwrite: "", resume: "is not a run folder" },
        Case { files: &RUN, create: "holds another run", overwrite: "", resume: "" },
        Case {
            files: &["photo.jpg"],
            create: "such as `photo.jpg`",
            overwrite: "such as `photo.jpg`",
            resume: "is not a run folder",
        },
        Case {
            files: &["config.toml", "main.py"],
            create: "holds another run",
            overwrite: "such as `main.py`",
            resume: "",
        },
        // Without config.toml nothing says that a run wrote these.
        Case {
            files: &["predictions.csv"],
            create: "such as `predictions.csv`",
            overwrite: "such as `predictions.csv`",
            resume: "is not a run folder",
        },
    ];
    for case in cases {
        let calls = [
            ("create", case.create, RunFolder::create as fn(&Path) -> Result<RunFolder, ModelError>),
            ("overwrite", case.overwrite, RunFolder::overwrite),
            ("resume", case.resume, RunFolder::resume),
        ];
        for (call, expected, function) in calls {
            let folder = folder_with(case.files);
            let before = names(folder.path());
            match function(folder.path()) {
                Ok(_) => assert_eq!(expected, "", "{call} takes {before:?}"),
                Err(error) => {
                    let text = error.to_string();
                    assert!(!expected.is_empty() && text.contains(expected), "{call} {before:?}: {text}");
                    assert_eq!(names(folder.path()), before, "{call} changed what it refused");
                }
            }
        }
    }
}

#[test]
fn overwriting_deletes_what_a_run_left() {
    let folder = folder_with(&RUN);
    RunFolder::overwrite(folder.path()).unwrap();
    assert_eq!(names(folder.path()), [".last.safetensors.new"], "the leftover goes with the next save");
}

#[test]
fn overwriting_deletes_event_files_and_leaves_what_lies_between_them() {
    let events = "tensorboard/events.out.tfevents.1";
    let run = ["config.toml", "profile.json", "trace.json", events];
    let folder = folder_with(&run);
    RunFolder::overwrite(folder.path()).unwrap();
    assert_eq!(names(folder.path()), [""; 0]);
    let folder = folder_with(&[&run[..], &["tensorboard/notes.txt"]].concat());
    RunFolder::overwrite(folder.path()).unwrap();
    assert_eq!(names(&folder.path().join("tensorboard")), ["notes.txt"]);
}

#[test]
fn a_new_folder_is_made_with_its_parents() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runs/a");
    assert_eq!(RunFolder::create(&path).unwrap().path(), path);
    assert!(path.is_dir());
}

#[test]
fn one_process_at_a_time() {
    let folder = folder_with(&RUN);
    let first = RunFolder::resume(folder.path()).unwrap();
    assert!(matches!(RunFolder::resume(folder.path()), Err(ModelError::InUse { .. })));
    assert!(matches!(RunFolder::overwrite(folder.path()), Err(ModelError::InUse { .. })));
    assert!(names(folder.path()).contains(&"best.safetensors".into()), "nothing was deleted");
    RunFolder::open(folder.path()).expect("reading needs no lock");
    drop(first);
    RunFolder::resume(folder.path()).unwrap();
}

#[test]
fn errors_name_the_way_out() {
    let folder = folder_with(&RUN);
    let hint = RunFolder::create(folder.path()).unwrap_err().hint().unwrap();
    assert!(["--resume", "--overwrite", "--out"].iter().all(|flag| hint.contains(flag)), "{hint}");
    let folder = folder_with(&["photo.jpg"]);
    let hint = RunFolder::create(folder.path()).unwrap_err().hint().unwrap();
    assert!(hint.contains("--out"), "{hint}");
    assert!(matches!(RunFolder::open(Path::new("no/such/run")), Err(ModelError::Missing { .. })));
}
