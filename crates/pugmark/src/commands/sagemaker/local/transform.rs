//! `local transform`: every object a request, every answer a file.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use pugmark_model::write_atomic;
use serde::Deserialize;
use serde_json::json;

use super::archive;
use super::attendant::{Attendant, Foreground, Stop};
use super::container::{Log, how};
use super::isolate;
use super::job::{Job, Kind, environment, first, now};
use super::server::{Server, agent};
use super::train::shown;
use super::tree::objects;
use crate::arguments::LocalTransformArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt::Requests;
use crate::printer::Printer;

/// The platform's time for a request, and how often one is sent again.
const REQUEST: Duration = Duration::from_secs(600);
const RETRIES: u32 = 3;
/// Before a request is sent again.
const BACK_OFF: Duration = Duration::from_millis(500);
/// Largest answer, in bytes.
const ANSWER: u64 = 100 << 20;
/// MaxConcurrentTransforms times MaxPayloadInMB.
const MOST: u32 = 100;

/// How the container wants to be asked.
#[derive(Deserialize, Clone, Copy, Debug)]
#[serde(rename_all = "PascalCase", default)]
struct Parameters {
    max_concurrent_transforms: u32,
    #[serde(rename = "MaxPayloadInMB")]
    max_payload_in_mb: u32,
}

impl Default for Parameters {
    /// SageMaker's.
    fn default() -> Self {
        Self { max_concurrent_transforms: 1, max_payload_in_mb: 6 }
    }
}

pub(super) fn run(arguments: &LocalTransformArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    if arguments.max_concurrent_transforms.unwrap_or(1) * arguments.max_payload_in_mb.unwrap_or(1) > MOST {
        let text = "--max-concurrent-transforms times --max-payload-in-mb is more than SageMaker's 100";
        return Err(WrongCall::new(text).with_hint("take fewer at once, or smaller ones").into());
    }
    let input = &arguments.input;
    if !input.is_dir() {
        return Err(WrongCall::new(format!("--input {} is no folder", input.display())).into());
    }
    let keys = objects(input)?;
    if keys.is_empty() {
        return Err(WrongCall::new(format!("--input {} holds no file", input.display())).into());
    }
    archive::is_there(&arguments.model)?;
    let variables = environment(&arguments.job)?;
    if variables.len() > 16 {
        return Err(WrongCall::new("SageMaker takes 16 variables of a transform job").into());
    }
    if arguments.job.isolate {
        isolate::check(std::iter::empty())?;
    }
    let requests = Requests::listen()?;
    let mut job = Job::create(&arguments.job, Kind::Transform)?;
    let attendant = Foreground { printer, requests: &requests };
    let mut transform = Transform { arguments, attendant: &attendant, keys: &keys, job: &mut job };
    let ended = transform.run(variables);
    if let Err(error) = &ended {
        job.set("FailureReason", first(&format!("{error:#}"), 1024));
        job.set("TransformEndTime", now());
        job.status("Failed")?;
    }
    let status = ended?;
    match arguments.json {
        true => printer.json(job.description())?,
        false if status == ExitStatus::Done => {
            let output = shown(&job.folder.join("output"));
            printer.result(&format!("{}: {} objects answered\noutput  {output}", job.name, keys.len()))?;
        }
        false => {}
    }
    Ok(status)
}

struct Transform<'a> {
    arguments: &'a LocalTransformArguments,
    attendant: &'a Foreground<'a>,
    keys: &'a [String],
    job: &'a mut Job,
}

