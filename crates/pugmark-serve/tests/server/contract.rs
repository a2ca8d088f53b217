//! What is taken in and what comes back.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{ImageFormat, RgbImage};
use pugmark_data::{Limits, decode};
use pugmark_engine::Cpu;
use pugmark_eval::explain::{Grid, Picture, Scale, overlay};
use pugmark_graph::Architecture;
use pugmark_model::GradCam;
use pugmark_serve::{Settings, Shape, VariantSettings};
use serde_json::json;

use crate::harness::{CLASSES, Running, encoded, expected, model, picture, png, probabilities, settings};

/// A NumPy file, version 1.
fn npy(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    [b"\x93NUMPY\x01\x00".as_slice(), &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
}

#[test]
fn every_kind_of_photo_has_the_answer_of_the_classifier() {
    let server = Running::new(settings());
    let model = model(Architecture::SimpleCnn, 1);
    let drawn = picture(5, 50, 40);
    use ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    for format in [Jpeg, Png, WebP, Bmp, Tiff, Pnm, Gif] {
        let bytes = encoded(&drawn, format);
        let wanted = expected(&model, &bytes);
        // The content decides, whatever the header says.
        for kind in ["image/png", "application/x-image", "application/json", "text/plain"] {
            let reply = server.post("/invocations", &[("content-type", kind)], &bytes);
            assert_eq!(reply.status, 200, "{format:?} as {kind}: {}", reply.text());
            assert_eq!(probabilities(&reply.json()), wanted, "{format:?} as {kind}");
        }
        for path in ["/invocations", "/endpoints/any-name/invocations"] {
            assert_eq!(probabilities(&server.post(path, &[], &bytes).json()), wanted);
        }
    }

    // Of many pixels, and of many bytes: not decoded by a thread that computes.
    for (width, format) in [(1100, Png), (1000, Bmp)] {
        let bytes = encoded(&picture(6, width, 1000), format);
        assert_eq!(
            probabilities(&server.photo(&bytes)),
            expected(&model, &bytes),
            "{width} x 1000 {format:?}"
        );
    }

    // The same pixels in other clothes.
    let bytes = encoded(&drawn, Png);
    let wanted = expected(&model, &bytes);
    let text = BASE64_STANDARD.encode(&bytes);
    let floats: Vec<u8> =
        drawn.as_raw().iter().flat_map(|&level| (f32::from(level) / 255.0).to_le_bytes()).collect();
    let form = [
        b"--x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a/b.png\"\r\n\r\n".as_slice(),
        &bytes,
        b"\r\n--x\r\nContent-Disposition: form-data; name=\"second\"\r\nContent-Type: image/png\r\n\r\n",
        &bytes,
        b"\r\n--x--\r\n",
    ]
    .concat();
    let cases: [(&str, Vec<u8>, usize); 8] = [
        ("application/x-npy", npy("|u1", "(40, 50, 3)", drawn.as_raw()), 1),
        ("application/octet-stream", npy("<f4", "(40, 50, 3)", &floats), 1),
        ("application/x-npy", npy("|u1", "(2, 40, 50, 3)", &drawn.as_raw().repeat(2)), 2),
        ("application/json", json!({"image": text, "id": "x"}).to_string().into(), 1),
        ("", json!([text, {"b64": text}]).to_string().into(), 2),
        ("application/json", json!({"instances": [{"b64": text}]}).to_string().into(), 1),
        ("application/jsonlines", format!("\"{text}\"\n{{\"image\":\"{text}\"}}\n").into(), 2),
        ("multipart/form-data; boundary=x", form, 2),
    ];
    for (kind, body, photos) in cases {
        let headers = [("content-type", kind), ("accept", "application/jsonlines")];
        let reply = server.post("/invocations", &headers, &body);
        assert_eq!(reply.status, 200, "{kind}: {}", reply.text());
        let lines: Vec<serde_json::Value> =
            reply.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), photos, "{kind}");
        for line in lines {
            assert_eq!(probabilities(&line), wanted, "{kind}: {line}");
        }
    }
}

