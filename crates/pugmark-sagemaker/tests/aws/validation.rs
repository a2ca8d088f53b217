//! The validator itself: right requests pass, broken ones are refused, each for its reason.

use serde_json::{Value, json};

use crate::model::Models;

fn training_job() -> Value {
    json!({
        "TrainingJobName": "ants-1",
        "AlgorithmSpecification": {"TrainingImage": "123456789012.dkr.ecr.eu-central-1.amazonaws.com/pugmark:1",
            "TrainingInputMode": "File", "MetricDefinitions": [{"Name": "val_acc", "Regex": "val_acc=(.*?);"}]},
        "RoleArn": "arn:aws:iam::123456789012:role/SageMaker",
        "HyperParameters": {"epochs": "3"},
        "InputDataConfig": [{"ChannelName": "train", "DataSource": {"S3DataSource":
            {"S3DataType": "S3Prefix", "S3Uri": "s3://bucket/ants"}}}],
        "OutputDataConfig": {"S3OutputPath": "s3://bucket/out"},
        "ResourceConfig": {"InstanceType": "ml.c7i.2xlarge", "InstanceCount": 1, "VolumeSizeInGB": 30},
        "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    })
}

#[test]
fn a_right_request_passes() {
    let Some(models) = Models::found() else { return };
    let report = models.check("sagemaker", "CreateTrainingJob", &training_job());
    assert_eq!((report.faults, report.untaken), (vec![], 0));
}

#[test]
fn a_broken_request_is_refused_for_its_reason() {
    let Some(models) = Models::found() else { return };
    let long = "x".repeat(2501);
    let channels: Vec<Value> = (0..21).map(|_| training_job()["InputDataConfig"][0].clone()).collect();
    let cases = [
        ("/TrainingJobName", json!("bad_name"), "trainingJobName", "regular expression pattern"),
        ("/TrainingJobName", json!("x".repeat(64)), "trainingJobName", "length less than or equal to 63"),
        ("/TrainingJobName", json!(7), "trainingJobName", "of the type string"),
        ("/TrainingJobName", Value::Null, "trainingJobName", "of the type string"),
        (
            "/AlgorithmSpecification/TrainingInputMode",
            json!("Nope"),
            "algorithmSpecification.trainingInputMode",
            "enum value set",
        ),
        (
            "/AlgorithmSpecification/MetricDefinitions/0/Name",
            json!(""),
            "algorithmSpecification.metricDefinitions.1.member.name",
            "length greater than or equal to 1",
        ),
        (
            "/HyperParameters/epochs",
            json!(long),
            "hyperParameters.epochs.member",
            "length less than or equal to 2500",
        ),
        ("/HyperParameters/epochs", json!(3), "hyperParameters.epochs.member", "of the type string"),
        ("/InputDataConfig", json!([]), "inputDataConfig", "length greater than or equal to 1"),
        ("/InputDataConfig", json!(channels), "inputDataConfig", "length less than or equal to 20"),
        ("/InputDataConfig", json!({}), "inputDataConfig", "of the type list"),
        (
            "/ResourceConfig/InstanceType",
            json!("c7i.2xlarge"),
            "resourceConfig.instanceType",
            "enum value set",
        ),
        (
            "/ResourceConfig/InstanceCount",
            json!(-1),
            "resourceConfig.instanceCount",
            "value greater than or equal to 0",
        ),
        ("/ResourceConfig/InstanceCount", json!(1.5), "resourceConfig.instanceCount", "of the type integer"),
        (
            "/ResourceConfig",
            json!({"InstanceCount": 1, "Colour": "red"}),
            "resourceConfig.colour",
            "no such member",
        ),
        ("/OutputDataConfig", json!({}), "outputDataConfig.s3OutputPath", "not be null"),
        (
            "/OutputDataConfig/S3OutputPath",
            json!("/home"),
            "outputDataConfig.s3OutputPath",
            "regular expression pattern",
        ),
        (
            "/StoppingCondition/MaxRuntimeInSeconds",
            json!(0),
            "stoppingCondition.maxRuntimeInSeconds",
            "value greater than or equal to 1",
        ),
    ];
    for (pointer, value, place, constraint) in cases {
        let mut request = training_job();
        *request.pointer_mut(pointer).unwrap() = value;
        let report = models.check("sagemaker", "CreateTrainingJob", &request);
        let found =
            report.faults.iter().any(|fault| fault.place == place && fault.constraint.contains(constraint));
        assert!(found, "{pointer}: {}", report.message());
    }
}

#[test]
fn what_is_missing_or_unknown_is_told() {
    let Some(models) = Models::found() else { return };
    for member in ["TrainingJobName", "RoleArn", "OutputDataConfig"] {
        let mut request = training_job();
        request.as_object_mut().unwrap().remove(member);
        let faults = models.check("sagemaker", "CreateTrainingJob", &request).faults;
        assert!(
            faults.len() == 1 && faults[0].constraint == "Member must not be null",
            "{member}: {faults:?}"
        );
    }
    let range = json!({"ServiceNamespace": "sagemaker", "ResourceId": "endpoint/a/variant/b", "ScalableDimension": "x"});
    let faults = models.check("application-autoscaling", "RegisterScalableTarget", &range).faults;
    assert!(faults[0].place == "scalableDimension" && faults[0].constraint.contains("enum"), "{faults:?}");
    assert_eq!(
        models.check("sagemaker", "CreateTrainingJobs", &json!({})).faults[0].place,
        "CreateTrainingJobs"
    );
    assert_eq!(models.check("sagemakers", "CreateTrainingJob", &json!({})).faults[0].place, "sagemakers");
}