impl Transform<'_> {
    fn run(&mut self, mut variables: BTreeMap<String, String>) -> anyhow::Result<ExitStatus> {
        let arguments = self.arguments;
        self.describe();
        self.job.status("InProgress")?;
        let mut set = |name: &str, value: String| drop(variables.insert(name.to_owned(), value));
        set("SAGEMAKER_BATCH", "true".to_owned());
        set("SAGEMAKER_BATCH_STRATEGY", "SINGLE_RECORD".to_owned());
        if let Some(count) = arguments.max_concurrent_transforms {
            set("SAGEMAKER_MAX_CONCURRENT_TRANSFORMS", count.to_string());
        }
        if let Some(mib) = arguments.max_payload_in_mb {
            set("SAGEMAKER_MAX_PAYLOAD_IN_MB", mib.to_string());
        }
        let mut server = Server::start(self.job, &arguments.model, 0, &variables, arguments.job.isolate)?;
        self.job.set("TransformStartTime", now());
        let output = self.job.folder.join("output");
        let failures = match server.wait(self.attendant)? {
            true => self.ask(&mut server, &output)?,
            false => None,
        };
        if failures.is_none() {
            self.job.status("Stopping")?;
        }
        server.stop(self.attendant)?;
        if !arguments.job.keep {
            server.tree.remove()?;
        }
        let Some(failures) = failures else {
            // A transform that was stopped stores nothing.
            if output.exists() {
                fs::remove_dir_all(&output)?;
            }
            self.job.set("TransformEndTime", now());
            self.job.status("Stopped")?;
            return Ok(ExitStatus::Interrupted);
        };
        if let Some((key, reason)) = failures.first() {
            let mut log = Log::create(&self.job.folder, "data-log")?;
            failures.iter().try_for_each(|(key, reason)| log.line(&format!("{key}: {reason}")))?;
            let of = format!("{} of {} objects failed", failures.len(), self.keys.len());
            return Err(self.job.failed(&format!("{of}; {key}: {reason}")));
        }
        self.job.set("TransformEndTime", now());
        self.job.status("Completed")?;
        Ok(ExitStatus::Done)
    }

    fn describe(&mut self) {
        let arguments = self.arguments;
        let source = json!({"S3DataType": "S3Prefix", "S3Uri": arguments.input.to_string_lossy()});
        self.job.set(
            "TransformInput",
            json!({
                "DataSource": {"S3DataSource": source},
                "ContentType": "application/x-image",
                "SplitType": "None",
            }),
        );
        let output = json!({"S3OutputPath": self.job.place("output"), "Accept": arguments.accept});
        self.job.set("TransformOutput", output);
        self.job.set("BatchStrategy", "SingleRecord");
        self.job.set("ModelDataUrl", json!(arguments.model.to_string_lossy()));
    }

    /// Sends every object; those that failed, with the reason, or none where the job was stopped.
    fn ask(&mut self, server: &mut Server, output: &Path) -> anyhow::Result<Option<Vec<(String, String)>>> {
        let Parameters { max_concurrent_transforms, max_payload_in_mb } = self.parameters(&server.address);
        self.job.set("MaxConcurrentTransforms", max_concurrent_transforms);
        self.job.set("MaxPayloadInMB", max_payload_in_mb);
        let client = Client {
            agent: agent(REQUEST),
            url: format!("{}/invocations", server.address),
            accept: &self.arguments.accept,
            most: u64::from(max_payload_in_mb) << 20,
            input: &self.arguments.input,
            output,
        };
        let (keys, attendant) = (self.keys, self.attendant);
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let mut bar = attendant.printer.progress("objects", keys.len() as u64);
        let mut failures = Vec::new();
        thread::scope(|scope| {
            let (sender, answers) = mpsc::channel();
            for _ in 0..max_concurrent_transforms {
                let (sender, client, next, stop) = (sender.clone(), &client, &next, &stop);
                scope.spawn(move || {
                    while let Some(key) = keys.get(next.fetch_add(1, Ordering::Relaxed))
                        && !stop.load(Ordering::Relaxed)
                    {
                        // The other end goes only when nothing is waited for.
                        let _ = sender.send((key, client.transform(key, stop)));
                    }
                });
            }
            drop(sender);
            let mut done = 0;
            loop {
                let ended = server.look(attendant)?;
                for (key, answer) in answers.try_iter() {
                    done += 1;
                    failures.extend(answer.err().map(|error| (key.clone(), format!("{error:#}"))));
                }
                bar.set_with_rate(done, "objects");
                if done == keys.len() as u64 {
                    break;
                }
                if let Some(status) = ended {
                    stop.store(true, Ordering::Relaxed);
                    bail!("the container ended: {}", how(status));
                }
                if attendant.stop() > Stop::No {
                    stop.store(true, Ordering::Relaxed);
                    // Requests under way end with the container, if not before.
                    server.stop(attendant)?;
                    return Ok(None);
                }
            }
            failures.sort();
            Ok(Some(failures))
        })
    }

    /// The request's, else the container's, else SageMaker's.
    fn parameters(&self, address: &str) -> Parameters {
        let asked = || {
            let mut answer = agent(REQUEST).get(format!("{address}/execution-parameters")).call().ok()?;
            if answer.status() != 200 {
                return None;
            }
            serde_json::from_slice(&answer.body_mut().read_to_vec().ok()?).ok()
        };
        let says: Parameters = asked().unwrap_or_default();
        let payload = self.arguments.max_payload_in_mb.unwrap_or(says.max_payload_in_mb).clamp(1, MOST);
        let count = self.arguments.max_concurrent_transforms.unwrap_or(says.max_concurrent_transforms);
        Parameters { max_concurrent_transforms: count.clamp(1, MOST / payload), max_payload_in_mb: payload }
    }
}

/// What sends objects.
struct Client<'a> {
    agent: ureq::Agent,
    url: String,
    accept: &'a str,
    /// Bytes of a request.
    most: u64,
    input: &'a Path,
    output: &'a Path,
}

impl Client<'_> {
    /// Sends an object and keeps the answer as `KEY.out`.
    fn transform(&self, key: &str, stop: &AtomicBool) -> anyhow::Result<()> {
        let bytes = fs::read(self.input.join(key))?;
        if bytes.len() as u64 > self.most {
            bail!("{} bytes are more than MaxPayloadInMB, {}", bytes.len(), self.most >> 20);
        }
        let mut tries = 0;
        let answer = loop {
            match self.send(&bytes) {
                Ok(answer) => break answer,
                Err((_, true)) if tries < RETRIES && !stop.load(Ordering::Relaxed) => {
                    tries += 1;
                    thread::sleep(BACK_OFF * tries);
                }
                Err((error, _)) => return Err(error),
            }
        };
        let path: PathBuf = self.output.join(format!("{key}.out"));
        let write = || {
            fs::create_dir_all(path.parent().unwrap_or(self.output))?;
            write_atomic(&path, &answer)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// The answer, or the error and whether another try may help.
    fn send(&self, bytes: &[u8]) -> Result<Vec<u8>, (anyhow::Error, bool)> {
        let request = self.agent.post(&self.url).header("Content-Type", "application/x-image");
        let answer = request.header("Accept", self.accept).send(bytes);
        let mut answer = answer.map_err(|error| (error.into(), true))?;
        let body = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
        let body = body.map_err(|error| (error.into(), true))?;
        match answer.status().as_u16() {
            200..300 => Ok(body),
            status => {
                let text = first(&String::from_utf8_lossy(&body), 400);
                Err((anyhow::anyhow!("{status} {text}"), status == 429 || status >= 500))
            }
        }
    }
}
