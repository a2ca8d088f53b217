//! Others on one side: AWS's client for Python against the stand-in, and the program against moto, another stand-in.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::harness::{Ended, Place};
use crate::jobs::TRAIN;
use crate::stand_in::{KEY, REGION, SECRET, StandIn};

/// Python with a package, if it is there.
fn python(package: &str) -> Option<Command> {
    let found = Command::new("python3").args(["-c", &format!("import {package}")]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(Command::new("python3"));
    }
    println!("skipped: there is no {package} here: `pip install {package}`");
    None
}

#[test]
fn boto3_parses_pages_and_waits() {
    let Some(mut python) = python("boto3") else { return };
    let stand_in = StandIn::start();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/aws/boto3_client.py");
    python.arg(script).env("AWS_ENDPOINT_URL", stand_in.url()).env("AWS_EC2_METADATA_DISABLED", "true");
    python
        .env("AWS_ACCESS_KEY_ID", KEY)
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_DEFAULT_REGION", REGION);
    let ended = Ended::of(&mut python);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = "waited: training_job_completed_or_stopped
listed: ['job-1', 'job-2']
waited: training_job_completed_or_stopped
stopped: Stopped
logged: 1
waited: processing_job_completed_or_stopped
waited: transform_job_completed_or_stopped
waited: endpoint_in_service
answered: main {\"bytes\":5,\"top\":[{\"class\":\"ant\",\"probability\":0.9}]}
refused: 400 the photo can't be read: it ends too soon
waited: endpoint_deleted
";
    assert_eq!(ended.stdout, expected);
}

/// What the stand-in and moto are both able to do. moto ends jobs at once, stops and updates nothing, and answers every invocation.
fn contract(url: &str) {
    let place = Place::new();
    place.write("a.jpg", "photo");
    let call = |words: &str| place.run(&format!("--endpoint-url {url} {words}"));
    let ended = call(&format!("{TRAIN} --wait"));
    ended.told(0, &["started", "ants-1: Completed"]);
    assert!(ended.stdout.ends_with("s3://bucket/out/ants-1/output/model.tar.gz\n"), "{ended:?}");
    let prepare =
        "prepare --job p-1 --input photos=s3://bucket/photos --output s3://bucket/out --wait -- check a";
    call(prepare).told(0, &["p-1: Completed"]);
    let predict = "predict --job q-1 --model-data s3://bucket/m.tar.gz --input s3://bucket/photos --output s3://bucket/out --wait";
    call(predict).told(0, &["q-1: Completed"]);
    for (kind, name) in [("training", "ants-1"), ("processing", "p-1"), ("transform", "q-1")] {
        let listed = call(&format!("list {kind}")).stdout;
        let words: Vec<&str> = listed.split_whitespace().take(3).collect();
        assert_eq!(words, [kind, name, "Completed"]);
        assert!(call(&format!("describe {kind} {name}")).stdout.contains(name));
        call(&format!("describe {kind} nothing")).told(2, &["called `nothing`"]);
    }
    call("describe tuning nothing").told(2, &["called `nothing`"]);
    let deploy =
        "deploy ants --model-data s3://bucket/m.tar.gz --instance ml.m5.large --yes --wait --scale 1..4@600";
    call(deploy).told(0, &["ants: InService"]);
    assert!(call("list").stdout.starts_with("endpoint    ants "));
    assert!(call("cost").stdout.contains("1 x ml.m5.large"));
    call("invoke ants a.jpg").told(0, &["answered by the variant"]);
    call("dashboard ants").told(0, &[]);
    call("delete-endpoint ants --models --yes").told(0, &["ants is gone"]);
    call("describe endpoint ants").told(2, &["called `ants`"]);
}

#[test]
fn the_contract_holds_with_the_stand_in() {
    contract(&StandIn::start().url());
}

/// Ends the server with the test.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_contract_holds_with_moto() {
    let Some(mut python) = python("moto.server") else { return };
    python.args(["-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]).stdin(Stdio::null());
    let mut server = Server(python.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let url = lines
        .by_ref()
        .map_while(Result::ok)
        .find_map(|line| Some(line.split_once("Running on ")?.1.to_owned()));
    // A pipe that nobody reads would stop the server.
    std::thread::spawn(move || lines.for_each(drop));
    contract(url.expect("moto's address").trim());
}
