//! `pugmark predict --out` loses no answer: the same call goes on after any kill.

use std::fs;
use std::time::{Duration, Instant};

use crate::harness::{Place, ended};

/// A trained run, and photos under many names.
fn place(names: usize) -> Place {
    let place = Place::new();
    place.photos(6);
    let train =
        ["train", "photos", "--out", "run", "--model", "simple_cnn", "--image-size", "32", "--epochs", "1"];
    place.done(&train);
    place.photo("new/0/0.png", 0, 7);
    place.photo("new/0/1.png", 2, 8);
    place.write("new/0/broken.jpg", "no photo");
    for name in 1..names {
        fs::create_dir_all(place.path(&format!("new/{name}"))).unwrap();
        for file in ["0.png", "1.png", "broken.jpg"] {
            fs::copy(place.path(&format!("new/0/{file}")), place.path(&format!("new/{name}/{file}")))
                .unwrap();
        }
    }
    place
}

const ROWS: [&str; 5] = ["predict", "run", "new", "--out", "rows.csv"];

#[test]
fn killed_twenty_times() {
    let place = place(400);
    let start = Instant::now();
    place.done(&["predict", "run", "new", "--out", "whole.csv"]);
    let undisturbed = start.elapsed();
    let (mut kills, mut seed) = (0, u32::from(fs::metadata(place.path("new")).is_ok()));
    while kills < 20 {
        let mut child = place.command(&ROWS).spawn().unwrap();
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        // A tenth of the work at most, so that there are twenty before the end.
        let moment = undisturbed.mul_f64(0.1 * f64::from(seed >> 8) / f64::from(1 << 24));
        std::thread::sleep(moment.max(Duration::from_millis(5)));
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        if ended.is_some() {
            break;
        }
        kills += 1;
        assert!(!place.path("rows.csv").exists(), "there is no half of a file");
    }
    assert!(kills >= 10, "{kills} kills before it was done");
    if !place.path("rows.csv").exists() {
        place.done(&ROWS);
    }
    let rows = || fs::read(place.path("rows.csv")).unwrap();
    assert_eq!(rows(), fs::read(place.path("whole.csv")).unwrap());
    // Once more, when all is done.
    let told = place.done(&ROWS).stderr;
    assert!(told.contains("1200 of 1200 photos are done already"), "{told}");
    assert_eq!(rows(), fs::read(place.path("whole.csv")).unwrap());
}

/// What is there of a journal that was stopped in the middle.
fn half(place: &Place) -> String {
    let mut child = place.command(&ROWS).spawn().unwrap();
    let lines = || fs::read_to_string(place.path("rows.csv.journal")).map_or(0, |text| text.lines().count());
    while lines() < 40 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    fs::read_to_string(place.path("rows.csv.journal")).unwrap()
}

#[test]
fn what_is_done_is_not_done_again() {
    let place = place(200);
    let journal = half(&place);
    // Half a line of a kill, and a photo that is another one now.
    fs::write(place.path("rows.csv.journal"), journal + "{\"id\":\"0/0.p").unwrap();
    place.photo("new/0/0.png", 1, 99);
    let ended = place.done(&ROWS);
    let told = ended.stderr.lines().find(|line| line.contains("done already")).expect("it goes on");
    let done: usize = told.split(' ').next().unwrap().parse().unwrap();
    assert!((30..600).contains(&done), "{told}");
    place.done(&["predict", "run", "new", "--out", "whole.csv"]);
    assert_eq!(fs::read(place.path("rows.csv")).unwrap(), fs::read(place.path("whole.csv")).unwrap());
}

#[test]
fn a_beginning_that_was_cut_off() {
    let place = place(40);
    let journal = half(&place);
    let (first, _) = journal.split_once('\n').unwrap();
    for kept in [0, first.len() / 2, first.len()] {
        fs::write(place.path("rows.csv.journal"), &first[..kept]).unwrap();
        place.done(&ROWS);
        fs::remove_file(place.path("rows.csv")).unwrap();
    }
}

#[test]
fn answers_of_another_model_are_refused() {
    let place = place(200);
    half(&place);
    place.done(&["train", "--config", "run/config.toml", "--out", "other", "--seed", "3"]);
    let other = ["predict", "other", "new", "--out", "rows.csv"];
    place.snapshot("predict_journal_of_another", &other);
    let told = place.done(&[&other[..], &["--overwrite"]].concat()).stderr;
    assert!(!told.contains("done already"), "{told}");
}

#[test]
fn photos_are_known_under_other_names_and_dates() {
    let place = place(3);
    place.done(&ROWS);
    fs::rename(place.path("new/1"), place.path("new/station")).unwrap();
    let touched = place.path("new/2/0.png");
    let date = fs::metadata(&touched).unwrap().modified().unwrap() - Duration::from_secs(1000);
    fs::File::options().write(true).open(&touched).unwrap().set_modified(date).unwrap();
    place.photo("new/2/1.png", 1, 50);
    place.snapshot("predict_grown_folder", &ROWS);
    let told = place.done(&[&ROWS[..], &["--overwrite"]].concat()).stderr;
    assert!(told.contains("8 of 9 photos are done already"), "{told}");
    place.done(&["predict", "run", "new", "--out", "whole.csv"]);
    assert_eq!(fs::read(place.path("rows.csv")).unwrap(), fs::read(place.path("whole.csv")).unwrap());
}

