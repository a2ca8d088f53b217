//! A server with a small model, and a client as plain as can be.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use image::{ImageFormat, RgbImage};
use pugmark_data::{Recipe, Resize, decode};
use pugmark_engine::Cpu;
use pugmark_graph::Architecture;
use pugmark_model::{Classifier, FORMAT, Model, ModelCard};
use pugmark_serve::{Reload, Server, Settings, VariantSettings};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) const CLASSES: [&str; 3] = ["cat", "dog", "a, \"b\""];

/// A server that runs until it is dropped.
pub(crate) struct Running {
    client: Client,
    pub(crate) reload: Reload,
    pub(crate) folder: TempDir,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<usize>>,
}

/// Whoever asks the server at an address.
#[derive(Clone, Copy)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
}

impl Deref for Running {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn settings() -> Settings {
    Settings { address: "127.0.0.1:0".parse().unwrap(), ..Settings::default() }
}

/// A model of that seed that cuts a square of 32 pixels out of the middle.
pub(crate) fn model(architecture: Architecture, seed: u64) -> Model {
    let classes: Vec<String> = CLASSES.map(str::to_owned).to_vec();
    let card = ModelCard {
        format: FORMAT,
        version: String::new(),
        architecture,
        recipe: Recipe { resize: Resize::CentreCrop { short_side: 36 }, ..Recipe::imagenet(32) },
        temperature: 0.7,
        calibration: None,
        data_hash: "data".into(),
        split_hash: String::new(),
        split_how: String::new(),
        metrics: BTreeMap::new(),
        epoch: 3,
        classes,
    };
    Model { tensors: architecture.graph(3).initialise(seed), card }
}

impl Running {
    /// A server of a small model with those settings.
    pub(crate) fn new(settings: Settings) -> Self {
        Self::with(settings, Architecture::SimpleCnn, &[("main", 1.0, 1)])
    }

    /// A server of variants: name, weight and seed.
    pub(crate) fn with(
        settings: Settings,
        architecture: Architecture,
        variants: &[(&str, f64, u64)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let variant = |&(name, weight, seed): &(&str, f64, u64)| {
            let path = folder.path().join(format!("{name}.safetensors"));
            model(architecture, seed).write(&path).unwrap();
            VariantSettings { name: name.into(), weight, models: vec![path] }
        };
        let variants: Vec<_> = variants.iter().map(variant).collect();
        Self::serve(settings, &variants, folder)
    }

    pub(crate) fn serve(settings: Settings, variants: &[VariantSettings], folder: TempDir) -> Self {
        Self::run(Server::open(variants, settings, Cpu::new(2).unwrap()).unwrap(), folder)
    }

    pub(crate) fn run(server: Server, folder: TempDir) -> Self {
        let (address, reload) = (server.address(), server.reload());
        let stop = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&stop);
        let thread = Some(thread::spawn(move || server.run(&asked)));
        Self { client: Client { address }, reload, folder, stop, thread }
    }

    pub(crate) fn model_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.safetensors"))
    }

    pub(crate) fn ask_to_stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops; the number of requests that were cut off.
    pub(crate) fn stopped(mut self) -> usize {
        self.ask_to_stop();
        self.thread.take().unwrap().join().unwrap()
    }
}

impl Client {
    pub(crate) fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }

    pub(crate) fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.ask("POST", path, headers, body)
    }

    /// The answer for a photo, which must be one.
    pub(crate) fn photo(&self, bytes: &[u8]) -> Value {
        let reply = self.post("/invocations", &[("content-type", "image/jpeg")], bytes);
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let mut stream = self.connect();
        stream.write_all(&head(method, path, headers, body.len())).unwrap();
        stream.write_all(body).unwrap();
        reply(&mut stream).unwrap_or_else(|| panic!("no answer to {method} {path}"))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        // Far above what anything takes: it only keeps a broken server from holding up the tests.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask_to_stop();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the server failed");
        }
    }
}

