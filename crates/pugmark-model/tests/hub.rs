//! Fetching published weights, against a server on this machine.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread::JoinHandle;

use pugmark_graph::Architecture;
use pugmark_model::hub::{
    HubError, Progress, Published, Source, cache_dir, fetch, published, resolve, verify,
};
use sha2::{Digest, Sha256};

/// What the server does with one request.
enum Reply {
    /// The part asked for, or the whole file.
    Serve,
    /// As `Serve`, but the connection ends after so many bytes of the body.
    CutAfter(usize),
    /// The whole file, whatever part was asked for.
    IgnoreRange,
    /// The whole file with its first byte changed.
    Falsify,
    /// Exactly these bytes.
    Raw(&'static str),
}

/// Answers one request for each reply, and gives back what was asked for: the `Range` of each, or "".
fn serve(content: &[u8], replies: Vec<Reply>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let base = format!("http://{}/models/", listener.local_addr().expect("bound"));
    let content = content.to_vec();
    let server = std::thread::spawn(move || {
        replies
            .into_iter()
            .map(|reply| answer(&listener.accept().expect("a client").0, &content, reply))
            .collect()
    });
    (base, server)
}

fn answer(mut stream: &TcpStream, content: &[u8], reply: Reply) -> String {
    let request: Vec<String> =
        BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    assert_eq!(request[0], "GET /models/tiny-00000000.pth HTTP/1.1");
    let range =
        request.iter().find_map(|line| line.to_lowercase().strip_prefix("range: ").map(str::to_string));
    let start =
        range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let whole = |body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let part = || match start {
        None => whole(content),
        Some(start) => {
            let (last, length): (usize, usize) = (content.len() - 1, content.len());
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {start}-{last}/{length}\r\nContent-Length: {}\r\n\
                 Connection: close\r\n\r\n",
                length - start
            );
            [head.as_bytes(), &content[start..]].concat()
        }
    };
    let bytes = match reply {
        Reply::Serve => part(),
        Reply::CutAfter(count) => {
            let whole = part();
            let head = whole.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
            whole[..head + count].to_vec()
        }
        Reply::IgnoreRange => whole(content),
        Reply::Falsify => whole(&[&[!content[0]], &content[1..]].concat()),
        Reply::Raw(text) => text.as_bytes().to_vec(),
    };
    // The client may hang up as soon as it has seen the head.
    let _ = stream.write_all(&bytes);
    range.unwrap_or_default()
}

