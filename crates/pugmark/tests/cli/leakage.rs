//! `pugmark eval --leakage-gap`: the same recipe on both kinds of split.

use serde_json::Value;

use crate::harness::Place;

/// Photos of six sites, a CSV that names them, and a run whose validation sites are its own.
fn place() -> Place {
    let place = Place::new();
    place.photos(12);
    let mut csv = String::from("filepath,label,site\n");
    for class in ["day", "dusk", "night"] {
        for number in 0..12 {
            csv.push_str(&format!("photos/{class}/{number:02}.png,{class},S{}\n", number % 6));
        }
    }
    place.write("labels.csv", csv);
    place.done(&train("labels.csv", &["--out", "runs/site"]));
    place
}

fn train<'a>(data: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let settings = ["--model", "simple_cnn", "--image-size", "32", "--epochs", "1", "--precision", "f32"];
    [&["train", data], &settings[..], more].concat()
}

#[test]
fn the_gap_of_two_runs() {
    let place = place();
    let call = ["eval", "runs/site", "--leakage-gap"];
    place.snapshot("leakage_no_other_run", &call);
    // Another seed is another recipe.
    place.done(&train("labels.csv", &["--split", "random", "--seed", "5", "--out", "runs/other"]));
    assert_eq!(place.run(&call).code, Some(2));
    place.done(&[&call[..], &["--train"]].concat());
    let json = |run: &str| -> Value {
        serde_json::from_str(&place.done(&["eval", run, "--leakage-gap", "--json"]).stdout).unwrap()
    };
    let gap = json("runs/site");
    assert_eq!((&gap["random"]["split"], &gap["apart"]["split"]), (&"random".into(), &"site".into()));
    assert_eq!(
        (&gap["random"]["run"], &gap["apart"]["run"]),
        (&"runs/site-random-split".into(), &"runs/site".into())
    );
    // What `eval` says of each; the trained one is found from either side.
    let accuracy =
        |run: &str| -> Value { serde_json::from_str(&place.done(&["eval", run, "--json"]).stdout).unwrap() };
    for (side, run) in [("random", "runs/site-random-split"), ("apart", "runs/site")] {
        let (side, alone) = (&gap[side], accuracy(run));
        assert_eq!((&side["accuracy"], &side["images"]), (&alone["accuracy"], &alone["images"]), "{run}");
        assert!((side["log_loss"].as_f64().unwrap() - alone["log_loss"].as_f64().unwrap()).abs() < 1e-6);
    }
    let difference = gap["random"]["accuracy"].as_f64().unwrap() - gap["apart"]["accuracy"].as_f64().unwrap();
    assert_eq!(gap["accuracy"].as_f64(), Some(difference));
    assert_eq!(json("runs/site-random-split"), gap);
    let text = place.done(&["eval", "runs/site/", "--leakage-gap"]).stdout;
    assert!(text.contains("leakage gap") && text.contains("places apart"), "{text}");
}

#[test]
fn sequences_are_no_places() {
    let place = place();
    let mut csv = String::from("path,classification,label,Location,Photo_time\n");
    for (class, name) in ["day", "dusk", "night"].into_iter().enumerate() {
        for number in 0..12 {
            csv.push_str(&format!(
                "photos/{name}/{number:02}.png,{class},{name},,2026-05-01 {number:02}:00:00\n"
            ));
        }
    }
    place.write("times.csv", csv);
    place.done(&train("times.csv", &["--split", "sequence", "--out", "runs/burst"]));
    place.snapshot("leakage_of_bursts", &["eval", "runs/burst/", "--leakage-gap", "--train"]);
}

#[test]
fn no_gap_without_two_splits() {
    let place = place();
    place.done(&train("photos", &["--split", "random", "--out", "runs/unknown"]));
    place.snapshot("leakage_no_places", &["eval", "runs/unknown", "--leakage-gap", "--train"]);
    place.done(&["split", "labels.csv", "--out", "split.csv"]);
    place.done(&train("labels.csv", &["--split-file", "split.csv", "--out", "runs/given"]));
    place.snapshot("leakage_given_split", &["eval", "runs/given", "--leakage-gap", "--train"]);
    place.snapshot("leakage_of_a_model_file", &["eval", "runs/given/best.safetensors", "--leakage-gap"]);
}
