//! SageMaker's jobs on this machine: trees, signals, files, and what `job.json` says of them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Ended, Place};

/// What a training of the tests is told.
const SET: &str = "model=simple_cnn image-size=32 batch-size=4 epochs=2";

fn words(call: &str) -> Vec<&str> {
    call.split_whitespace().collect()
}

fn call(place: &Place, call: &str) -> Ended {
    place.run(&[&["sagemaker"], &words(call)[..]].concat())
}

/// A call that must end with 0.
fn done(place: &Place, text: &str) -> Ended {
    let ended = call(place, text);
    assert_eq!(ended.code, Some(0), "{text}: {}", ended.stderr);
    ended
}

/// A call that must end with `code`, and say `parts`.
fn wrong(place: &Place, text: &str, code: i32, parts: &[&str]) {
    let ended = call(place, text);
    assert_eq!(ended.code, Some(code), "{text}: {}", ended.stderr);
    for part in parts {
        assert!(ended.stderr.contains(part), "{text}: {part}: {}", ended.stderr);
    }
}

fn job(place: &Place, name: &str) -> Value {
    let text = fs::read(place.path(&format!("sagemaker-local/{name}/job.json"))).unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn statuses(job: &Value) -> Vec<&str> {
    let transitions = job["SecondaryStatusTransitions"].as_array().unwrap();
    transitions.iter().map(|transition| transition["Status"].as_str().unwrap()).collect()
}

/// The names in an archive.
fn names(archive: &Path) -> Vec<String> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(File::open(archive).unwrap()));
    let entries = archive.entries().unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| entry.path().unwrap().to_string_lossy().into_owned()).collect()
}

/// An archive of a trained model.
fn model(place: &Place) -> PathBuf {
    place.photos(6);
    place.done(&words("train photos --out run --model simple_cnn --image-size 32 --epochs 1"));
    let path = place.path("model.tar.gz");
    let gzip = flate2::write::GzEncoder::new(File::create(&path).unwrap(), flate2::Compression::fast());
    let mut archive = tar::Builder::new(gzip);
    archive.append_path_with_name(place.path("run/best.safetensors"), "best.safetensors").unwrap();
    archive.into_inner().unwrap().finish().unwrap();
    path
}

#[test]
fn a_training_job_leaves_what_sagemaker_would() {
    let place = Place::new();
    place.photos(6);
    let train = format!("local train --channel train=photos --set {SET}");
    let ended = done(&place, &format!("{train} --job first --sdk"));
    assert!(ended.stderr.contains("[METRICS] epoch=2;"), "{}", ended.stderr);
    assert!(ended.stdout.contains("sagemaker-local/first/output/model.tar.gz"), "{}", ended.stdout);
    let first = job(&place, "first");
    assert_eq!(
        (&first["TrainingJobStatus"], &first["SecondaryStatus"]),
        (&json!("Completed"), &json!("Completed"))
    );
    assert_eq!(statuses(&first), ["Starting", "Downloading", "Training", "Uploading", "Completed"]);
    assert_eq!(first["HyperParameters"]["model"], "\"simple_cnn\"");
    assert_eq!(
        (&first["HyperParameters"]["epochs"], &first["HyperParameters"]["sagemaker_job_name"]),
        (&json!("2"), &json!("\"first\""))
    );
    let metrics = first["FinalMetricDataList"].as_array().unwrap();
    let epoch = metrics.iter().find(|metric| metric["MetricName"] == "epoch").unwrap();
    assert_eq!(epoch["Value"], 2.0);
    let log = fs::read_to_string(place.path("sagemaker-local/first/logs/algo-1.log")).unwrap();
    assert_eq!(log.matches("[METRICS]").count(), 2, "{log}");
    assert!(log.contains("/opt/ml/checkpoints/run") && !log.contains("algo-1"), "{log}");
    assert!(
        names(&place.path("sagemaker-local/first/output/model.tar.gz"))
            .contains(&"best.safetensors".to_owned())
    );
    assert!(
        names(&place.path("sagemaker-local/first/output/output.tar.gz")).contains(&"metrics.csv".to_owned())
    );
    assert!(!place.path("sagemaker-local/first/algo-1").exists() && place.path("photos/day/00.png").exists());

    wrong(&place, &format!("{train} --job first"), 2, &["there is a job called first", "hint: name another"]);
    // Without the SDK's encoding the model is the same; the name is the next free one.
    done(&place, &format!("{train} --keep --quiet"));
    let text =
        fs::read(place.path("sagemaker-local/train-1/algo-1/opt/ml/input/config/hyperparameters.json"))
            .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap()["model"], "simple_cnn");
    let bytes =
        |name: &str| fs::read(place.path(&format!("sagemaker-local/{name}/output/model.tar.gz"))).unwrap();
    assert!(bytes("first") == bytes("train-1"));
}

