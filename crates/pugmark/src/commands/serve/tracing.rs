//! Where spans are sent: what the flag says, or the variables of OpenTelemetry.

use std::env;

use pugmark_serve::TraceSettings;

/// Of the flag, then of the variables; none where nothing names a collector, or the variables want none.
pub(super) fn settings(endpoint: Option<&str>) -> Option<TraceSettings> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    resolve(endpoint, &variable)
}

fn resolve(endpoint: Option<&str>, variable: &dyn Fn(&str) -> Option<String>) -> Option<TraceSettings> {
    let is =
        |name: &str, wanted: &str| variable(name).is_some_and(|value| value.eq_ignore_ascii_case(wanted));
    let below = |base: &str| format!("{}/v1/traces", base.trim_end_matches('/'));
    let url = match endpoint {
        Some(base) => below(base),
        None if is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none") => return None,
        None => variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base)))?,
    };
    let headers =
        variable("OTEL_EXPORTER_OTLP_TRACES_HEADERS").or_else(|| variable("OTEL_EXPORTER_OTLP_HEADERS"));
    let mut resource = pairs(&variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default());
    let named = resource.iter().any(|(key, _)| key == "service.name");
    if let Some(name) = variable("OTEL_SERVICE_NAME").or_else(|| (!named).then(|| "pugmark".to_owned())) {
        resource.retain(|(key, _)| key != "service.name");
        resource.push(("service.name".to_owned(), name));
    }
    resource.push(("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()));
    Some(TraceSettings { url, headers: pairs(&headers.unwrap_or_default()), resource })
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
        let url =
            |endpoint: Option<&str>, variables: &[(&str, &str)]| of(endpoint, variables).map(|of| of.url);
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
        .unwrap();
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(named.resource[..2], [pair("a", "b,c=%"), pair("service.name", "photos")]);
        assert_eq!(named.headers, [pair("authorization", "Bearer t")]);
        let unnamed = of(None, &[base]).unwrap();
        assert_eq!(unnamed.resource[0], pair("service.name", "pugmark"));
    }
}
