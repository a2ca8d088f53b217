//! The settings of a training job: strings, as they come from a console, an SDK or a search.

use std::path::Path;

use serde_json::{Map, Value};

use super::read_json;
use crate::error::WrongCall;
use crate::settings::Layer;

/// What older training scripts were given and the platform says otherwise.
const OF_SCRIPTS: [&str; 4] = ["data_dir", "model_dir", "output_dir", "use_cuda"];

/// The settings: from `hyperparameters.json`, then `SM_HPS`, then `SM_HP_*`, of which the later count, whatever they call a
/// setting. What the SDK and a tuning job add for themselves (`sagemaker_*`, `_*`) is left out.
pub(super) fn read(config: &Path) -> Result<Layer, WrongCall> {
    let file = read_json(&config.join("hyperparameters.json"))?.unwrap_or_default();
    let variable = match std::env::var("SM_HPS").ok().filter(|text| !text.is_empty()) {
        Some(text) => serde_json::from_str(&text)
            .map_err(|error| WrongCall::new(format!("SM_HPS is no JSON object: {error}")))?,
        None => Map::new(),
    };
    let one_by_one = std::env::vars_os().filter_map(|(name, value)| {
        let key = name.to_str()?.strip_prefix("SM_HP_")?.to_lowercase();
        Some((key, Value::String(value.into_string().ok()?)))
    });
    let sources = [("hyperparameters", file), ("SM_HPS", variable), ("SM_HP_*", one_by_one.collect())];
    sources.into_iter().try_fold(Layer::default(), |settings, (name, values)| {
        Ok(settings.overridden(Layer::from_words(name, words(values))?))
    })
}

/// Those that are meant for the training, each as it would stand behind a flag.
fn words(values: Map<String, Value>) -> Vec<(String, String)> {
    let meant = |key: &str| {
        let of_scripts = OF_SCRIPTS.contains(&key.replace('-', "_").as_str());
        !(key.starts_with('_') || key.starts_with("sagemaker_") || of_scripts)
    };
    values
        .into_iter()
        .filter(|(key, _)| meant(key))
        .filter_map(|(key, value)| Some((key, text(value)?)))
        .collect()
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
