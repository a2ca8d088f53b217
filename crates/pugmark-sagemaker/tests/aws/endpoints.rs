//! Endpoints against the stand-in: deployed, changed, asked, watched, priced, deleted.

use serde_json::{Value, json};

use crate::dry_run::check;
use crate::harness::Place;
use crate::jobs::call;
use crate::model::Models;
use crate::stand_in::{StandIn, Trouble, step};

const DEPLOY: &str = "deploy ants --model-data s3://bucket/model.tar.gz";

/// An endpoint in service.
fn deployed(place: &Place, stand_in: &StandIn, flags: &str) {
    call(place, stand_in, &format!("{DEPLOY} --yes --wait {flags}")).told(0, &["ants: InService"]);
}

#[test]
fn an_endpoint_is_made_after_a_question_that_names_its_cost() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let asked = call(&place, &stand_in, &format!("{DEPLOY} --instances 2"));
    asked.told(2, &["2 x ml.c7i.2xlarge cost money until", "Make the endpoint ants?", "--yes"]);
    assert!(stand_in.changes().is_empty());
    let ended = call(&place, &stand_in, &format!("{DEPLOY} --yes --wait"));
    ended.told(0, &["1 x ml.c7i.2xlarge cost money", "ants: Creating", "ants: InService"]);
    assert_eq!(stand_in.changes(), ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]);
}

#[test]
fn an_endpoint_that_is_there_is_changed() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let old = json!({"EndpointName": "ants", "EndpointConfigName": "ants-old"});
    stand_in.add("Endpoint", "ants", old, [step("InService").line("i-1", "a line of long ago")]);
    call(&place, &stand_in, "describe endpoint ants").told(0, &[]);
    // Logs count milliseconds: the old line is older than the deployment.
    std::thread::sleep(std::time::Duration::from_millis(5));
    stand_in.script("ants", [step("Updating").line("i-2", "a new line"), step("InService")]);
    call(&place, &stand_in, DEPLOY).told(2, &["Change the endpoint ants?"]);
    let ended = call(&place, &stand_in, &format!("{DEPLOY} --yes --wait"));
    ended.told(0, &["ants: Updating", "ants: InService"]);
    assert_eq!(stand_in.changes(), ["CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]);
    assert!(ended.stdout.contains("a new line") && !ended.stdout.contains("long ago"), "{}", ended.stdout);
}

#[test]
fn a_changed_endpoint_keeps_its_instances() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "--instances 3");
    // Names tell deployments apart by the second.
    let wait = || std::thread::sleep(std::time::Duration::from_millis(1100));
    wait();
    call(&place, &stand_in, &format!("{DEPLOY} --yes --wait")).told(0, &["3 x ml.c7i.2xlarge cost money"]);
    wait();
    call(&place, &stand_in, &format!("{DEPLOY} --yes --wait --instances 2")).told(0, &["2 x ml.c7i.2xlarge"]);
    let variants = stand_in.came("CreateEndpointConfig");
    let counts = variants.iter().map(|came| &came.request["ProductionVariants"][0]["InitialInstanceCount"]);
    assert_eq!(counts.collect::<Vec<_>>(), [3, 3, 2]);
    let updates = stand_in.came("UpdateEndpoint");
    let given = json!([{"VariantPropertyType": "DesiredWeight"}]);
    assert_eq!(updates[0].request["RetainAllVariantProperties"], true);
    assert_eq!(updates[0].request["ExcludeRetainedVariantProperties"], given);
    assert!(updates[1].request.get("RetainAllVariantProperties").is_none(), "{updates:?}");
    // None of it runs now, and a configuration begins with one.
    let asleep = json!([{"VariantName": "main", "CurrentInstanceCount": 0, "DesiredInstanceCount": 0}]);
    stand_in.script("ants", [step("Updating"), step("InService").with("ProductionVariants", asleep)]);
    wait();
    call(&place, &stand_in, &format!("{DEPLOY} --yes --wait")).told(0, &[]);
    wait();
    call(&place, &stand_in, &format!("{DEPLOY} --yes")).told(0, &["1 x ml.c7i.2xlarge cost money"]);
    let last = stand_in.came("CreateEndpointConfig").pop().unwrap().request;
    assert_eq!(last["ProductionVariants"][0]["InitialInstanceCount"], 1);
}

#[test]
fn instances_follow_the_requests_once_it_is_in_service() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    call(&place, &stand_in, &format!("{DEPLOY} --yes --scale 1..4@600"))
        .told(0, &["ants: Creating", "ants: InService"]);
    let order = [
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
        "RegisterScalableTarget",
        "PutScalingPolicy",
    ];
    assert_eq!(stand_in.changes(), order);
    assert_eq!(
        stand_in.came("RegisterScalableTarget")[0].request["ResourceId"],
        "endpoint/ants/variant/main"
    );
}

