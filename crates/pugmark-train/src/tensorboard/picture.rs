//! Pictures that are shown: photos of a batch side by side.

use jpeg_encoder::{ColorType, Encoder};
use pugmark_data::resize_bilinear;

/// Photos in a row, and in all.
const ROW: usize = 4;
pub(super) const SHOWN: usize = 16;
/// Photos are shown no larger than this, in pixels a side.
const SIDE: usize = 224;
const QUALITY: u8 = 85;

/// A JPEG with its size.
pub(super) struct Picture {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) jpeg: Vec<u8>,
}

/// Photos of `width` x `height` pixels (RGB, one after the other), in rows; none where there is no photo, or they are too large for
/// a JPEG.
pub(super) fn sheet(pixels: &[u8], width: usize, height: usize) -> Option<Picture> {
    let scale = (SIDE as f64 / width.max(height) as f64).min(1.0);
    let side = |pixels: usize| ((pixels as f64 * scale).round() as usize).max(1);
    let (small_width, small_height) = (side(width), side(height));
    let photos: Vec<&[u8]> = pixels.chunks_exact(width * height * 3).take(SHOWN).collect();
    let columns = photos.len().min(ROW);
    let (sheet_width, sheet_height) = (columns * small_width, photos.len().div_ceil(ROW) * small_height);
    let mut sheet = vec![0; sheet_width * sheet_height * 3];
    for (number, photo) in photos.into_iter().enumerate() {
        let small = resize_bilinear(photo, width, height, small_width, small_height);
        let (left, top) = (number % ROW * small_width, number / ROW * small_height);
        for (row, line) in small.chunks_exact(small_width * 3).enumerate() {
            let start = ((top + row) * sheet_width + left) * 3;
            sheet[start..start + line.len()].copy_from_slice(line);
        }
    }
    let mut jpeg = Vec::new();
    let encoder = Encoder::new(&mut jpeg, QUALITY);
    let (columns, rows) = (u16::try_from(sheet_width).ok()?, u16::try_from(sheet_height).ok()?);
    encoder.encode(&sheet, columns, rows, ColorType::Rgb).ok()?;
    Some(Picture { height: sheet_height, width: sheet_width, jpeg })
}

/// The surest wrong answers of a validation, with their photos.
#[derive(Debug, Default)]
pub(crate) struct Mistakes(Vec<Mistake>);

#[derive(Debug)]
struct Mistake {
    loss: f64,
    truth: usize,
    predicted: usize,
    id: String,
    pixels: Vec<u8>,
}

impl Mistakes {
    /// Adds a photo with its logits and its loss, if it is a mistake and one of the worst.
    pub(crate) fn add(&mut self, logits: &[f32], truth: usize, loss: f64, id: &str, pixels: &[u8]) {
        let better = |best: usize, class: usize| if logits[class] > logits[best] { class } else { best };
        let predicted = (1..logits.len()).fold(0, better);
        let place = self.0.partition_point(|other| other.loss >= loss);
        if predicted == truth || place >= SHOWN || pixels.is_empty() {
            return;
        }
        let (id, pixels) = (id.to_owned(), pixels.to_owned());
        self.0.insert(place, Mistake { loss, truth, predicted, id, pixels });
        self.0.truncate(SHOWN);
    }

    /// All their pixels, the worst first, and what they are in words.
    pub(super) fn show(&self, classes: &[String]) -> (Vec<u8>, String) {
        let line = |mistake: &Mistake| {
            let Mistake { truth, predicted, id, .. } = mistake;
            format!("- {}, taken for {}: `{id}`\n", classes[*truth], classes[*predicted])
        };
        let pixels = self.0.iter().flat_map(|mistake| &mistake.pixels).copied().collect();
        (pixels, self.0.iter().map(line).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn photos_lie_in_rows() {
        // Five photos of 8 x 4 pixels, each of one gray.
        let pixels: Vec<u8> = (0..5_u8).flat_map(|photo| vec![photo * 60; 8 * 4 * 3]).collect();
        let Picture { height, width, jpeg } = sheet(&pixels, 8, 4).unwrap();
        assert_eq!((width, height), (32, 8));
        let decoded = image::load_from_memory(&jpeg).unwrap().into_rgb8();
        assert_eq!(decoded.dimensions(), (32, 8));
        for (x, y, gray) in [(2, 2, 0), (10, 2, 60), (18, 1, 120), (28, 3, 180), (3, 6, 240), (20, 6, 0)] {
            assert!(decoded.get_pixel(x, y).0[0].abs_diff(gray) < 12, "{x}, {y}");
        }
        assert!(sheet(&[], 8, 4).is_none());
    }

    #[test]
    fn the_worst_mistakes_are_kept() {
        let mut mistakes = Mistakes::default();
        for photo in 0..40_u32 {
            let loss = f64::from(photo * 7 % 40);
            let pixels = [photo as u8; 3];
            mistakes.add(&[1.0, 0.0], usize::from(photo != 5), loss, &photo.to_string(), &pixels);
        }
        let (pixels, words) = mistakes.show(&["cat".to_owned(), "dog".to_owned()]);
        assert_eq!(pixels.len(), 3 * SHOWN);
        // 7 * 17 = 2 * 40 + 39.
        assert_eq!(pixels[0], 17);
        assert!(words.starts_with("- dog, taken for cat: `17`\n"), "{words}");
        // The right answer would have come fifth: 7 * 5 = 35.
        assert!(!words.contains("`5`"), "{words}");
    }
}
