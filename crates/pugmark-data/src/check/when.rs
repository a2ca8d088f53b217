//! When photos were taken, and clocks that were never set.

use chrono::{Datelike, NaiveDate, NaiveDateTime, TimeDelta, Timelike};
use serde::Serialize;

use crate::dataset::Dataset;
use crate::scan::PhotoFacts;
use crate::time::CaptureTime;

/// When the photos of a data set were taken, on the clocks of their cameras.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Times {
    /// Photos of which the time is known.
    pub known: usize,
    /// The earliest.
    pub first: Option<String>,
    /// The latest.
    pub last: Option<String>,
    /// Photos of each hour of the day, 0 to 23; empty where no time is known.
    pub hours: Vec<Hour>,
    /// Times that cannot be.
    pub impossible: Vec<ImpossibleTime>,
}

/// An hour of the day.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Hour {
    /// Photos taken in it.
    pub photos: usize,
    /// Those that are infrared frames.
    pub infrared: usize,
}

/// A photo whose time cannot be.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct ImpossibleTime {
    /// The photo.
    pub id: String,
    /// Its site, where that is known.
    pub site: Option<String>,
    /// What the clock showed.
    pub time: String,
    /// Why it cannot be.
    pub why: String,
}

impl Times {
    pub(super) fn new(
        dataset: &Dataset,
        times: &[Option<CaptureTime>],
        facts: Option<&[PhotoFacts]>,
        now: NaiveDateTime,
    ) -> Self {
        let mut hours = [Hour::default(); 24];
        let mut impossible = Vec::new();
        for (index, time) in times.iter().enumerate() {
            let Some(time) = time else { continue };
            let hour = &mut hours[time.local.hour() as usize];
            hour.photos += 1;
            let picture = facts.and_then(|facts| facts[index].picture.as_ref());
            hour.infrared += usize::from(picture.is_some_and(|picture| picture.infrared));
            if let Some(why) = why_impossible(time.local, now) {
                let sample = &dataset.samples[index];
                let (id, site) = (sample.id.clone(), sample.site.clone());
                impossible.push(ImpossibleTime { id, site, time: time.to_string(), why: why.to_owned() });
            }
        }
        impossible.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let all = || times.iter().flatten();
        let known = all().count();
        Self {
            known,
            first: all().min().map(ToString::to_string),
            last: all().max().map(ToString::to_string),
            hours: if known > 0 { hours.to_vec() } else { Vec::new() },
            impossible,
        }
    }
}

/// The first year that a digital camera trap may have written.
const FIRST_YEAR: i32 = 1995;

/// Days on which clocks start that were never set.
const STARTS: [(i32, u32, u32); 2] = [(2000, 1, 1), (2010, 1, 1)];

fn why_impossible(time: NaiveDateTime, now: NaiveDateTime) -> Option<&'static str> {
    let starts = |(year, month, day)| NaiveDate::from_ymd_opt(year, month, day) == Some(time.date());
    if time.year() < FIRST_YEAR {
        Some("before there were digital camera traps")
    } else if STARTS.into_iter().any(starts) {
        Some("the day on which clocks start that were never set")
    // A camera may be a time zone ahead.
    } else if time > now + TimeDelta::days(1) {
        Some("in the future")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::why_impossible;
    use crate::time::CaptureTime;

    #[test]
    fn clocks_that_were_never_set_are_told() {
        let time = |text: &str| text.parse::<CaptureTime>().unwrap().local;
        let now = time("2026-05-01 12:00:00");
        for (text, word) in [
            ("1970-01-01 00:00:00", Some("before")),
            ("2000-01-01 03:10:00", Some("never set")),
            ("2000-01-02 03:10:00", None),
            ("2009-04-23 00:07:00", None),
            ("2026-05-02 11:00:00", None),
            ("2026-05-02 13:00:00", Some("future")),
        ] {
            let why = why_impossible(time(text), now);
            assert_eq!(why.is_some(), word.is_some(), "{text}");
            assert!(why.unwrap_or_default().contains(word.unwrap_or_default()), "{text}: {why:?}");
        }
    }
}
