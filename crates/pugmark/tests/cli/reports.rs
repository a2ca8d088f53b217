//! `pugmark report` on made-up runs: what it says of many classes, sites and runs, and what it advises.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use pugmark_data::Recipe;
use pugmark_graph::Architecture;
use pugmark_model::{FORMAT, Model, ModelCard};
use pugmark_train::EpochMetrics;

use crate::harness::Place;

/// A run that nobody trained. As it is by default, nothing is to be advised.
struct Made {
    architecture: Architecture,
    classes: usize,
    split_how: &'static str,
    /// Sites of the validation part, which its photos go round.
    sites: usize,
    /// Whether the training part is of the same sites; photo by photo, so that a site tells the class if it can.
    same_sites: bool,
    /// Photos of each class in each part.
    trained: usize,
    shown: usize,
    /// Of each class, photos that are taken for the next class.
    wrong: fn(usize) -> usize,
    /// Accuracy on training and validation by epoch; the best is the second.
    epochs: [[f64; 2]; 3],
    best: u32,
    planned: u32,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            architecture: Architecture::SimpleCnn,
            classes: 3,
            split_how: "site",
            sites: 12,
            same_sites: false,
            trained: 20,
            shown: 24,
            wrong: |_| 0,
            epochs: [[0.8, 0.8], [0.9, 0.9], [0.95, 0.89]],
            best: 2,
            planned: 3,
        }
    }
}

fn name(class: usize) -> String {
    format!("c{class:02}")
}

impl Made {
    /// Writes its files.
    fn write(&self, place: &Place, run: &str) {
        let names: Vec<String> = (0..self.classes).map(name).collect();
        let mut split = "id,split,class,site\n".to_owned();
        let mut predictions = format!("id,split,class,predicted,{},truncated,reason\n", names.join(","));
        let mut number = 0;
        for class in 0..self.classes {
            for photo in 0..self.trained {
                let site =
                    if self.same_sites { format!("S{:02}", class % self.sites) } else { "T".to_owned() };
                let _ = writeln!(split, "t{class}-{photo},train,{},{site}", names[class]);
            }
            for photo in 0..self.shown {
                let id = format!("v{class}-{photo}");
                let site = if self.same_sites { class } else { number } % self.sites.max(1);
                let site = if self.sites > 0 { format!("S{site:02}") } else { String::new() };
                let _ = writeln!(split, "{id},val,{},{site}", names[class]);
                let said = if photo < (self.wrong)(class) { (class + 1) % self.classes } else { class };
                let rest = 0.1 / (self.classes - 1) as f32;
                let row = (0..self.classes).map(|other| if other == said { 0.9 } else { rest }.to_string());
                let row = row.collect::<Vec<_>>().join(",");
                let _ = writeln!(predictions, "{id},val,{},{},{row},false,", names[class], names[said]);
                number += 1;
            }
        }
        place.write(&format!("{run}/split.csv"), split);
        place.write(&format!("{run}/predictions.csv"), predictions);
        place.write(&format!("{run}/config.toml"), format!("epochs = {}\n", self.planned));
        let epoch = |(number, [train_acc, val_acc]): (u32, [f64; 2])| EpochMetrics {
            epoch: number,
            train_loss: 1.0 - train_acc,
            train_acc,
            val_loss: 1.0 - val_acc,
            val_acc,
            val_macro_f1: val_acc,
            learning_rate: 1e-3,
            images_per_sec: 100.0,
            seconds: 60.0,
            peak_memory_mib: None,
        };
        let epochs: Vec<EpochMetrics> = (1..).zip(self.epochs).map(epoch).collect();
        place.write(&format!("{run}/metrics.json"), serde_json::to_vec(&epochs).unwrap());
        let card = ModelCard {
            format: FORMAT,
            version: "0.1.0".into(),
            architecture: self.architecture,
            recipe: Recipe::imagenet(32),
            temperature: 1.0,
            calibration: None,
            data_hash: "d".into(),
            split_hash: "s".into(),
            split_how: self.split_how.into(),
            metrics: BTreeMap::new(),
            epoch: self.best,
            classes: names,
        };
        let tensors = self.architecture.graph(self.classes).initialise(0);
        Model { card, tensors }.write(&place.path(&format!("{run}/best.safetensors"))).unwrap();
    }

    /// Its page, with a `|` for every tag.
    fn page(&self, place: &Place) -> String {
        self.write(place, "run");
        place.done(&["report", "run"]);
        text(&fs::read_to_string(place.path("run/report.html")).unwrap())
    }
}

fn text(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, text)| text).trim());
        text.push('|');
    }
    while text.contains("||") {
        text = text.replace("||", "|");
    }
    text
}

#[test]
fn of_many_classes_the_most_frequent_mistakes_are_listed() {
    let place = Place::new();
    let made = |classes| Made { classes, shown: 30, wrong: |class| class, ..Made::default() };
    let all = made(25).page(&place);
    assert!(all.contains("|shown / taken for|") && !all.contains("|taken for|photos|"), "{all}");
    let most = made(26).page(&place);
    assert!(!most.contains("|shown / taken for|"), "{most}");
    let (_, table) = most.split_once("|shown|taken for|photos|").unwrap();
    let expected: String =
        (6..26).rev().map(|class| format!("{}|{}|{class}|", name(class), name((class + 1) % 26))).collect();
    assert!(table.starts_with(&expected), "{table}");
    assert!(!table.starts_with(&(expected + "c05|")), "no more than twenty: {table}");
}

