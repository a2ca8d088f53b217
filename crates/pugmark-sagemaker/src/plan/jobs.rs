//! Requests that make jobs.

use pugmark_train::EpochMetrics;
use serde_json::{Map, Value, json};

use super::{Call, model, strings};
use crate::arguments::{
    Place, ProcessArguments, TrainArguments, Training, TransformArguments, TuneArguments,
};
use crate::names::{WrongName, check_key, check_name, check_s3, wrong};

/// What a training job and the trainings of a tuning job have in common.
fn training(training: &Training, place: &Place) -> Result<Map<String, Value>, WrongName> {
    place.check()?;
    check_s3(&training.output)?;
    training.checkpoints.as_deref().map(check_s3).transpose()?;
    if training.channels.len() > 20 {
        return Err(wrong("a job has at most 20 channels"));
    }
    if training.settings.len() > 100 {
        return Err(wrong("a job has at most 100 settings"));
    }
    if let Some((key, _)) =
        training.settings.iter().find(|(key, value)| key.len() > 256 || value.len() > 2500)
    {
        return Err(wrong(format!("`--set {key}=...` is too long: 256 characters, and 2500 of the value")));
    }
    let mut channels = Vec::new();
    for (number, (name, place)) in training.channels.iter().enumerate() {
        check_s3(place)?;
        check_key(name, "channel")?;
        if training.channels[..number].iter().any(|(other, _)| other == name) {
            return Err(wrong(format!("the channel `{name}` is given twice")));
        }
        channels.push(json!({
            "ChannelName": name,
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": place,
                "S3DataDistributionType": "FullyReplicated"}},
            "InputMode": training.input_mode,
        }));
    }
    let wait = training.spot.then(|| training.max_wait.unwrap_or(training.max_runtime.saturating_mul(2)));
    if wait.is_some_and(|wait| wait < training.max_runtime) {
        return Err(wrong("--max-wait counts from the start and can't be shorter than --max-runtime"));
    }
    let value = json!({
        "RoleArn": place.role,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": training.output, "KmsKeyId": place.kms_key},
        "ResourceConfig": {"InstanceType": place.instance, "InstanceCount": 1, "VolumeSizeInGB": training.disk.volume,
            "VolumeKmsKeyId": place.kms_key},
        "VpcConfig": place.vpc(),
        "StoppingCondition": {"MaxRuntimeInSeconds": training.max_runtime, "MaxWaitTimeInSeconds": wait},
        "EnableManagedSpotTraining": training.spot.then_some(true),
        "CheckpointConfig": training.checkpoints.as_ref().map(|place| json!({"S3Uri": place})),
        "Environment": place.variables(),
    });
    match value {
        Value::Object(members) => Ok(members),
        _ => Ok(Map::new()),
    }
}

fn algorithm(training: &Training, place: &Place) -> Value {
    json!({"TrainingImage": place.image, "TrainingInputMode": training.input_mode,
        "MetricDefinitions": EpochMetrics::definitions()})
}

pub(crate) fn train(arguments: &TrainArguments, name: &str) -> Result<Vec<Call>, WrongName> {
    check_name(name, 63)?;
    let TrainArguments { training: terms, job, keep_alive } = arguments;
    if keep_alive.is_some_and(|seconds| seconds > 21_600) {
        return Err(wrong("--keep-alive is at most 6h"));
    }
    let mut request = training(terms, &job.place)?;
    request.insert("TrainingJobName".into(), name.into());
    request.insert("AlgorithmSpecification".into(), algorithm(terms, &job.place));
    request.insert("HyperParameters".into(), strings(&terms.settings));
    request.insert("Tags".into(), job.place.tags());
    request["ResourceConfig"]["KeepAlivePeriodInSeconds"] = (*keep_alive).into();
    Ok(vec![Call::new("CreateTrainingJob", request.into())])
}

