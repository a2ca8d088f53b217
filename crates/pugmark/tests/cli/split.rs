//! `pugmark split`, and training on what it writes.

use crate::harness::{Place, shared_data};

/// Labels of 240 photos of 20 sites, none of which is there.
fn labels() -> String {
    let row = |n: usize| {
        let class = ["blank", "duiker", "hog"][(n * 7 + n / 20) % 3];
        format!(
            "site-{:02}/{n}.jpg,{class},S{:02},{}\n",
            n % 20,
            n % 20,
            ["dry", "wet", "cold", "hot"][n / 60]
        )
    };
    let rows: String = (0..240).map(row).collect();
    format!("filepath,label,site,season\n{rows}")
}

/// A training that is over in a second.
fn train<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let quick = ["--model", "simple_cnn", "--image-size", "32", "--loader-threads", "1"];
    ["train"].iter().chain(arguments).chain(&quick).copied().collect()
}

#[test]
fn a_table_is_split() {
    let place = Place::new();
    place.write("labels.csv", labels());
    place.snapshot("split_by_site", &["split", "labels.csv", "--test", "0.1"]);
    let first = std::fs::read_to_string(place.path("split.csv")).unwrap();
    assert!(first.starts_with("id,split,class,site\nsite-00/0.jpg,"), "{first}");
    assert_eq!(first.lines().count(), 241);
    place.snapshot("split_exists", &["split", "labels.csv"]);
    assert_eq!(std::fs::read_to_string(place.path("split.csv")).unwrap(), first, "it is as it was");
    place.done(&["split", "labels.csv", "--test", "0.1", "--seed", "1", "--overwrite"]);
    assert_ne!(std::fs::read_to_string(place.path("split.csv")).unwrap(), first);
    place.done(&["split", "labels.csv", "--test", "0.1", "--overwrite"]);
    assert_eq!(std::fs::read_to_string(place.path("split.csv")).unwrap(), first);

    place.snapshot("split_in_folds", &["split", "labels.csv", "--folds", "3", "--out", "folds.csv"]);
    place.snapshot("split_by_column", &["split", "labels.csv", "--column", "season", "--out", "seasons.csv"]);
    place.snapshot("split_random", &["split", "labels.csv", "--by", "random", "--out", "random.csv"]);

    // The last site is new; whatever the seed is, the others stay.
    let fewer: String =
        labels().lines().filter(|row| !row.contains(",S19,")).map(|row| format!("{row}\n")).collect();
    place.write("before.csv", fewer);
    place.done(&["split", "before.csv", "--out", "before-split.csv"]);
    let keep = ["split", "labels.csv", "--keep", "before-split.csv", "--seed", "5", "--out", "after.csv"];
    place.snapshot("split_keep", &keep);
    let after = std::fs::read_to_string(place.path("after.csv")).unwrap();
    let old = std::fs::read_to_string(place.path("before-split.csv")).unwrap();
    assert!(old.lines().all(|row| after.contains(row)));
}

#[test]
fn what_the_data_set_gives_goes_before_an_earlier_split() {
    let place = Place::new();
    place.write(
        "labels.csv",
        "filepath,label,split\n1.png,a,train\n2.png,b,train\n3.png,a,val\n4.png,b,val\n",
    );
    place.write("old.csv", "id,split\n1.png,val\n2.png,train\n");
    let ended = place.done(&["split", "labels.csv", "--no-photos", "--keep", "old.csv"]);
    assert!(
        ended.stderr.contains("warning: the data set itself gives 1 of these photos another part"),
        "{}",
        ended.stderr
    );
}

#[test]
fn photos_are_found_by_an_id_without_its_extension_and_copies_stay_together() {
    let place = Place::new();
    for number in 0..8 {
        place.photo(&format!("{number}.png"), (number % 2) as u8, number);
    }
    std::fs::copy(place.path("0.png"), place.path("6.png")).unwrap();
    let rows: String =
        (0..8).map(|number| format!("{number},{},{}\n", (number + 1) % 2, number % 2)).collect();
    place.write("labels.csv", format!("id,day,dusk\n{rows}"));
    let ended = place.done(&["split", "labels.csv", "--by", "random"]);
    assert!(
        !ended.stderr.contains("not there") && ended.stderr.contains("stay together"),
        "{}",
        ended.stderr
    );
    let split = std::fs::read_to_string(place.path("split.csv")).unwrap();
    let part =
        |id: &str| split.lines().find_map(|row| row.strip_prefix(id)?.split(',').next().map(str::to_owned));
    assert_eq!(part("0,"), part("6,"));
}

