//! Wrong calls end with 2 before anything is sent; requests are signed by whom they say.

use crate::harness::{Ended, Place};
use crate::jobs::{TRAIN, call};
use crate::stand_in::StandIn;

const PREPARE: &str = "prepare --input photos=s3://bucket/photos --output s3://bucket/out";

#[test]
fn wrong_words_are_told_and_nothing_is_sent() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let role = "arn:aws:iam::123456789012:user/me";
    place.write("tune.json", "{");
    let tune = "tune --channel train=s3://bucket/a --output s3://bucket/out --config";
    let cases = [
        (TRAIN.replace("ants-1", "ants_1"), "`ants_1` can't be a name"),
        ("invoke ants a.jpg --dry-run".into(), "--dry-run is for verbs that make"),
        (TRAIN.replace("ants-1", &"x".repeat(64)), "1 to 63 letters"),
        (TRAIN.replace("s3://bucket/out", "/home/out"), "`/home/out` is no place in S3"),
        (TRAIN.replace("s3://bucket/ants", "bucket/ants"), "`bucket/ants` is no place in S3"),
        (TRAIN.replace("train=", "tr/ain="), "`tr/ain` can't be the name of a channel"),
        (format!("{TRAIN} --channel train=s3://bucket/more"), "the channel `train` is given twice"),
        (format!("{TRAIN} --role {role}"), "is no role"),
        (format!("{TRAIN} --instance c7i.large"), "is no instance of SageMaker's"),
        (format!("{TRAIN} --tag a=b#c"), "`b#c` can't be in a tag"),
        (format!("{TRAIN} --env 1A=b"), "`1A` can't be the name of a variable"),
        (format!("{TRAIN} --kms-key a#b"), "`a#b` is no key"),
        (format!("{TRAIN} --keep-alive 7h"), "at most 6h"),
        (format!("{TRAIN} --set lr={}", "1".repeat(2501)), "too long"),
        (format!("{TRAIN} --spot"), "--checkpoints"),
        (
            format!("{TRAIN} --spot --checkpoints s3://bucket/c --max-runtime 2h --max-wait 1h"),
            "--max-wait counts from the start",
        ),
        (format!("{TRAIN} --subnets subnet-1"), "--security-groups"),
        (format!("{PREPARE} --max-runtime 10d -- check a"), "at most 9d"),
        (format!("{PREPARE} -- check {}", "a".repeat(257)), "words of 256 characters"),
        (PREPARE.to_owned(), "<VERB>"),
        (format!("{tune} none.json"), "none.json"),
        (format!("{tune} tune.json"), "tune.json: EOF"),
        ("deploy an.ts --model-data s3://bucket/m.tar.gz --yes".into(), "`an.ts` can't be a name"),
        ("deploy ants --model-data m.tar.gz --yes".into(), "`m.tar.gz` is no place in S3"),
        ("deploy ants --model-data s3://bucket/m.tar.gz --scale 4..1@6".into(), "MIN..MAX@REQUESTS"),
        ("invoke an/../ts a.jpg".into(), "`an/../ts` can't be a name"),
        ("describe training a_b".into(), "`a_b` can't be a name"),
        ("logs training a_b".into(), "`a_b` can't be a name"),
        ("list training --contains a_b".into(), "no name contains `a_b`"),
        ("stop a_b".into(), "`a_b` can't be a name"),
        ("delete-endpoint a_b --yes".into(), "`a_b` can't be a name"),
        ("dashboard a_b".into(), "`a_b` can't be a name"),
        ("cost --prices none.toml".into(), "none.toml"),
        ("image --account-id 12 --repository-region eu-central-1".into(), "`12` is no account"),
    ];
    for (words, part) in cases {
        let ended = call(&place, &stand_in, &words);
        assert!(ended.code == Some(2) && ended.stderr.contains(part), "{words}: {ended:?}");
        assert!(ended.stdout.is_empty(), "{words}: {ended:?}");
    }
    assert_eq!(stand_in.count(), 0);
}

