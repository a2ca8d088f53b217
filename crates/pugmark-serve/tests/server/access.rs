//! Tokens and TLS.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use pugmark_serve::{RequestLimits, ServeError, Server, Settings, TlsSettings, Token};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::harness::{Reply, Running, ask_first, head, kept_head, next_reply, png, reply, settings};

const TOKEN: &str = "0123456789abcdefghij";

#[test]
fn a_token_opens_the_door() {
    let server = Running::new(Settings { token: Some(Token::new(TOKEN).unwrap()), ..settings() });
    let good = format!("Bearer {TOKEN}");
    let bad = [format!("Bearer {}x", &TOKEN[1..]), format!("Basic {TOKEN}"), TOKEN.to_owned(), String::new()];
    for path in ["/metrics", "/model", "/models", "/execution-parameters", "/v2/models/main", "/nothing"] {
        for said in &bad {
            let reply = server.ask("GET", path, &[("authorization", said)], b"");
            let (status, why) = reply.refused();
            assert_eq!((status, &*reply.headers["www-authenticate"]), (401, "Bearer"), "{path}");
            assert!(!why.contains(&TOKEN[..10]), "{why}");
        }
        assert_ne!(server.ask("GET", path, &[("authorization", &good)], b"").status, 401, "{path}");
    }
    for path in ["/", "/docs", "/openapi.json", "/ping", "/healthz", "/readyz"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let with = server.post("/invocations", &[("authorization", &good)], &png(1));
    assert!(with.json()["class"].is_string());
    // The answer arrives although the body is not wanted.
    let large = vec![7; 8 << 20];
    assert_eq!(server.post("/invocations", &[], &large).refused().0, 401);
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server/tls").join(name)
}

fn client(server: &Running, trusted: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file(trusted)).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), server.connect())
}

fn ask(server: &Running, trusted: &str) -> std::io::Result<Reply> {
    let (mut stream, photo) = (client(server, trusted), png(1));
    stream.write_all(&head("POST", "/invocations", &[], photo.len()))?;
    stream.write_all(&photo)?;
    stream.flush()?;
    Ok(reply(&mut stream).expect("an answer"))
}

fn tls(folder: &Path) -> TlsSettings {
    TlsSettings { certificate: folder.join("cert.pem"), key: folder.join("key.pem") }
}

fn put(folder: &Path, which: &str) {
    for kind in ["cert", "key"] {
        fs::copy(file(&format!("{which}.{kind}.pem")), folder.join(format!("{kind}.pem"))).unwrap();
    }
}

#[test]
fn answers_come_by_tls_and_certificates_are_read_again() {
    let plain = Running::new(settings());
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "one");
    let server = Running::new(Settings { tls: Some(tls(folder.path())), ..settings() });
    assert_eq!(ask(&server, "one.cert.pem").unwrap().json(), plain.photo(&png(1)));
    assert!(ask(&server, "two.cert.pem").is_err(), "this certificate is of another");

    put(folder.path(), "two");
    server.reload.now().unwrap();
    assert_eq!(ask(&server, "two.cert.pem").unwrap().status, 200);
    // What cannot be read is not taken.
    fs::write(folder.path().join("key.pem"), "no key").unwrap();
    assert!(server.reload.now().is_err());
    assert_eq!(ask(&server, "two.cert.pem").unwrap().status, 200);

    // Who does not speak TLS has no answer, and holds up nobody.
    let mut stream = server.connect();
    stream.write_all(&head("GET", "/ping", &[], 0)).unwrap();
    assert!(reply(&mut stream).is_none());
    assert_eq!(server.stopped(), 0);
}

/// Answers and ends arrive by TLS as they do without: an end that TLS does not tell (`close_notify`) is an error of the client's.
#[test]
fn connections_end_by_tls() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "one");
    let limits = RequestLimits { body: 4 << 20, ..RequestLimits::default() };
    let grace = Duration::from_millis(20);
    let server = Running::new(Settings { tls: Some(tls(folder.path())), limits, grace, ..settings() });
    let connect = || client(&server, "one.cert.pem");
    let rest = |mut stream: StreamOwned<ClientConnection, TcpStream>| {
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        String::from_utf8(rest).unwrap()
    };
    let body = vec![7; 15 << 20];
    for headers in [&[][..], &[("upgrade", "h2c")]] {
        let mut refused = connect();
        refused.write_all(&head("POST", "/nothing", headers, body.len())).unwrap();
        refused.write_all(&body).unwrap();
        refused.flush().unwrap();
        assert!(rest(refused).starts_with("HTTP/1.1 404"));
    }
    let [mut idle, mut asks] = [0, 1].map(|_| connect());
    idle.write_all(&kept_head("GET", "/ping", &[], 0)).unwrap();
    assert_eq!(next_reply(&mut idle), Some((200, false)));
    ask_first(&mut asks, "/invocations", png(1).len());
    server.ask_to_stop();
    assert_eq!(rest(idle), "");
    asks.write_all(&png(1)).unwrap();
    asks.flush().unwrap();
    assert!(rest(asks).starts_with("HTTP/1.1 200"));
    assert_eq!(server.stopped(), 0);
}

#[test]
fn a_handshake_has_its_time() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "one");
    // One connection at a time: whoever is let go of makes room for the next.
    let limits = RequestLimits { idle: Duration::from_secs(1), connections: 1, ..RequestLimits::default() };
    let server = Running::new(Settings { tls: Some(tls(folder.path())), limits, ..settings() });
    let silent = server.connect();
    assert_eq!(ask(&server, "one.cert.pem").unwrap().status, 200);
    drop(silent);
}

#[test]
fn certificates_that_are_none() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let settings = Settings { tls: Some(tls(folder.path())), ..settings() };
        let error = Server::open(&[], settings, pugmark_engine::Cpu::new(1).unwrap()).err().unwrap();
        assert!(matches!(error, ServeError::Tls { .. }) && error.hint().is_some(), "{error}");
        error.to_string()
    };
    assert!(open().contains("cert.pem"));
    put(folder.path(), "one");
    fs::write(folder.path().join("key.pem"), "no key").unwrap();
    assert!(open().contains("no key in PEM"));
    fs::copy(file("two.key.pem"), folder.path().join("key.pem")).unwrap();
    assert!(open().contains("cert.pem"), "a key of another certificate");
    fs::write(folder.path().join("cert.pem"), "nothing").unwrap();
    assert!(open().contains("no certificate in PEM"));
}
