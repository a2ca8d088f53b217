//! `local process`: a verb on one or several instances, whose outputs come together.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::attendant::{Attendant, Foreground, Stop};
use super::container::{Container, Line, Log, Start, how, next_lines};
use super::isolate;
use super::job::{Job, Kind, environment, first, now};
use super::train::shown;
use super::training::GRACE;
use super::tree::{Input, ML, Tree, inputs, objects, walk};
use crate::arguments::{Distribution, LocalProcessArguments};
use crate::error::{ExitStatus as Exit, WrongCall};
use crate::interrupt::Requests;
use crate::printer::Printer;

/// Where the container leaves what is to be kept.
const OUTPUT: &str = "processing/output";
/// SageMaker's limits: inputs, and characters of a variable's name and value.
const MOST: (usize, usize) = (10, 256);

pub(super) fn run(arguments: &LocalProcessArguments, printer: &Printer) -> anyhow::Result<Exit> {
    let inputs = inputs("--input", &arguments.input)?;
    let variables = environment(&arguments.job)?;
    if inputs.len() > MOST.0 {
        return Err(WrongCall::new(format!("SageMaker takes {} inputs", MOST.0)).into());
    }
    if let Some((name, _)) = variables.iter().find(|(name, value)| name.len().max(value.len()) > MOST.1) {
        let text = format!("--env {}: SageMaker takes {} characters", first(name, 40), MOST.1);
        return Err(WrongCall::new(text).into());
    }
    if arguments.job.isolate {
        isolate::check(inputs.iter().map(|input| input.path.as_path()))?;
    }
    let requests = Requests::listen()?;
    let mut job = Job::create(&arguments.job, Kind::Processing)?;
    let attendant = Foreground { printer, requests: &requests };
    let mut processing = Processing { arguments, inputs, variables, attendant: &attendant, job: &mut job };
    let ended = processing.run();
    job.set("ProcessingEndTime", now());
    let status = match ended {
        Ok(status) => status,
        Err(error) => {
            job.set("FailureReason", first(&format!("{error:#}"), 1024));
            job.status("Failed")?;
            return Err(error);
        }
    };
    job.status(if status == Exit::Done { "Completed" } else { "Stopped" })?;
    match arguments.json {
        true => printer.json(job.description())?,
        false if status == Exit::Done => {
            printer.result(&format!(
                "{}: completed\noutput  {}",
                job.name,
                shown(&job.folder.join("output"))
            ))?;
        }
        false => {}
    }
    Ok(status)
}

struct Processing<'a> {
    arguments: &'a LocalProcessArguments,
    inputs: Vec<Input>,
    variables: BTreeMap<String, String>,
    attendant: &'a Foreground<'a>,
    job: &'a mut Job,
}

