//! Logs of jobs, and waiting for their end.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::account::Account;
use crate::api::{Api, Refused, Service, interval};
use crate::arguments::LogsArguments;
use crate::jobs::described;
use crate::kinds::Kind;
use crate::names::{WrongName, check_name, wrong};

/// Between two looks at a job. SageMaker's own waiters take a minute or two.
const INTERVAL: Duration = Duration::from_secs(10);

pub(crate) fn logs(arguments: &LogsArguments, account: &Account) -> anyhow::Result<ExitCode> {
    let LogsArguments { kind, name, follow } = arguments;
    check_name(name, 63)?;
    let api = account.open()?;
    if described(&api, *kind, name)?.is_none() {
        return Err(wrong(format!("there is no {} called `{name}`", kind.name())).into());
    }
    let mut log = Log::new(*kind, name);
    if *follow {
        return follow_log(log, *kind, name, &api, *kind == Kind::Endpoint);
    }
    if log.print_news(&api)? == 0 {
        eprintln!("there is no line yet");
    }
    Ok(ExitCode::SUCCESS)
}

/// Waits for what has just been begun, with its status and log; Ctrl-C leaves it alone.
pub(crate) fn until_the_end(kind: Kind, name: &str, api: &Api) -> anyhow::Result<ExitCode> {
    let mut log = Log::new(kind, name);
    if kind == Kind::Endpoint {
        // One that was there before has an old log too.
        log.since =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|now| now.as_millis() as u64);
    }
    follow_log(log, kind, name, api, false)
}

/// Prints the log and every change of the status until the end; what is in service `goes_on` until Ctrl-C.
fn follow_log(mut log: Log, kind: Kind, name: &str, api: &Api, goes_on: bool) -> anyhow::Result<ExitCode> {
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in signal_hook::consts::TERM_SIGNALS {
        // The second one ends the program, whatever it waits for.
        signal_hook::flag::register_conditional_shutdown(signal, 130, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .context("cannot listen for Ctrl-C")?;
    }
    let mut told = String::new();
    loop {
        let description = match described(api, kind, name) {
            Ok(Some(description)) => description,
            Ok(None) => bail!("the {} {name} is not there any more", kind.name()),
            // The way there is interrupted, not the job.
            Err(error) if !error.is::<Refused>() && !error.is::<WrongName>() => {
                eprintln!("warning: {error:#}; {name} goes on");
                if wait(&stop) {
                    continue;
                }
                return Ok(left_alone(kind, name));
            }
            Err(error) => return Err(error.context(format!("{name} goes on, but can't be followed"))),
        };
        let status = description[format!("{}Status", kind.noun())].as_str().unwrap_or("?").to_owned();
        let now = match description["SecondaryStatus"].as_str() {
            Some(detail) if detail != status => format!("{status}, {detail}"),
            _ => status.clone(),
        };
        let ended = kind.has_ended(&status) && !(goes_on && status == "InService");
        log.follow(api);
        if now != told {
            eprintln!("{name}: {now}");
            told = now;
        }
        if !wait(&stop) {
            return Ok(left_alone(kind, name));
        }
        if ended {
            // The last lines come after the end.
            log.follow(api);
            return Ok(end(name, &status, &description));
        }
    }
}

fn left_alone(kind: Kind, name: &str) -> ExitCode {
    eprintln!("left alone: `pugmark sagemaker logs {} {name} --follow` goes on", kind.name());
    ExitCode::from(130)
}

/// False where Ctrl-C came.
fn wait(stop: &AtomicBool) -> bool {
    let mut left = interval(INTERVAL);
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        let step = left.min(Duration::from_millis(100));
        thread::sleep(step);
        left -= step;
    }
    !stop.load(Ordering::Relaxed)
}

