//! The endpoint as a process: its address, its signals, its page in a browser.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::Place;
use crate::pages::{browser, keep, look, looker};

/// A server as a process; ended where a test forgets it.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
}

impl Process {
    /// Starts it and waits for its address.
    pub(crate) fn new(mut command: Command) -> Self {
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let Some(address) = line.trim().strip_prefix("http://").map(str::to_owned) else {
            panic!("no address: {:?}", child.wait_with_output());
        };
        Self { child, address }
    }

    /// Sends a request; the whole answer.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> String {
        self.ask_with(method, path, "", body)
    }

    /// Sends a request with another header line.
    fn ask_with(&self, method: &str, path: &str, line: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{line}content-length: {length}\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits for the end: exit status and stderr.
    pub(crate) fn ended(&mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn place() -> Place {
    let place = Place::new();
    place.photos(6);
    let train =
        ["train", "photos", "--out", "run", "--model", "simple_cnn", "--image-size", "32", "--epochs", "1"];
    place.done(&train);
    place
}

#[test]
fn serves_answers_as_predict_until_it_is_told_to_end() {
    let place = place();
    let mut server = Process::new(place.command(&["serve", "run", "--port", "0"]));
    assert!(server.ask("GET", "/ping", b"").starts_with("HTTP/1.1 200"));
    let photo = place.path("photos/day/00.png");
    let reply = server.ask("POST", "/invocations", &fs::read(&photo).unwrap());
    let answer: Value = serde_json::from_str(reply.split_once("\r\n\r\n").unwrap().1).unwrap();
    let predicted = place.done(&["predict", "run", "photos/day/00.png", "--json"]).stdout;
    let predicted: Value = serde_json::from_str(&predicted).unwrap();
    assert_eq!(answer["probabilities"], predicted["probabilities"], "{predicted}");

    // The model is read again; a broken one is not taken.
    let model = fs::read(place.path("run/best.safetensors")).unwrap();
    place.write("run/best.safetensors", "no model");
    server.signal("-HUP");
    place.write("run/best.safetensors", "no model");
    let mut err = BufReader::new(server.child.stderr.take().unwrap());
    let mut until = |part: &str| {
        let mut line = String::new();
        while !line.contains(part) {
            line.clear();
            assert!(err.read_line(&mut line).unwrap() > 0, "the server never said `{part}`");
        }
    };
    until("the old models go on");
    assert!(server.ask("GET", "/ping", b"").starts_with("HTTP/1.1 200"));
    place.write("run/best.safetensors", model);
    server.signal("-HUP");
    until("the models were read again");
    server.signal("-TERM");
    until("every request that was accepted is answered");
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_container_of_sagemaker_needs_but_one_word() {
    let place = place();
    let server = |variables: &[(&str, &str)]| {
        let mut command = place.command(&["serve"]);
        command.envs(variables.iter().copied()).env("SAGEMAKER_BASE_DIR", place.path("ml"));
        command
    };
    let no = |mut command: Command, why: &str| {
        let ended = crate::harness::ended(&mut command);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(why) && ended.stderr.contains("hint:"), "{}", ended.stderr);
    };
    no(server(&[]), "no run is named");
    fs::create_dir_all(place.path("ml/model")).unwrap();
    no(server(&[]), "holds 0 model files");
    fs::copy(place.path("run/best.safetensors"), place.path("ml/model/dogs.safetensors")).unwrap();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut process =
        Process::new(server(&[("SAGEMAKER_BIND_TO_PORT", &port), ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "3")]));
    assert_eq!(process.address, format!("0.0.0.0:{port}"));
    assert!(process.ask("GET", "/execution-parameters", b"").contains("\"MaxPayloadInMB\":3"));
    process.signal("-TERM");
    assert_eq!(process.ended().0, Some(0));
}

#[test]
fn a_token_models_by_request_and_a_log() {
    let place = place();
    fs::create_dir_all(place.path("ml/models/dogs/model")).unwrap();
    fs::copy(place.path("run/best.safetensors"), place.path("ml/models/dogs/model/best.safetensors"))
        .unwrap();
    let token = "0123456789abcdefghij";
    place.write("token", format!("{token}\n"));
    let named = format!("authorization: Bearer {token}\r\n");
    let photo = fs::read(place.path("photos/day/00.png")).unwrap();
    let body = br#"{"model_name": "dogs", "url": "dogs/model"}"#;
    let by_flags = place.command(&[
        "serve",
        "--models",
        "ml/models",
        "--port",
        "0",
        "--token-file",
        "token",
        "--log",
        "json",
        "--max-models",
        "1",
    ]);
    let mut by_variables = place.command(&["serve", "--port", "0"]);
    by_variables
        .env("SAGEMAKER_BASE_DIR", place.path("ml"))
        .env("SAGEMAKER_MULTI_MODEL", "true")
        .env("PUGMARK_TOKEN", token);
    for command in [by_flags, by_variables] {
        let mut server = Process::new(command);
        assert!(server.ask("GET", "/ping", b"").starts_with("HTTP/1.1 200"));
        assert!(server.ask("POST", "/models", body).starts_with("HTTP/1.1 401"));
        let loaded = server.ask_with("POST", "/models", &named, body);
        assert!(loaded.starts_with("HTTP/1.1 200"), "{loaded}");
        let reply = server.ask_with("POST", "/models/dogs/invoke", &named, &photo);
        assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\"class\""), "{reply}");
        server.signal("-TERM");
        let (code, said) = server.ended();
        assert_eq!(code, Some(0), "{said}");
        let lines: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let statuses: Vec<_> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [401, 200, 200], "{said}");
        assert_eq!(lines[2]["variant"], "dogs");
        assert!(!said.contains(token), "{said}");
    }
}