/// The head of a request that closes its connection.
pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    kept_head(method, path, &[&[("connection", "close")], headers].concat(), length)
}

/// That of one whose connection stays.
pub(crate) fn kept_head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = if method == "GET" { String::new() } else { format!("content-length: {length}\r\n") };
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{length}{more}\r\n").into_bytes()
}

/// Reads an answer to the end of its connection; none where there is nothing.
pub(crate) fn reply(stream: &mut impl Read) -> Option<Reply> {
    let mut bytes = Vec::new();
    // A connection that is closed on a sender may end in an error after the answer.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Reply { status, headers, body: bytes[end + 4..].to_vec() })
}

/// The next answer of a connection that stays: its status, and whether it says that the connection ends. None where the connection
/// has ended without a byte of one.
pub(crate) fn next_reply(stream: &mut impl Read) -> Option<(u16, bool)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.extend(byte),
            Ok(_) => {
                assert!(head.is_empty(), "an answer was cut off");
                return None;
            }
            Err(error) => panic!("neither an answer nor an end: {error}"),
        }
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let after = |name: &str| head.split(name).nth(1).map(|rest| rest.split("\r\n").next().unwrap().trim());
    let mut body = vec![0; after("content-length:").unwrap().parse().unwrap()];
    stream.read_exact(&mut body).expect("the whole answer");
    Some((head[9..12].parse().unwrap(), after("\r\nconnection:") == Some("close")))
}

/// Sends the head of a request until the server asks for the body, which it does when it knows whom the request is for.
pub(crate) fn ask_first(stream: &mut (impl Read + Write), path: &str, length: usize) {
    stream.write_all(&head("POST", path, &[("expect", "100-continue")], length)).unwrap();
    let mut said = [0; 25];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 100 Continue\r\n\r\n");
}

/// Waits until something is so, which takes far less than a minute.
pub(crate) fn until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..12_000 {
        if is_so() {
            return;
        }
        thread::sleep(Duration::from_millis(5));
    }
    panic!("waited in vain");
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The status, after a look at whether an error says what is wrong and what to do.
    pub(crate) fn refused(&self) -> (u16, String) {
        let said = self.json();
        assert_eq!(said["status"], self.status, "{said}");
        assert!(said["hint"].as_str().unwrap().len() > 10, "{said}");
        (self.status, said["error"].as_str().unwrap().to_owned())
    }
}

/// A picture that differs from one number to the next.
pub(crate) fn picture(number: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let mix = |k: u32| (x * (3 + k) + y * (7 - k) + number * 37 + x * y / (2 + k)) as u8;
        image::Rgb([mix(0), mix(1), mix(2)])
    })
}

pub(crate) fn encoded(picture: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn png(number: u32) -> Vec<u8> {
    encoded(&picture(number, 50, 40), ImageFormat::Png)
}

/// What a classifier says of a photo by itself, to the last digit.
pub(crate) fn expected(model: &Model, bytes: &[u8]) -> Vec<f32> {
    let photo = decode(bytes, &pugmark_data::Limits::default()).unwrap();
    let pixels = model.card.recipe.apply(&photo);
    let mut classifier = Classifier::from_model(model.clone(), &Cpu::new(1).unwrap(), 1).unwrap();
    classifier.probabilities(1, &pixels).unwrap()
}

/// A photo as the model sees it.
pub(crate) fn pixels(bytes: &[u8]) -> Vec<u8> {
    let photo = decode(bytes, &pugmark_data::Limits::default()).unwrap();
    model(Architecture::SimpleCnn, 1).card.recipe.apply(&photo)
}

/// The probabilities of an answer, in the order of the classes.
pub(crate) fn probabilities(answer: &Value) -> Vec<f32> {
    CLASSES.iter().map(|class| answer["probabilities"][class].as_f64().unwrap() as f32).collect()
}
