//! The files of a prediction, made from its journal.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use pugmark_data::formats::{self, Format, FormatError, TableOptions, WriteOptions, read_table, write_table};
use pugmark_data::{DataError, ExifFacts};
use pugmark_model::{Prediction, write_atomic_with};

use super::files::{Answers, OnPrediction, exists};
use super::rows::{Form, header};
use crate::arguments::{FormatFlags, OutputFormat};
use crate::commands::data;
use crate::error::{Interrupted, WrongCall};
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
    pub(super) stop: &'a AtomicBool,
    pub(super) printer: &'a Printer,
}

/// What is written where.
#[derive(Debug)]
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
        needed(chosen, options)?;
        let files = match chosen {
            [] => vec![(OutputFormat::Csv, out.to_owned())],
            [only] => vec![(*only, out.to_owned())],
            several => several.iter().map(|&format| (format, out.join(file_name(format)))).collect(),
        };
        if let [(format, file)] = files.as_slice()
            && *format != OutputFormat::CamtrapDp
            && file.is_dir()
        {
            return Err(WrongCall::new(format!("{} is a folder", file.display()))
                .with_hint("with one format, `--out` is a file"));
        }
        Ok(Self { out, files, options })
    }

    pub(super) fn out(&self) -> &Path {
        self.out
    }

    /// An error where one is there; `overwrite` is what that flag would do.
    pub(super) fn refuse_existing(&self, overwrite: &str) -> anyhow::Result<()> {
        match self.files.iter().find(|(_, file)| file.exists()) {
            Some((_, file)) => Err(exists(file, overwrite)),
            None => Ok(()),
        }
    }

    /// An error where a format has no room for the boxes of a photo, nor a word for one without.
    pub(super) fn refuse_one_answer_a_photo(&self) -> Result<(), WrongCall> {
        let of_a_box = [OutputFormat::Csv, OutputFormat::Jsonl, OutputFormat::Megadetector];
        let other = self.files.iter().find(|(format, _)| !of_a_box.contains(format));
        let Some(format) = other.and_then(|(format, _)| label_format(*format)) else { return Ok(()) };
        Err(WrongCall::new(format!("`--boxes` does not go with `--format {format}`"))
            .with_hint(format!("write megadetector, of which `pugmark convert FILE --to {format}` makes it")))
    }

    /// Writes them all, or those that are absent.
    pub(super) fn write(
        &self,
        label: &Labelling<'_>,
        absent: bool,
        answers: &Answers<'_>,
    ) -> anyhow::Result<()> {
        let each = &mut |on: OnPrediction<'_>| answers.each(on);
        if self.files.len() > 1 {
            fs::create_dir_all(self.out).with_context(|| format!("cannot write {}", self.out.display()))?;
        }
        for (format, file) in self.files.iter().filter(|(_, file)| !absent || !file.exists()) {
            let context = || format!("cannot write {}", file.display());
            match label_format(*format) {
                None => write_atomic_with(file, |to| match format {
                    OutputFormat::Jsonl => lines(to, label, each),
                    _ => csv(to, label.classes, each),
                })
                .with_context(context)?,
                Some(format) => self.label_file(format, file, label, answers)?,
            }
        }
        Ok(())
    }

    /// Another tool's format, through the CSV: what `pugmark convert` makes of it. Boxes are what the detector wrote, with classes.
    fn label_file(
        &self,
        format: Format,
        file: &Path,
        &Labelling { classes, model, root, stop, printer, .. }: &Labelling<'_>,
        answers: &Answers<'_>,
    ) -> anyhow::Result<()> {
        let mut name = OsString::from(".");
        name.push(file.file_name().unwrap_or_default());
        name.push(format!(".{}.csv", std::process::id()));
        let between = file.with_file_name(name);
        let written = || -> anyhow::Result<formats::Written> {
            let mut table = match answers.detected(classes, model)? {
                Some(table) => table,
                None => {
                    write_atomic_with(&between, |to| csv(to, classes, &mut |on| answers.each(on)))
                        .with_context(|| format!("cannot write {}", between.display()))?;
                    let (photos, model) = (Some(root.to_owned()), Some(model.to_owned()));
                    let reading = TableOptions { photos, model, ..TableOptions::default() };
                    read_table(&between, Some(Format::Predictions), &reading)?
                }
            };
            let go_on = || !stop.load(Ordering::Relaxed);
            let mut progress = printer.progress(format.title(), table.photos.len() as u64);
            if matches!(format, Format::CamtrapDp | Format::MegaDetector) {
                for (number, photo) in table.photos.iter_mut().enumerate().take_while(|_| go_on()) {
                    if photo.time.is_some() {
                        continue;
                    }
                    photo.time = ExifFacts::of_file(&root.join(&photo.id)).time.map(|(time, _)| time);
                    progress.set_with_rate(number as u64, "capture times");
                }
            }
            match write_table(&table, format, file, &self.options.options(), &mut |_| go_on()) {
                Err(DataError::Format(FormatError::Interrupted { .. })) => {
                    Err(Interrupted("the answers are in the journal; the same call goes on").into())
                }
                written => Ok(written?),
            }
        }();
        // It was written only to be read.
        let _ = fs::remove_file(&between);
        written?.notes.iter().for_each(|note| printer.warning(&data::sentence(note)));
        Ok(())
    }
}

/// Refuses a call without what its formats demand, before hours of work.
fn needed(chosen: &[OutputFormat], options: &FormatFlags) -> Result<(), WrongCall> {
    let WriteOptions { metadata, deployments, submission_format, .. } = options.options();
    let wanted = [
        (OutputFormat::Submission, "--submission-format", submission_format),
        (OutputFormat::CamtrapDp, "--metadata", metadata),
        (OutputFormat::CamtrapDp, "--deployments", deployments),
    ];
    for (format, flag, file) in wanted.into_iter().filter(|(format, ..)| chosen.contains(format)) {
        match file {
            Some(file) => data::exists(&file, &format!("file for `{flag}`"))?,
            None => {
                let name = label_format(format).map_or("it", Format::name);
                return Err(WrongCall::new(format!("`--format {name}` needs `{flag}`"))
                    .with_hint("docs/formats.md says what such a file holds"));
            }
        }
    }
    Ok(())
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
