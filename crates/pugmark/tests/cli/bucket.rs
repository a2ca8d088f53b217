//! A bucket: an S3 server in this process (`s3s`, which checks signatures), and in front of it a proxy that counts requests and,
//! when asked, answers 503, cuts connections or dawdles.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::runtime::Runtime;

const KEY: &str = "AKITEST";
pub(crate) const SECRET: &str = "secret/of+the=test";

pub(crate) struct Bucket {
    folder: TempDir,
    proxy: SocketAddr,
    shared: Arc<Shared>,
    _server: Runtime,
}

#[derive(Default)]
struct Shared {
    /// Whether requests go wrong.
    faulty: AtomicBool,
    number: AtomicU32,
    /// Method and path of every request.
    log: Mutex<Vec<String>>,
}

/// What happens to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Fine,
    Busy,
    RequestCut,
    AnswerCut,
    Slow,
}

impl Bucket {
    /// An empty bucket called `photos`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("photos")).expect("the bucket");
        let server = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads of the server");
        let upstream = server.block_on(serve(folder.path()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let proxy = listener.local_addr().expect("its number");
        let shared = Arc::new(Shared::default());
        let known = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = Arc::clone(&known);
                // A connection that breaks is what this is for.
                thread::spawn(move || drop(pass(client, upstream, &shared)));
            }
        });
        Self { folder, proxy, shared, _server: server }
    }

    /// Where the server keeps an object.
    pub(crate) fn path(&self, key: &str) -> PathBuf {
        self.folder.path().join("photos").join(key)
    }

    /// Tells a program where the bucket is and who asks.
    pub(crate) fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.proxy))
            .env("AWS_ACCESS_KEY_ID", KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .env("AWS_REGION", "eu-north-1")
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.proxy)
    }

    /// From now on a third of all requests goes wrong, or none.
    pub(crate) fn faulty(&self, faulty: bool) {
        self.shared.faulty.store(faulty, Ordering::Relaxed);
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.log.lock().expect("no thread panicked"))
    }
}

async fn serve(folder: &Path) -> SocketAddr {
    let mut service = S3ServiceBuilder::new(FileSystem::new(folder).expect("the server's folder"));
    service.set_auth(SimpleAuth::from_single(KEY, SECRET));
    let service = service.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its number");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let http = Builder::new(TokioExecutor::new());
                // Cut connections end here.
                let _ = http.serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    address
}

impl Shared {
    /// Every third request or so goes wrong, in a way that is another one in another run: requests come in any order.
    fn fate(&self) -> Fate {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        if !self.faulty.load(Ordering::Relaxed) {
            return Fate::Fine;
        }
        // The upper bits of a multiplicative hash (Knuth).
        match number.wrapping_mul(2_654_435_761) >> 24 {
            0..30 => Fate::Busy,
            30..50 => Fate::RequestCut,
            50..75 => Fate::AnswerCut,
            75..90 => Fate::Slow,
            _ => Fate::Fine,
        }
    }
}

/// One request and its answer.
fn pass(client: TcpStream, upstream: SocketAddr, shared: &Shared) -> std::io::Result<()> {
    let mut from = BufReader::new(client.try_clone()?);
    let (mut head, mut length) = (Vec::new(), 0);
    loop {
        let start = head.len();
        if from.read_until(b'\n', &mut head)? == 0 {
            return Ok(());
        }
        let line = String::from_utf8_lossy(&head[start..]).to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if line == "\r\n" {
            // One request a connection; this header is not among those that are signed.
            head.truncate(start);
            head.extend_from_slice(b"connection: close\r\n\r\n");
            break;
        }
    }
    let first = String::from_utf8_lossy(&head);
    let request: Vec<&str> = first.split_whitespace().take(2).collect();
    shared.log.lock().expect("no thread panicked").push(request.join(" "));
    let fate = shared.fate();

    let mut body = vec![0; length];
    from.read_exact(&mut body)?;
    let mut client = client;
    if fate == Fate::Busy {
        let answer = "HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        return client.write_all(answer.as_bytes());
    }
    let mut server = TcpStream::connect(upstream)?;
    server.write_all(&head)?;
    if fate == Fate::RequestCut {
        server.write_all(&body[..length / 2])?;
        server.shutdown(Shutdown::Both)?;
        return client.shutdown(Shutdown::Both);
    }
    server.write_all(&body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    match fate {
        Fate::AnswerCut => client.write_all(&answer[..answer.len() / 2])?,
        Fate::Slow => {
            for piece in answer.chunks(answer.len().div_ceil(4).max(1)) {
                thread::sleep(Duration::from_millis(50));
                client.write_all(piece)?;
            }
        }
        _ => client.write_all(&answer)?,
    }
    client.shutdown(Shutdown::Both)
}

/// The URL of a web server that gives the files below `folder`, whole or in part; it stays until the tests end.
pub(crate) fn web_server(folder: &Path) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("its number"));
    let folder = folder.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let folder = folder.clone();
            thread::spawn(move || drop(give(client, &folder)));
        }
    });
    url
}

fn give(client: TcpStream, folder: &Path) -> std::io::Result<()> {
    let (mut asked, mut range) = (String::new(), None);
    for line in BufReader::new(client.try_clone()?).lines() {
        let line = line?;
        if asked.is_empty() {
            asked.clone_from(&line);
        }
        if let Some(bounds) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            let bounds: Vec<usize> =
                bounds.split('-').filter_map(|bound| bound.trim().parse().ok()).collect();
            range = Some((bounds[0], bounds[1] + 1));
        }
        if line.is_empty() {
            break;
        }
    }
    let path = asked.split_whitespace().nth(1).unwrap_or_default().trim_start_matches('/');
    let (status, bytes, extra) = match (std::fs::read(folder.join(path)), range) {
        (Err(_), _) => ("404 Not Found", Vec::new(), String::new()),
        (Ok(bytes), None) => ("200 OK", bytes, String::new()),
        (Ok(bytes), Some((start, end))) => {
            let extra = format!("content-range: bytes {start}-{}/{}\r\n", end - 1, bytes.len());
            ("206 Partial Content", bytes[start..end].to_vec(), extra)
        }
    };
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{extra}connection: close\r\n\r\n", bytes.len());
    let mut client = client;
    client.write_all(head.as_bytes())?;
    client.write_all(&bytes)?;
    client.shutdown(Shutdown::Both)
}
