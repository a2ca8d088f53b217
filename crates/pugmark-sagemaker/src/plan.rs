//! The requests that make a job or an endpoint, as JSON: what `--dry-run` prints is what is sent.

use pugmark_train::EpochMetrics;
use serde_json::{Map, Value, json};

use crate::api::{Api, Refused, Service};
use crate::arguments::{
    DashboardArguments, DeployArguments, Place, ProcessArguments, TrainArguments, Training,
    TransformArguments, TuneArguments,
};
use crate::names::{WrongName, check_key, check_label, check_name, check_role, check_s3, wrong};

/// A request that is still to be sent.
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) operation: &'static str,
    pub(crate) request: Value,
}

impl Call {
    fn new(operation: &'static str, request: Value) -> Self {
        Self { service: Service::SageMaker, operation, request: without_nulls(request) }
    }

    pub(crate) fn send(&self, api: &Api) -> anyhow::Result<Value> {
        api.call(self.service, self.operation, &self.request)
    }

    /// Deletes what it made, if that is an entry that nothing uses yet.
    fn undo(&self, api: &Api) {
        let (operation, member) = match self.operation {
            "CreateModel" => ("DeleteModel", "ModelName"),
            "CreateEndpointConfig" => ("DeleteEndpointConfig", "EndpointConfigName"),
            _ => return,
        };
        let name = &self.request[member];
        if let Err(error) = api.call(Service::SageMaker, operation, &json!({member: name})) {
            eprintln!("warning: {name} is left over: {error:#}");
        }
    }
}

/// Sends one after the other. Where one is refused, what those before it made is deleted again.
pub(crate) fn send_all(calls: &[Call], api: &Api) -> anyhow::Result<()> {
    for (number, call) in calls.iter().enumerate() {
        let Err(error) = call.send(api) else { continue };
        // What may be there after all needs the others.
        if error.downcast_ref::<Refused>().is_some_and(Refused::made_nothing) {
            for made in calls[..number].iter().rev() {
                made.undo(api);
            }
        }
        return Err(error);
    }
    Ok(())
}

/// What `--dry-run` prints.
pub(crate) fn to_json(calls: &[Call]) -> Value {
    let call = |call: &Call| json!({"Service": call.service.name(), "Operation": call.operation, "Request": call.request});
    calls.iter().map(call).collect()
}

/// Members that are not given are not sent.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => {
            let given = members.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(given.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

/// A list, or nothing.
fn some(items: Vec<Value>) -> Value {
    if items.is_empty() { Value::Null } else { Value::Array(items) }
}

impl Place {
    fn check(&self) -> Result<(), WrongName> {
        check_role(&self.role)?;
        if !self.instance.starts_with("ml.") {
            return Err(wrong(format!("`{}` is no instance of SageMaker's: ml.c7i.2xlarge", self.instance)));
        }
        if self.tags.len() > 50 {
            return Err(wrong("there are at most 50 tags"));
        }
        for (key, value) in &self.tags {
            check_label(key, 128)?;
            check_label(value, 256)?;
        }
        if self.variables.len() > 100 {
            return Err(wrong("there are at most 100 variables"));
        }
        if let Some(key) = &self.kms_key
            && !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte))
        {
            return Err(wrong(format!("`{key}` is no key: its id or arn:aws:kms:...")));
        }
        self.variables.iter().try_for_each(|(key, _)| check_key(key, "variable"))?;
        for id in self.subnets.iter().chain(&self.security_groups) {
            check_name(id, 32)?;
        }
        Ok(())
    }

    fn tags(&self) -> Value {
        some(self.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect())
    }

    fn vpc(&self) -> Value {
        match self.subnets.as_slice() {
            [] => Value::Null,
            subnets => json!({"Subnets": subnets, "SecurityGroupIds": self.security_groups}),
        }
    }

    fn variables(&self) -> Value {
        strings(&self.variables)
    }
}

