//! Prepared folders: the same bytes however the work went, nothing half-written, and trainings that cannot tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::bucket::{Bucket, web_server};
use crate::harness::{Place, ended};

/// Every file below a folder by its path there, hidden ones left out.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(below) = folders.pop() {
        let Ok(entries) = fs::read_dir(&below) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
            if name.split('/').any(|step| step.starts_with('.')) {
            } else if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                // One that is gone meanwhile was replaced or deleted whole.
                found.insert(name, bytes);
            }
        }
    }
    found
}

/// `photos/` with train and test parts, a cut photo and two that are none.
fn data(place: &Place, each: u32) {
    for (class, name) in (0..).zip(["day", "dusk", "night"]) {
        for number in 0..each {
            let part = if number % 5 == 4 { "test" } else { "train" };
            let end = if number % 3 == 0 { "jpg" } else { "png" };
            place.photo(&format!("photos/{part}/{name}/{number:03}.{end}"), class, number);
        }
    }
    place.photo("photos/train/dusk/odd näme +%20&#1.png", 1, 0);
    let cut = fs::read(place.path("photos/train/day/000.jpg")).unwrap();
    place.write("photos/train/day/cut.jpg", &cut[..cut.len() * 2 / 3]);
    place.write("photos/train/day/empty.jpg", "");
    place.write("photos/test/night/text.png", "no photo");
}

fn json(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap()
}

/// `prepare` with what every call here has.
fn call<'a>(data: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["prepare", data, "--out", out, "--size", "32", "--json"][..], more].concat()
}

/// Waits up to `limit` for the end; whether it came.
fn ends_within(child: &mut Child, limit: Duration) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    false
}

/// A moment up to `most`, another one in every run of the tests: the bug may be anywhere.
fn moment(most: Duration) -> Duration {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos();
    most.mul_f64(f64::from(nanoseconds.wrapping_mul(2_654_435_761) >> 8) / f64::from(1 << 24))
}

/// Fails if a file can be seen that is not as it will be at the end.
fn nothing_half_written(folder: &Path, whole: &BTreeMap<String, Vec<u8>>) {
    for (name, bytes) in files(folder) {
        assert!(whole.get(&name) == Some(&bytes), "{name} can be seen and is not whole");
    }
}