#[test]
fn answers_by_accept() {
    let server = Running::new(settings());
    let wanted = expected(&model(Architecture::SimpleCnn, 1), &png(1));
    let best = (0..3).fold(0, |best, k| if wanted[k] > wanted[best] { k } else { best });

    let reply =
        server.post("/invocations?top=2", &[("x-amzn-sagemaker-custom-attributes", "trace=7")], &png(1));
    assert_eq!(reply.headers["content-type"], "application/json");
    assert_eq!(reply.headers["x-amzn-sagemaker-custom-attributes"], "trace=7");
    assert_eq!(reply.headers["x-amzn-invoked-production-variant"], "main");
    assert!(reply.headers["server-timing"].contains("model;dur="), "{reply:?}");
    let answer = reply.json();
    assert_eq!(answer["class"], CLASSES[best]);
    assert_eq!(answer["top"].as_array().unwrap().len(), 2);
    assert_eq!(answer["top"][0], json!({"class": CLASSES[best], "probability": answer["probability"]}));

    let csv = server.post("/invocations", &[("accept", "text/csv; header=present")], &png(1));
    let rows: Vec<&str> = csv.text().lines().collect();
    assert_eq!(rows[0], "id,class,probability,cat,dog,\"a, \"\"b\"\"\",error");
    let numbers = format!("{},{},{},", wanted[0], wanted[1], wanted[2]);
    assert!(rows[1].starts_with("0,") && rows[1].ends_with(&numbers), "{rows:?}");
    assert_eq!(rows.len(), 2);

    // A list is answered as one, also of one photo, and lines with lines.
    let text = BASE64_STANDARD.encode(png(1));
    let list = server.post("/invocations", &[], json!([{"id": "p", "image": text}]).to_string().as_bytes());
    assert_eq!(list.json()["predictions"][0]["id"], "p");
    let lines = server.post(
        "/invocations",
        &[("content-type", "application/jsonlines"), ("accept", "*/*")],
        format!("\"{text}\"").as_bytes(),
    );
    assert_eq!(lines.headers["content-type"], "application/jsonlines");
    assert_eq!(server.post("/invocations", &[("accept", "image/png")], &png(1)).refused().0, 406);

    let flat = Running::new(Settings { shape: Shape::Flat, ..settings() });
    let answer = flat.photo(&png(1));
    assert_eq!(answer["cat_probability"].as_f64().unwrap() as f32, wanted[0]);
    assert_eq!(answer.as_object().unwrap().len(), 3);
}

#[test]
fn one_bad_photo_fails_alone() {
    let server = Running::new(settings());
    let good = server.photo(&png(3));
    let text = BASE64_STANDARD.encode(png(3));
    let body = json!([text, "not base64!", BASE64_STANDARD.encode("no photo"), "", text]).to_string();
    let reply = server.post("/invocations", &[], body.as_bytes());
    assert_eq!(reply.status, 200);
    let answers = reply.json()["predictions"].clone();
    assert_eq!((&answers[0], &answers[4]), (&good, &good));
    for (place, status, why) in [(1, 400, "not base64"), (2, 415, "not a JPEG"), (3, 400, "is empty")] {
        assert_eq!(answers[place]["status"], status, "{answers}");
        assert!(answers[place]["error"].as_str().unwrap().contains(why), "{answers}");
    }
    let csv = server.post("/invocations", &[("accept", "text/csv")], body.as_bytes());
    assert_eq!(csv.text().lines().filter(|row| row.contains(",,,,")).count(), 3, "{}", csv.text());
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("pugmark_broken_photos_total 6"), "{}", metrics.text());
}

#[test]
fn what_is_asked_of_an_endpoint() {
    let server = Running::new(settings());
    let ping = server.get("/ping");
    assert_eq!((ping.status, ping.body.as_slice()), (200, &b""[..]));
    assert_eq!((server.get("/healthz").status, server.get("/readyz").status), (200, 200));
    let parameters = server.get("/execution-parameters").json();
    let wanted =
        json!({"MaxConcurrentTransforms": 4, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 25});
    assert_eq!(parameters, wanted);
    let facts = server.get("/model").json();
    assert_eq!(facts["models"][0]["classes"], json!(CLASSES));
    assert_eq!(facts["models"][0]["recipe"]["width"], 32);
    server.photo(&png(1));
    let metrics = server.get("/metrics");
    assert_eq!(metrics.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    for line in [
        "pugmark_requests_total{path=\"/invocations\",status=\"200\"} 1",
        "pugmark_batch_photos_count 1",
        "pugmark_photos_waiting 0",
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line}: {}", metrics.text());
    }
    assert_eq!(server.get("/nothing").refused(), (404, "there is no path /nothing".to_owned()));
    assert_eq!(server.get("/invocations").refused().0, 405);
}

