//! What a call, a job on SageMaker or a run has in its files.

#![no_main]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fuzz::{file, folder, kind, of_kind, parts, seed, within};
use libfuzzer_sys::fuzz_target;
use pugmark::fuzzing::{config, journal, measured, pipe, processing_job, report, training_job};
use pugmark_data::{Item, Recipe, Sample};
use pugmark_graph::Architecture;
use pugmark_model::{FORMAT, Model, ModelCard};
use pugmark_train::{EpochMetrics, TrainSettings};

const KINDS: usize = 7;

/// Who answers in the journal.
const WHO: &str = "{\"pugmark\":\"a\"}";

fuzz_target!(init: seed(seeds()), |bytes: &[u8]| {
    let Some((kind, bytes)) = of_kind(bytes, KINDS) else { return };
    within(512 * bytes.len() + (64 << 20), || {
        let said = match kind {
            0 => config(&file("config.toml", bytes)).err(),
            1 => training(bytes),
            2 => processing(bytes),
            3 => stream(bytes),
            4 => measured(&file("predictions.csv", bytes), &classes()).err(),
            5 => answered(bytes),
            _ => page(bytes),
        };
        if let Some(error) = said {
            fuzz::said(&error);
        }
    });
});

fn classes() -> [String; 2] {
    ["hog", "lion"].map(String::from)
}

/// The folder that the platform's files are in; the script names it, and this process makes it.
fn base() -> &'static Path {
    static BASE: OnceLock<PathBuf> = OnceLock::new();
    BASE.get_or_init(|| {
        let base = PathBuf::from(std::env::var_os("SAGEMAKER_BASE_DIR").expect("`run` sets it"));
        for folder in ["input/config", "input/data/train", "config", "processing/input", "processing/output"]
        {
            fs::create_dir_all(base.join(folder)).expect("there is room");
        }
        base
    })
}

fn training(bytes: &[u8]) -> Option<String> {
    let names = ["hyperparameters.json", "inputdataconfig.json", "resourceconfig.json"];
    for (name, part) in names.into_iter().zip(parts::<3>(bytes)) {
        fs::write(base().join("input/config").join(name), part).expect("there is room");
    }
    match training_job() {
        Ok((settings, data)) => {
            assert!(settings.validate().is_ok() && data.starts_with(base()));
            None
        }
        Err(error) => Some(error),
    }
}

fn processing(bytes: &[u8]) -> Option<String> {
    for (name, part) in ["processingjobconfig.json", "resourceconfig.json"].into_iter().zip(parts::<2>(bytes))
    {
        fs::write(base().join("config").join(name), part).expect("there is room");
    }
    let call = ["pugmark", "prepare", "BASE/processing/input", "--out", "BASE/processing/output"];
    let base = base().to_str().expect("the script's name is text");
    let call: Vec<OsString> = call.iter().map(|word| word.replace("BASE", base).into()).collect();
    processing_job(&call).err()
}

/// Whatever the stream says, nothing is written outside of the folder.
fn stream(bytes: &[u8]) -> Option<String> {
    let place = folder().join("pipe");
    let _ = fs::remove_dir_all(&place);
    let stream = file("pipe/train_0", bytes);
    let read = pipe(&stream, &place.join("piped"));
    let there: Vec<OsString> =
        fs::read_dir(&place).expect("it is there").flatten().map(|entry| entry.file_name()).collect();
    assert!(there.iter().all(|name| name == "train_0" || name == "piped"), "{there:?}");
    read.err()
}

fn answered(bytes: &[u8]) -> Option<String> {
    let out = folder().join("answers.csv");
    let lines = [WHO.as_bytes(), b"\n", bytes].concat();
    file("answers.csv.journal", &lines);
    let items = ["a", "b"].map(|id| Item::from(&Sample::new(id, folder().join("no-photo").join(id))));
    match journal(&out, WHO, &items, &classes()) {
        Ok(rows) => {
            assert!(
                rows.len() <= 2
                    && rows.iter().all(|row| serde_json::from_str::<serde_json::Value>(row).is_ok())
            );
            None
        }
        Err(error) => Some(error),
    }
}

/// A run's report.
fn page(bytes: &[u8]) -> Option<String> {
    let run = run();
    let names =
        ["config.toml", "metrics.json", "predictions.csv", "split.csv", "watch.jsonl", "profile.json"];
    for (name, part) in names.into_iter().zip(parts::<6>(bytes)) {
        // Of the last two there may be none.
        let path = run.join(name);
        match part.is_empty() {
            true => drop(fs::remove_file(path)),
            false => fs::write(path, part).expect("there is room"),
        }
    }
    report(run).err()
}

