//! Requests, signed by AWS's own library, and their answers. SageMaker and its neighbours speak JSON.

use std::error::Error;
use std::fmt;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use serde_json::Value;

use crate::account::Source;
use crate::names::WrongName;

/// Attempts at a request that the service may answer the next time.
const ATTEMPTS: u32 = 6;

/// A service of AWS's: how it is called, and what its requests are called by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Service {
    SageMaker,
    Logs,
    Scaling,
    CloudWatch,
}

impl Service {
    /// Host without the region, name in the signature, what stands before an operation, version of the JSON protocol.
    fn facts(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::SageMaker => ("api.sagemaker", "sagemaker", "SageMaker", "1.1"),
            Self::Logs => ("logs", "logs", "Logs_20140328", "1.1"),
            Self::Scaling => {
                ("application-autoscaling", "application-autoscaling", "AnyScaleFrontendService", "1.1")
            }
            Self::CloudWatch => ("monitoring", "monitoring", "GraniteServiceVersion20100801", "1.0"),
        }
    }

    /// As botocore calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::SageMaker => "sagemaker",
            Self::Logs => "logs",
            Self::Scaling => "application-autoscaling",
            Self::CloudWatch => "cloudwatch",
        }
    }
}

/// What a service answers instead of what was asked.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Such as `ValidationException`.
    pub(crate) code: String,
    message: String,
    operation: String,
    /// An earlier attempt may have been carried out: its answer was lost.
    again: bool,
}

/// What is said of something new whose making was not answered.
fn lost_note(operation: &str, lost: bool) -> String {
    if !lost || !operation.starts_with("Create") {
        return String::new();
    }
    let entry = matches!(operation, "CreateModel" | "CreateEndpointConfig");
    let how = if entry { ", an entry that costs nothing" } else { "; `describe` tells" };
    format!(" (the answer to an attempt was lost: it may be there already{how})")
}

impl Refused {
    /// Whether nothing was made by any attempt.
    pub(crate) fn made_nothing(&self) -> bool {
        !self.again
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = lost_note(&self.operation, self.again);
        write!(f, "{}: {}: {}{note}", self.operation, self.code, self.message)
    }
}

impl Error for Refused {}

/// Everything that is asked of AWS.
pub(crate) struct Api {
    pub(crate) region: String,
    endpoint: Option<String>,
    source: Source,
    agent: ureq::Agent,
}

