use std::fmt;
use std::str::FromStr;

use pugmark_graph::Param;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Which parameters stay as they are. Batch norms among them use their running statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freeze {
    /// Everything is trained.
    #[default]
    None,
    /// Only the head is trained.
    Backbone,
    /// The first stages of the graph are not trained: 1 is the stem alone. The head always is.
    Stages(usize),
}

impl Freeze {
    /// Whether a parameter is moved by the optimiser.
    pub fn trains(self, param: &Param) -> bool {
        let frozen = match self {
            Self::None => false,
            Self::Backbone => true,
            Self::Stages(stages) => param.stage < stages,
        };
        param.role.is_trained() && (param.head || !frozen)
    }
}

impl fmt::Display for Freeze {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Backbone => f.write_str("backbone"),
            Self::Stages(stages) => write!(f, "{stages}"),
        }
    }
}

impl FromStr for Freeze {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "none" => Ok(Self::None),
            "backbone" => Ok(Self::Backbone),
            _ => word
                .parse()
                .map(Self::Stages)
                .map_err(|_| format!("`{word}` is none of none, backbone and a number of stages")),
        }
    }
}

impl Serialize for Freeze {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stages(stages) => serializer.serialize_u64(*stages as u64),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for Freeze {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "none, backbone or a number of stages")]
        enum Form {
            Stages(usize),
            Word(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Stages(stages) => Ok(Self::Stages(stages)),
            Form::Word(word) => word.parse().map_err(de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Freeze;

    #[test]
    fn words() {
        for (word, freeze) in
            [("none", Freeze::None), ("backbone", Freeze::Backbone), ("2", Freeze::Stages(2))]
        {
            assert_eq!((word.parse(), freeze.to_string().as_str()), (Ok(freeze), word));
        }
        assert!("head".parse::<Freeze>().is_err() && "-1".parse::<Freeze>().is_err());
    }
}
