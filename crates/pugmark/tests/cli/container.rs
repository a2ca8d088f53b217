//! What SageMaker's containers are given and what they leave: a tree that stands for `/opt/ml`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::harness::{Ended, Place, compare, ended};

/// Photos of three classes in a channel.
fn channel(place: &Place, name: &str, numbers: std::ops::Range<u32>) {
    for (class, label) in (0..).zip(["day", "dusk", "night"]) {
        for number in numbers.clone() {
            place.photo(&format!("ml/input/data/{name}/{label}/{number:02}.png"), class, number);
        }
    }
}

/// A training job with two channels.
fn job(hyperparameters: &str) -> Place {
    let place = Place::new();
    channel(&place, "train", 0..6);
    channel(&place, "validation", 6..9);
    place.write("ml/input/config/hyperparameters.json", hyperparameters);
    place.write(
        "ml/input/config/resourceconfig.json",
        r#"{"current_host":"algo-1","hosts":["algo-1"],"network_interface_name":"eth0","current_instance_type":"ml.c7i.large"}"#,
    );
    place.write(
        "ml/input/config/inputdataconfig.json",
        r#"{"train":{"TrainingInputMode":"File","S3DistributionType":"FullyReplicated","RecordWrapperType":"None"},
            "validation":{"TrainingInputMode":"FastFile","S3DistributionType":"FullyReplicated","RecordWrapperType":"None"}}"#,
    );
    place
}

fn command(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(arguments);
    command.env("SAGEMAKER_BASE_DIR", place.path("ml"));
    command
}

fn train(place: &Place) -> Ended {
    ended(&mut command(place, &["train"]))
}

fn read(place: &Place, name: &str) -> Vec<u8> {
    fs::read(place.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

const SETTINGS: &str = r#"{"epochs":"2","model":"\"simple_cnn\"","image-size":"32","lr":"0.002","batch_size":"6","flip":"True",
    "_tuning_objective_metric":"val_acc","sagemaker_program":"\"train.py\"","sagemaker_job_name":"null","use-cuda":"1"}"#;

#[test]
fn a_training_job_is_the_training_that_its_settings_say() {
    let place = job(SETTINGS);
    let ended = train(&place);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.matches("[METRICS] epoch=").count(), 2, "{}", ended.stdout);
    for name in ["model/best.safetensors", "output/data/report.html", "output/data/metrics.csv"] {
        assert!(!read(&place, &format!("ml/{name}")).is_empty(), "{name}");
    }
    assert!(!place.path("ml/output/failure").exists());

    let plain = "train ml/input/data --out plain --epochs 2 --model simple_cnn --image-size 32 --learning-rate 0.002 --batch-size 6 --flip";
    place.done(&plain.split(' ').collect::<Vec<_>>());
    assert!(read(&place, "plain/best.safetensors") == read(&place, "ml/model/best.safetensors"));
    assert_eq!(read(&place, "plain/predictions.csv"), read(&place, "ml/output/data/predictions.csv"));

    // The same job once more, as after an interruption in its last second: nothing is trained, all is there again.
    fs::remove_dir_all(place.path("ml/model")).unwrap();
    let again = train(&place);
    assert_eq!((again.code, again.stdout.matches("[METRICS]").count()), (Some(0), 0), "{}", again.stderr);
    assert!(read(&place, "plain/best.safetensors") == read(&place, "ml/model/best.safetensors"));
    // Another job with its checkpoints is told apart.
    place.write("ml/input/config/hyperparameters.json", SETTINGS.replace("0.002", "0.003"));
    let other = train(&place);
    assert_eq!(other.code, Some(2), "{}", other.stderr);
    assert!(String::from_utf8_lossy(&read(&place, "ml/output/failure")).contains("learning_rate"));
}

/// Whether a process has a handler for SIGTERM, where the system says so; one that has ended needs none.
fn hears_sigterm(id: u32) -> bool {
    let Ok(status) = fs::read_to_string(format!("/proc/{id}/status")) else { return true };
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    caught.is_none_or(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << 14 != 0)
}