#[test]
fn an_endpoint_that_fails_says_why_and_is_not_scaled() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let reason = "The primary container for production variant main did not pass the ping health check.";
    stand_in.script("ants", [step("Creating"), step("Failed").with("FailureReason", reason)]);
    call(&place, &stand_in, &format!("{DEPLOY} --yes --scale 1..4@600")).told(1, &["ants: Failed", reason]);
    assert!(stand_in.came("RegisterScalableTarget").is_empty());
}

#[test]
fn a_change_that_is_taken_back_is_no_success() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let old = json!({"EndpointName": "ants", "EndpointConfigName": "ants-old"});
    stand_in.add("Endpoint", "ants", old, [step("InService")]);
    call(&place, &stand_in, "describe endpoint ants").told(0, &[]);
    let back = step("InService").with("EndpointConfigName", "ants-old").with("FailureReason", "no ping");
    stand_in.script("ants", [step("Updating"), back]);
    let ended = call(&place, &stand_in, &format!("{DEPLOY} --yes --scale 1..4@600"));
    ended.told(1, &["1 to 4 x ml.c7i.2xlarge", "no ping", "ants is in service as it was before"]);
    assert!(stand_in.came("RegisterScalableTarget").is_empty());
}

#[test]
fn what_a_refused_deployment_made_is_deleted_again() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let old = json!({"EndpointName": "ants", "EndpointConfigName": "ants-old"});
    stand_in.add("Endpoint", "ants", old, [step("Updating")]);
    call(&place, &stand_in, &format!("{DEPLOY} --yes"))
        .told(1, &["UpdateEndpoint", "Cannot update in-progress endpoint"]);
    let order = ["CreateModel", "CreateEndpointConfig", "DeleteEndpointConfig", "DeleteModel"];
    assert_eq!(stand_in.changes(), order);
}

#[test]
fn the_log_of_an_endpoint_goes_on_while_it_is_in_service() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let in_service = |text| step("InService").line("i-1", text);
    let steps =
        [in_service("first"), in_service("second"), step("Failed").with("FailureReason", "no capacity")];
    stand_in.add("Endpoint", "ants", json!({"EndpointName": "ants", "EndpointConfigName": "c"}), steps);
    let ended = call(&place, &stand_in, "logs endpoint ants --follow");
    ended.told(1, &["ants: InService", "ants: Failed", "no capacity"]);
    assert_eq!(ended.stdout, "first\nsecond\n");
}

#[test]
fn of_several_photos_one_may_be_refused() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "");
    for (name, bytes) in [("a.jpg", "photo"), ("b.jpg", "broken"), ("c.jpg", "another")] {
        place.write(name, bytes);
    }
    let ended = call(&place, &stand_in, "invoke ants a.jpg b.jpg c.jpg");
    ended.told(1, &["error: b.jpg: status 424: the photo can't be read: it ends too soon"]);
    let answers: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.iter().map(|answer| answer["bytes"].as_u64().unwrap()).collect::<Vec<_>>(), [5, 7]);
    let ended = call(&place, &stand_in, "invoke ants a.jpg --variant new --accept text/csv");
    ended.told(0, &["answered by the variant new"]);
    let request = stand_in.came("InvokeEndpoint").pop().unwrap().request;
    assert_eq!(request["Accept"], "text/csv");
    call(&place, &stand_in, "invoke bees a.jpg").told(1, &["status 400: Endpoint bees", "not found"]);
    let ended = call(&place, &stand_in, "invoke ants d.jpg a.jpg");
    ended.told(1, &["cannot read d.jpg"]);
    assert_eq!(ended.stdout.lines().count(), 1, "the other one is asked about: {ended:?}");
}

#[test]
fn an_asynchronous_endpoint_says_where_its_answer_will_be() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "--async s3://bucket/answers");
    let ended = call(&place, &stand_in, "invoke ants s3://bucket/a.jpg");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "s3://bucket/answers/1.out\n"), "{ended:?}");
    let words = "invoke ants s3://bucket/a.jpg --variant new";
    call(&place, &stand_in, words).told(2, &["by no variant in particular"]);
    let came = stand_in.came("InvokeEndpointAsync");
    assert_eq!(came.len(), 1);
    let came = &came[0].request;
    assert_eq!(
        (&came["ContentType"], &came["Accept"]),
        (&json!("application/x-image"), &json!("application/json")),
        "{came}"
    );
}

