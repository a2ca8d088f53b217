//! A training job, from its first instance to its archive.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::archive;
use super::attendant::{Attendant, Stop};
use super::container::{Container, Line, Log, Start, how, next_lines};
use super::job::{Job, first, now};
use super::plan::{Event, Plan, describe};
use super::tree::{Input, Tree, keys};
use super::upload::Upload;

/// The time to save something, between SIGTERM and SIGKILL.
pub(super) const GRACE: Duration = Duration::from_secs(120);
/// Between two looks for new checkpoints.
const SYNC: Duration = Duration::from_secs(1);
const HOST: &str = "algo-1";

/// How a training job ended.
#[derive(Clone, Debug)]
pub(super) struct Trained {
    /// `Completed`, `Failed` or `Stopped`.
    pub(super) status: &'static str,
    /// `Completed`, `Failed`, `Stopped`, `MaxRuntimeExceeded` or `MaxWaitTimeExceeded`.
    pub(super) secondary: &'static str,
    pub(super) reason: Option<String>,
    /// The last value of each metric.
    pub(super) metrics: BTreeMap<String, f64>,
    pub(super) interruptions: u32,
    pub(super) training: Duration,
    /// What there is, in the job's folder.
    pub(super) model: Option<PathBuf>,
}

/// Why a container was told to end, or how it ended by itself.
#[derive(Clone, PartialEq, Eq, Debug)]
enum End {
    Completed,
    Failed(String),
    Interrupted,
    Lost,
    /// The secondary status.
    Stopped(&'static str),
}

/// A job under way.
struct Training<'a> {
    job: &'a mut Job,
    plan: &'a Plan,
    attendant: &'a dyn Attendant,
    log: Log,
    events: VecDeque<Event>,
    metrics: BTreeMap<String, (f64, String)>,
    begun: Instant,
    training: Duration,
    billable: Duration,
}

/// Runs a training job to its end, whatever that is; an error is one of this machine.
pub(super) fn run(job: &mut Job, plan: &Plan, attendant: &dyn Attendant) -> anyhow::Result<Trained> {
    let log = Log::create(&job.folder, HOST)?;
    describe(job, plan);
    let mut training = Training {
        plan,
        attendant,
        log,
        events: plan.events.clone(),
        metrics: BTreeMap::new(),
        begun: Instant::now(),
        training: Duration::ZERO,
        billable: Duration::ZERO,
        job,
    };
    let ended = training.run();
    if let Err(error) = &ended {
        let reason = first(&format!("InternalServerError: {error:#}"), 1024);
        training.job.set("FailureReason", reason.as_str());
        training.job.transition("Failed", "Failed", &reason)?;
    }
    ended
}