/// Larger than the pieces that are read at once, and without a period.
fn content() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn tiny() -> Published {
    let digits: String = Sha256::digest(content()).iter().map(|byte| format!("{byte:02x}")).collect();
    Published {
        name: "tiny",
        architecture: Architecture::SimpleCnn,
        file: "tiny-00000000.pth",
        sha256: digits.leak(),
        bytes: 300_000,
        licence: "",
        accuracy: "",
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

const PART: &str = "tiny-00000000.pth.part";
const WHOLE: &str = "tiny-00000000.pth";

#[test]
fn a_file_is_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("new").join("weights");
    let (base, server) = serve(&content(), vec![Reply::Serve]);
    let mut seen: Vec<Progress> = Vec::new();
    let path = fetch(&tiny(), Some(&base), &cache, &mut |progress| seen.push(progress)).unwrap();
    assert_eq!(path, cache.join(WHOLE));
    assert_eq!(fs::read(&path).unwrap(), content());
    assert_eq!(names(&cache), [WHOLE]);
    assert_eq!(server.join().unwrap(), [""]);
    assert_eq!(seen[0], Progress { bytes: 0, total: 300_000 });
    assert!(seen.is_sorted_by_key(|progress| progress.bytes) && seen.len() > 2);
    assert_eq!(seen[seen.len() - 1], Progress { bytes: 300_000, total: 300_000 });

    // The server is gone.
    let again = fetch(&tiny(), Some(&base), &cache, &mut |_| panic!("nothing is to be fetched")).unwrap();
    assert_eq!(again, path);
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    struct Case {
        replies: Vec<Reply>,
        ranges: [&'static str; 3],
        /// Bytes kept after each of the first two attempts.
        kept: [u64; 2],
    }
    let cases = [
        Case {
            replies: vec![Reply::CutAfter(100_000), Reply::CutAfter(70_000), Reply::Serve],
            ranges: ["", "bytes=100000-", "bytes=170000-"],
            kept: [100_000, 170_000],
        },
        Case {
            replies: vec![Reply::CutAfter(100_000), Reply::CutAfter(0), Reply::IgnoreRange],
            ranges: ["", "bytes=100000-", "bytes=100000-"],
            kept: [100_000, 100_000],
        },
    ];
    for Case { replies, ranges, kept } in cases {
        let cache = tempfile::tempdir().unwrap();
        let (base, server) = serve(&content(), replies);
        for kept in kept {
            let error = fetch(&tiny(), Some(&base), cache.path(), &mut |_| {}).unwrap_err();
            assert!(matches!(error, HubError::Cut { bytes, total: 300_000, .. } if bytes == kept), "{error}");
            assert!(error.hint().unwrap().contains("run the same command again"));
            assert_eq!(names(cache.path()), [PART]);
            assert_eq!(fs::read(cache.path().join(PART)).unwrap(), content()[..kept as usize]);
        }
        let mut first = None;
        let path =
            fetch(&tiny(), Some(&base), cache.path(), &mut |p| first = first.or(Some(p.bytes))).unwrap();
        assert_eq!(first, Some(kept[1]));
        assert_eq!(fs::read(path).unwrap(), content());
        assert_eq!(names(cache.path()), [WHOLE]);
        assert_eq!(server.join().unwrap(), ranges);
    }
}

#[test]
fn what_an_earlier_attempt_left_is_not_trusted() {
    struct Case {
        left: Vec<u8>,
        range: Option<&'static str>,
        whole: bool,
    }
    let other = |length: usize| vec![7; length];
    let cases = [
        Case { left: content(), range: None, whole: true },
        Case { left: other(300_001), range: Some(""), whole: true },
        Case { left: other(1000), range: Some("bytes=1000-"), whole: false },
        Case { left: other(300_000), range: None, whole: false },
    ];
    for Case { left, range, whole } in cases {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join(PART), &left).unwrap();
        let (base, server) = serve(&content(), range.iter().map(|_| Reply::Serve).collect());
        let result = fetch(&tiny(), Some(&base), cache.path(), &mut |_| {});
        assert_eq!(server.join().unwrap(), Vec::from_iter(range));
        if whole {
            assert_eq!(fs::read(result.unwrap()).unwrap(), content());
            assert_eq!(names(cache.path()), [WHOLE]);
        } else {
            assert!(matches!(result, Err(HubError::Checksum { .. })), "{result:?}");
            assert!(names(cache.path()).is_empty());
        }
    }
}

#[test]
fn a_wrong_checksum_leaves_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let (base, _) = serve(&content(), vec![Reply::Falsify]);
    let error = fetch(&tiny(), Some(&base), cache.path(), &mut |_| {}).unwrap_err();
    let mut falsified = content();
    falsified[0] = !falsified[0];
    let found: String = Sha256::digest(falsified).iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = tiny().sha256;
    assert_eq!(
        error.to_string(),
        format!(
            "{base}{WHOLE}: the file fetched has sha256 {found} and should have {expected}; it is deleted"
        )
    );
    assert!(names(cache.path()).is_empty());
}

#[test]
fn other_answers_say_where_to_put_the_file_by_hand() {
    struct Case {
        reply: Reply,
        /// Bytes of an earlier attempt.
        left: usize,
        message: &'static str,
    }
    let cases = [
        Case {
            reply: Reply::Raw("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone"),
            left: 0,
            message: "the server answers 404 Not Found",
        },
        Case {
            reply: Reply::Raw("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"),
            left: 5,
            message: "the server answers 503 Service Unavailable",
        },
        Case {
            reply: Reply::Raw("HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n<html>Log in</ht"),
            left: 5,
            message: "the server answers with 16 bytes where the file has 300000",
        },
        Case {
            reply: Reply::Raw(
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n00000",
            ),
            left: 5,
            message: "the server answers with 10 bytes where the file has 300000",
        },
        Case {
            reply: Reply::Raw("HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-299999/300000\r\n\r\n"),
            left: 5,
            message: "the server answers with another part than what follows byte 5",
        },
        Case { reply: Reply::Raw("SSH-2.0-OpenSSH\r\n"), left: 0, message: "can't reach " },
    ];
    for Case { reply, left, message } in cases {
        let cache = tempfile::tempdir().unwrap();
        fs::write(cache.path().join(PART), &content()[..left]).unwrap();
        let (base, _) = serve(&content(), vec![reply]);
        let error = fetch(&tiny(), Some(&base), cache.path(), &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains(message), "{error}");
        assert_by_hand(&error, &base, cache.path());
        assert_eq!(fs::read(cache.path().join(PART)).unwrap(), content()[..left]);
    }
}

