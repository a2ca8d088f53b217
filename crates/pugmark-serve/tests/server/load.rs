//! Many at once.

use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pugmark_graph::Architecture;
use pugmark_serve::{RequestLimits, Settings};
use serde_json::{Value, json};

use crate::harness::{Running, expected, model, png, probabilities, settings};

/// A crowd that arrives within a while is one batch: the delay is far longer than it takes to come.
#[test]
fn an_answer_does_not_depend_on_its_neighbours() {
    for architecture in [Architecture::SimpleCnn, Architecture::ResNet18, Architecture::SwinT] {
        let crowded = Settings { batch_delay: Duration::from_millis(300), ..settings() };
        let server = Running::with(crowded, architecture, &[("main", 1.0, 1)]);
        let model = model(architecture, 1);
        let alone: Vec<Vec<f32>> = (0..12).map(|number| expected(&model, &png(number))).collect();
        let start = Barrier::new(12);
        thread::scope(|scope| {
            for number in 0..12 {
                let (server, alone, start) = (&server, &alone, &start);
                scope.spawn(move || {
                    start.wait();
                    let answer = server.photo(&png(number));
                    assert_eq!(
                        probabilities(&answer),
                        alone[number as usize],
                        "{architecture}, photo {number}"
                    );
                });
            }
        });
        let metrics = server.get("/metrics");
        let batches =
            metrics.text().lines().find_map(|line| line.strip_prefix("pugmark_batch_photos_count "));
        let batches: usize = batches.unwrap().parse().unwrap();
        assert!(batches < 12, "{architecture}: {batches} batches for 12 photos are no crowd");
    }
}

/// Photos wait for a batch that does not begin, so that the server is full for as long as the test needs.
#[test]
fn a_full_server_says_so_and_answers_what_it_has_taken() {
    let full = Settings { photos: 4, batch: 8, batch_delay: Duration::from_secs(5), ..settings() };
    let server = Running::new(full);
    let text = BASE64_STANDARD.encode(png(1));
    let list = |photos: usize| json!(vec![&text; photos]).to_string();
    thread::scope(|scope| {
        let taken = scope.spawn(|| server.post("/invocations", &[], list(4).as_bytes()));
        while !server.get("/metrics").text().contains("pugmark_photos_waiting 4") {
            thread::sleep(Duration::from_millis(5));
        }
        let refused = server.post("/invocations", &[], &png(1));
        assert_eq!(refused.refused(), (429, "too many photos are waiting".to_owned()));
        assert_eq!(refused.headers["retry-after"], "1");
        // Whoever only asks how it is, is answered.
        assert_eq!(server.get("/ping").status, 200);
        let taken = taken.join().unwrap();
        assert_eq!((taken.status, taken.json()["predictions"].as_array().map(Vec::len)), (200, Some(4)));
    });
    let never = server.post("/invocations", &[], list(5).as_bytes());
    let (status, why) = never.refused();
    assert!(status == 413 && why.contains("5 photos, more than the limit of 4"), "{why}");
    assert!(server.get("/metrics").text().contains("pugmark_photos_waiting 0"));
}

#[test]
fn bodies_share_their_memory() {
    let limits = RequestLimits { body: 64 << 10, bodies: 64 << 10, ..RequestLimits::default() };
    let server = Running::new(Settings { limits, ..settings() });
    use std::io::Write;
    let big = vec![b' '; 40 << 10];
    let (refused, holds) = loop {
        // One holds 60 KiB and does not go on, once they have arrived; if the other is quicker it is refused itself.
        let mut holds = server.connect();
        holds.write_all(&crate::harness::head("POST", "/invocations", &[], 64 << 10)).unwrap();
        holds.write_all(&vec![0; 60 << 10]).unwrap();
        thread::sleep(Duration::from_millis(20));
        let reply = server.post("/invocations", &[], &big);
        if reply.status == 429 {
            break (reply, holds);
        }
    };
    assert_eq!(refused.refused().1, "too many bodies are being read");
    drop(holds);
    let free = loop {
        let reply = server.post("/invocations", &[], &big);
        if reply.status != 429 {
            break reply;
        }
        thread::sleep(Duration::from_millis(5));
    };
    assert_eq!(free.refused().0, 415);
}

#[test]
fn an_answer_that_takes_too_long_is_given_up() {
    let limits = RequestLimits { total: Duration::from_millis(200), ..RequestLimits::default() };
    let server = Running::new(Settings { limits, batch_delay: Duration::from_secs(3), ..settings() });
    let reply = server.post("/invocations", &[], &png(1));
    assert_eq!(reply.refused(), (503, "the answer took too long".to_owned()));
    assert_eq!(reply.headers["retry-after"], "1");
    assert!(server.get("/metrics").text().contains("pugmark_photos_waiting 0"));
}

/// Good, bad and hopeless requests, all at once: every one is answered, the good ones as ever.
#[test]
fn a_mixed_crowd() {
    let server = Running::new(Settings { photos: 16, ..settings() });
    let wanted: Vec<Value> = (0..4).map(|number| server.photo(&png(number))).collect();
    thread::scope(|scope| {
        for client in 0..6_u32 {
            let (server, wanted) = (&server, &wanted);
            scope.spawn(move || {
                for turn in 0..40 {
                    let number = (client + turn) % 4;
                    match (client + turn) % 5 {
                        0 => assert_eq!(server.post("/invocations", &[], &png(9)[..20]).refused().0 / 100, 4),
                        1 => {
                            assert_eq!(server.post("/invocations", &[], b"{\"image\": [[[").refused().0, 400)
                        }
                        _ => {
                            let reply = server.post("/invocations", &[], &png(number));
                            match reply.status {
                                200 => assert_eq!(reply.json(), wanted[number as usize]),
                                _ => assert_eq!(reply.refused().0, 429),
                            }
                        }
                    }
                }
            });
        }
    });
    let metrics = server.get("/metrics");
    assert!(!metrics.text().contains("status=\"5"), "{}", metrics.text());
    assert!(metrics.text().contains("pugmark_photos_waiting 0"));
}
