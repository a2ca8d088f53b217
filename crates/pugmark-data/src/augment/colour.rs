//! What colours become, as Pillow's `ImageEnhance` and `ImageOps` have it. Each takes `rgb`, pixel by pixel.

use crate::recipe::luma;

/// Pillow's `ImageEnhance.Brightness`: between black and the photo.
pub(super) fn brightness(rgb: &mut [u8], factor: f32) {
    look_up(rgb, &[table(|value| blend(0, value, factor)); 3]);
}

/// Pillow's `ImageEnhance.Contrast`: between the photo's mean gray and the photo.
pub(super) fn contrast(rgb: &mut [u8], factor: f32) {
    let total: u64 = rgb.chunks_exact(3).map(|pixel| u64::from(luma(pixel))).sum();
    let mean = (total as f64 / (rgb.len() / 3) as f64 + 0.5) as u8;
    look_up(rgb, &[table(|value| blend(mean, value, factor)); 3]);
}

/// Pillow's `ImageEnhance.Color`: between the gray photo and the photo.
pub(super) fn saturation(rgb: &mut [u8], factor: f32) {
    for pixel in rgb.chunks_exact_mut(3) {
        let gray = luma(pixel);
        for sample in pixel {
            *sample = blend(gray, *sample, factor);
        }
    }
}

/// Pillow's `ImageEnhance.Sharpness`: between the photo smoothed by [1 1 1; 1 5 1; 1 1 1] / 13 and the photo. The outermost
/// pixels are not smoothed.
pub(super) fn sharpness(rgb: &mut [u8], width: usize, factor: f32) {
    let pitch = width * 3;
    let original = rgb.to_vec();
    if width < 3 || original.len() / pitch < 3 {
        return;
    }
    let rows = original.windows(3 * pitch).step_by(pitch);
    for (rows, out) in rows.zip(rgb.chunks_exact_mut(pitch).skip(1)) {
        let (above, rest) = rows.split_at(pitch);
        let (row, below) = rest.split_at(pitch);
        let columns = |values: &[u8], at: usize| {
            u16::from(values[at - 3]) + u16::from(values[at]) + u16::from(values[at + 3])
        };
        for at in 3..pitch - 3 {
            let sum = columns(above, at) + columns(row, at) + columns(below, at) + 4 * u16::from(row[at]);
            // Never at a half: 13 is odd.
            out[at] = blend(((2 * sum + 13) / 26) as u8, row[at], factor);
        }
    }
}

/// torchvision's `adjust_hue` on a Pillow image: turns the hue by `factor` of the circle in Pillow's 8-bit HSV.
pub(super) fn hue(rgb: &mut [u8], factor: f32) {
    // Cut towards zero, then modulo 256.
    let turn = (f64::from(factor) * 255.0) as i32 as u8;
    // For each hue as it is: the sextant it is turned into, and where within.
    let sextants: [(u8, f32); 256] = std::array::from_fn(|hue| {
        let sextant = f64::from((hue as u8).wrapping_add(turn)) * 6.0 / 255.0;
        (sextant as u8 % 6, (sextant - f64::from(sextant as u8)) as f32)
    });
    let saturations: [f32; 256] = std::array::from_fn(|value| (value as f64 / 255.0) as f32);
    for pixel in rgb.as_chunks_mut::<3>().0 {
        let (hue, saturation, value) = to_hsv(*pixel);
        let (sextant, within) = sextants[usize::from(hue)];
        *pixel = from_hsv(sextant, within, saturations[usize::from(saturation)], value);
    }
}

/// Pillow's `convert("HSV")`, which mixes f32 and f64.
fn to_hsv([red, green, blue]: [u8; 3]) -> (u8, u8, u8) {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most == least {
        return (0, 0, most);
    }
    let range = f32::from(most - least);
    let saturation = range / f32::from(most);
    let below = |colour: u8| f32::from(most - colour) / range;
    let hue = if red == most {
        below(blue) - below(green)
    } else if green == most {
        (2.0 + f64::from(below(red)) - f64::from(below(blue))) as f32
    } else {
        (4.0 + f64::from(below(green)) - f64::from(below(red))) as f32
    };
    // Its fraction; it is below 2.
    let hue = f64::from(hue) / 6.0 + 1.0;
    let hue = (if hue < 1.0 { hue } else { hue - 1.0 }) as f32;
    ((f64::from(hue) * 255.0) as u8, (f64::from(saturation) * 255.0) as u8, most)
}

