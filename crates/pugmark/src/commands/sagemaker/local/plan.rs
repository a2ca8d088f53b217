//! What a training job is asked to be.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use serde_json::{Value, json};

use super::isolate;
use super::job::{Job, environment, first};
use super::tree::{Input, inputs};
use crate::arguments::{JobFlags, TrainingJobFlags};
use crate::commands::sagemaker::metrics::Metrics;
use crate::error::WrongCall;

/// SageMaker's limits: hyperparameters, characters of a key and of a value, channels.
const MOST: (usize, usize, usize, usize) = (100, 256, 2500, 20);

/// What takes an instance away.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    /// Since the job's first start.
    pub(super) after: Duration,
    /// Without a word before it.
    pub(super) lost: bool,
}

/// A training job but for its name.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) channels: Vec<Input>,
    pub(super) hyperparameters: BTreeMap<String, String>,
    sdk: bool,
    pub(super) metrics: Metrics,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) max_runtime: Duration,
    spot: bool,
    /// Of a spot training.
    pub(super) max_wait: Option<Duration>,
    pub(super) events: VecDeque<Event>,
    pub(super) keep: bool,
    pub(super) isolate: bool,
}

impl Plan {
    pub(super) fn new(flags: &TrainingJobFlags, job: &JobFlags) -> Result<Self, WrongCall> {
        let max_runtime = Duration::from_secs(flags.max_runtime);
        let max_wait = flags.max_wait.map(Duration::from_secs);
        if max_wait.is_some_and(|wait| wait < max_runtime) {
            return Err(WrongCall::new("--max-wait is shorter than --max-runtime")
                .with_hint("the wait counts from the start of the job, with all its trainings"));
        }
        let hyperparameters: BTreeMap<String, String> = flags.set.iter().cloned().collect();
        if hyperparameters.len() < flags.set.len() {
            return Err(WrongCall::new("--set names a hyperparameter twice"));
        }
        check(&hyperparameters)?;
        if flags.channel.len() > MOST.3 {
            return Err(WrongCall::new(format!("SageMaker takes {} channels", MOST.3)));
        }
        let channels = inputs("--channel", &flags.channel)?;
        if job.isolate {
            isolate::check(channels.iter().map(|channel| channel.path.as_path()))?;
        }
        let event = |lost: bool| move |&after: &Duration| Event { after, lost };
        let mut events: Vec<Event> = flags.interrupt_after.iter().map(event(false)).collect();
        events.extend(flags.lose_after.iter().map(event(true)));
        events.sort_by_key(|event| event.after);
        Ok(Self {
            channels,
            hyperparameters,
            sdk: flags.sdk,
            metrics: Metrics::new(&flags.metric)?,
            environment: environment(job)?,
            max_runtime,
            spot: flags.spot,
            max_wait: flags.spot.then_some(max_wait.unwrap_or(max_runtime)),
            events: events.into(),
            keep: job.keep,
            isolate: job.isolate,
        })
    }

    /// As they come to the container.
    pub(super) fn encoded(&self, job: &str) -> BTreeMap<String, String> {
        let mut all = self.hyperparameters.clone();
        if self.sdk {
            for (key, value) in &mut all {
                // What the service itself adds is as it is.
                if !key.starts_with('_') && serde_json::from_str::<Value>(value).is_err() {
                    *value = Value::from(value.as_str()).to_string();
                }
            }
            let added = [
                ("sagemaker_container_log_level", json!(20)),
                ("sagemaker_job_name", json!(job)),
                ("sagemaker_region", json!("local")),
            ];
            all.extend(added.map(|(key, value)| (key.to_owned(), value.to_string())));
        }
        all
    }
}

/// SageMaker's limits on hyperparameters.
pub(super) fn check(hyperparameters: &BTreeMap<String, String>) -> Result<(), WrongCall> {
    let (most, key, value, _) = MOST;
    if hyperparameters.len() > most {
        return Err(WrongCall::new(format!("SageMaker takes {most} hyperparameters")));
    }
    match hyperparameters.iter().find(|(k, v)| k.chars().count() > key || v.chars().count() > value) {
        Some((name, _)) => Err(WrongCall::new(format!("the hyperparameter {} is too long", first(name, 40)))
            .with_hint(format!("SageMaker takes {key} characters of a key and {value} of a value"))),
        None => Ok(()),
    }
}

/// What the request said.
pub(super) fn describe(job: &mut Job, plan: &Plan) {
    let channels = plan.channels.iter().map(|Input { name, path }| {
        let source = json!({
            "S3DataType": "S3Prefix",
            "S3Uri": path.to_string_lossy(),
            "S3DataDistributionType": "FullyReplicated",
        });
        json!({
            "ChannelName": name,
            "DataSource": {"S3DataSource": source},
            "InputMode": "File",
            "CompressionType": "None",
            "RecordWrapperType": "None",
        })
    });
    job.set("InputDataConfig", channels.collect::<Vec<_>>());
    job.set("HyperParameters", json!(plan.encoded(&job.name)));
    job.set("Environment", json!(plan.environment));
    let metrics: Vec<_> = plan.metrics.definitions().collect();
    let image = format!("pugmark {}", env!("CARGO_PKG_VERSION"));
    job.set(
        "AlgorithmSpecification",
        json!({"TrainingImage": image, "TrainingInputMode": "File", "MetricDefinitions": metrics}),
    );
    job.set(
        "OutputDataConfig",
        json!({"S3OutputPath": job.folder.parent().map(|out| out.to_string_lossy())}),
    );
    job.set(
        "CheckpointConfig",
        json!({"S3Uri": job.place("checkpoints"), "LocalPath": "/opt/ml/checkpoints"}),
    );
    job.set("ResourceConfig", json!({"InstanceType": "local", "InstanceCount": 1}));
    job.set("EnableManagedSpotTraining", plan.spot);
    let mut stopping = json!({"MaxRuntimeInSeconds": plan.max_runtime.as_secs()});
    if let Some(wait) = plan.max_wait {
        stopping["MaxWaitTimeInSeconds"] = json!(wait.as_secs());
    }
    job.set("StoppingCondition", stopping);
}
