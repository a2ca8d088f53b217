//! Whether a request is signed: the scope of its credential, and the signature computed again.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use chrono::{DateTime, NaiveDateTime, Utc};

use super::http::Request;
use super::{KEY, REGION, SECRET};

/// The error's name and words where it is not signed, or not for this service and region, or not by whom it says.
pub(super) fn check(request: &Request, service: &str) -> Result<(), (&'static str, String)> {
    let missing = || ("MissingAuthenticationTokenException", "Missing Authentication Token".to_owned());
    let said = request.header("authorization").and_then(|said| said.strip_prefix("AWS4-HMAC-SHA256 "));
    let part = |name: &str| said?.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    let (credential, headers, signature) = part("Credential")
        .zip(part("SignedHeaders"))
        .zip(part("Signature"))
        .map(|((a, b), c)| (a, b, c))
        .ok_or_else(missing)?;
    let (key, scope) = credential.split_once('/').ok_or_else(missing)?;
    if key != KEY {
        let message = "The security token included in the request is invalid.";
        return Err(("UnrecognizedClientException", message.into()));
    }
    let (day, scope) = scope.split_once('/').ok_or_else(missing)?;
    let right = format!("{REGION}/{service}/aws4_request");
    if scope != right {
        return Err((
            "InvalidSignatureException",
            format!("Credential should be scoped to {right}, not {scope}."),
        ));
    }
    let time = time(request).filter(|time| time.format("%Y%m%d").to_string() == day).ok_or_else(missing)?;
    let again = compute(request, service, time.into(), headers)
        .map_err(|error| ("InvalidSignatureException", error.to_string()))?;
    if again != signature {
        let message = "The request signature we calculated does not match the signature you provided.";
        return Err(("InvalidSignatureException", message.into()));
    }
    Ok(())
}

fn time(request: &Request) -> Option<DateTime<Utc>> {
    let time = NaiveDateTime::parse_from_str(request.header("x-amz-date")?, "%Y%m%dT%H%M%SZ").ok()?;
    let time = time.and_utc();
    let off = DateTime::<Utc>::from(SystemTime::now()).signed_duration_since(time).num_seconds().abs();
    // AWS takes a request for five minutes.
    (off < 300).then_some(time)
}

fn compute(request: &Request, service: &str, time: SystemTime, headers: &str) -> anyhow::Result<String> {
    let identity = Credentials::new(KEY, SECRET, None, None, "tests").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(time)
        .settings(SigningSettings::default())
        .build()?
        .into();
    // The signer adds these two itself.
    let signed = headers.split(';').filter(|name| !matches!(*name, "host" | "x-amz-date"));
    let signed = signed.filter_map(|name| Some((name, request.header(name)?)));
    let url = format!("http://{}{}", request.header("host").unwrap_or_default(), request.path);
    let signable = SignableRequest::new("POST", &url, signed, SignableBody::Bytes(&request.body))?;
    Ok(sign(signable, &parameters)?.signature().to_owned())
}
