//! Every error that a person can run into, with its exit status and its advice.

use crate::harness::{Place, ended};

/// A training that is over in a second.
const QUICK: [&str; 8] =
    ["--model", "simple_cnn", "--image-size", "32", "--epochs", "1", "--loader-threads", "1"];

fn train<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    ["train"].iter().chain(arguments).chain(&QUICK).copied().collect()
}

/// A data set that is a CSV, `labels.csv`, with two photos `a.png` and `b.png` beside it.
fn table(labels: &str) -> Place {
    let place = Place::new();
    place.photo("a.png", 0, 1);
    place.photo("b.png", 1, 2);
    place.write("labels.csv", labels);
    place
}

/// Snapshot, arguments, variables.
type Case = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

#[test]
fn wrong_calls() {
    let place = Place::new();
    place.write("photos/day/a.png", "");
    place.write("unknown.toml", "epoch = 3\n");
    place.write("other.toml", "frobnicate = 3\n");
    place.write("word.toml", "epochs = \"three\"\n");
    place.write("list.toml", "epochs = [3, 4]\n");
    place.write("broken.toml", "epochs = = 3\n");
    let cases: [Case; 23] = [
        ("no_verb", &[], &[]),
        ("unknown_verb", &["trian"], &[]),
        ("unknown_flag", &["train", "photos", "--epoch", "3"], &[]),
        ("flag_not_a_number", &["train", "photos", "--epochs", "three"], &[]),
        ("flag_not_a_choice", &["train", "photos", "--model", "resnet19"], &[]),
        ("flag_out_of_range", &["train", "photos", "--learning-rate", "-1"], &[]),
        ("flag_no_time", &["train", "photos", "--time-budget", "soon"], &[]),
        ("flag_no_stages", &["train", "photos", "--freeze", "9"], &[]),
        ("flag_no_batch", &["train", "photos", "--batch-size", "none"], &[]),
        ("flags_contradict", &["train", "photos", "--unfreeze-after", "2"], &[]),
        ("variable_not_a_number", &["train", "photos"], &[("PUGMARK_EPOCHS", "three")]),
        ("variable_not_a_choice", &["train", "photos"], &[("PUGMARK_OPTIMISER", "adam")]),
        ("variable_out_of_range", &["train", "photos"], &[("PUGMARK_VAL", "1.5")]),
        ("config_unknown_key", &["train", "photos", "--config", "unknown.toml"], &[]),
        ("config_unlike_any_key", &["train", "photos", "--config", "other.toml"], &[]),
        ("config_not_a_number", &["train", "photos", "--config", "word.toml"], &[]),
        ("config_not_a_value", &["train", "photos", "--config", "list.toml"], &[]),
        ("config_not_toml", &["train", "photos", "--config", "broken.toml"], &[]),
        ("config_missing", &["train", "photos", "--config", "no.toml"], &[]),
        ("no_data_named", &["train"], &[]),
        ("resume_names_no_run", &["train", "photos", "--resume"], &[]),
        ("resume_and_out_differ", &["train", "photos", "--out", "a", "--resume", "b"], &[]),
        ("no_such_data", &["train", "phots"], &[]),
    ];
    for (name, arguments, variables) in cases {
        place.snapshot_with(name, arguments, variables);
    }
}

#[test]
fn data_sets() {
    let empty = Place::new();
    empty.write("photos/readme.txt", "no photo");
    empty.snapshot("no_photos", &train(&["photos"]));

    let unlabelled = Place::new();
    unlabelled.photo("photos/a.png", 0, 1);
    unlabelled.snapshot("no_labels", &train(&["photos"]));

    let class = Place::new();
    class.photos(2);
    class.write("photos/dawn/.keep", "");
    class.snapshot("class_without_photo", &train(&["photos"]));

    let cases = [
        ("row_without_file", "filepath,label\na.png,day\nb.png,night\nc.png,day\n"),
        ("duplicate_id", "filepath,label\na.png,day\nb.png,night\na.png,day\n"),
        ("one_hot_none", "id,day,night\na,1.0,0.0\nb,0.0,0.0\n"),
        ("one_hot_several", "id,day,night\na,1,1\nb,0,1\n"),
        ("one_hot_no_bit", "id,day,night\na,1,0\nb,0,0.7\n"),
        ("columns", "photo,kind\na.png,day\nb.png,night\n"),
    ];
    for (name, labels) in cases {
        table(labels).snapshot(name, &train(&["labels.csv"]));
    }
}

#[test]
fn what_is_left_out_is_told() {
    let place = table("id,day,night\na,1,0\nb,0,1\nc,1,0\nd,0,1\ne,1,0\nf,0,1\n");
    for (number, name) in (3..).zip(["c", "d", "e", "f", "without-a-label"]) {
        place.photo(&format!("{name}.png"), u8::from(["d", "f"].contains(&name)), number);
    }
    place.snapshot_of_figures("file_without_label", &train(&["labels.csv"]));
    std::fs::remove_file(place.path("e.png")).unwrap();
    place.snapshot_of_figures("skip_missing", &train(&["labels.csv", "--skip-missing"]));
}

