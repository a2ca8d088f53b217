//! Invocations of endpoints: a classifier that takes every photo but one that says `broken`.

use serde_json::json;

use super::http::Answer;
use super::state::{State, Thing};
use super::{REGION, Refusal};

/// The endpoint that a path of the runtime names, and the operation.
pub(super) fn endpoint(path: &str) -> Option<(&str, &'static str)> {
    match path.strip_prefix("/endpoints/")?.split_once('/')? {
        (endpoint, "invocations") => Some((endpoint, "InvokeEndpoint")),
        (endpoint, "async-invocations") => Some((endpoint, "InvokeEndpointAsync")),
        _ => None,
    }
}

/// Takes a request whose answer will be in S3.
pub(super) fn invoke_later(state: &State, endpoint: &str) -> Result<Answer, Refusal> {
    let config = in_service(state, endpoint)?.request["EndpointConfigName"].as_str().unwrap_or_default();
    let config = state.things.get(&("EndpointConfig", config.to_owned()));
    let output = config
        .and_then(|config| config.request["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"].as_str());
    let Some(output) = output else {
        return Err(Refusal::new("ValidationError", format!("Endpoint {endpoint} is not asynchronous.")));
    };
    let mut answer = Answer::json(202, &json!({"InferenceId": "1"}));
    answer.headers.push(("x-amzn-sagemaker-outputlocation", format!("{output}/1.out")));
    Ok(answer)
}

fn in_service<'a>(state: &'a State, endpoint: &str) -> Result<&'a Thing, Refusal> {
    let thing =
        state.things.get(&("Endpoint", endpoint.to_owned())).filter(|thing| thing.status() == "InService");
    let message = || format!("Endpoint {endpoint} of account 123456789012 not found.");
    thing.ok_or_else(|| Refusal::new("ValidationError", message()))
}

pub(super) fn invoke(
    state: &State,
    endpoint: &str,
    variant: Option<&str>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    in_service(state, endpoint)?;
    if body.starts_with(b"broken") {
        let original = "the photo can't be read: it ends too soon";
        let log = format!("arn:aws:logs:{REGION}:123456789012:log-group:/aws/sagemaker/Endpoints/{endpoint}");
        return Ok(Answer {
            headers: vec![("x-amzn-errortype", "ModelError".into())],
            ..Answer::json(
                424,
                &json!({
                "ErrorCode": "CLIENT_ERROR_FROM_MODEL", "LogStreamArn": log, "OriginalMessage": original,
                "Message": format!("Received client error (400) from main with message \"{original}\""),
                "OriginalStatusCode": 400}),
            )
        });
    }
    let variant = variant.unwrap_or("main").to_owned();
    let mut answer =
        Answer::json(200, &json!({"top": [{"class": "ant", "probability": 0.9}], "bytes": body.len()}));
    answer.headers.push(("x-amzn-invoked-production-variant", variant));
    Ok(answer)
}
