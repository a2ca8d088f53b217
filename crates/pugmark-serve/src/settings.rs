use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use pugmark_data::Limits;

use crate::access::{TlsSettings, Token};
use crate::shadow::ShadowSettings;

/// How a server serves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it listens; port 0 takes any that is free.
    pub address: SocketAddr,
    /// Photos in one step of the model, at most.
    pub batch: usize,
    /// How long a step waits for more photos, counted from the first one's arrival. With none it takes what there is, and
    /// batches grow by themselves while the model is busy.
    pub batch_delay: Duration,
    /// Photos that are decoded, wait or are looked at, all requests together; what comes on top is answered with 429.
    pub photos: usize,
    /// Threads that decode large photos; small ones are decoded by the threads that compute, where there are several.
    pub decoders: usize,
    /// Most likely classes named in an answer.
    pub top: usize,
    /// How answers look in JSON.
    pub shape: Shape,
    /// Where requests and answers are kept, as SageMaker's data capture keeps them.
    pub capture: Option<PathBuf>,
    /// A model that sees copies of requests and whose answers are not sent.
    pub shadow: Option<ShadowSettings>,
    /// Models that may be loaded by request.
    pub models: Option<ModelsSettings>,
    /// What requests have to name; none lets everybody in.
    pub token: Option<Token>,
    /// What it shows to be asked by TLS; none speaks plain HTTP.
    pub tls: Option<TlsSettings>,
    /// Limits on what is sent.
    pub limits: RequestLimits,
    /// How long answers may take after the server was asked to stop; then it ends.
    pub drain: Duration,
    /// How long a connection without a request may be silent after the server was asked to stop; then it is closed. A handshake, a
    /// head and what is thrown away end after six times that, whatever comes.
    pub grace: Duration,
}

/// Which models may be loaded by request, and how many.
#[derive(Debug, Clone)]
pub struct ModelsSettings {
    /// Where they lie. Nothing outside is read, links followed.
    pub root: PathBuf,
    /// Models at one time; one more is answered with 507.
    pub most: usize,
    /// Bytes of all their files together; more is answered with 507.
    pub bytes: u64,
}

/// How an answer for a photo looks in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// The class, its probability, the most likely classes, and all probabilities by class.
    #[default]
    Full,
    /// `{"CLASS_probability": ..}` for each class and nothing else.
    Flat,
}

/// What is refused before it costs anything.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Bytes of all bodies that are held at one time; what comes on top is answered with 429. Copies that are kept after the
    /// answer have a quarter of that on top.
    pub bodies: usize,
    /// Pixels and bytes of a photo, checked before it is decoded.
    pub photo: Limits,
    /// Connections at one time; more wait to be accepted.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// How long a connection may send nothing that is expected, and how long the head of a request may take.
    pub idle: Duration,
    /// How long a request may take from its head to its answer.
    pub total: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            batch: 16,
            batch_delay: Duration::ZERO,
            photos: 256,
            decoders: std::thread::available_parallelism().map_or(1, usize::from).min(8),
            top: 5,
            shape: Shape::Full,
            capture: None,
            shadow: None,
            models: None,
            token: None,
            tls: None,
            limits: RequestLimits::default(),
            // SageMaker kills after 30 seconds.
            drain: Duration::from_secs(25),
            grace: Duration::from_millis(500),
        }
    }
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            // What SageMaker lets through.
            body: 25 << 20,
            bodies: 512 << 20,
            photo: Limits::default(),
            connections: 1024,
            head: 64 << 10,
            idle: Duration::from_secs(30),
            // SageMaker gives up after 60 seconds.
            total: Duration::from_secs(60),
        }
    }
}
