//! `--isolate`: the tree at `/opt/ml` itself, for a container alone, by a mount namespace of Linux.

use std::env;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::WrongCall;

/// Makes `/opt/ml` where there is none, without a trace outside, puts the tree there and becomes the program.
const SCRIPT: &str = r#"set -e
[ -d /opt/ml ] || { mount -t tmpfs tmpfs /opt; mkdir /opt/ml; }
mount --rbind "$0" /opt/ml
exec "$@""#;

/// `program` with `base` at `/opt/ml`; the namespaces end with it.
pub(super) fn command(program: &Path, base: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--", "sh", "-c", SCRIPT]);
    command.arg(base).arg(program);
    command
}

/// Whether this system allows it, and everything is still there below an empty `/opt`.
pub(super) fn check<'a>(inputs: impl Iterator<Item = &'a Path>) -> Result<(), WrongCall> {
    let hint = "leave out `--isolate`: SAGEMAKER_BASE_DIR stands for /opt/ml then";
    let program = env::current_exe().ok();
    for path in inputs.map(Path::to_owned).chain(program) {
        if path.starts_with("/opt") {
            let text = format!("--isolate: {} would not be seen below a new /opt", path.display());
            return Err(WrongCall::new(text).with_hint(hint));
        }
    }
    let probe = command(Path::new(OsStr::new("true")), &env::temp_dir()).stdin(Stdio::null()).output();
    let why = match probe {
        Ok(output) if output.status.success() => return Ok(()),
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    Err(WrongCall::new(format!("--isolate: this system does not allow it: {why}")).with_hint(hint))
}
