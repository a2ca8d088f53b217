//! Spans of requests, and the collectors they are sent to: good ones and others.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::iter;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pugmark_engine::Cpu;
use pugmark_graph::Architecture;
use pugmark_serve::{Server, TraceSettings, VariantSettings};
use serde_json::{Value, json};

use crate::harness::{Running, head, model, png, settings, until};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Headers, with the first line as `request`, and body.
type Message = (BTreeMap<String, String>, Value);

/// A stand-in for a collector: takes requests one by one and answers the first with the first answer, and so on; the last answer
/// is that of all others. An empty one is none: the connection is kept open.
fn collector(answers: Vec<String>) -> (String, Receiver<Message>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let (sender, taken) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for (turn, client) in listener.incoming().flatten().enumerate() {
            let answer = &answers[turn.min(answers.len() - 1)];
            let mut client = BufReader::new(client);
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                client.read_line(&mut line).unwrap();
                match line.trim().split_once(": ") {
                    Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
                    None if line.trim().is_empty() => break,
                    None => headers.insert("request".to_owned(), line.trim().to_owned()),
                };
            }
            let mut body = vec![0; headers["content-length"].parse().unwrap()];
            client.read_exact(&mut body).unwrap();
            // Before it is answered: whoever sees the answer's effect finds it here.
            if sender.send((headers, serde_json::from_slice(&body).unwrap())).is_err() {
                return;
            }
            client.get_mut().write_all(answer.as_bytes()).unwrap();
            if answer.is_empty() {
                kept.push(client);
            }
        }
    });
    (url, taken)
}

/// The next message, for which nothing has to be waited that long.
fn next(taken: &Receiver<Message>) -> Message {
    taken.recv_timeout(Duration::from_secs(60)).expect("a message to the collector")
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

fn server(url: &str) -> Running {
    told(url, channel().0)
}

/// A server, and who hears what could not be sent.
fn told(url: &str, tell: Sender<String>) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main.safetensors");
    model(Architecture::SimpleCnn, 1).write(&path).unwrap();
    let variant = VariantSettings { name: "main".into(), weight: 1.0, models: vec![path] };
    let server = Server::open(&[variant], settings(), Cpu::new(1).unwrap()).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let resource = vec![pair("service.name", "photos"), pair("deployment.environment.name", "test")];
    let settings = TraceSettings { url: url.into(), headers: vec![pair("x-key", "secret")], resource };
    server.trace(settings, move |why| drop(tell.send(why.to_owned()))).unwrap();
    Running::run(server, folder)
}

/// A counter of the server's, when it is at least so much.
fn at_least(server: &Running, counter: &str, least: u64) -> u64 {
    let mut value = 0;
    until(|| {
        let metrics = server.get("/metrics");
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(&format!("pugmark_{counter} ")));
        value = line.unwrap().parse().unwrap();
        value >= least
    });
    value
}

