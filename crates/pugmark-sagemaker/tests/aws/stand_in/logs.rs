//! Logs in small pages, so that every reader must turn them.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Refusal;
use super::state::now;

/// Streams and lines that a page has.
const PAGE: usize = 2;

/// The streams of a group, with their lines and the time of each.
type Streams = BTreeMap<String, Vec<(u64, String)>>;

/// Groups by name.
#[derive(Default)]
pub(super) struct Logs(BTreeMap<String, Streams>);

impl Logs {
    /// A line of a host of a job, or of an endpoint.
    pub(super) fn add(&mut self, noun: &str, name: &str, host: &str, text: &str) {
        let (group, stream) = match noun {
            "Endpoint" => (format!("/aws/sagemaker/Endpoints/{name}"), format!("main/{host}")),
            // The trainings of a tuning job have a name of their own.
            "HyperParameterTuningJob" => {
                ("/aws/sagemaker/TrainingJobs".into(), format!("{name}-{host}/algo-1-1790000000"))
            }
            _ => (format!("/aws/sagemaker/{noun}s"), format!("{name}/{host}-1790000000")),
        };
        self.0.entry(group).or_default().entry(stream).or_default().push((now(), text.to_owned()));
    }

    fn group(&self, request: &Value) -> Result<&Streams, Refusal> {
        let group = self.0.get(request["logGroupName"].as_str().unwrap_or_default());
        group.ok_or_else(|| {
            Refusal::new("ResourceNotFoundException", "The specified log group does not exist.")
        })
    }

    pub(super) fn streams(&self, request: &Value) -> Result<Value, Refusal> {
        let prefix = request["logStreamNamePrefix"].as_str().unwrap_or_default();
        let names: Vec<&String> =
            self.group(request)?.keys().filter(|name| name.starts_with(prefix)).collect();
        let from = place(request, "s/")?;
        let page = names.iter().skip(from).take(PAGE).map(|name| json!({"logStreamName": name}));
        let mut answer = json!({"logStreams": page.collect::<Value>()});
        if from + PAGE < names.len() {
            answer["nextToken"] = format!("s/{}", from + PAGE).into();
        }
        Ok(answer)
    }

    pub(super) fn events(&self, request: &Value) -> Result<Value, Refusal> {
        let stream = self.group(request)?.get(request["logStreamName"].as_str().unwrap_or_default());
        let missing =
            || Refusal::new("ResourceNotFoundException", "The specified log stream does not exist.");
        let since = request["startTime"].as_u64().unwrap_or(0);
        let lines: Vec<&(u64, String)> =
            stream.ok_or_else(missing)?.iter().filter(|line| line.0 >= since).collect();
        let from = place(request, "f/")?;
        let page = lines.iter().skip(from).take(PAGE);
        let events: Value = page.map(|(time, text)| json!({"timestamp": time, "message": text})).collect();
        // At its end a stream answers with the place that it was asked from.
        let next = (from + PAGE).min(lines.len());
        Ok(
            json!({"events": events, "nextForwardToken": format!("f/{next}"), "nextBackwardToken": format!("b/{from}")}),
        )
    }
}

fn place(request: &Value, kind: &str) -> Result<usize, Refusal> {
    let Some(token) = request["nextToken"].as_str() else { return Ok(0) };
    let place = token.strip_prefix(kind).and_then(|place| place.parse().ok());
    place.ok_or_else(|| Refusal::new("InvalidParameterException", "The specified nextToken is invalid."))
}
