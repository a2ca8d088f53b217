//! Jobs against the stand-in: begun, followed, listed, described, stopped.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Value, json};

use crate::dry_run::tuning_config;
use crate::harness::{Ended, Place};
use crate::stand_in::{StandIn, Step, step};

pub(crate) const TRAIN: &str = "train --job ants-1 --channel train=s3://bucket/ants --output s3://bucket/out";

/// A call to the stand-in.
pub(crate) fn call(place: &Place, stand_in: &StandIn, words: &str) -> Ended {
    place.run(&format!("--endpoint-url {} {words}", stand_in.url()))
}

/// What a processing job was asked for.
fn processing(name: &str) -> Value {
    let cluster = json!({"InstanceType": "ml.m5.large", "InstanceCount": 3, "VolumeSizeInGB": 30});
    json!({"ProcessingJobName": name, "AppSpecification": {"ImageUri": "image"},
        "ProcessingResources": {"ClusterConfig": cluster}})
}

fn running(detail: &str) -> Step {
    step("InProgress").detail(detail)
}

/// Jobs of a kind that run or have ended.
fn jobs(stand_in: &StandIn, noun: &'static str, count: usize, status: &str) {
    for number in 0..count {
        let name = format!("{}-{number:03}", status.to_lowercase());
        let mut request =
            json!({"StoppingCondition": {}, "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"}});
        request[format!("{noun}Name")] = name.as_str().into();
        let detail = if status == "InProgress" { "Training" } else { status };
        stand_in.add(noun, &name, request, [step(status).detail(detail)]);
    }
}

#[test]
fn a_training_is_followed_to_its_end() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let ended = call(&place, &stand_in, &format!("{TRAIN} --wait"));
    ended.told(
        0,
        &[
            "started",
            "ants-1: InProgress, Starting",
            "Downloading",
            "Training",
            "Uploading",
            "ants-1: Completed",
        ],
    );
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let metrics = "[METRICS] epoch=1; train_loss=0.5; val_loss=0.6;";
    assert_eq!(lines, ["ants-1", metrics, "s3://bucket/out/ants-1/output/model.tar.gz"]);
    assert_eq!(stand_in.changes(), ["CreateTrainingJob"]);
}

#[test]
fn what_is_sent_is_what_dry_run_prints() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let printed = place.dry_run(TRAIN);
    call(&place, &stand_in, TRAIN).told(0, &[]);
    assert_eq!(stand_in.came("CreateTrainingJob")[0].request, printed[0]["Request"]);
}

#[test]
fn a_failed_training_says_why() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let reason = "AlgorithmError: error: there is no photo in train, exit code: 1";
    stand_in.script(
        "ants-1",
        [running("Training"), step("Failed").detail("Failed").with("FailureReason", reason)],
    );
    call(&place, &stand_in, &format!("{TRAIN} --wait")).told(1, &["ants-1: Failed", reason]);
}

#[test]
fn spot_training_goes_on_after_an_interruption_and_says_what_was_saved() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let end = step("Completed")
        .detail("Completed")
        .with("TrainingTimeInSeconds", 1000)
        .with("BillableTimeInSeconds", 300);
    stand_in.script(
        "ants-1",
        [
            running("Starting"),
            running("Training").line("algo-1", "epoch 1"),
            running("Interrupted"),
            running("Starting"),
            running("Training").line("algo-1", "epoch 2").line("algo-1", "epoch 3").line("algo-1", "epoch 4"),
            end,
        ],
    );
    let words = format!("{TRAIN} --spot --checkpoints s3://bucket/checkpoints --wait");
    let ended = call(&place, &stand_in, &words);
    ended.told(
        0,
        &[
            "Starting",
            "Training",
            "Interrupted",
            "Starting",
            "Training",
            "Completed",
            "1000 s of training, 300 s billed: 70 % saved",
        ],
    );
    let log = "epoch 1\nepoch 2\nepoch 3\nepoch 4\n";
    assert!(ended.stdout.starts_with(&format!("ants-1\n{log}")), "{}", ended.stdout);
    let whole = call(&place, &stand_in, "logs training ants-1");
    assert_eq!(whole.stdout, log, "all pages at once");
}

