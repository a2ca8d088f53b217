//! Flags of `pugmark sagemaker`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum, value_parser};

/// Run SageMaker's jobs, on this machine or on AWS
///
/// `local` needs neither AWS nor Docker. Every other word, such as `train` or `deploy`, is for AWS and is handed to the program
/// `pugmark-sagemaker`, beside this one or on PATH.
#[derive(Args, Debug)]
pub(crate) struct SagemakerArguments {
    #[command(subcommand)]
    pub(crate) command: SagemakerCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum SagemakerCommand {
    /// Run SageMaker's jobs on this machine, without AWS and without Docker
    Local(Box<LocalArguments>),
    /// Print the `MetricDefinitions` for the lines of a training, as JSON
    Metrics,
    #[command(external_subcommand)]
    Aws(Vec<OsString>),
}

/// Run SageMaker's jobs on this machine, without AWS and without Docker
///
/// Builds the tree `/opt/ml` of each instance in a folder and runs this same program under it, as the platform would: File-mode
/// channels, hyperparameters as strings, checkpoints that are copied while it trains, SIGTERM and SIGKILL. What S3 would hold is in
/// `--out`, a folder a job; its `job.json` says what `Describe...Job` would. docs/sagemaker-local.md has examples.
#[derive(Args, Debug)]
pub(crate) struct LocalArguments {
    #[command(subcommand)]
    pub(crate) command: LocalCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum LocalCommand {
    Train(LocalTrainArguments),
    Process(LocalProcessArguments),
    Tune(LocalTuneArguments),
    Transform(LocalTransformArguments),
    Endpoint(LocalEndpointArguments),
}

/// What every job has.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Job")]
pub(crate) struct JobFlags {
    /// The job's name, by SageMaker's rule; a job that exists is refused [default: the verb, `-` and the next free number]
    #[arg(long, value_name = "NAME")]
    pub(crate) job: Option<String>,

    /// What stands for S3: a folder with a folder a job
    #[arg(long, value_name = "FOLDER", default_value = "sagemaker-local")]
    pub(crate) out: PathBuf,

    /// A variable of the container; of this shell's it sees but PATH and PUGMARK_ISA
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(crate) env: Vec<(String, String)>,

    /// Leave the trees of the instances behind, to look into
    #[arg(long)]
    pub(crate) keep: bool,

    /// Mount the tree at `/opt/ml` itself, in a namespace of its own (`unshare`, Linux), in place of SAGEMAKER_BASE_DIR
    #[arg(long)]
    pub(crate) isolate: bool,
}

/// What a training job has.
#[derive(Args, Debug)]
#[command(next_help_heading = "Training")]
pub(crate) struct TrainingJobFlags {
    /// An input channel, such as `train=photos`: a folder, or a file such as weights
    #[arg(long, value_name = "NAME=PATH", required = true, value_parser = channel)]
    pub(crate) channel: Vec<(String, PathBuf)>,

    /// Hyperparameters, such as `epochs=5 learning-rate=0.01`
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair)]
    pub(crate) set: Vec<(String, String)>,

    /// Encode the hyperparameters as JSON and add `sagemaker_...` ones, as the Python SDK does
    #[arg(long)]
    pub(crate) sdk: bool,

    /// A metric by its regular expression, whose first group is the number [default: those of `pugmark sagemaker metrics`]
    #[arg(long, value_name = "NAME=REGEX", value_parser = pair)]
    pub(crate) metric: Vec<(String, String)>,

    /// Seconds of training after which it is stopped
    #[arg(long, value_name = "S", default_value_t = 86_400, value_parser = value_parser!(u64).range(1..=2_419_200))]
    pub(crate) max_runtime: u64,

    /// Train on instances that may be taken away
    #[arg(long)]
    pub(crate) spot: bool,

    /// Take the instance away so many seconds after the job's first start: SIGTERM, 120 s, SIGKILL, and start again on another one;
    /// may be given several times
    #[arg(long, value_name = "S", requires = "spot", value_parser = seconds)]
    pub(crate) interrupt_after: Vec<Duration>,

    /// Lose the instance at once (SIGKILL): only what of the checkpoints was copied by then is left; may be given several times
    #[arg(long, value_name = "S", requires = "spot", value_parser = seconds)]
    pub(crate) lose_after: Vec<Duration>,

    /// Seconds from the job's start to its end with all waiting [default: as --max-runtime]
    #[arg(long, value_name = "S", requires = "spot")]
    pub(crate) max_wait: Option<u64>,
}