/// What came of it, in a line.
fn end(name: &str, status: &str, description: &Value) -> ExitCode {
    let said = |member: &str| description[member].as_str().filter(|text| !text.is_empty());
    if let Some(reason) = said("FailureReason").or(said("ExitMessage")) {
        eprintln!("{name}: {reason}");
    }
    if let Some(model) = description["ModelArtifacts"]["S3ModelArtifacts"].as_str() {
        println!("{model}");
    }
    let seconds = |member: &str| description[member].as_f64().filter(|seconds| *seconds > 0.0);
    if let (Some(trained), Some(billed)) =
        (seconds("TrainingTimeInSeconds"), seconds("BillableTimeInSeconds"))
    {
        let saved = match description["EnableManagedSpotTraining"].as_bool() {
            Some(true) => format!(": {:.0} % saved", 100.0 * (1.0 - billed / trained)),
            _ => String::new(),
        };
        eprintln!("{trained:.0} s of training, {billed:.0} s billed{saved}");
    }
    if matches!(status, "Completed" | "InService") { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How far each stream of a job's log has been printed.
struct Log {
    group: String,
    prefix: String,
    streams: BTreeMap<String, Option<String>>,
    /// Lines before this time, in milliseconds since 1970, are not printed.
    since: Option<u64>,
    /// It could not be read, and that was said.
    missed: bool,
}

impl Log {
    fn new(kind: Kind, name: &str) -> Self {
        let (group, prefix) = kind.log(name);
        Self { group, prefix, streams: BTreeMap::new(), since: None, missed: false }
    }

    /// Prints what has come since. A job is waited for whether its log can be read or not.
    fn follow(&mut self, api: &Api) {
        match self.print_news(api) {
            Err(error) if !self.missed => {
                eprintln!("warning: the log can't be read: {error:#}");
                self.missed = true;
            }
            _ => {}
        }
    }

    /// Prints what has come since; the number of lines. A group that is not there yet has none.
    fn print_news(&mut self, api: &Api) -> anyhow::Result<usize> {
        let mut request = json!({"logGroupName": self.group});
        if !self.prefix.is_empty() {
            request["logStreamNamePrefix"] = self.prefix.as_str().into();
        }
        loop {
            let mut page = match api.call(Service::Logs, "DescribeLogStreams", &request) {
                Ok(page) => page,
                Err(error) => match error.downcast_ref::<Refused>() {
                    Some(Refused { code, .. }) if code == "ResourceNotFoundException" => return Ok(0),
                    _ => return Err(error),
                },
            };
            let names = page["logStreams"].as_array().into_iter().flatten();
            for name in names.filter_map(|stream| stream["logStreamName"].as_str()) {
                self.streams.entry(name.to_owned()).or_default();
            }
            match page["nextToken"].take() {
                Value::String(token) => request["nextToken"] = token.into(),
                _ => break,
            }
        }
        let many = self.streams.len() > 1;
        let mut lines = 0;
        for (stream, place) in &mut self.streams {
            loop {
                let mut request =
                    json!({"logGroupName": self.group, "logStreamName": stream, "startFromHead": true});
                if let Some(token) = place.as_deref() {
                    request["nextToken"] = token.into();
                }
                if let Some(since) = self.since {
                    request["startTime"] = since.into();
                }
                let page = api.call(Service::Logs, "GetLogEvents", &request)?;
                let host = label(stream, &self.prefix);
                for event in page["events"].as_array().into_iter().flatten() {
                    let text = event["message"].as_str().unwrap_or_default();
                    if many {
                        println!("{host}: {text}")
                    } else {
                        println!("{text}")
                    }
                    lines += 1;
                }
                // At its end a stream answers with the place that it was asked from.
                let next = page["nextForwardToken"].as_str().map(str::to_owned);
                let at_the_end = next.is_none() || next == *place;
                *place = next.or(place.take());
                if at_the_end {
                    break;
                }
            }
        }
        Ok(lines)
    }
}

/// `algo-1` of a job's stream `JOB/algo-1-1790000000`; `001-abc` of a tuning job's stream `JOB-001-abc/algo-1-1790000000`.
fn label<'a>(stream: &'a str, prefix: &str) -> &'a str {
    if prefix.ends_with('-') {
        let training = stream.strip_prefix(prefix).unwrap_or(stream);
        return training.split('/').next().unwrap_or(training);
    }
    let last = stream.rsplit('/').next().unwrap_or(stream);
    match last.rsplit_once('-') {
        Some((host, time)) if time.len() >= 9 && time.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => last,
    }
}
