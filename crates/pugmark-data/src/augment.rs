//! Random changes to a training photo, as torchvision makes them on Pillow images.

mod area;
mod auto;
mod colour;
mod geometry;
mod keep;
mod mix;

use serde::{Deserialize, Serialize};

use crate::photo::Photo;
use crate::random::Random;
use crate::recipe::{Colour, Recipe, Resize};
use crate::resize::resize_bilinear;
use area::Area;
use keep::{Importance, half};

pub use auto::{AutoAugment, MAGNITUDES};
pub use keep::{SALIENCY_SIDE, Saliency};
pub use mix::Mixed;
pub(crate) use mix::mix;

/// A photo that is cropped is kept with a short side of at most this many times the recipe's long side.
const ROOM: usize = 2;

/// Which random changes are made.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct Augment {
    /// Cut out a part of the photo and resize it, as `RandomResizedCrop`, in place of the recipe's resize: its share of the
    /// photo's area is uniform between this and 1. At 1 nothing is cut.
    pub crop: f32,
    /// The part's width over its height is at most this, its height over its width as well; at least 1.
    pub crop_ratio: f32,
    /// Mirror left and right with probability one half.
    pub flip: bool,
    /// Mirror top and bottom with probability one half.
    pub vertical_flip: bool,
    /// Rotate by a uniform angle of at most this many degrees either way; what comes in at the corners is black.
    pub rotation: f32,
    /// Operations that are drawn, not tuned.
    pub auto: AutoAugment,
    /// Brightness, contrast and saturation factors, each uniform in [1 - jitter, 1 + jitter] but not below 0, applied
    /// in random order.
    pub jitter: f32,
    /// Turn the hue by a uniform share of at most this of the circle either way, at a random place among the three above; at
    /// most 0.5.
    pub hue: f32,
    /// Make the photo gray with this probability.
    pub grayscale: f32,
    /// Paint a rectangle with the recipe's mean colour with this probability, as `RandomErasing` with value 0 does after
    /// normalisation; the mean is rounded to 8 bits.
    pub erasing: f32,
    /// KeepAugment's quantile, in [0, 1), where the loader has a [`Saliency`] of the photo; none augments without looking.
    pub keep: Option<f32>,
    /// Mix each photo of a batch with another, by a share from Beta(mixup, mixup); 0 does not.
    pub mixup: f32,
    /// Paste a rectangle of another photo of the batch into each, of a share from Beta(cutmix, cutmix); 0 does not. With
    /// mixup beside it, each batch is given one of the two, as often as the other.
    pub cutmix: f32,
}

impl Default for Augment {
    /// Nothing is changed.
    fn default() -> Self {
        Self {
            crop: 1.0,
            crop_ratio: 4.0 / 3.0,
            flip: false,
            vertical_flip: false,
            rotation: 0.0,
            auto: AutoAugment::None,
            jitter: 0.0,
            hue: 0.0,
            grayscale: 0.0,
            erasing: 0.0,
            keep: None,
            mixup: 0.0,
            cutmix: 0.0,
        }
    }
}

/// A changed photo at the recipe's size.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Augmented {
    /// `height * width * 3` bytes, row by row, red green blue.
    pub rgb: Vec<u8>,
    /// What is important in it now.
    pub saliency: Option<Saliency>,
}

impl Augment {
    /// Whether parts of photos are cut out.
    pub fn crops(&self) -> bool {
        self.crop < 1.0
    }

    /// What must be kept of a photo for [`Augment::apply`]: the photo at the recipe's size, or, where parts are cut out, the
    /// photo scaled so that its short side is at most twice the recipe's long side.
    ///
    /// A part of the scaled photo differs a little from the same part of the original, which torchvision cuts: it went
    /// through two resizes, and where it is less than a quarter of the photo it is blurred as a photo half as sharp.
    pub fn prepare(&self, photo: Photo, recipe: &Recipe) -> Photo {
        if !self.crops() {
            let (width, height, truncated) = (recipe.width, recipe.height, photo.truncated);
            return Photo { width, height, rgb: recipe.apply(&photo), truncated };
        }
        let (short, most) = (photo.width.min(photo.height), ROOM * recipe.width.max(recipe.height));
        if short <= most {
            return photo;
        }
        let side = |pixels: usize| (pixels as f64 * most as f64 / short as f64).round() as usize;
        let (width, height) = (side(photo.width), side(photo.height));
        let rgb = resize_bilinear(&photo.rgb, photo.width, photo.height, width, height);
        Photo { width, height, rgb, truncated: photo.truncated }
    }

    /// Bytes that a prepared photo takes, about: of those that are cropped, a photo of 16:9.
    pub fn kept_bytes(&self, recipe: &Recipe) -> usize {
        let long = ROOM * recipe.width.max(recipe.height);
        let pixels = if self.crops() { long * long * 16 / 9 } else { recipe.width * recipe.height };
        pixels * 3
    }

