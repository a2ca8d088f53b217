//! Observations of events, which hold for the photos that were taken during them.

use chrono::{NaiveDateTime, TimeDelta};

use crate::dataset::{Note, counted};
use crate::formats::{Annotation, LabelledPhoto, Word};
use crate::time::CaptureTime;

/// An observation of an event.
pub(super) struct Event {
    pub(super) row: u64,
    pub(super) deployment: Option<Word>,
    pub(super) from: Option<CaptureTime>,
    pub(super) to: Option<CaptureTime>,
    pub(super) sequence: Option<Word>,
    pub(super) annotation: Annotation,
}

/// The photos of each deployment in order of time.
pub(super) struct Events {
    photos: Vec<(Word, NaiveDateTime, usize)>,
}

/// Time zones may differ within a package: compared in UTC, as far as that is known.
fn instant(time: CaptureTime) -> NaiveDateTime {
    time.local - TimeDelta::minutes(time.offset_minutes.unwrap_or(0).into())
}

impl Events {
    /// The photos that no observation is about yet.
    pub(super) fn new(photos: &[LabelledPhoto]) -> Self {
        let free = photos.iter().enumerate().filter(|(_, photo)| photo.annotations.is_empty());
        let placed =
            free.filter_map(|(index, photo)| Some((photo.deployment.clone()?, instant(photo.time?), index)));
        let mut photos: Vec<_> = placed.collect();
        photos.sort_unstable();
        Self { photos }
    }

    /// Labels the photos of each event; a note lists the events that have none.
    pub(super) fn apply(&self, events: Vec<Event>, photos: &mut [LabelledPhoto]) -> Option<Note> {
        let mut without = Vec::new();
        for event in events {
            let mut any = false;
            if let (Some(deployment), Some(from), Some(to)) = (&event.deployment, event.from, event.to) {
                let start = (deployment, instant(from));
                let first = self.photos.partition_point(|(place, time, _)| (place, *time) < start);
                let during = self.photos[first..].iter();
                for (_, _, index) in
                    during.take_while(|(place, time, _)| place == deployment && *time <= instant(to))
                {
                    let photo = &mut photos[*index];
                    photo.sequence = photo.sequence.take().or_else(|| event.sequence.clone());
                    photo.say(Annotation { of_sequence: true, ..event.annotation.clone() });
                    any = true;
                }
            }
            if !any {
                let name = event.sequence.as_deref().unwrap_or("no eventID");
                without.push(format!("{name} (row {})", event.row));
            }
        }
        let text = format!(
            "not used, every photo of the event having its own observations, or there being none: {}",
            counted(without.len(), "observation")
        );
        (!without.is_empty()).then_some(Note { text, items: without })
    }
}
