//! Rules of the formats that are one CSV.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use csv::{Reader, ReaderBuilder, StringRecord, Trim};

use super::Findings;
use crate::dataset::Part;
use crate::error::DataError;
use crate::time::CaptureTime;

/// A CSV that is read row by row, whatever is wrong with its rows.
pub(super) struct Sheet {
    path: String,
    pub(super) header: Vec<String>,
    reader: Reader<File>,
    pub(super) rows: usize,
}

/// A row and the line it is on.
pub(super) struct Line {
    pub(super) number: u64,
    record: StringRecord,
}

impl Line {
    /// The value in a column; empty where the row is too short.
    pub(super) fn value(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default().trim()
    }

    pub(super) fn at(&self) -> String {
        format!("row {}", self.number)
    }
}

impl Sheet {
    pub(super) fn open(path: &Path, findings: &mut Findings) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Io { path: path.to_owned(), source })?;
        let mut reader = ReaderBuilder::new().trim(Trim::Headers).flexible(true).from_reader(file);
        let header = reader.headers().map_err(|error| broken(path, &error))?;
        let header: Vec<String> = header.iter().map(str::to_owned).collect();
        for (index, name) in header.iter().enumerate() {
            if header[..index].contains(name) {
                let problem = format!("a second column `{name}`");
                findings.error("column-twice", "row 1", problem, "columns have names of their own");
            }
        }
        Ok(Self { path: path.display().to_string(), header, reader, rows: 0 })
    }

    /// The next row, if there is one; rows of another length than the header are findings.
    pub(super) fn next(&mut self, findings: &mut Findings) -> Result<Option<Line>, DataError> {
        let mut record = StringRecord::new();
        let more =
            self.reader.read_record(&mut record).map_err(|error| broken(Path::new(&self.path), &error))?;
        if !more {
            return Ok(None);
        }
        self.rows += 1;
        let line = Line { number: record.position().map_or(0, csv::Position::line), record };
        if line.record.len() != self.header.len() {
            let problem = format!("{} values where the header has {}", line.record.len(), self.header.len());
            findings.error("row-length", line.at(), problem, "quote values that hold a comma");
        }
        Ok(Some(line))
    }

    pub(super) fn column(&self, names: &[&str]) -> Option<usize> {
        crate::read::Rows::column(&self.header, names)
    }

    /// A column that must be there.
    fn required(&self, names: &[&str], findings: &mut Findings) -> Option<usize> {
        let column = self.column(names);
        if column.is_none() {
            let problem = format!("no column `{}` (the columns are {})", names[0], self.header.join(", "));
            findings.error("column-missing", "row 1", problem, "add it to the header");
        }
        column
    }

    /// Says so where there are no rows.
    fn end(self, findings: &mut Findings) -> usize {
        if self.rows == 0 {
            findings.error("no-rows", "the file", "there is a header only", "one row a photo");
        }
        self.rows
    }
}

fn broken(path: &Path, error: &csv::Error) -> DataError {
    let row = error.position().map_or(1, csv::Position::line);
    DataError::Csv { file: path.to_owned(), row, problem: error.to_string() }
}

/// Names that must not repeat, with the rows that have them.
#[derive(Default)]
struct Names(HashMap<String, u64>);

impl Names {
    fn add(&mut self, name: &str, line: &Line, findings: &mut Findings) {
        if name.is_empty() {
            findings.error("name-missing", line.at(), "a row without a photo", "name it, or remove the row");
        } else if let Some(first) = self.0.insert(name.to_owned(), line.number) {
            let problem = format!("`{name}` is already in row {first}");
            findings.error("name-twice", line.at(), problem, "one photo has one row");
        }
        if name.contains('\\') {
            let problem = format!("`{name}` has backslashes");
            findings.warning("backslash", line.at(), problem, "write paths with forward slashes");
        }
    }
}

