//! How photos become the model's input, and what is changed at random in training.

use std::fmt::Display;

use pugmark_data::augment::{Augment, AutoAugment, MAGNITUDES};
use pugmark_data::{Colour, Recipe, Resize};
use serde::{Deserialize, Serialize};

use super::{SettingsError, TrainSettings};

/// How photos are brought to a square.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResizeKind {
    /// Stretched, whatever their shape.
    #[default]
    Squash,
    /// Scaled to [`TrainSettings::resize_short_side`], then the middle.
    CentreCrop,
    /// Scaled to fit in, with black bars.
    Letterbox,
}

/// Operations that are drawn, not tuned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AutoAugmentKind {
    /// None.
    #[default]
    None,
    /// RandAugment (arXiv 1909.13719).
    RandAugment,
    /// TrivialAugment, wide (arXiv 2103.10158).
    TrivialAugment,
}

impl TrainSettings {
    /// The recipe that turns photos into the model's input.
    pub fn recipe(&self) -> Recipe {
        let colour = if self.grayscale { Colour::Grayscale } else { Colour::Rgb };
        let resize = match self.resize {
            ResizeKind::Squash => Resize::Squash,
            ResizeKind::CentreCrop => Resize::CentreCrop {
                short_side: self.resize_short_side.unwrap_or((self.image_size * 8).div_ceil(7)),
            },
            ResizeKind::Letterbox => Resize::Letterbox,
        };
        Recipe { colour, resize, ..Recipe::imagenet(self.image_size) }
    }

    /// The random changes made to training photos.
    pub fn augment(&self) -> Augment {
        let auto = match self.auto_augment {
            AutoAugmentKind::None => AutoAugment::None,
            AutoAugmentKind::RandAugment => {
                AutoAugment::RandAugment { ops: self.randaugment_ops, magnitude: self.randaugment_magnitude }
            }
            AutoAugmentKind::TrivialAugment => AutoAugment::TrivialAugment,
        };
        Augment {
            crop: self.random_crop,
            crop_ratio: self.random_crop_ratio,
            flip: self.flip,
            vertical_flip: self.vertical_flip,
            rotation: self.rotation,
            auto,
            jitter: self.jitter,
            hue: self.hue,
            grayscale: self.random_grayscale,
            erasing: self.erasing,
            keep: self.keep_augment.then_some(self.keep_share),
            mixup: self.mixup,
            cutmix: self.cutmix,
        }
    }

    pub(super) fn validate_augmentation(&self) -> Result<(), SettingsError> {
        let probability = |value: f32| (0.0..=1.0).contains(&value);
        let alpha = |value: f32| value >= 0.0 && value.is_finite();
        let checks: [(&'static str, &dyn Display, bool, &str); 12] = [
            (
                "random_crop",
                &self.random_crop,
                self.random_crop > 0.0 && self.random_crop <= 1.0,
                "it must be a share of the photo above 0, and 1 for whole photos",
            ),
            (
                "random_crop_ratio",
                &self.random_crop_ratio,
                (1.0..=10.0).contains(&self.random_crop_ratio),
                "it must be from 1, for squares, to 10",
            ),
            (
                "rotation",
                &self.rotation,
                (0.0..=180.0).contains(&self.rotation),
                "it must be from 0 to 180 degrees",
            ),
            ("jitter", &self.jitter, probability(self.jitter), "it must be from 0 to 1"),
            (
                "hue",
                &self.hue,
                (0.0..=0.5).contains(&self.hue),
                "it must be from 0 to 0.5, which is half of the circle",
            ),
            (
                "random_grayscale",
                &self.random_grayscale,
                probability(self.random_grayscale),
                "it must be a probability from 0 to 1",
            ),
            (
                "randaugment_ops",
                &self.randaugment_ops,
                (1..=14).contains(&self.randaugment_ops),
                "it must be from 1 to 14 operations",
            ),
            (
                "randaugment_magnitude",
                &self.randaugment_magnitude,
                self.randaugment_magnitude < MAGNITUDES,
                "it must be from 0 to 30",
            ),
            ("erasing", &self.erasing, probability(self.erasing), "it must be a probability from 0 to 1"),
            (
                "keep_share",
                &self.keep_share,
                (0.0..1.0).contains(&self.keep_share),
                "it must be at least 0 and below 1",
            ),
            ("mixup", &self.mixup, alpha(self.mixup), "it must be 0 or more"),
            ("cutmix", &self.cutmix, alpha(self.cutmix), "it must be 0 or more"),
        ];
        for (name, value, valid, why) in checks {
            if !valid {
                return Err(SettingsError { name, value: value.to_string(), why: why.into() });
            }
        }
        if let Some(side) = self.resize_short_side {
            let why = if self.resize != ResizeKind::CentreCrop {
                Some("it belongs to `resize = \"centre-crop\"`".into())
            } else if !(self.image_size..=8192).contains(&side) {
                Some(format!("it must be from `image_size`, {}, to 8192 pixels", self.image_size))
            } else {
                None
            };
            if let Some(why) = why {
                return Err(SettingsError { name: "resize_short_side", value: side.to_string(), why });
            }
        }
        let harmless = self.random_crop == 1.0
            && self.rotation == 0.0
            && self.auto_augment == AutoAugmentKind::None
            && self.erasing == 0.0
            && self.cutmix == 0.0;
        if self.keep_augment && harmless {
            let why = "nothing is cut or distorted that it could spare: switch on `random_crop`, `erasing`, `cutmix`, \
                       `auto_augment` or `rotation`";
            return Err(SettingsError { name: "keep_augment", value: "true".into(), why: why.into() });
        }
        Ok(())
    }
}