impl Processing<'_> {
    fn run(&mut self) -> anyhow::Result<Exit> {
        let arguments = self.arguments;
        let mut hosts: Vec<String> = (1..=arguments.instances).map(|n| format!("algo-{n}")).collect();
        hosts.sort();
        let request = self.describe();
        self.job.status("InProgress")?;
        let shares = self.shares(hosts.len())?;
        let trees: Vec<Tree> =
            hosts.iter().map(|host| self.tree(host, &hosts, &request, &shares)).collect::<Result<_, _>>()?;
        self.job.set("ProcessingStartTime", now());
        let ended = self.instances(&trees)?;
        let done = match &ended {
            Some(statuses) => self.finish(&trees, statuses),
            None => Ok(Exit::Interrupted),
        };
        if !arguments.job.keep {
            trees.iter().try_for_each(Tree::remove)?;
        }
        done
    }

    /// What the request said; a copy comes to every instance.
    fn describe(&mut self) -> Value {
        let (arguments, job) = (self.arguments, &mut *self.job);
        let inputs = self.inputs.iter().map(|Input { name, path }| {
            let input = json!({
                "S3Uri": path.to_string_lossy(),
                "LocalPath": format!("{ML}/processing/input/{name}"),
                "S3DataType": "S3Prefix",
                "S3InputMode": "File",
                "S3DataDistributionType": distribution(arguments.distribution, path),
            });
            json!({"InputName": name, "S3Input": input})
        });
        job.set("ProcessingInputs", inputs.collect::<Vec<_>>());
        let output = json!({
            "S3Uri": job.place("output"),
            "LocalPath": format!("{ML}/{OUTPUT}"),
            "S3UploadMode": "EndOfJob",
        });
        let outputs = json!({"Outputs": [{"OutputName": "output", "S3Output": output}]});
        job.set("ProcessingOutputConfig", outputs);
        let cluster = json!({"InstanceCount": arguments.instances, "InstanceType": "local"});
        job.set("ProcessingResources", json!({"ClusterConfig": cluster}));
        let image = format!("pugmark {}", env!("CARGO_PKG_VERSION"));
        job.set("AppSpecification", json!({"ImageUri": image, "ContainerArguments": arguments.arguments}));
        job.set("Environment", json!(self.variables));
        Value::Object(job.description().clone())
    }

    /// The objects of each input that is shared out among instances.
    fn shares(&self, hosts: usize) -> anyhow::Result<BTreeMap<String, Vec<String>>> {
        let mut shares = BTreeMap::new();
        for Input { name, path } in &self.inputs {
            if distribution(self.arguments.distribution, path) == SHARDED {
                let keys = objects(path)?;
                if keys.len() < hosts {
                    let text = format!("--input {name} has {} objects for {hosts} instances", keys.len());
                    return Err(WrongCall::new(text).with_hint("take fewer `--instances`").into());
                }
                shares.insert(name.clone(), keys);
            }
        }
        Ok(shares)
    }

    fn tree(
        &self,
        host: &str,
        hosts: &[String],
        request: &Value,
        shares: &BTreeMap<String, Vec<String>>,
    ) -> anyhow::Result<Tree> {
        let folders = ["config", "output", "processing/input", OUTPUT];
        let tree = Tree::create(&self.job.folder, host, &folders)?;
        let place = hosts.iter().position(|other| other == host).unwrap_or_default();
        for Input { name, path } in &self.inputs {
            let to = format!("processing/input/{name}");
            match shares.get(name) {
                Some(keys) => {
                    tree.link_objects(&to, path, keys.iter().skip(place).step_by(hosts.len()))?;
                }
                None => tree.link(&to, path)?,
            }
        }
        tree.write_json("config/processingjobconfig.json", request)?;
        let cluster = json!({"current_host": host, "hosts": hosts, "network_interface_name": "lo"});
        tree.write_json("config/resourceconfig.json", &cluster)?;
        Ok(tree)
    }

    /// Runs all instances to their end; none where the job was stopped. One that fails ends the others.
    fn instances(&mut self, trees: &[Tree]) -> anyhow::Result<Option<Vec<ExitStatus>>> {
        let (sender, lines) = mpsc::channel();
        let mut logs: Vec<Log> =
            trees.iter().map(|tree| Log::create(&self.job.folder, &tree.host)).collect::<Result<_, _>>()?;
        let isolate = self.arguments.job.isolate;
        let mut containers = Vec::new();
        for (host, tree) in trees.iter().enumerate() {
            let base = if isolate { Path::new(ML) } else { &tree.base };
            let arguments: Vec<OsString> =
                self.arguments.arguments.iter().map(|word| below(word, base).into()).collect();
            let start = Start { tree, host, arguments: &arguments, variables: &self.variables, isolate };
            containers.push(Container::start(&start, &sender)?);
        }
        let mut statuses: Vec<Option<ExitStatus>> = vec![None; trees.len()];
        let mut told = Stop::No;
        loop {
            let mut said = next_lines(&lines);
            for (container, status) in containers.iter_mut().zip(&mut statuses) {
                if status.is_none() {
                    *status = container.ended()?;
                }
            }
            let over = statuses.iter().all(Option::is_some);
            if over {
                said.extend(lines.try_iter());
            }
            for Line { host, text } in said {
                let text = trees[host].said(&text);
                logs[host].line(&text)?;
                match trees.len() {
                    1 => self.attendant.line(&text),
                    _ => self.attendant.line(&format!("{}: {text}", trees[host].host)),
                }
            }
            let asked = self.attendant.stop();
            if over {
                return Ok((asked == Stop::No).then(|| statuses.into_iter().flatten().collect()));
            }
            let failed = statuses.iter().flatten().any(|status| !status.success());
            if told == Stop::No && (failed || asked > Stop::No) {
                told = Stop::Gently;
                if asked > Stop::No {
                    self.job.status("Stopping")?;
                }
                containers.iter_mut().for_each(|container| container.stop(GRACE));
            }
            if asked == Stop::AtOnce {
                containers.iter_mut().for_each(Container::kill);
            }
        }
    }

    /// Brings outputs and messages together.
    fn finish(&mut self, trees: &[Tree], statuses: &[ExitStatus]) -> anyhow::Result<Exit> {
        let mut messages = Vec::new();
        for tree in trees {
            let Some(bytes) = tree.read("output/message") else { continue };
            match String::from_utf8(bytes) {
                Ok(text) => messages.push(tree.said(text.trim())),
                Err(_) => return Err(self.job.failed(&format!("{}: its message is no UTF-8", tree.host))),
            }
        }
        // Of one mind, mostly.
        messages.dedup();
        let message = first(&messages.join("\n"), 1024);
        if !message.is_empty() {
            self.job.set("ExitMessage", message.as_str());
        }
        // One that was ended because of another's failure did not fail itself.
        let failed = statuses.iter().position(|status| status.code().is_some_and(|code| code != 0));
        let failed = failed.or_else(|| statuses.iter().position(|status| !status.success()));
        if let Some(place) = failed {
            let how = format!("AlgorithmError: {}: {}", trees[place].host, how(statuses[place]));
            return Err(self.job.failed(if message.is_empty() { &how } else { &message }));
        }
        let output = self.job.folder.join("output");
        fs::create_dir_all(&output)?;
        let mut writers: BTreeMap<String, &str> = BTreeMap::new();
        for tree in trees {
            for key in self.written(tree)? {
                if let Some(other) = writers.insert(key.clone(), &tree.host) {
                    let text = format!("{other} and {} both wrote {key}, and one would be lost", tree.host);
                    return Err(self.job.failed(&text));
                }
            }
        }
        for tree in trees {
            for key in writers.iter().filter(|(_, host)| **host == tree.host).map(|(key, _)| key) {
                keep(&tree.path(OUTPUT).join(key), &output.join(key), self.arguments.job.keep)?;
            }
        }
        Ok(Exit::Done)
    }

    /// The keys of what an instance leaves. Links are not followed.
    fn written(&self, tree: &Tree) -> anyhow::Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut links = Vec::new();
        walk(&tree.path(OUTPUT), "", &mut |key, kind| match kind.is_file() {
            true => keys.push(key),
            false => links.push(key),
        })
        .with_context(|| format!("cannot list {}", tree.path(OUTPUT).display()))?;
        keys.sort();
        for link in links {
            let text = format!("{}: {OUTPUT}/{link} is no file, and SageMaker follows no links", tree.host);
            self.attendant.printer.warning(&text);
        }
        Ok(keys)
    }
}