#[test]
fn logs_of_two_hosts_say_whose_line_it_is() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let steps = || {
        let work =
            step("InProgress").line("algo-1", "photo a").line("algo-2", "photo b").line("algo-3", "photo c");
        [step("InProgress"), work, step("Completed").line("algo-1", "done")]
    };
    stand_in.add("ProcessingJob", "prepare-1", processing("prepare-1"), steps());
    let ended = call(&place, &stand_in, "logs processing prepare-1 --follow");
    ended.told(0, &["prepare-1: InProgress", "prepare-1: Completed"]);
    assert_eq!(ended.stdout, "algo-1: photo a\nalgo-2: photo b\nalgo-3: photo c\nalgo-1: done\n");
    let again = call(&place, &stand_in, "logs processing prepare-1");
    assert_eq!(again.stdout, "algo-1: photo a\nalgo-1: done\nalgo-2: photo b\nalgo-3: photo c\n");
}

#[test]
fn a_job_without_a_line_has_no_log_yet() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    call(&place, &stand_in, TRAIN).told(0, &[]);
    call(&place, &stand_in, "logs training ants-1").told(0, &["there is no line yet"]);
    call(&place, &stand_in, "logs training ants-2").told(2, &["there is no training called `ants-2`"]);
}

#[test]
fn a_log_that_nobody_reads_on_ends_quietly() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    // More than a pipe holds.
    let long = (0..4).fold(step("InProgress"), |step, _| step.line("algo-1", &"x".repeat(1 << 18)));
    stand_in.add("ProcessingJob", "p-1", processing("p-1"), [long]);
    let mut child =
        place.command(&format!("--endpoint-url {} logs processing p-1", stand_in.url())).spawn().unwrap();
    let mut start = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut start).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(&start == b"xxxx" && output.status.code().is_none(), "{start:?} {:?}", output.status);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn ctrl_c_leaves_the_job_alone() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    stand_in.script("ants-1", [running("Training").line("algo-1", "epoch 1")]);
    let mut child =
        place.command(&format!("--endpoint-url {} {TRAIN} --wait", stand_in.url())).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("epoch 1") {
        line.clear();
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "it ended");
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(130) && stderr.contains("left alone"), "{stderr}");
    assert_eq!(stand_in.changes(), ["CreateTrainingJob"]);
}

#[test]
fn processing_tuning_and_transform_jobs_are_begun_and_followed() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    place.write("tune.json", tuning_config().to_string());
    let prepare = "prepare --job p-1 --input photos=s3://bucket/photos --output s3://bucket/out --wait -- prepare a --out b";
    call(&place, &stand_in, prepare).told(0, &["p-1: InProgress", "p-1: Completed"]);
    let tune =
        "tune --job t-1 --config tune.json --channel train=s3://bucket/ants --output s3://bucket/out --wait";
    call(&place, &stand_in, tune).told(0, &["t-1: InProgress", "t-1: Completed"]);
    let predict = "predict --job q-1 --model-data s3://bucket/model.tar.gz --input s3://bucket/photos --output s3://bucket/out --wait";
    call(&place, &stand_in, predict).told(0, &["q-1: InProgress", "q-1: Completed"]);
    let changes =
        ["CreateProcessingJob", "CreateHyperParameterTuningJob", "CreateModel", "CreateTransformJob"];
    assert_eq!(stand_in.changes(), changes);
}

#[test]
fn the_log_of_a_tuning_job_is_that_of_its_trainings() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    place.write("tune.json", tuning_config().to_string());
    let work = step("InProgress").line("001-1a2b", "epoch 1").line("002-3c4d", "epoch 1 too");
    stand_in.script("t-1", [work, step("Completed")]);
    let tune =
        "tune --job t-1 --config tune.json --channel train=s3://bucket/ants --output s3://bucket/out --wait";
    let ended = call(&place, &stand_in, tune);
    assert_eq!(ended.stdout, "t-1\n001-1a2b: epoch 1\n002-3c4d: epoch 1 too\n", "{ended:?}");
}

#[test]
fn a_failed_processing_job_says_its_exit_message() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    stand_in.script("p-1", [step("Failed").with("ExitMessage", "error: labels.csv: row 3: no such photo")]);
    let prepare =
        "prepare --job p-1 --input photos=s3://bucket/photos --output s3://bucket/out --wait -- check a";
    call(&place, &stand_in, prepare).told(1, &["p-1: Failed", "row 3: no such photo"]);
}

