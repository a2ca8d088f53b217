//! How a camera records a scene: daylight or infrared flash, tint, noise, info bar, JPEG with a time.

use std::io;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pugmark_data::Random;

use super::canvas::{Canvas, Rgb, cell, noise};

/// Year, month, day, hour, minute, second, by the camera's clock.
pub(super) type Clock = [u32; 6];

/// A camera where it hangs.
pub(super) struct Camera {
    tint: Rgb,
    contrast: f32,
    exposure: f32,
    /// The light that falls through the leaves, over a wider picture: the sun moves along it.
    flecks: Vec<f32>,
    /// Where the flash points, in picture widths, and how bright it is.
    flash: [f32; 2],
    style: usize,
}

/// How far the sun's flecks move in a day, in pixels.
const SUN_PATH: usize = 256;

/// What differs from one trigger to the next.
pub(super) struct Moment {
    pub(super) clock: Clock,
    pub(super) night: bool,
    /// Brightness of the day, around 1.
    pub(super) weather: f32,
    pub(super) celsius: u32,
    /// Noise of this frame alone.
    pub(super) grain: u32,
}

impl Camera {
    pub(super) fn new(random: &mut Random, width: usize, height: usize) -> Self {
        let (warmth, seed) = (random.uniform() - 0.5, random.next_u64() as u32);
        let strength = 1.5 * random.uniform().powi(2);
        let wide = width + SUN_PATH;
        let fleck = |index: usize| {
            let (x, y) = ((index % wide) as f32, (index / wide) as f32);
            strength * ((noise(x / 19.0, y / 12.0, seed, 3) - 0.58) * 9.0).clamp(0.0, 1.0)
        };
        Self {
            tint: [1.0 + 0.22 * warmth, 1.0 + 0.12 * (random.uniform() - 0.5), 1.0 - 0.26 * warmth],
            contrast: 0.85 + 0.35 * random.uniform(),
            exposure: 1.15 + 0.6 * random.uniform(),
            flecks: (0..wide * height).map(fleck).collect(),
            flash: [0.3 + 0.4 * random.uniform(), 0.7 + 0.7 * random.uniform()],
            style: random.below(3),
        }
    }

    /// The pixels of one frame, three bytes each, row by row.
    pub(super) fn expose(&self, scene: &Canvas, horizon: f32, moment: &Moment) -> Vec<u8> {
        let (w, h) = (scene.width as f32, scene.height as f32);
        let minutes = moment.clock[3] * 60 + moment.clock[4];
        // Warm and dim at both ends of the day, other flecks by the hour.
        let height = (1.0 - ((minutes as f32 - 750.0) / 420.0).powi(2)).clamp(0.0, 1.0);
        let gain = self.exposure * moment.weather;
        let sun = [
            gain * self.tint[0],
            gain * self.tint[1] * (0.9 + 0.1 * height),
            gain * self.tint[2] * (0.78 + 0.22 * height),
        ];
        let path = minutes as usize * SUN_PATH / 1440;
        // The flash is a cone and fades with the square of the distance.
        let beam = |x: usize| self.flash[1] * (-2.2 * (x as f32 / w - self.flash[0]).powi(2)).exp();
        let beam: Vec<f32> = (0..scene.width).map(beam).collect();
        let mut pixels = Vec::with_capacity(scene.rgb.len() * 3);
        for y in 0..scene.height {
            let flecks = &self.flecks[y * (scene.width + SUN_PATH) + path..];
            for x in 0..scene.width {
                let index = y * scene.width + x;
                let colour = scene.rgb[index];
                let corner = 1.0 - 0.9 * ((x as f32 / w - 0.5).powi(2) + (y as f32 / h - 0.5).powi(2));
                let grain = cell(index as i32, 1, moment.grain) + cell(index as i32, 2, moment.grain) - 1.0;
                let seen = if moment.night {
                    // Leaves and fur are bright in infrared.
                    let grey = 0.35 * colour[0] + 0.55 * colour[1] + 0.10 * colour[2];
                    let near = ((scene.base[index] - horizon) / (h - horizon)).clamp(0.0, 1.0);
                    let light = beam[x] * (0.10 + 1.5 * near) / (0.55 + near);
                    [grey * 1.9 * light + 0.05 * grain + 0.02; 3]
                } else {
                    let light = 0.72 + height * (0.2 + flecks[x]);
                    std::array::from_fn(|c| colour[c] * sun[c] * light + 0.025 * grain)
                };
                pixels.extend(seen.map(|value| (255.0 * curve(value * corner, self.contrast)) as u8));
            }
        }
        self.stamp(&mut pixels, scene.width, moment);
        pixels
    }