#[test]
fn weights_to_start_from() {
    let place = Place::new();
    place.photos(4);
    place.write("broken.pth", "this is no zip file");
    place.write("broken.safetensors", "nor is this");
    place.snapshot("weights_unreadable_pth", &train(&["photos", "--weights", "broken.pth"]));
    place.snapshot("weights_unreadable_safetensors", &train(&["photos", "--weights", "broken.safetensors"]));
    place.snapshot("weights_no_such", &train(&["photos", "--weights", "resnet"]));
    place.done(&train(&["photos", "--out", "cnn"]));
    place.snapshot(
        "weights_wrong_architecture",
        &[
            "train",
            "photos",
            "--model",
            "resnet18",
            "--image-size",
            "32",
            "--weights",
            "cnn/best.safetensors",
        ],
    );
}

#[test]
fn weights_that_cannot_be_fetched() {
    let place = Place::new();
    // Nobody listens at port 9 of this machine.
    let nowhere = [("PUGMARK_WEIGHTS_URL", "http://127.0.0.1:9"), ("PUGMARK_CACHE", "cache")];
    let offline = ended(place.command(&["weights", "fetch", "resnet18"]).envs(nowhere));
    assert_eq!(offline.code, Some(1));
    assert!(offline.stderr.starts_with("error: can't reach http://127.0.0.1:9/"), "{}", offline.stderr);
    assert!(offline.stderr.contains("put it at cache/weights/resnet18-f37072fd.pth"), "{}", offline.stderr);
    place.snapshot_with("weights_unknown", &["weights", "fetch", "resnet19"], &nowhere);
    place.write("photos/day/a.png", "");
    place.snapshot_with("weights_not_fetched", &["train", "photos", "--weights", "resnet18"], &nowhere);
    place.write("cache/weights/resnet18-f37072fd.pth", "not these");
    place.snapshot_with("weights_damaged", &["train", "photos", "--weights", "resnet18"], &nowhere);
    place
        .snapshot("weights_not_the_published", &["weights", "verify", "cache/weights/resnet18-f37072fd.pth"]);
    place.snapshot("weights_verify_no_such", &["weights", "verify", "no.pth"]);
}

#[test]
fn a_loss_that_is_not_a_number() {
    let place = Place::new();
    place.photos(8);
    place.snapshot_of_figures(
        "loss_not_a_number",
        &train(&[
            "photos",
            "--out",
            "run",
            "--learning-rate",
            "1e38",
            "--batch-size",
            "4",
            "--split",
            "random",
        ]),
    );
    assert!(!place.path("run/last.safetensors").exists(), "nothing good was there to save");
}

#[test]
fn folders_that_are_taken() {
    let place = Place::new();
    place.photos(4);
    place.done(&train(&["photos", "--out", "run"]));
    let best = std::fs::read(place.path("run/best.safetensors")).unwrap();
    place.snapshot("out_holds_a_run", &train(&["photos", "--out", "run"]));
    assert_eq!(std::fs::read(place.path("run/best.safetensors")).unwrap(), best, "the run is as it was");
    place.snapshot("out_holds_photos", &train(&["photos", "--out", "photos"]));
    place.snapshot("overwrite_spares_photos", &train(&["photos", "--out", "photos", "--overwrite"]));
    place.snapshot("resume_no_run", &["train", "--resume", "photos"]);
    place.snapshot("resume_other_setting", &["train", "--resume", "run", "--learning-rate", "0.5"]);
    place.done(&train(&["photos", "--out", "run", "--overwrite"]));

    place.write("rows.csv", "");
    place.snapshot("predictions_exist", &["predict", "run", "photos", "--out", "rows.csv"]);
    place.snapshot("predict_no_such", &["predict", "run", "phots"]);
    place.snapshot("predict_batch_of_none", &["predict", "run", "photos", "--batch-size", "0"]);
    place.snapshot("predict_no_folder_to_write", &["predict", "run", "photos", "--out", "no/such.csv"]);
    place.snapshot("predict_no_run", &["predict", "photos", "photos"]);
    place.snapshot("eval_model_file_alone", &["eval", "run/best.safetensors"]);
    place.snapshot("eval_no_test_part", &["eval", "run", "--part", "test"]);

    // A run that does not say what it was trained on.
    let config = std::fs::read_to_string(place.path("run/config.toml")).unwrap();
    let without: Vec<&str> = config.lines().filter(|line| !line.starts_with("data = ")).collect();
    assert!(without.len() < config.lines().count(), "{config}");
    place.write("run/config.toml", without.join("\n"));
    place.snapshot("config_without_data", &["eval", "run"]);

    place.photo("birds/owl/1.png", 0, 1);
    place.photo("birds/day/1.png", 0, 1);
    place.snapshot("eval_unknown_class", &["eval", "run", "birds"]);
}