#[test]
fn an_instance_that_is_taken_away_costs_nothing() {
    let place = Place::new();
    place.photos(6);
    let train =
        "local train --channel train=photos --set model=simple_cnn image-size=32 batch-size=4 epochs=30";
    done(&place, &format!("{train} --job whole"));
    done(
        &place,
        &format!(
            "{train} --job spot --spot --lose-after 0 --interrupt-after 0.3 --lose-after 0.8 --interrupt-after 1.5"
        ),
    );
    let spot = job(&place, "spot");
    let taken = statuses(&spot).iter().filter(|status| **status == "Interrupted").count();
    let log = fs::read_to_string(place.path("sagemaker-local/spot/logs/algo-1.log")).unwrap();
    assert!(
        taken >= 1 && statuses(&spot).iter().filter(|status| **status == "Training").count() == taken + 1
    );
    assert_eq!(spot["TrainingJobStatus"], "Completed", "{log}");
    let bytes =
        |name: &str| fs::read(place.path(&format!("sagemaker-local/{name}/output/model.tar.gz"))).unwrap();
    assert!(bytes("whole") == bytes("spot"), "{log}");

    // What was saved in time is not trained again.
    done(&place, &format!("{train} --job polite --spot --interrupt-after 0.6 --interrupt-after 1.2"));
    let log = fs::read_to_string(place.path("sagemaker-local/polite/logs/algo-1.log")).unwrap();
    for epoch in 1..=30 {
        assert_eq!(log.matches(&format!("[METRICS] epoch={epoch};")).count(), 1, "{log}");
    }
}

#[test]
fn a_training_job_fails_with_its_own_reason() {
    let place = Place::new();
    place.photos(2);
    let train = "local train --channel train=photos";
    wrong(&place, &format!("{train} --set model=nothing --job bad"), 1, &["training job bad: ", "hint: "]);
    let bad = job(&place, "bad");
    assert_eq!(bad["TrainingJobStatus"], "Failed");
    assert!(bad["FailureReason"].as_str().unwrap().contains("nothing"), "{bad}");
    assert!(bad["ModelArtifacts"].is_null());
}

#[test]
fn a_training_job_that_is_stopped_keeps_its_model() {
    let place = Place::new();
    place.photos(6);
    let call = "sagemaker local train --job long --channel train=photos --set model=simple_cnn image-size=32 epochs=100000";
    let mut child = place.command(&words(call)).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(|line| line.unwrap());
    assert!(lines.any(|line| line.contains("[METRICS] epoch=2;")));
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert!(lines.any(|line| line.contains("the platform ends the job")));
    lines.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let long = job(&place, "long");
    assert_eq!(statuses(&long)[3..], ["Stopping", "Uploading", "Stopped"]);
    assert_eq!(long["TrainingJobStatus"], "Stopped");
    let archive = long["ModelArtifacts"]["S3ModelArtifacts"].as_str().unwrap();
    assert_eq!(names(Path::new(archive)), ["best.safetensors"]);
    assert!(place.path("sagemaker-local/long/checkpoints/run/checkpoint/state.json").exists());

    let call = call.replace("sagemaker ", "").replace("--job long", "--job over --max-runtime 1");
    wrong(&place, &call, 1, &["training job over: MaxRuntimeExceeded"]);
    let over = job(&place, "over");
    assert_eq!(
        (&over["TrainingJobStatus"], &over["SecondaryStatus"]),
        (&json!("Stopped"), &json!("MaxRuntimeExceeded"))
    );
}

