//! A run as a page, from the files of the run.

mod advice;
mod compare;
mod files;
mod heat;
mod page;
mod profile;
mod watch;

use std::path::Path;

use anyhow::Context;
use pugmark_model::{RunFolder, write_atomic};

use crate::arguments::ReportArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;
use files::Run;
pub(super) use profile::time;

pub(crate) fn run(arguments: &ReportArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let own;
    let out = match (&arguments.out, arguments.runs.as_slice()) {
        (Some(out), _) => {
            if out.exists() && !arguments.overwrite {
                return Err(WrongCall::new(format!("{} exists", out.display()))
                    .with_hint("`--overwrite` replaces it, another `--out` keeps it")
                    .into());
            }
            out
        }
        // The run's own page is made from its other files, and may be made again.
        (None, [run]) => {
            own = RunFolder::open(run)?.report();
            &own
        }
        (None, _) => {
            return Err(WrongCall::new("several runs need a file for the page")
                .with_hint("name it: `--out compare.html`")
                .into());
        }
    };
    let runs = arguments.runs.iter().map(|run| Run::read(run)).collect::<Result<Vec<_>, _>>()?;
    runs.iter().flat_map(|run| &run.left_out).for_each(|text| printer.warning(text));
    let html = match runs.as_slice() {
        [run] => page::page(run),
        runs => compare::page(runs),
    };
    save(out, &html)?;
    printer.result(&format!("report  {}", out.display()))?;
    Ok(ExitStatus::Done)
}

/// Writes the page of a run that is just done, into the run.
pub(crate) fn of_run(run: &RunFolder) -> anyhow::Result<()> {
    save(&run.report(), &page::page(&Run::read(run.path())?))
}

fn save(path: &Path, html: &str) -> anyhow::Result<()> {
    write_atomic(path, html.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
