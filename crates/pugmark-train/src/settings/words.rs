//! Settings that are words in files and flags.

use std::convert::Infallible;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// How much a photo of each class counts in the loss.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ClassWeights {
    /// All the same.
    #[default]
    None,
    /// Photos / (classes x photos of the class), as scikit-learn's `balanced`; a class without a photo counts 1.
    Balanced,
    /// By the effective number of photos (arXiv 1901.05555) with the paper's beta of 0.9999: as `balanced` for some hundred
    /// photos a class, and less and less above some thousands.
    EffectiveNumber,
    /// A CSV with the columns `class` and `weight`.
    File(PathBuf),
}

impl fmt::Display for ClassWeights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Balanced => f.write_str("balanced"),
            Self::EffectiveNumber => f.write_str("effective-number"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl FromStr for ClassWeights {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word {
            "none" => Self::None,
            "balanced" => Self::Balanced,
            "effective-number" => Self::EffectiveNumber,
            file => Self::File(file.into()),
        })
    }
}

impl Serialize for ClassWeights {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => path.serialize(serializer),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for ClassWeights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Ok(weights) = String::deserialize(deserializer)?.parse();
        Ok(weights)
    }
}

impl ClassWeights {
    pub(super) fn resolved(&self, absolute: impl Fn(&Path) -> PathBuf) -> Self {
        match self {
            Self::File(path) => Self::File(absolute(path)),
            other => other.clone(),
        }
    }
}

/// Time that a training may take, such as `1h30m`; without a limit by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeBudget {
    /// 0 where there is no limit.
    seconds: u64,
}

impl TimeBudget {
    /// Seconds it allows; none without a limit.
    pub fn seconds(self) -> Option<u64> {
        (self.seconds > 0).then_some(self.seconds)
    }
}

const UNITS: [(char, u64); 3] = [('h', 3600), ('m', 60), ('s', 1)];

impl fmt::Display for TimeBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.seconds == 0 {
            return f.write_str("none");
        }
        let mut left = self.seconds;
        for (unit, seconds) in UNITS {
            if left >= seconds {
                write!(f, "{}{unit}", left / seconds)?;
                left %= seconds;
            }
        }
        Ok(())
    }
}

impl FromStr for TimeBudget {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        if word == "none" {
            return Ok(Self::default());
        }
        let wrong = || format!("`{word}` is no time such as 30m, 1h30m or 45s, nor none");
        let (mut rest, mut seconds) = (word, 0_u64);
        for (unit, length) in UNITS {
            if let Some((number, after)) = rest.split_once(unit) {
                let number: u64 = number.parse().map_err(|_| wrong())?;
                seconds =
                    number.checked_mul(length).and_then(|s| s.checked_add(seconds)).ok_or_else(wrong)?;
                rest = after;
            }
        }
        if rest.is_empty() && seconds > 0 { Ok(Self { seconds }) } else { Err(wrong()) }
    }
}

impl Serialize for TimeBudget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeBudget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// [`super::TrainSettings::batch_size`]: a number, or `auto` for 0.
pub(super) mod batch_size {
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(in super::super) fn serialize<S: Serializer>(size: &usize, serializer: S) -> Result<S::Ok, S::Error> {
        match size {
            0 => serializer.serialize_str("auto"),
            size => serializer.serialize_u64(*size as u64),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<usize, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a number of photos, 1 or more, or auto")]
        enum Form {
            Number(usize),
            Word(String),
        }
        let number = match Form::deserialize(deserializer)? {
            Form::Word(word) if word == "auto" => return Ok(0),
            Form::Word(word) => word.parse().unwrap_or(0),
            Form::Number(number) => number,
        };
        if number > 0 { Ok(number) } else { Err(de::Error::custom("it must be 1 or more, or `auto`")) }
    }
}

#[cfg(test)]
mod tests {
    use super::TimeBudget;

    #[test]
    fn times() {
        for (word, seconds) in [("30m", 1800), ("1h30m", 5400), ("45s", 45), ("2h5s", 7205), ("90m", 5400)] {
            let budget: TimeBudget = word.parse().unwrap();
            assert_eq!(budget.seconds(), Some(seconds), "{word}");
            assert_eq!(budget.to_string().parse(), Ok(budget), "{word}");
        }
        assert_eq!("none".parse::<TimeBudget>().unwrap().seconds(), None);
        for word in ["", "30", "0m", "m", "30m1h", "1.5h", "-5m", "30m ", "99999999999999999999h"] {
            assert!(word.parse::<TimeBudget>().is_err(), "{word}");
        }
    }
}
