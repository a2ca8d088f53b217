//! Requests that make endpoints, and what watches them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Call, model};
use crate::api::Service;
use crate::arguments::{DashboardArguments, DeployArguments};
use crate::names::{WrongName, check_name, check_s3, wrong};

/// The instances that each variant of an endpoint is to have, by its description.
pub(crate) fn instances(endpoint: &Value) -> BTreeMap<&str, u32> {
    let variants = endpoint["ProductionVariants"].as_array().into_iter().flatten();
    let count = |variant: &Value| {
        ["DesiredInstanceCount", "CurrentInstanceCount"].iter().find_map(|key| variant[key].as_u64())
    };
    variants
        .filter(|variant| variant["CurrentServerlessConfig"].is_null())
        .filter_map(|variant| Some((variant["VariantName"].as_str()?, count(variant)?.try_into().ok()?)))
        .collect()
}

impl DeployArguments {
    /// Names, archives and weights of the variants.
    fn variants(&self) -> impl Iterator<Item = (&str, &str, f64)> {
        let only = self.model_data.iter().map(|data| ("main", data.as_str(), 1.0));
        only.chain(self.variants.iter().map(|v| (v.name.as_str(), v.model_data.as_str(), v.weight)))
    }

    /// Instances that a variant begins with, where `now` says what each has.
    fn begins_with(&self, variant: &str, now: &BTreeMap<&str, u32>) -> u32 {
        let least = self.scale.map_or(1, |(least, ..)| least);
        // One that is scaled to none has none, and a configuration at least one.
        self.instances.or_else(|| now.get(variant).copied()).unwrap_or(least).max(1)
    }

    /// Instances of all variants.
    pub(crate) fn count(&self, now: &BTreeMap<&str, u32>) -> u32 {
        self.variants().map(|(name, ..)| self.begins_with(name, now)).sum()
    }
}

/// Models, a configuration, and last the endpoint itself, which is changed where it is `there`. `stamp` tells this deployment from
/// earlier ones.
pub(crate) fn deploy(
    arguments: &DeployArguments,
    stamp: &str,
    there: Option<&Value>,
) -> Result<Vec<Call>, WrongName> {
    let DeployArguments { endpoint, place, .. } = arguments;
    check_name(endpoint, 63)?;
    place.check()?;
    let now = there.map(instances).unwrap_or_default();
    let variants: Vec<(&str, &str, f64)> = arguments.variants().collect();
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
            "InitialInstanceCount": has_instances.then(|| arguments.begins_with(name, &now)),
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
    let mut request = json!({"EndpointName": endpoint, "EndpointConfigName": config});
    if there.is_none() {
        request["Tags"] = place.tags();
        calls.push(Call::new("CreateEndpoint", request));
        return Ok(calls);
    }
    // Instances may come and go until the change is carried out: how many there are is for the service to keep.
    let keeps = variants.iter().any(|(name, ..)| now.contains_key(name));
    if keeps && arguments.instances.is_none() && arguments.serverless.is_none() {
        request["RetainAllVariantProperties"] = true.into();
        request["ExcludeRetainedVariantProperties"] = json!([{"VariantPropertyType": "DesiredWeight"}]);
    }
    calls.push(Call::new("UpdateEndpoint", request));
    Ok(calls)
}

/// What auto scaling calls a variant.
pub(crate) fn resource(endpoint: &str, variant: &str) -> String {
    format!("endpoint/{endpoint}/variant/{variant}")
}

/// What the dashboard of an endpoint is called.
pub(crate) fn dashboard_name(endpoint: &str) -> String {
    format!("pugmark-{endpoint}")
}

/// What all alarms of an endpoint begin with.
pub(crate) fn alarm_prefix(endpoint: &str) -> String {
    format!("pugmark-{endpoint}-")
}

/// What lets the instances of an endpoint follow its requests, once it is in service.
pub(crate) fn scale(arguments: &DeployArguments) -> Vec<Call> {
    let Some((least, most, target)) = arguments.scale else { return Vec::new() };
    arguments
        .variants()
        .flat_map(|(variant, ..)| {
            let what = json!({"ServiceNamespace": "sagemaker", "ResourceId": resource(&arguments.endpoint, variant),
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
            [("RegisterScalableTarget", range), ("PutScalingPolicy", policy)]
                .map(|(operation, request)| Call::of(Service::Scaling, operation, request))
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
    let call = |operation, request| Call::of(Service::CloudWatch, operation, request);
    let mut calls =
        vec![call("PutDashboard", json!({"DashboardName": dashboard_name(endpoint), "DashboardBody": body}))];
    for variant in variants {
        let alarm = |name: &str, more: Value| {
            let mut request = json!({
                "AlarmName": format!("{}{variant}-{name}", alarm_prefix(endpoint)), "Namespace": invocations,
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
