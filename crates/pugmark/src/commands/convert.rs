//! Labels and predictions from one format to another.

use std::sync::atomic::Ordering;

use pugmark_data::DataError;
use pugmark_data::formats::{self, Format, FormatError, TableOptions, detect, read_table, write_table};

use super::data;
use crate::arguments::ConvertArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::interrupt;
use crate::printer::Printer;

pub(crate) fn run(arguments: &ConvertArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let ConvertArguments { input, out, to, .. } = arguments;
    data::exists(input, "file or folder")?;
    let features = (*to == Format::OneHot).then(|| formats::features_of(out)).flatten();
    if let Some(there) = [Some(out), features.as_ref()].into_iter().flatten().find(|file| file.exists())
        && !arguments.overwrite
    {
        return Err(WrongCall::new(format!("{} exists", there.display()))
            .with_hint("`--overwrite` replaces it, another `--out` keeps it")
            .into());
    }
    let stop = interrupt::stop_flag()?;
    let from = match arguments.from {
        Some(format) => format,
        None => {
            let format = detect(input)?;
            printer.note(&format!("{} is read as {} (`{format}`)", input.display(), format.title()));
            format
        }
    };
    let reading = TableOptions {
        photos: arguments.photos.clone(),
        blank_word: arguments.blank_word.clone(),
        model: arguments.model.clone(),
    };
    let table = read_table(input, Some(from), &reading)?;
    table.notes.iter().for_each(|note| printer.warning(&data::sentence(note)));
    let writing = arguments.formats.options();
    let mut progress = printer.progress("photos", table.photos.len() as u64);
    let written = write_table(&table, *to, out, &writing, &mut |done| {
        progress.set_with_rate(done as u64, "photos");
        !stop.load(Ordering::Relaxed)
    });
    drop(progress);
    let written: formats::Written = match written {
        Err(DataError::Format(error @ FormatError::Interrupted { .. })) => {
            printer.warning(&error.to_string());
            return Ok(ExitStatus::Interrupted);
        }
        written => written?,
    };
    written.notes.iter().for_each(|note| printer.warning(&data::sentence(note)));
    let files: Vec<String> = written.files.iter().map(|file| file.display().to_string()).collect();
    let (done, all) = (written.photos, table.photos.len());
    printer.note(&format!("{done} of {all} photos as {}, written to {}", to.title(), files.join(", ")));
    Ok(ExitStatus::Done)
}