#[test]
fn a_shadow_and_a_trace_by_the_command_line() {
    let place = place();
    let mut command = place.command(&["serve", "run", "--port", "0", "--shadow", "next=run"]);
    // Nobody listens there, which nobody waits for.
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let server = Process::new(command);
    let photo = fs::read(place.path("photos/day/00.png")).unwrap();
    let reply = server.ask("POST", "/invocations", &photo);
    assert!(reply.starts_with("HTTP/1.1 200") && reply.contains("\r\ntraceresponse: 00-"), "{reply}");
    while !server.ask("GET", "/metrics", b"").contains("pugmark_shadow_photos_total{outcome=\"agrees\"} 1\n")
    {
        thread::sleep(Duration::from_millis(5));
    }
    // The run's predictions are what drift is measured by.
    let metrics = server.ask("GET", "/metrics", b"");
    assert!(!metrics.contains("pugmark_drift_reference_photos{variant=\"main\"} 0\n"), "{metrics}");
    assert!(metrics.contains("pugmark_drift_class_distance{variant=\"main\"}"), "{metrics}");
}

/// Variables that other programs may need keep no server from starting.
#[test]
fn variables_of_a_collector_that_is_not_spoken_to() {
    let place = Place::new();
    fs::create_dir(place.path("models")).unwrap();
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    let protobuf = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
    let header = ("OTEL_EXPORTER_OTLP_HEADERS", "a b=c");
    let url = "http://127.0.0.1:1";
    for (endpoint, more, why) in [
        ("collector:4317", None, "no spans are sent: can't send spans to collector:4317"),
        (url, Some(grpc), "no spans are sent: OTLP as `grpc`"),
        (url, Some(protobuf), "spans are sent as http/json"),
        (url, Some(header), "can't be sent the header `a b`"),
        // Nobody listens there.
        (url, None, "spans do not arrive: "),
    ] {
        let mut command = place.command(&["serve", "--models", "models", "--port", "0"]);
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).envs(more);
        let mut server = Process::new(command);
        assert!(server.ask("GET", "/model", b"").starts_with("HTTP/1.1 200"), "{endpoint}");
        let stderr = BufReader::new(server.child.stderr.take().unwrap());
        let (say, heard) = channel();
        thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| say.send(line)));
        let minute = Duration::from_secs(60);
        while !heard.recv_timeout(minute).unwrap_or_else(|_| panic!("never said: {why}")).contains(why) {}
        server.signal("-TERM");
        assert_eq!(server.child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn calls_that_are_wrong() {
    let place = Place::new();
    place.photos(2);
    let wrong = |arguments: &[&str], code: i32, why: &str| {
        let ended = place.run(&[&["serve"], arguments].concat());
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    };
    wrong(&["nothing"], 2, "nothing");
    wrong(&["photos"], 2, "not a run folder");
    wrong(&["photos", "--variant", "b"], 2, "NAME=RUN:WEIGHT");
    wrong(&["photos", "--variant", "b=photos:-1"], 2, "a weight is");
    wrong(&["photos", "--variant", "a b=photos:1"], 2, "letters, digits");
    wrong(&["photos", "--variant", "main=photos:1"], 2, "two variants called `main`");
    wrong(&["photos", "--shadow", "main"], 2, "NAME=RUN");
    wrong(&["photos", "--shadow", "b=photos:101"], 2, "0 to 100");
    wrong(&["photos", "--shadow", "main=photos"], 2, "as a variant is");
    wrong(&["photos", "--shadow", "b=nothing"], 2, "no run or model nothing");
    wrong(&["photos", "--models", "nothing"], 2, "no folder of models nothing");
    wrong(&["photos", "--token-file", "nothing"], 2, "openssl rand");
    wrong(&["--models", ".", "--otlp-endpoint", "localhost"], 2, "can't send spans to localhost/v1/traces");
    place.write("token", "short");
    wrong(&["photos", "--token-file", "token"], 2, "less than 16 characters");
    wrong(&["photos", "--tls-cert", "token"], 2, "--tls-key");
    wrong(&["--models", ".", "--tls-cert", "token", "--tls-key", "token"], 1, "no certificate in PEM");
    let mut empty = place.command(&["serve", "photos"]);
    let ended = crate::harness::ended(empty.env("PUGMARK_TOKEN", ""));
    assert!(ended.code == Some(2) && ended.stderr.contains("less than 16 characters"), "{}", ended.stderr);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    wrong(&["photos", "--port", &port], 1, "another program listens there");
}

/// Hands on to the server, and answers one path itself: a script that uses the page as a person would, of one origin with it.
fn beside(server: &str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = server.to_owned();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let server = server.clone();
            thread::spawn(move || hand_on(client, &server));
        }
    });
    port
}

