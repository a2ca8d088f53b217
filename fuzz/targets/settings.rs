//! Settings in words and files, search spaces, and the files that a training or a search goes on from.

#![no_main]

use std::fmt::Display;
use std::str::FromStr;

use fuzz::{file, folder, kind, of_kind, parts, said, seed, told, within};
use libfuzzer_sys::fuzz_target;
use pugmark_data::{CaptureTime, Part, SplitBy};
use pugmark_engine::{Freeze, PrecisionChoice};
use pugmark_eval::Combine;
use pugmark_graph::Architecture;
use pugmark_model::RunFolder;
use pugmark_train::fuzzing::{checkpoint, class_weights, to_toml};
use pugmark_train::{
    CacheFeatures, ClassWeights, Profile, Thresholds, TimeBudget, TrainSettings, WatchMode, read_watch,
    reports_to_json, shipped_recipes,
};
use pugmark_tune::{SamplerKind, Space, Study};

const KINDS: usize = 9;

fuzz_target!(init: seed(seeds()), |bytes: &[u8]| {
    let Some((kind, bytes)) = of_kind(bytes, KINDS) else { return };
    within(512 * bytes.len() + (16 << 20), || match (kind, std::str::from_utf8(bytes)) {
        (0, Ok(text)) => words(text),
        (1, Ok(text)) => space(Space::from_flags(&text.lines().collect::<Vec<_>>())),
        (2, Ok(text)) => space(Space::from_ranges(text)),
        (3, _) => config(bytes),
        (4, _) => study(bytes),
        (5, _) => watch(bytes),
        (6, _) => match Profile::read(&file("profile.json", bytes)) {
            Ok(profile) => assert!(serde_json::to_string(&profile).is_ok()),
            Err(error) => told(&error),
        },
        (7, _) => {
            let classes = ["hog", "lion"].map(String::from);
            match class_weights(&file("weights.csv", bytes), &classes) {
                Ok(weights) => assert!(weights.is_some_and(|all| all.iter().all(|&w| w > 0.0 && w.is_finite()))),
                Err(error) => told(&error),
            }
        }
        (8, _) => {
            file("config.toml", b"");
            file("checkpoint/state.json", bytes);
            if let Err(error) = checkpoint(folder()) {
                told(&error);
            }
        }
        _ => {}
    });
});

/// What a word means is written as a word that means the same.
fn again<T: FromStr<Err: Display> + Display + PartialEq + std::fmt::Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(value) => assert_eq!(value.to_string().parse::<T>().ok(), Some(value)),
        Err(error) => said(&error.to_string()),
    }
}

fn words(text: &str) {
    again::<CaptureTime>(text);
    again::<Part>(text);
    again::<Freeze>(text);
    again::<TimeBudget>(text);
    again::<CacheFeatures>(text);
    again::<Architecture>(text);
    again::<Thresholds>(text);
    again::<SamplerKind>(text);
    let Ok(_) = text.parse::<ClassWeights>();
    let refused = [
        text.parse::<SplitBy>().err().map(|error| error.to_string()),
        text.parse::<Combine>().err(),
        text.parse::<PrecisionChoice>().err().map(|error| error.to_string()),
        text.parse::<WatchMode>().err(),
    ];
    refused.into_iter().flatten().for_each(|error| said(&error));
}

/// A space is the same in SageMaker's words, and every point of it is one of its settings.
fn space(read: Result<Space, pugmark_tune::SpaceError>) {
    let space = match read {
        Ok(space) => space,
        Err(error) => {
            assert!(!error.hint().is_empty());
            return told(&error);
        }
    };
    let ranges = space.to_ranges().to_string();
    assert_eq!(Space::from_ranges(&ranges).expect("what was written can be read"), space, "{ranges}");
    for unit in [0.0, 0.3, 1.0] {
        let settings = space.from_unit(&vec![unit; space.parameters.len()]);
        assert!(space.contains(&settings), "{settings:?}");
        let unit = space.to_unit(&settings);
        assert!(unit.iter().flatten().all(|unit| (0.0..=1.0).contains(unit)), "{unit:?}");
    }
}

