//! Runs the built program with credentials of its own and nothing else of this machine.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::stand_in::{KEY, REGION, SECRET};

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/service-role/SageMaker";
pub(crate) const IMAGE: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/pugmark:latest";

/// A folder in which the program is called.
pub(crate) struct Place(TempDir);

/// How a call ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// None when a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).expect("the file");
    }

    /// The program with words split at spaces, not yet started.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pugmark-sagemaker"));
        command.args(words.split_whitespace()).current_dir(self.0.path()).env_clear();
        command.env("HOME", self.0.path()).env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_REGION", REGION);
        command.env("PUGMARK_SAGEMAKER_ROLE", ROLE).env("PUGMARK_SAGEMAKER_IMAGE", IMAGE);
        // Tests do not wait as long as a service may need.
        command.env("PUGMARK_SAGEMAKER_POLL_MS", "5");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, words: &str) -> Ended {
        Ended::of(&mut self.command(words))
    }

    /// The requests that `--dry-run` prints.
    pub(crate) fn dry_run(&self, words: &str) -> Vec<Value> {
        let ended = self.run(&format!("--dry-run {words}"));
        assert_eq!(ended.code, Some(0), "{words}: {}", ended.stderr);
        serde_json::from_str(&ended.stdout).expect("a list of requests")
    }
}

impl Ended {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().expect("the program");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Checks how it ended, and that what it told people has these parts, in this order.
    #[track_caller]
    pub(crate) fn told(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        let mut rest = self.stderr.as_str();
        for part in parts {
            let Some((_, after)) = rest.split_once(part) else { panic!("`{part}` is missing: {self:?}") };
            rest = after;
        }
    }
}
