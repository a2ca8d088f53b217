//! Whether the features of a frozen backbone are kept.

use std::fmt;
use std::str::FromStr;

use pugmark_data::Augment;
use pugmark_engine::Freeze;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use toml::{Table, Value};

use super::{SettingsError, TrainSettings};

/// Whether a frozen backbone's features (what the head is given) are computed once and kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheFeatures {
    /// Where that changes nothing: a frozen backbone, no random change to the photos, and room in
    /// [`TrainSettings::cache_mib`].
    #[default]
    Auto,
    /// Never.
    Off,
    /// Of so many randomly changed views of each training photo, at least 1: epoch e sees view (e - 1) mod K + 1, and
    /// view k is what epoch k would see without the cache.
    Views(u32),
}

impl fmt::Display for CacheFeatures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Views(views) => views.fmt(f),
        }
    }
}

impl FromStr for CacheFeatures {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => match word.parse() {
                Ok(views @ 1..) => Ok(Self::Views(views)),
                _ => Err(format!("`{word}` is none of auto, off and a number of views from 1 on")),
            },
        }
    }
}

impl Serialize for CacheFeatures {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Views(views) => serializer.serialize_u32(*views),
            word => serializer.collect_str(word),
        }
    }
}

impl<'de> Deserialize<'de> for CacheFeatures {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Word(String),
        }
        let word = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Word(word) => word,
        };
        word.parse().map_err(de::Error::custom)
    }
}

/// Settings under which a photo's features are not the same whenever they are computed, and what to do about it.
const CHANGING: [(&str, &str); 4] = [
    ("mixup", "it mixes photos before the backbone sees them: set `mixup` to 0"),
    ("cutmix", "it mixes photos before the backbone sees them: set `cutmix` to 0"),
    ("keep_augment", "it looks at the model as it is in each epoch: leave `keep_augment` out"),
    ("unfreeze_after", "it trains the backbone in the end: leave `unfreeze_after` out"),
];

impl TrainSettings {
    /// Views of each training photo whose features are kept; none where features are not kept.
    pub(crate) fn feature_views(&self) -> Option<u32> {
        match self.cache_features {
            CacheFeatures::Off => None,
            CacheFeatures::Views(views) => Some(views),
            CacheFeatures::Auto => {
                let fixed = self.freeze == Freeze::Backbone && self.augment() == Augment::default();
                (fixed && self.changing().is_none()).then_some(1)
            }
        }
    }

    /// The setting under which features can't be kept.
    fn changing(&self) -> Option<(&'static str, &'static str)> {
        changing(&Table::try_from(self).unwrap_or_default())
    }

    /// Whether features can be kept where that was asked for.
    pub(super) fn check_cache_features(&self) -> Result<(), SettingsError> {
        let CacheFeatures::Views(views) = self.cache_features else { return Ok(()) };
        let error = |why: String| {
            let why = format!("{why}, or set `cache_features` to \"off\"");
            Err(SettingsError { name: "cache_features", value: views.to_string(), why })
        };
        if self.freeze != Freeze::Backbone {
            return error(
                "it contradicts `freeze`: only a frozen backbone gives the same features in every epoch; set `freeze` to \"backbone\""
                    .into(),
            );
        }
        if self.balanced_sampling && self.augment() != Augment::default() {
            return error(
                "it contradicts `balanced_sampling`: a photo that is drawn again in an epoch would be the same view".into(),
            );
        }
        match self.changing() {
            Some((name, why)) => error(format!("it contradicts `{name}`: {why}")),
            None => Ok(()),
        }
    }
}

/// The first of [`CHANGING`] that is switched on. Settings are looked up by name: those that a table lacks are off.
fn changing(settings: &Table) -> Option<(&'static str, &'static str)> {
    CHANGING.into_iter().find(|(name, _)| match settings.get(*name) {
        None | Some(Value::Boolean(false)) => false,
        Some(Value::Integer(number)) => *number > 0,
        Some(Value::Float(number)) => *number > 0.0,
        Some(_) => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_features_is_named() {
        let cases = [
            ("mixup = 0.2", Some("mixup")),
            ("mixup = 0.0\ncutmix = 1", Some("cutmix")),
            ("keep_augment = true", Some("keep_augment")),
            ("keep_augment = false\nmixup = 0\nepochs = 3", None),
            ("unfreeze_after = 2", Some("unfreeze_after")),
        ];
        for (text, name) in cases {
            assert_eq!(changing(&text.parse().unwrap()).map(|(name, _)| name), name, "{text}");
        }
    }

    #[test]
    fn written_and_read() {
        #[derive(Serialize, Deserialize, PartialEq, Debug)]
        struct One {
            cache_features: CacheFeatures,
        }
        let cases = [
            (CacheFeatures::Auto, "cache_features = \"auto\"\n"),
            (CacheFeatures::Off, "cache_features = \"off\"\n"),
            (CacheFeatures::Views(4), "cache_features = 4\n"),
        ];
        for (cache_features, text) in cases {
            assert_eq!(toml::to_string(&One { cache_features }).unwrap(), text);
            assert_eq!(toml::from_str::<One>(text).unwrap(), One { cache_features });
        }
        assert_eq!("4".parse(), Ok(CacheFeatures::Views(4)));
        for wrong in ["0", "-1", "on", ""] {
            assert!(wrong.parse::<CacheFeatures>().is_err(), "{wrong}");
        }
    }
}
