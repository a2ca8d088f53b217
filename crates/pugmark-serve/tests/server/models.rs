//! Models that are loaded and unloaded by request.

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use pugmark_graph::Architecture;
use pugmark_serve::{ModelsSettings, Settings};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Reply, Running, ask_first, expected, head, model, png, probabilities, reply, settings, until,
};

/// A server without a model, and models `1`, `2`, `3` of those seeds below its folder.
fn server(change: impl FnOnce(&mut Settings)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    for seed in 1..=3 {
        let at = folder.path().join(format!("models/{seed}/model"));
        fs::create_dir_all(&at).unwrap();
        model(Architecture::SimpleCnn, seed).write(&at.join("best.safetensors")).unwrap();
    }
    let models = ModelsSettings { root: folder.path().join("models"), most: 2, bytes: u64::MAX };
    let mut settings = Settings { models: Some(models), ..settings() };
    change(&mut settings);
    Running::serve(settings, &[], folder)
}

fn load(server: &Running, name: &str, url: &str) -> Reply {
    server.post("/models", &[], json!({"model_name": name, "url": url}).to_string().as_bytes())
}

/// As the platform says it.
fn url(folder: &TempDir, seed: u64) -> String {
    folder.path().join(format!("models/{seed}/model")).to_str().unwrap().to_owned()
}

fn invoke(server: &Running, name: &str) -> Reply {
    server.post(&format!("/models/{name}/invoke"), &[("content-type", "image/png")], &png(1))
}

#[test]
fn models_come_and_go() {
    let server = server(|_| {});
    // Healthy without a model, as the contract has it.
    assert_eq!(server.get("/ping").status, 200);
    assert_eq!(server.get("/models").json(), json!({"models": []}));
    assert_eq!(server.post("/invocations", &[], &png(1)).refused().0, 404);
    assert_eq!(server.get("/model").json()["models"], json!([]));

    let urls = [1, 2].map(|seed| url(&server.folder, seed));
    let facts = [0, 1].map(|k| json!({"modelName": if k == 0 { "a.1" } else { "b" }, "modelUrl": urls[k]}));
    assert_eq!(load(&server, "b", &urls[1]).json(), facts[1]);
    assert_eq!(load(&server, "a.1", &urls[0]).json(), facts[0]);
    assert_eq!(server.get("/models").json(), json!({"models": facts}));
    assert_eq!(server.get("/models/a.1").json(), facts[0]);
    for (name, seed) in [("a.1", 1), ("b", 2)] {
        let wanted = expected(&model(Architecture::SimpleCnn, seed), &png(1));
        let reply = invoke(&server, name);
        assert_eq!(probabilities(&reply.json()), wanted, "{name}");
        assert_eq!(reply.headers["x-amzn-invoked-production-variant"], name);
        assert_eq!(server.get(&format!("/v2/models/{name}")).json()["name"], name);
    }
    let counted = |name: &str| server.get("/metrics").text().contains(&format!("variant=\"{name}\""));
    assert!(counted("a.1") && counted("b"));

    assert_eq!(load(&server, "b", &urls[0]).refused().0, 409);
    assert_eq!(
        load(&server, "c", &url(&server.folder, 3)).refused(),
        (507, "2 models are loaded, the limit".into())
    );
    assert_eq!(server.ask("DELETE", "/models/b", &[], b"").json(), facts[1]);
    assert!(counted("a.1") && !counted("b"));
    for refused in [
        server.ask("DELETE", "/models/b", &[], b""),
        server.get("/models/b"),
        invoke(&server, "b"),
        load(&server, "d", "4/model"),
    ] {
        assert_eq!(refused.refused().0, 404);
    }
    assert_eq!(load(&server, "c", "3/model").status, 200);
    assert_eq!(
        probabilities(&invoke(&server, "c").json()),
        expected(&model(Architecture::SimpleCnn, 3), &png(1))
    );
}

#[test]
fn the_list_has_pages() {
    let server = server(|settings| settings.models.as_mut().unwrap().most = 5);
    for name in ["e", "a", "d", "b", "c"] {
        assert_eq!(load(&server, name, "1/model").status, 200);
    }
    let mut names = Vec::new();
    let mut token = String::new();
    for page in 0.. {
        let list = server.get(&format!("/models?limit=2{token}")).json();
        names.extend(list["models"].as_array().unwrap().iter().map(|model| model["modelName"].clone()));
        let Some(next) = list["nextPageToken"].as_str() else {
            assert_eq!(page, 2);
            break;
        };
        token = format!("&next_page_token={next}");
    }
    assert_eq!(Value::from(names), json!(["a", "b", "c", "d", "e"]));
    assert_eq!(server.get("/models?limit=0").refused().0, 400);
    assert_eq!(server.get("/models?limit=-1").refused().0, 400);
}

#[test]
fn memory_has_a_limit() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x");
    model(Architecture::SimpleCnn, 1).write(&file).unwrap();
    let bytes = fs::metadata(file).unwrap().len();
    let server = server(|settings| settings.models.as_mut().unwrap().bytes = bytes);
    assert_eq!(load(&server, "a", "1/model").status, 200);
    let (status, why) = load(&server, "b", "2/model").refused();
    assert!(status == 507 && why.contains("more than the limit"), "{why}");
    assert_eq!(server.ask("DELETE", "/models/a", &[], b"").status, 200);
    assert_eq!(load(&server, "b", "2/model").status, 200);
}

