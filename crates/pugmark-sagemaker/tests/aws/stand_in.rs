//! A stand-in for SageMaker and its neighbours: a server on this machine whose jobs follow a script.
//!
//! Requests must be signed, and valid by the services' published models where botocore has them.

mod endpoints;
mod http;
mod jobs;
mod logs;
mod runtime;
mod signature;
mod state;
mod watching;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::model::Models;
use http::{Answer, Request};
use state::State;
pub(crate) use state::{Step, step};

/// Credentials and region that the stand-in knows; AWS's documentation has the key.
pub(crate) const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
pub(crate) const REGION: &str = "eu-central-1";

/// What happens to a request instead of its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Trouble {
    Throttled,
    /// Status 503, with a page instead of JSON.
    Unavailable,
    /// The connection is cut, and nothing was carried out.
    CutBefore,
    /// The request is carried out, and the connection cut.
    CutAfter,
    /// The request is carried out, and the answer is a page.
    NoJson,
    /// The answer comes late.
    Slow,
}

/// A service refuses a request.
#[derive(Debug)]
struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code, message: message.into() }
    }

    fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }
}

/// A request that came: its operation, its members, and whether it was carried out.
#[derive(Clone, Debug)]
pub(crate) struct Came {
    pub(crate) operation: String,
    pub(crate) request: Value,
    pub(crate) carried_out: bool,
}

#[derive(Default)]
struct Inner {
    state: State,
    came: Vec<Came>,
    troubles: VecDeque<(String, Trouble)>,
}

impl Inner {
    /// The trouble that a request for an operation meets.
    fn meets(&mut self, operation: &str) -> Option<Trouble> {
        let place = self.troubles.iter().position(|(of, _)| of == operation)?;
        self.troubles.remove(place).map(|(_, trouble)| trouble)
    }
}

/// The running server; it ends with the process.
#[derive(Clone)]
pub(crate) struct StandIn {
    address: SocketAddr,
    models: Option<&'static Models>,
    inner: Arc<Mutex<Inner>>,
}

/// Prefix of `X-Amz-Target`, botocore's name of the service, the name in signatures, the content type.
const SERVICES: [(&str, &str, &str, &str); 4] = [
    ("SageMaker", "sagemaker", "sagemaker", "application/x-amz-json-1.1"),
    ("Logs_20140328", "logs", "logs", "application/x-amz-json-1.1"),
    (
        "AnyScaleFrontendService",
        "application-autoscaling",
        "application-autoscaling",
        "application/x-amz-json-1.1",
    ),
    ("GraniteServiceVersion20100801", "cloudwatch", "monitoring", "application/x-amz-json-1.0"),
];

impl StandIn {
    pub(crate) fn start() -> Self {
        Self::listen("127.0.0.1:0").expect("a free port")
    }

