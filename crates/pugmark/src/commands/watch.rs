//! What the watch found in a run.

use pugmark_model::RunFolder;
use pugmark_train::{Finding, Record, Thresholds, Watched, read_watch, reports_to_json};

use crate::arguments::WatchArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;

pub(crate) fn run(arguments: &WatchArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let run = RunFolder::open(&arguments.run)?;
    let thresholds: Thresholds = arguments.thresholds.join(",").parse().map_err(WrongCall::new)?;
    let Some(watched) = read_watch(&run, &thresholds)? else {
        return Err(WrongCall::new(format!(
            "{} was not watched: it has no watch.jsonl",
            run.path().display()
        ))
        .with_hint("`pugmark train` watches unless it is told `--watch off`")
        .into());
    };
    match arguments.json {
        true => printer.json(&reports_to_json(&watched.reports))?,
        false => printer.result(&text(&watched))?,
    }
    Ok(ExitStatus::Done)
}

fn text(watched: &Watched) -> String {
    let samples = watched.records.iter().filter(|record| matches!(record, Record::Sample(_))).count();
    let last = watched.records.iter().filter_map(Record::step).max().unwrap_or(0);
    let rules = watched.reports.len();
    let points: u64 = watched.reports.iter().map(|report| report.datapoints).sum();
    let mut lines =
        vec![format!("{rules} rules judged {points} measurements, {samples} of {last} steps in full")];
    let findings = watched.findings();
    for Finding { rule, tensor, step, epoch, text, .. } in &findings {
        lines.push(format!("{rule}: {tensor}, step {step} (epoch {epoch}): {text}"));
    }
    for report in watched.reports.iter().filter(|report| !report.findings.is_empty()) {
        let Finding { advice, command, .. } = &report.findings[0];
        lines.push(format!("try    {advice}: {command}"));
    }
    if findings.is_empty() {
        lines.push("nothing was found".to_owned());
    }
    lines.join("\n")
}