    /// The info bar: time on the left, temperature on the right.
    fn stamp(&self, pixels: &mut [u8], width: usize, moment: &Moment) {
        const BAR: usize = 14;
        let rows = pixels.len() / 3 / width;
        let [paper, ink] = [[8, 235], [240, 20], [0, 250]][self.style];
        // The third make writes on the picture itself.
        if self.style < 2 {
            pixels[(rows - BAR) * width * 3..].fill(paper);
        }
        let [year, month, day, hour, minute, second] = moment.clock;
        let time = if self.style == 1 {
            format!("{month:02}/{day:02}/{year} {hour:02}:{minute:02}:{second:02}")
        } else {
            format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
        };
        let temperature = format!("{}C", moment.celsius);
        let right = width.saturating_sub(8 * temperature.len() + 4);
        for (text, left) in [(time, 6), (temperature, right)] {
            for (place, letter) in text.chars().enumerate() {
                let rows_of_letter = glyph(letter);
                for (dy, dx) in (0..10).flat_map(|dy| (0..6).map(move |dx| (dy, dx))) {
                    let (x, y) = (left + 8 * place + dx, rows - BAR + 2 + dy);
                    if rows_of_letter[dy / 2] & (4 >> (dx / 2)) != 0 && x < width {
                        pixels[(y * width + x) * 3..][..3].fill(ink);
                    }
                }
            }
        }
    }
}

/// Contrast around middle grey, with a shoulder instead of hard clipping.
fn curve(value: f32, contrast: f32) -> f32 {
    let value = (0.4 + (value - 0.4) * contrast).max(0.0);
    if value < 0.8 { value } else { 1.0 - 0.2 * (-(value - 0.8) / 0.2).exp() }
}

/// Five rows of three bits.
fn glyph(letter: char) -> [u8; 5] {
    match letter {
        '0' => [7, 5, 5, 5, 7],
        '1' => [2, 6, 2, 2, 7],
        '2' => [7, 1, 7, 4, 7],
        '3' => [7, 1, 3, 1, 7],
        '4' => [5, 5, 7, 1, 1],
        '5' => [7, 4, 7, 1, 7],
        '6' => [7, 4, 7, 5, 7],
        '7' => [7, 1, 2, 2, 2],
        '8' => [7, 5, 7, 5, 7],
        '9' => [7, 5, 7, 1, 7],
        '-' => [0, 0, 7, 0, 0],
        '/' => [1, 1, 2, 4, 4],
        ':' => [0, 2, 0, 2, 0],
        'C' => [7, 4, 4, 4, 7],
        _ => [0; 5],
    }
}

/// A JPEG whose EXIF names the maker and `DateTimeOriginal`.
pub(super) fn jpeg(pixels: &[u8], width: usize, height: usize, clock: Clock) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 82);
    encoder.set_exif_metadata(exif(clock)).map_err(io::Error::other)?;
    encoder
        .write_image(pixels, width as u32, height as u32, ExtendedColorType::Rgb8)
        .map_err(io::Error::other)?;
    Ok(bytes)
}

/// A TIFF structure of two directories (Exif 2.32, section 4.5): Make and the Exif pointer; DateTimeOriginal.
fn exif([year, month, day, hour, minute, second]: Clock) -> Vec<u8> {
    const ASCII: u16 = 2;
    const LONG: u16 = 4;
    let make = b"pugmark demo\0";
    let time = format!("{year}:{month:02}:{day:02} {hour:02}:{minute:02}:{second:02}\0");
    // Offsets: the header takes 8 bytes, a directory 2 + 12 an entry + 4; the texts come last.
    let (second_directory, texts) = (8 + 2 + 24 + 4, 8 + 2 + 24 + 4 + 2 + 12 + 4);
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        [&tag.to_le_bytes()[..], &kind.to_le_bytes(), &count.to_le_bytes(), &value.to_le_bytes()].concat()
    };
    [
        &b"II*\0\x08\0\0\0"[..],
        &2u16.to_le_bytes(),
        &entry(0x010F, ASCII, make.len() as u32, texts),
        &entry(0x8769, LONG, 1, second_directory),
        &[0; 4],
        &1u16.to_le_bytes(),
        &entry(0x9003, ASCII, time.len() as u32, texts + make.len() as u32),
        &[0; 4],
        make,
        time.as_bytes(),
    ]
    .concat()
}
