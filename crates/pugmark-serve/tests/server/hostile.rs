//! Clients that do not behave. What has killed servers of this kind is among it (named in brackets).

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use pugmark_serve::{RequestLimits, Settings};

use crate::attacks::{bomb, odd_images};
use crate::harness::{Running, encoded, head, kept_head, next_reply, picture, png, reply, settings};

fn server(limits: RequestLimits) -> Running {
    Running::new(Settings { limits, ..settings() })
}

#[test]
fn bodies_that_make_no_sense() {
    let server = Running::new(settings());
    let deep = "[".repeat(1 << 20);
    let cases: [(&str, &[u8], u16, &str); 13] = [
        ("image/jpeg", b"", 400, "the body is empty"),
        ("image/jpeg", b"no photo", 415, "not a JPEG"),
        ("", b"no photo", 415, "not a JPEG"),
        ("text/csv", b"1,2,3", 415, "`text/csv` is not read"),
        // A type that is none [Triton 2643].
        ("\"", b"no photo", 415, "is not read"),
        ("application/json", b"{", 400, "EOF"),
        ("application/json", b"[]", 400, "no photos"),
        ("application/json", deep.as_bytes(), 400, "cannot be read"),
        ("application/x-npy", b"no array", 400, "no .npy file"),
        ("application/x-npy", b"\x93NUMPY\x01\x00\xff\xff{", 400, "ends in its header"),
        ("multipart/form-data", b"--x", 400, "boundary"),
        ("multipart/form-data; boundary=x", b"--y\r\n\r\n", 400, "cannot be read"),
        // The first bytes of a photo, and no more [TorchServe 281, MMS 621].
        ("image/jpeg", b"\xff\xd8\xff\xe0", 400, "JPEG"),
    ];
    for (kind, body, status, why) in cases {
        let reply = server.post("/invocations", &[("content-type", kind)], body);
        let (found, error) = reply.refused();
        assert!(found == status && error.contains(why), "{kind}: {found} {error}");
    }
    assert_eq!(server.photo(&png(1))["truncated"], false);
}