/// A run folder with the smallest model.
fn run() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let card = ModelCard {
            format: FORMAT,
            version: "0".into(),
            architecture: Architecture::SimpleCnn,
            classes: classes().to_vec(),
            recipe: Recipe::imagenet(8),
            temperature: 1.0,
            calibration: None,
            data_hash: "d".into(),
            split_hash: "s".into(),
            split_how: "site".into(),
            metrics: BTreeMap::new(),
            epoch: 1,
        };
        let tensors = Architecture::SimpleCnn.graph(2).initialise(0);
        let run = folder().join("run");
        fs::create_dir_all(&run).expect("there is room");
        Model { card, tensors }.write(&run.join("best.safetensors")).expect("there is room");
        run
    })
}

fn seeds() -> Vec<Vec<u8>> {
    let settings = toml::to_string(&TrainSettings::default()).expect("they can be written");
    let metrics = EpochMetrics {
        epoch: 1,
        train_loss: 0.5,
        train_acc: 0.75,
        val_loss: 0.6,
        val_acc: 0.7,
        val_macro_f1: 0.65,
        learning_rate: 0.01,
        images_per_sec: 100.0,
        seconds: 1.0,
        peak_memory_mib: Some(100),
    };
    let metrics = serde_json::to_string(&[metrics]).expect("they can be written");
    let predictions = "id,split,class,predicted,hog,lion,truncated,reason\na/1.jpg,val,hog,lion,0.25,0.75,false,\n\
                       b/2.jpg,val,lion,lion,0.5,0.5,true,\nc/3.jpg,val,hog,,,,false,not a JPEG\n";
    let split = "id,split,class,site\na/1.jpg,val,hog,S1\nb/2.jpg,val,lion,\nd/4.jpg,train,hog,S2\n";
    let png = b"\x89PNG\r\n\x1a\n and no more";
    let record = |part: u32, bytes: &[u8]| {
        let mut record = 0xced7_230a_u32.to_le_bytes().to_vec();
        record.extend((part << 29 | bytes.len() as u32).to_le_bytes());
        record.extend(bytes);
        record.resize(record.len().next_multiple_of(4), 0);
        record
    };
    let stream = [
        record(0, png),
        record(0, b"{\"class-name\":\"hog\"}"),
        record(1, &png[..9]),
        record(3, &png[9..]),
        record(0, b"\"lion\""),
    ];
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let lines = format!(
        "{{\"id\":\"a\",\"file\":null,\"probabilities\":[0.25,0.75],\"truncated\":false}}\n\
         {{\"id\":\"b\",\"file\":null,\"truncated\":false,\"reason\":\"empty\"}}\n\
         {{\"id\":\"c\",\"file\":[3,4],\"sha256\":\"{digest}\",\"probabilities\":[1.0,0.0],\"truncated\":true}}\n\
         {{\"written\":true,\"call\":\"csv\",\"photos\":2}}\n"
    );
    let hyperparameters = "{\"epochs\":\"3\",\"learning-rate\":\"0.01\",\"_tuning_objective_metric\":\"\\\"val_acc\\\"\",\"sagemaker_program\":\"x\",\"model\":\"\\\"resnet18\\\"\"}";
    let channels = "{\"train\":{\"TrainingInputMode\":\"File\",\"S3DistributionType\":\"FullyReplicated\"}}";
    let hosts =
        "{\"current_host\":\"algo-1\",\"hosts\":[\"algo-1\",\"algo-2\"],\"network_interface_name\":\"eth0\"}";
    let one_host = "{\"current_host\":\"algo-1\",\"hosts\":[\"algo-1\"]}";
    let processing = "{\"ProcessingInputs\":[{\"InputName\":\"photos\",\"S3Input\":{\"LocalPath\":\"/opt/ml/processing/input\",\
                      \"S3DataDistributionType\":\"ShardedByS3Key\"}}]}";
    vec![
        kind(0, &settings),
        kind(0, "lr = 0.1\n\"batch-size\" = 3\nmodel = \"resnet18\"\n"),
        kind(1, [hyperparameters, channels, one_host].join("\0")),
        kind(2, [processing, hosts].join("\0")),
        kind(3, stream.concat()),
        kind(4, predictions),
        kind(5, lines),
        kind(6, [&settings, metrics.as_str(), predictions, split, "", ""].join("\0")),
    ]
}