#[test]
fn what_failed_is_tried_again_when_asked() {
    let place = place(1);
    place.done(&ROWS);
    let whole = fs::read_to_string(place.path("rows.csv")).unwrap();
    // As if the disk had been away for a moment.
    let journal = fs::read_to_string(place.path("rows.csv.journal")).unwrap();
    let away = |line: &str| match line.split_once("\"probabilities\"") {
        Some((before, _)) if line.contains("0/1.png") => {
            format!("{before}\"truncated\":false,\"reason\":\"cannot be read\"}}\n")
        }
        _ => format!("{line}\n"),
    };
    place.write("rows.csv.journal", journal.lines().map(away).collect::<String>());
    fs::remove_file(place.path("rows.csv")).unwrap();
    place.done(&ROWS);
    let kept = fs::read_to_string(place.path("rows.csv")).unwrap();
    assert!(kept.contains("0/1.png,,,,false,cannot be read"), "{kept}");
    let told = place.done(&[&ROWS[..], &["--overwrite", "--retry-failed"]].concat()).stderr;
    assert!(told.contains("1 of 3 photos are done already"), "{told}");
    assert_eq!(fs::read_to_string(place.path("rows.csv")).unwrap(), whole);
    // From now on it is known.
    let told = place.done(&ROWS).stderr;
    assert!(told.contains("3 of 3 photos are done already"), "{told}");
}

#[test]
fn photos_that_vanish_are_rows() {
    let place = place(1);
    place.write("list.txt", "\u{feff}new/0/0.png\n\n  new/0/gone.png  \nnew/0\n");
    let call = ["predict", "run", "list.txt", "--out", "rows.csv"];
    place.done(&call);
    let rows = fs::read_to_string(place.path("rows.csv")).unwrap();
    let ids: Vec<&str> = rows.lines().skip(1).filter_map(|row| row.split(',').next()).collect();
    assert_eq!(ids, ["new/0/0.png", "new/0/gone.png", "new/0/1.png", "new/0/broken.jpg"]);
    assert!(rows.contains("new/0/gone.png,,,,false,"), "{rows}");
    place.photo("new/0/gone.png", 1, 3);
    place.done(&[&call[..], &["--overwrite"]].concat());
    let rows = fs::read_to_string(place.path("rows.csv")).unwrap();
    assert!(!rows.contains("new/0/gone.png,,"), "it is there now: {rows}");
}

#[test]
fn a_file_in_the_place_of_the_journal_is_left_alone() {
    let place = place(1);
    place.write("rows.csv.journal", "my diary");
    place.snapshot("predict_journal_foreign", &[&ROWS[..], &["--overwrite"]].concat());
    assert_eq!(fs::read_to_string(place.path("rows.csv.journal")).unwrap(), "my diary");
}

/// A limit on the size of files ends a write as a full disk does, in the middle of the work.
#[cfg(unix)]
#[test]
fn a_full_disk() {
    let place = place(200);
    let limited = "trap '' XFSZ; ulimit -f 20; exec \"$0\" \"$@\"";
    let program = place.command(&ROWS).get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    let ended = ended(shell.args(["-c", limited]).arg(program).args(ROWS).current_dir(place.path("")));
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    for part in ["cannot write rows.csv.journal: what is in it is kept", "File too large"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
    assert!(!place.path("rows.csv").exists());
    let told = place.done(&ROWS).stderr;
    assert!(told.contains("of 600 photos are done already"), "{told}");
}

#[test]
fn a_broken_line_costs_one_answer() {
    let place = place(20);
    place.done(&ROWS);
    let whole = fs::read(place.path("rows.csv")).unwrap();
    let journal = fs::read_to_string(place.path("rows.csv.journal")).unwrap();
    let mut lines: Vec<&str> = journal.lines().collect();
    lines[20] = "{\"id\":\u{fffd}";
    // A probability more than there are classes.
    let answered = lines.iter().rposition(|line| line.contains("probabilities\":[")).unwrap();
    let longer = lines[answered].replace("probabilities\":[", "probabilities\":[0.5,");
    lines[answered] = &longer;
    assert_ne!(answered, 20);
    place.write("rows.csv.journal", lines.join("\n") + "\n");
    fs::remove_file(place.path("rows.csv")).unwrap();
    let told = place.done(&ROWS).stderr;
    assert!(told.contains("58 of 60 photos are done already"), "{told}");
    assert_eq!(fs::read(place.path("rows.csv")).unwrap(), whole);
}

#[cfg(unix)]
#[test]
fn two_calls_do_not_share_a_journal() {
    let place = place(400);
    let mut child = place.command(&ROWS).spawn().unwrap();
    // It is locked before anything is written.
    while fs::metadata(place.path("rows.csv.journal")).map_or(0, |facts| facts.len()) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    place.snapshot("predict_journal_in_use", &ROWS);
    assert!(child.wait().unwrap().success());
}

#[test]
fn two_photos_of_one_name() {
    let place = place(1);
    place.photo("a/day/x.png", 0, 1);
    place.photo("b/day/x.png", 1, 2);
    for name in ["a", "b"] {
        place.done(&["prepare", name, "--out", &format!("{name}-prepared"), "--size", "32"]);
    }
    place.snapshot("predict_two_of_one_name", &["predict", "run", "a-prepared", "b-prepared"]);
    let rows = place.done(&["predict", "run", "a", "a/day/x.png", "b"]).stdout;
    assert_eq!(rows.lines().count(), 3, "{rows}");
}

#[test]
fn patterns_are_looked_up() {
    let place = place(3);
    let rows = |pattern: &str| place.done(&["predict", "run", pattern]).stdout;
    assert_eq!(rows("new/**/[01].png").lines().count(), 7);
    assert_eq!(rows("new/?/0.*").lines().count(), 4);
    place.snapshot("predict_pattern_of_nothing", &["predict", "run", "new/*.jpeg"]);
    place.snapshot("predict_no_pattern", &["predict", "run", "new/***/x.png"]);
}
