//! A model that sees copies of requests; and how far answers are from those of a training.

use std::fs;
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use image::{ImageFormat, RgbImage};
use pugmark_engine::Cpu;
use pugmark_graph::Architecture;
use pugmark_serve::{Settings, ShadowSettings, VariantSettings};
use serde_json::{Value, json};

use crate::harness::{CLASSES, Running, encoded, expected, model, pixels, png, probabilities, settings};

/// A server of the model of seed 1, whose shadow is that of another seed.
fn server(seed: u64, share: f64, change: impl FnOnce(&mut Settings, &std::path::Path)) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let [main, shadow] = [("main", 1), ("shadow", seed)].map(|(name, seed)| {
        let path = folder.path().join(format!("{name}.safetensors"));
        model(Architecture::SimpleCnn, seed).write(&path).unwrap();
        path
    });
    let engine = Cpu::new(1).unwrap();
    let shadow = ShadowSettings { name: "next".into(), model: shadow, share, engine };
    let mut settings = Settings { shadow: Some(shadow), ..settings() };
    change(&mut settings, folder.path());
    let variant = VariantSettings { name: "main".into(), weight: 1.0, models: vec![main] };
    Running::serve(settings, &[variant], folder)
}

fn metric(server: &Running, name: &str) -> f64 {
    let metrics = server.get("/metrics");
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(&format!("pugmark_{name} ")));
    line.unwrap_or_else(|| panic!("{name}: {}", metrics.text())).parse().unwrap()
}

fn shadowed(server: &Running, outcome: &str) -> f64 {
    metric(server, &format!("shadow_photos_total{{outcome=\"{outcome}\"}}"))
}

fn wait_for(what: impl Fn() -> bool) {
    while !what() {
        thread::sleep(Duration::from_millis(5));
    }
}

fn best(probabilities: &[f32]) -> usize {
    (0..probabilities.len()).fold(0, |best, k| if probabilities[k] > probabilities[best] { k } else { best })
}

