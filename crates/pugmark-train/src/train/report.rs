use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use pugmark_data::{Batch, Part};
use pugmark_model::{RunFolder, write_atomic};

use super::prepare::Photos;
use crate::checkpoint::Damage;
use crate::log::Log;
use crate::profile::Recorder;
use crate::tensorboard::Board;
use crate::{Event, Observer, Outcome, TrainError};

/// What is said of a photo that is used as far as it goes.
const TRUNCATED: &str = "the file ends early; what is there is used";

/// Tells the observer, the log, the profile and TensorBoard.
pub(super) struct Report<'a> {
    observer: &'a mut dyn Observer,
    log: Log,
    pub(super) profile: Recorder,
    /// None where no event files are asked for.
    pub(super) board: Option<Board>,
}

impl<'a> Report<'a> {
    pub(super) fn new(
        folder: &RunFolder,
        profile: Recorder,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, TrainError> {
        Ok(Self { observer, log: Log::open(&folder.log())?, profile, board: None })
    }

    /// Has the event files say something. Where they can't be written the training goes on without them.
    pub(super) fn board(
        &mut self,
        say: impl FnOnce(&mut Board) -> Result<(), TrainError>,
    ) -> Result<(), TrainError> {
        match self.board.as_mut().map(say) {
            None | Some(Ok(())) => Ok(()),
            Some(Err(error)) => {
                self.board = None;
                self.event(Event::Warning(&format!("no more event files are written: {error}")))
            }
        }
    }

    pub(super) fn event(&mut self, event: Event<'_>) -> Result<(), TrainError> {
        self.observer.event(event);
        self.log.event(event)
    }

    /// Tells of the damaged photos of a batch that were not known before, and keeps them in mind.
    pub(super) fn damaged_batch(
        &mut self,
        known: &mut BTreeMap<String, Damage>,
        photos: &Photos,
        batch: &Batch,
    ) -> Result<(), TrainError> {
        let broken = batch.broken.iter().map(|(index, reason)| (*index, Some(reason.as_str())));
        for (index, broken) in broken.chain(batch.truncated.iter().map(|&index| (index, None))) {
            self.damaged(known, photos.part, &photos.items[index].id, broken)?;
        }
        Ok(())
    }

    /// As [`Report::damaged_batch`] for one photo; `broken` says why it can't be decoded at all.
    pub(super) fn damaged(
        &mut self,
        known: &mut BTreeMap<String, Damage>,
        part: Part,
        id: &str,
        broken: Option<&str>,
    ) -> Result<(), TrainError> {
        if known.contains_key(id) {
            return Ok(());
        }
        let reason = broken.unwrap_or(TRUNCATED).into();
        known.insert(id.into(), Damage { part, used: broken.is_none(), reason });
        match broken {
            Some(reason) => self.event(Event::BrokenPhoto { id, reason }),
            None => Ok(()),
        }
    }

    /// The end of the log.
    pub(super) fn end(&mut self, outcome: &Result<Outcome, TrainError>) -> Result<(), TrainError> {
        match outcome {
            Ok(outcome) if outcome.interrupted => self.log.end("interrupted", None),
            Ok(_) => self.log.end("finished", None),
            Err(error) => {
                // The training's own error is the one to tell, even where the disk is too full for the log.
                let _ = self.log.end("failed", Some(error));
                Ok(())
            }
        }
    }
}

/// Saves a file of the run.
pub(super) fn save(path: PathBuf, bytes: io::Result<Vec<u8>>) -> Result<(), TrainError> {
    bytes.and_then(|bytes| write_atomic(&path, &bytes)).map_err(|source| TrainError::Save { path, source })
}

/// Saves `broken.csv`: damaged photos with what is wrong.
pub(super) fn save_damaged(folder: &RunFolder, damaged: &BTreeMap<String, Damage>) -> Result<(), TrainError> {
    let csv = || -> io::Result<Vec<u8>> {
        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["id", "split", "used", "reason"])?;
        for (id, damage) in damaged {
            let used = if damage.used { "yes" } else { "no" };
            csv.write_record([id, damage.part.name(), used, &damage.reason])?;
        }
        csv.into_inner().map_err(csv::IntoInnerError::into_error)
    };
    save(folder.broken(), csv())
}
