//! The settings of a training job: strings, as they come from a console, an SDK or a search.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use super::read_json;
use crate::error::WrongCall;

/// What older training scripts were given and the platform says otherwise.
const OF_SCRIPTS: [&str; 4] = ["data_dir", "model_dir", "output_dir", "use_cuda"];

/// Key and text of every setting: from `hyperparameters.json`, then `SM_HPS`, then `SM_HP_*`, of which the later count. What the
/// SDK and a tuning job add for themselves (`sagemaker_*`, `_*`) is left out.
pub(super) fn read(config: &Path) -> Result<Vec<(String, String)>, WrongCall> {
    let mut found = BTreeMap::new();
    let mut add = |values: Map<String, Value>| {
        found.extend(values.into_iter().map(|(key, value)| (key.replace('-', "_"), value)));
    };
    add(read_json(&config.join("hyperparameters.json"))?.unwrap_or_default());
    if let Some(text) = std::env::var("SM_HPS").ok().filter(|text| !text.is_empty()) {
        let wrong = |error| WrongCall::new(format!("SM_HPS is no JSON object: {error}"));
        add(serde_json::from_str(&text).map_err(wrong)?);
    }
    let one_by_one = std::env::vars_os().filter_map(|(name, value)| {
        let key = name.to_str()?.strip_prefix("SM_HP_")?.to_lowercase();
        Some((key, Value::String(value.into_string().ok()?)))
    });
    add(one_by_one.collect());
    let meant =
        |key: &str| !(key.starts_with('_') || key.starts_with("sagemaker_") || OF_SCRIPTS.contains(&key));
    Ok(found
        .into_iter()
        .filter(|(key, _)| meant(key))
        .filter_map(|(key, value)| Some((key, text(value)?)))
        .collect())
}

/// A value as it would stand behind a flag. The SDK writes each as JSON once more: `"\"adamw\""`.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => match serde_json::from_str(&text) {
            Ok(Value::String(inner)) => Some(inner),
            Ok(Value::Null) => None,
            _ => Some(text),
        },
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_read_plain_and_as_json() {
        for (value, expected) in [
            (json!("adamw"), Some("adamw")),
            (json!("\"adamw\""), Some("adamw")),
            (json!("0.001"), Some("0.001")),
            (json!(0.001), Some("0.001")),
            (json!("true"), Some("true")),
            (json!("\"3\""), Some("3")),
            (json!("null"), None),
            (json!(null), None),
            (json!(""), Some("")),
            (json!("\"cut off"), Some("\"cut off")),
        ] {
            assert_eq!(text(value.clone()).as_deref(), expected, "{value}");
        }
    }
}
