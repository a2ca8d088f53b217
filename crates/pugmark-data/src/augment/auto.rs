//! RandAugment (arXiv 1909.13719) and TrivialAugmentWide (arXiv 2103.10158) with torchvision's operations and tables.

use serde::{Deserialize, Serialize};

use super::colour;
use super::geometry;
use crate::random::Random;

/// Magnitudes of an operation: torchvision's `num_magnitude_bins`.
pub const MAGNITUDES: usize = 31;

/// Operations that are drawn, not tuned.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
#[serde(rename_all = "lowercase")]
pub enum AutoAugment {
    /// None.
    #[default]
    None,
    /// `ops` operations one after the other, each of `magnitude`, below [`MAGNITUDES`].
    RandAugment {
        /// Operations a photo.
        ops: usize,
        /// How strong each is.
        magnitude: usize,
    },
    /// One operation, its magnitude drawn from a wider table.
    TrivialAugment,
}

/// What may be drawn, each as often as another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Operation {
    Identity,
    ShearX,
    ShearY,
    TranslateX,
    TranslateY,
    Rotate,
    Brightness,
    Color,
    Contrast,
    Sharpness,
    Posterize,
    Solarize,
    AutoContrast,
    Equalize,
}

impl Operation {
    const ALL: [Self; 14] = [
        Self::Identity,
        Self::ShearX,
        Self::ShearY,
        Self::TranslateX,
        Self::TranslateY,
        Self::Rotate,
        Self::Brightness,
        Self::Color,
        Self::Contrast,
        Self::Sharpness,
        Self::Posterize,
        Self::Solarize,
        Self::AutoContrast,
        Self::Equalize,
    ];

    /// Whether the magnitude is turned round half of the time.
    fn is_signed(self) -> bool {
        !matches!(
            self,
            Self::Identity | Self::Posterize | Self::Solarize | Self::AutoContrast | Self::Equalize
        )
    }

    /// The magnitude in a bin of RandAugment's or the wide table; 0 for operations that have none.
    fn magnitude(self, wide: bool, bin: usize, width: usize, height: usize) -> f32 {
        let to = |narrow: f64, broad: f64| linspace(0.0, if wide { broad } else { narrow }, bin);
        match self {
            Self::Identity | Self::AutoContrast | Self::Equalize => 0.0,
            Self::ShearX | Self::ShearY => to(0.3, 0.99),
            Self::TranslateX => to(150.0 / 331.0 * width as f64, 32.0),
            Self::TranslateY => to(150.0 / 331.0 * height as f64, 32.0),
            Self::Rotate => to(30.0, 135.0),
            Self::Brightness | Self::Color | Self::Contrast | Self::Sharpness => to(0.9, 0.99),
            Self::Posterize => {
                let fewer = if wide { 6.0 } else { 4.0 };
                8.0 - (bin as f32 / ((MAGNITUDES - 1) as f32 / fewer)).round_ties_even()
            }
            Self::Solarize => linspace(255.0, 0.0, bin),
        }
    }

    /// torchvision's `_apply_op` on a Pillow image: to the nearest pixel, black where nothing comes from.
    fn apply(self, rgb: &mut Vec<u8>, width: usize, height: usize, magnitude: f32) {
        let amount = f64::from(magnitude);
        match self {
            Self::Identity => {}
            Self::ShearX => *rgb = geometry::shear_x(rgb, width, height, amount),
            Self::ShearY => *rgb = geometry::shear_y(rgb, width, height, amount),
            Self::TranslateX => *rgb = geometry::translate(rgb, width, height, amount.trunc(), 0.0),
            Self::TranslateY => *rgb = geometry::translate(rgb, width, height, 0.0, amount.trunc()),
            Self::Rotate => *rgb = geometry::rotate(rgb, width, height, amount),
            Self::Brightness => colour::brightness(rgb, (1.0 + amount) as f32),
            Self::Color => colour::saturation(rgb, (1.0 + amount) as f32),
            Self::Contrast => colour::contrast(rgb, (1.0 + amount) as f32),
            Self::Sharpness => colour::sharpness(rgb, width, (1.0 + amount) as f32),
            Self::Posterize => colour::posterize(rgb, magnitude as u32),
            Self::Solarize => colour::solarize(rgb, amount),
            Self::AutoContrast => colour::autocontrast(rgb),
            Self::Equalize => colour::equalize(rgb),
        }
    }
}

