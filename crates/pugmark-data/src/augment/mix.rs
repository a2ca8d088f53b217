//! mixup (arXiv 1710.09412) and CutMix (arXiv 1905.04899): photos of a batch become two photos each.

use super::Augment;
use super::area::Area;
use super::keep::{Importance, Saliency};
use crate::random::Random;

/// What is in the photos of a batch besides their own class.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Mixed {
    /// The class of the other photo in each, `u32::MAX` where it is unknown.
    pub labels: Vec<u32>,
    /// The share of the photo's own class, in [0, 1]; the other class has the rest.
    pub share: Vec<f32>,
}

/// Mixes each photo of a batch with the one before it, the first with the last, as torchvision does; none where there is
/// nothing to mix. `pixels` are `labels.len()` pictures of `width` x `height` pixels.
///
/// The share is drawn once a batch. mixup blends in 8 bits, rounded: half a level at most is lost. CutMix pastes a
/// rectangle round a uniform centre, cut where it leaves the picture, which makes the share of what is left of the photo
/// larger; its place is drawn for each photo. With [`Augment::keep`] and a saliency of the photo it is drawn again until it
/// covers nothing important.
pub(crate) fn mix(
    augment: &Augment,
    (width, height): (usize, usize),
    pixels: &mut [u8],
    labels: &[u32],
    saliency: &[Option<Saliency>],
    random: &mut Random,
) -> Option<Mixed> {
    let (mixup, cutmix) = (augment.mixup > 0.0, augment.cutmix > 0.0);
    if !(mixup || cutmix) || labels.is_empty() {
        return None;
    }
    // Always drawn, so that one of the two alone gives what it would give beside the other.
    let heads = random.below(2) == 0;
    let blends = mixup && (!cutmix || heads);
    let alpha = if blends { augment.mixup } else { augment.cutmix };
    let share = beta(alpha.into(), random);
    let len = pixels.len() / labels.len();
    let mut others = labels.to_vec();
    others.rotate_right(1);
    let last = pixels[pixels.len() - len..].to_vec();
    // From the end, so that the one before is still as it was.
    let mut shares = vec![0.0; labels.len()];
    for photo in (0..labels.len()).rev() {
        let (before, own) = pixels[..(photo + 1) * len].split_at_mut(photo * len);
        let other = if photo == 0 { &last } else { &before[(photo - 1) * len..] };
        shares[photo] = if blends {
            blend(own, other, share)
        } else {
            let mut draw = || Some(pasted(width, height, share, random));
            let area = match augment.keep.zip(saliency[photo].as_ref()) {
                Some((keep, saliency)) => Importance::new(saliency, keep, width, height).to_cut(draw),
                None => draw(),
            };
            area.map_or(1.0, |area| paste(own, other, area, width))
        };
    }
    Some(Mixed { labels: others, share: shares })
}

/// `share` of `own` and the rest of `other`; returns the share to the bit.
fn blend(own: &mut [u8], other: &[u8], share: f64) -> f32 {
    const ONE: u32 = 1 << 16;
    let weight = (share * f64::from(ONE)).round() as u32;
    for (own, &other) in own.iter_mut().zip(other) {
        *own = ((u32::from(*own) * weight + u32::from(other) * (ONE - weight) + ONE / 2) / ONE) as u8;
    }
    weight as f32 / ONE as f32
}

/// torchvision's rectangle: sides of the root of `1 - share`, halved and cut to whole pixels, round a centre that is uniform
/// over the picture.
fn pasted(width: usize, height: usize, share: f64, random: &mut Random) -> Area {
    let (x, y) = (random.below(width), random.below(height));
    let half = |side: usize| (0.5 * (1.0 - share).sqrt() * side as f64) as usize;
    let span = |centre: usize, half: usize, side: usize| {
        let first = centre.saturating_sub(half);
        (first, (centre + half).min(side) - first)
    };
    let ((left, w), (top, h)) = (span(x, half(width), width), span(y, half(height), height));
    Area { left, top, width: w, height: h }
}

