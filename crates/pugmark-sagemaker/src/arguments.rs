//! What can be written on the command line.

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::account::Account;
use crate::kinds::Kind;
use crate::names::{pair, seconds};

const EXIT: &str = "Exit status: 0 done, 1 the work failed or AWS refused, 2 the call was wrong.
`pugmark sagemaker local` runs the same jobs on this machine.";

/// Jobs and endpoints on AWS SageMaker
///
/// Every verb that makes something prints with `--dry-run` the requests it would send, and sends none.
#[derive(Parser, Debug)]
#[command(name = "pugmark sagemaker", version, max_term_width = 100, after_help = EXIT, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,

    #[command(flatten)]
    pub(crate) account: Account,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a verb of pugmark as a processing job: prepare, check, eval, predict
    Prepare(ProcessArguments),
    /// Train
    Train(TrainArguments),
    /// Search settings with a tuning job
    Tune(TuneArguments),
    /// Classify the photos of a bucket with a batch transform
    Predict(TransformArguments),
    /// Make or change an endpoint, which costs money until it is deleted
    Deploy(DeployArguments),
    /// Ask an endpoint about photos
    Invoke(InvokeArguments),
    /// List jobs or endpoints, the newest first
    List(ListArguments),
    /// Show all that SageMaker says of a job or an endpoint
    Describe(NamedArguments),
    /// Print the log of a job
    Logs(LogsArguments),
    /// Stop a job, several, or everything that runs
    Stop(StopArguments),
    /// Delete an endpoint with its configuration
    DeleteEndpoint(DeleteArguments),
    /// Show what runs now and what it costs an hour
    Cost(CostArguments),
    /// Make a CloudWatch dashboard of an endpoint, and alarms on its errors and latency
    Dashboard(DashboardArguments),
    /// Print the commands that put the image into ECR
    Image(ImageArguments),
}

/// Where a job or an endpoint runs, and as whom.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Where it runs")]
pub(crate) struct Place {
    /// Role that it runs as: arn:aws:iam::123456789012:role/NAME
    #[arg(long, value_name = "ARN", env = "PUGMARK_SAGEMAKER_ROLE")]
    pub(crate) role: String,

    /// Image in ECR
    #[arg(long, value_name = "URI", env = "PUGMARK_SAGEMAKER_IMAGE")]
    pub(crate) image: String,

    /// Instance type
    #[arg(long, value_name = "TYPE", default_value = "ml.c7i.2xlarge")]
    pub(crate) instance: String,

    /// Subnets of a VPC
    #[arg(long, value_name = "ID", value_delimiter = ',', requires = "security_groups")]
    pub(crate) subnets: Vec<String>,

    /// Security groups of the VPC
    #[arg(long, value_name = "ID", value_delimiter = ',', requires = "subnets")]
    pub(crate) security_groups: Vec<String>,

    /// Key that disks and outputs are encrypted with
    #[arg(long, value_name = "ARN")]
    pub(crate) kms_key: Option<String>,

    /// Tag; repeatable
    #[arg(long = "tag", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) tags: Vec<(String, String)>,

    /// Variable of the container, such as PUGMARK_PRECISION=bf16; repeatable
    #[arg(long = "env", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) variables: Vec<(String, String)>,
}

/// The disk of a job that writes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Disk {
    /// Disk, in GB
    #[arg(long, value_name = "GB", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=16384))]
    #[arg(help_heading = "Where it runs")]
    pub(crate) volume: u32,
}

/// What every job has.
#[derive(Args, Clone, Debug)]
pub(crate) struct JobFlags {
    /// Name of the job [default: made of verb and time]
    #[arg(long = "job", value_name = "NAME")]
    pub(crate) name: Option<String>,

    /// Wait for the end, with the log; Ctrl-C leaves the job alone
    #[arg(long)]
    pub(crate) wait: bool,

    #[command(flatten)]
    pub(crate) place: Place,
}

/// What is trained, and on what terms.
#[derive(Args, Clone, Debug)]
pub(crate) struct Training {
    /// Channel: `train=s3://...`, `validation=s3://...`, `weights=s3://...`; repeatable
    #[arg(long = "channel", value_name = "NAME=S3", value_parser = pair, required = true)]
    pub(crate) channels: Vec<(String, String)>,

    /// Prefix that model and outputs go to
    #[arg(long, value_name = "S3")]
    pub(crate) output: String,

    /// Setting of the training, as `pugmark train` calls it; repeatable
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = pair)]
    pub(crate) settings: Vec<(String, String)>,

    /// How channels are read: copied first, or streamed
    #[arg(long, value_name = "MODE", default_value = "File", value_parser = ["File", "FastFile"])]
    pub(crate) input_mode: String,

    /// Longest time of training
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub(crate) max_runtime: u32,

    /// Take spot instances: cheaper, and taken away at times; the training goes on from its checkpoints
    #[arg(long, requires = "checkpoints")]
    pub(crate) spot: bool,

    /// Longest time with waiting for spot instances [default: twice the time of training]
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "spot")]
    pub(crate) max_wait: Option<u32>,

    /// Prefix that checkpoints are kept at; one for each training
    #[arg(long, value_name = "S3")]
    pub(crate) checkpoints: Option<String>,

    #[command(flatten)]
    pub(crate) disk: Disk,
}

