//! Spans of requests, as OpenTelemetry names them: one a request, and below it those of its decoding, its wait and its model.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use serde_json::{Value, json};

use crate::log::Noted;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// How the server's own span is told to who asked (an editor's draft of W3C Trace Context; level 2 has no such header).
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");
/// Characters of a `tracestate` that are handed on, which the standard wants at least.
const STATE: usize = 512;
/// The bit of the flags that says that a trace is recorded.
const SAMPLED: u8 = 1;
/// Methods that have a name of their own in telemetry; nobody can fill it with others.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::PATCH];

/// 64 random bits.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Who asked, as `traceparent` says it (W3C Trace Context).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Parent {
    trace: u128,
    span: u64,
    flags: u8,
}

impl Parent {
    fn read(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all(TRACEPARENT).iter();
        let (text, None) = (all.next()?.to_str().ok()?, all.next()) else { return None };
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let known = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            u128::from_str_radix(part, 16).ok().filter(|_| known)
        };
        let (version, trace, span, flags) = (next(2)?, next(32)?, next(16)?, next(2)?);
        // A later version may say more, behind what is known.
        let fits = version != 0xff && (version != 0 || parts.next().is_none());
        (fits && trace != 0 && span != 0).then_some(Self { trace, span: span as u64, flags: flags as u8 })
    }
}

/// A request's span that has begun.
pub(crate) struct Started {
    trace: u128,
    span: u64,
    parent: Option<Parent>,
    state: String,
    method: Method,
    version: &'static str,
    begun: (Instant, SystemTime),
}

/// A request's span that has ended.
pub(crate) struct Ended {
    pub(crate) started: Started,
    pub(crate) route: String,
    pub(crate) path: String,
    /// None where the client left.
    pub(crate) status: Option<u16>,
    pub(crate) bytes_out: Option<u64>,
    pub(crate) took: Duration,
    pub(crate) noted: Noted,
    pub(crate) secure: bool,
}

/// When a part of the way began and when it ended, for all photos of a request together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stage(pub(crate) Instant, pub(crate) Instant);

impl Stage {
    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0.min(other.0), self.1.max(other.1))
    }
}

impl Started {
    /// A request's span, in the trace of who asked, or in a new one; none where who asked records none.
    pub(crate) fn of<B>(request: &Request<B>, begun: (Instant, SystemTime)) -> Option<Self> {
        let parent = Parent::read(request.headers());
        if parent.is_some_and(|parent| parent.flags & SAMPLED == 0) {
            return None;
        }
        let trace = parent
            .map_or_else(|| u128::from(random().max(1)) << 64 | u128::from(random()), |parent| parent.trace);
        let states = request.headers().get_all(TRACESTATE).iter().filter_map(|state| state.to_str().ok());
        let state = states.collect::<Vec<_>>().join(",");
        let state = if parent.is_some() && state.len() <= STATE { state } else { String::new() };
        let version = match request.version() {
            axum::http::Version::HTTP_10 => "1.0",
            _ => "1.1",
        };
        let method = request.method().clone();
        Some(Self { trace, span: random().max(1), parent, state, method, version, begun })
    }

    pub(crate) fn trace_id(&self) -> String {
        format!("{:032x}", self.trace)
    }

    /// What the answer says of it.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        let text = format!("00-{:032x}-{:016x}-{SAMPLED:02x}", self.trace, self.span);
        HeaderValue::from_str(&text).ok()
    }

    /// Nanoseconds since 1970, as text, which is how JSON holds them whole.
    fn nanoseconds(&self, at: Instant) -> String {
        let (instant, time) = self.begun;
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = since + at.saturating_duration_since(instant);
        (since - instant.saturating_duration_since(at).min(since)).as_nanos().to_string()
    }
}

fn attribute(key: &str, value: impl Into<Value>) -> Value {
    let value = match value.into() {
        Value::Number(number) => json!({"intValue": number.to_string()}),
        value => json!({"stringValue": value}),
    };
    json!({"key": key, "value": value})
}

/// Attributes as OTLP has them: `[{"key": .., "value": {"stringValue": ..}}]`.
pub(crate) fn attributes<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<Value> {
    pairs.into_iter().map(|(key, value)| attribute(key, value)).collect()
}

