//! Good and hostile requests by the thousand, mixed by a seed: nothing crashes, no fault of a client's is called one of the
//! server's, and good requests are answered as if they were alone, to the byte.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use image::ImageFormat;
use pugmark_serve::{RequestLimits, Settings};

use crate::attacks::{Attack, Random, good, odd_images};
use crate::harness::{Reply, Running, head, picture, reply, settings};

/// Requests of the test that everybody runs.
const FEW: usize = 3000;
/// Clients at a time.
const CLIENTS: usize = 8;

/// How often each kind of request was answered how; 0 is no answer.
type Counts = BTreeMap<(&'static str, u16), usize>;

fn server() -> Running {
    let limits = RequestLimits { body: 2 << 20, idle: Duration::from_secs(1), ..RequestLimits::default() };
    Running::new(Settings { limits, photos: 64, ..settings() })
}

/// Sends one attack and checks what comes of it.
fn attack(server: &Running, attack: &Attack, counts: &mut Counts) {
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
fn said(reply: Reply) -> (u16, Option<String>, Vec<u8>) {
    (reply.status, reply.headers.get("content-type").cloned(), reply.body)
}

/// Asks that many times, with as many good requests as bad ones; resident KiB before and after.
fn crowd(requests: usize, seed: u64) -> (Counts, [u64; 2]) {
    let server = server();
    let good = good();
    let odd = odd_images();
    let photos = [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::WebP]
        .map(|format| crate::harness::encoded(&picture(3, 40, 30), format));
    let ask = |(path, headers, body): &crate::attacks::Good| {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        said(server.ask("POST", path, &headers, body))
    };
    let alone: Vec<_> = good.iter().map(ask).collect();
    assert!(alone.iter().all(|(status, ..)| *status == 200), "{alone:?}");
    let before = resident();
    let counts = thread::scope(|scope| {
        let client = |number: usize| {
            let (server, good, alone, ask, photos, odd) = (&server, &good, &alone, &ask, &photos, &odd);
            scope.spawn(move || {
                let mut random = Random::new(seed ^ (number as u64) << 32);
                let mut counts = Counts::new();
                for _ in 0..requests / CLIENTS {
                    if random.below(2) == 0 {
                        attack(server, &Attack::any(&mut random, photos, odd), &mut counts);
                        continue;
                    }
                    let which = random.below(good.len());
                    assert!(ask(&good[which]) == alone[which], "good request {which} had another answer");
                    *counts.entry(("good", 200)).or_default() += 1;
                }
                counts
            })
        };
        let clients: Vec<_> = (0..CLIENTS).map(client).collect();
        let mut all = Counts::new();
        for client in clients {
            for (what, count) in client.join().unwrap() {
                *all.entry(what).or_default() += count;
            }
        }
        all
    });
    // Whoever left without a word is forgotten.
    while !server.get("/metrics").text().contains("pugmark_requests_in_flight 1\n") {
        thread::sleep(Duration::from_millis(20));
    }
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("pugmark_photos_waiting 0\n"), "{}", metrics.text());
    assert!(!metrics.text().contains("status=\"5"), "{}", metrics.text());
    let after = resident();
    assert_eq!(server.stopped(), 0);
    (counts, [before, after])
}

/// Of this process, clients and server, in KiB; 0 where the system does not say.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

#[test]
fn a_few_thousand() {
    let (counts, _) = crowd(FEW, 1);
    let kinds: std::collections::BTreeSet<_> = counts.keys().map(|(kind, _)| kind).collect();
    assert!(kinds.len() > 25, "{kinds:?}");
    assert_eq!(counts.values().sum::<usize>(), FEW);
}

/// `PUGMARK_REQUESTS=100000 PUGMARK_SEED=7 cargo test --release -p pugmark-serve --test server -- --ignored --nocapture crowd`
#[test]
#[ignore = "as long as it is told to take"]
fn as_many_as_you_like() {
    let number = |name: &str, standard: u64| {
        std::env::var(name).map_or(standard, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
    };
    let (requests, seed) = (number("PUGMARK_REQUESTS", 100_000), number("PUGMARK_SEED", 1));
    let (counts, [before, after]) = crowd(requests as usize, seed);
    for ((kind, status), count) in &counts {
        println!("{count:>7} {kind}: {}", if *status == 0 { "no answer".into() } else { status.to_string() });
    }
    println!(
        "{} requests; resident memory {before} KiB before, {after} KiB after",
        counts.values().sum::<usize>()
    );
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
                assert!(reply(&mut stream).is_none_or(|reply| reply.status == 408));
            });
        }
        server.photo(&crate::harness::png(1));
    });
}