/// The spans of a message, after a look at its frame.
fn spans((headers, body): &Message) -> Vec<Value> {
    assert_eq!(headers["request"], "POST /v1/traces HTTP/1.1");
    assert_eq!((&*headers["content-type"], &*headers["x-key"]), ("application/json", "secret"));
    let [of] = body["resourceSpans"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!(attributes(&of["resource"])["service.name"], json!({"stringValue": "photos"}));
    assert_eq!(attributes(&of["resource"])["deployment.environment.name"], json!({"stringValue": "test"}));
    let [scope] = of["scopeSpans"].as_array().unwrap().as_slice() else { panic!("{body}") };
    assert_eq!(scope["scope"]["name"], "pugmark-serve");
    scope["spans"].as_array().unwrap().clone()
}

fn attributes(of: &Value) -> BTreeMap<String, Value> {
    let all = of["attributes"].as_array().into_iter().flatten();
    all.map(|one| (one["key"].as_str().unwrap().to_owned(), one["value"].clone())).collect()
}

/// Whether it is that many hexadecimal digits in lower case, and not nothing but zeros.
fn is_id(id: &Value, digits: usize) -> bool {
    let id = id.as_str().unwrap();
    let known = id.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    id.len() == digits && known && id.bytes().any(|digit| digit != b'0')
}

#[test]
fn a_span_a_request_and_those_below_it() {
    let (url, taken) = collector(vec![answer("200 OK", "", "{}")]);
    let server = server(&url);
    let before = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let named = [("traceparent", &*parent), ("tracestate", "vendor=1")];
    let reply = server.post("/invocations?secret=query", &named, &png(1));
    let own = server.post("/v2/models/none/infer", &[], b"{}");
    // Who asked records nothing, so that nothing is recorded here.
    let unsampled =
        server.post("/invocations", &[("traceparent", &format!("00-{TRACE}-{PARENT}-00"))], &png(1));
    assert!(!unsampled.headers.contains_key("traceresponse"));
    let probe = server.get("/ping");
    assert!(probe.status == 200 && !probe.headers.contains_key("traceresponse"), "{probe:?}");
    // The last of all.
    server.get("/model");
    let after = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    assert_eq!(server.stopped(), 0);

    let mut all = Vec::new();
    while all.last().is_none_or(|last: &Value| last["name"] != "GET /model") {
        all.extend(spans(&next(&taken)));
    }
    all.pop();
    let names: Vec<&str> = all.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["POST /invocations", "decode", "queue", "model", "POST /v2/models/{name}/infer"]);
    let text = serde_json::to_string(&all).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let time = |span: &Value, key: &str| span[key].as_str().unwrap().parse::<u128>().unwrap();
    for span in &all {
        assert!(is_id(&span["traceId"], 32) && is_id(&span["spanId"], 16), "{span}");
        let (start, end) = (time(span, "startTimeUnixNano"), time(span, "endTimeUnixNano"));
        assert!(before <= start && start <= end && end <= after, "{before} {after} {span}");
    }
    let whole = &all[0];
    assert_eq!(
        (&whole["traceId"], &whole["parentSpanId"], &whole["kind"]),
        (&json!(TRACE), &json!(PARENT), &json!(2))
    );
    assert_eq!((&whole["traceState"], &whole["flags"]), (&json!("vendor=1"), &json!(0x301)));
    let said = format!("00-{TRACE}-{}-01", whole["spanId"].as_str().unwrap());
    assert_eq!(reply.headers["traceresponse"], said);
    let found = attributes(whole);
    for (key, value) in [
        ("http.request.method", json!({"stringValue": "POST"})),
        ("http.route", json!({"stringValue": "/invocations"})),
        ("url.path", json!({"stringValue": "/invocations"})),
        ("url.scheme", json!({"stringValue": "http"})),
        ("network.protocol.version", json!({"stringValue": "1.1"})),
        ("http.response.status_code", json!({"intValue": "200"})),
        ("http.request.body.size", json!({"intValue": png(1).len().to_string()})),
        ("http.response.body.size", json!({"intValue": reply.body.len().to_string()})),
        ("pugmark.variant", json!({"stringValue": "main"})),
        ("pugmark.photos", json!({"intValue": "1"})),
    ] {
        assert_eq!(found[key], value, "{key}");
    }
    // One after the other, within the request's.
    for pair in all[1..4].windows(2) {
        assert!(time(&pair[0], "endTimeUnixNano") <= time(&pair[1], "startTimeUnixNano"), "{pair:?}");
    }
    for span in &all[1..4] {
        assert_eq!((&span["parentSpanId"], &span["traceId"]), (&whole["spanId"], &json!(TRACE)));
        assert_eq!(span["kind"], 1);
        assert!(time(whole, "startTimeUnixNano") <= time(span, "startTimeUnixNano"), "{span}");
        assert!(time(span, "endTimeUnixNano") <= time(whole, "endTimeUnixNano"), "{span}");
    }
    // A trace of its own; what a client did wrong is no error of the server's.
    let other = &all[4];
    assert!(
        other["parentSpanId"].is_null() && other["status"].is_null() && other["traceId"] != TRACE,
        "{other}"
    );
    assert_eq!(attributes(other)["http.response.status_code"], json!({"intValue": "404"}));
    assert!(own.headers["traceresponse"].contains(other["traceId"].as_str().unwrap()));
}