/// An answer: its status, its headers that matter, its body.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) variant: Option<String>,
    /// What kind of error the runtime of endpoints calls it.
    error: Option<String>,
    /// Where the answer to an asynchronous request will be.
    pub(crate) output: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Api {
    pub(crate) fn new(region: String, endpoint: Option<String>, source: Source) -> Self {
        let agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // A signature holds for one address.
            .max_redirects(0)
            .timeout_connect(Some(Duration::from_secs(10)))
            .timeout_global(Some(Duration::from_secs(90)))
            .build()
            .into();
        Self { region, endpoint, source, agent }
    }

    /// Calls an operation. What is throttled, cut off or a fault of the service is tried again with growing pauses.
    pub(crate) fn call(&self, service: Service, operation: &str, request: &Value) -> anyhow::Result<Value> {
        let (host, signed_as, prefix, version) = service.facts();
        let url = self.url(host);
        let kind = format!("application/x-amz-json-{version}");
        let target = format!("{prefix}.{operation}");
        let headers = [("content-type", kind.as_str()), ("x-amz-target", target.as_str())];
        let body = request.to_string();
        let mut lost = false;
        for attempt in 1.. {
            let answer = self.send(signed_as, &url, &headers, body.as_bytes());
            let error = match answer {
                Ok(Answer { status: 200, body, .. }) if body.is_empty() => return Ok(Value::Null),
                Ok(Answer { status: 200, body, .. }) => {
                    return serde_json::from_slice(&body).with_context(|| {
                        format!("{operation}: the answer is no JSON{}", lost_note(operation, true))
                    });
                }
                Ok(answer) => {
                    let refused = refused(operation, &answer, lost);
                    let again = answer.status >= 500 || is_throttled(&refused.code);
                    if !again || attempt == ATTEMPTS {
                        return Err(refused.into());
                    }
                    lost |= answer.status >= 500;
                    None
                }
                Err(error) if error.is::<WrongName>() => return Err(error),
                Err(error) => {
                    lost = true;
                    Some(error)
                }
            };
            if attempt == ATTEMPTS {
                let error = error.unwrap_or_else(|| anyhow::anyhow!("no answer"));
                return Err(error
                    .context(format!("{operation}: {url} does not answer{}", lost_note(operation, lost))));
            }
            thread::sleep(pause(attempt));
        }
        unreachable!("the last attempt returns")
    }

    /// Asks an endpoint by `invocations` or `async-invocations`; what the model says is the caller's. What is throttled or a fault of
    /// the service is tried again, as is a connection that breaks, but for asynchronous requests, of which there would be two.
    pub(crate) fn invoke(
        &self,
        endpoint: &str,
        how: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let url =
            format!("{}/endpoints/{endpoint}/{how}", self.url("runtime.sagemaker").trim_end_matches('/'));
        let breaks = |error: &anyhow::Error| match error.downcast_ref::<ureq::Error>() {
            Some(ureq::Error::Timeout(_)) | None => false,
            Some(_) => how == "invocations",
        };
        for attempt in 1.. {
            let answer = self.send("sagemaker", &url, headers, body);
            let again = match &answer {
                Ok(answer) => {
                    matches!(answer.status, 429 | 500 | 503 | 530)
                        || answer.error.as_deref().is_some_and(|code| is_throttled(plain(code)))
                }
                Err(error) => breaks(error),
            };
            if !again || attempt == ATTEMPTS {
                return answer.with_context(|| format!("{url} does not answer"));
            }
            thread::sleep(pause(attempt));
        }
        unreachable!("the last attempt returns")
    }

    fn url(&self, host: &str) -> String {
        match &self.endpoint {
            Some(url) => format!("{}/", url.trim_end_matches('/')),
            None => {
                let end = if self.region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
                format!("https://{host}.{}.{end}/", self.region)
            }
        }
    }

    fn send(
        &self,
        signed_as: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let identity = self.source.credentials()?.into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(signed_as)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let signable = SignableRequest::new("POST", url, headers.iter().copied(), SignableBody::Bytes(body))?;
        let (signature, _) = sign(signable, &parameters)?.into_parts();
        let mut request = self.agent.post(url);
        for (name, value) in headers.iter().copied().chain(signature.headers()) {
            request = request.header(name, value);
        }
        let mut response = request.send(body)?;
        let told = |name: &str| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        let variant = told("x-amzn-invoked-production-variant");
        let output = told("x-amzn-sagemaker-outputlocation");
        let error = told("x-amzn-errortype");
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(64 << 20).read_to_vec()?;
        Ok(Answer { status, variant, error, output, body })
    }
}

fn refused(operation: &str, answer: &Answer, again: bool) -> Refused {
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let text = |keys: [&str; 2]| keys.iter().find_map(|key| said[*key].as_str());
    let code = text(["__type", "code"]).map(|code| plain(code).to_owned());
    let message = text(["message", "Message"]).map(str::to_owned);
    Refused {
        code: code.unwrap_or_else(|| format!("status {}", answer.status)),
        message: message.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).chars().take(300).collect()),
        operation: operation.to_owned(),
        again,
    }
}

/// `com.amazonaws.sagemaker#ResourceInUse` in the body, `ThrottlingException:http://...` in a header.
fn plain(code: &str) -> &str {
    let code = code.rsplit('#').next().unwrap_or(code);
    code.split(':').next().unwrap_or(code)
}

fn is_throttled(code: &str) -> bool {
    matches!(code, "ThrottlingException" | "Throttling" | "TooManyRequestsException" | "RequestLimitExceeded")
}

/// How long to wait, which tests shorten.
pub(crate) fn interval(usual: Duration) -> Duration {
    let shorter = std::env::var("PUGMARK_SAGEMAKER_POLL_MS").ok().and_then(|text| text.parse().ok());
    shorter.map_or(usual, |shorter| usual.min(Duration::from_millis(shorter)))
}

/// Doubled with each attempt, up to 20 s, and not the same for all who were throttled together.
fn pause(attempt: u32) -> Duration {
    let nanoseconds =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
    let most = Duration::from_millis(200 << attempt).min(Duration::from_secs(20));
    interval(most.mul_f64(0.5 + f64::from(nanoseconds % 1000) / 2000.0))
}
