use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use pugmark_data::formats::Format;

use super::FormatFlags;

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

    #[command(flatten)]
    pub(crate) formats: FormatFlags,
}

/// The names of the formats that `is_meant` takes.
pub(super) fn formats(is_meant: fn(Format) -> bool) -> impl TypedValueParser<Value = Format> {
    let names = Format::ALL.into_iter().filter(move |format| is_meant(*format)).map(|format| {
        let name = PossibleValue::new(format.name());
        if format == Format::Csv { name.alias("zamba") } else { name }
    });
    PossibleValuesParser::new(names).try_map(|name| name.parse::<Format>())
}