#[test]
fn a_job_that_is_ended_politely_goes_on_elsewhere() {
    let settings = SETTINGS.replace(r#""epochs":"2""#, r#""epochs":"6","checkpoint-minutes":"0.0001""#);
    let whole = job(&settings);
    assert_eq!(train(&whole).code, Some(0));
    let place = job(&settings);
    let mut starts = 0;
    loop {
        starts += 1;
        let child = command(&place, &["train"]).spawn().unwrap();
        // Until it hears the signal and the run is there, then a while into it.
        while !(hears_sigterm(child.id()) && place.path("ml/checkpoints/run/metrics.csv").exists()) {
            thread::sleep(Duration::from_millis(2));
        }
        if starts < 3 {
            thread::sleep(Duration::from_millis(20));
            let id = child.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        }
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{stderr}");
        assert!(!place.path("ml/output/failure").exists(), "{stderr}");
        if starts == 3 {
            break;
        }
        assert!(stderr.contains("the platform ends the job"), "{stderr}");
        // Another machine: nothing but the checkpoints and what the platform gives is there.
        for gone in ["ml/model", "ml/output"] {
            let _ = fs::remove_dir_all(place.path(gone));
        }
    }
    assert!(read(&place, "ml/model/best.safetensors") == read(&whole, "ml/model/best.safetensors"));
}

#[test]
fn variables_of_the_toolkit_go_before_the_files() {
    let place = job(SETTINGS);
    fs::rename(place.path("ml/input/data/train"), place.path("elsewhere")).unwrap();
    let mut call = command(&place, &["train"]);
    call.env("SM_CHANNEL_TRAIN", place.path("elsewhere"))
        .env("SM_HP_EPOCHS", "1")
        .env("SM_HP_BATCH-SIZE", "5")
        // The file calls it `lr`.
        .env("SM_HPS", r#"{"epochs":"3","learning-rate":"0.004"}"#);
    call.env("SM_MODEL_DIR", place.path("model")).env("SM_OUTPUT_DATA_DIR", place.path("output"));
    let ended = ended(&mut call);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout.matches("[METRICS]").count(), 1);
    let config = String::from_utf8(read(&place, "output/config.toml")).unwrap();
    assert!(config.contains("batch_size = 5") && config.contains("learning_rate = 0.004"), "{config}");
    assert!(place.path("model/best.safetensors").is_file());
}

#[test]
fn channels_of_different_kinds_are_no_classes() {
    let place = job(SETTINGS);
    let settings = ["--size", "32", "--store", "raw"];
    let prepare =
        |from: &str, to: &str| place.done(&[&["prepare", from, "--out", to], settings.as_slice()].concat());
    prepare("ml/input/data/train", "prepared/train");
    prepare("ml/input/data/validation", "prepared/validation");
    let put = |name: &str| {
        let folder = place.path(&format!("ml/input/data/{name}"));
        fs::remove_dir_all(&folder).unwrap();
        fs::rename(place.path(&format!("prepared/{name}")), folder).unwrap();
    };
    put("validation");
    let mixed = train(&place);
    assert_eq!(mixed.code, Some(2), "{}", mixed.stderr);
    assert!(mixed.stderr.contains("channel `val` is no folder of class folders"), "{}", mixed.stderr);
    put("train");
    let both = train(&place);
    assert_eq!(both.code, Some(0), "{}", both.stderr);
    let split = String::from_utf8(read(&place, "ml/output/data/split.csv")).unwrap();
    assert_eq!((split.matches(",train,").count(), split.matches(",val,").count()), (18, 9), "{split}");

    // A table in each is no class folder either.
    let tables = job(SETTINGS);
    for name in ["train", "validation"] {
        tables.write(&format!("ml/input/data/{name}/labels.csv"), "filepath,label\nday/00.png,day\n");
    }
    assert_eq!(train(&tables).code, Some(2));
}

#[test]
fn weights_come_from_their_channel() {
    let place = job(SETTINGS);
    assert_eq!(train(&place).code, Some(0));
    let next = job(SETTINGS);
    next.write("ml/input/data/weights/start.safetensors", read(&place, "ml/model/best.safetensors"));
    fs::remove_file(next.path("ml/input/config/inputdataconfig.json")).unwrap();
    let ended = train(&next);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let config = String::from_utf8(read(&next, "ml/output/data/config.toml")).unwrap();
    assert!(config.contains("weights/start.safetensors"), "{config}");
    assert!(!ended.stderr.contains("not used"), "{}", ended.stderr);
}

#[test]
fn what_the_call_names_goes_before_channels() {
    let place = job(SETTINGS);
    place.photos(4);
    let photos = place.path("photos").to_string_lossy().into_owned();
    let ended = ended(&mut command(&place, &["train", &photos, "--epochs", "1"]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let split = String::from_utf8(read(&place, "ml/output/data/split.csv")).unwrap();
    assert!(split.lines().count() == 13 && !split.contains("train/"), "{split}");
    assert!(place.path("ml/model/best.safetensors").is_file());

    for call in [["train", "--folds", "3"], ["train", "--epoch", "1"]] {
        fs::write(place.path("ml/output/failure"), "").unwrap();
        let ended = crate::harness::ended(&mut command(&place, &call));
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        let failure = String::from_utf8(read(&place, "ml/output/failure")).unwrap();
        assert!(failure.contains("--"), "{failure}");
    }
}

#[test]
fn a_stream_of_photos_and_labels_is_a_channel() {
    let place = job(SETTINGS);
    let mut stream = Vec::new();
    let mut record = |bytes: &[u8]| {
        stream.extend(0xced7_230a_u32.to_le_bytes());
        stream.extend((bytes.len() as u32).to_le_bytes());
        stream.extend(bytes);
        stream.resize(stream.len().next_multiple_of(4), 0);
    };
    for number in 0..6 {
        for label in ["day", "dusk", "night"] {
            record(&read(&place, &format!("ml/input/data/train/{label}/{number:02}.png")));
            record(format!("\"{label}\"").as_bytes());
        }
    }
    fs::remove_dir_all(place.path("ml/input/data/train")).unwrap();
    place.write(
        "ml/input/config/inputdataconfig.json",
        r#"{"train":{"TrainingInputMode":"Pipe","RecordWrapperType":"RecordIO"},"validation":{"TrainingInputMode":"File"}}"#,
    );
    let fifo = place.path("ml/input/data/train_0");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let platform = thread::spawn(move || fs::write(fifo, stream).unwrap());
    let ended = train(&place);
    platform.join().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let split = String::from_utf8(read(&place, "ml/output/data/split.csv")).unwrap();
    assert_eq!((split.matches("train/night/").count(), split.matches("val/").count()), (6, 9), "{split}");
}

#[test]
fn a_job_that_cannot_be_done_says_why() {
    let cases: [(&str, &str, &str); 8] = [
        ("hyperparameters.json", r#"{"learning_rat":"0.1"}"#, ""),
        ("hyperparameters.json", r#"{"lr":"0.1","learning-rate":"0.2"}"#, ""),
        ("hyperparameters.json", r#"{"epochs":"many"}"#, ""),
        ("hyperparameters.json", r#"{"epochs":"#, ""),
        ("resourceconfig.json", r#"{"current_host":"algo-1","hosts":["algo-1","algo-2"]}"#, ""),
        ("inputdataconfig.json", r#"{"train":{"TrainingInputMode":"Pipe"}}"#, ""),
        ("inputdataconfig.json", r#"{"gone":{}}"#, ""),
        ("inputdataconfig.json", r#"{"train":{},"birds":{}}"#, "birds"),
    ];
    let mut said = String::new();
    for (file, text, more) in cases {
        let place = job(SETTINGS);
        if !more.is_empty() {
            channel(&place, more, 0..1);
        }
        place.write(&format!("ml/input/config/{file}"), text);
        let ended = train(&place);
        assert_eq!(ended.code, Some(2), "{text}: {}", ended.stderr);
        let failure = String::from_utf8(read(&place, "ml/output/failure")).unwrap();
        let failure = failure.replace(&*place.path("").to_string_lossy(), "[FOLDER]/");
        said.push_str(&format!("{file}: {text}\n  {failure}\n"));
        assert!(!place.path("ml/checkpoints").exists());
    }
    let snapshot =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots/container_failures.txt");
    compare(&snapshot, &said, "UPDATE_SNAPSHOTS");
}

/// A processing job on a machine of two, each with its share of the photos.
fn processing(host: &str, distribution: &str) -> Place {
    let place = Place::new();
    place.write(
        "ml/config/resourceconfig.json",
        format!(r#"{{"current_host":"{host}","hosts":["algo-1","algo-2"]}}"#),
    );
    let input = format!(
        r#"{{"ProcessingInputs":[{{"InputName":"photos","S3Input":{{"LocalPath":"/opt/ml/processing/input/photos",
            "S3Uri":"s3://bucket/photos","S3DataType":"S3Prefix","S3DataDistributionType":"{distribution}"}}}}]}}"#
    );
    place.write("ml/config/processingjobconfig.json", input);
    let first = u32::from(host == "algo-2");
    for (class, label) in (0..).zip(["day", "dusk", "night"]) {
        // The second machine has none of the nights.
        for number in (first..8).step_by(2).filter(|_| first == 0 || class < 2) {
            place.photo(&format!("ml/processing/input/photos/{label}/{number:02}.png"), class, number);
        }
    }
    place
}

#[test]
fn machines_share_a_processing_job() {
    let together = Place::new();
    for host in ["algo-1", "algo-2"] {
        let place = processing(host, "ShardedByS3Key");
        let (input, out) = ("ml/processing/input/photos", "ml/processing/output/prepared");
        let absolute = |name: &str| place.path(name).to_string_lossy().into_owned();
        let prepare =
            ["prepare", &absolute(input), "--out", &absolute(out), "--size", "32", "--store", "raw"];
        let done = ended(&mut command(&place, &prepare));
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        // All outputs go below one prefix.
        let target = together.path("prepared");
        fs::create_dir_all(&target).unwrap();
        for entry in fs::read_dir(place.path(out)).unwrap().flatten() {
            fs::rename(entry.path(), target.join(entry.file_name())).unwrap();
        }
    }
    let names = |place: &Place| {
        let mut names: Vec<String> = fs::read_dir(place.path("prepared"))
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(&together), ["algo-1", "algo-2"]);
    // What they have made is one data set, the same as one machine would have made.
    together.photos(8);
    for number in [1, 3, 5, 7] {
        fs::remove_file(together.path(&format!("photos/night/{number:02}.png"))).unwrap();
    }
    let settings = ["--model", "simple_cnn", "--image-size", "32", "--epochs", "1", "--batch-size", "5"];
    for (data, out) in [("prepared", "shared"), ("photos", "alone")] {
        together.done(&[&["train", data, "--out", out], settings.as_slice()].concat());
    }
    let predictions = |run: &str| read(&together, &format!("{run}/predictions.csv"));
    assert_eq!(predictions("shared"), predictions("alone"));

    let place = processing("algo-2", "ShardedByS3Key");
    let photos = place.path("ml/processing/input/photos").to_string_lossy().into_owned();
    let out = place.path("ml/processing/output/answers.csv").to_string_lossy().into_owned();
    fs::create_dir_all(place.path("ml/processing/output")).unwrap();
    let model = together.path("alone").to_string_lossy().into_owned();
    let done = ended(&mut command(&place, &["predict", &model, &photos, "--out", &out]));
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(place.path("ml/processing/output/answers-algo-2.csv").is_file() && !place.path(&out).exists());
}

#[test]
fn machines_that_have_everything_do_not_do_it_twice() {
    let place = processing("algo-1", "FullyReplicated");
    let photos = place.path("ml/processing/input/photos").to_string_lossy().into_owned();
    let out = place.path("ml/processing/output/prepared").to_string_lossy().into_owned();
    let ended = ended(&mut command(&place, &["prepare", &photos, "--out", &out]));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    let message = String::from_utf8(read(&place, "ml/output/message")).unwrap();
    assert!(message.starts_with("each of the 2 machines has all of"), "{message}");
    assert!(message.contains("ShardedByS3Key"), "{message}");
    assert!(!place.path("ml/processing/output/prepared").exists());
}

#[test]
fn prepared_folders_that_overlap_are_refused() {
    let place = Place::new();
    place.photos(2);
    for name in ["algo-1", "algo-2"] {
        place.done(&["prepare", "photos", "--out", &format!("both/{name}"), "--size", "16"]);
    }
    let ended = place.run(&["check", "both"]);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("`day/00.png` is there twice"), "{}", ended.stderr);
}
