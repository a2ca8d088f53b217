//! `docs/cli.md` is what the program says of itself.

use std::path::Path;

use crate::harness::{Place, compare};

const VERBS: [&[&str]; 30] = [
    &[],
    &["demo"],
    &["check"],
    &["split"],
    &["prepare"],
    &["train"],
    &["tune"],
    &["recipes"],
    &["eval"],
    &["report"],
    &["watch"],
    &["predict"],
    &["explain"],
    &["serve"],
    &["export"],
    &["convert"],
    &["weights"],
    &["weights", "list"],
    &["weights", "fetch"],
    &["weights", "verify"],
    &["sagemaker"],
    &["sagemaker", "local"],
    &["sagemaker", "local", "train"],
    &["sagemaker", "local", "process"],
    &["sagemaker", "local", "tune"],
    &["sagemaker", "local", "transform"],
    &["sagemaker", "local", "endpoint"],
    &["sagemaker", "metrics"],
    &["doctor"],
    &["bench"],
];

const HEAD: &str = "# The command line

What `pugmark --help` and `pugmark VERB --help` say. This page is written by the tests:
`UPDATE_DOCS=1 cargo test -p pugmark`.
";

#[test]
fn the_reference_is_what_help_says() {
    let place = Place::new();
    let mut page = HEAD.to_owned();
    for verb in VERBS {
        let call: Vec<&str> = verb.iter().copied().chain(["--help"]).collect();
        let name = ["pugmark"].iter().chain(verb).copied().collect::<Vec<_>>().join(" ");
        page.push_str(&format!("\n## {name}\n\n```text\n{}```\n", place.done(&call).stdout));
    }
    compare(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md"), &page, "UPDATE_DOCS");
}

#[test]
fn every_verb_is_in_the_reference() {
    let help = Place::new().done(&["--help"]).stdout;
    let listed =
        help.split("Commands:").nth(1).and_then(|rest| rest.split("\n\n").next()).expect("a list of verbs");
    let verbs = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let known: Vec<&str> = VERBS.iter().filter(|verb| verb.len() == 1).map(|verb| verb[0]).collect();
    assert_eq!(verbs.filter(|verb| !verb.is_empty()).collect::<Vec<_>>(), known);
}
