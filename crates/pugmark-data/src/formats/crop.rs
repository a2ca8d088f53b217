//! Boxes: as rectangles of pixels to cut out, and from pixels.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Annotation, Area, LabelledPhoto};
use crate::dataset::{Note, counted};
use crate::photo::{Photo, PhotoError};

/// A part of a photo to cut out: a box and some of what is around it.
#[derive(Serialize, Deserialize, Clone, Copy, PartialEq, Debug)]
pub struct CropBox {
    /// The box.
    pub area: Area,
    /// What is added on each side, in shares of the box's longer side (in pixels).
    pub margin: f64,
}

/// A rectangle of pixels, at least one wide and high, within its photo.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pixels {
    /// Left column.
    pub x: u32,
    /// Upper row.
    pub y: u32,
    /// Columns.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

impl Annotation {
    /// What to cut out of the photo to see this alone; none for what is said of the whole photo.
    pub fn crop(&self, margin: f64) -> Option<CropBox> {
        self.area.map(|area| CropBox { area, margin })
    }
}

impl CropBox {
    /// The rectangle in a photo of `width` by `height` pixels, as it is seen (after EXIF orientation): rounded outwards
    /// and cut at the photo's edges. None for a photo without pixels, and for boxes that are not in it.
    pub fn pixels(&self, width: u32, height: u32) -> Option<Pixels> {
        let (columns, rows) = (f64::from(width), f64::from(height));
        let Area { x, y, width: box_width, height: box_height } = self.area;
        let margin = self.margin.max(0.0) * (box_width * columns).max(box_height * rows);
        let (left, right) = span(x, box_width, columns, margin)?;
        let (top, bottom) = span(y, box_height, rows, margin)?;
        Some(Pixels { x: left, y: top, width: right - left, height: bottom - top })
    }
}

impl CropBox {
    /// This part of a photo.
    ///
    /// # Errors
    /// [`PhotoError::NoPixels`] if nothing of it is in the photo.
    pub fn cut(&self, photo: &Photo) -> Result<Photo, PhotoError> {
        let (columns, rows) = (photo.width as u32, photo.height as u32);
        let Pixels { x, y, width, height } = self.pixels(columns, rows).ok_or(PhotoError::NoPixels)?;
        let (x, width) = (x as usize * 3, width as usize);
        let lines = photo.rgb.chunks_exact(photo.width * 3).skip(y as usize).take(height as usize);
        let rgb = lines.flat_map(|line| &line[x..x + width * 3]).copied().collect();
        Ok(Photo { width, height: height as usize, rgb, truncated: photo.truncated })
    }
}

/// From and to, in whole pixels of an axis that is `length` long.
fn span(start: f64, size: f64, length: f64, margin: f64) -> Option<(u32, u32)> {
    // 0.1 * 1000 is a little more than 100: a thousandth of a pixel is no pixel.
    const SLACK: f64 = 1e-3;
    let from = (start * length - margin + SLACK).floor().clamp(0.0, length);
    let to = ((start + size) * length + margin - SLACK).ceil().clamp(0.0, length);
    (to > from && size >= 0.0).then_some((from as u32, to as u32))
}

/// Turns boxes in pixels into shares; looks up the size of photos that the file does not say.
pub(super) struct PhotoSizes {
    folder: PathBuf,
    lost: Vec<String>,
}

impl PhotoSizes {
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), lost: Vec::new() }
    }

    /// Width and height from the photo's header, where it is there and can be read.
    pub(super) fn of(&self, id: &str) -> Option<(u32, u32)> {
        image::image_dimensions(self.folder.join(id)).ok()
    }

    /// A box in pixels of a photo; none, and remembered, where the size is not known.
    pub(super) fn relative(&mut self, photo: &LabelledPhoto, pixels: Area) -> Option<Area> {
        let Some((width, height)) = photo.size else {
            self.lost.push(photo.id.clone());
            return None;
        };
        let (width, height) = (f64::from(width), f64::from(height));
        let Area { x, y, width: columns, height: rows } = pixels;
        Some(Area { x: x / width, y: y / height, width: columns / width, height: rows / height })
    }

    /// Says which boxes were lost.
    pub(super) fn note(self) -> Option<Note> {
        let count = self.lost.len();
        let text = format!(
            "the box is left out, the size of its photo not being known: {}",
            counted(count, "annotation")
        );
        (count > 0).then_some(Note { text, items: self.lost })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boxes_become_pixels() {
        let cases = [
            // x, y, width, height, margin, photo; expected left, top, columns, rows.
            ((0.1, 0.2, 0.3, 0.4, 0.0), (1000, 500), Some((100, 100, 300, 200))),
            // The longer side is 300 pixels: 30 on each side.
            ((0.1, 0.2, 0.3, 0.4, 0.1), (1000, 500), Some((70, 70, 360, 260))),
            // Cut at the edges.
            ((0.0, 0.0, 1.0, 1.0, 0.5), (40, 30), Some((0, 0, 40, 30))),
            ((0.9, 0.9, 0.2, 0.2, 0.0), (100, 100), Some((90, 90, 10, 10))),
            ((-0.1, 0.0, 0.2, 1.0, 0.0), (100, 100), Some((0, 0, 10, 100))),
            // Rounded outwards; a box smaller than a pixel is one.
            ((0.105, 0.5, 0.2, 0.001, 0.0), (100, 100), Some((10, 50, 21, 1))),
            // Nothing of it is in the photo.
            ((1.2, 0.0, 0.1, 0.1, 0.0), (100, 100), None),
            ((0.5, 0.5, -0.2, 0.1, 0.0), (100, 100), None),
            ((f64::NAN, 0.5, 0.2, 0.1, 0.0), (100, 100), None),
            ((0.0, 0.0, 1.0, 1.0, 0.0), (0, 0), None),
        ];
        for ((x, y, width, height, margin), (columns, rows), expected) in cases {
            let said = Annotation { area: Some(Area { x, y, width, height }), ..Annotation::default() };
            let crop = said.crop(margin).unwrap();
            let found = crop.pixels(columns, rows).map(|found| (found.x, found.y, found.width, found.height));
            assert_eq!(found, expected, "{crop:?}");
        }
    }

    #[test]
    fn a_cut_has_the_pixels_of_its_box() {
        let rgb: Vec<u8> = (0..10 * 8).flat_map(|at| [at % 10, at / 10, 7]).collect();
        let photo = Photo { width: 10, height: 8, rgb, truncated: true };
        let crop = |x, y| CropBox { area: Area { x, y, width: 0.3, height: 0.25 }, margin: 0.0 };
        let cut = crop(0.2, 0.5).cut(&photo).unwrap();
        assert_eq!((cut.width, cut.height, cut.truncated), (3, 2, true));
        let expected = [(2, 4), (3, 4), (4, 4), (2, 5), (3, 5), (4, 5)].map(|(x, y)| [x, y, 7]);
        assert_eq!(cut.rgb, expected.concat());
        assert!(matches!(crop(1.5, 0.5).cut(&photo), Err(PhotoError::NoPixels)));
    }
}
