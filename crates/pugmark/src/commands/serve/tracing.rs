//! Where spans are sent: what the flag says, or the variables of OpenTelemetry.

use std::env;

use pugmark_serve::{Server, TraceSettings};

use super::wrong_call;
use crate::printer::Printer;

/// What the flag or the variables say.
struct Tracing {
    settings: TraceSettings,
    of_flag: bool,
    /// Another protocol than the one that is spoken, where the variables want one.
    protocol: Option<String>,
}

/// Begins to send spans, where they are wanted. What the environment alone says, maybe for other programs, keeps no server from
/// starting.
pub(super) fn start(endpoint: Option<&str>, server: &Server, printer: &Printer) -> anyhow::Result<()> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let Some(Tracing { settings, of_flag, protocol }) = resolve(endpoint, &variable) else { return Ok(()) };
    match protocol.as_deref() {
        None => {}
        Some("http/protobuf") => {
            printer.warning(
                "spans are sent as http/json, not as http/protobuf: a collector takes both at one port",
            );
        }
        Some(other) => {
            printer.warning(&format!("no spans are sent: OTLP as `{other}` is not spoken"));
            printer.hint(
                "OTEL_EXPORTER_OTLP_PROTOCOL=http/json, and the collector's port for that, mostly 4318",
            );
            return Ok(());
        }
    }
    // The printer of the main thread keeps its bar there; here is nothing but a line.
    let tell = |why: &str| {
        let text =
            format!("spans do not arrive: {why}; this is said once, `pugmark_spans_lost_total` counts");
        Printer::new(false).warning(&text);
    };
    match server.trace(settings, tell) {
        Err(error) if of_flag => Err(wrong_call(&error).into()),
        Err(error) => {
            printer.warning(&format!("no spans are sent: {error}"));
            error.hint().iter().for_each(|hint| printer.hint(hint));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// Of the flag, then of the variables; none where nothing names a collector, or the variables want none.
fn resolve(endpoint: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Option<Tracing> {
    let is =
        |name: &str, wanted: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
    let of_traces = |name: &str| {
        let [traces, all] = ["TRACES_", ""].map(|of| variable(&format!("OTEL_EXPORTER_OTLP_{of}{name}")));
        traces.or(all)
    };
    let below = |base: &str| format!("{}/v1/traces", base.trim_end_matches('/'));
    let url = match endpoint {
        Some(base) => below(base),
        None if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") => return None,
        None => variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base)))?,
    };
    let of_flag = endpoint.is_some();
    let protocol = of_traces("PROTOCOL").filter(|protocol| !of_flag && protocol != "http/json");
    let headers = of_traces("HEADERS");
    let mut resource = pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    let named = resource.iter().any(|(key, _)| key == "service.name");
    if let Some(name) = variable("OTEL_SERVICE_NAME").or_else(|| (!named).then(|| "pugmark".to_owned())) {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    resource.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    let settings = TraceSettings { url, headers: pairs(&headers.unwrap_or_default()), resource };
    Some(Tracing { settings, of_flag, protocol })
}

/// `key=value,key=value`, where what has a meaning there is written as `%2C`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=')?;
        Some((decoded(key.trim()), decoded(value.trim())))
    };
    text.split(',').filter_map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        let code = || u8::from_str_radix(str::from_utf8(behind.get(..2)?).ok()?, 16).ok();
        let code = if *first == b'%' { code() } else { None };
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &behind[2..] } else { behind };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_and_the_variables() {
        let of = |endpoint: Option<&str>, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            };
            resolve(endpoint, &variable)
        };
        let url = |endpoint: Option<&str>, variables: &[(&str, &str)]| {
            of(endpoint, variables).map(|of| of.settings.url)
        };
        let base = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://b:4318/");
        assert_eq!(url(None, &[]), None);
        assert_eq!(url(None, &[base]).as_deref(), Some("http://b:4318/v1/traces"));
        assert_eq!(url(Some("http://a:1"), &[base]).as_deref(), Some("http://a:1/v1/traces"));
        let whole = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://c/x");
        assert_eq!(url(None, &[base, whole]).as_deref(), Some("http://c/x"));
        for off in [("OTEL_SDK_DISABLED", "TRUE"), ("OTEL_TRACES_EXPORTER", "none")] {
            assert_eq!(url(None, &[base, off]), None);
            assert!(url(Some("http://a:1"), &[off]).is_some());
        }
        let named = of(
            None,
            &[
                base,
                ("OTEL_RESOURCE_ATTRIBUTES", "service.name=x, a=b%2Cc=%, bad"),
                ("OTEL_SERVICE_NAME", "photos"),
                ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20t"),
            ],
        )
        .unwrap()
        .settings;
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(named.resource[..2], [pair("a", "b,c=%"), pair("service.name", "photos")]);
        assert_eq!(named.headers, [pair("authorization", "Bearer t")]);
        let unnamed = of(None, &[base]).unwrap().settings;
        assert_eq!(unnamed.resource[0], pair("service.name", "pugmark"));
        let protocol = |endpoint: Option<&str>, variables: &[(&str, &str)]| {
            of(endpoint, &[&[base], variables].concat()).unwrap().protocol
        };
        let [all, traces] = ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"];
        assert_eq!(protocol(None, &[]), None);
        assert_eq!(protocol(None, &[(all, "grpc")]).as_deref(), Some("grpc"));
        assert_eq!(protocol(None, &[(all, "grpc"), (traces, "http/json")]), None);
        assert_eq!(protocol(Some("http://a:1"), &[(all, "grpc")]), None);
    }
}