#[derive(Args, Debug)]
pub(crate) struct TrainArguments {
    #[command(flatten)]
    pub(crate) training: Training,

    /// Keep the instance for the next job for so long (a warm pool, which costs as the job does)
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "spot")]
    pub(crate) keep_alive: Option<u32>,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

#[derive(Args, Debug)]
pub(crate) struct TuneArguments {
    /// HyperParameterTuningJobConfig as JSON: Strategy, HyperParameterTuningJobObjective, ResourceLimits, ParameterRanges
    #[arg(long, value_name = "FILE")]
    pub(crate) config: std::path::PathBuf,

    #[command(flatten)]
    pub(crate) training: Training,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

#[derive(Args, Debug)]
pub(crate) struct ProcessArguments {
    /// Input, found at /opt/ml/processing/input/NAME; repeatable
    #[arg(long = "input", value_name = "NAME=S3", value_parser = pair, required = true)]
    pub(crate) inputs: Vec<(String, String)>,

    /// Input of which every instance has all, such as labels; repeatable
    #[arg(long = "shared-input", value_name = "NAME=S3", value_parser = pair)]
    pub(crate) shared: Vec<(String, String)>,

    /// Prefix that /opt/ml/processing/output is copied to
    #[arg(long, value_name = "S3")]
    pub(crate) output: String,

    /// Instances, which share the photos
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) instances: u32,

    /// Longest time
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = seconds)]
    pub(crate) max_runtime: u32,

    #[command(flatten)]
    pub(crate) disk: Disk,

    #[command(flatten)]
    pub(crate) job: JobFlags,

    /// The call: `prepare /opt/ml/processing/input/photos --out /opt/ml/processing/output/prepared`
    #[arg(last = true, required = true, value_name = "VERB")]
    pub(crate) call: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct TransformArguments {
    /// The model's archive: s3://.../model.tar.gz
    #[arg(long, value_name = "S3")]
    pub(crate) model_data: String,

    /// Prefix of the photos
    #[arg(long, value_name = "S3")]
    pub(crate) input: String,

    /// Prefix that the answers go to, a file each photo
    #[arg(long, value_name = "S3")]
    pub(crate) output: String,

    /// Instances, which share the photos
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) instances: u32,

    /// Form of the answers
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    #[arg(value_parser = ["application/json", "application/jsonlines", "text/csv"])]
    pub(crate) accept: String,

    #[command(flatten)]
    pub(crate) job: JobFlags,
}

/// A model with its share of the requests.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) model_data: String,
    pub(crate) weight: f64,
}

#[derive(Args, Debug)]
pub(crate) struct DeployArguments {
    /// Name of the endpoint; one that is there is changed without a pause
    pub(crate) endpoint: String,

    /// The model's archive: s3://.../model.tar.gz
    #[arg(long, value_name = "S3", required_unless_present = "variants")]
    pub(crate) model_data: Option<String>,

    /// Several models with their weights: NAME=s3://.../model.tar.gz@0.1; repeatable
    #[arg(long = "variant", value_name = "NAME=S3@WEIGHT", value_parser = variant, conflicts_with = "model_data")]
    pub(crate) variants: Vec<Variant>,

    /// Instances of each variant [default: as many as it has, 1 of a new one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) instances: Option<u32>,

    /// No instance, but a function with so much memory in MB: costs by the request
    #[arg(long, value_name = "MB", conflicts_with_all = ["scale", "capture", "asynchronous"])]
    #[arg(value_parser = ["1024", "2048", "3072", "4096", "5120", "6144"])]
    pub(crate) serverless: Option<String>,

    /// Requests of a serverless endpoint at a time
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=200))]
    pub(crate) max_concurrency: u32,

    /// Answers later, into this prefix: for photos in S3 and long queues
    #[arg(long = "async", value_name = "S3")]
    pub(crate) asynchronous: Option<String>,

    /// Keep so many percent of requests and answers at a prefix: s3://...@20
    #[arg(long, value_name = "S3@PERCENT", value_parser = capture)]
    pub(crate) capture: Option<(String, u32)>,

    /// Let the number of instances follow the requests: MIN..MAX@REQUESTS-A-MINUTE of one instance
    #[arg(long, value_name = "MIN..MAX@N", value_parser = scale)]
    pub(crate) scale: Option<(u32, u32, f64)>,

    /// Wait until it answers
    #[arg(long)]
    pub(crate) wait: bool,

    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,

    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Args, Debug)]
pub(crate) struct InvokeArguments {
    pub(crate) endpoint: String,

