//! Of every parser: what was written is read, and nothing that can be sent does harm. By a seed, so that a failure comes again;
//! `PUGMARK_CASES` says how many cases.

use axum::http::{HeaderMap, HeaderValue};
use futures_util::FutureExt;
use serde_json::{Value, json};

use super::*;

/// Numbers by a seed (SplitMix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }

    /// Of all planes, quotes and control characters among it.
    fn text(&mut self) -> String {
        let of = |random: &mut Self| match random.below(4) {
            0 => char::from_u32(random.below(0x80) as u32).unwrap_or('x'),
            1 => ['"', '\\', '\n', '{', ']', ','][random.below(6)],
            2 => char::from_u32(random.below(0x11_0000) as u32).unwrap_or('\u{fffd}'),
            _ => 'a',
        };
        (0..self.below(12)).map(|_| of(self)).collect()
    }

    /// The same with bytes changed, taken out, repeated or swapped with others of it.
    fn spoiled(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.below(6) {
            let (at, other) = (self.below(bytes.len()), self.below(bytes.len()));
            let (from, to) = (at.min(other), at.max(other));
            match self.below(5) {
                0 => bytes[at] = self.next() as u8,
                1 => bytes.swap(at, other),
                2 if to - from < bytes.len() - 1 => drop(bytes.drain(from..to)),
                3 if bytes.len() < 5000 => bytes.extend_from_within(from..to),
                _ => bytes[at] ^= 1 << self.below(8),
            }
        }
        bytes
    }
}

fn cases() -> usize {
    std::env::var("PUGMARK_CASES").map_or(2000, |cases| cases.parse().unwrap())
}

const LIMITS: Limits = Limits { max_pixels: 10_000, max_bytes: 1 << 20 };

fn asked(kind: &str, body: &[u8]) -> Result<Asked, RequestError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
    read(&headers, Bytes::copy_from_slice(body), &LIMITS).now_or_never().expect("all of the body is there")
}

/// Ids and bytes; none for a photo that is none.
fn photos(asked: &[Named]) -> Vec<(Option<String>, Option<Vec<u8>>)> {
    let bytes = |named: &Named| match &named.source {
        Ok(Source::File(bytes)) => Some(bytes.to_vec()),
        Ok(Source::Pixels(photo)) => Some(photo.rgb.clone()),
        Err(_) => None,
    };
    asked.iter().map(|named| (named.id.clone(), bytes(named))).collect()
}

type Item = (Option<String>, Option<Vec<u8>>);

/// A photo and one way to write it in JSON.
fn item(random: &mut Random) -> (Item, Value) {
    use base64::Engine;
    let bytes = random.bytes(60);
    let mut text = base64::prelude::BASE64_STANDARD.encode(&bytes);
    if random.below(3) == 0 {
        text = text.trim_end_matches('=').to_owned();
    }
    if random.below(4) == 0 {
        text = format!("data:image/png;base64,{text}");
    }
    if random.below(3) == 0 {
        return ((None, Some(bytes)), json!(text));
    }
    let key = ["image", "b64", "data"][random.below(3)];
    let image = if random.below(4) == 0 { json!({"b64": text}) } else { json!(text) };
    let mut object = json!({key: image});
    let id = (random.below(2) == 0).then(|| random.text());
    if let Some(id) = &id {
        object["id"] = json!(id);
    }
    if random.below(3) == 0 {
        object[format!("x{}", random.text())] = json!([{"y": random.text()}, null, 1.5e300, [[]]]);
    }
    ((id, Some(bytes)), object)
}