#[test]
fn calls_that_are_wrong() {
    let place = Place::new();
    place.photos(2);
    place.write("space.json", r#"{"Strategy": "Bayesian", "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "auc"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 2, "MaxParallelTrainingJobs": 1},
        "ParameterRanges": {"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0.1", "MaxValue": "1"}]}}"#);
    let train = "local train --channel train=photos";
    for (text, parts) in [
        (format!("{train} --job a_b"), ["is no name of a training job", "hint:"]),
        (format!("{train} --job=-a"), ["`-a` is no name", "hint:"]),
        (format!("{train} --channel train=photos"), ["--channel train stands twice", ""]),
        ("local train --channel train=absent".to_owned(), ["--channel train: absent", "hint:"]),
        ("local train --channel tr/ain=photos".to_owned(), ["NAME=PATH is meant", ""]),
        (format!("{train} --set epochs"), ["NAME=VALUE is meant", ""]),
        (format!("{train} --set epochs=1 epochs=2"), ["a hyperparameter twice", ""]),
        (format!("{train} --set x={}", "y".repeat(2501)), ["hyperparameter x is too long", "hint:"]),
        (format!("{train} --interrupt-after 1"), ["--spot", ""]),
        (format!("{train} --spot --max-runtime 10 --max-wait 9"), ["--max-wait is shorter", "hint:"]),
        (format!("{train} --metric loss=loss"), ["--metric loss: ", "no group"]),
        ("local process --input data=photos".to_owned(), ["VERB ARGUMENTS", ""]),
        ("local transform --model absent --input nowhere".to_owned(), ["--input nowhere is no folder", ""]),
        ("local transform --model absent --input photos".to_owned(), ["--model absent is no file", "hint:"]),
        ("local endpoint --model absent".to_owned(), ["--model absent is no file", "hint:"]),
        ("local tune --config absent.json --channel train=photos".to_owned(), ["absent.json: ", ""]),
        (
            "local tune --config space.json --channel train=photos".to_owned(),
            ["no metric is called auc", "val_acc"],
        ),
        (
            "local tune --config space.json --channel train=photos --set lr=1".to_owned(),
            ["lr has a range", "hint:"],
        ),
    ] {
        wrong(&place, &text, 2, &parts);
    }
    assert!(!place.path("sagemaker-local").exists(), "nothing is made by a call that is wrong");
    place.write("model.tar.gz", "no archive");
    wrong(
        &place,
        "local endpoint --model model.tar.gz --port 0",
        2,
        &["is no archive of a model", "hint: `tar"],
    );
    assert_eq!(job(&place, "endpoint-1")["EndpointStatus"], "Failed");
}

#[test]
fn metric_definitions_fit_the_lines_of_a_training() {
    let place = Place::new();
    place.photos(4);
    let line =
        place.done(&words("train photos --out run --model simple_cnn --image-size 32 --epochs 1")).stdout;
    let line = line.lines().next().unwrap();
    let definitions: Vec<Value> = serde_json::from_str(&done(&place, "metrics").stdout).unwrap();
    assert!(definitions.len() > 8 && definitions.len() <= 40);
    for definition in definitions {
        let (name, regex) = (definition["Name"].as_str().unwrap(), definition["Regex"].as_str().unwrap());
        let found = regex_lite::Regex::new(regex).unwrap().captures(line).unwrap();
        let value: f64 = found[1].parse().unwrap();
        let (_, rest) = line.split_once(&format!(" {name}=")).unwrap();
        assert_eq!(value, rest.split_once(';').unwrap().0.parse::<f64>().unwrap(), "{name} in {line}");
    }
}