    /// Photos; s3://... for an asynchronous endpoint, which prints where the answer will be
    #[arg(required = true)]
    pub(crate) photos: Vec<std::path::PathBuf>,

    /// The variant to ask
    #[arg(long, value_name = "NAME")]
    pub(crate) variant: Option<String>,

    /// Form of the answers
    #[arg(long, value_name = "TYPE", default_value = "application/json")]
    pub(crate) accept: String,
}

#[derive(Args, Debug)]
pub(crate) struct ListArguments {
    /// What to list [default: all that runs]
    #[arg(value_enum)]
    pub(crate) kind: Option<Kind>,

    /// Only with this in the name
    #[arg(long, value_name = "TEXT")]
    pub(crate) contains: Option<String>,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub(crate) most: usize,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
pub(crate) struct NamedArguments {
    #[arg(value_enum)]
    pub(crate) kind: Kind,

    pub(crate) name: String,
}

#[derive(Args, Debug)]
pub(crate) struct LogsArguments {
    #[arg(value_enum)]
    pub(crate) kind: Kind,

    pub(crate) name: String,

    /// Go on until the job has ended
    #[arg(long)]
    pub(crate) follow: bool,
}

#[derive(Args, Debug)]
pub(crate) struct StopArguments {
    /// Names of jobs
    #[arg(required_unless_present = "all")]
    pub(crate) names: Vec<String>,

    /// Every training, processing, transform and tuning job that runs
    #[arg(long, conflicts_with = "names")]
    pub(crate) all: bool,

    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct DeleteArguments {
    pub(crate) endpoint: String,

    /// Also delete its models' entries; their archives in S3 stay
    #[arg(long)]
    pub(crate) models: bool,

    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Args, Debug)]
pub(crate) struct CostArguments {
    /// What an instance costs an hour: a TOML file with lines such as "ml.c7i.2xlarge" = 0.428
    #[arg(long, value_name = "FILE")]
    pub(crate) prices: Option<std::path::PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct DashboardArguments {
    pub(crate) endpoint: String,

    /// Alarm where an answer takes longer than so many milliseconds (p99)
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    pub(crate) latency: u32,

    /// Topic of SNS that alarms are told to
    #[arg(long, value_name = "ARN")]
    pub(crate) notify: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ImageArguments {
    /// Account: twelve digits
    #[arg(long, value_name = "ID")]
    pub(crate) account_id: String,

    /// Region of the repository
    #[arg(long, value_name = "NAME")]
    pub(crate) repository_region: String,

    /// Name of the repository
    #[arg(long, value_name = "NAME", default_value = "pugmark")]
    pub(crate) repository: String,
}

impl ValueEnum for Kind {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

fn variant(text: &str) -> Result<Variant, String> {
    let (name, rest) = pair(text)?;
    let (model_data, weight) = rest.rsplit_once('@').ok_or("it is NAME=s3://.../model.tar.gz@WEIGHT")?;
    let weight = weight.parse().ok().filter(|weight: &f64| *weight >= 0.0 && weight.is_finite());
    let weight = weight.ok_or("a weight is a number that is not negative")?;
    Ok(Variant { name, model_data: model_data.to_owned(), weight })
}

fn capture(text: &str) -> Result<(String, u32), String> {
    let (place, percent) = text.rsplit_once('@').ok_or("it is s3://BUCKET/PREFIX@PERCENT")?;
    let percent = percent.parse().ok().filter(|percent| (0..=100).contains(percent));
    Ok((place.to_owned(), percent.ok_or("a percentage is a whole number from 0 to 100")?))
}

fn scale(text: &str) -> Result<(u32, u32, f64), String> {
    let parsed = || {
        let (range, target) = text.split_once('@')?;
        let (least, most) = range.split_once("..")?;
        Some((least.parse().ok()?, most.parse().ok()?, target.parse().ok()?))
    };
    let right = |&(least, most, target): &(u32, u32, f64)| 1 <= least && least <= most && target > 0.0;
    parsed().filter(right).ok_or_else(|| "it is MIN..MAX@REQUESTS-A-MINUTE, as in 1..4@600".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn words_of_endpoints() {
        let found = variant("new=s3://bucket/a/model.tar.gz@0.1").unwrap();
        assert_eq!((found.name.as_str(), found.model_data.as_str()), ("new", "s3://bucket/a/model.tar.gz"));
        assert!(variant("new=s3://bucket").is_err() && variant("new=s3://b@-1").is_err());
        assert_eq!(capture("s3://bucket/x@20"), Ok(("s3://bucket/x".into(), 20)));
        assert!(capture("s3://bucket/x").is_err() && capture("s3://bucket/x@101").is_err());
        assert_eq!(scale("1..4@600"), Ok((1, 4, 600.0)));
        for text in ["", "0..4@600", "4..1@600", "1..4", "1..4@0", "1..4@NaN"] {
            assert!(scale(text).is_err(), "{text}");
        }
    }
}