const SHARDED: &str = "ShardedByS3Key";

/// A file, such as a table of labels, comes to every instance.
fn distribution(asked: Distribution, path: &Path) -> &'static str {
    if asked == Distribution::ShardedByS3Key && path.is_dir() { SHARDED } else { "FullyReplicated" }
}

/// A word of the container's with the tree's path for `/opt/ml`, also behind the `=` of a flag.
fn below(word: &str, base: &Path) -> String {
    let path = |text: &str| {
        let rest = text.strip_prefix(ML)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("{}{rest}", base.display()))
    };
    let flag = || {
        let (flag, text) = word.split_once('=')?;
        Some(format!("{flag}={}", path(text)?))
    };
    path(word).or_else(flag).unwrap_or_else(|| word.to_owned())
}

/// Moves a file, or copies it where the tree stays.
fn keep(from: &Path, to: &Path, copy: bool) -> anyhow::Result<()> {
    let keep = || {
        fs::create_dir_all(to.parent().unwrap_or(to))?;
        if copy { fs::copy(from, to).map(drop) } else { fs::rename(from, to) }
    };
    match keep() {
        Ok(()) => Ok(()),
        Err(error) => bail!("cannot keep {}: {error}", to.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_platform_are_the_trees() {
        for (word, expected) in [
            ("/opt/ml/processing/input/data", "/t/opt/ml/processing/input/data"),
            ("--out=/opt/ml/processing/output", "--out=/t/opt/ml/processing/output"),
            ("/opt/ml", "/t/opt/ml"),
            ("/opt/mlx", "/opt/mlx"),
            ("prepare", "prepare"),
            ("--size=32", "--size=32"),
        ] {
            assert_eq!(below(word, Path::new("/t/opt/ml")), expected);
        }
    }
}
