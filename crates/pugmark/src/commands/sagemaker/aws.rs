//! `pugmark-sagemaker`, found as git finds its subcommands: it calls AWS, with libraries that this program does not carry.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::error::{ExitStatus, WrongCall};

const PROGRAM: &str = "pugmark-sagemaker";

/// Hands all words on; the status is that of the other program.
pub(super) fn run(words: &[OsString]) -> anyhow::Result<ExitStatus> {
    let Some(program) = find() else {
        let verb = words.first().map_or_else(String::new, |word| word.to_string_lossy().into_owned());
        return Err(WrongCall::new(format!("`pugmark sagemaker {verb}` needs the program {PROGRAM}"))
            .with_hint(format!(
                "put {PROGRAM} beside pugmark or on PATH; `local` and `metrics` do without it and without AWS"
            ))
            .into());
    };
    let mut command = Command::new(&program);
    command.args(words);
    replace(&mut command).with_context(|| format!("cannot run {}", program.display()))
}

/// Beside this program, then on PATH.
fn find() -> Option<PathBuf> {
    let name = format!("{PROGRAM}{}", env::consts::EXE_SUFFIX);
    let beside = env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = beside.into_iter().chain(env::split_paths(&path).filter(|folder| folder.is_absolute()));
    folders.find_map(|folder| Some(folder.join(&name)).filter(|program| program.is_file()))
}

/// The other program takes this one's place, and with it every signal.
#[cfg(unix)]
fn replace(command: &mut Command) -> anyhow::Result<ExitStatus> {
    Err(std::os::unix::process::CommandExt::exec(command).into())
}

#[cfg(not(unix))]
fn replace(command: &mut Command) -> anyhow::Result<ExitStatus> {
    match command.status()?.code() {
        Some(0) => Ok(ExitStatus::Done),
        Some(2) => Ok(ExitStatus::WrongCall),
        Some(130) => Ok(ExitStatus::Interrupted),
        _ => Ok(ExitStatus::Failed),
    }
}
