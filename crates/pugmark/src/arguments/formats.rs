use std::path::PathBuf;

use clap::Args;
use pugmark_data::formats::WriteOptions;

/// What some formats demand that no photo says.
#[derive(Args, Debug)]
#[command(next_help_heading = "Formats")]
pub(crate) struct FormatFlags {
    /// For camtrap-dp: how far the cameras' clocks are ahead of UTC, such as +02:00
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = offset)]
    timezone: Option<i32>,

    /// For camtrap-dp: TOML file about the project
    #[arg(long, value_name = "FILE")]
    metadata: Option<PathBuf>,

    /// For camtrap-dp: CSV with the columns deploymentID,latitude,longitude
    #[arg(long, value_name = "FILE")]
    deployments: Option<PathBuf>,

    /// For submission: the competition's submission_format.csv
    #[arg(long, value_name = "FILE")]
    submission_format: Option<PathBuf>,
}

impl FormatFlags {
    /// As the writers take them.
    pub(crate) fn options(&self) -> WriteOptions {
        WriteOptions {
            offset_minutes: self.timezone,
            metadata: self.metadata.clone(),
            deployments: self.deployments.clone(),
            submission_format: self.submission_format.clone(),
        }
    }
}

/// Minutes from a text such as `+02:00` or `Z`.
fn offset(text: &str) -> Result<i32, String> {
    if text.eq_ignore_ascii_case("z") {
        return Ok(0);
    }
    let wrong = || format!("`{text}` is no time zone such as +02:00");
    let sign = match text.chars().next() {
        Some('+') => 1,
        Some('-') => -1,
        _ => return Err(wrong()),
    };
    let digits = text[1..].replace(':', "");
    if digits.len() != 4 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(wrong());
    }
    // Four digits, as was just seen.
    let number: i32 = digits.parse().map_err(|_| wrong())?;
    let (hours, minutes) = (number / 100, number % 100);
    if hours > 14 || minutes > 59 { Err(wrong()) } else { Ok(sign * (hours * 60 + minutes)) }
}
