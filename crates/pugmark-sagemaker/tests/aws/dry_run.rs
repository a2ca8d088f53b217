//! What `--dry-run` prints is what the services' published models ask for.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::harness::Place;
use crate::model::Models;

const TRAIN: &str = "train --job ants-1 --channel train=s3://bucket/ants --channel weights=s3://bucket/weights --output s3://bucket/out \
    --set epochs=10 --set weights=resnet18";
const PREPARE: &str = "prepare --job prepare-1 --input photos=s3://bucket/photos --shared-input labels=s3://bucket/labels --output s3://bucket/prepared";
const VERB: &str = "-- prepare /opt/ml/processing/input/photos --out /opt/ml/processing/output/prepared";
const TUNE: &str = "tune --job tune-1 --config tune.json --channel train=s3://bucket/ants --output s3://bucket/out --set epochs=10";
const PREDICT: &str = "predict --job predict-1 --model-data s3://bucket/model.tar.gz --input s3://bucket/photos --output s3://bucket/answers";
const DEPLOY: &str = "deploy ants --model-data s3://bucket/model.tar.gz";
/// Flags that every job and endpoint takes.
const PLACE: &str = "--tag team=rangers --tag project=a/b:c --subnets subnet-0a1,subnet-0b2 --security-groups sg-0c3 \
    --kms-key arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab --env PUGMARK_PRECISION=bf16";

pub(crate) fn tuning_config() -> Value {
    json!({
        "Strategy": "Bayesian",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "val_loss"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 20, "MaxParallelTrainingJobs": 4},
        "ParameterRanges": {"ContinuousParameterRanges":
            [{"Name": "learning_rate", "MinValue": "0.0001", "MaxValue": "0.1", "ScalingType": "Logarithmic"}]},
    })
}

/// Every verb that makes something, in every form, with the operations that it takes.
fn calls() -> Vec<(String, &'static [&'static str])> {
    let train: &[&str] = &["CreateTrainingJob"];
    let process: &[&str] = &["CreateProcessingJob"];
    let tune: &[&str] = &["CreateHyperParameterTuningJob"];
    let transform: &[&str] = &["CreateModel", "CreateTransformJob"];
    let deploy: &[&str] = &["CreateModel", "CreateEndpointConfig", "CreateEndpoint"];
    vec![
        (TRAIN.into(), train),
        (
            format!("{TRAIN} --spot --checkpoints s3://bucket/checkpoints --max-runtime 4h --max-wait 1d"),
            train,
        ),
        (format!("{TRAIN} --keep-alive 30m --input-mode FastFile"), train),
        (format!("{TRAIN} {PLACE}"), train),
        (format!("{PREPARE} {VERB}"), process),
        (format!("{PREPARE} --instances 3 {PLACE} {VERB}"), process),
        (TUNE.into(), tune),
        (format!("{TUNE} {PLACE} --spot --checkpoints s3://bucket/checkpoints"), tune),
        (PREDICT.into(), transform),
        (format!("{PREDICT} --instances 4 --accept text/csv {PLACE}"), transform),
        (DEPLOY.into(), deploy),
        (format!("{DEPLOY} {PLACE} --instances 2 --capture s3://bucket/captured@20"), deploy),
        (format!("{DEPLOY} --serverless 4096 --max-concurrency 20 --tag team=rangers"), deploy),
        (format!("{DEPLOY} --async s3://bucket/answers {PLACE}"), deploy),
        (
            format!("{DEPLOY} --scale 1..4@600"),
            &[
                "CreateModel",
                "CreateEndpointConfig",
                "CreateEndpoint",
                "RegisterScalableTarget",
                "PutScalingPolicy",
            ],
        ),
        (
            "deploy ants --variant old=s3://bucket/old.tar.gz@0.9 --variant new=s3://bucket/new.tar.gz@0.1"
                .into(),
            &["CreateModel", "CreateModel", "CreateEndpointConfig", "CreateEndpoint"],
        ),
        (
            format!("{} --model-data s3://bucket/model.tar.gz", format_args!("deploy {}", "e".repeat(63))),
            deploy,
        ),
    ]
}

#[test]
fn every_verbs_requests_are_valid() {
    let place = Place::new();
    place.write("tune.json", tuning_config().to_string());
    let models = Models::found();
    for (words, operations) in calls() {
        let printed = place.dry_run(&words);
        let names: Vec<&str> = printed.iter().map(|call| call["Operation"].as_str().unwrap()).collect();
        assert_eq!(names, operations, "{words}");
        for call in &printed {
            check(models, call, &words);
        }
    }
}

/// A request as it is printed, against the model.
pub(crate) fn check(models: Option<&Models>, call: &Value, words: &str) {
    let Some(models) = models else { return };
    let (service, operation) = (call["Service"].as_str().unwrap(), call["Operation"].as_str().unwrap());
    let report = models.check(service, operation, &call["Request"]);
    assert!(report.faults.is_empty(), "{words}: {operation}: {}", report.message());
    assert_eq!(report.untaken, 0, "{words}: {operation}: a pattern was not checked");
}

#[test]
fn the_requests_are_as_they_were() {
    let place = Place::new();
    let spot =
        format!("{TRAIN} --spot --checkpoints s3://bucket/checkpoints --max-runtime 4h --tag team=rangers");
    compare("train.json", &place.dry_run(&spot));
    compare(
        "deploy.json",
        &place.dry_run(&format!("{DEPLOY} --scale 1..4@600 --capture s3://bucket/captured@20")),
    );
}

/// Compares with the file of that name, in which the time of a deployment is `STAMP`.
fn compare(name: &str, calls: &[Value]) {
    let stamp = regex::Regex::new(r"\b\d{6}-\d{6}\b").unwrap();
    let text = stamp.replace_all(&format!("{:#}\n", Value::from(calls)), "STAMP").into_owned();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(text, fs::read_to_string(&path).unwrap(), "{name}; UPDATE_SNAPSHOTS=1 writes it anew");
}

#[test]
fn what_is_not_given_is_not_sent() {
    let place = Place::new();
    let request = &place.dry_run(TRAIN)[0]["Request"];
    for absent in ["Tags", "VpcConfig", "EnableManagedSpotTraining", "CheckpointConfig", "Environment"] {
        assert!(request.get(absent).is_none(), "{absent}: {request}");
    }
    let process = &place.dry_run(&format!("{PREPARE} --instances 3 {VERB}"))[0]["Request"];
    let share = |number: usize| &process["ProcessingInputs"][number]["S3Input"]["S3DataDistributionType"];
    assert_eq!((share(0), share(1)), (&json!("ShardedByS3Key"), &json!("FullyReplicated")));
    let spot = format!("{TRAIN} --spot --checkpoints s3://bucket/c --max-runtime 1h");
    let condition = &place.dry_run(&spot)[0]["Request"]["StoppingCondition"];
    assert_eq!(*condition, json!({"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}));
}