/// Pastes a part of `other` into `own`; returns the share that is left of `own`.
fn paste(own: &mut [u8], other: &[u8], area: Area, width: usize) -> f32 {
    area.rows(width).for_each(|row| own[row.clone()].copy_from_slice(&other[row]));
    1.0 - (area.width * area.height * 3) as f32 / own.len() as f32
}

/// Beta(alpha, alpha) from two gamma numbers.
fn beta(alpha: f64, random: &mut Random) -> f64 {
    let (a, b) = (gamma(alpha, random), gamma(alpha, random));
    if a + b > 0.0 {
        a / (a + b)
    } else {
        // A tiny alpha, whose numbers are all but 0 or 1.
        random.below(2) as f64
    }
}

/// Gamma(shape, 1): Marsaglia and Tsang, "A simple method for generating gamma variables" (2000), with their power of a
/// uniform number for shapes below 1.
fn gamma(shape: f64, random: &mut Random) -> f64 {
    if shape < 1.0 {
        // In (0, 1].
        let uniform = 1.0 - f64::from(random.uniform());
        return gamma(shape + 1.0, random) * uniform.powf(1.0 / shape);
    }
    let d = shape - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    loop {
        let x = f64::from(random.normal());
        let v = (1.0 + c * x).powi(3);
        let uniform = 1.0 - f64::from(random.uniform());
        if v > 0.0 && uniform.ln() < 0.5 * x * x + d - d * v + d * v.ln() {
            return d * v;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: (usize, usize) = (8, 6);
    const LEN: usize = 8 * 6 * 3;

    /// Photos of one value each.
    fn batch(photos: usize) -> (Vec<u8>, Vec<u32>) {
        let pixels = (0..photos).flat_map(|photo| [(photo * 50) as u8; LEN]).collect();
        (pixels, (0..photos as u32).collect())
    }

    fn mixed(augment: &Augment, photos: usize, draw: u64) -> (Vec<u8>, Mixed) {
        let (mut pixels, labels) = batch(photos);
        let random = &mut Random::new(7, draw, "batch");
        let mixed = mix(augment, SIZE, &mut pixels, &labels, &vec![None; photos], random).unwrap();
        (pixels, mixed)
    }

    #[test]
    fn beta_and_gamma_have_their_moments() {
        let mut random = Random::new(0, 0, "beta");
        let count = 40_000;
        for alpha in [0.1, 0.2, 0.8, 1.0, 4.0] {
            let moments = |draw: &mut dyn FnMut() -> f64| {
                let values: Vec<f64> = (0..count).map(|_| draw()).collect();
                let mean = values.iter().sum::<f64>() / f64::from(count);
                (mean, values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / f64::from(count))
            };
            let (mean, variance) = moments(&mut || beta(alpha, &mut random));
            let expected = 1.0 / (4.0 * (2.0 * alpha + 1.0));
            // Five standard errors of a mean; a variance in [0, 1/4] has an error of at most 1/4 of the root of the count.
            assert!((mean - 0.5).abs() < 5.0 * (expected / f64::from(count)).sqrt(), "{alpha}: {mean}");
            assert!((variance - expected).abs() < 0.0063, "{alpha}: {variance} for {expected}");
            let (mean, variance) = moments(&mut || gamma(alpha, &mut random));
            assert!((mean - alpha).abs() < 5.0 * (alpha / f64::from(count)).sqrt(), "gamma {alpha}: {mean}");
            // The variance's own: (6 / alpha + 2) alpha^2 over the count.
            let error = ((6.0 / alpha + 2.0) / f64::from(count)).sqrt() * alpha;
            assert!((variance - alpha).abs() < 5.0 * error, "gamma {alpha}: {variance}");
        }
        // A uniform share: as many in each tenth, within five standard deviations of a binomial.
        let mut tenths = [0_i32; 10];
        (0..count).for_each(|_| tenths[(beta(1.0, &mut random) * 10.0) as usize] += 1);
        assert!(tenths.iter().all(|n| (n - 4000).abs() < 300), "{tenths:?}");
        assert!((0..100).all(|_| (0.0..=1.0).contains(&beta(1e-4, &mut random))));
    }

    #[test]
    fn mixup_blends_by_its_share() {
        let augment = Augment { mixup: 0.8, ..Augment::default() };
        for draw in 0..50 {
            let (pixels, Mixed { labels, share }) = mixed(&augment, 4, draw);
            assert_eq!(labels, [3, 0, 1, 2]);
            assert!(share.iter().all(|&s| s == share[0] && (0.0..=1.0).contains(&s)));
            for (photo, values) in pixels.chunks(LEN).enumerate() {
                let (own, other) = (photo as f64 * 50.0, f64::from(labels[photo]) * 50.0);
                let exact = f64::from(share[0]) * own + (1.0 - f64::from(share[0])) * other;
                assert!(values.iter().all(|&v| (f64::from(v) - exact).abs() <= 0.5 + 1e-6), "{exact}");
            }
        }
    }

    #[test]
    fn cutmix_pastes_what_it_says() {
        let augment = Augment { cutmix: 1.0, ..Augment::default() };
        let mut shares = Vec::new();
        for draw in 0..50 {
            let (pixels, Mixed { labels, share }) = mixed(&augment, 3, draw);
            for (photo, values) in pixels.chunks(LEN).enumerate() {
                let (own, other) = (photo as u8 * 50, labels[photo] as u8 * 50);
                let left = values.iter().filter(|&&value| value == own).count();
                let pasted = values.iter().filter(|&&value| value == other).count();
                assert_eq!(left + pasted, LEN);
                assert!((share[photo] - left as f32 / LEN as f32).abs() < 1e-6);
                let columns = |row: usize| {
                    let row = &values[row * 24..][..24];
                    (row.iter().position(|&v| v == other), row.iter().rposition(|&v| v == other))
                };
                let spans: Vec<_> = (0..6).map(columns).filter(|span| span.0.is_some()).collect();
                assert!(spans.iter().all(|span| *span == spans[0]), "one rectangle");
            }
            shares.extend(share);
        }
        assert!(shares.iter().any(|&s| s < 0.7) && shares.iter().any(|&s| s > 0.8));
    }

    #[test]
    fn both_together_take_turns_by_a_coin() {
        let augment = Augment { mixup: 0.2, cutmix: 1.0, ..Augment::default() };
        let alone = Augment { cutmix: 0.0, ..augment };
        let blends = (0..1000).filter(|&draw| mixed(&augment, 2, draw) == mixed(&alone, 2, draw)).count();
        // Four standard deviations of 1000 fair throws.
        assert!((437..=563).contains(&blends), "{blends} of 1000");
    }

    #[test]
    fn nothing_to_mix() {
        let off = Augment::default();
        let (mut pixels, labels) = batch(2);
        assert_eq!(mix(&off, SIZE, &mut pixels, &labels, &[None, None], &mut Random::new(0, 0, "")), None);
        let on = Augment { mixup: 1.0, ..off };
        assert_eq!(mix(&on, SIZE, &mut [], &[], &[], &mut Random::new(0, 0, "")), None);
        // A batch of one is mixed with itself.
        let (pixels, Mixed { labels, .. }) = mixed(&on, 1, 0);
        assert_eq!((pixels, labels), (vec![0; LEN], vec![0]));
    }

    #[test]
    fn cutmix_covers_nothing_important() {
        let (width, height) = (64, 64);
        let mut cells = [0.0; 256];
        cells[5 * 16 + 9] = 1.0;
        let saliency = Saliency::new(&cells);
        let len = width * height * 3;
        let spot = (22 * width + 38) * 3;
        let covered = |keep: Option<f32>| {
            let augment = Augment { cutmix: 1.0, keep, ..Augment::default() };
            let covered = |draw: &u64| {
                let mut pixels: Vec<u8> = [vec![0; len], vec![200; len]].concat();
                let (size, random) = ((width, height), &mut Random::new(1, *draw, "batch"));
                let saliency = [saliency.clone(), None];
                let mixed = mix(&augment, size, &mut pixels, &[0, 1], &saliency, random).unwrap();
                // A rectangle as large as most of the picture can't but cover it.
                mixed.share[0] > 0.75 && pixels[spot] == 200
            };
            (0..1000).filter(covered).count()
        };
        let (plain, kept) = (covered(None), covered(Some(0.6)));
        assert!(plain > 30 && kept < plain / 4, "{kept} with care, {plain} without");
    }
}