/// A call without some of the variables that the tests have.
fn without(stand_in: &StandIn, variables: &[&str]) -> Ended {
    let place = Place::new();
    let mut command = place.command(&format!("--endpoint-url {} {TRAIN}", stand_in.url()));
    for variable in variables {
        command.env_remove(variable);
    }
    Ended::of(&mut command)
}

#[test]
fn without_credentials_region_role_or_image_nothing_is_sent() {
    let stand_in = StandIn::start();
    without(&stand_in, &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
        .told(2, &["no credentials", "aws configure"]);
    without(&stand_in, &["AWS_REGION"]).told(2, &["no region is known", "AWS_REGION"]);
    without(&stand_in, &["PUGMARK_SAGEMAKER_ROLE"]).told(2, &["--role"]);
    without(&stand_in, &["PUGMARK_SAGEMAKER_IMAGE"]).told(2, &["--image"]);
    assert_eq!(stand_in.count(), 0);
}

#[test]
fn a_profile_gives_credentials_and_region() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    std::fs::create_dir(place.path(".aws")).unwrap();
    place.write(".aws/config", "[profile rangers]\nregion = eu-central-1\n");
    let (key, secret) = (crate::stand_in::KEY, crate::stand_in::SECRET);
    place.write(
        ".aws/credentials",
        format!("[rangers]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"),
    );
    let mut command = place.command(&format!("--endpoint-url {} --profile rangers {TRAIN}", stand_in.url()));
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        command.env_remove(variable);
    }
    Ended::of(&mut command).told(0, &["started"]);
}

#[test]
fn credentials_that_end_are_asked_for_again() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let (key, secret) = (crate::stand_in::KEY, crate::stand_in::SECRET);
    std::fs::create_dir(place.path(".aws")).unwrap();
    let script = place.path("credentials.sh");
    place.write(".aws/config", format!("[default]\ncredential_process = sh {}\n", script.display()));
    let end = |seconds: u64| {
        let end = std::time::SystemTime::now() + std::time::Duration::from_secs(seconds);
        chrono::DateTime::<chrono::Utc>::from(end).format("%Y-%m-%dT%H:%M:%SZ").to_string()
    };
    let asked = |seconds: u64| {
        let said = format!(
            r#"{{"Version": 1, "AccessKeyId": "{key}", "SecretAccessKey": "{secret}", "Expiration": "{}"}}"#,
            end(seconds)
        );
        place.write("credentials.sh", format!("echo >> asked\necho '{said}'\n"));
        place.write("asked", "");
        let mut command = place.command(&format!("--endpoint-url {} list", stand_in.url()));
        command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
        let path = std::env::var_os("PATH").unwrap_or_default();
        Ended::of(command.env("PATH", path)).told(0, &["there is nothing"]);
        std::fs::read(place.path("asked")).unwrap().len()
    };
    // Once before the first of five requests; those that end within minutes, before each.
    assert_eq!((asked(3600), asked(60)), (1, 6));
}

#[test]
fn a_wrong_signature_is_refused_and_told_without_the_secret() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let with = |variable: &str, value: &str| {
        let mut command = place.command(&format!("--endpoint-url {} list training", stand_in.url()));
        Ended::of(command.env(variable, value))
    };
    let ended = with("AWS_SECRET_ACCESS_KEY", "not-the-secret");
    ended.told(1, &["InvalidSignatureException", "does not match"]);
    assert!(!ended.stderr.contains("not-the-secret"), "{}", ended.stderr);
    with("AWS_ACCESS_KEY_ID", "AKIAANOTHER").told(1, &["UnrecognizedClientException"]);
    with("AWS_REGION", "us-east-1")
        .told(1, &["Credential should be scoped to eu-central-1/sagemaker/aws4_request"]);
}

#[test]
fn a_dry_run_needs_no_account() {
    let place = Place::new();
    let mut command = place.command(&format!("--dry-run {TRAIN}"));
    for variable in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"] {
        command.env_remove(variable);
    }
    Ended::of(&mut command).told(0, &[]);
}
