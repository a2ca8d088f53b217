use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, value_parser};
use pugmark_engine::DeviceChoice;
use pugmark_graph::Architecture;

use super::PRECISIONS;

/// Measure the speed of a training or inference step
///
/// The batch is random and stays in memory: reading and decoding photos is no part of the figure, unless `--photos` asks
/// what they cost.
#[derive(Args, Debug)]
pub(crate) struct BenchArguments {
    /// Architecture
    #[arg(long, value_name = "NAME", default_value = "resnet18")]
    #[arg(value_parser = PossibleValuesParser::new(Architecture::ALL.map(Architecture::name)))]
    pub(crate) model: String,

    /// Images in a step
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = value_parser!(u32).range(1..))]
    pub(crate) batch: u32,

    /// Pixels a side
    #[arg(long, value_name = "PIXELS", default_value_t = 224, value_parser = value_parser!(u32).range(1..))]
    pub(crate) image_size: u32,

    /// Classes of the head
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u32).range(1..))]
    pub(crate) classes: u32,

    /// A training step: forward, backward, AdamW (the default)
    #[arg(long, conflicts_with = "infer")]
    pub(crate) train: bool,

    /// A forward pass alone
    #[arg(long)]
    pub(crate) infer: bool,

    /// Steps measured; the figure is their median
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u32).range(1..))]
    pub(crate) steps: u32,

    /// Steps before the measured ones
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) warmup: u32,

    /// Memory format of activations; auto is bf16 where the processor multiplies it
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    #[arg(value_parser = PossibleValuesParser::new(PRECISIONS))]
    pub(crate) precision: String,

    /// What computes: cpu, cuda (or cuda:N, the GPU of that number), auto (a GPU where there is one)
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceChoice::Cpu)]
    pub(crate) device: DeviceChoice,

    /// Threads that compute; 0 takes every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) threads: u32,

    /// Train on the photos below this folder as well, in turn with the batch in memory, and say which share of the speed
    /// is left
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["infer", "operators"])]
    pub(crate) photos: Option<PathBuf>,

    /// Turns of `--photos`; the figure is their median
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// Threads that read and decode photos; 0 takes every core
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) loader_threads: u32,

    /// List what each operator took, beside the machine's measured peak
    #[arg(long)]
    pub(crate) operators: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