/// A table with a path and a label a row.
pub(super) fn check_labels(path: &Path, names: &[&str], findings: &mut Findings) -> Result<usize, DataError> {
    let mut sheet = Sheet::open(path, findings)?;
    let columns = (sheet.required(names, findings), sheet.required(&["label"], findings));
    let (split, site) = (sheet.column(&["split"]), sheet.column(&["site", "location"]));
    let (mut seen, mut nowhere, mut somewhere) = (Names::default(), 0, 0);
    while let Some(line) = sheet.next(findings)? {
        let (Some(photo), Some(label)) = columns else { continue };
        seen.add(line.value(photo), &line, findings);
        if line.value(label).is_empty() {
            findings.error(
                "label-missing",
                line.at(),
                "a row without a label",
                "fill it in, or remove the row",
            );
        }
        if let Some(word) = split.map(|split| line.value(split)).filter(|word| !word.is_empty())
            && word.parse::<Part>().is_err()
        {
            findings.error("split", line.at(), format!("`{word}` is no part"), "write train, val or test");
        }
        if let Some(site) = site {
            let empty = line.value(site).is_empty();
            nowhere += usize::from(empty);
            somewhere += usize::from(!empty);
        }
    }
    if nowhere > 0 && somewhere > 0 {
        let problem = format!("{nowhere} of {} rows have no site", nowhere + somewhere);
        findings.warning(
            "site-missing",
            "the file",
            problem,
            "photos without a site cannot be kept together",
        );
    }
    Ok(sheet.end(findings))
}

/// PyTorch-Wildlife's table: its numbers and words of classes must go together.
pub(super) fn check_pytorch_wildlife(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    check_labels(path, &["path"], findings)?;
    // The rows were checked there; here it is the columns of this format alone.
    let mut sheet = Sheet::open(path, &mut Findings::default())?;
    let number = sheet.required(&["classification"], findings);
    let (label, time) = (sheet.column(&["label"]), sheet.column(&["photo_time"]));
    let mut words: BTreeMap<String, String> = BTreeMap::new();
    while let Some(line) = sheet.next(&mut Findings::default())? {
        if let (Some(number), Some(label)) = (number, label) {
            let (number, label) = (line.value(number), line.value(label));
            if number.parse::<u32>().is_err() {
                let problem = format!("`{number}` is no whole number");
                findings.error("classification", line.at(), problem, "number the classes from 0");
            } else if words.entry(number.to_owned()).or_insert_with(|| label.to_owned()) != label {
                let problem = format!("{number} is `{}` elsewhere and `{label}` here", words[number]);
                findings.error("classification-label", line.at(), problem, "a number stands for one label");
            }
        }
        if let Some(text) = time.map(|time| line.value(time)).filter(|text| !text.is_empty())
            && text.parse::<CaptureTime>().is_err()
        {
            let problem = format!("`{text}` is no time");
            findings.error("photo-time", line.at(), problem, "write it as 2022-12-31 09:52:50");
        }
    }
    Ok(sheet.rows)
}

/// The numbers of the class columns of a row; what is no number from 0 to 1 is a finding.
fn class_values(line: &Line, columns: std::ops::Range<usize>, findings: &mut Findings) -> Vec<f64> {
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        let text = line.value(column);
        match text.parse::<f64>() {
            Ok(value) if (0.0..=1.0).contains(&value) => values.push(value),
            _ => {
                let problem = format!("`{text}` is no number from 0 to 1");
                findings.error("class-value", line.at(), problem, "each class has a number from 0 to 1");
            }
        }
    }
    values
}

/// `id` and one column a class.
fn id_first(sheet: &Sheet, findings: &mut Findings) {
    if sheet.header.first().is_none_or(|name| name != "id") {
        findings.error(
            "id-first",
            "row 1",
            "the first column is not `id`",
            "the columns are id and the classes",
        );
    }
    if sheet.header.len() < 3 {
        findings.error("classes", "row 1", "fewer than two classes", "the columns are id and the classes");
    }
}