#[test]
fn json_has_the_same_figures() {
    let place = Place::new();
    place.write("labels.csv", labels());
    let said = place.done(&["split", "labels.csv", "--json"]).stdout;
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((report["by"].as_str(), report["shared_sites"].as_u64()), (Some("site"), Some(0)));
    let csv = std::fs::read_to_string(place.path("split.csv")).unwrap();
    let photos: Vec<u64> =
        report["parts"].as_array().unwrap().iter().map(|part| part["photos"].as_u64().unwrap()).collect();
    let rows = |part: &str| csv.lines().filter(|row| row.contains(&format!(",{part},"))).count() as u64;
    assert_eq!(photos, [rows("train"), rows("val")]);
    let largest = &report["largest"];
    let points = 100.0 * (largest["share"].as_f64().unwrap() - largest["overall"].as_f64().unwrap());
    assert!((report["largest_points"].as_f64().unwrap() - points).abs() < 1e-9);
}

#[test]
fn wrong_splits() {
    let place = Place::new();
    place.write("labels.csv", labels());
    place.snapshot("split_no_such_data", &["split", "labls.csv"]);
    place.snapshot("split_column_without_name", &["split", "labels.csv", "--by", "column"]);
    place.snapshot("split_no_such_column", &["split", "labels.csv", "--column", "moon"]);
    place.snapshot("split_shares", &["split", "labels.csv", "--val", "0.6", "--test", "0.4"]);
    place.snapshot("split_folds_and_val", &["split", "labels.csv", "--folds", "3", "--val", "0.2"]);
    place.snapshot("split_gap", &["split", "labels.csv", "--burst-gap", "3 days"]);
    place.snapshot("split_too_few", &["split", "labels.csv", "--folds", "30"]);
    place.snapshot("split_no_earlier", &["split", "labels.csv", "--keep", "old.csv"]);
    assert!(!place.path("split.csv").exists(), "nothing is written");
}

#[test]
fn training_takes_exactly_the_split() {
    let place = Place::new();
    place.photos(8);
    place.done(&["split", "photos", "--folds", "4", "--out", "folds.csv"]);
    place.snapshot("split_file_without_fold", &train(&["photos", "--split-file", "folds.csv"]));
    place
        .snapshot("split_file_no_such_fold", &train(&["photos", "--split-file", "folds.csv", "--fold", "9"]));
    place.snapshot("fold_without_split_file", &train(&["photos", "--fold", "1"]));
    place.snapshot("split_file_and_split", &train(&["photos", "--split-file", "folds.csv", "--val", "0.5"]));
    assert!(!place.path("runs").exists());

    let run = train(&["photos", "--split-file", "folds.csv", "--fold", "3", "--epochs", "1", "--out", "run"]);
    place.done(&run);
    let folds = std::fs::read_to_string(place.path("folds.csv")).unwrap();
    let expected: String = folds
        .lines()
        .map(|row| match row.rsplit_once(',').unwrap() {
            (row, "fold") => format!("{row}\n"),
            (row, fold) => {
                format!("{}\n", row.replace(",train,", if fold == "3" { ",val," } else { ",train," }))
            }
        })
        .collect();
    assert_eq!(std::fs::read_to_string(place.path("run/split.csv")).unwrap(), expected);
    // The run goes on without the file, and repeats with it.
    std::fs::rename(place.path("folds.csv"), place.path("elsewhere.csv")).unwrap();
    place.done(&["train", "--resume", "run", "--epochs", "2"]);
    assert_eq!(std::fs::read_to_string(place.path("run/split.csv")).unwrap(), expected);
    std::fs::rename(place.path("elsewhere.csv"), place.path("folds.csv")).unwrap();
    place.done(&["train", "--config", "run/config.toml", "--out", "again"]);
    assert_eq!(std::fs::read_to_string(place.path("again/split.csv")).unwrap(), expected);

    place.done(&["split", "photos"]);
    place.photo("photos/day/new.png", 0, 99);
    std::fs::remove_file(place.path("photos/night/00.png")).unwrap();
    place.snapshot("split_file_of_other_photos", &train(&["photos", "--split-file", "split.csv"]));
}

#[test]
fn real_labels_are_split_by_site() {
    let Some(data) = shared_data("real_labels_are_split_by_site") else { return };
    let place = Place::new();
    let labels = data.join("conser-vision").to_string_lossy().into_owned();
    let said = place.done(&["split", &labels, "--val", "0.2", "--test", "0.1", "--json"]).stdout;
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(report["all"]["photos"], 16_488);
    assert_eq!(report["shared_sites"], 0);
    // The bound that the tests of pugmark-data hold ten seeds to, with a tenth as test part.
    assert!(report["largest_points"].as_f64().unwrap().abs() < 2.5, "{said}");
}
