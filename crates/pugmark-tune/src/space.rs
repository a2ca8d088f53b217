//! What is searched.

mod error;
mod flags;
mod ranges;
mod unit;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Settings;
pub use error::SpaceError;

/// A value of a parameter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Of an integer parameter.
    Integer(i64),
    /// Of a continuous parameter.
    Number(f64),
    /// Of a categorical parameter.
    Text(String),
}

/// How a range is searched: evenly in the value, its logarithm, or the logarithm of its distance from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// Evenly in ln x; the range lies above 0.
    Logarithmic,
    /// Evenly in -ln(1 - x); the range lies in [0, 1).
    ReverseLogarithmic,
}

/// The values a parameter may take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Domain {
    /// Every number of `[min, max]`.
    Continuous {
        /// The least.
        min: f64,
        /// The largest.
        max: f64,
        /// How it is searched.
        scale: Scale,
    },
    /// Every integer of `[min, max]`.
    Integer {
        /// The least.
        min: i64,
        /// The largest.
        max: i64,
        /// How it is searched.
        scale: Scale,
    },
    /// One of these, without an order.
    Categorical(Vec<String>),
}

/// The parameter is searched only where another one has one of these values; else the setting stays as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// The other parameter, which stands before this one in the space.
    pub parameter: String,
    /// Its values.
    pub values: Vec<Value>,
}

/// A setting that is searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Parameter {
    /// The setting's name.
    pub name: String,
    /// Its values.
    pub domain: Domain,
    /// When it is searched.
    pub condition: Option<Condition>,
}

/// A search space: parameters in the order they were named.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Space {
    /// Every name once; a condition names an earlier one.
    pub parameters: Vec<Parameter>,
}

/// Integers beyond this are no longer exact as numbers.
const LARGEST_INTEGER: u64 = 1 << 53;

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl Domain {
    /// The value that is written as `text`, where it is one of this domain.
    fn parse(&self, text: &str) -> Option<Value> {
        let value = match self {
            Self::Continuous { .. } => Value::Number(text.parse().ok()?),
            Self::Integer { .. } => Value::Integer(text.parse().ok()?),
            Self::Categorical(_) => Value::Text(text.to_owned()),
        };
        self.contains(&value).then_some(value)
    }

    /// Whether a parameter may have this value. An integer is a number too.
    pub fn contains(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Continuous { min, max, .. }, Value::Number(value)) => (min..=max).contains(&value),
            (Self::Continuous { min, max, .. }, Value::Integer(value)) => {
                (*min..=*max).contains(&(*value as f64))
            }
            (Self::Integer { min, max, .. }, Value::Integer(value)) => (min..=max).contains(&value),
            (Self::Categorical(values), Value::Text(value)) => values.contains(value),
            _ => false,
        }
    }

    fn check(&self, place: &str) -> Result<(), SpaceError> {
        let fail = |what: String, hint: &str| Err(SpaceError::new(place, what, hint));
        let (min, max, scale) = match self {
            Self::Continuous { min, max, scale } => (*min, *max, *scale),
            Self::Integer { min, max, scale } => {
                if min.unsigned_abs().max(max.unsigned_abs()) > LARGEST_INTEGER {
                    return fail(format!("{min} to {max} has integers beyond 2^53"), "give smaller integers");
                }
                (*min as f64, *max as f64, *scale)
            }
            Self::Categorical(values) => {
                if values.is_empty() || values.iter().any(String::is_empty) {
                    return fail("a category is empty".to_owned(), "name at least one, as in batch=16,32");
                }
                return match values.iter().enumerate().find(|(i, value)| values[..*i].contains(value)) {
                    Some((_, twice)) => {
                        fail(format!("the category {twice} stands twice"), "name every category once")
                    }
                    None => Ok(()),
                };
            }
        };
        if !(max - min).is_finite() {
            return fail(format!("{min} to {max} is no finite range"), "give two finite numbers");
        }
        if min > max {
            return fail(format!("the range is empty: {min} lies above {max}"), "give the least value first");
        }
        match scale {
            Scale::Logarithmic if min <= 0.0 => {
                let hint = "start above 0, as in log(1e-5,1e-1), or search it evenly, as in 0.0..0.1";
                fail(format!("a logarithmic range can't start at {min}"), hint)
            }
            Scale::ReverseLogarithmic if matches!(self, Self::Integer { .. }) => fail(
                "only continuous parameters have a reverse logarithmic range".to_owned(),
                "take Linear or Logarithmic",
            ),
            Scale::ReverseLogarithmic if min < 0.0 || max >= 1.0 => {
                let hint = "it is for values that come close to 1, as in reverse-log(0.9,0.9999)";
                fail(format!("a reverse logarithmic range lies in [0, 1), not in {min} to {max}"), hint)
            }
            _ => Ok(()),
        }
    }
}