pub(super) fn check_one_hot(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let mut sheet = Sheet::open(path, findings)?;
    id_first(&sheet, findings);
    let mut seen = Names::default();
    while let Some(line) = sheet.next(findings)? {
        seen.add(line.value(0), &line, findings);
        let values = class_values(&line, 1..sheet.header.len(), findings);
        let ones = values.iter().filter(|value| **value == 1.0).count();
        if values.iter().any(|value| *value != 0.0 && *value != 1.0) {
            let hint = "a label is 0 or 1: a file of probabilities is a submission";
            findings.error("one-hot-value", line.at(), "a value between 0 and 1", hint);
        } else if ones != 1 {
            findings.error("one-hot", line.at(), format!("{ones} classes are 1"), "exactly one is");
        }
    }
    if let Some(features) = crate::formats::one_hot::features_of(path).filter(|file| file.is_file()) {
        let other = Sheet::open(&features, findings)?;
        for name in ["id", "filepath"] {
            other.required(&[name], findings);
        }
    }
    Ok(sheet.end(findings))
}

/// How far from 1 the probabilities of a row may add up to: they are written with few digits.
const SUM: f64 = 1e-3;

fn check_sum(values: &[f64], line: &Line, findings: &mut Findings) {
    let sum: f64 = values.iter().sum();
    if (sum - 1.0).abs() > SUM {
        let problem = format!("the probabilities add up to {sum:.4}");
        findings.error("sum", line.at(), problem, "they add up to 1");
    }
}

pub(super) fn check_submission(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let mut sheet = Sheet::open(path, findings)?;
    id_first(&sheet, findings);
    let mut seen = Names::default();
    while let Some(line) = sheet.next(findings)? {
        seen.add(line.value(0), &line, findings);
        check_sum(&class_values(&line, 1..sheet.header.len(), findings), &line, findings);
    }
    Ok(sheet.end(findings))
}

pub(super) fn check_predictions(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let mut sheet = Sheet::open(path, findings)?;
    if !crate::formats::predictions::is_header(&sheet.header) {
        let hint = "the columns are id, one a class, truncated, reason";
        findings.error("columns", "row 1", format!("the columns are {}", sheet.header.join(", ")), hint);
        return Ok(sheet.rows);
    }
    let (mut seen, reason) = (Names::default(), sheet.header.len() - 1);
    while let Some(line) = sheet.next(findings)? {
        seen.add(line.value(0), &line, findings);
        if line.value(reason).is_empty() {
            check_sum(&class_values(&line, 1..reason - 1, findings), &line, findings);
        } else if (1..reason - 1).any(|column| !line.value(column).is_empty()) {
            let hint = "a photo has probabilities or a reason why not";
            findings.error("reason", line.at(), "probabilities beside a reason", hint);
        }
    }
    Ok(sheet.end(findings))
}

pub(super) fn check_zamba_predictions(path: &Path, findings: &mut Findings) -> Result<usize, DataError> {
    let mut sheet = Sheet::open(path, findings)?;
    let file = sheet.required(&["filepath"], findings);
    let numbers: Vec<usize> =
        ["x1", "y1", "x2", "y2"].iter().filter_map(|name| sheet.required(&[name], findings)).collect();
    let conf = sheet.required(&["detection_conf"], findings);
    sheet.required(&["detection_category"], findings);
    while let Some(line) = sheet.next(findings)? {
        if file.is_some_and(|file| line.value(file).is_empty()) {
            findings.error("name-missing", line.at(), "a row without a photo", "name it, or remove the row");
        }
        let corners: Vec<f64> =
            numbers.iter().filter_map(|&column| line.value(column).parse().ok()).collect();
        match corners.as_slice() {
            [left, top, right, bottom] if left <= right && top <= bottom => {}
            _ if numbers.len() < 4 => {}
            _ => {
                let hint = "x1, y1 is the upper left and x2, y2 the lower right corner, in pixels";
                findings.error("box", line.at(), "a box that is none", hint);
            }
        }
        if let Some(text) = conf.map(|conf| line.value(conf))
            && !text.parse::<f64>().is_ok_and(|conf| (0.0..=1.0).contains(&conf))
        {
            findings.error("conf", line.at(), format!("`{text}` is no confidence"), "it is from 0 to 1");
        }
    }
    Ok(sheet.end(findings))
}