#[test]
fn lists_turn_their_pages_newest_first() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    jobs(&stand_in, "TrainingJob", 130, "Completed");
    jobs(&stand_in, "TrainingJob", 2, "InProgress");
    let ended = call(&place, &stand_in, "list training --most 120 --contains completed");
    let names: Vec<&str> = ended.stdout.lines().map(|line| line.split_whitespace().nth(1).unwrap()).collect();
    assert_eq!((names.len(), names[0], names[119]), (120, "completed-129", "completed-010"), "{ended:?}");
    assert_eq!(stand_in.came("ListTrainingJobs").len(), 2);

    let ended = call(&place, &stand_in, "list training --most 200 --json");
    let items: Vec<Value> = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((items.len(), &items[0]["TrainingJobName"]), (132, &json!("inprogress-001")));
    call(&place, &stand_in, "list processing").told(0, &["there is nothing\n"]);
}

#[test]
fn a_list_without_a_kind_is_what_runs() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    call(&place, &stand_in, "list").told(0, &["there is nothing that runs"]);
    for noun in ["TrainingJob", "ProcessingJob", "TransformJob", "HyperParameterTuningJob"] {
        jobs(&stand_in, noun, 1, "Completed");
        jobs(&stand_in, noun, 1, "InProgress");
    }
    // An endpoint that is being changed costs money too.
    for status in ["InService", "Updating", "Failed"] {
        let name = format!("endpoint-{}", status.to_lowercase());
        stand_in.add("Endpoint", &name, json!({"EndpointName": name}), [step(status)]);
    }
    let ended = call(&place, &stand_in, "list");
    let found: Vec<Vec<&str>> =
        ended.stdout.lines().map(|line| line.split_whitespace().take(3).collect()).collect();
    let expected = [
        ["training", "inprogress-000", "InProgress"],
        ["processing", "inprogress-000", "InProgress"],
        ["transform", "inprogress-000", "InProgress"],
        ["tuning", "inprogress-000", "InProgress"],
        ["endpoint", "endpoint-updating", "Updating"],
        ["endpoint", "endpoint-inservice", "InService"],
    ];
    assert_eq!(found, expected, "{ended:?}");
}

#[test]
fn a_description_is_all_that_is_known() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    call(&place, &stand_in, TRAIN).told(0, &[]);
    let ended = call(&place, &stand_in, "describe training ants-1");
    let description: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(description["SecondaryStatus"], "Starting");
    assert_eq!(description["OutputDataConfig"]["S3OutputPath"], "s3://bucket/out");
    call(&place, &stand_in, "describe tuning ants-1").told(2, &["there is no tuning job called `ants-1`"]);
}

#[test]
fn one_job_is_stopped_at_once() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    jobs(&stand_in, "TrainingJob", 2, "InProgress");
    call(&place, &stand_in, "stop inprogress-001").told(0, &["asked to stop"]);
    assert_eq!(stand_in.came("StopTrainingJob")[0].request, json!({"TrainingJobName": "inprogress-001"}));
    assert_eq!(stand_in.changes(), ["StopTrainingJob"]);
    call(&place, &stand_in, "stop inprogress-000 ants-9").told(2, &["there is no job called `ants-9`"]);
    assert_eq!(stand_in.changes().len(), 1, "one wrong name stops nothing");
}

#[test]
fn a_job_that_has_ended_keeps_no_other_running() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    jobs(&stand_in, "TrainingJob", 1, "Completed");
    jobs(&stand_in, "TrainingJob", 1, "InProgress");
    let ended = call(&place, &stand_in, "stop completed-000 inprogress-000");
    ended.told(1, &["warning: completed-000", "in status Completed"]);
    assert_eq!(stand_in.changes(), ["StopTrainingJob"]);
}

#[test]
fn everything_is_stopped_after_a_question() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    for noun in ["TrainingJob", "ProcessingJob", "TransformJob", "HyperParameterTuningJob"] {
        jobs(&stand_in, noun, 1, "InProgress");
    }
    let ended = call(&place, &stand_in, "stop --all");
    ended.told(2, &["Stop 4 jobs?", "--yes"]);
    let dry = call(&place, &stand_in, "stop --all --dry-run");
    assert!(dry.code == Some(0) && dry.stdout.lines().count() == 4, "{dry:?}");
    assert!(stand_in.changes().is_empty());
    call(&place, &stand_in, "stop --all --yes").told(0, &["asked to stop"]);
    // A tuning job would begin new trainings for those that are stopped before it.
    let order = ["StopHyperParameterTuningJob", "StopTrainingJob", "StopProcessingJob", "StopTransformJob"];
    assert_eq!(stand_in.changes(), order);
    call(&place, &stand_in, "stop --all --yes").told(0, &["nothing runs"]);
}
