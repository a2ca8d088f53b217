//! The rows of a CSV, with their line numbers.

use std::fs::File;
use std::path::{Path, PathBuf};

use csv::{ErrorKind, Reader, ReaderBuilder, StringRecord, Trim};

use crate::error::DataError;

/// A CSV with a header: UTF-8 with or without a byte-order mark, any line ends, quoted fields.
pub(crate) struct Rows {
    pub(crate) file: PathBuf,
    pub(crate) header: Vec<String>,
    reader: Reader<File>,
}

/// One row.
pub(crate) struct Row {
    /// Line in the file; the header is line 1.
    pub(crate) line: u64,
    record: StringRecord,
}

impl Rows {
    pub(crate) fn open(file: &Path) -> Result<Self, DataError> {
        Self::open_with(file, false)
    }

    /// [`Rows::open`] for tables whose rows may end early: what is not there is empty.
    pub(crate) fn open_ragged(file: &Path) -> Result<Self, DataError> {
        Self::open_with(file, true)
    }

    fn open_with(file: &Path, ragged: bool) -> Result<Self, DataError> {
        let source = File::open(file).map_err(|source| DataError::Io { path: file.to_owned(), source })?;
        let mut reader = ReaderBuilder::new().trim(Trim::Headers).flexible(ragged).from_reader(source);
        let header = reader.headers().map_err(|error| csv_error(file, &error))?;
        let header = header.iter().map(str::to_owned).collect();
        Ok(Self { file: file.to_owned(), header, reader })
    }

    /// The next row; none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Row>, DataError> {
        let mut record = StringRecord::new();
        let more = self.reader.read_record(&mut record).map_err(|error| csv_error(&self.file, &error))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() > self.header.len() {
            let (len, expected) = (record.len(), self.header.len());
            let problem = format!("{len} values where the header has {expected}");
            return Err(DataError::Csv { file: self.file.clone(), row: line, problem });
        }
        Ok(more.then_some(Row { line, record }))
    }

    /// The column called one of `names`, in any case.
    pub(crate) fn column(header: &[String], names: &[&str]) -> Option<usize> {
        let called = |name: &&str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
        names.iter().find_map(called)
    }

    /// The value in a column, which must not be empty.
    pub(crate) fn required<'a>(&self, row: &'a Row, column: usize) -> Result<&'a str, DataError> {
        match row.value(column) {
            "" => {
                let (file, column) = (self.file.clone(), self.header[column].clone());
                Err(DataError::EmptyValue { file, row: row.line, column })
            }
            value => Ok(value),
        }
    }
}

impl Row {
    /// The value in a column, trimmed.
    pub(crate) fn value(&self, column: usize) -> &str {
        self.exact(column).trim()
    }

    /// The value in a column as it stands there.
    pub(crate) fn exact(&self, column: usize) -> &str {
        self.record.get(column).unwrap_or_default()
    }
}

fn csv_error(file: &Path, error: &csv::Error) -> DataError {
    let row = error.position().map_or(1, csv::Position::line);
    let problem = match error.kind() {
        ErrorKind::Utf8 { .. } => "not UTF-8".to_owned(),
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} values where the header has {expected_len}")
        }
        _ => error.to_string(),
    };
    DataError::Csv { file: file.to_owned(), row, problem }
}
