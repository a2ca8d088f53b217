//! `pugmark tune`.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::harness::Place;

const QUICK: &str = "--model simple_cnn --image-size 32 --loader-threads 1 --threads 1";

fn tune(rest: &str) -> Vec<String> {
    format!("tune photos {rest} {QUICK}").split_whitespace().map(str::to_owned).collect()
}

fn words(call: &[String]) -> Vec<&str> {
    call.iter().map(String::as_str).collect()
}

/// Runs a search and gives its result as JSON.
fn found(place: &Place, rest: &str) -> Value {
    let ended = place.done(&words(&tune(&format!("{rest} --json --quiet"))));
    serde_json::from_str(&ended.stdout).unwrap()
}

/// Trials without the time they took.
fn trials(found: &Value) -> Vec<Value> {
    let mut trials = found["trials"].as_array().unwrap().clone();
    trials.iter_mut().for_each(|trial| drop(trial.as_object_mut().unwrap().remove("seconds")));
    trials
}

fn model(place: &Place, run: &str) -> Vec<u8> {
    fs::read(place.path(run).join("best.safetensors")).unwrap()
}

/// A moment up to `most`, another one in every run of the tests: the bug may be anywhere.
fn moment(most: Duration) -> Duration {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    most.mul_f64(f64::from(nanoseconds.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24))
}

const KILLS: usize = 20;
const KILLED: &str =
    "--search lr=log(1e-4,1e-2) batch=4,8 epochs=2..3 --trials 12 --workers 3 --pruner median --seed 3";

/// Three workers, each a process of its own, of which one after the other is killed and begun again.
#[test]
fn killed_twenty_times() {
    let place = Place::new();
    place.photos(8);
    let began = Instant::now();
    let whole = found(&place, &format!("{KILLED} --out whole"));
    // Kills fall into the study, however fast the machine is.
    let most = began.elapsed() / 10;
    assert_eq!(trials(&whole).len(), 12);
    let call = tune(&format!("{KILLED} --out killed --local-workers 1"));
    let spawn = || place.command(&words(&call)).spawn().unwrap();
    let mut workers: Vec<Child> = (0..3).map(|_| spawn()).collect();
    let mut cut = 0;
    for kill in 0..KILLS {
        std::thread::sleep(moment(most));
        let worker = &mut workers[kill % 3];
        cut += usize::from(worker.try_wait().unwrap().is_none());
        worker.kill().unwrap();
        worker.wait().unwrap();
        *worker = spawn();
    }
    assert!(cut >= KILLS / 2, "{cut} of {KILLS} kills met a worker: the study is too short");
    for worker in workers {
        let ended = worker.wait_with_output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
    let killed = found(&place, &format!("{KILLED} --out killed"));
    assert_eq!(trials(&killed), trials(&whole));
    let journal = fs::read_to_string(place.path("killed/journal.jsonl")).unwrap();
    for record in ["{\"begun\"", "{\"ended\""] {
        assert_eq!(journal.matches(record).count(), 12, "each trial once: {journal}");
    }
    let complete = |trial: &&Value| trial["state"] == "complete";
    for trial in trials(&whole).iter().filter(complete) {
        let run = format!("trial-{:04}", trial["number"].as_u64().unwrap());
        assert!(model(&place, &format!("killed/{run}")) == model(&place, &format!("whole/{run}")), "{run}");
    }
}

#[test]
fn the_best_settings_train_the_best_trial_again() {
    let place = Place::new();
    place.photos(10);
    let search =
        "--search lr=log(1e-4,1e-1) batch=4,8 --epochs 2 --trials 5 --test 0.2 --out study --retrain-best";
    let found = found(&place, search);
    let best = found["best"].as_u64().unwrap();
    let loss = |trial: &Value| trial["metrics"]["log-loss"].as_f64().unwrap();
    let all = trials(&found);
    assert!(all.iter().all(|trial| loss(trial) >= loss(&all[best as usize])));
    place.done(&["train", "--config", "study/best.toml", "--out", "again", "--quiet"]);
    assert!(model(&place, "again") == model(&place, &format!("study/trial-{best:04}")));
    // Another seed on the same split, measured on photos that chose nothing.
    let again = &found["retrained"];
    assert_eq!((&again["seed"], &again["test"]["photos"]), (&json!(1), &json!(6)));
    let split = |run: &str| fs::read_to_string(place.path(run).join("split.csv")).unwrap();
    assert_eq!(split("study/best"), split("study"));
    assert!(model(&place, "study/best") != model(&place, "again"));
    let page = fs::read_to_string(place.path("study/study.html")).unwrap();
    for part in ["learning_rate", "batch_size", "Best so far", "What matters", "Trained again with seed 1"] {
        assert!(page.contains(part), "{part}");
    }
}

/// Ends a child as Ctrl-C does.
fn interrupt(child: &Child) {
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
}

fn ended(journal: &Path) -> usize {
    fs::read_to_string(journal).unwrap_or_default().matches("{\"ended\"").count()
}

#[test]
fn interrupted_and_gone_on_with() {
    let place = Place::new();
    place.photos(8);
    let search = "--search lr=log(1e-4,1e-2) epochs=2..6 --trials 8 --sampler tpe --batch-size 4";
    let whole = found(&place, &format!("{search} --out whole"));
    let mut child = place.command(&words(&tune(&format!("{search} --out cut")))).spawn().unwrap();
    while ended(&place.path("cut/journal.jsonl")) < 2 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let said = child.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&said.stderr);
    assert_eq!(said.status.code(), Some(130), "{stderr}");
    assert!(stderr.contains("go on with: pugmark tune --resume cut"), "{stderr}");
    assert!(ended(&place.path("cut/journal.jsonl")) < 8 && place.path("cut/best.toml").exists());
    let resumed = place.done(&["tune", "--resume", "cut", "--json", "--quiet"]);
    assert_eq!(trials(&serde_json::from_str(&resumed.stdout).unwrap()), trials(&whole));
    // More trials: the first ones stay as they are.
    let longer = place.done(&["tune", "--resume", "cut", "--json", "--quiet", "--trials", "10"]);
    let longer = trials(&serde_json::from_str(&longer.stdout).unwrap());
    assert_eq!((longer.len(), &longer[..8]), (10, &trials(&whole)[..]));
}