/// Back to colours; the hue is a sextant of the circle and where within.
fn from_hsv(sextant: u8, within: f32, saturation: f32, value: u8) -> [u8; 3] {
    // Rounded: the cast cuts.
    let less = |share: f64| (f64::from(value) * (1.0 - share) + 0.5) as u8;
    let p = less(f64::from(saturation));
    let q = less(f64::from(saturation * within));
    let t = less(f64::from(saturation) * (1.0 - f64::from(within)));
    match sextant {
        0 => [value, t, p],
        1 => [q, value, p],
        2 => [p, value, t],
        3 => [p, q, value],
        4 => [t, p, value],
        _ => [value, p, q],
    }
}

/// Luma in all three channels.
pub(super) fn grayscale(rgb: &mut [u8]) {
    rgb.chunks_exact_mut(3).for_each(|pixel| pixel.fill(luma(pixel)));
}

/// Pillow's `ImageOps.posterize`: keeps the highest `bits`, 1 to 8, of each sample.
pub(super) fn posterize(rgb: &mut [u8], bits: u32) {
    let mask = !0_u8 << (8 - bits.clamp(1, 8));
    rgb.iter_mut().for_each(|sample| *sample &= mask);
}

/// Pillow's `ImageOps.solarize`: inverts what is not below the threshold.
pub(super) fn solarize(rgb: &mut [u8], threshold: f64) {
    look_up(rgb, &[table(|value| if f64::from(value) < threshold { value } else { 255 - value }); 3]);
}

/// Pillow's `ImageOps.autocontrast`: stretches each channel from its least and most to 0 and 255.
pub(super) fn autocontrast(rgb: &mut [u8]) {
    let tables = histograms(rgb).map(|counts| {
        let least = counts.iter().position(|&count| count > 0).unwrap_or(0);
        let most = counts.iter().rposition(|&count| count > 0).unwrap_or(0);
        if most <= least {
            return table(|value| value);
        }
        let scale = 255.0 / (most - least) as f64;
        let offset = -(least as f64) * scale;
        table(|value| (f64::from(value) * scale + offset) as u8)
    });
    look_up(rgb, &tables);
}

/// Pillow's `ImageOps.equalize`: each channel's values become as frequent as one another.
pub(super) fn equalize(rgb: &mut [u8]) {
    let tables = histograms(rgb).map(|counts| {
        let last = counts.iter().rfind(|&&count| count > 0).copied().unwrap_or(0);
        let step = (counts.iter().sum::<usize>() - last) / 255;
        if step == 0 {
            return table(|value| value);
        }
        let mut before = step / 2;
        let mut table = [0; 256];
        for (value, count) in table.iter_mut().zip(counts) {
            *value = (before / step).min(255) as u8;
            before += count;
        }
        table
    });
    look_up(rgb, &tables);
}

fn histograms(rgb: &[u8]) -> [[usize; 256]; 3] {
    let mut counts = [[0; 256]; 3];
    for pixel in rgb.as_chunks::<3>().0 {
        for (counts, &sample) in counts.iter_mut().zip(pixel) {
            counts[usize::from(sample)] += 1;
        }
    }
    counts
}

fn table(of: impl Fn(u8) -> u8) -> [u8; 256] {
    std::array::from_fn(|value| of(value as u8))
}

fn look_up(rgb: &mut [u8], tables: &[[u8; 256]; 3]) {
    for pixel in rgb.as_chunks_mut::<3>().0 {
        for (sample, table) in pixel.iter_mut().zip(tables) {
            *sample = table[usize::from(*sample)];
        }
    }
}

/// Pillow's `Image.blend`: `from` at 0, `to` at 1, beyond it above; in f32, cut to whole numbers.
fn blend(from: u8, to: u8, factor: f32) -> u8 {
    // The cast cuts towards zero and saturates.
    (f32::from(from) + factor * (f32::from(to) - f32::from(from))) as u8
}