/// `torch.linspace` of [`MAGNITUDES`] values in f32, which counts from both ends and rounds once.
fn linspace(from: f64, to: f64, at: usize) -> f32 {
    let last = MAGNITUDES - 1;
    let (from, to) = (from as f32, to as f32);
    let step = (to - from) / last as f32;
    if at < MAGNITUDES / 2 { step.mul_add(at as f32, from) } else { (-step).mul_add((last - at) as f32, to) }
}

impl AutoAugment {
    /// Draws operations and carries them out.
    pub(super) fn apply(self, rgb: &mut Vec<u8>, width: usize, height: usize, random: &mut Random) {
        let (ops, fixed) = match self {
            Self::None => return,
            Self::RandAugment { ops, magnitude } => (ops, Some(magnitude)),
            Self::TrivialAugment => (1, None),
        };
        for _ in 0..ops {
            let (operation, magnitude) = draw(fixed, width, height, random);
            operation.apply(rgb, width, height, magnitude);
        }
    }
}

/// An operation and its magnitude; without a fixed one it is drawn from the wide table.
fn draw(fixed: Option<usize>, width: usize, height: usize, random: &mut Random) -> (Operation, f32) {
    let operation = Operation::ALL[random.below(Operation::ALL.len())];
    let bin = fixed.unwrap_or_else(|| random.below(MAGNITUDES));
    let magnitude = operation.magnitude(fixed.is_none(), bin, width, height);
    let turned = operation.is_signed() && random.below(2) == 1;
    (operation, if turned { -magnitude } else { magnitude })
}

#[cfg(test)]
mod tests {
    use super::super::tests::ops;
    use super::*;

    #[test]
    fn tables_are_torchvisions() {
        let tables = ops();
        for operation in Operation::ALL {
            for (wide, space) in [(false, "randaugment"), (true, "trivialaugment")] {
                let bytes = &tables[&format!("{space}.{operation:?}")];
                let numbers: Vec<f32> =
                    bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
                assert_eq!(operation.is_signed(), numbers[0] == 1.0, "{operation:?}");
                for (bin, &expected) in numbers[1..].iter().enumerate() {
                    let found = operation.magnitude(wide, bin, 224, 160);
                    assert_eq!(found, expected, "{space} {operation:?} {bin}");
                }
            }
        }
    }

    #[test]
    fn each_operation_is_torchvisions() {
        let tensors = ops();
        let mut done = 0;
        for operation in Operation::ALL {
            for (name, expected) in &tensors {
                let prefix = format!("{operation:?}.");
                let Some(amount) = name.strip_prefix(&prefix) else { continue };
                let mut rgb = tensors["input"].clone();
                operation.apply(&mut rgb, 37, 29, amount.parse().unwrap());
                let wrong = rgb.iter().zip(expected).filter(|(a, b)| a != b).count();
                assert!(wrong == 0, "{name}: {wrong} of {} samples differ", expected.len());
                done += 1;
            }
        }
        assert_eq!(done, 49);
        for (name, width) in [("flat", 5), ("two", 5)] {
            for operation in [Operation::AutoContrast, Operation::Equalize, Operation::Sharpness] {
                let mut rgb = tensors[&format!("{name}.input")].clone();
                let height = rgb.len() / 3 / width;
                operation.apply(&mut rgb, width, height, 0.7);
                assert!(rgb == tensors[&format!("{name}.{operation:?}")], "{name} {operation:?}");
            }
        }
    }

    #[test]
    fn every_operation_is_drawn_as_often() {
        let mut random = Random::new(0, 0, "operations");
        let (mut counts, mut turned, mut signed) = ([0_i32; 14], 0_i32, 0_i32);
        let mut bins = std::collections::BTreeSet::new();
        for _ in 0..14_000 {
            let (operation, magnitude) = draw(None, 224, 224, &mut random);
            counts[operation as usize] += 1;
            if operation == Operation::Rotate {
                bins.insert((magnitude / 4.5).round() as i32);
            }
            if operation.is_signed() && magnitude != 0.0 {
                signed += 1;
                turned += i32::from(magnitude < 0.0);
            }
        }
        // Five standard deviations of a binomial(14000, 1/14), 152, and of a fair coin.
        assert!(counts.iter().all(|count| (count - 1000).abs() < 152), "{counts:?}");
        assert!(
            f64::from((2 * turned - signed).abs()) < 5.0 * f64::from(signed).sqrt(),
            "{turned} of {signed}"
        );
        assert_eq!(bins, (-30..=30).collect());
        let (_, magnitude) = std::iter::repeat_with(|| draw(Some(9), 224, 224, &mut random))
            .find(|(o, _)| *o == Operation::Rotate)
            .unwrap();
        assert_eq!(magnitude.abs(), 9.0);
    }
}