impl Ended {
    fn stages(&self) -> Option<[Stage; 3]> {
        self.noted.looked.as_ref()?.stages
    }

    /// How many spans it has.
    pub(crate) fn count(&self) -> usize {
        1 + self.stages().map_or(0, |stages| stages.len())
    }

    /// The request's span and those below it, as OTLP has them in JSON: ids in hexadecimal digits, numbers of 64 bits as text.
    pub(crate) fn spans(&self) -> Vec<Value> {
        let Started { trace, span, parent, state, method, version, begun } = &self.started;
        let [trace, id] = [format!("{trace:032x}"), format!("{span:016x}")];
        let method = if METHODS.contains(method) { method.as_str() } else { "_OTHER" };
        let known = self.route != "other";
        let mut of_request = attributes([
            ("http.request.method", method),
            ("url.scheme", if self.secure { "https" } else { "http" }),
            ("url.path", &self.path),
            ("network.protocol.version", version),
        ]);
        let mut add = |key: &str, value: Option<Value>| {
            of_request.extend(value.map(|value| attribute(key, value)));
        };
        add("http.route", known.then(|| self.route.clone().into()));
        add("http.response.status_code", self.status.map(Value::from));
        add("http.request.body.size", self.noted.bytes_in.map(Value::from));
        add("http.response.body.size", self.bytes_out.map(Value::from));
        let failed = self.status.is_some_and(|status| status >= 500);
        let why = match self.status {
            Some(status) if failed => Some(status.to_string()),
            Some(_) => None,
            None => Some("client_left".to_owned()),
        };
        add("error.type", why.map(Value::from));
        if let Some(looked) = &self.noted.looked {
            add("pugmark.variant", Some(looked.variant.clone().into()));
            add("pugmark.photos", Some(looked.photos.into()));
            add("pugmark.batch", Some(looked.batch.into()));
        }
        let time = |at| self.started.nanoseconds(at);
        let mut whole = json!({
            "traceId": trace,
            "spanId": id,
            "name": if known { format!("{method} {}", self.route) } else { method.to_owned() },
            // SERVER
            "kind": 2,
            "startTimeUnixNano": time(begun.0),
            "endTimeUnixNano": time(begun.0 + self.took),
            "attributes": of_request,
            "flags": SAMPLED,
        });
        if let Some(parent) = parent {
            whole["parentSpanId"] = format!("{:016x}", parent.span).into();
            // HAS_IS_REMOTE and IS_REMOTE: the parent is another process's.
            whole["flags"] = (u32::from(parent.flags) | 0x300).into();
        }
        if !state.is_empty() {
            whole["traceState"] = state.as_str().into();
        }
        if failed {
            // ERROR
            whole["status"] = json!({"code": 2});
        }
        let mut spans = vec![whole];
        let stages = self.stages();
        for (name, Stage(from, to)) in
            ["decode", "queue", "model"].into_iter().zip(stages.into_iter().flatten())
        {
            spans.push(json!({
                "traceId": trace,
                "spanId": format!("{:016x}", random().max(1)),
                "parentSpanId": id,
                "name": name,
                // INTERNAL
                "kind": 1,
                "startTimeUnixNano": time(from),
                "endTimeUnixNano": time(to),
                "flags": SAMPLED,
            }));
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents() {
        let parent = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRACEPARENT, HeaderValue::from_str(value).unwrap());
            }
            Parent::read(&headers).map(|Parent { trace, span, flags }| (trace, span, flags))
        };
        // The standard's own example.
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let wanted = Some((0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, 0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(parent(&[good]), wanted);
        assert_eq!(parent(&[&format!("cc{}-what-comes", &good[2..])]), wanted);
        for bad in [
            "",
            "00",
            &good.to_uppercase(),
            &good[..54],
            &format!("{good}-more"),
            &good.replace("00-4", "ff-4"),
            &good.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &good.replace("00f067aa0ba902b7", "0000000000000000"),
            &good.replace("4bf9", "+bf9"),
        ] {
            assert_eq!(parent(&[bad]), None, "{bad}");
        }
        assert_eq!(parent(&[good, good]), None);
    }
}
