//! The container of an endpoint or a transform: a model unpacked, `serve`, GET /ping.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::archive;
use super::attendant::{Attendant, Stop};
use super::container::{Container, Line, Log, Start, how, next_lines};
use super::job::Job;
use super::tree::Tree;

/// The times of the platform: for a ping, for the first one that is answered, and to end.
const PING: Duration = Duration::from_secs(2);
const STARTUP: Duration = Duration::from_secs(240);
const GRACE: Duration = Duration::from_secs(30);
const HOST: &str = "algo-1";

/// A server under its tree.
pub(super) struct Server {
    pub(super) tree: Tree,
    /// As in `http://127.0.0.1:8080`.
    pub(super) address: String,
    container: Container,
    lines: Receiver<Line>,
    log: Log,
}

impl Server {
    /// Unpacks the model and starts the server; port 0 is a free one.
    pub(super) fn start(
        job: &Job,
        model: &Path,
        port: u16,
        variables: &BTreeMap<String, String>,
        isolate: bool,
    ) -> anyhow::Result<Self> {
        let port = free(port)?;
        let tree = Tree::create(&job.folder, HOST, &["model"])?;
        archive::unpack(model, &tree.path("model"))?;
        let log = Log::create(&job.folder, HOST)?;
        let mut variables = variables.clone();
        variables.insert("SAGEMAKER_BIND_TO_PORT".to_owned(), port.to_string());
        let (sender, lines) = mpsc::channel();
        // The word of the platform, and for this machine alone.
        let arguments = ["serve", "--host", "127.0.0.1"].map(OsString::from);
        let start = Start { tree: &tree, host: 0, arguments: &arguments, variables: &variables, isolate };
        let container = Container::start(&start, &sender)?;
        Ok(Self { address: format!("http://{}:{port}", Ipv4Addr::LOCALHOST), tree, container, lines, log })
    }

    /// Waits until GET /ping answers; false where the wait was ended.
    pub(super) fn wait(&mut self, attendant: &dyn Attendant) -> anyhow::Result<bool> {
        let agent = agent(PING);
        let begun = Instant::now();
        loop {
            if let Some(status) = self.look(attendant)? {
                bail!("the container ended before it answered GET /ping: {}", how(status));
            }
            if attendant.stop() > Stop::No {
                return Ok(false);
            }
            let answer = agent.get(format!("{}/ping", self.address)).call();
            if answer.is_ok_and(|answer| answer.status() == 200) {
                return Ok(true);
            }
            if begun.elapsed() > STARTUP {
                bail!("GET /ping was not answered with 200 within {} minutes", STARTUP.as_secs() / 60);
            }
        }
    }

    /// Hears what the container says, for a moment; how it ended, where it did.
    pub(super) fn look(&mut self, attendant: &dyn Attendant) -> anyhow::Result<Option<ExitStatus>> {
        let lines = next_lines(&self.lines);
        let status = self.container.ended()?;
        for Line { text, .. } in lines.into_iter().chain(self.lines.try_iter()) {
            let text = self.tree.said(&text);
            self.log.line(&text)?;
            attendant.line(&text);
        }
        Ok(status)
    }

    /// Ends it as the platform does, and sooner where it is asked for more than once.
    pub(super) fn stop(&mut self, attendant: &dyn Attendant) -> anyhow::Result<ExitStatus> {
        self.container.stop(GRACE);
        loop {
            if let Some(status) = self.look(attendant)? {
                return Ok(status);
            }
            if attendant.stop() == Stop::AtOnce {
                self.container.kill();
            }
        }
    }
}

/// A client for a server of this machine, whatever the proxy is; every status is an answer.
pub(super) fn agent(timeout: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(timeout));
    config.http_status_as_error(false).max_redirects(0).build().into()
}

/// The port, or one that is free now.
fn free(port: u16) -> anyhow::Result<u16> {
    let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, port))?.local_addr();
    Ok(listen().with_context(|| format!("cannot listen on port {port}"))?.port())
}