/// Starts a call again and again, killing it at random moments and looking at its folder all the time, until it ends by
/// itself; how often it was killed.
fn killed_until_done(
    command: &dyn Fn() -> Command,
    folder: &Path,
    whole: &BTreeMap<String, Vec<u8>>,
    time: Duration,
) -> u32 {
    let mut kills = 0;
    loop {
        let mut child = command().spawn().unwrap();
        // A faulty server takes seconds however fast the machine is: rounds get longer until one is long enough.
        let (wait, start) = (moment(time + time * kills / 4), Instant::now());
        let mut over = false;
        while !over && start.elapsed() < wait {
            over = ends_within(&mut child, Duration::from_millis(20));
            nothing_half_written(folder, whole);
        }
        if over {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            return kills;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        nothing_half_written(folder, whole);
    }
}

#[test]
fn the_same_bytes_whatever_the_threads_and_machines() {
    let place = Place::new();
    data(&place, 40);
    let first = json(&place.done(&call("photos", "one", &["--shards", "4", "--threads", "1"])).stdout);
    let counts = |report: &Value, names: [&str; 4]| names.map(|name| report[name].as_u64().unwrap());
    assert_eq!(counts(&first, ["photos", "done", "broken", "truncated"]), [124, 124, 2, 1]);
    assert_eq!(first["complete"], true);
    let whole = files(&place.path("one"));
    for name in
        ["index.json", "prepare.json", "train_metadata.csv", "test_metadata.csv", "preprocessing_summary.txt"]
    {
        assert!(whole.contains_key(name), "{name}");
    }

    place.done(&call("photos", "four", &["--shards", "4", "--threads", "4"]));
    assert!(files(&place.path("four")) == whole, "1 and 4 threads");

    for machine in ["2/3", "0/3", "1/3"] {
        let call = call("photos", "three", &["--shards", "4", "--shard", machine]);
        let report = json(&place.done(&call).stdout);
        assert_eq!(report["complete"], machine == "1/3", "{machine}");
        assert!(report["others"].as_u64().unwrap() > 0, "{machine}");
        nothing_half_written(&place.path("three"), &whole);
    }
    assert!(files(&place.path("three")) == whole, "1 and 3 machines");
}

#[test]
fn what_is_done_is_not_done_again() {
    let place = Place::new();
    data(&place, 30);
    let run = || json(&place.done(&call("photos", "out", &["--shards", "5"])).stdout);
    run();
    let before = files(&place.path("out"));
    let modified = |name: &str| fs::metadata(place.path("out").join(name)).unwrap().modified().unwrap();
    let written = modified("index.json");
    let again = run();
    assert_eq!((again["done"].as_u64(), again["skipped"].as_u64()), (Some(0), Some(94)));
    assert_eq!(modified("index.json"), written, "nothing is written");

    // One photo changes: its shard is made again, no other.
    place.photo("photos/train/dusk/003.jpg", 0, 999);
    let changed = run();
    assert_eq!(changed["shards_written"], 1);
    let after = files(&place.path("out"));
    let shards = |name: &&String| name.ends_with(".tar") && before.get(*name) != after.get(*name);
    assert_eq!(after.keys().filter(shards).count(), 1);
    // And a photo that goes leaves its shard and the tables.
    fs::remove_file(place.path("photos/train/dusk/003.jpg")).unwrap();
    assert_eq!(run()["shards_written"], 1);
    let table = fs::read_to_string(place.path("out/train_metadata.csv")).unwrap();
    assert!(table.contains("train/dusk/001.png,dusk,train,") && !table.contains("dusk/003.jpg"), "{table}");
    // The folder is the same as one that is made now.
    place.done(&call("photos", "new", &["--shards", "5"]));
    assert!(files(&place.path("out")) == files(&place.path("new")), "made again and made anew");
}

#[test]
fn tars_are_tars() {
    let place = Place::new();
    data(&place, 6);
    place.done(&call("photos", "out", &[]));
    let listed = Command::new("tar").arg("-tvf").arg(place.path("out/shards/train-00000.tar")).output();
    let Ok(listed) = listed else { return println!("skipped: there is no tar") };
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).unwrap();
    // 16 photos and a cut one, each with its class and its description.
    assert_eq!(listed.lines().count(), 3 * 17, "{listed}");
    assert!(listed.lines().all(|line| line.starts_with("-rw-r--r-- 0/0 ")), "{listed}");
    let table = fs::read_to_string(place.path("out/train_metadata.csv")).unwrap();
    let mut rows = csv::Reader::from_reader(table.as_bytes());
    let mut broken = Vec::new();
    for row in rows.deserialize::<BTreeMap<String, String>>() {
        let row = row.unwrap();
        match row["reason"].as_str() {
            "" => assert!(listed.contains(&format!(" {}.jpg\n", row["key"])), "{row:?}"),
            reason => broken.push((row["id"].clone(), reason.to_owned())),
        }
    }
    assert_eq!(broken, [("train/day/empty.jpg".to_owned(), "the file is empty".to_owned())]);
}

#[test]
fn killed_on_a_disk() {
    let place = Place::new();
    data(&place, 60);
    let six = ["--shards", "6"];
    let start = Instant::now();
    place.done(&call("photos", "whole", &six));
    let time = start.elapsed();
    let whole = files(&place.path("whole"));
    for round in 0..3 {
        let out = format!("killed-{round}");
        let kills = killed_until_done(
            &|| place.command(&call("photos", &out, &six)),
            &place.path(&out),
            &whole,
            time.mul_f64(0.8),
        );
        println!("round {round}: {kills} kills");
        assert!(files(&place.path(&out)) == whole, "round {round}");
    }
}

