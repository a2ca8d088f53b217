//! Reading a data set and telling what is odd about it.

use std::path::Path;

use pugmark_data::{Dataset, Note, ReadOptions};

use crate::error::WrongCall;
use crate::printer::Printer;

/// More names than this fill a screen and help nobody.
const NAMES: usize = 5;

/// Reads a data set; its notes go to stderr.
pub(super) fn read(data: &Path, options: &ReadOptions, printer: &Printer) -> anyhow::Result<Dataset> {
    exists(data, "data set")?;
    told(pugmark_data::read(data, options)?, printer)
}

/// Reads the labels of a data set, without looking for photos; its notes go to stderr.
pub(super) fn read_labels(data: &Path, options: &ReadOptions, printer: &Printer) -> anyhow::Result<Dataset> {
    exists(data, "data set")?;
    told(pugmark_data::read_labels(data, options)?, printer)
}

fn told(dataset: Dataset, printer: &Printer) -> anyhow::Result<Dataset> {
    dataset.notes.iter().for_each(|note| printer.warning(&sentence(note)));
    Ok(dataset)
}

/// A note as one line.
pub(super) fn sentence(note: &Note) -> String {
    match note.items.as_slice() {
        [] => note.text.clone(),
        items => format!("{}: {}", note.text, some(items)),
    }
}

/// The first names of a list and how many there are besides.
pub(super) fn some(names: &[String]) -> String {
    let more = match names.len().saturating_sub(NAMES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    names[..names.len().min(NAMES)].join(", ") + &more
}

/// Refuses a path that leads nowhere before anything is started.
pub(super) fn exists(path: &Path, what: &str) -> Result<(), WrongCall> {
    if path.exists() {
        return Ok(());
    }
    Err(WrongCall::new(format!("there is no {what} {}", path.display()))
        .with_hint("check the path; it is looked up from the folder the command runs in"))
}