fn hand_on(mut client: TcpStream, server: &str) {
    let mut head = [0; 4096];
    let Ok(read) = client.read(&mut head) else { return };
    if head.starts_with(b"GET /driver") {
        let body = include_str!("drive.html").replace("LOOK", &looker());
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nconnection: close\r\ncontent-length: ";
        let _ = write!(client, "{head}{}\r\n\r\n{body}", body.len());
        return;
    }
    let Ok(mut to) = TcpStream::connect(server) else { return };
    let _ = to.write_all(&head[..read]);
    let (mut from, mut back) = (to.try_clone().unwrap(), client.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut back);
        let _ = back.shutdown(std::net::Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut to);
    let _ = to.shutdown(std::net::Shutdown::Both);
}

#[test]
fn the_page_does_what_it_says() {
    let place = Place::new();
    if browser(&place).is_none() {
        return;
    }
    let place = self::place();
    let mut command = place.command(&["serve", "run", "--port", "0"]);
    // The driver knows it.
    command.env("PUGMARK_TOKEN", "0123456789abcdefghij");
    let server = Process::new(command);
    let port = beside(&server.address);
    for (width, scheme) in [(360, "light"), (1280, "dark")] {
        let mut browser = browser(&place).unwrap();
        browser.args(["--virtual-time-budget=30000", "--window-size=1400,1000", "--dump-dom"]);
        browser.arg(format!("http://127.0.0.1:{port}/driver?width={width}&scheme={scheme}"));
        let said = crate::harness::ended(&mut browser);
        let (_, json) =
            said.stdout.split_once("<pre id=\"said\">").unwrap_or_else(|| panic!("{}", said.stderr));
        let json = json.split_once("</pre>").unwrap().0;
        let json = json.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        let said: Value = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
        assert_eq!(said["wrong"], Value::Array(Vec::new()), "{width} px, {scheme}: {said}");
        assert_eq!(said["findings"], Value::Array(Vec::new()), "{width} px, {scheme}");
        let csv: Vec<&str> = said["csv"].as_str().unwrap().lines().collect();
        assert_eq!(csv[0], "id,class,probability,day,dusk,night,error");
        assert!(csv[1].starts_with("red &.png,day,0.") && csv[2].starts_with("broken.jpg,,,,,,"), "{csv:?}");

        let mut browser = self::browser(&place).unwrap();
        let shot = place.path("shot.png");
        let window = format!("--window-size={},1500", width.max(500));
        browser.args([&window, "--virtual-time-budget=30000", &format!("--screenshot={}", shot.display())]);
        if scheme == "dark" {
            browser.args(["--force-dark-mode", "--blink-settings=preferredColorScheme=0"]);
        }
        crate::harness::ended(
            browser.arg(format!("http://127.0.0.1:{port}/driver?shot&width={width}&scheme={scheme}")),
        );
        keep(&shot, "serve", width);

        let docs = server.ask("GET", "/docs", b"");
        place.write("docs.html", docs.split_once("\r\n\r\n").unwrap().1);
        let said = look(&place, "docs.html", width, scheme).unwrap();
        assert_eq!(said["findings"], Value::Array(Vec::new()), "/docs, {width} px, {scheme}");
    }
}
