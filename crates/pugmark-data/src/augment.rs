//! Random changes to a training photo, as torchvision makes them on Pillow images.

use serde::{Deserialize, Serialize};

use crate::random::Random;
use crate::recipe::luma;

/// Which random changes are made.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug, Default)]
pub struct Augment {
    /// Mirror left and right with probability one half.
    pub flip: bool,
    /// Rotate by a uniform angle of at most this many degrees either way; what comes in at the corners is black.
    pub rotation: f32,
    /// Brightness, contrast and saturation factors, each uniform in [1 - jitter, 1 + jitter] but not below 0, applied
    /// in random order.
    pub jitter: f32,
}

impl Augment {
    /// Changes `rgb` (`height * width * 3` bytes, row by row) in place: flip, rotation, jitter.
    ///
    /// Each change draws its numbers whether or not they change anything, but only if it is switched on.
    pub fn apply(&self, rgb: &mut Vec<u8>, width: usize, height: usize, random: &mut Random) {
        if self.flip && random.uniform() < 0.5 {
            flip(rgb, width);
        }
        if self.rotation > 0.0 {
            let angle = f64::from(self.rotation) * (2.0 * f64::from(random.uniform()) - 1.0);
            *rgb = rotate(rgb, width, height, angle);
        }
        if self.jitter > 0.0 {
            let mut order = [brightness, contrast, saturation];
            random.shuffle(&mut order);
            for change in order {
                let low = (1.0 - self.jitter).max(0.0);
                change(rgb, low + (1.0 + self.jitter - low) * random.uniform());
            }
        }
    }
}

/// Mirrors left and right.
fn flip(rgb: &mut [u8], width: usize) {
    for row in rgb.chunks_exact_mut(width * 3) {
        row.reverse();
        for pixel in row.chunks_exact_mut(3) {
            pixel.reverse();
        }
    }
}

/// Rotates counter-clockwise by `angle` degrees about the centre: Pillow's `Image.rotate(angle, NEAREST)` with black
/// corners, whose affine transform steps through the source in 16.16 fixed point.
fn rotate(rgb: &[u8], width: usize, height: usize, angle: f64) -> Vec<u8> {
    // Pillow rounds the matrix to 15 digits, so that right angles are exact.
    let round = |value: f64| (value * 1e15).round() / 1e15;
    let (sin, cos) = (-angle.rem_euclid(360.0).to_radians()).sin_cos();
    let [a, b, d, e] = [round(cos), round(sin), round(-sin), round(cos)];
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    let (c, f) = (-a * x - b * y + x, -d * x - e * y + y);

    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let mut out = vec![0; rgb.len()];
    let [step_x, step_y] = [fixed(a), fixed(d)];
    for (row, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        let row = row as i64;
        let mut from_x = fixed(c + a * 0.5 + b * 0.5) + row * fixed(b);
        let mut from_y = fixed(f + d * 0.5 + e * 0.5) + row * fixed(e);
        for pixel in pixels.chunks_exact_mut(3) {
            let inside = |at: i64, size: usize| usize::try_from(at >> 16).ok().filter(|&at| at < size);
            if let (Some(x), Some(y)) = (inside(from_x, width), inside(from_y, height)) {
                let from = (y * width + x) * 3;
                pixel.copy_from_slice(&rgb[from..from + 3]);
            }
            from_x += step_x;
            from_y += step_y;
        }
    }
    out
}

/// Pillow's `ImageEnhance.Brightness`: between black and the photo.
fn brightness(rgb: &mut [u8], factor: f32) {
    for sample in rgb {
        *sample = blend(0, *sample, factor);
    }
}

/// Pillow's `ImageEnhance.Contrast`: between the photo's mean gray and the photo.
fn contrast(rgb: &mut [u8], factor: f32) {
    let total: u64 = rgb.chunks_exact(3).map(|pixel| u64::from(luma(pixel))).sum();
    let mean = (total as f64 / (rgb.len() / 3) as f64 + 0.5) as u8;
    for sample in rgb {
        *sample = blend(mean, *sample, factor);
    }
}

/// Pillow's `ImageEnhance.Color`: between the gray photo and the photo.
fn saturation(rgb: &mut [u8], factor: f32) {
    for pixel in rgb.chunks_exact_mut(3) {
        let gray = luma(pixel);
        for sample in pixel {
            *sample = blend(gray, *sample, factor);
        }
    }
}

/// Pillow's `Image.blend`: `from` at 0, `to` at 1, beyond it above; in f32, cut to whole numbers.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // The cast cuts towards zero and saturates.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use safetensors::SafeTensors;

    use super::*;

    /// What torchvision makes of one picture, by the name of the change.
    fn fixture() -> (Vec<u8>, usize, usize, BTreeMap<String, Vec<u8>>) {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/augment.safetensors");
        let bytes = std::fs::read(file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let input = tensors.tensor("input").unwrap();
        let (height, width) = (input.shape()[0], input.shape()[1]);
        let changed = tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec()));
        (input.data().to_vec(), width, height, changed.collect())
    }

    #[test]
    fn each_change_is_torchvisions() {
        let (input, width, height, mut changed) = fixture();
        changed.remove("input");
        let mut kinds = BTreeMap::new();
        for (name, expected) in changed {
            let (kind, amount) = name.split_once('.').unwrap_or((&name, "0"));
            *kinds.entry(kind.to_owned()).or_insert(0) += 1;
            let mut rgb = input.clone();
            match kind {
                "hflip" => flip(&mut rgb, width),
                "grayscale" => rgb.chunks_exact_mut(3).for_each(|pixel| pixel.fill(luma(pixel))),
                "brightness" => brightness(&mut rgb, amount.parse().unwrap()),
                "contrast" => contrast(&mut rgb, amount.parse().unwrap()),
                "saturation" => saturation(&mut rgb, amount.parse().unwrap()),
                "rotate" => rgb = rotate(&rgb, width, height, amount.parse().unwrap()),
                _ => panic!("unknown change {name}"),
            }
            assert!(rgb == expected, "{name} differs");
        }
        let names: Vec<&str> = kinds.keys().map(String::as_str).collect();
        assert_eq!(names, ["brightness", "contrast", "grayscale", "hflip", "rotate", "saturation"]);
    }

    #[test]
    fn the_same_draw_gives_the_same_photo() {
        let (input, width, height, _) = fixture();
        let augment = Augment { flip: true, rotation: 10.0, jitter: 0.2 };
        let changed = |augment: Augment, epoch: u64, id: &str| {
            let mut rgb = input.clone();
            augment.apply(&mut rgb, width, height, &mut Random::new(1, epoch, id));
            rgb
        };
        assert_eq!(changed(augment, 3, "a/1.jpg"), changed(augment, 3, "a/1.jpg"));
        assert_ne!(changed(augment, 3, "a/1.jpg"), changed(augment, 4, "a/1.jpg"));
        assert_ne!(changed(augment, 3, "a/1.jpg"), changed(augment, 3, "b/1.jpg"));
        assert_eq!(changed(Augment::default(), 3, "a/1.jpg"), input);
        let flipped = |epoch| changed(Augment { flip: true, ..Augment::default() }, epoch, "a") != input;
        let flips = (0..1000).filter(|&epoch| flipped(epoch)).count();
        // Four standard deviations of 1000 fair throws.
        assert!((437..=563).contains(&flips), "{flips} flips of 1000");
    }
}
