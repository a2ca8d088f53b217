use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use super::{ConfigFlags, InferenceFlags};

/// Answer over HTTP, with a page to drop photos on
///
/// Takes photos as files, NumPy arrays, base64 in JSON or JSON lines, and forms with several of them, on POST /invocations, and
/// answers with the probability of every class as JSON, JSON lines or CSV. GET / is a page for people, /docs lists the
/// rest. The first line on stdout is the address. Ctrl-C or SIGTERM answers what was accepted and ends; SIGHUP reads the models
/// again. docs/serve.md has examples.
#[derive(Args, Debug)]
pub(crate) struct ServeArguments {
    /// Runs or model files of the same classes; several answer together, by the mean of their probabilities (none, inside a
    /// container of SageMaker: what is in /opt/ml/model)
    #[arg(value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,

    /// Another run or model file that answers a share of the requests, such as `b=runs/new:0.1`: the share is WEIGHT over the sum
    /// of all weights, where RUN is the variant `main` of weight 1; may be given several times
    #[arg(long, value_name = "NAME=RUN:WEIGHT", value_parser = variant)]
    pub(crate) variant: Vec<VariantFlag>,

    /// A run or model file that sees a copy of requests (of PERCENT of them, 100 if not said), such as `next=runs/new:20`; its
    /// answers are counted against those that are sent, kept by --capture, and never sent
    #[arg(long, value_name = "NAME=RUN[:PERCENT]", value_parser = shadow)]
    pub(crate) shadow: Option<ShadowFlag>,

    /// Address to listen on; 0.0.0.0 answers everybody who can reach this machine [default: 127.0.0.1]
    #[arg(long, value_name = "IP")]
    pub(crate) host: Option<IpAddr>,

    /// Port to listen on; 0 takes one that is free [default: 8080]
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,

    /// Let requests to /models load and unload the models below this folder, as SageMaker's multi-model endpoints do; no RUN is
    /// needed then (in a container of SageMaker with SAGEMAKER_MULTI_MODEL=true: /opt/ml/models)
    #[arg(long, value_name = "FOLDER")]
    pub(crate) models: Option<PathBuf>,

    /// Most likely classes named in an answer
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u16).range(1..))]
    pub(crate) top: u16,

    /// How an answer looks in JSON
    #[arg(long, value_enum, default_value_t = AnswerShape::Full)]
    pub(crate) answer: AnswerShape,

    /// Keep every answered POST /invocations with its answer in this folder, a JSON line each, as SageMaker's data capture does
    #[arg(long, value_name = "FOLDER")]
    pub(crate) capture: Option<PathBuf>,

    /// A line on stderr for every request but successful health checks: time, method, path, status, milliseconds, bytes, variant;
    /// never a body, a query or a token [default: off; json in a container of SageMaker]
    #[arg(long, value_enum)]
    pub(crate) log: Option<LogChoice>,

    /// Send a span for every request to this collector of OpenTelemetry's, such as http://localhost:4318, over HTTP as JSON [env:
    /// OTEL_EXPORTER_OTLP_ENDPOINT]
    #[arg(long, value_name = "URL")]
    pub(crate) otlp_endpoint: Option<String>,

    #[command(flatten)]
    pub(crate) access: AccessFlags,

    #[command(flatten)]
    pub(crate) limits: LimitFlags,

    #[command(flatten)]
    pub(crate) config: ConfigFlags,

    #[command(flatten)]
    pub(crate) inference: InferenceFlags,
}

/// How an answer looks in JSON.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum AnswerShape {
    /// The class, the most likely ones, and all probabilities by class
    Full,
    /// Nothing but `{"CLASS_probability": ...}` for every class
    Flat,
}

/// How requests are logged.
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum LogChoice {
    /// For people
    Text,
    /// An object a line
    Json,
    /// Not at all
    Off,
}