/// Bodies of all kinds, and what is to be read from each; nothing to compare where the protocol is another.
fn body(random: &mut Random) -> (String, Vec<u8>, Vec<Item>) {
    let items: Vec<_> = (0..1 + random.below(4)).map(|_| item(random)).collect();
    let (wanted, values): (Vec<Item>, Vec<Value>) = items.into_iter().unzip();
    match random.below(4) {
        0 => {
            let list = Value::from(values);
            let document = match random.below(3) {
                0 => list,
                1 => json!({"images": list, "top": random.below(9)}),
                _ => json!({"instances": list}),
            };
            let text = if random.below(2) == 0 { document.to_string() } else { format!("{document:#}") };
            ("application/json".into(), text.into(), wanted)
        }
        1 => {
            let mut lines = Vec::new();
            let mut all = Vec::new();
            for (wanted, value) in wanted.into_iter().zip(values) {
                lines.push(value.to_string());
                all.push(wanted);
                if random.below(3) == 0 {
                    lines.push(["{", "[]", "7", "{\"id\": \"a\"}", "\"?\""][random.below(5)].to_owned());
                    all.push((None, None));
                }
            }
            let end = ["\n", "\r\n", "\n\n"][random.below(3)];
            ("application/jsonlines".into(), lines.join(end).into_bytes(), all)
        }
        2 => {
            let mut form = Vec::new();
            let mut all = Vec::new();
            for place in 0..wanted.len() {
                let bytes = random.bytes(100);
                let file = random.below(2) == 0;
                let name = if file { format!("; filename=\"f{place}.png\"") } else { String::new() };
                form.extend(
                    format!("--bnd7\r\nContent-Disposition: form-data; name=\"n{place}\"{name}\r\n\r\n")
                        .bytes(),
                );
                form.extend(&bytes);
                form.extend(b"\r\n");
                all.push((
                    Some(if file { format!("f{place}.png") } else { format!("n{place}") }),
                    Some(bytes),
                ));
            }
            form.extend(b"--bnd7--\r\n");
            ("multipart/form-data; boundary=bnd7".into(), form, all)
        }
        _ => {
            let [height, width] = [1 + random.below(6), 1 + random.below(6)];
            let number = 1 + random.below(3);
            let levels: Vec<Vec<u8>> =
                (0..number).map(|_| (0..height * width * 3).map(|_| random.next() as u8).collect()).collect();
            let all = levels.concat();
            let (descr, data) = match random.below(3) {
                0 => ("|u1", all),
                // Every level divided by 255 is nearer to itself than to any other.
                1 => {
                    ("<f4", all.iter().flat_map(|&level| (f32::from(level) / 255.0).to_le_bytes()).collect())
                }
                _ => {
                    ("<f8", all.iter().flat_map(|&level| (f64::from(level) / 255.0).to_le_bytes()).collect())
                }
            };
            let space = " ".repeat(random.below(70));
            let header = format!(
                "{{'descr': '{descr}', 'fortran_order': False, 'shape': ({number}, {height}, {width}, 3), }}{space}\n"
            );
            let length = header.len();
            let mut file = npy::MAGIC.to_vec();
            if random.below(2) == 0 {
                file.extend([1, 0]);
                file.extend((length as u16).to_le_bytes());
            } else {
                file.extend([2, 0]);
                file.extend((length as u32).to_le_bytes());
            }
            file.extend(header.bytes());
            file.extend(data);
            ("application/x-npy".into(), file, levels.into_iter().map(|rgb| (None, Some(rgb))).collect())
        }
    }
}

#[test]
fn what_was_written_is_read() {
    let mut random = Random(1);
    for case in 0..cases() {
        let (kind, body, wanted) = body(&mut random);
        let shown = String::from_utf8_lossy(&body);
        let asked =
            asked(&kind, &body).unwrap_or_else(|error| panic!("case {case}, {kind}: {error}: {shown}"));
        assert!(asked.list, "case {case}, {kind}");
        assert_eq!(photos(&asked.photos), wanted, "case {case}, {kind}: {shown}");
    }
}

/// A spoiled body is read or refused by the client's fault, and what comes of it is no larger than it was.
#[test]
fn what_was_spoiled_does_no_harm() {
    let mut random = Random(2);
    let kinds = [
        "application/json",
        "application/jsonlines",
        "multipart/form-data; boundary=bnd7",
        "application/x-npy",
        "",
    ];
    let (mut read, mut refused) = (0, 0);
    for case in 0..cases() {
        let (kind, body, _) = body(&mut random);
        let body = random.spoiled(&body);
        let kind = if random.below(8) == 0 { kinds[random.below(kinds.len())] } else { &kind };
        match asked(kind, &body) {
            Ok(asked) => {
                let held: usize =
                    photos(&asked.photos).iter().flat_map(|(_, bytes)| bytes).map(Vec::len).sum();
                assert!(held <= body.len(), "case {case}, {kind}: {held} bytes of {}", body.len());
                read += 1;
            }
            Err(error) => {
                assert!(error.status().is_client_error(), "case {case}, {kind}: {error}");
                refused += 1;
            }
        }
    }
    assert!(read > cases() / 20 && refused > cases() / 20, "{read} read, {refused} refused");
}

#[test]
fn tensors_are_read_in_rows_or_flat_and_spoiled_ones_do_no_harm() {
    let mut random = Random(3);
    for case in 0..cases() {
        let [number, height, width] = [(); 3].map(|()| 1 + random.below(4));
        let levels: Vec<u8> = (0..number * height * width * 3).map(|_| random.next() as u8).collect();
        let rows = |values: &[u8]| -> Value {
            let row = |row: &[u8]| json!(row.chunks(3).collect::<Vec<_>>());
            let photo = |photo: &[u8]| Value::from_iter(photo.chunks(width * 3).map(row));
            Value::from_iter(values.chunks(height * width * 3).map(photo))
        };
        let data = if random.below(2) == 0 { json!(levels) } else { rows(&levels) };
        let tensor =
            json!({"name": "x", "shape": [number, height, width, 3], "datatype": "UINT8", "data": data});
        let body = json!({"id": random.text(), "inputs": [tensor]}).to_string();
        let read = |bytes: &[u8]| Inference::read(bytes).and_then(|mut asked| asked.photos(&LIMITS));
        let found =
            photos(&read(body.as_bytes()).unwrap_or_else(|error| panic!("case {case}: {error}: {body}")));
        let found: Vec<u8> = found.into_iter().flat_map(|(_, rgb)| rgb.unwrap()).collect();
        assert_eq!(found, levels, "case {case}");
        let spoiled = random.spoiled(body.as_bytes());
        match read(&spoiled) {
            Ok(named) => {
                let held: usize = photos(&named).iter().flat_map(|(_, bytes)| bytes).map(Vec::len).sum();
                assert!(held <= spoiled.len(), "case {case}");
            }
            Err(error) => assert!(error.status().is_client_error(), "case {case}: {error}"),
        }
    }
}
