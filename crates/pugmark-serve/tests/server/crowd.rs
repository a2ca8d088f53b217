//! Good and hostile requests by the thousand, mixed by a seed: nothing crashes, no fault of a client's is called one of the
//! server's, and good requests are answered as if they were alone, to the byte.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind::{TimedOut, WouldBlock};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::thread;
use std::time::{Duration, Instant};

use image::ImageFormat;
use pugmark_serve::{RequestLimits, Settings};

use crate::attacks::{Attack, Good, Random, good, odd_images};
use crate::harness::{Client, Reply, Running, encoded, head, picture, png, reply, settings};

/// Requests of the test where nothing says how many: as many for each client in each tenth.
const FEW: u64 = 3200;
/// Clients at a time.
const CLIENTS: usize = 8;

/// How often each kind of request was answered how; 0 is no answer.
type Counts = BTreeMap<(&'static str, u16), usize>;

fn server() -> Running {
    let limits = RequestLimits { body: 2 << 20, idle: Duration::from_secs(1), ..RequestLimits::default() };
    Running::new(Settings { limits, photos: 64, ..settings() })
}

/// Sends one attack and checks what comes of it.
fn attack(server: Client, attack: &Attack, counts: &mut Counts) {
    let mut stream = server.connect();
    // The server may have seen enough and closed.
    let _ = stream.write_all(&attack.bytes);
    if attack.leaves {
        *counts.entry((attack.kind, 0)).or_default() += 1;
        return;
    }
    if attack.half_closes {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let status = reply(&mut stream).map_or(0, |reply| reply.status);
    let fits = match status {
        0 => attack.may_be_cut_off,
        200 => attack.may_be_answered,
        status => (400..500).contains(&status),
    };
    let shown = String::from_utf8_lossy(&attack.bytes[..attack.bytes.len().min(300)]).into_owned();
    assert!(fits, "{}: {status} for {shown:?}", attack.kind);
    *counts.entry((attack.kind, status)).or_default() += 1;
}

/// What is the same whoever else asks: all but how long it took and when.
fn same(reply: Reply) -> (u16, Option<String>, Vec<u8>) {
    (reply.status, reply.headers.get("content-type").cloned(), reply.body)
}

/// A server, and what it says to good requests that come alone.
struct Crowd {
    server: Client,
    good: Vec<Good>,
    alone: Vec<(u16, Option<String>, Vec<u8>)>,
    photos: Vec<Vec<u8>>,
    odd: Vec<Vec<u8>>,
}

impl Crowd {
    fn of(server: Client) -> Self {
        use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
        let photos = [Png, Jpeg, Gif, Bmp, WebP].map(|format| encoded(&picture(3, 40, 30), format)).to_vec();
        let mut crowd = Self { server, good: good(), alone: Vec::new(), photos, odd: odd_images() };
        crowd.alone = crowd.good.iter().map(|good| crowd.ask(good)).collect();
        assert!(crowd.alone.iter().all(|(status, ..)| *status == 200), "{:?}", crowd.alone);
        crowd
    }

    fn ask(&self, (path, headers, body): &Good) -> (u16, Option<String>, Vec<u8>) {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        same(self.server.ask("POST", path, &headers, body))
    }

    /// Asks while there is more to ask, by the number of requests so far.
    fn client(&self, more: impl Fn(usize) -> bool, mut random: Random) -> Counts {
        let mut counts = Counts::new();
        for _ in (0..).take_while(|&asked| more(asked)) {
            if random.below(2) == 0 {
                let one = Attack::any(&mut random, &self.photos, &self.odd);
                attack(self.server, &one, &mut counts);
                continue;
            }
            let which = random.below(self.good.len());
            assert!(
                self.ask(&self.good[which]) == self.alone[which],
                "good request {which} had another answer"
            );
            *counts.entry(("good", 200)).or_default() += 1;
        }
        counts
    }

    /// Asks by many clients, with as many good requests as bad ones.
    fn asks(&self, more: impl Fn(usize) -> bool + Copy + Send, seed: u64) -> Counts {
        let mut all = Counts::new();
        thread::scope(|scope| {
            let client = |number: usize| {
                let random = Random::new(seed ^ (number as u64) << 32);
                scope.spawn(move || self.client(more, random))
            };
            let clients: Vec<_> = (0..CLIENTS).map(client).collect();
            for client in clients {
                for (what, count) in client.join().unwrap() {
                    *all.entry(what).or_default() += count;
                }
            }
        });
        // Whoever left without a word is forgotten.
        while !self.server.get("/metrics").text().contains("pugmark_requests_in_flight 1\n") {
            thread::sleep(Duration::from_millis(20));
        }
        let metrics = self.server.get("/metrics");
        assert!(metrics.text().contains("pugmark_photos_waiting 0\n"), "{}", metrics.text());
        assert!(!metrics.text().contains("status=\"5"), "{}", metrics.text());
        all
    }
}

/// Memory of a process in KiB; 0 where the system does not say.
fn resident(process: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

fn said(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn number(name: &str, standard: u64) -> u64 {
    said(name).map_or(standard, |text| text.parse().unwrap())
}

/// A server of its own, or the one at `PUGMARK_SERVER`, of process `PUGMARK_PID`; and its memory.
fn asked() -> (Option<Running>, Crowd, impl Fn() -> u64) {
    let here = said("PUGMARK_SERVER").is_none().then(server);
    let elsewhere = || Client { address: said("PUGMARK_SERVER").unwrap().parse().unwrap() };
    let crowd = Crowd::of(here.as_deref().copied().unwrap_or_else(elsewhere));
    (here, crowd, || resident(&said("PUGMARK_PID").unwrap_or("self".into())))
}

/// A few thousand, or `PUGMARK_REQUESTS`, by `PUGMARK_SEED`.
#[test]
fn as_many_as_you_like() {
    let (requests, seed) = (number("PUGMARK_REQUESTS", FEW), number("PUGMARK_SEED", 1));
    let (here, crowd, resident) = asked();
    let (mut all, mut memory) = (Counts::new(), vec![resident()]);
    for tenth in 0..10 {
        let more = |asked: usize| asked < requests as usize / 10 / CLIENTS;
        for (what, count) in crowd.asks(more, seed + tenth) {
            *all.entry(what).or_default() += count;
        }
        memory.push(resident());
    }
    for ((kind, status), count) in &all {
        println!("{count:>7} {kind}: {}", if *status == 0 { "no answer".into() } else { status.to_string() });
    }
    let sum: usize = all.values().sum();
    println!("{sum} requests; resident KiB before and after each tenth: {memory:?}");
    let kinds: BTreeSet<_> = all.keys().map(|(kind, _)| kind).collect();
    assert!(requests < FEW || kinds.len() > 25, "{kinds:?}");
    assert_eq!(sum, requests as usize / 10 / CLIENTS * CLIENTS * 10);
    assert!(here.is_none_or(|server| server.stopped() == 0));
}

/// The same requests for `PUGMARK_MINUTES`: memory does not grow.
#[test]
fn for_as_long_as_you_like() {
    let minutes = number("PUGMARK_MINUTES", 0);
    if minutes < 3 {
        println!("skipped: PUGMARK_MINUTES is less than 3");
        return;
    }
    let (here, crowd, resident) = asked();
    println!("before: {} MiB", resident() >> 10);
    let (mut sum, mut memory) = (0, Vec::new());
    for minute in 1..=minutes {
        let end = Instant::now() + Duration::from_secs(60);
        let counts = crowd.asks(|_| Instant::now() < end, number("PUGMARK_SEED", 1) + minute);
        sum += counts.values().sum::<usize>();
        memory.push(resident() >> 10);
        println!("minute {minute}: {sum} requests, {} MiB", memory[memory.len() - 1]);
    }
    // The first third is for pools and arenas to fill.
    let (first, rest) = memory.split_at(memory.len().div_ceil(3));
    let most = |of: &[u64]| of.iter().copied().max().unwrap();
    assert!(most(rest) * 10 <= most(first) * 12, "it grows by more than a fifth: {memory:?}");
    assert!(here.is_none_or(|server| server.stopped() == 0));
}

/// Whoever sends a byte now and then is let go of, however many there are.
#[test]
fn a_crowd_that_drips() {
    let server = server();
    let whole = head("POST", "/invocations", &[], 1000);
    thread::scope(|scope| {
        for place in 0..100 {
            let (server, whole) = (&server, &whole);
            scope.spawn(move || {
                let mut stream = server.connect();
                // A byte every 50 ms: a head must be whole within a second.
                for byte in whole.chunks(1).take(40 + place % 3) {
                    if stream.write_all(byte).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(50));
                }
                // Closed, with an answer or without; not left open until this side gives up.
                let mut answer = Vec::new();
                let ended = stream.read_to_end(&mut answer);
                let left = ended.is_err_and(|error| matches!(error.kind(), WouldBlock | TimedOut));
                assert!(!left && (answer.is_empty() || answer.starts_with(b"HTTP/1.1 408")), "{answer:?}");
            });
        }
        server.photo(&png(1));
    });
}