#[test]
fn damaged_extras_are_left_out_and_told() {
    let place = Place::new();
    let whole = Made::default().page(&place);
    place.write("run/watch.jsonl", "{\n{}\n");
    place.write("run/profile.json", "{");
    let ended = place.done(&["report", "run"]);
    for file in ["run/watch.jsonl", "run/profile.json"] {
        assert!(
            ended.stderr.contains(file) && ended.stderr.contains("says nothing of it"),
            "{}",
            ended.stderr
        );
    }
    assert_eq!(text(&fs::read_to_string(place.path("run/report.html")).unwrap()), whole);
}

#[test]
fn of_many_sites_the_weakest_are_shown() {
    let place = Place::new();
    // Every class has a photo of each site; the first sites have the mistakes.
    let made = |sites| Made { sites, shown: sites, wrong: |class| 5 * (class + 1), ..Made::default() };
    let all = made(20).page(&place);
    assert!(all.contains("|Each site|") && !all.contains("weakest of"), "{all}");
    assert_eq!((0..20).filter(|site| all.contains(&format!("|S{site:02}|"))).count(), 20);
    let most = made(23).page(&place);
    assert!(most.contains("|The 20 weakest of 23; the line is the accuracy on all.|"), "{most}");
    let shown: Vec<usize> = (0..23).filter(|site| most.contains(&format!("|S{site:02}|"))).collect();
    assert_eq!(shown, (0..20).collect::<Vec<_>>());
    let one = Made { sites: 1, ..Made::default() }.page(&place);
    assert!(!one.contains("|Each site|"), "{one}");
}

#[test]
fn of_many_runs_all_figures_and_some_curves_are_shown() {
    let place = Place::new();
    let runs = ["first", "second", "third", "fourth", "fifth"];
    for run in runs {
        Made::default().write(&place, run);
    }
    let compare = |runs: &[&str]| {
        place.done(&[&["report"], runs, &["--out", "compare.html", "--overwrite"]].concat());
        text(&fs::read_to_string(place.path("compare.html")).unwrap())
    };
    let four = compare(&runs[..4]);
    assert!(four.contains("|4 runs beside each other|") && !four.contains("|The first 4 of"), "{four}");
    let five = compare(&runs);
    assert!(five.contains("|The first 4 of 5.|"), "{five}");
    let (before, after) = five.split_once("|Validation loss by epoch|").unwrap();
    assert!(runs.iter().all(|run| before.contains(&format!("|{run}|simple_cnn|"))), "{before}");
    let (curves, classes) = after.split_once("|F1 of each class|").unwrap();
    let drawn: Vec<&&str> = runs.iter().filter(|run| curves.contains(&format!("|{run}|"))).collect();
    assert_eq!(drawn, [&"first", &"second", &"third", &"fourth"]);
    assert!(classes.contains("class|first|second|third|fourth|fifth|c00|1.000|"), "{classes}");
    assert!(!five.contains("measured on different photos"), "{five}");
    // Classes that differ have no table together.
    Made { classes: 4, ..Made::default() }.write(&place, "fifth");
    assert!(!compare(&runs).contains("|F1 of each class|"));
}

#[test]
fn what_to_try_next_follows_from_the_figures() {
    let place = Place::new();
    let made = Made::default;
    let said = made().page(&place);
    assert!(!said.contains("What to try next"), "{said}");
    let cases = [
        (
            Made { split_how: "random", sites: 0, ..made() },
            "photos of one place are in training and validation",
        ),
        (
            Made { wrong: |class| if class == 0 { 0 } else { 23 }, ..made() },
            "always saying c00 is right on 33.3 %, the model on 36.1 %",
        ),
        (
            Made { same_sites: true, wrong: |_| 2, ..made() },
            "knowing the site alone is right on 100.0 %, the model on 91.7 %",
        ),
        (
            Made { epochs: [[0.8, 0.7], [0.99, 0.8], [0.99, 0.75]], ..made() },
            "training photos are right on 99.0 %, validation on 80.0 %",
        ),
        (Made { best: 3, ..made() }, "the last epoch is the best one"),
        (Made { architecture: Architecture::ResNet18, ..made() }, "it started from nothing"),
        (Made { trained: 19, ..made() }, "fewer than 20 training photos: c00, c01, c02"),
        (Made { sites: 9, ..made() }, "9 sites in this part make wide intervals"),
    ];
    for (run, because) in &cases {
        let said = run.page(&place);
        let (_, advice) =
            said.split_once("|What to try next|try|because|").unwrap_or_else(|| panic!("{because}: {said}"));
        let (advice, _) = advice.split_once("|What was run|").unwrap();
        assert!(advice.contains(because), "{because}: {advice}");
        let others = cases.iter().filter(|(_, other)| other != because && advice.contains(other));
        // A site that is known from training is of one place, too.
        let others = others.filter(|(_, other)| !(run.same_sites && other.contains("one place")));
        assert_eq!(others.count(), 0, "{because}: {advice}");
    }
    // One that was stopped early, or has learnt all there is, needs no more epochs.
    let stopped = Made { best: 3, planned: 10, ..made() };
    let learnt = Made { best: 3, epochs: [[0.8, 0.8], [0.9, 0.9], [0.99, 0.95]], ..made() };
    for run in [stopped, learnt] {
        let said = run.page(&place);
        assert!(!said.contains("What to try next"), "{said}");
    }
}
