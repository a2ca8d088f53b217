//! What one study knows for another.

use serde_json::Value as Json;

use super::{Objective, Study};
use crate::{Domain, Settings, Space, State, Trial, Value};

impl Study {
    /// Its complete trials as a study of another space may know them: those that measured the objective and lie inside the
    /// space. A parameter that was fixed here counts with its fixed value.
    pub fn inside(&self, space: &Space, objective: &Objective) -> Vec<Trial> {
        let complete = self.runs.iter().filter(|run| run.state() == State::Complete);
        let trials = complete.filter_map(|run| {
            let trial = run.trial(objective);
            let settings = self.translated(space, &run.settings)?;
            trial.value.is_some().then_some(Trial { settings, ..trial })
        });
        trials.collect()
    }

    fn translated(&self, space: &Space, settings: &Settings) -> Option<Settings> {
        let mut found = Settings::new();
        for parameter in &space.parameters {
            if space.is_active(parameter, &found) {
                let value = match settings.get(&parameter.name) {
                    Some(value) => in_words_of(&parameter.domain, value.clone()),
                    None => {
                        let fixed = self.plan.fixed.get(&parameter.name)?;
                        in_words_of(&parameter.domain, from_json(fixed)?)
                    }
                };
                found.insert(parameter.name.clone(), value);
            }
        }
        space.contains(&found).then_some(found)
    }
}

fn from_json(fixed: &Json) -> Option<Value> {
    match fixed {
        Json::Bool(value) => Some(Value::Text(value.to_string())),
        other => serde_json::from_value(other.clone()).ok(),
    }
}

/// A number is a word of categories, and a whole word a number of a range.
fn in_words_of(domain: &Domain, value: Value) -> Value {
    match (domain, &value) {
        (Domain::Categorical(_), _) => Value::Text(value.to_string()),
        (Domain::Integer { .. }, Value::Text(text)) => text.parse().map_or(value, Value::Integer),
        (Domain::Continuous { .. }, Value::Text(text)) => text.parse().map_or(value, Value::Number),
        (Domain::Continuous { .. }, &Value::Integer(integer)) => Value::Number(integer as f64),
        _ => value,
    }
}
