use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};
use serde::Serialize;

use super::{ConfigFlags, InferenceFlags, StorageFlags};

/// Show where a classifier looks, and whether that is what it goes by
///
/// Writes a picture for each photo into the folder: what the model sees, and beside it a heat map; explain.jsonl has the figures,
/// one JSON object a line. A heat map always looks convincing, so each is put to the test: the most important parts of the photo are
/// taken away (deletion: the lower the better), or shown one after the other (insertion: the higher the better), and random
/// orders of the same parts stand beside it.
#[derive(Args, Debug)]
pub(crate) struct ExplainArguments {
    /// A run folder or a model file
    pub(crate) run: PathBuf,

    /// Photos, folders of photos and folders that `pugmark prepare` has written (each also s3://), patterns such as
    /// 'card/**/*.JPG', and lists: text files (.txt) with a photo or a folder a line
    #[arg(required = true, value_name = "SOURCE")]
    pub(crate) sources: Vec<PathBuf>,

    /// Folder to write to, new or empty
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: PathBuf,

    /// Replace an earlier explanation in that folder
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Class to explain, whatever the photo is taken for (unset: the most probable one)
    #[arg(long, value_name = "NAME")]
    pub(crate) class: Option<String>,

    /// How a map is made
    #[arg(long, value_enum, default_value_t = ExplainMethod::GradCam)]
    pub(crate) method: ExplainMethod,

    /// Random orders beside each map; 0 leaves out deletion and insertion
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u16).range(..=1000))]
    pub(crate) random_orders: u16,

    /// Also tell how like each map is to that of the same model with a random head, and with all weights random: one that
    /// stays the same says nothing about what was learnt
    #[arg(long)]
    pub(crate) sanity: bool,

    /// Print one JSON object a line for each photo
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) patches: PatchFlags,

    #[command(flatten)]
    pub(crate) shap: ShapFlags,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    #[command(flatten)]
    pub(crate) inference: InferenceFlags,
}

/// How a map is made.
#[derive(ValueEnum, Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ExplainMethod {
    /// What of the last feature map speaks for the class: fast, and coarse
    GradCam,
    /// What the class loses when a patch of the photo is covered
    Occlusion,
    /// What each of some segments adds to the class: KernelSHAP, as SageMaker Clarify does it
    Shap,
}

/// Settings of occlusion.
#[derive(Args, Debug)]
#[command(next_help_heading = "With --method occlusion")]
pub(crate) struct PatchFlags {
    /// Pixels on a side of a patch (unset: a seventh of what the model sees)
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..))]
    pub(crate) patch: Option<u16>,

    /// Pixels from one patch to the next (unset: half a patch)
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..))]
    pub(crate) stride: Option<u16>,
}

/// Settings of SHAP.
#[derive(Args, Debug)]
#[command(next_help_heading = "With --method shap")]
pub(crate) struct ShapFlags {
    /// Segments (SLIC superpixels), about [default: 20]
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=500))]
    pub(crate) segments: Option<u16>,

    /// The more, the squarer the segments; the less, the closer they follow colours [default: 5]
    #[arg(long, value_name = "X", value_parser = compactness)]
    pub(crate) compactness: Option<f32>,

    /// Combinations of segments the model is asked about, for each photo [default: 500]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(2..=1_000_000))]
    pub(crate) samples: Option<u32>,
}

fn compactness(word: &str) -> Result<f32, String> {
    let value = word.parse().ok().filter(|value| (0.001..=10_000.0).contains(value));
    value.ok_or_else(|| "it is a number from 0.001 to 10000".to_owned())
}
