//! An endpoint and all that is of no use without it, deleted.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};

use crate::account::Account;
use crate::api::{Api, Refused, Service, interval};
use crate::arguments::DeleteArguments;
use crate::endpoint::configuration;
use crate::jobs::{confirmed, described};
use crate::kinds::Kind;
use crate::names::{check_name, wrong};
use crate::plan::{self, Call};

pub(crate) fn delete(arguments: &DeleteArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let name = &arguments.endpoint;
    check_name(name, 63)?;
    let api = account.open()?;
    let Some(endpoint) = described(&api, Kind::Endpoint, name)? else {
        return Err(wrong(format!("there is no endpoint called `{name}`")).into());
    };
    let delete = Call::new("DeleteEndpoint", json!({"EndpointName": name}));
    let mut after = targets(&api, name);
    let config = endpoint["EndpointConfigName"].as_str().unwrap_or_default();
    after.extend(entries(&api, config, arguments.models)?);
    after.extend(watching(&api, name));
    if account.dry_run {
        let calls: Vec<Call> = [delete].into_iter().chain(after).collect();
        println!("{:#}", plan::to_json(&calls));
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes && !confirmed(&format!("Delete the endpoint {name}? Requests to it will fail."))? {
        return Ok(ExitCode::FAILURE);
    }
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
    let whole = send(&after, &api);
    eprintln!("{name} is gone");
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Sends all of them, whatever becomes of one; whether none was refused. What is not there is deleted.
fn send(calls: &[Call], api: &Api) -> bool {
    let mut whole = true;
    for call in calls {
        let Err(error) = call.send(api) else { continue };
        let gone = error.downcast_ref::<Refused>().is_some_and(|refused| refused.code.contains("NotFound"));
        if !gone {
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

/// What `deploy --scale` made, of variants of earlier deployments too.
fn targets(api: &Api, name: &str) -> Vec<Call> {
    let prefix = plan::resource(name, "");
    let mut request = json!({"ServiceNamespace": "sagemaker"});
    let mut calls = Vec::new();
    loop {
        let mut page = seen(api, Service::Scaling, "DescribeScalableTargets", &request);
        for target in page["ScalableTargets"].as_array().into_iter().flatten() {
            if target["ResourceId"].as_str().is_some_and(|resource| resource.starts_with(&prefix)) {
                let what = json!({"ServiceNamespace": "sagemaker", "ResourceId": target["ResourceId"],
                    "ScalableDimension": target["ScalableDimension"]});
                calls.push(Call::of(Service::Scaling, "DeregisterScalableTarget", what));
            }
        }
        match page["NextToken"].take() {
            Value::String(token) => request["NextToken"] = token.into(),
            _ => return calls,
        }
    }
}

/// What `dashboard` made, of variants of earlier deployments too.
fn watching(api: &Api, name: &str) -> Vec<Call> {
    let mut calls = Vec::new();
    let request = json!({"AlarmNamePrefix": plan::alarm_prefix(name), "MaxRecords": 100});
    let there = seen(api, Service::CloudWatch, "DescribeAlarms", &request);
    let is_its = |alarm: &&Value| {
        let dimensions = alarm["Dimensions"].as_array().into_iter().flatten();
        // That of `ants-2` begins with what those of `ants` do.
        dimensions.into_iter().any(|of| of["Name"] == "EndpointName" && of["Value"] == name)
    };
    let alarms = there["MetricAlarms"].as_array().into_iter().flatten().filter(is_its);
    let alarms: Vec<&str> = alarms.filter_map(|alarm| alarm["AlarmName"].as_str()).collect();
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
