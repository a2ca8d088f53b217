//! What is logged, and what is not.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use pugmark_engine::Cpu;
use pugmark_graph::Architecture;
use pugmark_serve::{LogForm, Server, Settings, Token, VariantSettings};
use serde_json::Value;

use crate::harness::{Running, model, png, settings};

const TOKEN: &str = "0123456789abcdefghij";

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What a server logs of some requests.
fn logged(form: LogForm) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("main.safetensors");
    model(Architecture::SimpleCnn, 1).write(&path).unwrap();
    let variant = VariantSettings { name: "main".into(), weight: 1.0, models: vec![path] };
    let settings = Settings { token: Some(Token::new(TOKEN).unwrap()), ..settings() };
    let server = Server::open(&[variant], settings, Cpu::new(1).unwrap()).unwrap();
    let out = Out::default();
    server.log(form, out.clone()).unwrap();
    let server = Running::run(server, folder);
    let secret = format!("Bearer {TOKEN}");
    let named = [("authorization", &*secret), ("x-amzn-sagemaker-inference-id", "seven")];
    let ask = |path: &str, body: &[u8]| server.post(path, &named, body).status;
    assert_eq!(ask("/invocations?secret=query", &png(1)), 200);
    assert_eq!(ask("/invocations", b"secret body, which is no photo"), 415);
    assert_eq!(ask("/v2/models/main/infer", b"{}"), 400);
    assert_eq!(server.post("/invocations", &[("authorization", "Bearer secret token")], b"").status, 401);
    assert_eq!(server.get("/ping").status, 200);
    assert_eq!(server.ask("DELETE", "/ping", &[], b"").status, 405);
    assert_eq!(server.stopped(), 0);
    let bytes = out.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_line_a_request_and_no_secret() {
    for form in [LogForm::Text, LogForm::Json] {
        let log = logged(form);
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines.len(), 5, "{log}");
        assert!(!log.contains("secret") && !log.contains(TOKEN), "{log}");
        assert!(lines.iter().take(3).all(|line| line.contains("seven")), "{log}");
        if form == LogForm::Text {
            assert!(
                lines[0].contains("Z POST /invocations 200 ") && lines[0].contains(" variant=main "),
                "{log}"
            );
            continue;
        }
        let lines: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        let statuses: Vec<u64> = lines.iter().map(|line| line["status"].as_u64().unwrap()).collect();
        assert_eq!(statuses, [200, 415, 400, 401, 405]);
        let good = &lines[0];
        assert_eq!(
            (&good["bytes_in"], &good["photos"], &good["batch"]),
            (&png(1).len().into(), &1.into(), &1.into())
        );
        let [total, model] = ["total_ms", "model_ms"].map(|key| good[key].as_f64().unwrap());
        assert!(total >= model && model > 0.0, "{good}");
        assert_eq!(lines[1]["path"], "/invocations");
    }
}

/// Somebody has the log open and never reads it.
#[test]
fn a_log_that_is_full_does_not_keep_the_process() {
    struct Full(std::sync::mpsc::Receiver<()>);
    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (held, full) = std::sync::mpsc::channel();
    let server = Server::open(&[], settings(), Cpu::new(1).unwrap()).unwrap();
    server.log(LogForm::Text, Full(full)).unwrap();
    let server = Running::run(server, tempfile::tempdir().unwrap());
    assert_eq!(server.get("/model").status, 200);
    assert_eq!(server.stopped(), 0);
    drop(held);
}

/// Nobody reads the log.
#[test]
fn whoever_reads_no_log_holds_up_nothing() {
    struct Stuck;
    impl Write for Stuck {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let server = Server::open(&[], settings(), Cpu::new(1).unwrap()).unwrap();
    server.log(LogForm::Text, Stuck).unwrap();
    let server = Running::run(server, tempfile::tempdir().unwrap());
    let lost = || {
        let metrics = server.get("/metrics");
        let line = metrics.text().lines().find_map(|line| line.strip_prefix("pugmark_log_lines_lost_total "));
        line.unwrap().parse::<u32>().unwrap()
    };
    // The first lines end the thread; after them none is taken.
    while lost() == 0 {}
    assert_eq!(server.get("/model").status, 200);
}
