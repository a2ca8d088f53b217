use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use pugmark_data::formats::Format;

/// Rewrite labels or predictions in another tool's format
///
/// IN is a file or folder of labels, or the CSV that `pugmark predict --out` wrote; its format is found from what is in it.
/// Photos are not copied, changed or looked for. What the other format cannot hold is listed, never dropped in silence,
/// and nothing that it demands is invented. `docs/formats.md` has the formats one by one.
#[derive(Args, Debug)]
pub(crate) struct ConvertArguments {
    /// Labels or predictions
    #[arg(value_name = "IN")]
    pub(crate) input: PathBuf,

    /// Format to write
    #[arg(long, value_name = "FORMAT", value_parser = formats(Format::is_written))]
    pub(crate) to: Format,

    /// Format of IN, instead of finding it out
    #[arg(long, value_name = "FORMAT", value_parser = formats(Format::is_read))]
    pub(crate) from: Option<Format>,

    /// File to write, or folder for camtrap-dp
    #[arg(long, value_name = "PATH")]
    pub(crate) out: PathBuf,

    /// Replace what is there
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Folder that the photos are below [default: the folder of IN]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) photos: Option<PathBuf>,

    /// What IN calls a photo without an animal, if not what its format does
    #[arg(long, value_name = "WORD")]
    pub(crate) blank_word: Option<String>,

    /// The model that made the predictions in IN, if IN does not say
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,

    /// For camtrap-dp: how far the cameras' clocks are ahead of UTC, such as +02:00
    #[arg(long, value_name = "OFFSET", allow_hyphen_values = true, value_parser = offset)]
    pub(crate) timezone: Option<i32>,

    /// For camtrap-dp: TOML file about the project
    #[arg(long, value_name = "FILE")]
    pub(crate) metadata: Option<PathBuf>,

    /// For camtrap-dp: CSV with the columns deploymentID,latitude,longitude
    #[arg(long, value_name = "FILE")]
    pub(crate) deployments: Option<PathBuf>,

    /// For submission: the competition's submission_format.csv
    #[arg(long, value_name = "FILE")]
    pub(crate) submission_format: Option<PathBuf>,
}

/// The names of the formats that `is_meant` takes.
pub(super) fn formats(is_meant: fn(Format) -> bool) -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.into_iter().filter(move |format| is_meant(*format)).map(|format| {
        let name = PossibleValue::new(format.name());
        if format == Format::Csv { name.alias("zamba") } else { name }
    });
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
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
