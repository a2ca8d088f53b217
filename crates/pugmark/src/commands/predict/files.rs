//! A prediction into files, that goes on where it was.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use pugmark_data::formats::LabelTable;
use pugmark_data::{Item, Stored};
use pugmark_model::Prediction;

use super::boxes::Boxes;
use super::burst::Bursts;
use super::end;
use super::journal::{Journal, Output};
use super::outputs::{Labelling, Outputs};
use super::sort::Sorting;
use crate::arguments::PredictArguments;
use crate::error::{ExitStatus, WrongCall};
use crate::printer::Printer;

/// What is done with a prediction.
pub(super) type OnPrediction<'a> = &'a mut dyn FnMut(Prediction) -> anyhow::Result<()>;

/// Asks the models about some items.
pub(super) type Answer<'a> = &'a mut dyn FnMut(Rest<'_>, OnPrediction<'_>) -> anyhow::Result<()>;

/// Items that are still to be answered.
pub(super) type Rest<'a> = &'a mut dyn ExactSizeIterator<Item = Item>;

/// What is asked, and whom.
pub(super) struct Asked<'a> {
    pub(super) items: &'a [Item],
    /// The photos that the items are boxes of, where they are.
    pub(super) boxes: Option<&'a Boxes>,
    /// The folder that ids are paths below.
    pub(super) root: &'a Path,
    pub(super) classes: &'a [String],
    /// Everything that answers depend on.
    pub(super) who: &'a str,
    /// Who answers, for people.
    pub(super) model: &'a str,
    /// How probable a class of the set is.
    pub(super) set: Option<f32>,
}

/// The files that a call asks for.
pub(super) struct Files<'a> {
    outputs: Outputs<'a>,
    bursts: Option<Bursts>,
    sorting: Option<Sorting<'a>>,
    overwrite: bool,
    retry: bool,
}

impl<'a> Files<'a> {
    /// Of a call; none where it asks for none. Refuses to replace a file that no journal knows.
    pub(super) fn new(arguments: &'a PredictArguments) -> anyhow::Result<Option<Self>> {
        let Some(out) = &arguments.out else { return Ok(None) };
        let outputs = Outputs::new(out, &arguments.format, &arguments.formats)?;
        let (overwrite, retry) = (arguments.overwrite, arguments.retry_failed);
        if !overwrite && !Journal::path(out).exists() {
            outputs.refuse_existing("replaces it")?;
        }
        let bursts = Bursts::new(arguments)?;
        let sorting = Sorting::new(arguments)?;
        Ok(Some(Self { outputs, bursts, sorting, overwrite, retry }))
    }

