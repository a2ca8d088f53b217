//! The requests that make a job or an endpoint, as JSON: what `--dry-run` prints is what is sent.

mod endpoints;
mod jobs;

use serde_json::{Map, Value, json};

use crate::api::{Api, Refused, Service};
use crate::arguments::Place;
use crate::names::{WrongName, check_key, check_label, check_name, check_role, check_s3, wrong};

pub(crate) use endpoints::{alarm_prefix, dashboard, dashboard_name, deploy, instances, resource, scale};
pub(crate) use jobs::{process, train, transform, tune};

/// A request that is still to be sent.
pub(crate) struct Call {
    pub(crate) service: Service,
    pub(crate) operation: &'static str,
    pub(crate) request: Value,
}

impl Call {
    pub(crate) fn new(operation: &'static str, request: Value) -> Self {
        Self { service: Service::SageMaker, operation, request: without_nulls(request) }
    }

    pub(crate) fn of(service: Service, operation: &'static str, request: Value) -> Self {
        Self { service, ..Self::new(operation, request) }
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

/// The entry of a model, which jobs and endpoints name.
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