    pub(crate) fn listen(address: &str) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let stand_in =
            Self { address: listener.local_addr()?, models: Models::found(), inner: Arc::default() };
        let server = stand_in.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                thread::spawn(move || server.converse(stream));
            }
        });
        Ok(stand_in)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What becomes of the job or endpoint of that name, look by look.
    pub(crate) fn script(&self, name: &str, steps: impl Into<VecDeque<Step>>) {
        self.lock().state.scripts.insert(name.to_owned(), steps.into());
    }

    /// Something that is there without having been asked for; `noun` is such as `TrainingJob`.
    pub(crate) fn add(
        &self,
        noun: &'static str,
        name: &str,
        request: Value,
        steps: impl Into<VecDeque<Step>>,
    ) {
        self.lock().state.add(noun, name, request, steps.into());
    }

    /// An alarm that is there, with its `Dimensions`.
    pub(crate) fn alarm(&self, name: &str, request: &Value) {
        self.lock().state.watching.alarm(name, request);
    }

    /// The next `times` requests for an operation meet a trouble.
    pub(crate) fn trouble(&self, operation: &str, trouble: Trouble, times: usize) {
        let troubles = (0..times).map(|_| (operation.to_owned(), trouble));
        self.lock().troubles.extend(troubles);
    }

    /// All requests that came for an operation.
    pub(crate) fn came(&self, operation: &str) -> Vec<Came> {
        self.lock().came.iter().filter(|came| came.operation == operation).cloned().collect()
    }

    /// The operations that were carried out and changed something, in their order.
    pub(crate) fn changes(&self) -> Vec<String> {
        let inner = self.lock();
        let carried_out =
            inner.came.iter().filter(|came| came.carried_out).map(|came| came.operation.as_str());
        let looks =
            |name: &str| ["Describe", "List", "Get", "Invoke"].iter().any(|verb| name.starts_with(verb));
        carried_out.filter(|name| !looks(name)).map(str::to_owned).collect()
    }

    /// How many requests came.
    pub(crate) fn count(&self) -> usize {
        self.lock().came.len()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no request panics the server")
    }

    fn converse(&self, mut stream: TcpStream) {
        let Ok(Some(request)) = http::read(&mut stream) else { return };
        if let Some(answer) = self.answer(&request) {
            // Whoever asked may have gone.
            let _ = http::write(&mut stream, &answer);
        }
    }

    /// None where the connection is cut.
    fn answer(&self, request: &Request) -> Option<Answer> {
        if let Some((endpoint, operation)) = runtime::endpoint(&request.path) {
            let signed = self.signed(request, "sagemaker");
            match self.lock().meets(operation) {
                Some(Trouble::Throttled) => {
                    // The runtime of endpoints says in a header what went wrong.
                    let mut answer = Answer::json(400, &json!({"message": "Rate exceeded"}));
                    answer.headers.push(("x-amzn-errortype", "ThrottlingException:http://internal/".into()));
                    return Some(answer);
                }
                Some(Trouble::Unavailable) => return Some(page(503)),
                Some(Trouble::CutBefore) => return None,
                _ => {}
            }
            let answer = signed.and_then(|()| self.invoke(endpoint, operation, request));
            return Some(answer.unwrap_or_else(refused));
        }
        let target = request.header("x-amz-target").unwrap_or_default();
        let (prefix, operation) = target.split_once('.').unwrap_or_default();
        let Some((_, service, signed_as, kind)) = SERVICES.iter().find(|service| service.0 == prefix) else {
            return Some(refused(Refusal::new("UnknownOperationException", target)));
        };
        let checked =
            self.signed(request, signed_as).and_then(|()| self.valid(request, service, operation, kind));
        let members = match checked {
            Ok(members) => members,
            Err(refusal) => return Some(refused(refusal)),
        };
        let mut inner = self.lock();
        let trouble = inner.meets(operation);
        let mut came = Came { operation: operation.to_owned(), request: members, carried_out: false };
        let stopped = match trouble {
            Some(Trouble::Throttled) => {
                Some(Some(refused(Refusal::new("ThrottlingException", "Rate exceeded"))))
            }
            Some(Trouble::Unavailable) => Some(Some(page(503))),
            Some(Trouble::CutBefore) => Some(None),
            _ => None,
        };
        if let Some(answer) = stopped {
            inner.came.push(came);
            return answer;
        }
        let result = inner.state.carry_out(operation, &came.request);
        came.carried_out = result.is_ok();
        inner.came.push(came);
        drop(inner);
        match trouble {
            Some(Trouble::CutAfter) => return None,
            Some(Trouble::NoJson) => return Some(page(200)),
            Some(Trouble::Slow) => thread::sleep(Duration::from_millis(300)),
            _ => {}
        }
        Some(match result {
            Ok(answer) => self.said(service, operation, answer),
            Err(refusal) => refused(refusal),
        })
    }

    fn signed(&self, request: &Request, signed_as: &str) -> Result<(), Refusal> {
        signature::check(request, signed_as)
            .map_err(|(code, message)| Refusal { status: 403, ..Refusal::new(code, message) })
    }

    /// The request's members, if the operation takes them.
    fn valid(&self, request: &Request, service: &str, operation: &str, kind: &str) -> Result<Value, Refusal> {
        if request.header("content-type") != Some(kind) {
            return Err(Refusal::new("UnknownOperationException", format!("not {kind}")));
        }
        let members: Value = serde_json::from_slice(&request.body)
            .map_err(|error| Refusal::new("SerializationException", error.to_string()))?;
        match self.models.map(|models| models.check(service, operation, &members)) {
            Some(report) if !report.faults.is_empty() => Err(Refusal::validation(report.message())),
            _ => Ok(members),
        }
    }

    /// An answer with the members that the operation has; one that the model does not allow is a fault of this server.
    fn said(&self, service: &str, operation: &str, answer: Value) -> Answer {
        let Some(models) = self.models else { return Answer::json(200, &answer) };
        let answer = models.known_members(service, operation, answer);
        let report = models.check_answer(service, operation, &answer);
        if report.faults.is_empty() {
            return Answer::json(200, &answer);
        }
        eprintln!("the stand-in's answer to {operation} is wrong: {}", report.message());
        Answer::json(400, &json!({"__type": "StandInIsWrong", "message": report.message()}))
    }

    /// Answers an invocation of an endpoint.
    fn invoke(&self, endpoint: &str, operation: &str, request: &Request) -> Result<Answer, Refusal> {
        let variant = request.header("x-amzn-sagemaker-target-variant");
        let mut members = json!({"EndpointName": endpoint});
        if operation == "InvokeEndpoint" {
            members["Body"] = "".into();
        }
        // The plain names are those of the request itself where the photo is elsewhere.
        let named = |plain: &'static str, later: &'static str| {
            request.header(if operation == "InvokeEndpoint" { plain } else { later })
        };
        for (member, value) in [
            ("ContentType", named("content-type", "x-amzn-sagemaker-content-type")),
            ("Accept", named("accept", "x-amzn-sagemaker-accept")),
            ("TargetVariant", variant),
            ("InputLocation", request.header("x-amzn-sagemaker-inputlocation")),
        ] {
            if let Some(value) = value {
                members[member] = value.into();
            }
        }
        if let Some(report) = self.models.map(|models| models.check("sagemaker-runtime", operation, &members))
            && !report.faults.is_empty()
        {
            return Err(Refusal::new("ValidationError", report.message()));
        }
        let mut inner = self.lock();
        inner.came.push(Came { operation: operation.into(), request: members, carried_out: true });
        match operation {
            "InvokeEndpoint" => runtime::invoke(&inner.state, endpoint, variant, &request.body),
            _ => runtime::invoke_later(&inner.state, endpoint),
        }
    }
}

fn refused(Refusal { status, code, message }: Refusal) -> Answer {
    Answer::json(status, &json!({"__type": format!("com.amazonaws.standin#{code}"), "message": message}))
}

fn page(status: u16) -> Answer {
    Answer {
        status,
        headers: vec![("content-type", "text/html".into())],
        body: b"<html>Try again</html>".to_vec(),
    }
}
