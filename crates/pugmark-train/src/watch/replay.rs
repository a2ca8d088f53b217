//! A run's `watch.jsonl`, read again.

use std::fs;
use std::path::{Path, PathBuf};

use pugmark_model::RunFolder;

use super::record::Record;
use super::rules::{Finding, RuleReport, Rules};
use super::system::now_seconds;
use super::thresholds::Thresholds;
use crate::{TrainError, TrainSettings};

/// What the watch says of a run.
#[derive(Debug)]
pub struct Watched {
    /// Everything that was kept.
    pub records: Vec<Record>,
    /// What every rule came to, those that were triggered most first.
    pub reports: Vec<RuleReport>,
}

impl Watched {
    /// All findings, by step.
    pub fn findings(&self) -> Vec<&Finding> {
        let mut findings: Vec<&Finding> = self.reports.iter().flat_map(|report| &report.findings).collect();
        findings.sort_by_key(|finding| finding.step);
        findings
    }
}

/// Judges a run by what it kept; `thresholds` go before those of its settings. A training that is neither finished nor
/// interrupted is held against the clock too. None where the run was not watched.
///
/// # Errors
/// [`TrainError::Config`] of the run's settings, [`TrainError::Watch`] where the file can't be read.
pub fn read_watch(run: &RunFolder, thresholds: &Thresholds) -> Result<Option<Watched>, TrainError> {
    let settings = TrainSettings::read(&run.config())?;
    let Some(records) = read_records(&run.watch())? else { return Ok(None) };
    let data = settings.data.as_ref().map_or("DATA".into(), |data| data.display().to_string());
    let all = settings.watch_thresholds.clone().with(thresholds);
    let mut rules = Rules::new(all, &run.path().display().to_string(), &data);
    for record in &records {
        rules.record(record);
    }
    if is_running(&run.log()) {
        rules.silence(now_seconds());
    }
    Ok(Some(Watched { records, reports: rules.reports() }))
}

/// The records of a file; half a line at its end is what a kill left.
pub(super) fn read_records(path: &Path) -> Result<Option<Vec<Record>>, TrainError> {
    let failed = |why: String| TrainError::Watch { path: PathBuf::from(path), why };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| failed(error.to_string()))?,
    };
    let mut records = Vec::new();
    let mut lines = text.split_inclusive('\n').enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        match serde_json::from_str(line) {
            Ok(record) => records.push(record),
            Err(_) if lines.peek().is_none() && !line.ends_with('\n') => {}
            Err(error) => return Err(failed(format!("line {}: {error}", at + 1))),
        }
    }
    Ok(Some(records))
}

/// Whether the log ends in the middle of a training.
fn is_running(log: &Path) -> bool {
    let text = fs::read_to_string(log).unwrap_or_default();
    let ends = ["finished", "interrupted", "failed"];
    let mut last = text.lines().filter_map(|line| {
        let line: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(ends.contains(&line["event"].as_str()?))
    });
    last.next_back() == Some(false)
}
