//! The files of a prediction, made from its journal.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use pugmark_data::formats::{self, Format, TableOptions, read_table, write_table};
use pugmark_data::{ExifFacts, Item};
use pugmark_model::{Prediction, write_atomic_with};

use super::files::{OnPrediction, exists};
use super::journal::Journal;
use super::rows::{Form, header};
use crate::arguments::{FormatFlags, OutputFormat};
use crate::commands::data;
use crate::error::WrongCall;
use crate::printer::Printer;

/// Hands over every prediction.
pub(super) type Each<'a> = &'a mut dyn FnMut(OnPrediction<'_>) -> anyhow::Result<()>;

/// What other tools are told.
pub(super) struct Labelling<'a> {
    pub(super) classes: &'a [String],
    /// Who answers.
    pub(super) model: &'a str,
    /// The folder that ids are paths below.
    pub(super) root: &'a Path,
    /// How probable a class of the set is.
    pub(super) set: Option<f32>,
    pub(super) printer: &'a Printer,
}

/// What is written where.
pub(super) struct Outputs<'a> {
    out: &'a Path,
    files: Vec<(OutputFormat, PathBuf)>,
    options: &'a FormatFlags,
}

impl<'a> Outputs<'a> {
    /// One format is `out` itself, several are files in it; none is a CSV.
    pub(super) fn new(
        out: &'a Path,
        chosen: &[OutputFormat],
        options: &'a FormatFlags,
    ) -> Result<Self, WrongCall> {
        if chosen.len() > 1 && out.is_file() {
            return Err(WrongCall::new(format!("{} is a file", out.display()))
                .with_hint("with several formats, `--out` is a folder"));
        }
        let files = match chosen {
            [] => vec![(OutputFormat::Csv, out.to_owned())],
            [only] => vec![(*only, out.to_owned())],
            several => several.iter().map(|&format| (format, out.join(file_name(format)))).collect(),
        };
        Ok(Self { out, files, options })
    }

    pub(super) fn out(&self) -> &Path {
        self.out
    }

    /// Whether one of them is there.
    pub(super) fn exist(&self) -> bool {
        self.files.iter().any(|(_, file)| file.exists())
    }

    /// An error where one is there; `overwrite` is what that flag would do.
    pub(super) fn refuse_existing(&self, overwrite: &str) -> anyhow::Result<()> {
        match self.files.iter().find(|(_, file)| file.exists()) {
            Some((_, file)) => Err(exists(file, overwrite)),
            None => Ok(()),
        }
    }

    /// Whether the CSV, and nothing else, is asked for, and holds what would be written.
    pub(super) fn hold(&self, classes: &[String], items: &[Item], journal: &Journal) -> anyhow::Result<bool> {
        let [(OutputFormat::Csv, file)] = self.files.as_slice() else { return Ok(false) };
        let Ok(file) = File::open(file) else { return Ok(false) };
        let mut same = Same { file: BufReader::new(file), same: true };
        csv(&mut same, classes, &mut |on| journal.predictions(items, on))?;
        Ok(same.same && same.file.bytes().next().is_none())
    }

    /// Writes them all; `each` hands over every prediction.
    pub(super) fn write(&self, label: &Labelling<'_>, each: Each<'_>) -> anyhow::Result<()> {
        if self.files.len() > 1 {
            fs::create_dir_all(self.out).with_context(|| format!("cannot write {}", self.out.display()))?;
        }
        for (format, file) in &self.files {
            let context = || format!("cannot write {}", file.display());
            match label_format(*format) {
                None => write_atomic_with(file, |to| match format {
                    OutputFormat::Jsonl => lines(to, label, each),
                    _ => csv(to, label.classes, each),
                })
                .with_context(context)?,
                Some(format) => self.label_file(format, file, label, each)?,
            }
        }
        Ok(())
    }

    /// Another tool's format, through the CSV: what `pugmark convert` makes of it.
    fn label_file(
        &self,
        format: Format,
        file: &Path,
        &Labelling { classes, model, root, printer, .. }: &Labelling<'_>,
        each: Each<'_>,
    ) -> anyhow::Result<()> {
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(".csv");
        let between = file.with_file_name(name);
        let written = || -> anyhow::Result<formats::Written> {
            write_atomic_with(&between, |to| csv(to, classes, each))
                .with_context(|| format!("cannot write {}", between.display()))?;
            let photos = Some(root.to_owned());
            let reading = TableOptions { photos, model: Some(model.to_owned()), ..TableOptions::default() };
            let mut table = read_table(&between, Some(Format::Predictions), &reading)?;
            if matches!(format, Format::CamtrapDp | Format::MegaDetector) {
                for photo in &mut table.photos {
                    photo.time = ExifFacts::of_file(&root.join(&photo.id)).time.map(|(time, _)| time);
                }
            }
            Ok(write_table(&table, format, file, &self.options.options(), &mut |_| true)?)
        }();
        // It was written only to be read.
        let _ = fs::remove_file(&between);
        written?.notes.iter().for_each(|note| printer.warning(&data::sentence(note)));
        Ok(())
    }
}

/// The format's name as a file among others.
fn file_name(format: OutputFormat) -> &'static str {
    match format {
        OutputFormat::Csv => "predictions.csv",
        OutputFormat::Jsonl => "predictions.jsonl",
        OutputFormat::Submission => "submission.csv",
        OutputFormat::Megadetector => "megadetector.json",
        OutputFormat::CamtrapDp => "camtrap-dp",
        OutputFormat::Speciesnet => "speciesnet.json",
    }
}

fn label_format(format: OutputFormat) -> Option<Format> {
    match format {
        OutputFormat::Csv | OutputFormat::Jsonl => None,
        OutputFormat::Submission => Some(Format::Submission),
        OutputFormat::Megadetector => Some(Format::MegaDetector),
        OutputFormat::CamtrapDp => Some(Format::CamtrapDp),
        OutputFormat::Speciesnet => Some(Format::SpeciesNet),
    }
}

fn csv(to: &mut dyn Write, classes: &[String], each: Each<'_>) -> anyhow::Result<()> {
    writeln!(to, "{}", header(classes)?)?;
    each(&mut |prediction: Prediction| Ok(writeln!(to, "{}", Form::Csv.row(classes, &prediction)?)?))
}

fn lines(to: &mut dyn Write, label: &Labelling<'_>, each: Each<'_>) -> anyhow::Result<()> {
    let form = Form::Json { top: None, set: label.set };
    each(&mut |prediction: Prediction| Ok(writeln!(to, "{}", form.row(label.classes, &prediction)?)?))
}

/// Compares what is written with what is in a file.
struct Same<R> {
    file: R,
    same: bool,
}

impl<R: Read> Write for Same<R> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut there = vec![0; bytes.len()];
        self.same = self.same && self.file.read_exact(&mut there).is_ok() && there == bytes;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