#[test]
fn pruned_warm_started_and_ended_early() {
    let place = Place::new();
    place.photos(8);
    // From a rate at which nothing is learned to one at which everything is.
    let search = "--search lr=log(1e-7,1e-2) --epochs 4 --batch-size 4 --sampler random --trials 8";
    let found_all = found(&place, &format!("{search} --pruner halving --out pruned"));
    let all = trials(&found_all);
    let pruned: Vec<&Value> = all.iter().filter(|trial| trial["state"] == "pruned").collect();
    assert!(!pruned.is_empty(), "{all:?}");
    for trial in pruned {
        let epochs = trial["reported"].as_object().unwrap().len();
        let last = &trial["reported"][epochs.to_string()];
        assert!(
            epochs < 4 && *last == trial["metrics"] && trial["why"] == format!("after epoch {epochs} of 4")
        );
    }
    let warm = place.run(&words(&tune(
        "--search lr=log(1e-5,1e-3) --epochs 4 --batch-size 4 --trials 1 --warm-start pruned --out warm",
    )));
    assert_eq!(warm.code, Some(0), "{}", warm.stderr);
    assert!(warm.stderr.contains("of the 8 trials of pruned lie in this space"), "{}", warm.stderr);
    assert!(fs::read_to_string(place.path("warm/journal.jsonl")).unwrap().contains("\"earlier\":[{"));
    let early = found(&place, &format!("{search} --objective accuracy --target 0.1 --out early"));
    assert_eq!((&early["over"], trials(&early).len()), (&json!("target"), 1));
    let short = found(
        &place,
        "--search lr=0.001..0.002 --epochs 1 --trials 1000 --time-budget 1s --sampler sobol --out short",
    );
    assert!(short["over"].is_null() && trials(&short).len() < 1000);
    let grid = found(&place, "--search batch=4,8 lr=1e-3,1e-2 --epochs 1 --sampler grid --out grid");
    assert_eq!((&grid["sampler"], trials(&grid).len()), (&json!("grid=2"), 4));
}

