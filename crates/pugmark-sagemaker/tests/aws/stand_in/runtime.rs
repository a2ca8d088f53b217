//! Invocations of endpoints: a classifier that takes every photo but one that says `broken`.

use serde_json::json;

use super::http::Answer;
use super::state::State;
use super::{REGION, Refusal};

/// The endpoint that a path of the runtime names.
pub(super) fn endpoint(path: &str) -> Option<&str> {
    path.strip_prefix("/endpoints/")?.strip_suffix("/invocations")
}

pub(super) fn invoke(
    state: &State,
    endpoint: &str,
    variant: Option<&str>,
    body: &[u8],
) -> Result<Answer, Refusal> {
    let thing =
        state.things.get(&("Endpoint", endpoint.to_owned())).filter(|thing| thing.status() == "InService");
    if thing.is_none() {
        let message = format!("Endpoint {endpoint} of account 123456789012 not found.");
        return Err(Refusal::new("ValidationError", message));
    }
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