#[test]
fn requests_that_make_no_sense() {
    let server = server(|_| {});
    fs::create_dir_all(server.folder.path().join("models/bad")).unwrap();
    fs::write(server.folder.path().join("models/bad/best.safetensors"), "no model").unwrap();
    let secret = server.folder.path().join("secret");
    model(Architecture::SimpleCnn, 1).write(&secret).unwrap();
    for (body, why) in [
        ("{", "the JSON cannot be read"),
        (r#"{"model_name": "a"}"#, "missing field `url`"),
        (r#"{"model_name": "../a", "url": "1/model"}"#, "a model's name"),
        (r#"{"model_name": "a", "url": "../secret"}"#, "below the folder"),
        (r#"{"model_name": "a", "url": "bad"}"#, "cannot be loaded"),
        (&json!({"model_name": "a", "url": secret}).to_string(), "below the folder"),
    ] {
        let (status, error) = server.post("/models", &[], body.as_bytes()).refused();
        assert!(status == 400 && error.contains(why), "{body}: {status} {error}");
    }
    for path in ["/models/..%2fsecret", "/models/%00", "/models/%ff/invoke"] {
        let reply = server.ask(if path.ends_with("invoke") { "POST" } else { "DELETE" }, path, &[], &png(1));
        assert_eq!(reply.refused().0 / 100, 4, "{path}");
    }
    assert_eq!(server.get("/models").json(), json!({"models": []}));

    let fixed = Running::new(settings());
    let (status, why) = load(&fixed, "a", "1/model").refused();
    assert!(status == 404 && why.contains("--models"), "{why}");
    assert_eq!(fixed.get("/models").refused().0, 404);
}

/// A server whose model waits for a second photo far longer than a test takes, with the model `a`.
fn that_waits() -> Running {
    let server = server(|settings| {
        settings.batch = 2;
        settings.batch_delay = Duration::from_secs(600);
    });
    assert_eq!(load(&server, "a", "1/model").status, 200);
    server
}

/// A request for a model that has no photo yet.
fn begun(server: &Running, name: &str) -> TcpStream {
    let mut stream = server.connect();
    ask_first(&mut stream, &format!("/models/{name}/invoke"), png(1).len());
    stream
}

/// What is asked while a model is being unloaded is answered.
#[test]
fn a_model_that_goes_answers_first() {
    let server = that_waits();
    let told = |part: &str| server.get("/metrics").text().contains(part);
    let wanted = expected(&model(Architecture::SimpleCnn, 1), &png(1));
    let mut second = begun(&server, "a");
    thread::scope(|scope| {
        let first = scope.spawn(|| invoke(&server, "a"));
        until(|| told("pugmark_photos_waiting 1"));
        let unloads = scope.spawn(|| server.ask("DELETE", "/models/a", &[], b""));
        until(|| told("pugmark_models_loaded 0"));
        assert!(!unloads.is_finished());
        second.write_all(&png(1)).unwrap();
        assert_eq!(unloads.join().unwrap().status, 200);
        // Its answers were made before its memory was free.
        assert!(told("pugmark_photos_waiting 0"));
        for reply in [first.join().unwrap(), reply(&mut second).unwrap()] {
            assert_eq!(probabilities(&reply.json()), wanted);
        }
    });
    assert_eq!(invoke(&server, "a").refused().0, 404);
}

/// A model has its place and its memory until its last answer is made, whether or not somebody waits for that.
#[test]
fn a_model_that_goes_takes_room_until_it_is_gone() {
    let server = that_waits();
    assert_eq!(load(&server, "b", "1/model").status, 200);
    let told = |part: &str| server.get("/metrics").text().contains(part);
    let mut second = begun(&server, "a");
    thread::scope(|scope| {
        let first = scope.spawn(|| invoke(&server, "a"));
        until(|| told("pugmark_photos_waiting 1"));
        let mut leaves = server.connect();
        leaves.write_all(&head("DELETE", "/models/a", &[], 0)).unwrap();
        until(|| told("pugmark_models_loaded 1"));
        drop(leaves);
        assert_eq!(load(&server, "c", "2/model").refused().0, 507);
        second.write_all(&png(1)).unwrap();
        assert_eq!(first.join().unwrap().status, 200);
    });
    until(|| load(&server, "c", "2/model").status == 200);
    // Nobody waited, and still it is forgotten.
    until(|| !told("variant=\"a\""));
    assert!(told("pugmark_models_loaded 2"));
}

#[test]
fn loaded_models_have_drift() {
    let server = server(|_| {});
    let rows = "id,split,class,predicted,cat,dog,\"a, \"\"b\"\"\",truncated,reason\n1,val,cat,cat,0.9,0.1,0.0,false,\n";
    fs::write(server.folder.path().join("models/1/model/predictions.csv"), rows).unwrap();
    for (name, url) in [("known", "1/model"), ("unknown", "2/model")] {
        load(&server, name, url);
        invoke(&server, name);
    }
    let metrics = server.get("/metrics");
    for line in [
        "pugmark_drift_window_photos{variant=\"known\"} 1",
        "pugmark_drift_reference_photos{variant=\"known\"} 1",
        "pugmark_drift_reference_class_rate{variant=\"known\",class=\"cat\"} 1",
        "pugmark_drift_window_photos{variant=\"unknown\"} 1",
        "pugmark_drift_reference_photos{variant=\"unknown\"} 0",
    ] {
        assert!(metrics.text().lines().any(|said| said == line), "{line}: {}", metrics.text());
    }
    server.ask("DELETE", "/models/known", &[], b"");
    assert!(!server.get("/metrics").text().contains("variant=\"known\""));
}
