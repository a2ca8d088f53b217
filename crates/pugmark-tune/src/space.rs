//! What is searched.

use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// The other parameter, which stands before this one in the space.
    pub parameter: String,
    /// Its values.
    pub values: Vec<Value>,
}

/// A setting that is searched.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The setting's name.
    pub name: String,
    /// Its values.
    pub domain: Domain,
    /// When it is searched.
    pub condition: Option<Condition>,
}

/// A search space: parameters in the order they were named.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Space {
    /// Every name once; a condition names an earlier one.
    pub parameters: Vec<Parameter>,
}
