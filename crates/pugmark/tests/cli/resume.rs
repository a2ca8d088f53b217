//! A run that was killed or interrupted and resumed ends in the same bytes as one that was not.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::harness::Place;

/// Rounds of killing; each runs until the training has ended.
const ROUNDS: usize = 4;

fn train(out: &str, epochs: u32, threads: u32) -> Vec<String> {
    let call = format!(
        "train photos --out {out} --model simple_cnn --image-size 32 --epochs {epochs} --batch-size 6 --flip --rotation 10 \
         --jitter 0.2 --schedule plateau --checkpoint-minutes 0.0001 --loader-threads {threads}"
    );
    call.split_whitespace().map(ToOwned::to_owned).collect()
}

fn words(call: &[String]) -> Vec<&str> {
    call.iter().map(String::as_str).collect()
}

/// The undisturbed run, and how long it took.
fn reference(place: &Place) -> (Vec<u8>, Duration) {
    let start = Instant::now();
    place.done(&words(&train("whole", 4, 1)));
    (last(place, "whole"), start.elapsed())
}

fn last(place: &Place, run: &str) -> Vec<u8> {
    fs::read(place.path(run).join("last.safetensors")).unwrap()
}

/// Waits up to `limit` for the end; whether it came.
fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    false
}

/// A moment up to `most`, another one in every run of the tests: the bug may be anywhere.
fn moment(most: Duration) -> Duration {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    most.mul_f64(f64::from(nanoseconds.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24))
}

#[test]
fn loader_threads_do_not_matter() {
    let place = Place::new();
    place.photos(10);
    let (whole, _) = reference(&place);
    place.done(&words(&train("four", 4, 4)));
    assert!(last(&place, "four") == whole, "1 and 4 loader threads end in other bytes");
}

#[test]
fn killed_at_random_moments() {
    let place = Place::new();
    place.photos(10);
    let (whole, time) = reference(&place);
    for round in 0..ROUNDS {
        let run = format!("killed-{round}");
        let mut call = train(&run, 4, 2);
        let mut moments = Vec::new();
        loop {
            let wait = moment(time);
            moments.push(wait);
            let mut child = place.command(&words(&call)).spawn().unwrap();
            if ends_within(&mut child, wait) {
                assert!(child.wait_with_output().unwrap().status.success(), "{moments:?}");
                break;
            }
            child.kill().unwrap();
            child.wait().unwrap();
            // Killed before it was a run: it starts again.
            if place.path(&run).join("config.toml").exists() {
                call = ["train", "--resume", &run].map(ToOwned::to_owned).to_vec();
            }
        }
        println!("round {round}: killed after {:?}", &moments[..moments.len() - 1]);
        assert!(last(&place, &run) == whole, "killed after {moments:?}");
    }
}

#[test]
#[cfg(unix)]
fn interrupted_by_ctrl_c() {
    let place = Place::new();
    place.photos(10);
    let (whole, _) = reference(&place);
    let mut call = train("interrupted", 4, 2);
    let mut child = place.command(&words(&call)).spawn().unwrap();
    // The first epoch is saved: the training is under way and far from its end.
    while !place.path("interrupted/last.safetensors").exists() {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was interrupted");
        std::thread::sleep(Duration::from_millis(1));
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("go on with: pugmark train --resume interrupted"), "{said}");
    // The same words and one more.
    call.push("--resume".to_owned());
    place.done(&words(&call));
    assert!(last(&place, "interrupted") == whole, "the bytes differ");
}

/// A limit on the size of files is what a full disk looks like from inside.
#[test]
#[cfg(unix)]
fn a_full_disk_loses_nothing() {
    let place = Place::new();
    place.photos(10);
    let (whole, _) = reference(&place);
    let call = train("full", 2, 1);
    place.done(&words(&call));
    let before = last(&place, "full");

    // Without a handler the signal would kill; ignored, the write fails as it does on a full disk. The unit is 512 bytes.
    let shell = ["-c", "trap '' XFSZ; ulimit -f 200; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_pugmark")];
    let resume = ["train", "--resume", "full", "--epochs", "4"];
    let output = Command::new("sh").args(shell).args(resume).current_dir(place.path("")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("error: can't save full/") && said.contains("hint: what was saved before is whole"),
        "{said}"
    );
    assert!(last(&place, "full") == before, "the last epoch that was saved is whole");

    place.done(&resume);
    assert!(last(&place, "full") == whole, "the bytes differ");
}