/// Puts the photos into the bucket as another program would.
fn upload(place: &Place, bucket: &Bucket) {
    for (name, bytes) in files(&place.path("photos")) {
        let path = bucket.path("data").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn killed_between_a_faulty_server_and_a_faulty_server() {
    let place = Place::new();
    let bucket = Bucket::new();
    data(&place, 70);
    upload(&place, &bucket);
    let command = |out: &str| {
        let mut command = place.command(&call("s3://photos/data", out, &["--shards", "4"]));
        bucket.known_to(&mut command);
        command
    };
    let start = Instant::now();
    let undisturbed = ended(&mut command("s3://photos/whole"));
    assert_eq!(undisturbed.code, Some(0), "{}", undisturbed.stderr);
    assert_eq!(json(&undisturbed.stdout)["done"], 214);
    let time = start.elapsed();
    let whole = files(&bucket.path("whole"));
    assert!(
        bucket.requests().iter().any(|request| request.starts_with("GET /photos/data/train/day/cut.jpg"))
    );

    // From a bucket or from a disk, the shards are the same.
    place.done(&call("photos", "local", &["--shards", "4"]));
    let shards = |files: &BTreeMap<String, Vec<u8>>| -> Vec<(String, Vec<u8>)> {
        let tar = |(name, _): &(&String, &Vec<u8>)| name.ends_with(".tar") || name.ends_with(".csv");
        files.iter().filter(tar).map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
    };
    assert!(shards(&files(&place.path("local"))) == shards(&whole), "disk and bucket");

    bucket.faulty(true);
    let out = "s3://photos/killed";
    let kills = killed_until_done(&|| command(out), &bucket.path("killed"), &whole, time * 6);
    println!("{kills} kills, {} requests", bucket.requests().len());
    assert!(files(&bucket.path("killed")) == whole, "after kills and faults");

    bucket.faulty(false);
    bucket.requests();
    let again = ended(&mut command(out));
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let report = json(&again.stdout);
    assert_eq!((report["done"].as_u64(), report["skipped"].as_u64()), (Some(0), Some(214)));
    let asked = bucket.requests();
    let writes = |request: &&String| !request.starts_with("GET ") && !request.starts_with("HEAD ");
    assert_eq!(asked.iter().filter(writes).count(), 0, "{asked:?}");
    let reads = |request: &&String| request.starts_with("GET ") && request.contains("/train/");
    assert_eq!(asked.iter().filter(reads).count(), 0, "no photo is read again: {asked:?}");
}

#[test]
fn large_shards_go_up_in_parts() {
    let place = Place::new();
    let bucket = Bucket::new();
    data(&place, 40);
    let command = |out: &str| {
        let more = ["--size", "256", "--store", "raw", "--shards", "1"];
        let mut command = place.command(&[&["prepare", "photos", "--out", out][..], &more].concat());
        bucket.known_to(&mut command);
        command
    };
    assert_eq!(ended(&mut command("whole")).code, Some(0));
    bucket.faulty(true);
    let sent = ended(&mut command("s3://photos/parts"));
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let requests = bucket.requests();
    assert!(requests.iter().any(|request| request.contains("partNumber=3")), "{requests:?}");
    assert!(files(&bucket.path("parts")) == files(&place.path("whole")), "the parts make the whole");
}

/// What a training says of its epochs, without times and memory.
fn metrics(run: &Path) -> Vec<Vec<String>> {
    let mut csv = csv::Reader::from_path(run.join("metrics.csv")).unwrap();
    let header = csv.headers().unwrap().clone();
    let measured = |name: &str| ["images_per_sec", "seconds", "peak_memory_mib"].contains(&name);
    let row = |row: csv::StringRecord| {
        let cells = header.iter().zip(&row).filter(|(name, _)| !measured(name));
        cells.map(|(name, cell)| format!("{name}={cell}")).collect()
    };
    csv.records().map(|record| row(record.unwrap())).collect()
}

#[test]
fn trainings_cannot_tell_raw_shards_from_the_photos() {
    let place = Place::new();
    let bucket = Bucket::new();
    data(&place, 15);
    let train = |data: &str, out: &str| -> PathBuf {
        let call =
            ["train", data, "--out", out, "--model", "simple_cnn", "--image-size", "32", "--epochs", "2"];
        let more = ["--flip", "--rotation", "10", "--jitter", "0.2", "--s3-endpoint"];
        let mut command = place.command(&call);
        bucket.known_to(command.args(more).arg(bucket.endpoint())).env_remove("AWS_ENDPOINT_URL");
        let ended = ended(&mut command);
        assert_eq!(ended.code, Some(0), "{data}: {}", ended.stderr);
        place.path(out)
    };
    let prepare = |out: &str, store: &str| {
        let mut command = place.command(&call("photos", out, &["--store", store]));
        assert_eq!(ended(bucket.known_to(&mut command)).code, Some(0));
    };
    let from_photos = metrics(&train("photos", "from-photos"));
    assert_eq!(from_photos.len(), 2);

    prepare("raw", "raw");
    let raw = train("raw", "from-raw");
    assert_eq!(metrics(&raw), from_photos);
    for file in ["broken.csv", "split.csv", "predictions.csv"] {
        let read = |run: &str| fs::read_to_string(place.path(run).join(file)).unwrap();
        assert_eq!(read("from-raw"), read("from-photos"), "{file}");
    }

    // Through the bucket: fetched once, then trained and measured from the cache.
    prepare("s3://photos/prepared/raw", "raw");
    bucket.requests();
    bucket.faulty(true);
    assert_eq!(metrics(&train("s3://photos/prepared/raw", "from-bucket")), from_photos);
    bucket.faulty(false);
    let fetched = |requests: Vec<String>| requests.iter().filter(|request| request.contains(".tar")).count();
    assert!(fetched(bucket.requests()) > 0);
    train("s3://photos/prepared/raw", "from-cache");
    assert_eq!(fetched(bucket.requests()), 0, "what is in the cache is not fetched again");
    let mut eval = place.command(&["eval", "from-bucket", "--json"]);
    let own = ended(bucket.known_to(&mut eval));
    let local = place.done(&["eval", "from-raw", "--json"]);
    assert_eq!(json(&own.stdout)["evaluation"], json(&local.stdout)["evaluation"], "{}", own.stderr);

    // A web server will do, and can't be written to.
    let web = web_server(&place.path("raw"));
    assert_eq!(metrics(&train(&web, "from-web")), from_photos);
    let ended = place.run(&call("photos", &format!("{web}/new"), &[]));
    assert!(ended.stderr.contains("a web server does not list its files\nhint: "), "{}", ended.stderr);

    // JPEG moves pixels by a few levels: the loss by a few percent.
    prepare("jpeg", "jpeg");
    let loss = |rows: &[Vec<String>]| -> f64 {
        let cell = rows[0].iter().find_map(|cell| cell.strip_prefix("train_loss=")).unwrap();
        cell.parse().unwrap()
    };
    let (exact, jpeg) = (loss(&from_photos), loss(&metrics(&train("jpeg", "from-jpeg"))));
    assert!((jpeg / exact - 1.0).abs() < 0.05, "{jpeg} and {exact}");
}

#[test]
fn tables_and_photos_may_be_in_other_places() {
    let place = Place::new();
    let bucket = Bucket::new();
    for number in 0..4_u32 {
        place.photo(&format!("photos/{number}.png"), (number % 2) as u8, number);
    }
    upload(&place, &bucket);
    let labels = "filepath,label,site\n0.png,day,A\n1.png,dusk,B\n2.png,day,A\n3.png,dusk,\n";
    place.write("labels.csv", labels);
    fs::write(bucket.path("data/labels.csv"), labels).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = place.command(arguments);
        bucket.known_to(&mut command);
        let ended = ended(&mut command);
        assert_eq!(ended.code, Some(0), "{arguments:?}: {}", ended.stderr);
    };
    run(&call("labels.csv", "a", &["--photos", "photos"]));
    run(&call("labels.csv", "b", &["--photos", "s3://photos/data"]));
    run(&call("s3://photos/data", "c", &[]));
    run(&call("s3://photos/data/labels.csv", "d", &[]));
    let table = |out: &str| fs::read_to_string(place.path(out).join("train_metadata.csv")).unwrap();
    assert!(table("a").contains("\n2.png,day,,A,,,32,32,false,,photos-00000,"), "{}", table("a"));
    for out in ["b", "c", "d"] {
        assert_eq!(table(out), table("a"), "{out}");
    }
    // A row without a photo is told with the URL.
    fs::remove_file(bucket.path("data/2.png")).unwrap();
    let mut command = place.command(&call("s3://photos/data", "e", &[]));
    let ended = ended(bucket.known_to(&mut command));
    let said = "error: s3://photos/data/labels.csv: 1 of its photos cannot be found below s3://photos/data: `2.png` (row 4)";
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.starts_with(said), "{}", ended.stderr);
}

