//! What a person gets: trained, measured and predicting runs, and the machine as the doctor sees it.

use std::path::Path;

use serde_json::Value;

use crate::harness::{Place, ended};

/// Six epochs on colours that no one can mistake.
fn trained() -> Place {
    let place = Place::new();
    place.photos(12);
    place.done(&[
        "train",
        "photos",
        "--out",
        "run",
        "--model",
        "simple_cnn",
        "--image-size",
        "32",
        "--epochs",
        "6",
        "--batch-size",
        "9",
        "--test",
        "0.2",
        "--loader-threads",
        "1",
        "--precision",
        "f32",
    ]);
    place
}

#[test]
fn train() {
    let place = Place::new();
    place.photos(8);
    place.photo("photos/stray.png", 0, 1);
    place.write("photos/day/broken.jpg", "not a photo");
    let call = ["train", "photos", "--model", "simple_cnn", "--image-size", "32", "--epochs", "1"];
    place.snapshot_of_figures("train", &call);
    place.snapshot_of_figures("train_again_takes_the_next_number", &call);
}

/// Where there is no GPU: `auto` and the older flag say so and go on, and a GPU by name is an error.
#[test]
fn a_machine_without_a_gpu() {
    if Path::new("/dev/nvidiactl").exists() {
        println!("NOT CHECKED: this machine has a GPU");
        return;
    }
    let place = Place::new();
    place.photos(4);
    let run = |flags: &[&str]| {
        let call = ["train", "photos", "--model", "simple_cnn", "--image-size", "32", "--epochs", "1"];
        ended(&mut place.command(&[&call, flags].concat()))
    };
    for flags in [&["--device", "auto"][..], &["--use-cuda"]] {
        let ended = run(flags);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stderr.contains("the CPU does the work: no NVIDIA driver: "), "{}", ended.stderr);
    }
    // A run goes on on another device than it began on.
    let call = ["train", "--resume", "runs/photos-1", "--device", "cpu", "--epochs", "2"];
    let resumed = ended(&mut place.command(&call));
    assert_eq!(resumed.code, Some(0), "{}", resumed.stderr);
    let named = run(&["--device", "cuda:1"]);
    assert_eq!(named.code, Some(1));
    assert!(named.stderr.contains("no NVIDIA driver: libcuda.so.1 can't be opened"), "{}", named.stderr);
    let unknown = run(&["--device", "gpu"]);
    assert_eq!(unknown.code, Some(2));
    assert!(unknown.stderr.contains("`gpu` is none of cpu, auto, cuda and cuda:N"), "{}", unknown.stderr);
    let served = ended(&mut place.command(&["serve", "runs/photos-1", "--device", "auto"]));
    assert_eq!(served.code, Some(2));
    assert!(served.stderr.contains("an endpoint computes on the CPU"), "{}", served.stderr);
    let operators = ended(&mut place.command(&["bench", "--operators", "--device", "auto"]));
    assert_eq!(operators.code, Some(2));
    assert!(
        operators.stderr.contains("`--operators` measures the processor's limits"),
        "{}",
        operators.stderr
    );
}

#[test]
fn older_scripts() {
    let place = Place::new();
    place.photos(4);
    place.done(&[
        "train",
        "--data-dir",
        "photos",
        "--model-dir",
        "model",
        "--output-dir",
        "output",
        "--epochs",
        "1",
        "--batch-size",
        "4",
        "--learning-rate",
        "1e-3",
        "--weight-decay",
        "0.01",
        "--image-size",
        "32",
        "--use-cuda",
        "true",
        "--model",
        "simple_cnn",
    ]);
    let best = |folder: &str| std::fs::read(place.path(folder).join("best.safetensors")).unwrap();
    assert_eq!(best("model"), best("output"));
}

