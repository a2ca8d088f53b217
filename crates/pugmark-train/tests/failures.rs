//! What goes wrong leaves what was saved before whole, and says what to do.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{Watch, World, result, settings};
use pugmark_data::Part;
use pugmark_train::{Event, Mode, TrainError, TrainSettings};

#[test]
fn a_loss_that_is_no_number_stops_the_training() {
    let world = World::new(8);
    let data = world.read();
    let settings = TrainSettings { learning_rate: 1e30, ..settings() };
    let out = world.out("run");
    let error = Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap_err();
    assert!(matches!(error, TrainError::NonFiniteLoss { saved_epoch: 0, .. }), "{error:?}");
    assert!(error.to_string().contains(" in epoch 1, step "), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("lower `--learning-rate` (it is 1e30") && hint.contains("No epoch"), "{hint}");
    assert!(!out.join("last.safetensors").exists());
    let log = fs::read_to_string(out.join("log.jsonl")).unwrap();
    assert!(log.lines().last().unwrap().contains("\"event\":\"failed\""), "{log}");
}

#[test]
fn what_was_saved_before_the_loss_was_no_number_is_kept() {
    let world = World::new(8);
    let data = world.read();
    let out = world.out("run");
    Watch::quiet().train(&data, &settings(), &out, Mode::New).unwrap();
    let before = result(&out);
    // The second training starts from the first's checkpoint with a learning rate that breaks it.
    let config = fs::read_to_string(out.join("config.toml")).unwrap();
    let state = fs::read_to_string(out.join("checkpoint/state.json")).unwrap();
    fs::write(out.join("config.toml"), config.replace("learning_rate = 0.003", "learning_rate = 1e30"))
        .unwrap();
    fs::write(out.join("checkpoint/state.json"), state.replace("\"rate\": 0.003", "\"rate\": 1e30")).unwrap();
    let settings = TrainSettings { epochs: 4, learning_rate: 1e30, ..settings() };
    let error = Watch::quiet().train(&data, &settings, &out, Mode::Resume).unwrap_err();
    assert!(matches!(error, TrainError::NonFiniteLoss { saved_epoch: 2, .. }), "{error:?}");
    assert!(error.hint().unwrap().contains("The models of epoch 2 are kept"));
    assert!(result(&out) == before);
}

/// Makes the next save of a file fail as on a full disk: its temporary name leads to `/dev/full`.
#[cfg(target_os = "linux")]
fn fill_disk(run: &Path, file: &str) {
    let path = run.join(file);
    let name = format!(".{}.new", path.file_name().unwrap().to_str().unwrap());
    std::os::unix::fs::symlink("/dev/full", path.with_file_name(name)).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_nothing() {
    let world = World::new(8);
    let data = world.read();
    let settings = settings();
    let reference = world.out("undisturbed");
    Watch::quiet().train(&data, &settings, &reference, Mode::New).unwrap();
    let files = [
        "last.safetensors",
        "metrics.csv",
        "metrics.json",
        "broken.csv",
        "checkpoint/previous.json",
        "checkpoint/tensors-2.safetensors",
        "checkpoint/state.json",
        "predictions.csv",
    ];
    for file in files {
        let out = world.out("full");
        let mut watch = Watch::new(|event, _| {
            if matches!(event, Event::Step { epoch: 2, step: 1, .. }) {
                fill_disk(&out, file);
            }
        });
        let error = watch.train(&data, &settings, &out, Mode::New).unwrap_err();
        assert!(matches!(error, TrainError::Save { .. }), "{file}: {error:?}");
        assert!(error.to_string().contains(file), "{error}");
        assert!(error.hint().unwrap().contains("--resume"));
        let read = |name: &str| pugmark_model::Model::read(&out.join(name)).unwrap();
        assert!(read("best.safetensors").card.epoch >= 1 && read("last.safetensors").card.epoch >= 1);
        // There is room again.
        Watch::quiet().train(&data, &settings, &out, Mode::Resume).unwrap();
        assert!(result(&reference) == result(&out), "{file}");
        fs::remove_dir_all(&out).unwrap();
    }
}

/// The best model is then newer than any state.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_after_an_average_loses_nothing() {
    let world = World::new(8);
    let data = world.read();
    let short = TrainSettings { epochs: 3, average_best: 3, ..settings() };
    let long = TrainSettings { epochs: 6, ..short.clone() };
    let [reference, out] = ["undisturbed", "full"].map(|name| {
        let out = world.out(name);
        Watch::quiet().train(&data, &short, &out, Mode::New).unwrap();
        out
    });
    Watch::quiet().train(&data, &long, &reference, Mode::Resume).unwrap();
    for epoch in 4..=6 {
        let mut watch = Watch::new(|event, _| {
            if matches!(event, Event::Step { epoch: now, step: 1, .. } if *now == epoch) {
                let state = fs::read_to_string(out.join("checkpoint/state.json")).unwrap();
                let state: serde_json::Value = serde_json::from_str(&state).unwrap();
                let next = state["save"].as_u64().unwrap() + 1;
                fill_disk(&out, &format!("checkpoint/tensors-{next}.safetensors"));
            }
        });
        let error = watch.train(&data, &long, &out, Mode::Resume).unwrap_err();
        assert!(matches!(error, TrainError::Save { .. }), "{error:?}");
        let mut watch = Watch::stop_after(3);
        watch.train(&data, &long, &out, Mode::Resume).unwrap();
        assert!(!watch.heard("is taken") && !watch.heard("takes its place"), "{:?}", watch.events);
    }
    Watch::quiet().train(&data, &long, &out, Mode::Resume).unwrap();
    assert!(result(&reference) == result(&out));
}