    /// How a photo becomes the picture, of at most `size` pixels a side, that a [`Saliency`] is made of: small, and showing
    /// what [`Augment::prepare`] keeps.
    pub fn saliency_recipe(&self, recipe: &Recipe, size: usize) -> Recipe {
        let long = recipe.width.max(recipe.height);
        let small = |side: usize| (side * size.min(long)).div_ceil(long);
        let resize = match recipe.resize {
            _ if self.crops() => Resize::Squash,
            Resize::CentreCrop { short_side } => Resize::CentreCrop { short_side: small(short_side) },
            other => other,
        };
        Recipe { width: small(recipe.width), height: small(recipe.height), resize, ..recipe.clone() }
    }

    /// Changes a photo that was prepared: crop, flips, rotation, drawn operations, jitter, gray, erasing, in this order.
    ///
    /// Each change draws its numbers whether or not they change anything, but only if it is switched on. With a saliency
    /// and [`Augment::keep`], crops and rectangles are drawn again until they spare what is important, and half of the
    /// picture's width and height, around something important, is put back as it was after rotation and drawn operations.
    pub fn apply(
        &self,
        photo: Photo,
        recipe: &Recipe,
        saliency: Option<&Saliency>,
        random: &mut Random,
    ) -> Augmented {
        let (width, height) = (recipe.width, recipe.height);
        let keep = self.keep.zip(saliency);
        let mut saliency = keep.map(|(_, saliency)| saliency.clone());
        let mut rgb = if self.crops() {
            let size = (photo.width, photo.height);
            let mut draw = || Some(Area::crop(size.0, size.1, self.crop, self.crop_ratio, random));
            let area = match keep {
                Some((share, saliency)) => Importance::new(saliency, share, size.0, size.1).to_keep(draw),
                None => draw(),
            };
            // There is always a draw.
            let area = area.unwrap_or(Area { left: 0, top: 0, width: size.0, height: size.1 });
            saliency = saliency.map(|saliency| saliency.part(area, size.0, size.1));
            let mut rgb = cut(&photo, area, width, height);
            if recipe.colour == Colour::Grayscale {
                colour::grayscale(&mut rgb);
            }
            rgb
        } else {
            photo.rgb
        };
        if self.flip && random.uniform() < 0.5 {
            geometry::flip(&mut rgb, width);
            saliency = saliency.map(|saliency| saliency.flipped());
        }
        if self.vertical_flip && random.uniform() < 0.5 {
            geometry::vertical_flip(&mut rgb, width);
            saliency = saliency.map(|saliency| saliency.vertically_flipped());
        }
        let importance = self
            .keep
            .zip(saliency.as_ref())
            .map(|(share, saliency)| Importance::new(saliency, share, width, height));
        let distorted = self.rotation > 0.0 || self.auto != AutoAugment::None;
        let before = (distorted && importance.is_some()).then(|| rgb.clone());
        if self.rotation > 0.0 {
            let angle = f64::from(self.rotation) * (2.0 * f64::from(random.uniform()) - 1.0);
            rgb = geometry::rotate(&rgb, width, height, angle);
        }
        self.auto.apply(&mut rgb, width, height, random);
        if let Some((before, importance)) = before.zip(importance.as_ref())
            && let Some(area) = importance.to_keep(|| Some(half(width, height, random)))
        {
            area.rows(width).for_each(|row| rgb[row.clone()].copy_from_slice(&before[row]));
        }
        self.change_colours(&mut rgb, random);
        if self.erasing > 0.0 && random.uniform() < self.erasing {
            let mut draw = || Area::erased(width, height, random);
            let area = match &importance {
                Some(importance) => importance.to_cut(draw),
                None => draw(),
            };
            let mean = recipe.mean.map(|mean| (mean * 255.0).round() as u8);
            for row in area.into_iter().flat_map(|area| area.rows(width)) {
                rgb[row].as_chunks_mut::<3>().0.fill(mean);
            }
        }
        Augmented { rgb, saliency }
    }

    /// Jitter, hue and gray.
    fn change_colours(&self, rgb: &mut [u8], random: &mut Random) {
        let jitter = (self.jitter > 0.0).then_some([
            colour::brightness as fn(&mut [u8], f32),
            colour::contrast,
            colour::saturation,
        ]);
        let hue = (self.hue > 0.0).then_some(colour::hue as fn(&mut [u8], f32));
        let mut order: Vec<_> = jitter.into_iter().flatten().map(|change| (change, false)).collect();
        order.extend(hue.map(|change| (change, true)));
        random.shuffle(&mut order);
        for (change, is_hue) in order {
            let (low, high) = match is_hue {
                true => (-self.hue, self.hue),
                false => ((1.0 - self.jitter).max(0.0), 1.0 + self.jitter),
            };
            change(rgb, low + (high - low) * random.uniform());
        }
        if self.grayscale > 0.0 && random.uniform() < self.grayscale {
            colour::grayscale(rgb);
        }
    }
}

/// A part of a photo, resized.
fn cut(photo: &Photo, area: Area, width: usize, height: usize) -> Vec<u8> {
    let part: Vec<u8> = area.rows(photo.width).flat_map(|row| &photo.rgb[row]).copied().collect();
    resize_bilinear(&part, area.width, area.height, width, height)
}

#[cfg(test)]
mod tests;
