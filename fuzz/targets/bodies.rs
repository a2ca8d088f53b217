//! What is sent to the endpoint: bodies of every type, tensors, the forms of answers that are asked for.

#![no_main]

use fuzz::{kind, of_kind, parts, seed, within};
use libfuzzer_sys::fuzz_target;
use pugmark_data::{Limits, Photo, decode};
use pugmark_serve::fuzzing::{Asked, Refused, Sent, answer, body, inference};
use serde_json::Value;

const LIMITS: Limits = Limits { max_pixels: 1 << 12, max_bytes: 1 << 16 };

/// The most that a body may take, for each of its bytes: one byte of JSON lines is a photo that fails alone.
const EXPANSION: usize = 512;

fuzz_target!(init: seed(seeds()), |bytes: &[u8]| {
    let Some((kind, bytes)) = of_kind(bytes, 2) else { return };
    let [accept, content_type, sent] = parts(bytes);
    let memory = EXPANSION * bytes.len() + (1 << 20);
    let read = within(memory, || match kind {
        0 => body(content_type, sent, &LIMITS),
        _ => inference(sent, &LIMITS),
    });
    match read {
        Ok(photos) => {
            assert!(!photos.is_empty() && photos.len() <= 10_000);
            photos.iter().for_each(|(_, photo)| check(photo));
            written(accept, &photos);
        }
        Err(error) => clients_fault(&error),
    }
});

fn check(photo: &Result<Sent, Refused>) {
    match photo {
        Ok(Sent::File(bytes)) => assert!(bytes.len() <= 1 << 16),
        Ok(Sent::Pixels(Photo { width, height, rgb, .. })) => {
            assert!(width * height > 0 && (width * height) as u64 <= LIMITS.max_pixels);
            assert_eq!(rgb.len(), width * height * 3);
        }
        Err(error) => clients_fault(error),
    }
}

/// Nothing that can be sent is a fault of the server.
fn clients_fault((status, message, hint): &Refused) {
    assert!((400..500).contains(status), "{status}: {message}");
    assert!(!message.is_empty() && message.chars().count() <= 503 && !hint.is_empty());
}

/// Answers can be read by whoever asked, with a line or an entry for each photo and its own name in it.
fn written(accept: &[u8], photos: &[Asked]) {
    for flat in [false, true] {
        let (form, text) = match answer(accept, photos, flat) {
            Ok(answer) => answer,
            Err(error) => {
                clients_fault(&error);
                continue;
            }
        };
        let ids: Vec<Option<&str>> = photos.iter().map(|(id, _)| id.as_deref()).collect();
        let id = |entry: &Value| entry["id"].as_str().map(str::to_owned);
        let json = |text: &str| -> Value { serde_json::from_str(text).expect("an answer is JSON") };
        let found: Vec<Option<String>> = match form {
            "application/json" => {
                json(&text)["predictions"].as_array().expect("a list").iter().map(id).collect()
            }
            "application/jsonlines" => text.lines().map(|line| id(&json(line))).collect(),
            csv => {
                let mut csv = csv::ReaderBuilder::new()
                    .has_headers(csv.ends_with("present"))
                    .from_reader(text.as_bytes());
                let rows = csv.records().map(|row| row.expect("all rows have as many cells"));
                let named = rows.zip(&ids).map(|(row, id)| id.is_some().then(|| row[0].to_owned()));
                named.collect()
            }
        };
        assert_eq!(found.iter().map(Option::as_deref).collect::<Vec<_>>(), ids, "{text}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let pnm = "P6 2 1 255\nabcdef";
    assert!(decode(pnm.as_bytes(), &LIMITS).is_ok());
    let base64 = "UDYgMiAxIDI1NQphYmNkZWY=";
    let request = |accept: &str, content_type: &str, body: &[u8]| {
        kind(0, [accept.as_bytes(), b"\0", content_type.as_bytes(), b"\0", body].concat())
    };
    let npy = |kind: &str, shape: &str, data: &[u8]| {
        let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n");
        [&b"\x93NUMPY\x01\0"[..], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    };
    let form = format!(
        "--X\r\ncontent-disposition: form-data; name=\"a\"; filename=\"x/y.ppm\"\r\n\r\n{pnm}\r\n--X\r\n\
         content-disposition: form-data; name=\"b\"\r\n\r\nno photo\r\n--X--\r\n"
    );
    let json = "application/json";
    let mut seeds = vec![
        request("", "image/x-portable-pixmap", pnm.as_bytes()),
        request("*/*", json, format!("\"{base64}\"").as_bytes()),
        request(json, json, format!("{{\"id\": \"a\", \"image\": \"{base64}\"}}").as_bytes()),
        request(
            "text/csv",
            json,
            format!("[{{\"id\": \"a,\\\"b\\\"\", \"b64\": \"data:image/png;base64,{base64}\"}}, \"?\"]")
                .as_bytes(),
        ),
        request(
            "text/csv; header=present, application/json;q=0.5",
            json,
            format!("{{\"instances\": [{{\"data\": \"{base64}\"}}], \"top\": 3}}").as_bytes(),
        ),
        request(
            "application/jsonlines",
            "application/jsonlines",
            format!("\"{base64}\"\n{{\"id\": \"x\"}}\n\n7").as_bytes(),
        ),
        request("text/*", "multipart/form-data; boundary=X", form.as_bytes()),
        request("", "application/x-npy", &npy("|u1", "(1, 2, 3)", b"abcdef")),
        request("", "application/x-npy", &npy("<f4", "(2, 1, 1, 3)", &[0; 24])),
        request("", "", &npy("<f8", "(1, 1, 3)", &[0; 24])),
    ];
    for (shape, datatype, data) in [
        ("[1]", "BYTES", format!("[\"{base64}\"]")),
        ("[1, 1, 2, 3]", "UINT8", "[[[[0, 1, 2], [253, 254, 255]]]]".to_owned()),
        ("[1, 1, 1, 3]", "FP32", "[0.0, 1, 0.5]".to_owned()),
    ] {
        let tensor = format!(
            "{{\"name\": \"photos\", \"shape\": {shape}, \"datatype\": \"{datatype}\", \"data\": {data}}}"
        );
        let body =
            format!("{{\"id\": \"r\", \"inputs\": [{tensor}], \"outputs\": [{{\"name\": \"class\"}}]}}");
        seeds.push(kind(1, [b"\0\0", body.as_bytes()].concat()));
    }
    seeds
}