#[test]
fn a_flag_goes_before_a_variable_that_before_a_file_that_before_the_default() {
    let place = Place::new();
    place.photos(4);
    place.write(
        "set.toml",
        "epochs = 1\nbatch_size = 3\nseed = 3\nmodel = \"simple_cnn\"\nimage_size = 32\nflip = true\n",
    );
    let call = ["train", "photos", "--config", "set.toml", "--out", "run", "--seed", "5", "--flip=false"];
    let mut command = place.command(&call);
    command.env("PUGMARK_BATCH_SIZE", "4").env("PUGMARK_SEED", "4").env("PUGMARK_ROTATION", "");
    let ended = crate::harness::ended(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let config: toml::Table =
        std::fs::read_to_string(place.path("run/config.toml")).unwrap().parse().unwrap();
    let number = |key: &str| config[key].as_integer();
    assert_eq!(number("seed"), Some(5), "the flag");
    assert_eq!(number("batch_size"), Some(4), "the variable");
    assert_eq!(number("epochs"), Some(1), "the file");
    assert_eq!(config["flip"].as_bool(), Some(false), "the flag over the file");
    assert_eq!(config["rotation"].as_float(), Some(0.0), "the default; an empty variable is none");

    place.done(&["train", "--config", "run/config.toml", "--out", "again"]);
    let last = |run: &str| std::fs::read(place.path(run).join("last.safetensors")).unwrap();
    assert_eq!(last("run"), last("again"), "a run's configuration repeats it");
}

#[test]
fn eval() {
    let place = trained();
    place.snapshot_of_figures("eval", &["eval", "run"]);
    place.snapshot_of_figures("eval_test_part", &["eval", "run", "--part", "test"]);
    place.snapshot_of_figures("eval_data", &["eval", "run/best.safetensors", "photos"]);

    let report: Value = serde_json::from_str(&place.done(&["eval", "run", "--json"]).stdout).unwrap();
    let own: Value = serde_json::from_slice(&std::fs::read(place.path("run/metrics.json")).unwrap()).unwrap();
    let best = own.as_array().unwrap().iter().find(|epoch| epoch["epoch"] == report["epoch"]).unwrap();
    assert_eq!(report["accuracy"], best["val_acc"], "the training measured the same");
    assert_eq!(report["part"], "val");
    assert_eq!(report["per_class"].as_array().unwrap().len(), 3);
    // The loss of metrics.json is that of the logits; f32 probabilities keep 1e-6 of it.
    let [calibrated, raw, trained] =
        [&report["log_loss"], &report["uncalibrated_log_loss"], &best["val_loss"]]
            .map(|v| v.as_f64().unwrap());
    assert!((raw - trained).abs() < 1e-5 * trained.max(1.0), "{raw} {trained}");
    assert!(calibrated < raw, "{calibrated} {raw}: three epochs are not enough to be rightly sure");
    let wrong = place.run(&["eval", "run", "--accept", "95"]);
    assert!(wrong.code == Some(2) && wrong.stderr.contains("between 0 and 1"), "{}", wrong.stderr);
}

#[test]
fn report() {
    let place = trained();
    let read = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    let page = read("run/report.html");
    place.snapshot("report", &["report", "run"]);
    assert_eq!(read("run/report.html"), page, "the same from the files alone");
    let tested: Value =
        serde_json::from_str(&place.done(&["eval", "run", "--part", "test", "--json"]).stdout).unwrap();
    let accuracy = format!(
        "Right on {:.1} % of {} test photos",
        tested["accuracy"].as_f64().unwrap() * 100.0,
        tested["images"]
    );
    for part in [
        &accuracy,
        "<h1>How good run is</h1>",
        "What is taken for what",
        "Photos of the same places were trained on",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for part in ["http", "<script", "NaN", "`"] {
        assert!(!page.contains(part), "{part}");
    }

    // Without the photos there are no pictures, and everything else.
    place.done(&["train", "--config", "run/config.toml", "--out", "two", "--seed", "1"]);
    std::fs::rename(place.path("photos"), place.path("away")).unwrap();
    place.done(&["report", "run"]);
    assert!(read("run/report.html").contains("What was run"));
    place.snapshot("report_several_without_out", &["report", "run", "two"]);
    place.done(&["report", "run", "two", "--out", "compare.html"]);
    let compared = read("compare.html");
    assert!(
        compared.contains("2 runs beside each other") && compared.contains("measured on different photos")
    );
    place.snapshot("report_taken", &["report", "run", "--out", "compare.html"]);
    place.done(&["report", "run", "--out", "compare.html", "--overwrite"]);
    place.snapshot("report_no_run", &["report", "away"]);
    std::fs::remove_file(place.path("run/predictions.csv")).unwrap();
    place.snapshot("report_no_predictions", &["report", "run"]);
    std::fs::remove_file(place.path("run/best.safetensors")).unwrap();
    place.snapshot("report_no_model", &["report", "run"]);
}

#[test]
fn predict_one_photo() {
    let place = trained();
    place.write("broken.jpg", "not a photo");
    place.snapshot_of_figures("predict_one", &["predict", "run", "photos/night/00.png"]);
    place.snapshot_of_figures("predict_one_broken", &["predict", "run", "broken.jpg"]);

    let object: Value =
        serde_json::from_str(&place.done(&["predict", "run", "photos/dusk/00.png", "--json"]).stdout)
            .unwrap();
    assert_eq!(object["class"], "dusk");
    let sum: f64 = object["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{sum}");
}

#[test]
fn predict_a_folder() {
    let place = trained();
    place.photo("new/b/1.png", 2, 100);
    place.photo("new/a/1.jpg", 0, 101);
    let whole = std::fs::read(place.path("new/a/1.jpg")).unwrap();
    place.write("new/a/cut.jpg", &whole[..whole.len() * 3 / 4]);
    place.write("new/empty.png", "");
    place.snapshot_of_figures("predict_folder_to_file", &["predict", "run", "new", "--out", "rows.csv"]);

    let rows = std::fs::read_to_string(place.path("rows.csv")).unwrap();
    assert_eq!(place.done(&["predict", "run", "new"]).stdout, rows, "stdout gets the same rows");
    let mut csv = csv::Reader::from_reader(rows.as_bytes());
    assert_eq!(csv.headers().unwrap(), vec!["id", "day", "dusk", "night", "truncated", "reason"]);
    let rows: Vec<csv::StringRecord> = csv.records().map(Result::unwrap).collect();
    let ids: Vec<&str> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(ids, ["a/1.jpg", "a/cut.jpg", "b/1.png", "empty.png"]);
    for (row, best) in rows.iter().zip([Some(1), None, Some(3), None]) {
        let broken = &row[0] == "empty.png";
        assert_eq!(!row[5].is_empty(), broken, "{row:?}");
        assert_eq!(&row[4], if &row[0] == "a/cut.jpg" { "true" } else { "false" }, "{row:?}");
        let probabilities: Vec<f64> = (1..4).filter_map(|cell| row[cell].parse().ok()).collect();
        assert_eq!(probabilities.len(), if broken { 0 } else { 3 }, "{row:?}");
        if !broken {
            // Three f32 that were rounded once each.
            assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-6, "{row:?}");
        }
        if let Some(best) = best {
            assert!(probabilities[best - 1] > 0.5, "{row:?}");
        }
    }

    let lines = place.done(&["predict", "run", "new/b/1.png", "new/empty.png", "--json"]).stdout;
    let ids: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].clone()).collect();
    assert_eq!(ids, ["new/b/1.png", "new/empty.png"]);
}