#[test]
fn errors() {
    let place = Place::new();
    data(&place, 3);
    place.write("taken/notes.txt", "mine");
    place.done(&call("photos", "out", &[]));
    place.snapshot("prepare_out_is_taken", &["prepare", "photos", "--out", "taken"]);
    place.snapshot("prepare_overwrite_spares_files", &["prepare", "photos", "--out", "taken", "--overwrite"]);
    place.snapshot("prepare_other_settings", &["prepare", "photos", "--out", "out"]);
    place.snapshot("prepare_other_shards", &call("photos", "out", &["--shards", "7"]));
    place.photo("others/day/elsewhere.png", 0, 1);
    place.photo("others/night/elsewhere.png", 2, 1);
    place.snapshot("prepare_other_photos", &call("others", "out", &[]));
    place.snapshot("prepare_out_in_data", &["prepare", "photos", "--out", "photos/new"]);
    place.snapshot("prepare_prepared", &["prepare", "out", "--out", "again"]);
    place.snapshot("prepare_no_such_data", &["prepare", "fotos", "--out", "new"]);
    place.snapshot("prepare_wrong_shard", &["prepare", "photos", "--out", "new", "--shard", "3/3"]);
    place.snapshot("prepare_wrong_size", &["prepare", "photos", "--out", "new", "--size", "0"]);
    place.snapshot(
        "prepare_raw_quality",
        &["prepare", "photos", "--out", "new", "--store", "raw", "--quality", "9"],
    );
    place.snapshot("prepare_no_bucket", &["prepare", "s3://", "--out", "new", "--s3-anonymous"]);
    place.snapshot("prepare_no_credentials", &["prepare", "s3://photos/a", "--out", "new"]);
    let field = [("AWS_PROFILE", "field")];
    place.snapshot_with("prepare_no_profile", &["prepare", "s3://photos/a", "--out", "new"], &field);
    assert!(!place.path("new").exists(), "a wrong call leaves nothing");

    fs::remove_file(place.path("out/index.json")).unwrap();
    place.snapshot("train_unfinished", &["train", "out"]);
    place.done(&call("photos", "out", &[]));
    let shard = place.path("out/shards/train-00000.tar");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..1000]).unwrap();
    place.snapshot("train_shard_cut", &["train", "out"]);
    // The advice helps.
    place.done(&call("photos", "out", &[]));
    assert!(fs::read(&shard).unwrap() == bytes, "the shard is whole again");
}

#[test]
fn errors_of_a_bucket() {
    let place = Place::new();
    let bucket = Bucket::new();
    let said = |arguments: &[&str], secret: &str| {
        let mut command = place.command(arguments);
        let ended = ended(bucket.known_to(&mut command).env("AWS_SECRET_ACCESS_KEY", secret));
        (ended.code, ended.stderr)
    };
    let wrong = said(&["prepare", "s3://photos/data", "--out", "new"], "wrong");
    assert_eq!(wrong.0, Some(1));
    assert!(wrong.1.starts_with("error: s3://photos/data: access is denied\n"), "{}", wrong.1);
    assert!(wrong.1.contains("hint: check the credentials"), "{}", wrong.1);
    let right = crate::bucket::SECRET;
    let empty = said(&["prepare", "s3://photos/nothing", "--out", "new"], right);
    assert!(empty.1.starts_with("error: s3://photos/nothing does not exist\n"), "{}", empty.1);
    let no_index = said(&["train", "s3://photos/nothing"], right);
    assert!(no_index.1.starts_with("error: s3://photos/nothing is not a prepared folder"), "{}", no_index.1);
}
