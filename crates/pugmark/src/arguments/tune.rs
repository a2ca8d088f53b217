use std::path::PathBuf;

use clap::{Args, value_parser};
use pugmark_tune::SAMPLERS;

use super::{ConfigFlags, StorageFlags, TrainFlags};

/// Search the settings of a training
///
/// `--search NAME=VALUES ...` names what is searched, any setting of `pugmark train` by its flag or key: `0.1..0.5`, `2..5`,
/// `log(1e-3,1e-1)`, `reverse-log(0.9,0.999)` or `a,b,c`; a word more makes it depend on another: `"momentum=0.8..0.99 if
/// optimiser=sgd"`. `--space FILE` takes SageMaker's ParameterRanges as JSON. What is not searched is fixed by the flags of a training.
///
/// Each trial is a run, STUDY/trial-0000 and so on, of the same split. STUDY/journal.jsonl knows them all: Ctrl-C or a kill loses no
/// trial, and `--resume STUDY` goes on. The same call again with its `--out`, in another process or on another machine that sees the folder, joins
/// the study. STUDY/best.toml trains the best trial again, STUDY/study.html shows what was found.
#[derive(Args, Debug)]
pub(crate) struct TuneArguments {
    /// The data set, as for `pugmark train`
    #[arg(value_name = "DATA", conflicts_with = "data")]
    pub(crate) dataset: Option<PathBuf>,

    /// What is searched, such as `"lr=log(1e-3,1e-1)" batch=16,32,64,128 epochs=2..5`
    #[arg(long, value_name = "NAME=VALUES", num_args = 1.., conflicts_with = "space", help_heading = "Search")]
    pub(crate) search: Vec<String>,

    /// A JSON file with SageMaker's ParameterRanges
    #[arg(long, value_name = "FILE", help_heading = "Search")]
    pub(crate) space: Option<PathBuf>,

    /// Trials in all [default: 20]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), help_heading = "Search")]
    pub(crate) trials: Option<u32>,

    /// What is the best trial: the metric of its best model on the validation part [default: log-loss]
    #[arg(long, value_name = "METRIC", value_parser = ["log-loss", "accuracy", "macro-f1"], help_heading = "Search")]
    pub(crate) objective: Option<String>,

    /// What proposes the settings of a trial; `auto` is `gp` for 100 trials and `tpe` behind them [default: auto]
    #[arg(long, value_name = "NAME", value_parser = SAMPLERS, help_heading = "Search")]
    pub(crate) sampler: Option<String>,

    /// What ends trials that promise nothing, after an epoch [default: none]
    #[arg(long, value_name = "NAME", value_parser = ["none", "median", "halving", "hyperband"], help_heading = "Search")]
    pub(crate) pruner: Option<String>,

    /// Trials at once, in all processes together; a proposal knows the trials before the other workers' [default: 1]
    #[arg(long, value_name = "W", value_parser = value_parser!(u32).range(1..=64), help_heading = "Search")]
    pub(crate) workers: Option<u32>,

    /// Those of them that this process runs, each with its share of `--threads` [default: all]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=64), help_heading = "Search")]
    pub(crate) local_workers: Option<u32>,

    /// Begin no trial once one is as good as this
    #[arg(long, value_name = "X", allow_negative_numbers = true, help_heading = "Search")]
    pub(crate) target: Option<f64>,

    /// Begin no trial after so many in a row that were no better
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), help_heading = "Search")]
    pub(crate) patience: Option<u32>,

    /// Earlier studies, whose trials the sampler knows where they lie in this space
    #[arg(long, value_name = "STUDY", num_args = 1.., help_heading = "Search")]
    pub(crate) warm_start: Vec<PathBuf>,

    /// Train the best settings once more at the end, with the next seed on the same split, into STUDY/best, and measure that on the
    /// test part
    #[arg(long, help_heading = "Search")]
    pub(crate) retrain_best: bool,

    /// Folder of the study [default: runs/NAME-study-1, or the next free number]
    #[arg(long, value_name = "STUDY")]
    pub(crate) out: Option<PathBuf>,

    /// Go on with a study, or help with it; more `--trials` make it longer
    #[arg(long, value_name = "STUDY")]
    #[arg(conflicts_with_all = ["out", "search", "space", "objective", "sampler", "pruner", "workers", "warm_start", "config", "recipe"])]
    pub(crate) resume: Option<PathBuf>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) storage: StorageFlags,

    #[command(flatten)]
    pub(crate) training: TrainFlags,
}
