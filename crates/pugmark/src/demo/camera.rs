//! How a camera records a scene: daylight or infrared flash, tint, noise, info bar, JPEG with a time.

use std::io;

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};
use pugmark_data::Random;

use super::canvas::{Canvas, Rgb, cell, noise, scale};

/// Year, month, day, hour, minute, second, by the camera's clock.
pub(super) type Clock = [u32; 6];

/// A camera where it hangs.
pub(super) struct Camera {
    tint: Rgb,
    contrast: f32,
    exposure: f32,
    /// How strongly the sun falls through the leaves.
    flecks: f32,
    /// Where the flash points, in picture widths, and how bright it is.
    flash: [f32; 2],
    style: usize,
    seed: u32,
}

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
    pub(super) fn new(random: &mut Random) -> Self {
        let warmth = random.uniform() - 0.5;
        Self {
            tint: [1.0 + 0.22 * warmth, 1.0 + 0.12 * (random.uniform() - 0.5), 1.0 - 0.26 * warmth],
            contrast: 0.85 + 0.45 * random.uniform(),
            exposure: 0.85 + 0.5 * random.uniform(),
            flecks: random.uniform().powi(2) * 1.6,
            flash: [0.3 + 0.4 * random.uniform(), 0.7 + 0.8 * random.uniform()],
            style: random.below(3),
            seed: random.next_u64() as u32,
        }
    }

    /// The pixels of one frame, three bytes each, row by row.
    pub(super) fn expose(&self, scene: &Canvas, horizon: f32, moment: &Moment) -> Vec<u8> {
        let (w, h) = (scene.width as f32, scene.height as f32);
        let minutes = (moment.clock[3] * 60 + moment.clock[4]) as f32;
        // The sun moves on: other flecks by the hour, warm and dim at both ends of the day.
        let height = (1.0 - ((minutes - 750.0) / 420.0).powi(2)).clamp(0.0, 1.0);
        let sun = [1.0, 0.90 + 0.10 * height, 0.78 + 0.22 * height];
        let mut pixels = Vec::with_capacity(scene.rgb.len() * 3);
        for (index, &colour) in scene.rgb.iter().enumerate() {
            let (x, y) = ((index % scene.width) as f32, (index / scene.width) as f32);
            let corner = ((x / w - 0.5).powi(2) + (y / h - 0.5).powi(2)) * 0.9;
            let grain = cell(index as i32, 1, moment.grain) + cell(index as i32, 2, moment.grain) - 1.0;
            let seen = if moment.night {
                // Leaves and fur are bright in infrared. The flash fades with the square of the distance.
                let grey = 0.35 * colour[0] + 0.55 * colour[1] + 0.10 * colour[2];
                let near = ((scene.base[index] - horizon) / (h - horizon)).clamp(0.0, 1.0);
                let beam = (-2.2 * (x / w - self.flash[0]).powi(2)).exp();
                let light = self.flash[1] * beam * (0.10 + 1.5 * near) / (0.55 + near);
                [grey * 1.9 * light + 0.05 * grain + 0.02; 3]
            } else {
                let fleck = noise(x / 19.0 + minutes * 0.1, y / 12.0, self.seed, 3);
                let light = 0.72 + 0.2 * height + self.flecks * height * ((fleck - 0.58) * 9.0).clamp(0.0, 1.0);
                let gain = light * self.exposure * moment.weather;
                std::array::from_fn(|c| colour[c] * sun[c] * self.tint[c] * gain + 0.025 * grain)
            };
            for value in scale(seen, 1.0 - corner) {
                pixels.push((255.0 * curve(value, self.contrast)) as u8);
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