    /// Answers what the journal does not know yet, and writes the files once all is known.
    pub(super) fn write(
        &self,
        &Asked { items, boxes, root, classes, who, model, set }: &Asked<'_>,
        answer: Answer<'_>,
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<ExitStatus> {
        let stored = items.iter().find(|item| item.stored.is_some());
        if let (Some(item), true) = (stored, self.sorting.is_some() || self.bursts.is_some()) {
            let (place, hint) = match item.stored {
                Some(Stored::Object(_)) => ("in a bucket", "fetch the photos to a disk first"),
                _ => ("in a shard", "name the folder that the photos were prepared from"),
            };
            let message = format!("{} lies {place}: it can be neither sorted nor put into a burst", item.id);
            return Err(WrongCall::new(message).with_hint(hint).into());
        }
        if boxes.is_some() {
            self.outputs.refuse_one_answer_a_photo()?;
        }
        let what = if boxes.is_some() { "boxes" } else { "photos" };
        let out = self.outputs.out();
        let photos = items.len();
        let mut journal = Journal::open(out, who, classes.len(), items, self.overwrite, self.retry)?;
        self.recognise(&mut journal, items, stop, printer)?;
        let missing = journal.missing();
        let mut call = format!("{:?} {:?} {set:?}", self.outputs, self.bursts);
        if let Some(boxes) = boxes {
            call += &format!(" {boxes:?}");
        }
        // A photo without a box has a row, too.
        let size = photos + boxes.map_or(0, Boxes::photos);
        let moves = self.sorting.as_ref().is_some_and(Sorting::moves);
        let known = if self.overwrite { Output::Other } else { journal.output(&call, size, moves) };
        if !self.overwrite && known == Output::Other {
            let new =
                format!("answers what is new ({} of {photos} {what}) and writes it again", missing.len());
            self.outputs.refuse_existing(if missing.is_empty() { "writes it again" } else { &new })?;
        }
        if missing.len() < photos {
            printer.note(&format!("{} of {photos} {what} are done already", photos - missing.len()));
        }
        self.look(&missing, items, &mut journal, answer)?;
        let count = journal.count(items)?;
        let mut status = ExitStatus::Done;
        if count.done == photos {
            if known == Output::Other {
                journal.mark(&call, size, false)?;
            }
            let label = Labelling { classes, model, root, set, stop, printer };
            let bursts = self.bursts.as_ref();
            let answers = Answers { items, boxes, bursts, journal: &journal, stop, printer };
            self.outputs.write(&label, known == Output::Written, &answers)?;
            if known != Output::Written {
                journal.mark(&call, size, true)?;
            }
            if let Some(sorting) = &self.sorting {
                let answers = Answers { items, boxes, bursts, journal: &journal, stop, printer };
                let photos = boxes.map_or(photos, Boxes::photos);
                status = sorting.sort(classes, photos, &mut |on| answers.each(on), stop, printer)?;
            }
        }
        match end(count, (photos, what), Some(out), false, stop, printer) {
            ExitStatus::Done => Ok(status),
            other => Ok(other),
        }
    }

    fn look(
        &self,
        missing: &[usize],
        items: &[Item],
        journal: &mut Journal,
        answer: Answer<'_>,
    ) -> anyhow::Result<()> {
        let mut places = missing.iter();
        answer(
            &mut missing.iter().map(|&place| items[place].clone()),
            &mut |prediction| match places.next() {
                Some(&place) => journal.add(place, &items[place], prediction),
                None => Ok(()),
            },
        )
    }

    /// Photos that were moved or renamed since they were answered.
    fn recognise(
        &self,
        journal: &mut Journal,
        items: &[Item],
        stop: &AtomicBool,
        printer: &Printer,
    ) -> anyhow::Result<()> {
        let missing = journal.missing().len();
        let mut progress = printer.progress("new names", missing as u64);
        journal.recognise(items, &mut |looked_at| {
            progress.set_with_rate(looked_at as u64, "files");
            !stop.load(Ordering::Relaxed)
        })?;
        drop(progress);
        let known = missing - journal.missing().len();
        if known > 0 {
            printer.note(&format!("known under another name or date: {known} of {missing} photos"));
        }
        Ok(())
    }
}

/// All answers of a call.
pub(super) struct Answers<'a> {
    items: &'a [Item],
    boxes: Option<&'a Boxes>,
    bursts: Option<&'a Bursts>,
    journal: &'a Journal,
    stop: &'a AtomicBool,
    printer: &'a Printer,
}

impl Answers<'_> {
    /// Hands over one a photo.
    pub(super) fn each(&self, on: OnPrediction<'_>) -> anyhow::Result<()> {
        match (self.boxes, self.bursts) {
            (Some(boxes), _) => boxes.predictions(&mut |on| self.journal.predictions(self.items, on), on),
            (None, Some(bursts)) => bursts.predictions(self.items, self.journal, self.stop, self.printer, on),
            (None, None) => self.journal.predictions(self.items, on),
        }
    }

    /// What a detector found, and what that is; none where no box was looked at.
    pub(super) fn detected(&self, classes: &[String], model: &str) -> anyhow::Result<Option<LabelTable>> {
        let table =
            |boxes: &Boxes| boxes.table(classes, model, &mut |on| self.journal.predictions(self.items, on));
        self.boxes.map(table).transpose()
    }
}

/// That a file is in the way.
pub(super) fn exists(path: &Path, overwrite: &str) -> anyhow::Error {
    WrongCall::new(format!("{} exists", path.display()))
        .with_hint(format!("`--overwrite` {overwrite}, another `--out` keeps it"))
        .into()
}