#[test]
fn heads_that_make_no_sense() {
    let server = Running::new(settings());
    // Far more than the system keeps for a connection.
    let long = format!("GET /ping HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(15 << 20));
    let many = format!("GET /ping HTTP/1.1\r\nhost: x\r\n{}\r\n", "a: b\r\n".repeat(1000));
    let post = "POST /invocations HTTP/1.1\r\nhost: x\r\n";
    let cases: [(String, u16); 9] = [
        ("\r\n\r\nno http\r\n\r\n".into(), 400),
        ("GET /ping HTTP/9.9\r\n\r\n".into(), 400),
        (long, 431),
        (many, 431),
        // Lengths that overflow or are negative [Triton 5649].
        (format!("{post}content-length: 99999999999999999999999\r\n\r\n"), 400),
        (format!("{post}content-length: -1\r\n\r\n"), 400),
        (format!("{post}content-length: 3\r\ncontent-length: 4\r\n\r\nabc"), 400),
        (format!("{post}transfer-encoding: chunked\r\nconnection: close\r\n\r\nffffffffffffffffff\r\n"), 400),
        // More than is taken is refused by what it says, before anything is sent.
        (
            format!(
                "{post}connection: close\r\ncontent-length: 9223372036854775807\r\nexpect: 100-continue\r\n\r\n"
            ),
            413,
        ),
    ];
    for (sent, status) in cases {
        let mut stream = server.connect();
        // Also where the server has seen enough: its answer shall arrive.
        stream.write_all(sent.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let reply =
            reply(&mut stream).unwrap_or_else(|| panic!("no answer to {:?}", &sent[..sent.len().min(60)]));
        assert_eq!(reply.status, status, "{:?}", &sent[..sent.len().min(90)]);
    }
    server.photo(&png(1));
}

#[test]
fn bodies_that_are_too_large() {
    let server = server(RequestLimits { body: 100 << 10, ..RequestLimits::default() });
    let (status, why) = server.post("/invocations", &[], &vec![7; 150 << 10]).refused();
    assert!(status == 413 && why.contains("102400 bytes"), "{why}");
    // In pieces, whose sum nobody has said before.
    let mut stream = server.connect();
    let chunked =
        "POST /invocations HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(chunked.as_bytes()).unwrap();
    for _ in 0..20 {
        stream.write_all(b"2000\r\n").unwrap();
        stream.write_all(&[7; 0x2000]).unwrap();
        stream.write_all(b"\r\n").unwrap();
    }
    stream.write_all(b"0\r\n\r\n").unwrap();
    assert_eq!(reply(&mut stream).unwrap().refused().0, 413);
    server.photo(&png(1));
}

/// Who reads nothing before all is sent still reads why nothing came of it, and that this was the connection's last answer.
#[test]
fn refusals_are_read_by_those_who_send_first() {
    let limits = RequestLimits { body: 4 << 20, ..RequestLimits::default() };
    let server = Running::new(Settings { limits, token: None, ..settings() });
    // Far more than the system keeps for a connection, and below what is thrown away.
    let body = vec![7; 15 << 20];
    let none = &[][..];
    // As Java's client and `curl --http2` ask.
    let upgrade =
        &[("connection", "Upgrade, HTTP2-Settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABk")];
    for (method, path, headers, status) in [
        ("POST", "/nothing", none, 404),
        ("POST", "/nothing", upgrade, 404),
        ("PUT", "/invocations", none, 405),
        ("GET", "/ping", &[("content-length", "15728640")], 200),
        ("POST", "/invocations", &[("accept", "image/gif")], 406),
        ("POST", "/invocations?top=x", none, 400),
        ("POST", "/invocations", &[("x-amzn-sagemaker-target-variant", "none")], 404),
        ("POST", "/invocations", none, 413),
        ("POST", "/v2/models/none/infer", none, 404),
        ("POST", "/explain?class=none", none, 400),
    ] {
        let mut stream = server.connect();
        stream.write_all(&kept_head(method, path, headers, body.len())).unwrap();
        stream.write_all(&body).unwrap();
        let reply = reply(&mut stream).unwrap();
        assert_eq!(reply.status, status, "{method} {path}");
        assert_eq!(reply.headers["connection"], "close", "{method} {path}");
    }
    // Who waits to be asked for the body is not asked.
    let mut stream = server.connect();
    let head = kept_head("POST", "/nothing", &[("expect", "100-continue")], 1000);
    stream.write_all(&head).unwrap();
    let reply = reply(&mut stream).unwrap();
    assert_eq!((reply.refused().0, reply.headers["connection"].as_str()), (404, "close"));
    server.photo(&png(1));
}

#[test]
fn small_bodies_that_are_refused_leave_the_connection() {
    let server = Running::new(settings());
    let mut stream = server.connect();
    for (path, status) in [("/nothing", 404), ("/invocations?top=x", 400), ("/ping", 405)] {
        let request = [kept_head("POST", path, &[], 1000), vec![7; 1000]].concat();
        stream.write_all(&request).unwrap();
        assert_eq!(next_reply(&mut stream), Some((status, false)), "{path}");
    }
    // Behind one that makes no sense nobody knows where the next request begins.
    let chunked = b"POST /invocations HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nno chunk\r\n";
    stream.write_all(chunked).unwrap();
    assert_eq!(next_reply(&mut stream), Some((400, true)));
    assert_eq!(next_reply(&mut stream), None);
}

/// A photo of few bytes and many pixels is refused by its head.
#[test]
fn pixel_bombs() {
    let server = Running::new(settings());
    let (status, why) = server.post("/invocations", &[], &bomb(0x7fff, 0x7fff)).refused();
    assert!(status == 413 && why.contains("32767 x 32767"), "{status} {why}");
    // With its short side at 36 it would have 36 x 2,160,000 pixels; what is seen of it are 32 x 32.
    let narrow = encoded(&picture(0, 1, 60_000), image::ImageFormat::Png);
    let wide = encoded(&picture(0, 60_000, 1), image::ImageFormat::Bmp);
    for photo in [narrow, wide] {
        server.photo(&photo);
    }
    server.photo(&png(1));
}

#[test]
fn those_who_send_slowly_hold_up_nobody() {
    let idle = Duration::from_millis(600);
    let server = server(RequestLimits { idle, ..RequestLimits::default() });
    let mut slow: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for (place, stream) in slow.iter_mut().enumerate() {
        let whole = head("POST", "/invocations", &[], 1000);
        // Some stop in the head, some in the body.
        let sent = if place % 2 == 0 { &whole[..20] } else { &whole[..] };
        stream.write_all(sent).unwrap();
    }
    server.photo(&png(1));
    // Each is told or cut off.
    for (place, stream) in slow.iter_mut().enumerate() {
        match reply(stream) {
            Some(reply) => assert_eq!(reply.refused().0, 408),
            None => assert_eq!(place % 2, 0, "in the head nobody knows what to answer"),
        }
    }
    assert!(server.get("/metrics").text().contains("pugmark_requests_in_flight 1"));
}

#[test]
fn lengths_that_lie_and_sockets_that_are_half_closed() {
    let server = Running::new(settings());
    let body = png(1);
    let wanted = server.photo(&body);

    // A client that has said everything and waits for the answer.
    let mut stream = server.connect();
    stream.write_all(&head("POST", "/invocations", &[], body.len())).unwrap();
    stream.write_all(&body).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(reply(&mut stream).expect("an answer").json(), wanted);

    // Less than was promised, and then nothing more can come.
    let mut stream = server.connect();
    stream.write_all(&head("POST", "/invocations", &[], body.len() + 10)).unwrap();
    stream.write_all(&body).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    if let Some(reply) = reply(&mut stream) {
        assert_eq!(reply.refused(), (400, "the body ends early".to_owned()));
    }

    // More than was promised: the rest is no request.
    let mut stream = server.connect();
    let keep = format!("POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(keep.as_bytes()).unwrap();
    stream.write_all(&[&body[..], b"\x00\x01 rubbish\r\n\r\n"].concat()).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("HTTP/1.1 200") && said.contains("HTTP/1.1 400"), "{said}");

    // Gone without a word.
    for _ in 0..20 {
        let mut stream = server.connect();
        stream.write_all(&head("POST", "/invocations", &[], body.len())).unwrap();
        stream.write_all(&body).unwrap();
    }
    assert_eq!(server.photo(&body), wanted);
}

#[test]
fn every_odd_file_of_an_image_library() {
    let files = odd_images();
    if files.is_empty() {
        println!("skipped: there is no test data");
        return;
    }
    assert!(files.len() > 50, "{} files", files.len());
    let server = Running::new(settings());
    let wanted = server.photo(&png(1));
    for (place, bytes) in files.iter().enumerate() {
        let reply = server.post("/invocations", &[("content-type", "application/x-image")], bytes);
        match reply.status {
            200 => assert!(reply.json()["class"].is_string(), "file {place}"),
            _ => assert_eq!(reply.refused().0 / 100, 4, "file {place}: {}", reply.text()),
        }
    }
    assert_eq!(server.photo(&png(1)), wanted);
}