fn strings(pairs: &[(String, String)]) -> Value {
    match pairs {
        [] => Value::Null,
        pairs => pairs
            .iter()
            .map(|(key, value)| (key.clone(), Value::from(value.as_str())))
            .collect::<Map<_, _>>()
            .into(),
    }
}

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
    let wait = training.spot.then(|| training.max_wait.unwrap_or(2 * training.max_runtime));
    if wait.is_some_and(|wait| wait < training.max_runtime) {
        return Err(wrong("--max-wait counts from the start and can't be shorter than --max-runtime"));
    }
    let value = json!({
        "RoleArn": place.role,
        "InputDataConfig": channels,
        "OutputDataConfig": {"S3OutputPath": training.output, "KmsKeyId": place.kms_key},
        "ResourceConfig": {"InstanceType": place.instance, "InstanceCount": 1, "VolumeSizeInGB": place.volume,
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
                "InstanceCount": arguments.instances, "VolumeSizeInGB": place.volume, "VolumeKmsKeyId": place.kms_key}},
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

fn model(name: &str, data: &str, place: &Place) -> Result<Call, WrongName> {
    check_name(name, 63)?;
    check_s3(data)?;
    Ok(Call::new(
        "CreateModel",
        json!({
            "ModelName": name,
            "PrimaryContainer": {"Image": place.image, "ModelDataUrl": data, "Environment": place.variables()},
            "ExecutionRoleArn": place.role,
            "VpcConfig": place.vpc(),
            "Tags": place.tags(),
        }),
    ))
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

/// Models, a configuration, and last the endpoint itself, which is changed where it `exists`. `stamp` tells this deployment from
/// earlier ones.
pub(crate) fn deploy(arguments: &DeployArguments, stamp: &str, exists: bool) -> Result<Vec<Call>, WrongName> {
    let DeployArguments { endpoint, place, .. } = arguments;
    check_name(endpoint, 63)?;
    place.check()?;
    let only = arguments.model_data.iter().map(|data| ("main", data.as_str(), 1.0));
    let several = arguments.variants.iter().map(|v| (v.name.as_str(), v.model_data.as_str(), v.weight));
    let variants: Vec<(&str, &str, f64)> = only.chain(several).collect();
    if variants.len() > 10 {
        return Err(wrong("an endpoint has at most 10 variants"));
    }
    let short: String = endpoint.chars().take(63 - stamp.len() - 1).collect();
    let config = format!("{}-{stamp}", short.trim_end_matches('-'));
    let mut calls = Vec::new();
    let mut production = Vec::new();
    for (number, (name, data, weight)) in variants.iter().enumerate() {
        check_name(name, 63)?;
        let short: String = endpoint.chars().take(63 - stamp.len() - 4).collect();
        let model_name = format!("{}-{number}-{stamp}", short.trim_end_matches('-'));
        calls.push(model(&model_name, data, place)?);
        let serverless = arguments.serverless.as_ref().map(|memory| {
            json!({"MemorySizeInMB": memory.parse::<u32>().unwrap_or(2048), "MaxConcurrency": arguments.max_concurrency})
        });
        let has_instances = serverless.is_none();
        production.push(json!({
            "VariantName": name, "ModelName": model_name, "InitialVariantWeight": weight,
            "ServerlessConfig": serverless,
            "InstanceType": has_instances.then_some(&place.instance),
            "InitialInstanceCount": has_instances.then_some(arguments.instances),
        }));
    }
    if let Some((to, _)) = &arguments.capture {
        check_s3(to)?;
    }
    arguments.asynchronous.as_deref().map(check_s3).transpose()?;
    calls.push(Call::new(
        "CreateEndpointConfig",
        json!({
            "EndpointConfigName": config,
            "ProductionVariants": production,
            "KmsKeyId": if arguments.serverless.is_none() { place.kms_key.clone() } else { None },
            "DataCaptureConfig": arguments.capture.as_ref().map(|(to, percent)| json!({
                "EnableCapture": true, "InitialSamplingPercentage": percent, "DestinationS3Uri": to,
                "KmsKeyId": place.kms_key,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]})),
            "AsyncInferenceConfig": arguments.asynchronous.as_ref().map(|to| json!({"OutputConfig": {"S3OutputPath": to, "KmsKeyId": place.kms_key}})),
            "Tags": place.tags(),
        }),
    ));
    let tags = if exists { Value::Null } else { place.tags() };
    let operation = if exists { "UpdateEndpoint" } else { "CreateEndpoint" };
    calls.push(Call::new(
        operation,
        json!({"EndpointName": endpoint, "EndpointConfigName": config, "Tags": tags}),
    ));
    Ok(calls)
}

/// What lets the instances of an endpoint follow its requests, once it is in service.
pub(crate) fn scale(arguments: &DeployArguments) -> Vec<Call> {
    let Some((least, most, target)) = arguments.scale else { return Vec::new() };
    let only = arguments.model_data.iter().map(|_| "main");
    let variants = only.chain(arguments.variants.iter().map(|variant| variant.name.as_str()));
    variants
        .flat_map(|variant| {
            let resource = format!("endpoint/{}/variant/{variant}", arguments.endpoint);
            let what = json!({"ServiceNamespace": "sagemaker", "ResourceId": resource,
                "ScalableDimension": "sagemaker:variant:DesiredInstanceCount"});
            let with = |more: Value| {
                let mut request = what.clone();
                if let (Some(members), Value::Object(more)) = (request.as_object_mut(), more) {
                    members.extend(more);
                }
                request
            };
            let range = with(json!({"MinCapacity": least, "MaxCapacity": most}));
            let policy = with(json!({"PolicyName": format!("{}-{variant}", arguments.endpoint),
                "PolicyType": "TargetTrackingScaling",
                "TargetTrackingScalingPolicyConfiguration": {"TargetValue": target, "PredefinedMetricSpecification":
                    {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}}}));
            [("RegisterScalableTarget", range), ("PutScalingPolicy", policy)].map(|(operation, request)| Call {
                service: Service::Scaling,
                ..Call::new(operation, request)
            })
        })
        .collect()
}

/// A dashboard of an endpoint's requests, errors, latency and machines; alarms on errors and latency.
pub(crate) fn dashboard(
    arguments: &DashboardArguments,
    variants: &[String],
    region: &str,
) -> Result<Vec<Call>, WrongName> {
    let endpoint = &arguments.endpoint;
    check_name(endpoint, 63)?;
    let widget = |place: usize, title: &str, space: &str, names: &[&str], statistic: &str| {
        let metrics: Vec<Value> = names
            .iter()
            .flat_map(|name| {
                variants.iter().map(move |variant| {
                json!([space, name, "EndpointName", endpoint, "VariantName", variant, {"stat": statistic}])
            })
            })
            .collect();
        json!({"type": "metric", "x": 12 * (place % 2), "y": 6 * (place / 2), "width": 12, "height": 6,
            "properties": {"title": title, "region": region, "metrics": metrics, "period": 60, "view": "timeSeries"}})
    };
    let (invocations, machines) = ("AWS/SageMaker", "/aws/sagemaker/Endpoints");
    let widgets = [
        widget(0, "Requests a minute", invocations, &["Invocations"], "Sum"),
        widget(
            1,
            "Errors",
            invocations,
            &["Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors"],
            "Sum",
        ),
        widget(2, "Model latency, p99 (microseconds)", invocations, &["ModelLatency"], "p99"),
        widget(3, "Overhead, p99 (microseconds)", invocations, &["OverheadLatency"], "p99"),
        widget(4, "Processors (100 % each core)", machines, &["CPUUtilization"], "Average"),
        widget(5, "Memory (%)", machines, &["MemoryUtilization"], "Average"),
    ];
    let body = json!({"widgets": widgets}).to_string();
    let call = |operation, request| Call { service: Service::CloudWatch, ..Call::new(operation, request) };
    let mut calls = vec![call(
        "PutDashboard",
        json!({"DashboardName": format!("pugmark-{endpoint}"), "DashboardBody": body}),
    )];
    for variant in variants {
        let alarm = |name: &str, more: Value| {
            let mut request = json!({
                "AlarmName": format!("pugmark-{endpoint}-{variant}-{name}"), "Namespace": invocations,
                "Dimensions": [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
                "Period": 60, "EvaluationPeriods": 3, "ComparisonOperator": "GreaterThanThreshold",
                "TreatMissingData": "notBreaching",
                "AlarmActions": arguments.notify.as_ref().map(|topic| json!([topic])),
            });
            if let (Some(members), Value::Object(more)) = (request.as_object_mut(), more) {
                members.extend(more);
            }
            call("PutMetricAlarm", request)
        };
        calls.push(alarm(
            "errors",
            json!({"MetricName": "Invocation5XXErrors", "Statistic": "Sum", "Threshold": 0.0}),
        ));
        // Latencies are told in microseconds.
        let threshold = f64::from(arguments.latency) * 1000.0;
        calls.push(alarm(
            "latency",
            json!({"MetricName": "ModelLatency", "ExtendedStatistic": "p99", "Threshold": threshold}),
        ));
    }
    Ok(calls)
}