#[test]
fn an_endpoint_is_deleted_whatever_has_become_of_its_configuration() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    let orphan = json!({"EndpointName": "ants", "EndpointConfigName": "gone"});
    stand_in.add("Endpoint", "ants", orphan, [step("InService")]);
    stand_in.trouble("DeleteEndpoint", Trouble::CutAfter, 1);
    call(&place, &stand_in, "delete-endpoint ants --models --yes").told(0, &["ants is gone"]);
    assert_eq!(stand_in.changes(), ["DeleteEndpoint"]);
}

#[test]
fn an_endpoint_is_deleted_before_what_it_needs() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "");
    call(&place, &stand_in, "delete-endpoint ants").told(2, &["Delete the endpoint ants?", "--yes"]);
    let dry = place.dry_run(&format!("--endpoint-url {} delete-endpoint ants --models", stand_in.url()));
    let operations: Vec<&Value> = dry.iter().map(|call| &call["Operation"]).collect();
    assert_eq!(operations, ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]);
    dry.iter().for_each(|call| check(Models::found(), call, "delete-endpoint"));
    assert_eq!(stand_in.changes().len(), 3, "nothing but the deployment");
    call(&place, &stand_in, "delete-endpoint ants --models --yes")
        .told(0, &["ants: Deleting", "ants is gone"]);
    assert_eq!(stand_in.changes()[3..], ["DeleteEndpoint", "DeleteEndpointConfig", "DeleteModel"]);
    call(&place, &stand_in, "delete-endpoint ants --yes").told(2, &["there is no endpoint called `ants`"]);
}

#[test]
fn what_scales_and_watches_an_endpoint_goes_with_it() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    call(&place, &stand_in, "deploy ants-2 --model-data s3://bucket/model.tar.gz --yes --wait").told(0, &[]);
    deployed(&place, &stand_in, "--scale 1..4@600");
    for endpoint in ["ants", "ants-2"] {
        call(&place, &stand_in, &format!("dashboard {endpoint}")).told(0, &[]);
    }
    let before = stand_in.changes().len();
    // The alarms of a variant that is no more.
    let alarm = json!({"Dimensions": [{"Name": "EndpointName", "Value": "ants"}]});
    stand_in.alarm("pugmark-ants-old-errors", &alarm);
    let order = [
        "DeleteEndpoint",
        "DeregisterScalableTarget",
        "DeleteEndpointConfig",
        "DeleteAlarms",
        "DeleteDashboards",
    ];
    let dry = place.dry_run(&format!("--endpoint-url {} delete-endpoint ants", stand_in.url()));
    assert_eq!(dry.iter().map(|call| &call["Operation"]).collect::<Vec<_>>(), order);
    dry.iter().for_each(|call| check(Models::found(), call, "delete-endpoint"));
    call(&place, &stand_in, "delete-endpoint ants --yes").told(0, &["ants is gone"]);
    assert_eq!(stand_in.changes()[before..], order);
    let alarms = &stand_in.came("DeleteAlarms")[0].request["AlarmNames"];
    let expected = ["pugmark-ants-main-errors", "pugmark-ants-main-latency", "pugmark-ants-old-errors"];
    assert_eq!(*alarms, json!(expected));
    let names = &stand_in.came("DeleteDashboards")[0].request["DashboardNames"];
    assert_eq!(*names, json!(["pugmark-ants"]), "that of ants-2 is another's");
    // Whoever may not look at alarms can delete an endpoint all the same.
    stand_in.trouble("DescribeAlarms", Trouble::Throttled, 6);
    call(&place, &stand_in, "delete-endpoint ants-2 --yes")
        .told(0, &["left over: DescribeAlarms", "ants-2 is gone"]);
    assert_eq!(stand_in.came("DeleteAlarms").len(), 1);
}

#[test]
fn an_endpoint_that_stays_is_scaled_as_before() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "--scale 1..4@600");
    stand_in.script("ants", [step("Updating")]);
    std::thread::sleep(std::time::Duration::from_millis(1100));
    call(&place, &stand_in, &format!("{DEPLOY} --yes")).told(0, &[]);
    call(&place, &stand_in, "delete-endpoint ants --yes").told(1, &["DeleteEndpoint", "in-progress"]);
    assert!(stand_in.came("DeregisterScalableTarget").is_empty());
}