#[test]
fn a_client_that_leaves_is_told() {
    let (url, taken) = collector(vec![answer("200 OK", "", "")]);
    let server = server(&url);
    let mut leaves = server.connect();
    leaves.write_all(&head("POST", "/invocations", &[], 100)).unwrap();
    until(|| server.get("/metrics").text().contains("pugmark_requests_in_flight 2"));
    drop(leaves);
    let mut all = iter::from_fn(|| Some(next(&taken))).flat_map(|message| spans(&message));
    let gone = all.find(|span| span["name"] == "POST /invocations");
    // Its body ended early, which is answered, or nobody was left to answer.
    let attributes = attributes(&gone.unwrap());
    let status = attributes.get("http.response.status_code");
    assert!(
        status == Some(&json!({"intValue": "400"})) || attributes.contains_key("error.type"),
        "{attributes:?}"
    );
}

/// Collectors that have no time, or too much to do, are asked again; those that refuse are not; what they do not take is counted.
#[test]
fn collectors_that_are_busy_or_refuse() {
    let ok = answer("200 OK", "", "{}");
    let later = |status: &str| answer(status, "retry-after: 0\r\n", "");
    for first in [later("429 Too Many Requests"), later("503 Service Unavailable")] {
        let (url, taken) = collector(vec![first.clone(), first, ok.clone()]);
        let server = server(&url);
        server.photo(&png(1));
        let sent: Vec<_> = (0..3).map(|_| next(&taken)).collect();
        assert!(sent.iter().all(|one| one.1 == sent[0].1), "the same spans again");
        assert!(at_least(&server, "spans_sent_total", 4) >= 4);
        assert_eq!(at_least(&server, "spans_lost_total", 0), 0);
    }
    let refuses = answer("400 Bad Request", "", "");
    let some = answer("200 OK", "", r#"{"partialSuccess": {"rejectedSpans": "4", "errorMessage": "no"}}"#);
    for (refusal, why) in [(refuses, Some("the answer is 400 Bad Request")), (some, None)] {
        let (url, taken) = collector(vec![refusal]);
        let (tell, heard) = channel();
        let server = told(&url, tell);
        server.photo(&png(1));
        assert_eq!(spans(&next(&taken)).len(), 4);
        assert!(at_least(&server, "spans_lost_total", 4) >= 4);
        assert_eq!(at_least(&server, "spans_sent_total", 0), 0);
        assert_eq!(heard.try_iter().collect::<Vec<_>>(), Vec::from_iter(why));
    }
}

/// A collector that takes and never answers, and one that is not there: no answer waits for them, and the server ends.
#[test]
fn collectors_that_hang_hold_up_nothing() {
    let (url, taken) = collector(vec![String::new()]);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [url, format!("http://{nobody}/v1/traces")] {
        let server = server(&url);
        // Far more than it keeps for a collector.
        let mut stream = TcpStream::connect(server.address).unwrap();
        let request = b"GET /model HTTP/1.1\r\nhost: x\r\n\r\n".repeat(50);
        thread::scope(|scope| {
            let mut answers = stream.try_clone().unwrap();
            scope.spawn(move || std::io::copy(&mut answers, &mut std::io::sink()));
            for _ in 0..60 {
                stream.write_all(&request).unwrap();
            }
            assert!(at_least(&server, "spans_lost_total", 1) > 0);
            server.photo(&png(1));
            stream.shutdown(std::net::Shutdown::Both).unwrap();
        });
        assert_eq!(server.stopped(), 0);
    }
    next(&taken);
}

#[test]
fn urls_and_headers_that_are_none() {
    for url in ["", "localhost", "ftp://localhost/", "http://a b"] {
        let server = Server::open(&[], settings(), Cpu::new(1).unwrap()).unwrap();
        let settings = TraceSettings { url: url.into(), headers: Vec::new(), resource: Vec::new() };
        let error = server.trace(settings, |_| {}).unwrap_err();
        assert!(error.to_string().contains("can't send spans") && error.hint().is_some(), "{url}: {error}");
    }
    for (name, value) in [("a b", "secret"), ("", "secret"), ("x-key", "secret\n")] {
        let server = Server::open(&[], settings(), Cpu::new(1).unwrap()).unwrap();
        let headers = vec![(name.to_owned(), value.to_owned())];
        let settings = TraceSettings { url: "http://localhost:1".into(), headers, resource: Vec::new() };
        let error = server.trace(settings, |_| {}).unwrap_err();
        assert!(error.to_string().contains(&format!("`{name}`")) && error.hint().is_some(), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