#[test]
fn what_can_not_be_searched_is_refused() {
    let place = Place::new();
    place.photos(4);
    place.write("space.json", r#"{"ContinuousParameterRanges": [{"Name": "lr", "MinValue": "0", "MaxValue": "1", "ScalingType": "Logarithmic"}]}"#);
    place.write("full/notes.txt", "mine");
    let cases = [
        ("", "nothing is searched", "--search \"lr="),
        ("--search lr=log(0,1)", "can't start at 0", "start above 0"),
        ("--space space.json", "can't start at 0", "start above 0"),
        ("--space absent.json", "absent.json", ""),
        ("--search epochs=5..2", "the range is empty", "least value first"),
        ("--search learning-rat=1,2", "no setting `learning-rat`", "learning_rate"),
        ("--search lr=0.1..0.2 learning_rate=0.1..0.3", "named twice", ""),
        ("--search val=0.1..0.3", "`val` can't be searched: it decides", ""),
        ("--search lr=0.1..0.2 --learning-rate 0.1", "`--learning-rate` fixes it", "leave out one"),
        ("--search lr=-1..1", "`learning_rate` is searched, and can't be -1: it must be above 0", ""),
        ("--search epochs=1.5..3.5", "can't be `1.5`", "`epochs=2..5`"),
        ("--search optimiser=sgd,adam", "can't be `adam`", ""),
        ("--search lr=0.1..0.2 photos", "`photos` names no values", "stands before"),
        ("--search lr=0.1..0.2 --objective auc", "invalid value 'auc'", ""),
        ("--search lr=0.1..0.2 --out full", "notes.txt", "--out"),
    ];
    for (rest, message, hint) in cases {
        let said = place.run(&words(&tune(rest)));
        assert_eq!(said.code, Some(2), "{rest}: {}", said.stderr);
        assert!(said.stderr.contains(message) && said.stderr.contains(hint), "{rest}: {}", said.stderr);
    }
    let said = place.run(&["tune", "--resume", "photos"]);
    assert!(said.code == Some(2) && said.stderr.contains("photos is no study"), "{}", said.stderr);
    assert!(!place.path("runs").exists(), "nothing is made by a call that is wrong");
}

/// A recipe's warm-up is for its own number of epochs.
#[test]
fn a_warm_up_is_no_longer_than_half_the_epochs() {
    let place = Place::new();
    place.photos(4);
    let recipe = "--search epochs=1..2 --recipe finetune --batch-size 4 --out study";
    let first = found(&place, &format!("{recipe} --trials 1"));
    assert_eq!(first["trials"][0]["state"], "complete");
    // The call that goes on says nothing of the recipe.
    let more: Value = serde_json::from_str(
        &place.done(&["tune", "--resume", "study", "--trials", "4", "--json", "--quiet"]).stdout,
    )
    .unwrap();
    let states: Vec<&Value> =
        more["trials"].as_array().unwrap().iter().map(|trial| &trial["state"]).collect();
    assert_eq!(states, ["complete"; 4]);
}

#[test]
fn another_study_and_failures_are_told() {
    let place = Place::new();
    place.photos(4);
    let first = "--search lr=0.001..0.002 --epochs 1 --trials 1 --batch-size 4 --out study --quiet";
    place.done(&words(&tune(first)));
    for (other, what) in [
        (first.replace("0.002", "0.003"), "`space` is"),
        (format!("{first} --seed 1"), "`seed` is 0, and 1"),
        (format!("{first} --objective accuracy"), "`objective` is"),
        (first.replace("--epochs 1", "--epochs 2"), "`epochs` is 1, and 2"),
    ] {
        let said = place.run(&words(&tune(&other)));
        assert!(said.code == Some(2) && said.stderr.contains(what), "{other}: {}", said.stderr);
        assert!(said.stderr.contains("hint: name another `--out`"), "{}", said.stderr);
    }
    place.snapshot_of_figures(
        "tune_failed",
        &words(&tune(
            "--search lr=log(1e25,1e30) --sampler sobol --epochs 2 --trials 2 --batch-size 4 --out failed --precision f32",
        )),
    );
    let said = place.run(&["tune", "--resume", "failed"]);
    assert!(said.code == Some(1) && said.stderr.contains("none of the 2 trials"), "{}", said.stderr);
}