#[test]
fn a_transform_answers_every_object() {
    let place = Place::new();
    model(&place);
    let transform = "local transform --model model.tar.gz --input photos";
    let ended = done(&place, &format!("{transform} --job good"));
    assert!(ended.stdout.contains("18 objects answered"), "{}", ended.stdout);
    let text = fs::read(place.path("sagemaker-local/good/output/day/00.png.out")).unwrap();
    let answer: Value = serde_json::from_slice(&text).unwrap();
    let predicted = place.done(&["predict", "run", "photos/day/00.png", "--json"]).stdout;
    let predicted: Value = serde_json::from_str(&predicted).unwrap();
    assert_eq!(answer["probabilities"], predicted["probabilities"]);
    assert_eq!(job(&place, "good")["TransformJobStatus"], "Completed");
    assert!(job(&place, "good")["MaxConcurrentTransforms"].as_u64().unwrap() > 1);

    place.write("photos/notes.txt", "no photo");
    wrong(&place, &format!("{transform} --job bad"), 1, &["1 of 19 objects failed; notes.txt: 415"]);
    let output = place.path("sagemaker-local/bad/output");
    assert!(output.join("dusk/05.png.out").exists() && !output.join("notes.txt.out").exists());
    assert_eq!(job(&place, "bad")["TransformJobStatus"], "Failed");
}

#[test]
fn an_endpoint_answers_until_it_is_deleted() {
    use crate::serve::Process;
    let place = Place::new();
    model(&place);
    let command = place.command(&words("sagemaker local endpoint --model model.tar.gz --port 0 --job dogs"));
    let mut endpoint = Process::new(command);
    assert_eq!(job(&place, "dogs")["EndpointStatus"], "InService");
    assert!(endpoint.ask("GET", "/ping", b"").starts_with("HTTP/1.1 200"));
    let photo = fs::read(place.path("photos/dusk/00.png")).unwrap();
    assert!(endpoint.ask("POST", "/invocations", &photo).starts_with("HTTP/1.1 200"));
    endpoint.signal("-INT");
    let (code, said) = endpoint.ended();
    assert!(code == Some(0) && said.contains("every request that was accepted is answered"), "{said}");
    assert_eq!(job(&place, "dogs")["EndpointStatus"], "Deleted");
    assert!(!place.path("sagemaker-local/dogs/algo-1").exists());
}

#[test]
fn outputs_of_all_instances_come_together() {
    let place = Place::new();
    place.photos(6);
    let process = "local process --input data=photos";
    let split = "split /opt/ml/processing/input/data --out /opt/ml/processing/output/split.csv";
    done(&place, &format!("{process} --job one -- {split}"));
    assert!(place.path("sagemaker-local/one/output/split.csv").exists());
    let one = job(&place, "one");
    assert_eq!(one["ProcessingJobStatus"], "Completed");
    assert_eq!(one["ProcessingInputs"][0]["S3Input"]["LocalPath"], "/opt/ml/processing/input/data");
    wrong(
        &place,
        &format!(
            "{process} --instances 2 --job two -- demo --world-only --sites 2 --out /opt/ml/processing/output/world"
        ),
        1,
        &["algo-1 and algo-2 both wrote world/README.txt"],
    );
    assert_eq!(job(&place, "two")["ProcessingJobStatus"], "Failed");
    wrong(
        &place,
        &format!("{process} --instances 2 --job same -- {split}"),
        1,
        &["processing job same: each of the 2"],
    );
    let message = job(&place, "same")["ExitMessage"].as_str().unwrap().to_owned();
    assert_eq!(message.matches("has all of /opt/ml/processing/input/data").count(), 1, "{message}");
    wrong(
        &place,
        &format!("{process} --job three -- split /opt/ml/processing/input/other --out x.csv"),
        1,
        &["processing job three: "],
    );

    // The shares of two instances are everything, once.
    let sharded = format!(
        "{process} --instances 2 --distribution sharded-by-s3-key --keep --job four -- check /opt/ml/processing/input/data"
    );
    done(&place, &sharded);
    let share = |host: &str| {
        let folder = place.path(&format!("sagemaker-local/four/{host}/opt/ml/processing/input/data"));
        let names = ["day", "dusk", "night"].into_iter().flat_map(|class| {
            let files: Vec<String> = fs::read_dir(folder.join(class))
                .unwrap()
                .map(|file| file.unwrap().file_name().into_string().unwrap())
                .collect();
            files.into_iter().map(move |file| format!("{class}/{file}"))
        });
        names.collect::<std::collections::BTreeSet<String>>()
    };
    let (one, two) = (share("algo-1"), share("algo-2"));
    assert!(one.len() == 9 && two.len() == 9 && one.is_disjoint(&two), "{one:?} {two:?}");
    assert!(one.contains("day/00.png") && two.contains("day/01.png"));
}