/// What the engine's Grad-CAM gives, drawn.
fn heat(photo: &[u8], seed: u64, class: usize) -> RgbImage {
    let model = model(Architecture::SimpleCnn, seed);
    let pixels = model.card.recipe.apply(&decode(photo, &Limits::default()).unwrap());
    let map = GradCam::new(&model, &Cpu::new(1).unwrap()).unwrap().map(&pixels, class).unwrap();
    let grid = Grid { width: map.shape[1], height: map.shape[0], values: map.values };
    let drawn = overlay(&Picture::new(pixels, 32, 32), &grid.enlarged(32, 32), Scale::Positive);
    RgbImage::from_raw(32, 32, drawn.rgb).unwrap()
}

#[test]
fn a_heat_map_is_a_picture_of_what_the_model_sees() {
    let server = Running::with(settings(), Architecture::SimpleCnn, &[("main", 1.0, 2)]);
    let ask = |path: &str| server.post(path, &[], &png(2));
    let mut maps = Vec::new();
    for (class, name) in ["cat", "dog", "a,%20%22b%22"].into_iter().enumerate() {
        let reply = ask(&format!("/explain?class={name}"));
        assert_eq!((reply.status, &*reply.headers["content-type"]), (200, "image/png"));
        assert!(
            image::load_from_memory(&reply.body).unwrap().into_rgb8() == heat(&png(2), 2, class),
            "{name}"
        );
        maps.push(reply.body);
    }
    assert!(maps[0] != maps[1] || maps[1] != maps[2], "classes differ");
    let best = server.photo(&png(2))["class"].as_str().unwrap().to_owned();
    let best = CLASSES.iter().position(|class| *class == best).unwrap();
    assert!(ask("/explain").body == maps[best]);
    assert_eq!(ask("/explain?class=cow").refused(), (400, "the model knows no class `cow`".to_owned()));
    assert_eq!(server.post("/explain", &[], b"no photo").refused().0, 415);
}

#[test]
fn models_that_answer_together_give_the_mean() {
    let folder = tempfile::tempdir().unwrap();
    let paths = [1, 2].map(|seed| {
        let path = folder.path().join(format!("{seed}.safetensors"));
        model(Architecture::SimpleCnn, seed).write(&path).unwrap();
        path
    });
    let variant = VariantSettings { name: "main".into(), weight: 1.0, models: paths.to_vec() };
    let server = Running::serve(settings(), &[variant], folder);
    let [one, two] = [1, 2].map(|seed| expected(&model(Architecture::SimpleCnn, seed), &png(4)));
    let mean: Vec<f32> =
        one.iter().zip(&two).map(|(&a, &b)| (0.5 * f64::from(a) + 0.5 * f64::from(b)) as f32).collect();
    assert_eq!(probabilities(&server.photo(&png(4))), mean);
}

#[test]
fn variants_have_their_share_or_are_asked_by_name() {
    let server = Running::with(
        settings(),
        Architecture::SimpleCnn,
        &[("main", 3.0, 1), ("b", 1.0, 2), ("off", 0.0, 3)],
    );
    let wanted = [("main", 1), ("b", 2), ("off", 3)]
        .map(|(name, seed)| (name, expected(&model(Architecture::SimpleCnn, seed), &png(1))));
    let mut counts = [0; 3];
    for _ in 0..40 {
        let reply = server.post("/invocations", &[], &png(1));
        let who = &reply.headers["x-amzn-invoked-production-variant"];
        let place = wanted.iter().position(|(name, _)| name == who).unwrap();
        assert_eq!(probabilities(&reply.json()), wanted[place].1);
        counts[place] += 1;
    }
    assert!((29..=31).contains(&counts[0]) && counts[2] == 0, "{counts:?}");
    for (name, wanted) in &wanted {
        let reply = server.post("/invocations", &[("x-amzn-sagemaker-target-variant", name)], &png(1));
        assert_eq!(&probabilities(&reply.json()), wanted, "{name}");
    }
    let nobody = server.post("/invocations", &[("x-amzn-sagemaker-target-variant", "c")], &png(1));
    assert_eq!(nobody.refused().0, 404);
}

#[test]
fn models_are_read_again_and_the_old_ones_go_on_where_that_fails() {
    let server = Running::new(settings());
    let before = server.photo(&png(1));
    model(Architecture::SimpleCnn, 2).write(&server.model_file("main")).unwrap();
    assert_eq!(server.photo(&png(1)), before);
    server.reload.now().unwrap();
    let wanted = expected(&model(Architecture::SimpleCnn, 2), &png(1));
    assert_eq!(probabilities(&server.photo(&png(1))), wanted);
    std::fs::write(server.model_file("main"), "no model").unwrap();
    assert!(server.reload.now().is_err());
    assert_eq!(probabilities(&server.photo(&png(1))), wanted);
}

