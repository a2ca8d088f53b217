//! A service that throttles, breaks, hangs up and talks nonsense: retried, or told with what may have been lost.

use std::net::TcpListener;

use crate::harness::{Ended, Place};
use crate::jobs::{TRAIN, call};
use crate::stand_in::{StandIn, Trouble};

const LOST: &str = "was lost: it may be there already; `describe` tells";

/// A training whose creation meets a trouble, so many times.
fn train(trouble: Trouble, times: usize) -> (StandIn, Ended) {
    let (place, stand_in) = (Place::new(), StandIn::start());
    stand_in.trouble("CreateTrainingJob", trouble, times);
    let ended = call(&place, &stand_in, TRAIN);
    (stand_in, ended)
}

#[test]
fn what_passes_is_tried_again() {
    for trouble in [Trouble::Throttled, Trouble::Unavailable, Trouble::CutBefore] {
        let (stand_in, ended) = train(trouble, 5);
        ended.told(0, &["started"]);
        assert_eq!(stand_in.came("CreateTrainingJob").len(), 6, "{trouble:?}");
    }
    let (stand_in, ended) = train(Trouble::Slow, 1);
    ended.told(0, &["started"]);
    assert_eq!(stand_in.came("CreateTrainingJob").len(), 1);
}

#[test]
fn what_does_not_pass_is_told() {
    let (stand_in, ended) = train(Trouble::Throttled, 6);
    ended.told(1, &["CreateTrainingJob: ThrottlingException: Rate exceeded"]);
    assert!(!ended.stderr.contains(LOST), "nothing was lost: {}", ended.stderr);
    assert_eq!(stand_in.came("CreateTrainingJob").len(), 6);
    train(Trouble::Unavailable, 6).1.told(1, &["CreateTrainingJob: status 503", LOST]);
    train(Trouble::CutBefore, 6).1.told(1, &["CreateTrainingJob", "does not answer", LOST]);
}

#[test]
fn a_lost_answer_to_a_creation_is_told() {
    let (stand_in, ended) = train(Trouble::CutAfter, 1);
    ended.told(1, &["ResourceInUse", LOST]);
    assert_eq!(stand_in.changes(), ["CreateTrainingJob"], "it was made once");
    let (stand_in, ended) = train(Trouble::NoJson, 1);
    ended.told(1, &["CreateTrainingJob: the answer is no JSON", LOST]);
    assert_eq!(stand_in.came("CreateTrainingJob").len(), 1);
}

#[test]
fn a_lost_answer_ends_a_deployment_before_it_costs_anything() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    stand_in.trouble("CreateEndpointConfig", Trouble::CutAfter, 1);
    let ended = call(&place, &stand_in, "deploy ants --model-data s3://bucket/m.tar.gz --yes");
    ended.told(1, &["CreateEndpointConfig", "already existing", "was lost", "an entry that costs nothing"]);
    assert_eq!(stand_in.changes(), ["CreateModel", "CreateEndpointConfig"]);
}

#[test]
fn a_name_that_is_taken_was_not_lost() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    call(&place, &stand_in, TRAIN).told(0, &[]);
    let ended = call(&place, &stand_in, TRAIN);
    ended.told(1, &["ResourceInUse", "must be unique"]);
    assert!(!ended.stderr.contains(LOST), "{}", ended.stderr);
    assert_eq!(stand_in.came("CreateTrainingJob").len(), 2, "a refusal is not tried again");
}

#[test]
fn a_job_is_waited_for_without_its_log_and_its_way() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    stand_in.trouble("DescribeLogStreams", Trouble::Unavailable, 1000);
    // All attempts of the first look.
    stand_in.trouble("DescribeTrainingJob", Trouble::CutBefore, 6);
    let ended = call(&place, &stand_in, &format!("{TRAIN} --wait"));
    ended.told(0, &["does not answer", "ants-1 goes on", "the log can't be read", "ants-1: Completed"]);
    assert_eq!(ended.stderr.matches("the log can't be read").count(), 1, "{}", ended.stderr);
}

#[test]
fn waiting_outlives_troubles() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    for trouble in
        [Trouble::Throttled, Trouble::CutBefore, Trouble::CutAfter, Trouble::Unavailable, Trouble::Slow]
    {
        stand_in.trouble("DescribeTrainingJob", trouble, 1);
        stand_in.trouble("DescribeLogStreams", trouble, 1);
        stand_in.trouble("GetLogEvents", trouble, 1);
    }
    let ended = call(&place, &stand_in, &format!("{TRAIN} --wait"));
    ended.told(0, &["ants-1: Completed"]);
    assert_eq!(ended.stdout.matches("[METRICS]").count(), 1, "no line is lost or doubled: {}", ended.stdout);
}

#[test]
fn a_refused_lookup_is_no_missing_job() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    stand_in.trouble("DescribeTrainingJob", Trouble::Throttled, 6);
    call(&place, &stand_in, "describe training ants-1").told(1, &["ThrottlingException"]);
}

#[test]
fn nobody_listens() {
    let place = Place::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let ended = place.run(&format!("--endpoint-url http://127.0.0.1:{port} list training"));
    ended.told(1, &["ListTrainingJobs", "does not answer"]);
    place.write("a.jpg", "photo");
    place
        .run(&format!("--endpoint-url http://127.0.0.1:{port} invoke ants a.jpg"))
        .told(1, &["does not answer"]);
}