/// Where the system allows it, the container sees its tree at `/opt/ml` and nothing of it is left outside.
#[test]
fn a_tree_can_be_at_opt_ml_itself() {
    let place = Place::new();
    place.photos(6);
    let isolated = "local process --isolate --input data=photos --job ml";
    let ended = call(
        &place,
        &format!(
            "{isolated} -- split /opt/ml/processing/input/data --out /opt/ml/processing/output/split.csv"
        ),
    );
    if ended.code == Some(2) {
        assert!(ended.stderr.contains("--isolate: this system does not allow it"), "{}", ended.stderr);
        assert!(!place.path("sagemaker-local").exists());
        println!("skipped: {}", ended.stderr);
        return;
    }
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(place.path("sagemaker-local/ml/output/split.csv").exists());
    assert!(!Path::new("/opt/ml/processing").exists());
}

#[test]
fn a_tuning_job_trains_and_finds_the_best() {
    let place = Place::new();
    place.photos(6);
    let config = json!({
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "val_loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 2},
        "ParameterRanges": {"ContinuousParameterRanges":
            [{"Name": "learning-rate", "MinValue": "1e-5", "MaxValue": "1e-2", "ScalingType": "Logarithmic"}]},
        "TrainingJobEarlyStoppingType": "Off",
        "RandomSeed": 7
    });
    place.write("tuning.json", config.to_string());
    done(&place, &format!("local tune --config tuning.json --channel train=photos --set {SET} --job search"));
    let search = job(&place, "search");
    assert_eq!(search["HyperParameterTuningJobStatus"], "Completed");
    assert_eq!(search["TrainingJobStatusCounters"]["Completed"], 3, "{search}");
    let mut losses = Vec::new();
    for summary in search["TrainingJobSummaries"].as_array().unwrap() {
        let name = summary["TrainingJobName"].as_str().unwrap();
        assert!(name.starts_with("search-00") && name.len() == "search-001-01234567".len());
        let child = job(&place, name);
        assert_eq!(child["HyperParameters"]["_tuning_objective_metric"], "val_loss");
        assert_eq!(
            child["HyperParameters"]["learning-rate"],
            summary["TunedHyperParameters"]["learning-rate"]
        );
        let metrics = child["FinalMetricDataList"].as_array().unwrap();
        let loss = metrics.iter().find(|metric| metric["MetricName"] == "val_loss").unwrap()["Value"].clone();
        assert_eq!(loss, summary["FinalHyperParameterTuningJobObjectiveMetric"]["Value"]);
        losses.push((loss.as_f64().unwrap(), name.to_owned()));
    }
    losses.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert_eq!(search["BestTrainingJob"]["TrainingJobName"], losses[0].1.as_str());
}

#[test]
fn other_words_are_for_the_program_that_calls_aws() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    // Where the program was built, the other one may lie beside it.
    let (built, alone) = (env!("CARGO_BIN_EXE_pugmark"), place.path("alone/pugmark"));
    place.write("alone/nothing", "");
    fs::hard_link(built, &alone).or_else(|_| fs::copy(built, &alone).map(drop)).unwrap();
    let call = |text: &str| {
        let mut command = Command::new(&alone);
        command.args(words(text)).env_clear().env("PATH", place.path("bin"));
        crate::harness::ended(&mut command)
    };
    let ended = call("sagemaker deploy model.tar.gz");
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    for part in ["`pugmark sagemaker deploy` needs the program pugmark-sagemaker", "hint: put"] {
        assert!(ended.stderr.contains(part), "{}", ended.stderr);
    }
    place.write("bin/pugmark-sagemaker", "#!/bin/sh\necho \"$@\"\nexit 7\n");
    fs::set_permissions(place.path("bin/pugmark-sagemaker"), fs::Permissions::from_mode(0o755)).unwrap();
    let ended = call("sagemaker deploy --json model.tar.gz --help");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(7), "deploy --json model.tar.gz --help\n"));
}
