//! A server that is asked to stop.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pugmark_serve::{RequestLimits, Settings};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};

use crate::harness::{Running, head, kept_head, next_reply, png, probabilities, reply, settings, until};

#[test]
fn whatever_was_accepted_is_answered() {
    let slow = Settings { batch: 2, batch_delay: Duration::from_millis(20), ..settings() };
    let server = Running::new(slow);
    let wanted = server.photo(&png(1));
    let clients = 20;
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
}

#[test]
fn a_body_that_is_under_way_may_arrive() {
    let server = Running::new(Settings { grace: Duration::from_millis(1), ..settings() });
    let wanted = server.photo(&png(1));
    let mut stream = server.connect();
    let body = png(1);
    stream.write_all(&head("POST", "/invocations", &[], body.len())).unwrap();
    stream.write_all(&body[..10]).unwrap();
    until(|| server.get("/metrics").text().contains("pugmark_requests_in_flight 2"));
    server.ask_to_stop();
    // Far longer than a connection without a request would stay.
    thread::sleep(Duration::from_millis(100));
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
    until(|| server.get("/metrics").text().contains("pugmark_requests_in_flight 2"));
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
    until(|| server.get("/metrics").text().contains("path=\"/invocations\",status=\"200\"} 2"));
    (stream, wanted)
}

#[test]
fn an_answer_counts_when_it_is_sent() {
    let server = Running::new(Settings { grace: Duration::from_millis(1), ..settings() });
    let (mut stream, wanted) = slow_reader(&server);
    server.ask_to_stop();
    // Far longer than a connection without a request would stay.
    thread::sleep(Duration::from_millis(100));
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

/// A server that waits for requests far longer than a test takes.
fn patient() -> Settings {
    let long = Duration::from_secs(600);
    let limits = RequestLimits { idle: long, ..RequestLimits::default() };
    Settings { drain: long, grace: long, limits, ..settings() }
}

/// That which waits for nobody.
fn hasty() -> Settings {
    Settings { grace: Duration::from_millis(20), ..patient() }
}

#[test]
fn idle_connections_do_not_hold_it_up() {
    let server = Running::new(hasty());
    let mut idle: Vec<_> = (0..3).map(|_| server.connect()).collect();
    idle[0].write_all(&kept_alive(&png(1))).unwrap();
    assert_eq!(next_reply(&mut idle[0]), Some((200, false)));
    server.ask_to_stop();
    for stream in &mut idle {
        assert_eq!(next_reply(stream), None);
    }
    assert_eq!(server.stopped(), 0);
}

/// Those that send a byte now and then, of a head that never ends or after their last answer.
#[test]
fn those_who_drip_do_not_hold_it_up() {
    let server = Running::new(hasty());
    let [mut begins, mut refused] = [0, 1].map(|_| server.connect());
    begins.write_all(b"GET /ping HTTP/1.1\r\nx: ").unwrap();
    refused.write_all(&head("POST", "/nothing", &[], 1 << 20)).unwrap();
    assert_eq!(next_reply(&mut refused), Some((404, true)));
    server.ask_to_stop();
    thread::scope(|scope| {
        for mut stream in [begins, refused] {
            // Until it is closed, which takes nothing more.
            scope.spawn(move || until(|| stream.write_all(b"a").is_err()));
        }
    });
    assert_eq!(server.stopped(), 0);
}

fn kept_alive(body: &[u8]) -> Vec<u8> {
    [kept_head("POST", "/invocations", &[], body.len()), body.to_vec()].concat()
}

/// Clients that ask again and again over the same connection, at once or after a while: each of their requests is answered,
/// until an answer says that it was the last.
#[test]
fn connections_that_stay_lose_no_request() {
    let server = Running::new(patient());
    let (clients, asked) = (24, AtomicUsize::new(0));
    thread::scope(|scope| {
        for client in 0..clients {
            let (server, asked) = (&server, &asked);
            scope.spawn(move || {
                let pause = Duration::from_millis([0, 7, 250][client % 3]);
                let request = kept_alive(&png(client as u32));
                let mut stream = server.connect();
                loop {
                    stream.write_all(&request).unwrap();
                    let (status, ends) = next_reply(&mut stream).expect("an answer");
                    assert_eq!(status, 200);
                    asked.fetch_add(1, Ordering::Relaxed);
                    if ends {
                        break;
                    }
                    thread::sleep(pause);
                }
                assert_eq!(next_reply(&mut stream), None, "nothing comes after the last answer");
            });
        }
        until(|| asked.load(Ordering::Relaxed) >= 20 * clients);
        server.ask_to_stop();
    });
    assert_eq!(server.stopped(), 0);
}

/// What comes on a connection that was idle when the server was asked to stop is answered, for a while.
#[test]
fn idle_connections_have_a_last_word() {
    let server = Running::new(patient());
    let [mut asks, mut other] = [0, 1].map(|_| server.connect());
    let request = kept_alive(&png(1));
    asks.write_all(&request).unwrap();
    assert_eq!(next_reply(&mut asks), Some((200, false)));
    server.ask_to_stop();
    // Until it has heard that.
    loop {
        other.write_all(&request).unwrap();
        if next_reply(&mut other) == Some((200, true)) {
            break;
        }
    }
    // Half a head, and later the rest: as if it came over a slow network.
    asks.write_all(&request[..20]).unwrap();
    thread::sleep(Duration::from_millis(50));
    asks.write_all(&request[20..]).unwrap();
    assert_eq!(next_reply(&mut asks), Some((200, true)));
    drop((asks, other));
    assert_eq!(server.stopped(), 0);
}

/// The last answer arrives although another request lies unread behind it.
#[test]
fn a_last_answer_outlives_the_next_request() {
    let server = Running::new(patient());
    let mut stream = server.connect();
    let body = png(1);
    // Far more than the system keeps for a connection.
    let behind = kept_alive(&vec![7; 15 << 20]);
    let all = [head("POST", "/invocations", &[], body.len()), body, behind].concat();
    stream.write_all(&all).unwrap();
    assert_eq!(next_reply(&mut stream), Some((200, true)));
    assert_eq!(next_reply(&mut stream), None);
    drop(stream);
    assert_eq!(server.stopped(), 0);
}
