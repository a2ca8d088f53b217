//! A space as SageMaker's `ParameterRanges`: one file for tuning here and there.
//!
//! Two keys are ours: `Condition: {"Name": "optimiser", "Values": ["sgd"]}` in a range, and `Order`, the names in their order, which is
//! written where it isn't that of the lists.

use serde_json::{Map, Value as Json, json};

use super::{Condition, Domain, Parameter, Scale, Space, SpaceError, error::did_you_mean, flags};

const CATEGORICAL: &str = "CategoricalParameterRanges";
const INTEGER: &str = "IntegerParameterRanges";
const CONTINUOUS: &str = "ContinuousParameterRanges";
const ORDER: &str = "Order";
const SCALES: [&str; 4] = ["Auto", "Linear", "Logarithmic", "ReverseLogarithmic"];

impl Space {
    /// The space of a `ParameterRanges` object, or of an object that has one under that key. Numbers may be strings, as SageMaker writes
    /// them; the scale `Auto` is linear.
    ///
    /// # Errors
    ///
    /// Where it is no JSON, at a key or a scale that is not known, and what [`Self::validate`] finds.
    pub fn from_ranges(json: &str) -> Result<Self, SpaceError> {
        let place = "the search space";
        let json: Json = serde_json::from_str(json).map_err(|error| {
            SpaceError::new(place, format!("it is no JSON: {error}"), "give SageMaker's ParameterRanges")
        })?;
        let json = json.get("ParameterRanges").unwrap_or(&json);
        let lists = object(json, place, &[CATEGORICAL, INTEGER, CONTINUOUS, ORDER])?;
        let mut entries = Vec::new();
        for kind in [CATEGORICAL, INTEGER, CONTINUOUS] {
            for (i, entry) in array(lists.get(kind), kind)?.iter().enumerate() {
                entries.push(read(kind, entry, &format!("{kind}[{i}]"))?);
            }
        }
        let order = array(lists.get(ORDER), ORDER)?
            .iter()
            .map(|name| text(name, ORDER))
            .collect::<Result<Vec<_>, _>>()?;
        if let Some(unknown) =
            order.iter().find(|name| entries.iter().all(|(parameter, _)| parameter.name != **name))
        {
            let names = entries.iter().map(|(parameter, _)| parameter.name.as_str());
            let hint = did_you_mean(unknown, names).unwrap_or_else(|| "remove it from the order".to_owned());
            return Err(SpaceError::new(ORDER, format!("there is no {unknown}"), hint));
        }
        // Those that the order does not name come last, as they stand.
        entries.sort_by_key(|(parameter, _)| {
            order.iter().position(|name| *name == parameter.name).unwrap_or(order.len())
        });
        let parameters = if order.is_empty() { conditions_last(entries) } else { entries };
        let domains: Vec<(String, Domain)> = parameters
            .iter()
            .map(|(parameter, _)| (parameter.name.clone(), parameter.domain.clone()))
            .collect();
        let with_condition = |(mut parameter, condition): (Parameter, Option<(String, Vec<String>)>)| {
            parameter.condition = condition.map(|(other, values)| {
                let domain = domains.iter().find(|(name, _)| *name == other).map(|(_, domain)| domain);
                Condition {
                    parameter: other,
                    values: values.iter().map(|value| flags::parse(domain, value)).collect(),
                }
            });
            parameter
        };
        Self::new(parameters.into_iter().map(with_condition).collect())
    }

    /// The space as `ParameterRanges`.
    pub fn to_ranges(&self) -> Json {
        let mut lists = [(CATEGORICAL, Vec::new()), (INTEGER, Vec::new()), (CONTINUOUS, Vec::new())];
        let mut kinds = Vec::new();
        for parameter in &self.parameters {
            let (kind, mut entry) = match &parameter.domain {
                Domain::Categorical(values) => (0, json!({"Name": parameter.name, "Values": values})),
                Domain::Integer { min, max, scale } => {
                    (1, written(&parameter.name, min.to_string(), max.to_string(), *scale))
                }
                Domain::Continuous { min, max, scale } => {
                    (2, written(&parameter.name, min.to_string(), max.to_string(), *scale))
                }
            };
            if let Some(condition) = &parameter.condition {
                let values: Vec<String> = condition.values.iter().map(ToString::to_string).collect();
                entry["Condition"] = json!({"Name": condition.parameter, "Values": values});
            }
            kinds.push(kind);
            lists[kind].1.push(entry);
        }
        let mut json: Map<String, Json> =
            lists.into_iter().map(|(kind, list)| (kind.to_owned(), list.into())).collect();
        if !kinds.is_sorted() {
            json.insert(
                ORDER.to_owned(),
                self.parameters.iter().map(|parameter| parameter.name.clone()).collect(),
            );
        }
        json.into()
    }
}

