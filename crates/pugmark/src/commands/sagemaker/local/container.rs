//! This program as the container of an instance: its lines, its signals, its end.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::isolate;
use super::tree::Tree;

/// Between two looks at what runs.
pub(super) const LOOK: Duration = Duration::from_millis(50);
/// What of this shell's variables a container has too: the way to programs, and what the machine's processor can do.
const PASSED: [&str; 2] = ["PATH", "PUGMARK_ISA"];

/// A line of a container's stdout or stderr.
pub(super) struct Line {
    /// The instance, from 0.
    pub(super) host: usize,
    pub(super) text: String,
}

/// What a container is started with.
pub(super) struct Start<'a> {
    pub(super) tree: &'a Tree,
    /// The instance, from 0.
    pub(super) host: usize,
    pub(super) arguments: &'a [OsString],
    pub(super) variables: &'a BTreeMap<String, String>,
    /// At `/opt/ml` itself.
    pub(super) isolate: bool,
}

/// A container that runs; killed where it is forgotten.
pub(super) struct Container {
    child: Child,
    readers: Vec<JoinHandle<()>>,
    /// When a container that was told to end is killed.
    kill_at: Option<Instant>,
}

impl Container {
    /// Starts this program under a tree; its lines go to `lines`.
    pub(super) fn start(start: &Start<'_>, lines: &Sender<Line>) -> anyhow::Result<Self> {
        let Start { tree, host, arguments, variables, isolate } = start;
        let program = env::current_exe().context("cannot find this program")?;
        let home = tree.folder.join("root");
        fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        let mut command = match isolate {
            true => isolate::command(&program, &tree.base),
            false => Command::new(&program),
        };
        command.args(*arguments).env_clear();
        command.envs(PASSED.into_iter().filter_map(|name| Some((name, env::var_os(name)?))));
        if !isolate {
            command.env("SAGEMAKER_BASE_DIR", &tree.base);
        }
        command.env("HOME", &home).envs(*variables);
        // A group of its own: Ctrl-C is for this process, which tells the container.
        command.current_dir(&home).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let mut readers = Vec::new();
        readers.extend(child.stdout.take().map(|stream| forward(*host, stream, lines.clone())));
        readers.extend(child.stderr.take().map(|stream| forward(*host, stream, lines.clone())));
        Ok(Self { child, readers, kill_at: None })
    }

    /// Asks it to end, as `docker stop` does: SIGTERM now, SIGKILL when the time is over.
    pub(super) fn stop(&mut self, grace: Duration) {
        if self.runs() {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            self.kill_at.get_or_insert(Instant::now() + grace);
        }
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        if self.runs() {
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
    }

    /// Whether its number is still its own: another process may have that of one that has ended.
    fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// How it ended; none while it runs. All its lines are sent by then.
    pub(super) fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        if self.kill_at.is_some_and(|at| at <= Instant::now()) {
            self.kill();
        }
        let status = self.child.try_wait().context("cannot wait for the container")?;
        if status.is_some() {
            // A reader that panicked has no more lines.
            self.readers.drain(..).for_each(|reader| drop(reader.join()));
        }
        Ok(status)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if self.runs() {
            self.kill();
            let _ = self.child.wait();
        }
    }
}

fn forward(host: usize, stream: impl Read + Send + 'static, lines: Sender<Line>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut stream = BufReader::new(stream);
        let mut bytes = Vec::new();
        while matches!(stream.read_until(b'\n', &mut bytes), Ok(1..)) {
            let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            // Nobody listens any more: the job is over.
            let _ = lines.send(Line { host, text });
            bytes.clear();
        }
    })
}

/// The next lines, after at most a look's time.
pub(super) fn next_lines(lines: &Receiver<Line>) -> Vec<Line> {
    match lines.recv_timeout(LOOK) {
        Ok(line) => std::iter::once(line).chain(lines.try_iter()).collect(),
        Err(RecvTimeoutError::Timeout) => Vec::new(),
        Err(RecvTimeoutError::Disconnected) => {
            thread::sleep(LOOK);
            Vec::new()
        }
    }
}

/// How a container ended, in words.
pub(super) fn how(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code: {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// What a container said, in the job's folder.
pub(super) struct Log(File);

impl Log {
    pub(super) fn create(job: &Path, host: &str) -> anyhow::Result<Self> {
        let path = job.join("logs").join(format!("{host}.log"));
        let create = || {
            fs::create_dir_all(job.join("logs"))?;
            File::create(&path)
        };
        create().map(Self).with_context(|| format!("cannot create {}", path.display()))
    }

    pub(super) fn line(&mut self, text: &str) -> anyhow::Result<()> {
        self.0.write_all(format!("{text}\n").as_bytes()).context("cannot write the job's log")
    }
}
