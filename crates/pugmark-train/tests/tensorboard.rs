//! Event files of whole trainings. `read_tensorboard.py` reads them with TensorBoard itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::{Watch, World, result, settings};
use pugmark_train::{Mode, TrainSettings};

/// What is read of an event.
#[derive(Debug, PartialEq)]
enum What {
    Version,
    /// A session starts.
    Start,
    /// Tags and the float values of those that have one.
    Values(Vec<(String, Option<f32>)>),
}

/// The fields of a protobuf message: number, and its bytes or its value.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Vec<u8>)> {
    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let (first, rest) = bytes.split_first().unwrap();
            *bytes = rest;
            value |= u64::from(first & 0x7f) << shift;
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes);
        let value = match key & 7 {
            0 => varint(&mut bytes).to_le_bytes().to_vec(),
            wire => {
                let length = match wire {
                    1 => 8,
                    2 => varint(&mut bytes) as usize,
                    5 => 4,
                    other => panic!("wire type {other}"),
                };
                let (value, rest) = bytes.split_at(length);
                bytes = rest;
                value.to_vec()
            }
        };
        fields.push((key >> 3, value));
    }
    fields
}

/// Steps and contents of the events of a file, which must end with a whole one.
fn events(path: &Path) -> Vec<(u64, What)> {
    let bytes = fs::read(path).unwrap();
    let mut rest = bytes.as_slice();
    let mut events = Vec::new();
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let event = fields(&rest[12..12 + length]);
        rest = &rest[12 + length + 4..];
        let get = |number: u64| event.iter().find(|(field, _)| *field == number).map(|(_, bytes)| bytes);
        let step = get(2).map_or(0, |bytes| u64::from_le_bytes(bytes[..].try_into().unwrap()));
        let what = match (get(3), get(5), get(7)) {
            (Some(version), ..) => {
                assert_eq!(version, b"brain.Event:2");
                What::Version
            }
            (_, Some(summary), _) => {
                What::Values(fields(summary).iter().map(|(_, value)| tag(value)).collect())
            }
            (.., Some(_)) => What::Start,
            other => panic!("{other:?}"),
        };
        events.push((step, what));
    }
    events
}

fn tag(value: &[u8]) -> (String, Option<f32>) {
    let value = fields(value);
    let get = |number: u64| value.iter().find(|(field, _)| *field == number).map(|(_, bytes)| bytes);
    let scalar = get(2).map(|bytes| f32::from_le_bytes(bytes[..].try_into().unwrap()));
    (String::from_utf8(get(1).unwrap().clone()).unwrap(), scalar)
}

/// The files of a folder by name, as TensorBoard reads them.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.iter().all(|file| file.to_str().unwrap().contains("/events.out.tfevents.")));
    files
}

/// Steps and values of a tag.
fn values(events: &[(u64, What)], wanted: &str) -> Vec<(u64, Option<f32>)> {
    let mut found = Vec::new();
    for (step, what) in events {
        let What::Values(values) = what else { continue };
        found.extend(values.iter().filter(|(tag, _)| tag == wanted).map(|(_, value)| (*step, *value)));
    }
    found
}

#[test]
fn everything_is_in_the_file_and_nothing_else_changes() {
    let world = World::new(8);
    let data = world.read();
    let [plain, shown] = [None, Some("run".into())].map(|tensorboard| {
        let out = world.out(&format!("run-{}", tensorboard.is_some()));
        Watch::quiet().train(&data, &TrainSettings { tensorboard, ..settings() }, &out, Mode::New).unwrap();
        out
    });
    assert!(result(&plain) == result(&shown));

    let [file] = &files(&shown.join("tensorboard"))[..] else { panic!("one file") };
    let events = events(file);
    assert_eq!(events[..2], [(0, What::Version), (1, What::Start)]);
    let steps: Vec<u64> = values(&events, "step/loss").into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [1, 2, 3, 4, 5, 6]);
    let metrics = fs::read_to_string(shown.join("metrics.json")).unwrap();
    let rows: serde_json::Value = serde_json::from_str(&metrics).unwrap();
    let loss = |epoch: usize| rows[epoch]["val_loss"].as_f64().map(|loss| loss as f32);
    assert_eq!(values(&events, "epoch/val_loss"), [(3, loss(0)), (6, loss(1))]);
    for name in ["block1.conv.weight", "fc.bias", "block4.bn.running_var"] {
        assert_eq!(values(&events, name), [(3, None), (6, None)], "{name}");
    }
    assert_eq!(values(&events, "training photos"), [(1, None), (4, None)]);
}

#[test]
fn a_resumed_run_takes_back_what_it_does_again() {
    let world = World::new(8);
    let data = world.read();
    let (out, all) = (world.out("run"), world.out("all"));
    let settings = TrainSettings { tensorboard: Some(all.clone()), epochs: 3, ..settings() };
    assert!(Watch::stop_after(4).train(&data, &settings, &out, Mode::New).unwrap().interrupted);
    Watch::quiet().train(&data, &settings, &out, Mode::Resume).unwrap();
    let [first, second] = &files(&all.join("run"))[..] else { panic!("two files, named like the run") };
    let (first, second) = (events(first), events(second));
    assert_eq!(values(&first, "step/loss").last().unwrap().0, 4);
    assert_eq!(second[..2], [(0, What::Version), (5, What::Start)]);
    let steps: Vec<u64> = values(&second, "step/loss").into_iter().map(|(step, _)| step).collect();
    assert_eq!(steps, [5, 6, 7, 8, 9]);
    assert_eq!(values(&second, "epoch/number"), [(6, Some(2.0)), (9, Some(3.0))]);
}

#[test]
fn kept_features_have_histograms_of_the_head_and_no_pictures() {
    let world = World::new(8);
    let out = world.out("run");
    let freeze = pugmark_engine::Freeze::Backbone;
    let settings = TrainSettings { tensorboard: Some("run".into()), freeze, ..settings() };
    Watch::quiet().train(&world.read(), &settings, &out, Mode::New).unwrap();
    let events = events(&files(&out.join("tensorboard"))[0]);
    assert_eq!(values(&events, "fc.weight").len(), 2);
    for absent in ["block1.conv.weight", "training photos", "worst mistakes in validation"] {
        assert_eq!(values(&events, absent), [], "{absent}");
    }
}