#[test]
fn a_shadow_is_counted_and_never_heard() {
    let server = server(2, 1.0, |settings, folder| settings.capture = Some(folder.join("kept")));
    let models = [1, 2].map(|seed| model(Architecture::SimpleCnn, seed));
    let (mut agree, mut difference) = (0.0, 0.0);
    for number in 0..6 {
        let [main, shadow] = [0, 1].map(|k| expected(&models[k], &png(number)));
        assert_eq!(probabilities(&server.photo(&png(number))), main);
        agree += f64::from(u8::from(best(&main) == best(&shadow)));
        difference += f64::from((main[best(&main)] - shadow[best(&main)]).abs());
    }
    // A list with a photo that nobody can read, and a request that is refused.
    let text = BASE64_STANDARD.encode(png(7));
    assert_eq!(server.post("/invocations", &[], json!([text, "?"]).to_string().as_bytes()).status, 200);
    assert_eq!(server.post("/invocations", &[], b"no photo").status, 415);
    wait_for(|| shadowed(&server, "agrees") + shadowed(&server, "differs") == 7.0);
    let [main, shadow] = [0, 1].map(|k| expected(&models[k], &png(7)));
    agree += f64::from(u8::from(best(&main) == best(&shadow)));
    difference += f64::from((main[best(&main)] - shadow[best(&main)]).abs());
    assert_eq!((shadowed(&server, "agrees"), shadowed(&server, "failed")), (agree, 0.0));
    // The sum is kept in millionths, each rounded down.
    assert!((metric(&server, "shadow_difference_sum") - difference).abs() < 1e-5);
    assert_eq!(
        (metric(&server, "shadow_copies_total"), metric(&server, "shadow_copies_dropped_total")),
        (7.0, 0.0)
    );

    // The model is read again, too.
    model(Architecture::SimpleCnn, 1).write(&server.model_file("shadow")).unwrap();
    server.reload.now().unwrap();
    for _ in 0..3 {
        server.photo(&png(1));
    }
    wait_for(|| shadowed(&server, "agrees") == agree + 3.0);

    let kept = server.folder.path().join("kept");
    wait_for(|| metric(&server, "captured_total") == 20.0);
    let lines = |variant: &str| -> Vec<Value> {
        let mut files = vec![kept.join(variant)];
        for _ in 0..5 {
            files = files
                .iter()
                .flat_map(|at| fs::read_dir(at).unwrap())
                .map(|one| one.unwrap().path())
                .collect();
        }
        files.sort();
        let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (main, next) = (lines("main"), lines("next"));
    assert_eq!((main.len(), next.len()), (10, 10));
    let data = |line: &Value, side: &str| line["captureData"][side]["data"].as_str().unwrap().to_owned();
    assert_eq!(data(&main[0], "endpointInput"), data(&next[0], "endpointInput"));
    let said: Value = serde_json::from_str(&data(&next[0], "endpointOutput")).unwrap();
    assert_eq!(probabilities(&said), expected(&models[1], &png(0)));
}

#[test]
fn a_shadow_has_its_share() {
    let server = server(2, 0.25, |_, _| {});
    for _ in 0..40 {
        server.photo(&png(1));
    }
    let copies = metric(&server, "shadow_copies_total") + metric(&server, "shadow_copies_dropped_total");
    assert!((8.0..=12.0).contains(&copies), "{copies}");
}

/// Copies that nobody has time for are dropped, and answers are as ever.
#[test]
fn a_shadow_holds_up_nobody() {
    let server = server(2, 1.0, |_, _| {});
    let wanted = server.photo(&png(1));
    // Few bytes, and long to decode for one thread, one after the other.
    let large = BASE64_STANDARD.encode(encoded(&RgbImage::new(2000, 2000), ImageFormat::Png));
    let list = json!(vec![large; 20]).to_string();
    while metric(&server, "shadow_copies_dropped_total") == 0.0 {
        assert_eq!(server.post("/invocations", &[], list.as_bytes()).status, 200);
        // More than may wait.
        for _ in 0..70 {
            assert_eq!(server.photo(&png(1)), wanted);
        }
    }
    // What it has not seen yet keeps nobody waiting.
    assert_eq!(server.stopped(), 0);
}

#[test]
fn drift_is_held_against_the_predictions_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("best.safetensors");
    model(Architecture::SimpleCnn, 1).write(&path).unwrap();
    let answer = expected(&model(Architecture::SimpleCnn, 1), &png(1));
    let class = CLASSES[best(&answer)];
    // The run's photos were all taken for that class, as surely.
    let numbers = answer.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let names = CLASSES.map(quoted).join(",");
    let row = format!("x,val,cat,{},{numbers},false,\n", quoted(class));
    let csv = format!("id,split,class,predicted,{names},truncated,reason\n{}", row.repeat(4));
    fs::write(folder.path().join("predictions.csv"), csv).unwrap();
    let variant = VariantSettings { name: "main".into(), weight: 1.0, models: vec![path] };
    let server = Running::serve(settings(), &[variant], folder);
    assert_eq!(metric(&server, "drift_reference_photos{variant=\"main\"}"), 4.0);
    for _ in 0..3 {
        server.photo(&png(1));
    }
    assert_eq!(metric(&server, "drift_window_photos{variant=\"main\"}"), 3.0);
    for name in ["class", "confidence"] {
        assert_eq!(metric(&server, &format!("drift_{name}_distance{{variant=\"main\"}}")), 0.0, "{name}");
    }
    let label = class.replace('"', "\\\"");
    assert_eq!(metric(&server, &format!("drift_class_rate{{variant=\"main\",class=\"{label}\"}}")), 1.0);
    let mean = metric(&server, "drift_brightness_mean{variant=\"main\"}");
    let seen = pixels(&png(1));
    let luma = |rgb: &[u8]| 0.299 * f64::from(rgb[0]) + 0.587 * f64::from(rgb[1]) + 0.114 * f64::from(rgb[2]);
    let wanted = seen.chunks(3).map(luma).sum::<f64>() / (seen.len() as f64 / 3.0) / 255.0;
    assert!((mean - wanted).abs() < 1e-6, "{mean} {wanted}");
}