impl Training<'_> {
    fn run(&mut self) -> anyhow::Result<Trained> {
        let mut interruptions = 0;
        let (tree, end) = loop {
            self.job.transition("InProgress", "Starting", "Starting an instance")?;
            let tree = self.tree()?;
            match self.attempt(&tree)? {
                End::Interrupted | End::Lost => {
                    interruptions += 1;
                    self.job.transition("InProgress", "Interrupted", "The instance was taken away")?;
                    self.attendant.line("the instance was taken away; the job starts again on another one");
                    tree.remove()?;
                }
                end => break (tree, end),
            }
        };
        self.tell_what_never_came();
        let model = self.upload(&tree, &end)?;
        if !self.plan.keep {
            tree.remove()?;
        }
        self.finish(end, interruptions, model)
    }

    /// A new instance's tree.
    fn tree(&mut self) -> anyhow::Result<Tree> {
        self.job.transition("InProgress", "Downloading", "Downloading input data")?;
        let folders = ["input/config", "input/data", "model", "output/data", "checkpoints"];
        let tree = Tree::create(&self.job.folder, HOST, &folders)?;
        let mut config = serde_json::Map::new();
        for Input { name, path } in &self.plan.channels {
            tree.link(&format!("input/data/{name}"), path)?;
            let channel = json!({
                "TrainingInputMode": "File",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "None",
            });
            config.insert(name.clone(), channel);
        }
        tree.write_json("input/config/inputdataconfig.json", &Value::Object(config))?;
        let hyperparameters = json!(self.plan.encoded(&self.job.name));
        tree.write_json("input/config/hyperparameters.json", &hyperparameters)?;
        let group = "homogeneousCluster";
        let cluster = json!({
            "current_host": HOST,
            "current_instance_type": "local",
            "current_group_name": group,
            "hosts": [HOST],
            "instance_groups": [{"instance_group_name": group, "instance_type": "local", "hosts": [HOST]}],
            "network_interface_name": "lo",
        });
        tree.write_json("input/config/resourceconfig.json", &cluster)?;
        Ok(tree)
    }

    /// Trains on an instance until the container ends.
    fn attempt(&mut self, tree: &Tree) -> anyhow::Result<End> {
        let mut upload = Upload::begin(tree.path("checkpoints"), self.job.folder.join("checkpoints"))?;
        let mut variables = self.plan.environment.clone();
        variables.insert("TRAINING_JOB_NAME".to_owned(), self.job.name.clone());
        variables.insert("TRAINING_JOB_ARN".to_owned(), self.job.arn());
        let (sender, lines) = mpsc::channel();
        let arguments = [OsString::from("train")];
        let start =
            Start { tree, host: 0, arguments: &arguments, variables: &variables, isolate: self.plan.isolate };
        if !self.job.description().contains_key("TrainingStartTime") {
            self.job.set("TrainingStartTime", now());
            self.begun = Instant::now();
        }
        self.job.transition("InProgress", "Training", "Training is in progress")?;
        let started = Instant::now();
        let mut container = Container::start(&start, &sender)?;
        let mut synced = Instant::now();
        let mut told: Option<End> = None;
        let status = loop {
            self.hear(tree, next_lines(&lines))?;
            if let Some(status) = container.ended()? {
                break status;
            }
            self.decide(&mut container, &mut told, started)?;
            // From an instance that is lost nothing comes any more.
            if synced.elapsed() >= SYNC && told != Some(End::Lost) {
                upload.pass()?;
                synced = Instant::now();
            }
        };
        self.hear(tree, lines.try_iter().collect())?;
        self.training += started.elapsed();
        self.billable += started.elapsed();
        if told != Some(End::Lost) {
            upload.pass()?;
        }
        Ok(told.unwrap_or_else(|| match status.success() {
            true => End::Completed,
            false => End::Failed(reason(tree, &how(status))),
        }))
    }

    /// Tells the container to end where it is time.
    fn decide(
        &mut self,
        container: &mut Container,
        told: &mut Option<End>,
        started: Instant,
    ) -> anyhow::Result<()> {
        let asked = self.attendant.stop();
        if asked == Stop::AtOnce {
            container.kill();
        }
        let stopped = |told: &Option<End>| matches!(told, Some(End::Stopped(_)));
        let end = if asked > Stop::No && !stopped(told) {
            End::Stopped("Stopped")
        } else if told.is_some() {
            return Ok(());
        } else if self.training + started.elapsed() >= self.plan.max_runtime {
            End::Stopped("MaxRuntimeExceeded")
        } else if self.plan.max_wait.is_some_and(|wait| self.begun.elapsed() >= wait) {
            End::Stopped("MaxWaitTimeExceeded")
        } else {
            match self.events.front() {
                Some(event) if self.begun.elapsed() >= event.after => {
                    let lost = event.lost;
                    self.events.pop_front();
                    if lost { End::Lost } else { End::Interrupted }
                }
                _ => return Ok(()),
            }
        };
        match &end {
            End::Lost => container.kill(),
            _ => container.stop(GRACE),
        }
        if stopped(&Some(end.clone())) {
            self.job.transition("Stopping", "Stopping", "Stopping the training job")?;
        }
        *told = Some(end);
        Ok(())
    }

    fn hear(&mut self, tree: &Tree, lines: Vec<Line>) -> anyhow::Result<()> {
        for Line { text, .. } in lines {
            let text = tree.said(&text);
            self.log.line(&text)?;
            self.attendant.line(&text);
            for (name, value) in self.plan.metrics.read(&text) {
                self.metrics.insert(name.to_owned(), (value, now()));
                self.attendant.metric(name, value);
            }
        }
        Ok(())
    }

    fn tell_what_never_came(&self) {
        for Event { after, lost } in &self.events {
            let flag = if *lost { "--lose-after" } else { "--interrupt-after" };
            let seconds = after.as_secs_f64();
            self.attendant.line(&format!("{flag} {seconds} never came: the training had ended before"));
        }
    }

    /// Packs what the container left. A training that failed has no model.
    fn upload(&mut self, tree: &Tree, end: &End) -> anyhow::Result<Option<PathBuf>> {
        let begun = Instant::now();
        let above = if matches!(end, End::Stopped(_)) { "Stopping" } else { "InProgress" };
        self.job.transition(above, "Uploading", "Uploading what the training left")?;
        let output = self.job.folder.join("output");
        std::fs::create_dir_all(&output)?;
        archive::pack(&tree.path("output/data"), &output.join("output.tar.gz"))?;
        let model = output.join("model.tar.gz");
        let model = match end {
            End::Failed(_) => None,
            _ if keys(&tree.path("model"))?.is_empty() => None,
            _ => archive::pack(&tree.path("model"), &model).map(|()| Some(model))?,
        };
        if let Some(model) = &model {
            self.job.set("ModelArtifacts", json!({"S3ModelArtifacts": model.to_string_lossy()}));
        }
        self.billable += begun.elapsed();
        Ok(model)
    }

    fn finish(&mut self, end: End, interruptions: u32, model: Option<PathBuf>) -> anyhow::Result<Trained> {
        let (status, secondary, reason) = match end {
            End::Failed(reason) => ("Failed", "Failed", Some(reason)),
            End::Stopped(secondary) => ("Stopped", secondary, None),
            End::Completed | End::Interrupted | End::Lost => ("Completed", "Completed", None),
        };
        let metrics = self
            .metrics
            .iter()
            .map(|(name, (value, time))| json!({"MetricName": name, "Value": value, "Timestamp": time}));
        let metrics: Vec<Value> = metrics.collect();
        self.job.set("FinalMetricDataList", metrics);
        self.job.set("TrainingEndTime", now());
        self.job.set("TrainingTimeInSeconds", self.training.as_secs_f64().ceil() as u64);
        self.job.set("BillableTimeInSeconds", self.billable.as_secs_f64().ceil() as u64);
        if let Some(reason) = &reason {
            self.job.set("FailureReason", reason.as_str());
        }
        self.job.transition(status, secondary, reason.as_deref().unwrap_or("The training job is over"))?;
        Ok(Trained {
            status,
            secondary,
            reason,
            metrics: self.metrics.iter().map(|(name, (value, _))| (name.clone(), *value)).collect(),
            interruptions,
            training: self.training,
            model,
        })
    }
}

/// Why a container failed, as it says itself.
fn reason(tree: &Tree, how: &str) -> String {
    let said = tree.read("output/failure").map(|bytes| tree.said(&String::from_utf8_lossy(&bytes)));
    match said.filter(|said| !said.trim().is_empty()) {
        Some(said) => first(&said, 1024),
        None => format!("AlgorithmError: {how}"),
    }
}
