//! Requests that were made to fail, and some that were not. What has killed servers of this kind is among them (named in
//! brackets).

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::ImageFormat;
use serde_json::json;

use crate::harness::{encoded, head, picture, png};

/// Numbers by a seed (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.next() as u8).collect()
    }

    /// The same with a few bytes changed, and perhaps cut off.
    fn spoiled(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(8) {
            let at = self.below(bytes.len());
            bytes[at] = self.next() as u8;
        }
        if self.below(3) == 0 {
            bytes.truncate(1 + self.below(bytes.len()));
        }
        bytes
    }
}

/// Path, headers and body of a request that makes sense.
pub(crate) type Good = (&'static str, Vec<(&'static str, String)>, Vec<u8>);

/// Good requests of every form.
pub(crate) fn good() -> Vec<Good> {
    let kind = |kind: &str| vec![("content-type", kind.to_owned())];
    let text = |number| BASE64_STANDARD.encode(png(number));
    let form =
        [b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".as_slice(), &png(2), b"\r\n--x--\r\n"];
    let pixels = picture(4, 20, 10);
    let mut all: Vec<Good> = (0..4).map(|number| ("/invocations", kind("image/png"), png(number))).collect();
    for format in [ImageFormat::Jpeg, ImageFormat::WebP] {
        all.push(("/invocations?top=1", Vec::new(), encoded(&picture(5, 64, 48), format)));
    }
    all.extend([
        (
            "/invocations",
            kind("application/json"),
            json!([text(1), {"id": "b", "image": text(2)}, "?"]).to_string().into(),
        ),
        ("/invocations", kind("application/jsonlines"), format!("\"{}\"\n{{}}\n", text(3)).into()),
        ("/invocations", kind("multipart/form-data; boundary=x"), form.concat()),
        ("/invocations", kind("application/x-npy"), npy("|u1", "(10, 20, 3)", pixels.as_raw())),
        ("/invocations", vec![("accept", "text/csv; header=present".to_owned())], png(6)),
        (
            "/v2/models/main/infer",
            kind("application/json"),
            json!({"inputs": [{"name": "x", "shape": [1], "datatype": "BYTES", "data": [text(7)]}]})
                .to_string()
                .into(),
        ),
        ("/explain", Vec::new(), png(1)),
    ]);
    all
}

/// A NumPy file, version 1.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

/// Files that image libraries test themselves with; none where there is no test data.
pub(crate) fn odd_images() -> Vec<Vec<u8>> {
    let data = std::env::var_os("PUGMARK_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let files = std::fs::read_dir(data.join("odd-images/images")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files.map(|file| file.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// ISO 3309, bit by bit.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), |crc, _| bit(crc)))
}

/// A PNG of few bytes that says it has that many pixels.
pub(crate) fn bomb(width: u32, height: u32) -> Vec<u8> {
    let mut bomb = encoded(&picture(0, 16, 16), ImageFormat::Png);
    bomb[16..20].copy_from_slice(&width.to_be_bytes());
    bomb[20..24].copy_from_slice(&height.to_be_bytes());
    // The header is signed again.
    let crc = crc32(&bomb[12..29]);
    bomb[29..33].copy_from_slice(&crc.to_be_bytes());
    bomb
}

/// What is sent, and what may come of it: an error of the client's at any rate.
pub(crate) struct Attack {
    pub(crate) kind: &'static str,
    pub(crate) bytes: Vec<u8>,
    /// It may be a good request after all.
    pub(crate) may_be_answered: bool,
    /// The connection may be closed without a word.
    pub(crate) may_be_cut_off: bool,
    /// The client has said everything.
    pub(crate) half_closes: bool,
    /// The client does not wait for an answer.
    pub(crate) leaves: bool,
}

impl Attack {
    fn new(kind: &'static str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self { kind, bytes, may_be_answered: false, may_be_cut_off: false, half_closes: false, leaves: false }
    }

    fn post(kind: &'static str, path: &str, content_type: &str, body: &[u8]) -> Self {
        Self::new(
            kind,
            [head("POST", path, &[("content-type", content_type)], body.len()), body.to_vec()].concat(),
        )
    }

    fn answered(self) -> Self {
        Self { may_be_answered: true, ..self }
    }

    fn cut_off(self) -> Self {
        Self { may_be_cut_off: true, ..self }
    }

    fn half_closed(self) -> Self {
        Self { half_closes: true, ..self }
    }

    /// One of all kinds.
    pub(crate) fn any(random: &mut Random, photos: &[Vec<u8>], odd: &[Vec<u8>]) -> Self {
        let photo = photos[random.below(photos.len())].clone();
        let text = BASE64_STANDARD.encode(&photo);
        let kinds = [
            "image/jpeg",
            "application/json",
            "",
            "\"",
            "multipart/form-data",
            "a/b;c=\"",
            "application/x-npy",
        ];
        let kind = random.of(&kinds);
        let post = "POST /invocations HTTP/1.1\r\nhost: x\r\nconnection: close\r\n";
        let json = "application/json";
        match random.below(33) {
            // A content type that is wrong or none [Triton 2643].
            0 => Self::post("a wrong type", "/invocations", kind, &random.bytes(100)).answered(),
            1 => Self::new("no type", [head("POST", "/invocations", &[], 7), b"rubbish".to_vec()].concat()),
            2 => {
                let whole = json!({"images": [text], "top": 2}).to_string();
                Self::post(
                    "JSON cut off",
                    "/invocations",
                    json,
                    &whole.as_bytes()[..random.below(whole.len())],
                )
            }
            3 => {
                let whole = json!([{"image": text, "id": "x"}, text]).to_string();
                // Half of the time a letter of the base64 is changed.
                Self::post("JSON spoiled", "/invocations", json, &random.spoiled(whole.as_bytes())).answered()
            }
            4 => {
                let unit = random.of(&["[", "{\"a\":", "{\"image\":", "{\"images\":[", "[[{\"b64\":"]);
                let deep = unit.repeat(1 + random.below(200_000));
                Self::post(
                    "deep JSON",
                    random.of(&["/invocations", "/v2/models/main/infer"]),
                    json,
                    deep.as_bytes(),
                )
            }
            // [Triton 5664]
            5 => {
                let huge = "x".repeat(random.below(3 << 20));
                Self::post(
                    "a huge string",
                    "/v2/models/main/infer",
                    json,
                    json!({"id": huge, "inputs": []}).to_string().as_bytes(),
                )
            }
            6 => {
                let huge = json!({"id": "x".repeat(random.below(3 << 20)), "image": "AAAA"});
                Self::post("a huge id", "/invocations", json, huge.to_string().as_bytes())
            }
            // [Triton 3563]
            7 => {
                let shape = random.of(&[
                    "[-1]",
                    "[18446744073709551615, 3]",
                    "[1, -1, 2, 3]",
                    "[]",
                    "[1e300]",
                    "[2]",
                    "7",
                    "[0]",
                ]);
                let tensor = format!(
                    "{{\"name\": \"x\", \"shape\": {shape}, \"datatype\": \"BYTES\", \"data\": [\"{text}\"]}}"
                );
                // An empty shape is that of one element, which is not read either.
                Self::post(
                    "a shape",
                    "/v2/models/main/infer",
                    json,
                    format!("{{\"inputs\": [{tensor}]}}").as_bytes(),
                )
            }
            8 => {
                let datatype = random.of(&["FP32", "UINT8", "INT64", "", "BYTES\u{0}"]);
                let data: Vec<f64> = (0..12).map(|_| random.below(1000) as f64 - 500.5).collect();
                let tensor = json!({"name": "x", "shape": [1, 2, 2, 3], "datatype": datatype, "data": data});
                Self::post(
                    "a tensor",
                    "/v2/models/main/infer",
                    json,
                    json!({"inputs": [tensor]}).to_string().as_bytes(),
                )
            }
            // Less than was promised, and nothing more can come.
            9 => {
                let more = 1 + random.below(1 << 20);
                Self::new(
                    "a length that lies",
                    [head("POST", "/invocations", &[], photo.len() + more), photo].concat(),
                )
                .half_closed()
                .cut_off()
            }
            // [Triton 5649]
            10 => {
                let length = random.of(&[
                    "99999999999999999999",
                    "-1",
                    "0x10",
                    "1e3",
                    "1,1",
                    "+ 5",
                    "18446744073709551616",
                ]);
                Self::new("a length that is none", format!("{post}content-length: {length}\r\n\r\nabc"))
            }
            11 => {
                Self::new("two lengths", format!("{post}content-length: 3\r\ncontent-length: 4\r\n\r\nabc"))
            }
            12 => {
                let size = random.of(&["ffffffffffffffffff", "-1", "z", "", "5;", "7fffffffffffffff"]);
                Self::new("a chunk", format!("{post}transfer-encoding: chunked\r\n\r\n{size}\r\nabc\r\n"))
                    .half_closed()
                    .cut_off()
            }
            13 => {
                let side = |random: &mut Random| 1 << (10 + random.below(21));
                let (width, height) = (side(random), side(random));
                Self::post("a pixel bomb", "/invocations", "image/png", &bomb(width, height)).answered()
            }
            14 => {
                let mut bmp = encoded(&picture(0, 4, 4), ImageFormat::Bmp);
                let side = (random.next() as u32 >> random.below(20)).to_le_bytes();
                bmp[18..22].copy_from_slice(&side);
                bmp[22..26].copy_from_slice(&(random.next() as u32).to_le_bytes());
                Self::post("a BMP bomb", "/invocations", "image/bmp", &bmp).answered()
            }
            15 => {
                let shape = random.of(&[
                    "(-1, 2, 3)",
                    "(9223372036854775807, 9223372036854775807, 3)",
                    "(0, 0, 3)",
                    "(3,)",
                    "()",
                    "(1, 1, 3)",
                    "(99999999999999999999, 1, 3)",
                ]);
                let data = random.bytes(20);
                Self::post(
                    "an array",
                    "/invocations",
                    "application/x-npy",
                    &npy(random.of(&["|u1", "<f4", ">f8", "|O"]), shape, &data),
                )
                .answered()
            }
            16 => {
                let whole = npy("<f4", "(2, 2, 3)", &[0; 48]);
                Self::post("an array spoiled", "/invocations", "application/x-npy", &random.spoiled(&whole))
                    .answered()
            }
            // [TorchServe 281, MMS 621]
            17 | 18 => Self::post("a photo spoiled", "/invocations", "image/jpeg", &random.spoiled(&photo))
                .answered(),
            19 => {
                let end = 1 + random.below(photo.len());
                Self::post("a photo cut off", "/invocations", "image/jpeg", &photo[..end]).answered()
            }
            20 | 21 if !odd.is_empty() => Self::post(
                "an odd file",
                "/invocations",
                "application/x-image",
                &odd[random.below(odd.len())],
            )
            .answered(),
            20..=22 => {
                let magic: &[u8] = random.of::<&[u8]>(&[
                    b"\xff\xd8\xff",
                    b"\x89PNG\r\n\x1a\n",
                    b"GIF89a",
                    b"BM",
                    b"II*\0",
                    b"RIFF\x10\0\0\0WEBP",
                    b"P6\n",
                    b"\x93NUMPY\x01\x00",
                ]);
                Self::post("a head and rubbish", "/invocations", kind, &[magic, &random.bytes(3000)].concat())
                    .answered()
            }
            23 => {
                let form = [
                    b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n".as_slice(),
                    &photo,
                    b"\r\n--x--\r\n",
                ]
                .concat();
                Self::post(
                    "a form spoiled",
                    "/invocations",
                    "multipart/form-data; boundary=x",
                    &random.spoiled(&form),
                )
                .answered()
            }
            24 => {
                let lines = format!("\"{text}\"\n{{\"image\": \"{text}\"}}\n\n[]\n");
                Self::post(
                    "lines spoiled",
                    "/invocations",
                    "application/jsonlines",
                    &random.spoiled(lines.as_bytes()),
                )
                .answered()
            }
            25 => {
                let whole = [head("POST", "/invocations", &[], photo.len()), photo].concat();
                let end = 1 + random.below(whole.len());
                Self { leaves: true, ..Self::new("gone without a word", &whole[..end]) }
            }
            // It waits for what is not sent until it is let go of.
            26 => Self::new("half a head", &head("POST", "/invocations", &[], 9)[..10 + random.below(30)])
                .cut_off(),
            27 => {
                let path = random.of(&[
                    "/../../etc/passwd",
                    "/models/..%2f..%2fetc",
                    "/v2/models/%00",
                    "/%ff%fe",
                    "/v2/models/..",
                    "//",
                    "/invocations/",
                ]);
                Self::new("a path", head(random.of(&["GET", "POST", "DELETE"]), path, &[], 0))
            }
            28 => {
                let mut head = random.bytes(400);
                head.extend(b"\r\n\r\n");
                Self::new("a head of rubbish", head).half_closed().cut_off()
            }
            29 => {
                let query =
                    random.of(&["?top=-1", "?top=99999999999999999999", "?top=x", "?top=1&top=2", "?%ff=%"]);
                // What is asked twice or is no option may be passed over.
                Self::post("a query", &format!("/invocations{query}"), "image/png", &photo).answered()
            }
            30 => {
                let accept =
                    random.of(&["image/png", ";;;", "application/json;q=NaN", "*/*;q=-1", "text/html"]);
                let headers = [("accept", accept)];
                Self::new(
                    "an answer that is none",
                    [head("POST", "/invocations", &headers, photo.len()), photo].concat(),
                )
                .answered()
            }
            31 => {
                let load = json!({"model_name": "a", "url": random.of(&["/etc/passwd", "../..", "/opt/ml/models/a"])});
                Self::post("a model", "/models", json, load.to_string().as_bytes())
            }
            _ => {
                let long = "a".repeat(random.below(1 << 18));
                Self::new("a long head", format!("{post}x: {long}\r\ncontent-length: 1\r\n\r\nx")).cut_off()
            }
        }
    }
}
