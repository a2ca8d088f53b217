//! What the server answers, for programs and for people. The description is written by hand; a test holds it against the routes.

use std::sync::LazyLock;

use axum::http::header::CONTENT_TYPE;
use axum::response::{Html, IntoResponse, Response};
use pugmark_page::{Align, paragraph, section, table};
use serde_json::Value;

const OPENAPI: &str = include_str!("../openapi.json");

pub(super) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn page() -> Html<&'static str> {
    static PAGE: LazyLock<String> = LazyLock::new(document);
    Html(&PAGE)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The description as a page.
fn document() -> String {
    // A test reads it.
    let openapi: Value = serde_json::from_str(OPENAPI).unwrap_or_default();
    let mut pieces = vec![section("For example", &EXAMPLES.map(paragraph))];
    for (path, methods) in openapi["paths"].as_object().into_iter().flatten() {
        for (method, operation) in methods.as_object().into_iter().flatten() {
            let mut rows = Vec::new();
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let [name, place, what] = ["name", "in", "description"].map(|key| text(&parameter[key]));
                rows.push(vec![format!("{name} ({place})"), what]);
            }
            let body = &operation["requestBody"];
            for (kind, _) in body["content"].as_object().into_iter().flatten() {
                rows.push(vec![format!("takes {kind}"), String::new()]);
            }
            for (status, response) in operation["responses"].as_object().into_iter().flatten() {
                let name = text(&response["$ref"]).rsplit('/').next().unwrap_or_default().to_owned();
                let shared = &openapi["components"]["responses"][name]["description"];
                let what = response.get("description").unwrap_or(shared);
                rows.push(vec![format!("answers {status}"), text(what)]);
            }
            let about =
                [text(&operation["summary"]), text(&body["description"])].map(|line| paragraph(&line));
            let details = table(&[("", Align::Left), ("", Align::Left)], &rows);
            let title = format!("{} {path}", method.to_uppercase());
            pieces.push(section(&title, &[&about[..], &[details]].concat()));
        }
    }
    let info = text(&openapi["info"]["description"]);
    pugmark_page::page(
        "What this server answers",
        &info,
        &pieces,
        "pugmark; /openapi.json says the same to programs",
    )
}

const EXAMPLES: [&str; 4] = [
    "curl --data-binary @photo.jpg http://HOST:PORT/invocations",
    "curl -F a=@1.jpg -F b=@2.jpg -H 'Accept: text/csv; header=present' http://HOST:PORT/invocations",
    "curl --data-binary @photo.jpg 'http://HOST:PORT/explain?class=leopard' -o heat.png",
    "curl http://HOST:PORT/metrics",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every route is described, and nothing else.
    #[test]
    fn the_description_has_every_route() {
        let source = include_str!("../routes.rs");
        let routes = source.split(".route(\"").skip(1).map(|rest| {
            let (path, rest) = rest.split_once("\", ").unwrap();
            format!("{} {path}", rest.split('(').next().unwrap())
        });
        let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
        let described = openapi["paths"].as_object().unwrap().iter().flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(move |method| format!("{method} {path}"))
        });
        assert_eq!(routes.collect::<BTreeSet<_>>(), described.collect());
        assert!(document().contains("POST /v2/models/{name}/infer"));
    }

    /// Every `$ref` leads somewhere.
    #[test]
    fn references_are_whole() {
        fn references(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    found.extend(map.get("$ref").map(text));
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
        let mut found = Vec::new();
        references(&openapi, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            assert!(openapi.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
        }
    }
}
