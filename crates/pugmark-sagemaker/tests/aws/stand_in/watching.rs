//! Auto scaling, alarms and dashboards: names that are there or not.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Refusal;
use super::state::State;

const OPERATIONS: [&str; 10] = [
    "RegisterScalableTarget",
    "PutScalingPolicy",
    "DescribeScalableTargets",
    "DeregisterScalableTarget",
    "PutDashboard",
    "ListDashboards",
    "DeleteDashboards",
    "PutMetricAlarm",
    "DescribeAlarms",
    "DeleteAlarms",
];

#[derive(Default)]
pub(super) struct Watching {
    targets: BTreeSet<String>,
    dashboards: BTreeSet<String>,
    /// By name, with their dimensions.
    alarms: BTreeMap<String, Value>,
}

impl Watching {
    pub(super) fn alarm(&mut self, name: &str, request: &Value) {
        self.alarms.insert(name.to_owned(), request["Dimensions"].clone());
    }

    pub(super) fn knows(&self, operation: &str) -> bool {
        OPERATIONS.contains(&operation)
    }
}

fn texts<'a>(request: &'a Value, member: &str) -> Vec<&'a str> {
    request[member].as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Removes all of them, or none where one is not there.
fn remove(from: &mut BTreeSet<String>, names: &[&str]) -> Result<Value, Refusal> {
    if let Some(missing) = names.iter().find(|name| !from.contains(**name)) {
        return Err(Refusal::new("ResourceNotFound", format!("{missing} does not exist")));
    }
    from.retain(|name| !names.contains(&name.as_str()));
    Ok(json!({}))
}

impl State {
    pub(super) fn watch(&mut self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        let text = |member: &str| request[member].as_str().unwrap_or_default().to_owned();
        let resource = text("ResourceId");
        match operation {
            "RegisterScalableTarget" | "PutScalingPolicy" => self.scale(operation, &resource),
            "DescribeScalableTargets" => {
                let there = self.watching.targets.iter();
                let target = |resource: &String| {
                    json!({"ServiceNamespace": "sagemaker", "ResourceId": resource,
                    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount", "MinCapacity": 1, "MaxCapacity": 4,
                    "RoleARN": "arn:aws:iam::123456789012:role/scaling", "CreationTime": 1_790_000_000})
                };
                Ok(json!({"ScalableTargets": there.map(target).collect::<Vec<_>>()}))
            }
            "DeregisterScalableTarget" => remove(&mut self.watching.targets, &[&resource]),
            "PutDashboard" => {
                self.watching.dashboards.insert(text("DashboardName"));
                Ok(json!({"DashboardValidationMessages": []}))
            }
            "ListDashboards" => {
                let prefix = text("DashboardNamePrefix");
                let there = self.watching.dashboards.iter().filter(|name| name.starts_with(&prefix));
                let entry = |name: &String| json!({"DashboardName": name});
                Ok(json!({"DashboardEntries": there.map(entry).collect::<Vec<_>>()}))
            }
            "DeleteDashboards" => remove(&mut self.watching.dashboards, &texts(request, "DashboardNames")),
            "PutMetricAlarm" => {
                self.watching.alarm(&text("AlarmName"), request);
                Ok(json!({}))
            }
            "DescribeAlarms" => {
                let prefix = text("AlarmNamePrefix");
                let there = self.watching.alarms.iter().filter(|(name, _)| name.starts_with(&prefix));
                let alarm = |(name, dimensions): (&String, &Value)| json!({"AlarmName": name, "Dimensions": dimensions});
                Ok(json!({"MetricAlarms": there.map(alarm).collect::<Vec<_>>()}))
            }
            "DeleteAlarms" => {
                // Without a word about those that are not there.
                let names = texts(request, "AlarmNames");
                self.watching.alarms.retain(|name, _| !names.contains(&name.as_str()));
                Ok(json!({}))
            }
            _ => Err(Refusal::new("UnknownOperationException", operation)),
        }
    }

    /// Variants of endpoints in service alone can be scaled.
    fn scale(&mut self, operation: &str, resource: &str) -> Result<Value, Refusal> {
        let endpoint = resource.split('/').nth(1).unwrap_or_default();
        match self.get("Endpoint", endpoint) {
            Ok(endpoint) if endpoint.status() == "InService" => {}
            Ok(_) => return Err(Refusal::validation(format!("The endpoint {endpoint} is not in service."))),
            Err(_) => {
                return Err(Refusal::validation(format!("SageMaker endpoint not found: {endpoint}")));
            }
        }
        self.watching.targets.insert(resource.to_owned());
        Ok(match operation {
            "PutScalingPolicy" => {
                json!({"PolicyARN": format!("arn:aws:autoscaling:eu-central-1:123456789012:scalingPolicy:1:{resource}")})
            }
            _ => json!({}),
        })
    }
}