impl Space {
    /// A space of these parameters.
    ///
    /// # Errors
    ///
    /// See [`Self::validate`].
    pub fn new(parameters: Vec<Parameter>) -> Result<Self, SpaceError> {
        let space = Self { parameters };
        space.validate()?;
        Ok(space)
    }

    /// Whether the space can be searched.
    ///
    /// # Errors
    ///
    /// Without a parameter; with a name or a category twice; with an empty or not finite range, or one that its scale can't have; with a
    /// condition on a parameter that does not stand before, or on a value that it can't take.
    pub fn validate(&self) -> Result<(), SpaceError> {
        if self.parameters.is_empty() {
            let hint = "name what is searched, as in lr=log(1e-4,1e-1)";
            return Err(SpaceError::new("the search space", "it is empty".to_owned(), hint));
        }
        for (i, parameter) in self.parameters.iter().enumerate() {
            let name = &parameter.name;
            if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '=') {
                let hint = "name the parameter with one word, as in lr=log(1e-4,1e-1)";
                return Err(SpaceError::new("the search space", format!("\"{name}\" is no name"), hint));
            }
            if self.parameters[..i].iter().any(|earlier| earlier.name == *name) {
                return Err(SpaceError::new(
                    name,
                    "it is named twice".to_owned(),
                    "name every parameter once",
                ));
            }
            parameter.domain.check(name)?;
            if let Some(condition) = &parameter.condition {
                self.check_condition(i, condition)?;
            }
        }
        Ok(())
    }

    fn check_condition(&self, i: usize, condition: &Condition) -> Result<(), SpaceError> {
        let (name, other) = (&self.parameters[i].name, &condition.parameter);
        let fail = |what: String, hint: String| Err(SpaceError::new(name, what, hint));
        let earlier = self.parameters[..i].iter().find(|parameter| parameter.name == *other);
        let Some(earlier) = earlier else {
            if self.parameters[i..].iter().any(|parameter| parameter.name == *other) {
                let what = format!("its condition is on {other}, which does not stand before it");
                return fail(what, format!("name {other} first"));
            }
            let names = self.parameters[..i].iter().map(|parameter| parameter.name.as_str());
            let hint =
                error::did_you_mean(other, names).unwrap_or_else(|| format!("add {other} to the space"));
            return fail(format!("its condition is on {other}, which is not searched"), hint);
        };
        if matches!(earlier.domain, Domain::Continuous { .. }) {
            let what = format!("its condition is on {other}, whose values have no end");
            return fail(what, "a condition can be on an integer or a category".to_owned());
        }
        if condition.values.is_empty() {
            return fail(
                format!("its condition on {other} has no value"),
                format!("as in \"if {other}=..\""),
            );
        }
        match condition.values.iter().find(|value| !earlier.domain.contains(value)) {
            Some(value) => fail(
                format!("its condition is never met: {other} is never {value}"),
                "take a value from its range".to_owned(),
            ),
            None => Ok(()),
        }
    }

    /// Whether `parameter` is searched beside these settings.
    pub fn is_active(&self, parameter: &Parameter, settings: &Settings) -> bool {
        parameter.condition.as_ref().is_none_or(|condition| {
            settings.get(&condition.parameter).is_some_and(|value| condition.values.contains(value))
        })
    }

    /// Whether `settings` has a value of its domain for every active parameter, and nothing else.
    pub fn contains(&self, settings: &Settings) -> bool {
        let mut known = 0;
        let mut active = BTreeMap::new();
        for parameter in &self.parameters {
            if self.is_active(parameter, &active) {
                match settings.get(&parameter.name) {
                    Some(value) if parameter.domain.contains(value) => {
                        active.insert(parameter.name.clone(), value.clone());
                        known += 1;
                    }
                    _ => return false,
                }
            }
        }
        known == settings.len()
    }
}
