//! An endpoint and all that is of no use without it, deleted.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::account::Account;
use crate::api::{Api, Service, interval};
use crate::arguments::DeleteArguments;
use crate::endpoint::configuration;
use crate::jobs::{confirmed, described};
use crate::kinds::Kind;
use crate::names::{check_name, wrong};
use crate::plan::{self, ALARMS, Call};

pub(crate) fn delete(arguments: &DeleteArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let name = &arguments.endpoint;
    check_name(name, 63)?;
    let api = account.open()?;
    let Some(endpoint) = described(&api, Kind::Endpoint, name)? else {
        return Err(wrong(format!("there is no endpoint called `{name}`")).into());
    };
    let variants: Vec<&str> = members(&endpoint["ProductionVariants"], "VariantName");
    let before = targets(&api, name, &variants);
    let delete = Call::new("DeleteEndpoint", json!({"EndpointName": name}));
    let mut after =
        entries(&api, endpoint["EndpointConfigName"].as_str().unwrap_or_default(), arguments.models)?;
    after.extend(watching(&api, name, &variants));
    if account.dry_run {
        let calls: Vec<Call> = before.into_iter().chain([delete]).chain(after).collect();
        println!("{:#}", plan::to_json(&calls));
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes && !confirmed(&format!("Delete the endpoint {name}? Requests to it will fail."))? {
        return Ok(ExitCode::FAILURE);
    }
    let mut whole = send(&before, &api);
    if let Err(error) = delete.send(&api) {
        // An attempt whose answer was lost may have begun it.
        let left = described(&api, Kind::Endpoint, name)?;
        if left.is_some_and(|endpoint| endpoint["EndpointStatus"] != "Deleting") {
            return Err(error);
        }
    }
    eprintln!("{name}: Deleting");
    // Its configuration is needed until it is gone.
    while let Some(left) = described(&api, Kind::Endpoint, name)? {
        ensure!(
            left["EndpointStatus"] == "Deleting" && left["CreationTime"] == endpoint["CreationTime"],
            "{name} is not gone, but {}: {}",
            left["EndpointStatus"].as_str().unwrap_or("?"),
            left["FailureReason"].as_str().unwrap_or("somebody has made it again")
        );
        thread::sleep(interval(Duration::from_secs(5)));
    }
    whole &= send(&after, &api);
    eprintln!("{name} is gone");
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends all of them, whatever becomes of one; whether none was refused.
fn send(calls: &[Call], api: &Api) -> bool {
    let mut whole = true;
    for call in calls {
        if let Err(error) = call.send(api) {
            eprintln!("warning: left over: {error:#}");
            whole = false;
        }
    }
    whole
}

fn members<'a>(items: &'a Value, name: &str) -> Vec<&'a str> {
    items.as_array().into_iter().flatten().filter_map(|item| item[name].as_str()).collect()
}

/// The configuration, and the entries of its models. One that somebody has deleted must not keep the endpoint.
fn entries(api: &Api, config: &str, with_models: bool) -> anyhow::Result<Vec<Call>> {
    let Some(description) = configuration(api, config)? else { return Ok(Vec::new()) };
    let mut calls = vec![Call::new("DeleteEndpointConfig", json!({"EndpointConfigName": config}))];
    if with_models {
        let models = members(&description["ProductionVariants"], "ModelName");
        calls.extend(models.iter().map(|model| Call::new("DeleteModel", json!({"ModelName": model}))));
    }
    Ok(calls)
}

/// What there is, which whoever may delete an endpoint need not be allowed to see.
fn seen(api: &Api, service: Service, operation: &str, request: &Value) -> Value {
    api.call(service, operation, request).unwrap_or_else(|error| {
        eprintln!("warning: what it finds is left over: {error:#}");
        Value::Null
    })
}

/// What `deploy --scale` made.
fn targets(api: &Api, name: &str, variants: &[&str]) -> Vec<Call> {
    if variants.is_empty() {
        return Vec::new();
    }
    let resources: Vec<String> = variants.iter().map(|variant| plan::resource(name, variant)).collect();
    let request = json!({"ServiceNamespace": "sagemaker", "ResourceIds": resources});
    let there = seen(api, Service::Scaling, "DescribeScalableTargets", &request);
    let targets = members(&there["ScalableTargets"], "ResourceId");
    let call =
        |resource: &&str| Call::of(Service::Scaling, "DeregisterScalableTarget", plan::scaled(resource));
    targets.iter().map(call).collect()
}

/// What `dashboard` made.
fn watching(api: &Api, name: &str, variants: &[&str]) -> Vec<Call> {
    let mut calls = Vec::new();
    if variants.is_empty() {
        return calls;
    }
    let alarms = variants.iter().flat_map(|variant| ALARMS.map(|what| plan::alarm_name(name, variant, what)));
    let request = json!({"AlarmNames": alarms.collect::<Vec<_>>()});
    let there = seen(api, Service::CloudWatch, "DescribeAlarms", &request);
    let alarms = members(&there["MetricAlarms"], "AlarmName");
    if !alarms.is_empty() {
        calls.push(Call::of(Service::CloudWatch, "DeleteAlarms", json!({"AlarmNames": alarms})));
    }
    let dashboard = plan::dashboard_name(name);
    let request = json!({"DashboardNamePrefix": dashboard});
    let there = seen(api, Service::CloudWatch, "ListDashboards", &request);
    if members(&there["DashboardEntries"], "DashboardName").contains(&dashboard.as_str()) {
        let request = json!({"DashboardNames": [dashboard]});
        calls.push(Call::of(Service::CloudWatch, "DeleteDashboards", request));
    }
    calls
}