#[test]
fn an_endpoint_that_somebody_makes_again_keeps_its_configuration() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "");
    let again = step("InService").with("CreationTime", 1_800_000_000.0);
    stand_in.script("ants", [step("Deleting"), again]);
    call(&place, &stand_in, "delete-endpoint ants --yes")
        .told(1, &["ants: Deleting", "ants is not gone, but InService: somebody has made it again"]);
    assert!(stand_in.came("DeleteEndpointConfig").is_empty());
}

#[test]
fn a_photo_is_sent_again_where_it_did_not_come_to_the_model() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "");
    place.write("a.jpg", "photo");
    for trouble in [Trouble::Throttled, Trouble::Unavailable, Trouble::CutBefore] {
        stand_in.trouble("InvokeEndpoint", trouble, 5);
        call(&place, &stand_in, "invoke ants a.jpg").told(0, &[]);
    }
    stand_in.trouble("InvokeEndpoint", Trouble::Unavailable, 6);
    call(&place, &stand_in, "invoke ants a.jpg").told(1, &["error: a.jpg: status 503"]);
    place.write("b.jpg", "broken");
    call(&place, &stand_in, "invoke ants b.jpg").told(1, &["status 424"]);
    assert_eq!(stand_in.came("InvokeEndpoint").len(), 4, "what the model refuses is not sent again");
}

#[test]
fn a_dashboard_and_alarms_are_valid() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    deployed(&place, &stand_in, "");
    let words = "dashboard ants --notify arn:aws:sns:eu-central-1:123456789012:alarms";
    let dry = place.dry_run(&format!("--endpoint-url {} {words}", stand_in.url()));
    dry.iter().for_each(|call| check(Models::found(), call, words));
    let body: Value = serde_json::from_str(dry[0]["Request"]["DashboardBody"].as_str().unwrap()).unwrap();
    assert_eq!(body["widgets"].as_array().unwrap().len(), 6);
    let ended = call(&place, &stand_in, words);
    assert!(ended.stdout.starts_with("https://eu-central-1.console.aws.amazon.com/"), "{ended:?}");
    assert_eq!(stand_in.changes()[3..], ["PutDashboard", "PutMetricAlarm", "PutMetricAlarm"]);
}

#[test]
fn what_runs_has_its_price() {
    let (place, stand_in) = (Place::new(), StandIn::start());
    place.write("prices.toml", "\"ml.c7i.2xlarge\" = 0.5\n");
    call(&place, &stand_in, "cost --prices prices.toml").told(0, &["holds an instance"]);
    deployed(&place, &stand_in, "--instances 3");
    let ended = call(&place, &stand_in, "cost --prices prices.toml");
    assert!(ended.stdout.contains("ants/main") && ended.stdout.contains("3 x ml.c7i.2xlarge"), "{ended:?}");
    assert!(ended.stdout.ends_with("1.500 an hour\n"), "{ended:?}");

    let train = "train --job ants-1 --channel train=s3://bucket/ants --output s3://bucket/out --instance ml.p5.48xlarge";
    call(&place, &stand_in, train).told(0, &[]);
    let ended = call(&place, &stand_in, "cost --prices prices.toml");
    ended.told(0, &["--prices FILE"]);
    let unknown = ended.stdout.lines().find(|line| line.contains("ml.p5.48xlarge")).unwrap();
    assert!(unknown.starts_with("training") && unknown.ends_with('?'), "{unknown}");
    assert!(!ended.stdout.contains("an hour"), "a sum without it would be wrong: {ended:?}");
    let ended = |name: &str, status: &str, resources: Value| {
        let output = json!({"S3OutputPath": "s3://bucket/out"});
        let request = json!({"TrainingJobName": name, "ResourceConfig": resources, "StoppingCondition": {}, "OutputDataConfig": output});
        stand_in.add("TrainingJob", name, request, [step(status).detail(status)]);
    };
    let kept = json!({"InstanceType": "ml.g5.xlarge", "InstanceCount": 2, "KeepAlivePeriodInSeconds": 1800});
    ended("kept-1", "Completed", kept);
    ended("gone-1", "Completed", json!({"InstanceType": "ml.g5.xlarge", "InstanceCount": 1}));
    ended("going-1", "Stopping", json!({"InstanceType": "ml.g5.2xlarge", "InstanceCount": 1}));
    let listed = call(&place, &stand_in, "cost").stdout;
    assert!(listed.contains("kept-1 (kept warm)") && listed.contains("2 x ml.g5.xlarge"), "{listed}");
    assert!(listed.contains("going-1") && !listed.contains("gone-1"), "{listed}");
    place.write("prices.toml", "ml.c7i.2xlarge 0.5");
    call(&place, &stand_in, "cost --prices prices.toml").told(2, &["prices.toml"]);
}
