//! When a photo was taken.

use std::fmt;
use std::str::FromStr;

use chrono::{FixedOffset, NaiveDateTime, TimeDelta};

/// When a photo was taken, on the clock of its camera.
///
/// Cameras rarely know their time zone. Where a file gives one it is kept; it is never guessed, and order and
/// gaps are those of the camera's clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct CaptureTime {
    /// What the camera's clock showed.
    pub local: NaiveDateTime,
    /// How far that clock is ahead of UTC, in minutes, where the file says so.
    pub offset_minutes: Option<i32>,
}

impl CaptureTime {
    /// How long after `earlier` it is on the camera's clock; negative where it is before.
    pub fn since(self, earlier: Self) -> TimeDelta {
        self.local - earlier.local
    }
}

/// A text that is no time.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not a time such as 2022-12-31 09:52:50 or 2022-12-31T09:52:50+02:00")]
pub struct TimeError(String);

impl FromStr for CaptureTime {
    type Err = TimeError;

    /// Reads EXIF's `2022:12:31 09:52:50`, COCO Camera Traps' `2022-12-31 09:52:50` and ISO 8601 with `T`, with or
    /// without parts of a second, `Z` or an offset such as `+02:00` or `+0200`.
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError(text.to_owned());
        let trimmed = text.trim();
        let (clock, zone) = match trimmed.get(19..).and_then(|rest| rest.find(['+', '-', 'Z', 'z'])) {
            Some(at) => trimmed.split_at(19 + at),
            None => (trimmed, ""),
        };
        let forms = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y:%m:%d %H:%M:%S%.f"];
        let local = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(clock.trim_end(), form).ok());
        let offset_minutes = match zone {
            "" => None,
            "Z" | "z" => Some(0),
            offset => Some(offset.parse::<FixedOffset>().map_err(|_| wrong())?.local_minus_utc() / 60),
        };
        Ok(Self { local: local.ok_or_else(wrong)?, offset_minutes })
    }
}

impl fmt::Display for CaptureTime {
    /// ISO 8601: `2022-12-31T09:52:50`, followed by `+02:00` where the offset is known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local.format("%Y-%m-%dT%H:%M:%S%.f"))?;
        let Some(minutes) = self.offset_minutes else { return Ok(()) };
        let sign = if minutes < 0 { '-' } else { '+' };
        write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::CaptureTime;

    #[test]
    fn times_are_read_in_every_form_and_written_in_one() {
        for (text, written) in [
            ("2022:12:31 09:52:50", "2022-12-31T09:52:50"),
            ("2022-12-31 09:52:50", "2022-12-31T09:52:50"),
            ("2022-12-31T09:52:50Z", "2022-12-31T09:52:50+00:00"),
            ("2022-12-31T09:52:50+02:00", "2022-12-31T09:52:50+02:00"),
            ("2022-12-31T09:52:50-0330", "2022-12-31T09:52:50-03:30"),
            ("2022-12-31T09:52:50.250+05:30", "2022-12-31T09:52:50.250+05:30"),
        ] {
            let time: CaptureTime = text.parse().unwrap();
            assert_eq!(time.to_string(), written);
            assert_eq!(written.parse(), Ok(time));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "0000:00:00 00:00:00", "2022-13-31 09:52:50", "2022-12-31", "2022-12-31T09:52:50+2h"]
        {
            assert!(text.parse::<CaptureTime>().unwrap_err().to_string().contains(text));
        }
    }

    #[test]
    fn gaps_are_those_of_the_cameras_clock() {
        let [first, second]: [CaptureTime; 2] =
            ["2022:12:31 23:59:50", "2023-01-01T00:00:20Z"].map(|text| text.parse().unwrap());
        assert_eq!(second.since(first).num_seconds(), 30);
    }
}