/// Run a training job
///
/// The container is `pugmark train` without any other word. Each `--channel` is linked into its `/opt/ml/input/data`, and what it leaves
/// in `/opt/ml/model` and `/opt/ml/output/data` comes to OUT/JOB/output/model.tar.gz and output.tar.gz. `/opt/ml/checkpoints` is copied
/// to OUT/JOB/checkpoints every few seconds and back to a new instance. Ctrl-C is StopTrainingJob: SIGTERM, 120 s to save, SIGKILL; a
/// second Ctrl-C kills at once.
#[derive(Args, Debug)]
pub(crate) struct LocalTrainArguments {
    #[command(flatten)]
    pub(crate) training: TrainingJobFlags,

    /// Print `job.json` at the end
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

/// How a processing job's input comes to several instances.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Distribution {
    /// Every instance sees everything
    FullyReplicated,
    /// Every instance sees its share of the objects
    ShardedByS3Key,
}

/// Run a processing job
///
/// The container is `pugmark` with the words behind `--`, where `/opt/ml/processing/input/NAME` is the `--input` of that name and what is
/// written below `/opt/ml/processing/output` comes to OUT/JOB/output, from all instances.
#[derive(Args, Debug)]
pub(crate) struct LocalProcessArguments {
    /// An input, such as `data=photos`
    #[arg(long, value_name = "NAME=PATH", required = true, value_parser = channel)]
    pub(crate) input: Vec<(String, PathBuf)>,

    /// How the inputs come to several instances
    #[arg(long, value_enum, default_value_t = Distribution::FullyReplicated)]
    pub(crate) distribution: Distribution,

    /// Instances, which work side by side
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u8).range(1..=100))]
    pub(crate) instances: u8,

    /// What the container is to do, such as `prepare /opt/ml/processing/input/data --out /opt/ml/processing/output/prepared`
    #[arg(last = true, required = true, value_name = "VERB ARGUMENTS")]
    pub(crate) arguments: Vec<String>,

    /// Print `job.json` at the end
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

/// Run a tuning job
///
/// CONFIG is SageMaker's own HyperParameterTuningJobConfig. Each training is a job of its own, OUT/JOB-001-xxxxxxxx and so on, with the
/// hyperparameters that were proposed beside those of `--set`; its objective is read from its log.
#[derive(Args, Debug)]
pub(crate) struct LocalTuneArguments {
    /// SageMaker's HyperParameterTuningJobConfig as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,

    #[command(flatten)]
    pub(crate) training: TrainingJobFlags,

    /// Print `job.json` at the end
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

/// Run a batch transform job
///
/// The container is `pugmark serve`. Every file below the input folder is one request; its answer is OUT/JOB/output/FILE.out. A file that
/// is refused has none, and the job fails in the end with its name and the reason.
#[derive(Args, Debug)]
pub(crate) struct LocalTransformArguments {
    /// The model, as a training job leaves it
    #[arg(long, value_name = "MODEL.TAR.GZ")]
    pub(crate) model: PathBuf,

    /// Folder of photos
    #[arg(long, value_name = "FOLDER")]
    pub(crate) input: PathBuf,

    /// What an answer is
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    pub(crate) accept: String,

    /// Requests at once [default: what the container says]
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) max_concurrent_transforms: Option<u32>,

    /// MiB of a request [default: what the container says]
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u32).range(1..=100))]
    pub(crate) max_payload_in_mb: Option<u32>,

    /// Print `job.json` at the end
    #[arg(long)]
    pub(crate) json: bool,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

/// Run an endpoint
///
/// The container is `pugmark serve`, for this machine alone. The first line on stdout is the address, when GET /ping answers. Ctrl-C deletes
/// the endpoint: SIGTERM, 30 s to answer what was accepted, SIGKILL.
#[derive(Args, Debug)]
pub(crate) struct LocalEndpointArguments {
    /// The model, as a training job leaves it
    #[arg(long, value_name = "MODEL.TAR.GZ")]
    pub(crate) model: PathBuf,

    /// Port to listen on; 0 takes one that is free
    #[arg(long, value_name = "N", default_value_t = 8080)]
    pub(crate) port: u16,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

fn pair(word: &str) -> Result<(String, String), String> {
    match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=VALUE is meant".to_owned()),
    }
}

fn seconds(word: &str) -> Result<Duration, String> {
    let seconds = word.parse().ok().filter(|seconds| (0.0..=1e7).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "seconds are meant, such as 30 or 2.5".to_owned())
}

fn channel(word: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = pair(word)?;
    // SageMaker's rule for names of channels.
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.len() > 64 || !name.chars().all(fits) || name.starts_with('.') || path.is_empty() {
        return Err(
            "NAME=PATH is meant, where NAME has up to 64 letters, digits, `.`, `_` and `-`".to_owned()
        );
    }
    Ok((name, path.into()))
}