fn assert_by_hand(error: &HubError, base: &str, cache: &Path) {
    assert!(error.to_string().contains(&format!("{base}{WHOLE}")), "{error}");
    let hint = error.hint().expect("a hint");
    let by_hand = format!(
        "download {base}{WHOLE} where there is a connection and put it at {}",
        cache.join(WHOLE).display()
    );
    assert!(hint.starts_with(&by_hand), "{hint}");
}

#[test]
fn without_a_server_the_error_says_where_to_put_the_file_by_hand() {
    // A port that was free a moment ago, and a name that never resolves (RFC 6761).
    let (base, server) = serve(&[], vec![]);
    server.join().unwrap();
    for base in [base.as_str(), "http://pugmark.invalid/models/"] {
        let cache = tempfile::tempdir().unwrap();
        let error = fetch(&tiny(), Some(base), cache.path(), &mut |_| {}).unwrap_err();
        assert_by_hand(&error, base, cache.path());
    }
}

#[test]
fn a_damaged_file_in_the_cache_is_neither_used_nor_replaced() {
    let cache = tempfile::tempdir().unwrap();
    fs::write(cache.path().join(WHOLE), "mine").unwrap();
    let error = fetch(&tiny(), Some("http://127.0.0.1:1"), cache.path(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Corrupt { .. }), "{error}");
    assert_eq!(fs::read(cache.path().join(WHOLE)).unwrap(), b"mine");
}

#[test]
fn two_processes_do_not_write_one_file() {
    let cache = tempfile::tempdir().unwrap();
    let other = fs::File::create(cache.path().join(PART)).unwrap();
    other.lock().unwrap();
    let error = fetch(&tiny(), Some("http://127.0.0.1:1"), cache.path(), &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Busy { .. }), "{error}");
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = fetch(&tiny(), Some("http://127.0.0.1:1"), &file.join("weights"), &mut |_| {}).unwrap_err();
    assert!(matches!(&error, HubError::Io { .. }) && error.to_string().contains("weights"), "{error}");
}

#[test]
fn the_list_is_consistent() {
    for entry in published() {
        assert_eq!(Published::find(entry.name).unwrap(), entry);
        assert_eq!(published().iter().filter(|other| other.file == entry.file).count(), 1);
        assert_eq!(entry.sha256.len(), 64);
        assert!(entry.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", entry.name);
        assert!(entry.file.ends_with(&format!("-{}.pth", &entry.sha256[..8])), "{}", entry.name);
        assert_eq!(entry.url(Some("http://mirror/")), format!("http://mirror/{}", entry.file));
        // Four bytes a value of 1,000-class models, and less than 1 % for names, shapes and Swin's tables of indices.
        let graph = entry.architecture.graph(1000);
        let values: usize = graph.params().iter().map(|param| param.len()).sum();
        let least = 4 * values as u64;
        assert!((least..least + least / 100).contains(&entry.bytes), "{}", entry.name);
    }
    assert!(cache_dir().unwrap().ends_with("weights"));
}

#[test]
fn any_file_can_be_verified() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("resnet18-f37072fd.pth");
    // FIPS 180-2's first example.
    fs::write(&path, "abc").unwrap();
    let verification = verify(&path).unwrap();
    assert_eq!(verification.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!((verification.bytes, verification.published), (3, None));
    assert!(matches!(verify(folder.path()), Err(HubError::Io { .. })));
}

#[test]
fn weights_are_none_a_file_or_a_published_name() {
    let cache = tempfile::tempdir().unwrap();
    let resolve = |spec: &str| resolve(spec, Some(cache.path()));
    assert_eq!(resolve("none").unwrap(), Source::None);
    assert_eq!(resolve("none").unwrap().path(), None);
    let file = cache.path().join("mine.pth");
    fs::write(&file, "").unwrap();
    let found = resolve(file.to_str().unwrap()).unwrap();
    assert_eq!(found, Source::File(file.clone()));
    assert_eq!(found.path(), Some(file.as_path()));

    let error = resolve("resnet18").unwrap_err();
    let path = cache.path().join("resnet18-f37072fd.pth");
    assert_eq!(error.to_string(), format!("the weights resnet18 are not at {}", path.display()));
    assert!(error.hint().unwrap().starts_with("run `pugmark weights fetch resnet18`, or put http"));
    fs::write(&path, "abc").unwrap();
    let error = resolve("resnet18").unwrap_err();
    assert!(matches!(&error, HubError::Corrupt { .. }) && error.to_string().contains("ba7816bf"), "{error}");

    let error = resolve("resnet51").unwrap_err();
    assert_eq!(
        error.to_string(),
        "`resnet51` is neither a file nor the name of published weights; those are resnet18, resnet34, resnet50, \
         resnet50-v2, swin_t, convnext_tiny, efficientnet_b0"
    );
}