/// Settings that are sound are the same when they were written.
fn config(bytes: &[u8]) {
    let settings = match TrainSettings::read(&file("config.toml", bytes)) {
        Ok(settings) => settings,
        Err(error) => return told(&error),
    };
    match settings.validate() {
        Ok(()) => {
            let written = to_toml(&settings).expect("they can be written");
            let again = TrainSettings::read(&file("again.toml", written.as_bytes()));
            assert_eq!(again.expect("what was written can be read"), settings);
        }
        Err(error) => told(&error),
    }
}

fn study(bytes: &[u8]) {
    file("study/journal.jsonl", bytes);
    match Study::open(&folder().join("study")) {
        Ok(study) => {
            let runs = study.runs().len();
            assert!(
                study.known(runs as u32).len() <= runs
                    && study.best().is_none_or(|best| (best.number as usize) < runs)
            );
            let _ = study.is_over();
        }
        Err(error) => {
            assert!(error.hint().is_none_or(|hint| !hint.is_empty()));
            told(&error);
        }
    }
}

fn watch(bytes: &[u8]) {
    let [config, watch, log] = parts(bytes);
    let names = ["config.toml", "watch.jsonl", "log.jsonl"];
    for (name, part) in names.into_iter().zip([config, watch, log]) {
        file(&format!("run/{name}"), part);
    }
    let run = RunFolder::open(&folder().join("run")).expect("it has settings");
    match read_watch(&run, &Thresholds::default()) {
        Ok(Some(watched)) => {
            watched.findings();
            assert!(
                reports_to_json(&watched.reports).is_array() || reports_to_json(&watched.reports).is_object()
            );
        }
        Ok(None) => panic!("the file is there"),
        Err(error) => told(&error),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let defaults = to_toml(&TrainSettings::default()).expect("they can be written");
    let flags = "lr=log(1e-4,1e-1)\noptimiser=sgd,adamw\nmomentum=0.8..0.99 if optimiser=sgd\nbatch=16..64\nbeta=reverse-log(0.9,0.999)";
    let space = Space::from_flags(&flags.lines().collect::<Vec<_>>()).expect("it is a space");
    let ranges = space.to_ranges().to_string();
    let plan = serde_json::json!({"study": {
        "space": space, "objective": {"metric": "val_loss", "direction": "minimise"}, "sampler": "tpe", "pruner": "none",
        "seed": 1, "workers": 2, "fixed": {"epochs": 3}, "earlier": [],
    }});
    let journal = format!(
        "{plan}\n{{\"limits\":{{\"trials\":3,\"target\":0.1,\"patience\":2}}}}\n\
         {{\"begun\":{{\"number\":0,\"settings\":{{\"lr\":0.01,\"optimiser\":\"adamw\"}}}}}}\n\
         {{\"reported\":{{\"number\":0,\"epoch\":1,\"metrics\":{{\"val_loss\":0.5}}}}}}\n\
         {{\"ended\":{{\"number\":0,\"state\":\"complete\",\"metrics\":{{\"val_loss\":0.4}},\"seconds\":1.5}}}}\n"
    );
    let mut seeds = vec![
        kind(1, flags),
        kind(2, ranges),
        kind(3, &defaults),
        kind(4, journal),
        kind(7, "class,weight\nhog,0.5\nlion,2\n"),
    ];
    let words = [
        "2022-12-31T23:59:50+02:00",
        "2022:12:31 23:59:50",
        "validation",
        "head",
        "3",
        "1h30m",
        "none",
        "resnet18",
        "auto",
        "cache",
        "random",
        "grid:3",
        "tpe",
        "gp",
        "f32",
        "site",
        "off",
        "overfit.gap=0.1,vanishing_gradient=off",
        "balanced",
    ];
    seeds.extend(words.map(|word| kind(0, word)));
    seeds.extend(shipped_recipes().iter().map(|recipe| kind(3, recipe.text)));
    seeds
}