#[test]
fn a_folder_in_the_way_loses_nothing() {
    let world = World::new(6);
    let data = world.read();
    let out = world.out("run");
    let mut watch = Watch::new(|event, _| {
        if matches!(event, Event::Step { epoch: 2, step: 1, .. }) {
            fs::remove_file(out.join("metrics.csv")).unwrap();
            fs::create_dir_all(out.join("metrics.csv/in-the-way")).unwrap();
        }
    });
    let error = watch.train(&data, &settings(), &out, Mode::New).unwrap_err();
    assert!(error.to_string().contains("can't save") && error.to_string().contains("metrics.csv"), "{error}");
    fs::remove_dir_all(out.join("metrics.csv")).unwrap();
    let outcome = Watch::quiet().train(&data, &settings(), &out, Mode::Resume).unwrap();
    assert_eq!(outcome.epochs_done, 2);
}

#[test]
fn another_run_is_not_written_over() {
    let world = World::new(6);
    let data = world.read();
    let out = world.out("run");
    let settings = TrainSettings { epochs: 1, ..settings() };
    Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap();
    let before = result(&out);
    let error = Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap_err();
    assert!(error.to_string().contains("holds another run"), "{error}");
    assert!(error.hint().unwrap().contains("--overwrite"));

    // An overwriting that can't work deletes nothing.
    let senseless = TrainSettings { weights: Some("no/such.pth".into()), ..settings.clone() };
    let error = Watch::quiet().train(&data, &senseless, &out, Mode::Overwrite).unwrap_err();
    assert!(error.to_string().contains("no/such.pth"), "{error}");
    assert!(result(&out) == before);

    let other = TrainSettings { seed: 9, ..settings };
    Watch::quiet().train(&data, &other, &out, Mode::Overwrite).unwrap();
    assert!(result(&out) != before);
    let error = Watch::quiet().train(&data, &other, &world.photos(), Mode::New).unwrap_err();
    assert!(error.to_string().contains("holds files that are not of a run"), "{error}");
    let error = Watch::quiet().train(&data, &other, &world.photos(), Mode::Resume).unwrap_err();
    assert!(error.to_string().contains("is not a run folder"), "{error}");
}

#[test]
fn nothing_that_decodes() {
    for part in [Part::Train, Part::Val] {
        let world = World::new(6);
        let data = world.read();
        let out = world.out("run");
        let settings = settings();
        let split = pugmark_data::split(&data, &settings.split_settings()).unwrap();
        for index in split.indices(part) {
            fs::write(&data.samples[index].path, "no photo").unwrap();
        }
        let error = Watch::quiet().train(&data, &settings, &out, Mode::New).unwrap_err();
        let count = split.indices(part).len();
        let expected = format!("none of the {count} photos of the {part} part can be decoded");
        assert!(error.to_string().contains(&expected), "{error}");
        let listed = fs::read_to_string(out.join("broken.csv")).unwrap().lines().count();
        assert_eq!(listed, count + 1, "all are in broken.csv");
    }
}

#[test]
fn too_few_photos_to_validate() {
    let world = World::new(1);
    let out = world.out("run");
    let error = Watch::quiet().train(&world.read(), &settings(), &out, Mode::New).unwrap_err();
    assert!(matches!(error, TrainError::EmptyPart { part: Part::Val }), "{error}");
    assert!(!out.exists(), "nothing was made");
}

#[test]
fn a_class_without_a_photo_to_train_on_is_a_warning() {
    let world = World::new(6);
    // A given split that has all the blue photos in val.
    let rows: String = world
        .read()
        .samples
        .iter()
        .map(|s| {
            let (class, file) = s.id.split_once('/').unwrap();
            let part = if class == "blue" || file < "002" { "val" } else { "train" };
            format!("{},{class},{part}\n", s.id)
        })
        .collect();
    let csv = world.photos().join("labels.csv");
    fs::write(&csv, format!("filepath,label,split\n{rows}")).unwrap();
    let data = pugmark_data::read(&csv, &Default::default()).unwrap();
    let mut watch = Watch::quiet();
    watch.train(&data, &TrainSettings { epochs: 1, ..settings() }, &world.out("run"), Mode::New).unwrap();
    assert!(watch.heard("no photo to train on for: blue"), "{:?}", watch.events);
}