#[test]
fn weights() {
    let place = Place::new();
    place.snapshot("weights_list", &["weights", "list"]);
    let list: Value = serde_json::from_str(&place.done(&["weights", "list", "--json"]).stdout).unwrap();
    assert!(list.as_array().unwrap().iter().any(|weights| weights["name"] == "resnet18"));

    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/weights_dtypes.pth");
    std::fs::copy(fixture, place.path("some.pth")).unwrap();
    let ended = place.done(&["weights", "verify", "some.pth"]);
    assert!(ended.stdout.starts_with("some.pth: none of the published files\nsha256   "), "{}", ended.stdout);
}

#[test]
fn quiet_leaves_results_and_warnings() {
    let place = Place::new();
    place.photos(4);
    let ended = place.done(&[
        "train",
        "photos",
        "--model",
        "simple_cnn",
        "--image-size",
        "32",
        "--epochs",
        "1",
        "--quiet",
    ]);
    assert!(ended.stdout.starts_with("[METRICS] epoch=1; "), "{}", ended.stdout);
    assert!(ended.stderr.lines().all(|line| line.starts_with("warning: ")), "{}", ended.stderr);
}

#[test]
fn nobody_needs_to_read_to_the_end() {
    let place = Place::new();
    let mut child = place.command(&["weights", "list"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn doctor() {
    let place = Place::new();
    let report: Value = serde_json::from_str(&place.done(&["doctor", "--json"]).stdout).unwrap();
    assert!(report["threads"].as_u64().unwrap() >= 1);
    let text = place.done(&["doctor"]).stdout;
    for value in [&report["version"], &report["isa_active"], &report["cache"]] {
        assert!(text.contains(value.as_str().unwrap()), "{value} in {text}");
    }

    let lowered = crate::harness::ended(place.command(&["doctor"]).env("PUGMARK_ISA", "portable"));
    assert!(lowered.stdout.contains("portable (the processor has "), "{}", lowered.stdout);
    let unknown = crate::harness::ended(place.command(&["doctor"]).env("PUGMARK_ISA", "sse9"));
    assert!(unknown.stderr.starts_with("warning: PUGMARK_ISA changes nothing: "), "{}", unknown.stderr);
}

#[test]
fn bench() {
    let place = Place::new();
    let call =
        ["bench", "--model", "simple_cnn", "--batch", "2", "--image-size", "32", "--steps", "3", "--json"];
    for (mode, flags) in [("train", [].as_slice()), ("train", &["--train"]), ("infer", &["--infer"])] {
        let call: Vec<&str> = call.iter().chain(flags).copied().collect();
        let figures: Value = serde_json::from_str(&place.done(&call).stdout).unwrap();
        assert_eq!(figures["mode"], mode);
        let seconds = figures["step_seconds_median"].as_f64().unwrap();
        assert!((figures["images_per_sec"].as_f64().unwrap() * seconds - 2.0).abs() < 1e-9);
        let mut steps: Vec<f64> =
            figures["step_seconds"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        steps.sort_by(f64::total_cmp);
        assert_eq!(steps.len(), 3);
        assert_eq!(steps[1], seconds);
    }
}

#[test]
fn precision() {
    let place = Place::new();
    place.photos(4);
    let train = ["train", "photos", "--model", "simple_cnn", "--image-size", "32", "--epochs", "1"];
    let run = |name: &str, precision: &[&str]| {
        place.done(&[&train[..], &["--out", name], precision].concat());
        std::fs::read_to_string(place.path(name).join("config.toml")).unwrap()
    };
    let bf16 = run("bf16", &["--precision", "bf16"]);
    assert!(bf16.contains("precision = \"bf16\"\n"), "{bf16}");
    // What `auto` chose is kept, so that the run goes on as it began wherever that is.
    let chosen = run("auto", &[]);
    assert!(
        ["f32", "bf16"].iter().any(|name| chosen.contains(&format!("precision = \"{name}\"\n"))),
        "{chosen}"
    );
    place.done(&["train", "--resume", "bf16", "--epochs", "2"]);

    let probabilities = |precision: &str| {
        let call = ["predict", "bf16", "photos", "--json", "--precision", precision];
        place.done(&call).stdout
    };
    assert_eq!(probabilities("f32"), place.done(&["predict", "bf16", "photos", "--json"]).stdout);
    assert_ne!(probabilities("f32"), probabilities("bf16"));

    let bench =
        ["bench", "--model", "simple_cnn", "--batch", "1", "--image-size", "32", "--steps", "1", "--json"];
    for (precision, named) in [("f32", false), ("bf16", true)] {
        let ended = place.done(&[&bench[..], &["--precision", precision]].concat());
        let figures: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!(figures["engine"].as_str().unwrap().contains(", bf16"), named);
    }
}

#[test]
fn bench_lists_operators() {
    let place = Place::new();
    let call = ["bench", "--model", "simple_cnn", "--batch", "2", "--image-size", "32", "--steps", "2"];
    let with = |flags: &[&str]| {
        let call: Vec<&str> = call.iter().chain(flags).copied().collect();
        place.done(&call).stdout
    };
    let plain: Value = serde_json::from_str(&with(&["--json"])).unwrap();
    assert!(plain.get("operators").is_none() && plain.get("peak_gflops").is_none());

    let figures: Value = serde_json::from_str(&with(&["--operators", "--json"])).unwrap();
    assert!(figures["images_per_sec"].as_f64().unwrap() > 0.0);
    assert!(figures["peak_gflops"].as_f64().unwrap() > 0.0);
    assert!(figures["peak_bytes_per_sec"].as_f64().unwrap() > 0.0);
    let operators = figures["operators"].as_array().unwrap();
    for pass in ["forward", "backward_data", "backward_weight", "optimiser", "prepare", "loss"] {
        assert!(operators.iter().any(|o| o["pass"] == pass), "{pass}");
    }
    for operator in operators {
        assert!(operator["kind"].is_string() && !operator["names"].as_array().unwrap().is_empty());
        assert!(operator["flops"].as_f64().unwrap() >= 0.0 && operator["bytes"].as_f64().unwrap() > 0.0);
    }
    let seconds: Vec<f64> = operators.iter().map(|o| o["seconds"].as_f64().unwrap()).collect();
    assert!(seconds.is_sorted_by(|a, b| a >= b));

    let table = with(&["--operators", "--infer"]);
    assert!(table.contains("GFLOP/s") && table.contains("all operators: "), "{table}");
}

#[test]
fn a_learning_rate_is_found_and_nothing_trained() {
    let place = Place::new();
    place.photos(12);
    let finding = [
        "train",
        "photos",
        "--out",
        "found",
        "--model",
        "simple_cnn",
        "--image-size",
        "32",
        "--batch-size",
        "9",
        "--loader-threads",
        "1",
    ];
    let with = |flags: &[&'static str]| [&finding, flags].concat();
    let found = place.done(&with(&["--find-learning-rate"]));
    let (flag, rest) = found.stdout.split_once('\n').unwrap();
    let rate: f64 = flag.strip_prefix("--learning-rate ").unwrap().parse().unwrap();
    assert!((1e-6..1.0).contains(&rate) && rest.contains("found/learning-rate.html"), "{}", found.stdout);
    let names = || {
        let mut names: Vec<String> = std::fs::read_dir(place.path("found"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["learning-rate.csv", "learning-rate.html"]);
    place.snapshot("learning_rate_is_found_already", &with(&["--find-learning-rate"]));
    assert_eq!(place.done(&with(&["--find-learning-rate", "--overwrite"])).stdout, found.stdout);
    // The folder is free for the run.
    place.done(&with(&["--epochs", "1", "--learning-rate", "0.001"]));
    assert!(names().contains(&"learning-rate.csv".to_owned()) && names().len() > 2);
}