#[test]
fn the_open_inference_protocol() {
    let server = Running::new(settings());
    let wanted = expected(&model(Architecture::SimpleCnn, 1), &png(1));
    let facts = server.get("/v2/models/main").json();
    assert_eq!(facts["outputs"][0], json!({"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}));
    assert_eq!((&facts["versions"], &facts["parameters"]["classes"]), (&json!(["3"]), &json!(CLASSES)));
    assert_eq!(server.get("/v2").json()["name"], "pugmark");
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/main/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in ["/v2/models/other", "/v2/models/other/ready"] {
        assert_eq!(server.get(path).refused().0, 404, "{path}");
    }

    let photo = picture(1, 50, 40);
    let inputs = [
        json!({"name": "photos", "shape": [1], "datatype": "BYTES", "data": [BASE64_STANDARD.encode(png(1))]}),
        json!({"name": "photos", "shape": [1, 40, 50, 3], "datatype": "UINT8", "data": photo.as_raw()}),
    ];
    for input in inputs {
        let body = json!({"id": "7", "inputs": [input]}).to_string();
        let said = server.post("/v2/models/main/infer", &[], body.as_bytes()).json();
        assert_eq!((&said["model_name"], &said["id"]), (&json!("main"), &json!("7")));
        let row: Vec<f32> = said["outputs"][0]["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p.as_f64().unwrap() as f32)
            .collect();
        assert_eq!((row, &said["outputs"][0]["shape"]), (wanted.clone(), &json!([1, 3])));
        assert_eq!(said["outputs"][1]["data"][0], server.photo(&png(1))["class"]);
    }
    let input = json!({"name": "photos", "shape": [1], "datatype": "BYTES", "data": ["AAAA"]});
    let bad = json!({"inputs": [input]}).to_string();
    assert_eq!(server.post("/v2/models/main/infer", &[], bad.as_bytes()).refused().0, 415);
    let unknown = json!({"inputs": [input], "outputs": [{"name": "logits"}]}).to_string();
    assert_eq!(server.post("/v2/models/main/infer", &[], unknown.as_bytes()).refused().0, 400);
}

#[test]
fn requests_are_kept_as_data_capture_keeps_them() {
    let folder = tempfile::tempdir().unwrap();
    let capture = Some(folder.path().join("kept"));
    let server = Running::new(Settings { capture, ..settings() });
    let named = [("content-type", "image/png"), ("x-amzn-sagemaker-inference-id", "seven")];
    let reply = server.post("/invocations", &named, &png(1));
    assert_eq!(server.post("/invocations", &[], b"no photo").status, 415);
    let text = json!({"image": BASE64_STANDARD.encode(png(2))}).to_string();
    server.post(
        "/invocations",
        &[("content-type", "application/json"), ("accept", "text/csv")],
        text.as_bytes(),
    );
    // A server that ends has written everything.
    assert_eq!(server.stopped(), 0);
    // kept/main/yyyy/mm/dd/hh/NAME.jsonl: one file, or two where an hour has just ended.
    let mut files = vec![folder.path().join("kept/main")];
    for _ in 0..5 {
        files = files
            .iter()
            .flat_map(|at| std::fs::read_dir(at).unwrap())
            .map(|one| one.unwrap().path())
            .collect();
    }
    files.sort();
    let lines: String = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "what was refused is not kept");
    let kept = |line: usize, side: &str| {
        let data = &lines[line]["captureData"][side];
        ["observedContentType", "mode", "encoding", "data"].map(|key| data[key].as_str().unwrap().to_owned())
    };
    let bytes = BASE64_STANDARD.encode(png(1));
    assert_eq!(kept(0, "endpointInput"), ["image/png", "INPUT", "BASE64", &bytes]);
    assert_eq!(kept(0, "endpointOutput"), ["application/json", "OUTPUT", "JSON", reply.text()]);
    assert_eq!(lines[0]["eventMetadata"]["inferenceId"], "seven");
    assert_eq!(lines[0]["eventVersion"], "0");
    assert_eq!(kept(1, "endpointInput"), ["application/json", "INPUT", "JSON", &text]);
    assert_eq!(kept(1, "endpointOutput")[..3], ["text/csv; charset=utf-8; header=absent", "OUTPUT", "CSV"]);
}
