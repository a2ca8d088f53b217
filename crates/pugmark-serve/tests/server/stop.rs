//! A server that is asked to stop.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pugmark_serve::Settings;
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::{Running, head, png, probabilities, reply, settings};

#[test]
fn whatever_was_accepted_is_answered() {
    let slow = Settings { batch: 2, batch_delay: Duration::from_millis(20), ..settings() };
    let server = Running::new(slow);
    let wanted = server.photo(&png(1));
    let (clients, address) = (20, server.address);
    // Connections that the server may not even have looked at, with their requests.
    let sent = Barrier::new(clients + 1);
    let answers: Vec<_> = thread::scope(|scope| {
        let ask = |_| {
            let (server, sent) = (&server, &sent);
            scope.spawn(move || {
                let mut stream = server.connect();
                stream.write_all(&head("POST", "/invocations", &[], png(1).len())).unwrap();
                stream.write_all(&png(1)).unwrap();
                sent.wait();
                reply(&mut stream)
            })
        };
        let clients: Vec<_> = (0..clients).map(ask).collect();
        sent.wait();
        server.ask_to_stop();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    for answer in answers {
        let answer = answer.expect("an answer");
        assert_eq!((answer.status, probabilities(&answer.json())), (200, probabilities(&wanted)));
    }
    assert_eq!(server.stopped(), 0);
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_body_that_is_under_way_may_arrive() {
    let server = Running::new(settings());
    let wanted = server.photo(&png(1));
    let mut stream = server.connect();
    let body = png(1);
    stream.write_all(&head("POST", "/invocations", &[], body.len())).unwrap();
    stream.write_all(&body[..10]).unwrap();
    while !server.get("/metrics").text().contains("pugmark_requests_in_flight 2") {
        thread::sleep(Duration::from_millis(5));
    }
    server.ask_to_stop();
    thread::sleep(Duration::from_millis(400));
    stream.write_all(&body[10..]).unwrap();
    assert_eq!(reply(&mut stream).expect("an answer").json(), wanted);
    assert_eq!(server.stopped(), 0);
}

#[test]
fn what_takes_too_long_is_counted() {
    let drain = Duration::from_millis(100);
    let server = Running::new(Settings { drain, ..settings() });
    let mut stream = server.connect();
    stream.write_all(&head("POST", "/invocations", &[], 100)).unwrap();
    while !server.get("/metrics").text().contains("pugmark_requests_in_flight 2") {
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.stopped(), 1);
}

/// A client that asks for more than the system keeps for it, and does not read yet.
fn slow_reader(server: &Running) -> (TcpStream, Value) {
    let id = "x".repeat(24 << 20);
    let body = json!({"id": id, "image": BASE64_STANDARD.encode(png(1))}).to_string();
    let mut wanted = server.photo(&png(1));
    wanted["id"] = id.into();
    let stream = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    stream.set_recv_buffer_size(64 << 10).unwrap();
    stream.connect(&server.address.into()).unwrap();
    let mut stream = TcpStream::from(stream);
    stream.write_all(&head("POST", "/invocations", &[], body.len())).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    // The answer is made.
    while !server.get("/metrics").text().contains("path=\"/invocations\",status=\"200\"} 2") {
        thread::sleep(Duration::from_millis(5));
    }
    (stream, wanted)
}

#[test]
fn an_answer_counts_when_it_is_sent() {
    let server = Running::new(settings());
    let (mut stream, wanted) = slow_reader(&server);
    server.ask_to_stop();
    // Longer than a server without requests stays.
    thread::sleep(Duration::from_secs(1));
    assert!(reply(&mut stream).expect("an answer").json() == wanted);
    assert_eq!(server.stopped(), 0);
}

#[test]
fn an_answer_that_nobody_reads_is_counted() {
    let server = Running::new(Settings { drain: Duration::from_millis(500), ..settings() });
    let (stream, _) = slow_reader(&server);
    assert_eq!(server.stopped(), 1);
    drop(stream);
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let server = Running::new(settings());
    let idle: Vec<_> = (0..3).map(|_| server.connect()).collect();
    server.photo(&png(1));
    // Far shorter than the 25 s that answers may take; nothing else would end this test early.
    let begun = std::time::Instant::now();
    assert_eq!(server.stopped(), 0);
    assert!(begun.elapsed() < Duration::from_secs(20));
    drop(idle);
}

/// The next answer of a connection that stays: its status, and whether it says that the connection ends. None where there is no byte of one.
fn next_reply(stream: &mut TcpStream) -> Option<(u16, bool)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if !matches!(stream.read(&mut byte), Ok(1)) {
            assert!(head.is_empty(), "an answer was cut off");
            return None;
        }
        head.extend(byte);
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let after = |name: &str| head.split(name).nth(1).map(|rest| rest.split("\r\n").next().unwrap().trim());
    let mut body = vec![0; after("content-length:").unwrap().parse().unwrap()];
    stream.read_exact(&mut body).expect("the whole answer");
    Some((head[9..12].parse().unwrap(), after("\r\nconnection:") == Some("close")))
}

/// Whether the server has closed the connection, as far as this side has heard.
fn is_closed(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let seen = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    !seen.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
}

fn kept_alive(path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Clients that ask again and again over the same connection, at once or after a while: each of their requests is answered,
/// until an answer says that it was the last, or the connection is closed before they ask.
#[test]
fn connections_that_stay_lose_no_request() {
    let server = Running::new(settings());
    let (clients, asked, last) = (24, AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..clients {
            let (server, asked, last) = (&server, &asked, &last);
            scope.spawn(move || {
                let pause = Duration::from_millis([0, 7, 250][client % 3]);
                let request = kept_alive("/invocations", &png(client as u32));
                let mut stream = server.connect();
                loop {
                    stream.write_all(&request).unwrap();
                    let (status, ends) = next_reply(&mut stream).expect("an answer");
                    assert_eq!(status, 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                    if ends {
                        last.fetch_add(1, Ordering::Relaxed);
                        break;
                    }
                    thread::sleep(pause);
                    if is_closed(&stream) {
                        break;
                    }
                }
                assert_eq!(next_reply(&mut stream), None, "nothing comes after the last answer");
            });
        }
        while asked.load(Ordering::Relaxed) < 20 * clients {
            thread::sleep(Duration::from_millis(1));
        }
        server.ask_to_stop();
    });
    assert!(last.into_inner() > 0, "no answer said that it was the last");
    assert_eq!(server.stopped(), 0);
}

/// What comes on a connection that was idle when the server was asked to stop is answered, for a while; then it is closed.
#[test]
fn idle_connections_have_a_last_word() {
    let server = Running::new(settings());
    let [mut asks, mut silent] = [0, 1].map(|_| server.connect());
    for stream in [&mut asks, &mut silent] {
        stream.write_all(&kept_alive("/invocations", &png(1))).unwrap();
        assert_eq!(next_reply(stream), Some((200, false)));
    }
    let address = server.address;
    server.ask_to_stop();
    while TcpStream::connect(address).is_ok() {
        thread::sleep(Duration::from_millis(1));
    }
    // Half a head, and later the rest: as if it came over a slow network.
    let request = kept_alive("/invocations", &png(1));
    asks.write_all(&request[..20]).unwrap();
    thread::sleep(Duration::from_millis(50));
    asks.write_all(&request[20..]).unwrap();
    assert_eq!(next_reply(&mut asks), Some((200, true)));
    assert_eq!(next_reply(&mut silent), None);
    assert_eq!(server.stopped(), 0);
}