type Unresolved = (Parameter, Option<(String, Vec<String>)>);

/// Without an order, a parameter stands behind the one its condition is on. Where that can't be, it stays and is refused later.
fn conditions_last(mut left: Vec<Unresolved>) -> Vec<Unresolved> {
    let mut sorted: Vec<Unresolved> = Vec::new();
    while !left.is_empty() {
        let waits = |(_, condition): &Unresolved| {
            condition
                .as_ref()
                .is_some_and(|(other, _)| left.iter().any(|(parameter, _)| parameter.name == *other))
        };
        let next = left.iter().position(|entry| !waits(entry)).unwrap_or(0);
        sorted.push(left.remove(next));
    }
    sorted
}

fn read(kind: &str, entry: &Json, place: &str) -> Result<Unresolved, SpaceError> {
    let values = ["Name", "Condition", "Values"];
    let range = ["Name", "Condition", "MinValue", "MaxValue", "ScalingType"];
    let entry = object(entry, place, if kind == CATEGORICAL { &values } else { &range })?;
    let get = |key: &str| {
        let value = entry
            .get(key)
            .ok_or_else(|| SpaceError::new(place, format!("{key} is missing"), format!("add {key}")))?;
        Ok::<&Json, SpaceError>(value)
    };
    let name = text(get("Name")?, place)?;
    let domain = if kind == CATEGORICAL {
        let values = array(Some(get("Values")?), &name)?;
        Domain::Categorical(values.iter().map(|value| text(value, &name)).collect::<Result<_, _>>()?)
    } else {
        let scale = entry.get("ScalingType").map_or(Ok("Auto".to_owned()), |scale| text(scale, &name))?;
        let scale = match scale.as_str() {
            "Auto" | "Linear" => Scale::Linear,
            "Logarithmic" => Scale::Logarithmic,
            "ReverseLogarithmic" => Scale::ReverseLogarithmic,
            other => {
                let hint = did_you_mean(other, SCALES)
                    .unwrap_or_else(|| format!("take one of {}", SCALES.join(", ")));
                return Err(SpaceError::new(name, format!("the scaling type {other} is not known"), hint));
            }
        };
        let (min, max) = (text(get("MinValue")?, &name)?, text(get("MaxValue")?, &name)?);
        if kind == INTEGER {
            Domain::Integer { min: number(&min, &name)?, max: number(&max, &name)?, scale }
        } else {
            Domain::Continuous { min: number(&min, &name)?, max: number(&max, &name)?, scale }
        }
    };
    let condition = match entry.get("Condition") {
        None => None,
        Some(condition) => {
            let keys = object(condition, &format!("{name}, Condition"), &["Name", "Values"])?;
            let other = text(keys.get("Name").unwrap_or(&Json::Null), &name)?;
            let values = array(keys.get("Values"), &name)?.iter().map(|value| text(value, &name));
            Some((other, values.collect::<Result<Vec<_>, _>>()?))
        }
    };
    Ok((Parameter { name, domain, condition: None }, condition))
}

fn written(name: &str, min: String, max: String, scale: Scale) -> Json {
    json!({"Name": name, "MinValue": min, "MaxValue": max, "ScalingType": format!("{scale:?}")})
}

fn object<'a>(json: &'a Json, place: &str, known: &[&str]) -> Result<&'a Map<String, Json>, SpaceError> {
    let Some(object) = json.as_object() else {
        return Err(SpaceError::new(
            place,
            "it is no object".to_owned(),
            format!("give an object with {}", known.join(", ")),
        ));
    };
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(object),
        Some(key) => {
            let hint = did_you_mean(key, known.iter().copied())
                .unwrap_or_else(|| format!("take one of {}", known.join(", ")));
            Err(SpaceError::new(place, format!("the key {key} is not known"), hint))
        }
    }
}

fn array<'a>(json: Option<&'a Json>, place: &str) -> Result<&'a [Json], SpaceError> {
    match json {
        None | Some(Json::Null) => Ok(&[]),
        Some(Json::Array(values)) => Ok(values),
        Some(_) => Err(SpaceError::new(place, "it is no list".to_owned(), "write a list, as in [..]")),
    }
}

/// A string, or a number as it is written.
fn text(json: &Json, place: &str) -> Result<String, SpaceError> {
    match json {
        Json::String(text) => Ok(text.clone()),
        Json::Number(number) => Ok(number.to_string()),
        other => Err(SpaceError::new(place, format!("{other} is no text"), "write it as \"..\"")),
    }
}

fn number<T: std::str::FromStr>(text: &str, place: &str) -> Result<T, SpaceError> {
    let kind = if std::any::type_name::<T>() == "i64" { "an integer" } else { "a number" };
    let fail = |_| SpaceError::new(place, format!("\"{text}\" is not {kind}"), format!("give {kind}"));
    text.trim().parse().map_err(fail)
}