/// A variant as it is written on the command line.
#[derive(Clone, Debug)]
pub(crate) struct VariantFlag {
    pub(crate) name: String,
    pub(crate) run: PathBuf,
    pub(crate) weight: f64,
}

/// Who may ask.
#[derive(Args, Debug)]
#[command(next_help_heading = "Access")]
pub(crate) struct AccessFlags {
    /// File with a token that requests must name as `Authorization: Bearer TOKEN`; the page asks for it [env: PUGMARK_TOKEN, the
    /// token itself]
    #[arg(long, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,

    /// Speak HTTPS, with this certificate and those above it in PEM; SIGHUP reads it again
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// The certificate's key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,
}

/// A shadow as it is written on the command line.
#[derive(Clone, Debug)]
pub(crate) struct ShadowFlag {
    pub(crate) name: String,
    pub(crate) run: PathBuf,
    /// From 0 to 100.
    pub(crate) percent: f64,
}

/// What is taken in.
#[derive(Args, Debug)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitFlags {
    /// Photos in work and waiting; requests on top of them are answered with 429
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = value_parser!(u16).range(1..=10_000))]
    pub(crate) max_photos: u16,

    /// Models that are loaded by request at one time; one more is answered with 507
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = value_parser!(u16).range(1..))]
    pub(crate) max_models: u16,

    /// MiB of all their files together; more are answered with 507 [default: a quarter of the machine's memory]
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u32).range(1..))]
    pub(crate) max_models_size: Option<u32>,

    /// MiB of a request [default: 25]
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) max_body: Option<u16>,

    /// Million pixels of a photo, checked before it is decoded
    #[arg(long, value_name = "N", default_value_t = 67, value_parser = value_parser!(u16).range(1..=1000))]
    pub(crate) max_megapixels: u16,

    /// Milliseconds that a step waits for more photos; 0 takes those that came while the model was busy
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = value_parser!(u16).range(..=1000))]
    pub(crate) batch_delay: u16,

    /// Seconds from a request's head to its answer [default: 60]
    #[arg(long, value_name = "S", value_parser = value_parser!(u16).range(1..))]
    pub(crate) timeout: Option<u16>,

    /// Seconds without a byte after which a connection is closed
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = value_parser!(u16).range(1..))]
    pub(crate) idle: u16,
}

fn variant(word: &str) -> Result<VariantFlag, String> {
    let parts = word.split_once('=').and_then(|(name, rest)| Some((name, rest.rsplit_once(':')?)));
    let Some((name, (run, weight))) = parts else {
        return Err("NAME=RUN:WEIGHT is meant, such as b=runs/new:0.1".to_owned());
    };
    check_name(name)?;
    let weight = weight.parse().ok().filter(|weight| (0.0..=1e6).contains(weight));
    let weight = weight.ok_or("a weight is a number of 0 or more")?;
    Ok(VariantFlag { name: name.to_owned(), run: run.into(), weight })
}

fn shadow(word: &str) -> Result<ShadowFlag, String> {
    let Some((name, rest)) = word.split_once('=') else {
        return Err("NAME=RUN or NAME=RUN:PERCENT is meant, such as next=runs/new:20".to_owned());
    };
    check_name(name)?;
    let (run, percent) = match rest.rsplit_once(':').map(|(run, percent)| (run, percent.parse::<f64>())) {
        Some((run, Ok(percent))) => (run, percent),
        _ => (rest, 100.0),
    };
    if !(0.0..=100.0).contains(&percent) {
        return Err("PERCENT is a number from 0 to 100".to_owned());
    }
    Ok(ShadowFlag { name: name.to_owned(), run: run.into(), percent })
}

/// SageMaker's rule for names of variants.
fn check_name(name: &str) -> Result<(), String> {
    let ok = |c: char| c.is_ascii_alphanumeric() || c == '-';
    match (1..=63).contains(&name.len()) && name.chars().all(ok) && !name.starts_with('-') {
        true => Ok(()),
        false => Err("a name has up to 63 letters, digits and `-`".to_owned()),
    }
}
