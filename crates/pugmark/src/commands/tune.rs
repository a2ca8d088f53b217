//! A search: many trainings on one data set, each a run in the folder of a study.

mod begin;
mod outcome;
mod page;
mod space;
mod trial;
mod watching;
mod words;
mod workers;

use std::sync::atomic::Ordering;

use crate::arguments::TuneArguments;
use crate::error::ExitStatus;
use crate::interrupt;
use crate::printer::Printer;
use begin::Search;
use workers::Workers;

pub(crate) fn run(arguments: &TuneArguments, printer: &Printer) -> anyhow::Result<ExitStatus> {
    let search = Search::begin(arguments, printer)?;
    let stop = interrupt::stop_flag()?;
    let workers = Workers::new(&search, &stop, arguments.json);
    workers.run(printer)?;
    let folder = search.folder.display();
    if stop.load(Ordering::Relaxed) {
        outcome::save(&search, printer)?;
        printer
            .note(&format!("interrupted; everything is saved\ngo on with: pugmark tune --resume {folder}"));
        return Ok(ExitStatus::Interrupted);
    }
    if workers.out_of_time() {
        printer.note(&format!("the time is over; go on with: pugmark tune --resume {folder}"));
    }
    let retrained = match arguments.retrain_best {
        true => workers.retrain_best(printer)?,
        false => None,
    };
    if stop.load(Ordering::Relaxed) {
        printer.note(&format!(
            "interrupted in the last training; go on with: pugmark tune --resume {folder} --retrain-best"
        ));
        return Ok(ExitStatus::Interrupted);
    }
    outcome::tell(&search, retrained.as_ref(), arguments.json, printer)
}
