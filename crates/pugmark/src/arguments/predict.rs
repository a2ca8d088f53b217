use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum, value_parser};
use pugmark_eval::Combine;

use super::eval::share;
use super::prepare::margin;
use super::{ConfigFlags, EnsembleFlags, FormatFlags, InferenceFlags, StorageFlags};

/// Classify photos
///
/// One photo gives its most likely classes. A folder (with all folders below it) or several photos give a CSV with one row a
/// photo: id, the probability of each class, whether the file was cut off, and the reason where a photo cannot be read.
/// Such photos do not stop the work.
///
/// With `--out`, every answer is kept at once in OUT.journal. The same command goes on there after any kill; with
/// `--overwrite` it also takes up a folder that has grown, or writes another format, and looks at no photo twice, whatever
/// its name is by then.
#[derive(Args, Debug)]
pub(crate) struct PredictArguments {
    /// A run folder or a model file
    pub(crate) run: PathBuf,

    /// Photos, folders of photos and folders that `pugmark prepare` has written (each also s3://), patterns such as
    /// 'card/**/*.JPG', and lists: text files (.txt) with a photo or a folder a line
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<PathBuf>,

    /// File to write instead of stdout
    #[arg(long, value_name = "PATH", conflicts_with = "json")]
    pub(crate) out: Option<PathBuf>,

    /// What to write; with several, `--out` is a folder that gets a file of each [default: csv]
    #[arg(long, value_name = "FORMAT,...", value_delimiter = ',', value_enum, requires = "out")]
    pub(crate) format: Vec<OutputFormat>,

    /// Replace what is there
    #[arg(long, requires = "out")]
    pub(crate) overwrite: bool,

    /// Look again at photos that could not be read
    #[arg(long, requires = "out")]
    pub(crate) retry_failed: bool,

    /// Print one JSON object a line for each photo
    #[arg(long)]
    pub(crate) json: bool,

    /// Classes of one photo, and of a photo's JSON [default: 5, and all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..).map(usize::from))]
    pub(crate) top: Option<usize>,

    /// Name all classes that one must reckon with: the set holds the true class of this share of the photos, if they are like
    /// those that the run was measured on (in the table of one photo and in JSON)
    #[arg(long, value_name = "X", value_parser = share, conflicts_with_all = ["with", "mirrored", "by_burst"])]
    pub(crate) sets: Option<f64>,

    /// Give the frames of a burst one answer: the mean, the geometric mean or the maximum of theirs; which frames are one is
    /// known from capture times and cameras
    #[arg(long, value_name = "HOW", requires = "out")]
    #[arg(value_parser = PossibleValuesParser::new(Combine::ALL.map(Combine::name)))]
    pub(crate) by_burst: Option<String>,

    /// Seconds from one frame of a burst to the next at most
    #[arg(long, value_name = "SECONDS", default_value = "60", requires = "by_burst")]
    pub(crate) burst_gap: u32,

    #[command(flatten)]
    pub(crate) boxes: BoxFlags,

    #[command(flatten)]
    pub(crate) formats: FormatFlags,

    #[command(flatten)]
    pub(crate) sort: SortFlags,

    #[command(flatten)]
    pub(crate) ensemble: EnsembleFlags,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    #[command(flatten)]
    pub(crate) inference: InferenceFlags,
}

/// A detector's results.
#[derive(Args, Debug)]
#[command(next_help_heading = "Boxes")]
pub(crate) struct BoxFlags {
    /// MegaDetector results for these photos: look at each animal's box by itself, for a model that was trained on such crops
    /// (`pugmark prepare --crop`)
    #[arg(long, value_name = "FILE", requires = "out", conflicts_with = "by_burst")]
    pub(crate) boxes: Option<PathBuf>,

    /// Boxes that the detector is less sure of do not count [default: what FILE says, or 0.2]
    #[arg(long, value_name = "P", value_parser = share, requires = "boxes")]
    pub(crate) box_threshold: Option<f64>,

    /// What of its surroundings is cut out with a box, on each side, in shares of its longer side: as in `prepare --crop`
    #[arg(long, value_name = "MARGIN", value_parser = margin, default_value = "0.1", requires = "boxes")]
    pub(crate) box_margin: f64,
}

/// Photos by what is on them.
#[derive(Args, Debug)]
#[command(next_help_heading = "Sorting")]
pub(crate) struct SortFlags {
    /// Put each photo into a folder of its class below this one; nothing there is replaced
    #[arg(long, value_name = "FOLDER", requires = "out")]
    pub(crate) sort_into: Option<PathBuf>,

    /// How
    #[arg(long, value_name = "HOW", value_enum, default_value = "copy", requires = "sort_into")]
    pub(crate) sort_how: SortHow,

    /// Photos whose class is less probable go into `unsure`
    #[arg(long, value_name = "P", default_value = "0", requires = "sort_into")]
    pub(crate) sort_sure: f32,
}

/// What predictions are written as.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutputFormat {
    /// One row a photo, one column a class
    Csv,
    /// One JSON object a photo
    Jsonl,
    /// Rows and columns of `--submission-format`
    Submission,
    /// MegaDetector results, for Timelapse and AddaxAI
    Megadetector,
    /// A Camtrap DP package
    CamtrapDp,
    /// SpeciesNet predictions
    Speciesnet,
}

/// How photos get into the folder of their class.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SortHow {
    /// A copy of each
    Copy,
    /// Another name for the same file, on the same disk
    HardLink,
    /// A link to each
    Symlink,
    /// The photo itself, which is then no longer where it was
    Move,
}