pub(crate) fn tune(arguments: &TuneArguments, name: &str, config: Value) -> Result<Vec<Call>, WrongName> {
    check_name(name, 32)?;
    let TuneArguments { training: terms, job, .. } = arguments;
    let mut definition = training(terms, &job.place)?;
    definition.insert("AlgorithmSpecification".into(), algorithm(terms, &job.place));
    definition.insert("StaticHyperParameters".into(), strings(&terms.settings));
    Ok(vec![Call::new(
        "CreateHyperParameterTuningJob",
        json!({
            "HyperParameterTuningJobName": name,
            "HyperParameterTuningJobConfig": config,
            "TrainingJobDefinition": definition,
            "Tags": job.place.tags(),
        }),
    )])
}

pub(crate) fn process(arguments: &ProcessArguments, name: &str) -> Result<Vec<Call>, WrongName> {
    check_name(name, 63)?;
    let place = &arguments.job.place;
    place.check()?;
    check_s3(&arguments.output)?;
    if arguments.max_runtime > 777_600 {
        return Err(wrong("a processing job runs for at most 9d"));
    }
    if arguments.call.len() > 100 || arguments.call.iter().any(|word| word.chars().count() > 256) {
        return Err(wrong("a call has at most 100 words of 256 characters"));
    }
    let shares = if arguments.instances > 1 { "ShardedByS3Key" } else { "FullyReplicated" };
    let inputs = arguments.inputs.iter().map(|input| (input, shares));
    let shared = arguments.shared.iter().map(|input| (input, "FullyReplicated"));
    let mut all = Vec::new();
    for ((name, from), distribution) in inputs.chain(shared) {
        check_s3(from)?;
        check_key(name, "input")?;
        all.push(json!({"InputName": name, "S3Input": {
            "S3Uri": from, "LocalPath": format!("/opt/ml/processing/input/{name}"), "S3DataType": "S3Prefix",
            "S3InputMode": "File", "S3DataDistributionType": distribution}}));
    }
    if all.len() > 10 {
        return Err(wrong("a processing job has at most 10 inputs"));
    }
    let network = place.vpc();
    Ok(vec![Call::new(
        "CreateProcessingJob",
        json!({
            "ProcessingJobName": name,
            "RoleArn": place.role,
            "AppSpecification": {"ImageUri": place.image, "ContainerArguments": arguments.call},
            "ProcessingResources": {"ClusterConfig": {"InstanceType": place.instance,
                "InstanceCount": arguments.instances, "VolumeSizeInGB": arguments.disk.volume, "VolumeKmsKeyId": place.kms_key}},
            "ProcessingInputs": all,
            "ProcessingOutputConfig": {"KmsKeyId": place.kms_key, "Outputs": [{"OutputName": "output", "S3Output": {
                "S3Uri": arguments.output, "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}}]},
            "StoppingCondition": {"MaxRuntimeInSeconds": arguments.max_runtime},
            "NetworkConfig": if network.is_null() { Value::Null } else { json!({"VpcConfig": network}) },
            "Environment": place.variables(),
            "Tags": place.tags(),
        }),
    )])
}

pub(crate) fn transform(arguments: &TransformArguments, name: &str) -> Result<Vec<Call>, WrongName> {
    let place = &arguments.job.place;
    place.check()?;
    check_s3(&arguments.input)?;
    check_s3(&arguments.output)?;
    let job = json!({
        "TransformJobName": name,
        "ModelName": name,
        "BatchStrategy": "SingleRecord",
        "MaxPayloadInMB": 25,
        "MaxConcurrentTransforms": 4,
        "TransformInput": {"ContentType": "application/x-image", "SplitType": "None",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": arguments.input}}},
        "TransformOutput": {"S3OutputPath": arguments.output, "Accept": arguments.accept, "AssembleWith": "None",
            "KmsKeyId": place.kms_key},
        "TransformResources": {"InstanceType": place.instance, "InstanceCount": arguments.instances,
            "VolumeKmsKeyId": place.kms_key},
        "Tags": place.tags(),
    });
    Ok(vec![model(name, &arguments.model_data, place)?, Call::new("CreateTransformJob", job)])
}
