//! Validators: what is wrong with a file, rule by rule, from the format's specification.
//!
//! They read files on their own, not with the readers, which forgive much.

mod camtrap;
mod coco;
mod csv_files;
mod megadetector;
mod speciesnet;

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::{Format, FormatError};
use crate::dataset::counted;
use crate::error::DataError;
use crate::read::metadata;

/// How bad a finding is.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The specification forbids it.
    Error,
    /// Allowed, but other tools stumble over it.
    Warning,
}

/// A rule that a file breaks.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The rule's short name; a report has one finding a rule.
    pub rule: &'static str,
    /// What is wrong at the first place.
    pub problem: String,
    /// The first places: rows and columns, or paths in the JSON.
    pub places: Vec<String>,
    /// How many places there are.
    pub count: usize,
    /// What to do.
    pub hint: &'static str,
}

/// What was found in one file or package.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// What was checked.
    pub path: PathBuf,
    /// The format's name.
    pub format: &'static str,
    /// Photos, rows or images that were looked at.
    pub entries: usize,
    /// Broken rules, errors first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether no rule of the specification is broken.
    pub fn is_valid(&self) -> bool {
        self.findings.iter().all(|finding| finding.severity == Severity::Warning)
    }

    fn broken(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}

impl fmt::Display for Report {
    /// A line that sums up, then for each broken rule what, where and what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.is_valid() { "valid" } else { "not valid" };
        let entries = match self.entries {
            1 => "1 entry".to_owned(),
            entries => format!("{entries} entries"),
        };
        write!(f, "{} is {verdict} as {}: {entries}", self.path.display(), self.format)?;
        for (severity, thing) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
            write!(f, ", {}", counted(self.broken(severity), thing))?;
        }
        for finding in &self.findings {
            let word = match finding.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            };
            write!(f, "\n{word} [{}]: {}", finding.rule, finding.problem)?;
            let more = match finding.count - finding.places.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            write!(f, "\n  at {}{more}", finding.places.join(", "))?;
            write!(f, "\n  {}", finding.hint)?;
        }
        Ok(())
    }
}

/// Checks a file or package against the specification of `format`.
///
/// # Errors
/// If it cannot be read at all; what is wrong inside it is in the report.
pub fn validate(path: &Path, format: Format) -> Result<Report, DataError> {
    metadata(path)?;
    let mut findings = Findings::default();
    let entries = match format {
        Format::Coco => coco::check(path, &mut findings),
        Format::CamtrapDp => camtrap::check(path, &mut findings),
        Format::MegaDetector => megadetector::check(path, &mut findings),
        Format::SpeciesNet => speciesnet::check(path, &mut findings),
        Format::Csv => {
            csv_files::check_labels(path, &["filepath", "path", "file", "filename"], &mut findings)
        }
        Format::PytorchWildlife => csv_files::check_pytorch_wildlife(path, &mut findings),
        Format::OneHot => csv_files::check_one_hot(path, &mut findings),
        Format::Submission => csv_files::check_submission(path, &mut findings),
        Format::Predictions => csv_files::check_predictions(path, &mut findings),
        Format::ZambaPredictions => csv_files::check_zamba_predictions(path, &mut findings),
        Format::Folders | Format::Prepared => {
            let (action, what) = ("check", format!("a folder ({}), which is no file format", format.name()));
            return Err(
                FormatError::Cannot { action, what, hint: "`pugmark check FOLDER` looks at photos" }.into()
            );
        }
    };
    let entries = match entries {
        Ok(entries) => entries,
        // A file that is no JSON or no CSV is a finding like any other.
        Err(DataError::Format(FormatError::Json { problem, .. })) => {
            findings.error("json", "the file", &problem, "the file must be one JSON object, in UTF-8");
            0
        }
        Err(DataError::Csv { row, problem, .. }) => {
            findings.error(
                "csv",
                format!("row {row}"),
                &problem,
                "save it as UTF-8 with commas, one width of rows",
            );
            0
        }
        Err(error) => return Err(error),
    };
    Ok(Report { path: path.to_owned(), format: format.title(), entries, findings: findings.done() })
}

/// How many places of one rule are kept.
const PLACES: usize = 5;

/// Findings, collected by rule.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(
        &mut self,
        rule: &'static str,
        at: impl Into<String>,
        problem: impl AsRef<str>,
        hint: &'static str,
    ) {
        self.add(Severity::Error, rule, at.into(), problem.as_ref(), hint);
    }

    fn warning(
        &mut self,
        rule: &'static str,
        at: impl Into<String>,
        problem: impl AsRef<str>,
        hint: &'static str,
    ) {
        self.add(Severity::Warning, rule, at.into(), problem.as_ref(), hint);
    }

    fn add(&mut self, severity: Severity, rule: &'static str, at: String, problem: &str, hint: &'static str) {
        match self.0.iter_mut().find(|finding| finding.rule == rule) {
            Some(finding) => {
                finding.count += 1;
                if finding.places.len() < PLACES {
                    finding.places.push(at);
                }
            }
            None => {
                let problem = problem.to_owned();
                self.0.push(Finding { severity, rule, problem, places: vec![at], count: 1, hint });
            }
        }
    }

    /// Errors first; within them as they were found.
    fn done(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity == Severity::Warning);
        self.0
    }
}

/// A JSON value in a message, cut to what fits.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// Checks a box in shares: four numbers, from 0 to 1, that stay in the photo.
fn check_relative_box(numbers: &[Option<f64>], at: &str, findings: &mut Findings) {
    // Detectors round each number on its own.
    const SLACK: f64 = 1e-3;
    let &[Some(x), Some(y), Some(width), Some(height)] = numbers else {
        findings.error("box-numbers", at, "a box is not four numbers", "write [left, top, width, height]");
        return;
    };
    if [x, y, width, height].iter().any(|number| !(0.0..=1.0 + SLACK).contains(number)) {
        let problem = format!("[{x}, {y}, {width}, {height}] is not in shares of the photo");
        findings.error(
            "box-range",
            at,
            problem,
            "every number is from 0 to 1: divide pixels by width and height",
        );
    } else if x + width > 1.0 + SLACK || y + height > 1.0 + SLACK {
        let problem = format!("[{x}, {y}, {width}, {height}] leads out of the photo");
        findings.warning("box-outside", at, problem, "left + width and top + height are at most 1");
    }
}
