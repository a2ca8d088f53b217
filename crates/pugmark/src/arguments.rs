//! What can be written on the command line. These types only describe flags; `settings` gives them their values.

mod bench;
mod check;
mod convert;
mod data;
mod doctor;
mod ensemble;
mod eval;
mod explain;
mod export;
mod formats;
mod predict;
mod prepare;
mod recipes;
mod report;
mod sagemaker;
mod serve;
mod split;
mod storage;
mod train;
mod tune;
mod watch;
mod weights;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, value_parser};
use pugmark_engine::DeviceChoice;
use serde::Serialize;

pub(crate) use bench::BenchArguments;
pub(crate) use check::CheckArguments;
pub(crate) use convert::ConvertArguments;
use data::DataFlags;
pub(crate) use data::ReadFlags;
pub(crate) use doctor::DoctorArguments;
pub(crate) use ensemble::EnsembleFlags;
pub(crate) use eval::EvalArguments;
pub(crate) use explain::{ExplainArguments, ExplainMethod};
pub(crate) use export::{ExportArguments, Format};
pub(crate) use formats::FormatFlags;
pub(crate) use predict::{BoxFlags, OutputFormat, PredictArguments, SortHow};
pub(crate) use prepare::PrepareArguments;
pub(crate) use recipes::RecipesArguments;
pub(crate) use report::ReportArguments;
pub(crate) use sagemaker::{
    Distribution, JobFlags, LocalArguments, LocalCommand, LocalEndpointArguments, LocalProcessArguments,
    LocalTrainArguments, LocalTransformArguments, LocalTuneArguments, SagemakerArguments, SagemakerCommand,
    TrainingJobFlags,
};
pub(crate) use serve::{AnswerShape, LogChoice, ServeArguments, ShadowFlag};
pub(crate) use split::{SplitArguments, SplitFlags};
pub(crate) use storage::StorageFlags;
pub(crate) use train::{TrainArguments, TrainFlags};
pub(crate) use tune::TuneArguments;
pub(crate) use watch::WatchArguments;
pub(crate) use weights::{WeightsArguments, WeightsCommand};

use crate::container;
use crate::settings;

const EXIT: &str = "Exit status: 0 done, 1 the work failed, 2 the call was wrong, 130 interrupted.
Results go to stdout, progress and messages to stderr.";

/// From a folder of photos to an image classifier you can trust
#[derive(Parser, Debug)]
#[command(name = "pugmark", version, max_term_width = 100, after_help = EXIT, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say only results, warnings and errors
    #[arg(long, short, global = true, display_order = 1000)]
    pub(crate) quiet: bool,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Draw a small camera-trap world, train on it and show why the split matters (no download)
    Demo(DemoArguments),
    /// Show what a data set holds, what is broken and what a split of it would give away
    Check(Box<CheckArguments>),
    /// Split a data set into train, val and test, or into folds
    Split(SplitArguments),
    /// Resize photos once and pack them into shards to train from, on disk or in a bucket
    Prepare(PrepareArguments),
    /// Train a classifier on labelled photos
    Train(Box<TrainArguments>),
    /// Search the settings of a training
    Tune(Box<TuneArguments>),
    /// List the recipes of a training, or print one to copy and change
    Recipes(RecipesArguments),
    /// Measure a trained classifier
    Eval(EvalArguments),
    /// Draw a run, or several to compare, as a page
    Report(ReportArguments),
    /// Show what went wrong in a training, and what to try
    Watch(WatchArguments),
    /// Classify photos
    Predict(PredictArguments),
    /// Show where a classifier looks, and whether that is what it goes by
    Explain(ExplainArguments),
    /// Answer over HTTP, with a page to drop photos on
    Serve(ServeArguments),
    /// Write a model for other tools, checked against its own answers
    Export(ExportArguments),
    /// Rewrite labels or predictions in another tool's format
    Convert(ConvertArguments),
    /// List, fetch and verify published weights to start a training from
    Weights(WeightsArguments),
    /// Run SageMaker's jobs, on this machine or on AWS
    Sagemaker(SagemakerArguments),
    /// Show what pugmark finds on this machine
    Doctor(DoctorArguments),
    /// Measure the speed of a training or inference step
    Bench(BenchArguments),
}

#[derive(Args, Debug)]
pub(crate) struct DemoArguments {
    /// Folder to write the demo's photos and runs to
    #[arg(long, value_name = "FOLDER", default_value = "pugmark-demo")]
    pub(crate) out: PathBuf,

    /// Replace an earlier demo in that folder
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// Only draw the photos, and train nothing
    #[arg(long)]
    pub(crate) world_only: bool,

    /// Sites to train on, with 50 photos each
    #[arg(long, value_name = "N", default_value = "36", value_parser = value_parser!(u16).range(2..=1000))]
    #[arg(requires = "world_only")]
    pub(crate) sites: u16,

    /// How large animals are, 1 as in the demo
    #[arg(long, value_name = "X", default_value = "1", value_parser = animals, requires = "world_only")]
    pub(crate) animals: f32,

    /// Another seed draws another world
    #[arg(long, value_name = "N", default_value = "0", requires = "world_only")]
    pub(crate) seed: u64,
}

fn animals(word: &str) -> Result<f32, String> {
    let size = word.parse().ok().filter(|size| (0.1..=2.0).contains(size));
    size.ok_or_else(|| "it is a number from 0.1 to 2".to_owned())
}

/// Names of memory formats of activations.
const PRECISIONS: [&str; 3] = ["auto", "f32", "bf16"];

/// How photos are run through a model.
#[derive(Args, Serialize, Debug, Default)]
#[command(next_help_heading = "Machine")]
pub(crate) struct InferenceFlags {
    /// Photos in one step
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    batch_size: Option<u32>,

    /// Memory format of activations: bf16 moves probabilities in the third digit, and is faster where the processor
    /// multiplies it (auto: there alone)
    #[arg(long, value_name = "FORMAT", value_parser = PossibleValuesParser::new(PRECISIONS))]
    precision: Option<String>,

    /// What computes: cpu, cuda (or cuda:N, the GPU of that number), auto (a GPU where there is one)
    #[arg(long, value_name = "DEVICE")]
    device: Option<DeviceChoice>,

    /// Threads that compute; 0 takes every core
    #[arg(long, value_name = "N")]
    threads: Option<u32>,

    /// Threads that read and decode photos; 0 takes every core
    #[arg(long, value_name = "N")]
    loader_threads: Option<u32>,
}

/// Where the settings of a verb come from besides its flags.
#[derive(Args, Debug)]
pub(crate) struct ConfigFlags {
    /// TOML file with settings, named as the flags with `_` for `-`
    ///
    /// A flag goes before a `PUGMARK_*` variable, that before this file, that before the recipe of a training, and that
    /// before the default. The `config.toml` of a run repeats its training.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The whole command line, with variable and default of every setting in its help.
pub(crate) fn command() -> clap::Command {
    settings::document(Arguments::command())
}

/// Reads the command line. Help, version and wrong calls end the process here.
pub(crate) fn parse() -> Arguments {
    let parsed = command().try_get_matches().and_then(|matches| Arguments::from_arg_matches(&matches));
    parsed.unwrap_or_else(|error| {
        if error.use_stderr() {
            container::tell_failure(&error.to_string());
        }
        error.exit()
    })
}
