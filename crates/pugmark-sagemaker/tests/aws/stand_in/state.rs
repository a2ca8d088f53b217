//! What there is: jobs, models and endpoints, each with what becomes of it, look by look.

use std::collections::{BTreeMap, VecDeque};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::Refusal;
use super::logs::Logs;
use super::watching::Watching;

/// A state of a job or endpoint, and the lines that its log has with it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(super) status: String,
    /// Members of its description, such as `SecondaryStatus`.
    pub(super) members: Value,
    pub(super) lines: Vec<(String, String)>,
}

/// A state by its status.
pub(crate) fn step(status: &str) -> Step {
    Step { status: status.to_owned(), members: json!({}), lines: Vec::new() }
}

impl Step {
    /// A state of a training.
    pub(crate) fn detail(self, secondary: &str) -> Self {
        self.with("SecondaryStatus", secondary)
    }

    pub(crate) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members[member] = value.into();
        self
    }

    /// A line in the log of a host.
    pub(crate) fn line(mut self, host: &str, text: &str) -> Self {
        self.lines.push((host.to_owned(), text.to_owned()));
        self
    }
}

pub(super) struct Thing {
    pub(super) request: Value,
    pub(super) created: f64,
    pub(super) steps: VecDeque<Step>,
    /// Its state has been seen: the next look finds the next one.
    pub(super) seen: bool,
}

impl Thing {
    pub(super) fn status(&self) -> &str {
        self.steps.front().map_or("InService", |step| &step.status)
    }

    /// What has become of the instances that a training keeps.
    fn warm(&self) -> &str {
        let kept = self.request["ResourceConfig"]["KeepAlivePeriodInSeconds"].is_u64();
        if kept && self.status() == "Completed" { "Available" } else { "" }
    }
}

#[derive(Default)]
pub(crate) struct State {
    /// By noun, such as `TrainingJob`, and name.
    pub(super) things: BTreeMap<(&'static str, String), Thing>,
    pub(super) scripts: BTreeMap<String, VecDeque<Step>>,
    pub(super) logs: Logs,
    pub(super) watching: Watching,
    made: u32,
}

impl State {
    pub(super) fn add(&mut self, noun: &'static str, name: &str, request: Value, steps: VecDeque<Step>) {
        self.made += 1;
        // A second apart, so that lists have an order.
        let created = 1_790_000_000.0 + f64::from(self.made);
        self.things.insert((noun, name.to_owned()), Thing { request, created, steps, seen: false });
    }

    pub(super) fn get(&mut self, noun: &'static str, name: &str) -> Result<&mut Thing, Refusal> {
        let missing = match noun {
            "HyperParameterTuningJob" => Refusal::new("ResourceNotFound", "Requested resource not found."),
            "TrainingJob" | "ProcessingJob" | "TransformJob" => {
                Refusal::validation("Requested resource not found.")
            }
            _ => Refusal::validation(format!("Could not find {noun} \"{}\".", arn(noun, name))),
        };
        self.things.get_mut(&(noun, name.to_owned())).ok_or(missing)
    }

    pub(super) fn carry_out(&mut self, operation: &str, request: &Value) -> Result<Value, Refusal> {
        let verbs = ["Create", "Describe", "List", "Stop", "Update", "Delete"];
        let split = verbs.iter().find_map(|verb| Some((*verb, operation.strip_prefix(verb)?)));
        match split {
            _ if self.watching.knows(operation) => self.watch(operation, request),
            Some(("Describe", "LogStreams")) => self.logs.streams(request),
            Some((verb, noun)) if noun.starts_with("Endpoint") || noun == "Model" => {
                self.endpoint(verb, noun, request)
            }
            Some((verb, noun)) => self.job(verb, noun, request),
            None => match operation {
                "GetLogEvents" => self.logs.events(request),
                _ => Err(Refusal::new("UnknownOperationException", operation)),
            },
        }
    }

    /// A description: what was asked for, and what has become of it by this look.
    pub(super) fn look(&mut self, noun: &'static str, name: &str) -> Result<Value, Refusal> {
        let thing = self.get(noun, name)?;
        if std::mem::replace(&mut thing.seen, true) && thing.steps.len() > 1 {
            thing.steps.pop_front();
        }
        let mut answer = thing.request.clone();
        answer[format!("{noun}Arn")] = arn(noun, name).into();
        answer["CreationTime"] = thing.created.into();
        answer["LastModifiedTime"] = thing.created.into();
        let Some(step) = thing.steps.front_mut() else { return Ok(answer) };
        answer[format!("{noun}Status")] = step.status.as_str().into();
        for (member, value) in step.members.as_object().into_iter().flatten() {
            answer[member] = value.clone();
        }
        for (host, text) in std::mem::take(&mut step.lines) {
            self.logs.add(noun, name, &host, &text);
        }
        Ok(answer)
    }

    /// Items of a kind by the filters, the order and the page of a request.
    pub(super) fn list(&self, noun: &str, items: &str, request: &Value) -> Result<Value, Refusal> {
        let text = |member: &str| request[member].as_str();
        let of_kind = self.things.iter().filter(|((known, _), _)| *known == noun);
        let mut found: Vec<(&str, &Thing)> =
            of_kind.map(|((_, name), thing)| (name.as_str(), thing)).collect();
        found.retain(|(name, thing)| {
            text("StatusEquals").is_none_or(|status| thing.status() == status)
                && text("NameContains").is_none_or(|part| name.contains(part))
                && text("WarmPoolStatusEquals").is_none_or(|status| thing.warm() == status)
        });
        match text("SortBy").unwrap_or("CreationTime") {
            "CreationTime" => found.sort_by(|a, b| a.1.created.total_cmp(&b.1.created)),
            "Status" => found.sort_by_key(|(_, thing)| thing.status().to_owned()),
            _ => {}
        }
        if text("SortOrder") == Some("Descending") {
            found.reverse();
        }
        let from =
            match text("NextToken").map(|token| token.strip_prefix("page-").and_then(|at| at.parse().ok())) {
                None => 0,
                Some(Some(at)) => at,
                Some(None) => return Err(Refusal::validation("Invalid NextToken")),
            };
        let size = request["MaxResults"].as_u64().unwrap_or(10) as usize;
        let page = found.iter().skip(from).take(size).map(|(name, thing)| summary(noun, name, thing));
        let mut answer = json!({});
        answer[items] = page.collect();
        if from + size < found.len() {
            answer["NextToken"] = format!("page-{}", from + size).into();
        }
        Ok(answer)
    }
}

fn summary(noun: &str, name: &str, thing: &Thing) -> Value {
    let mut item = json!({"CreationTime": thing.created, "LastModifiedTime": thing.created});
    item[format!("{noun}Name")] = name.into();
    item[format!("{noun}Arn")] = arn(noun, name).into();
    item[format!("{noun}Status")] = thing.status().into();
    if noun == "HyperParameterTuningJob" {
        item["Strategy"] = "Bayesian".into();
        item["TrainingJobStatusCounters"] = json!({});
        item["ObjectiveStatusCounters"] = json!({});
    }
    item
}

pub(super) fn arn(noun: &str, name: &str) -> String {
    let kind = match noun {
        "HyperParameterTuningJob" => "hyper-parameter-tuning-job".into(),
        "EndpointConfig" => "endpoint-config".into(),
        _ => noun.replace("Job", "-Job").to_lowercase(),
    };
    format!("arn:aws:sagemaker:{}:123456789012:{kind}/{name}", super::REGION)
}

/// Milliseconds since 1970, as logs have them.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64)
}
