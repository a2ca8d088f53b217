//! Turning a photo upright.

use image::metadata::Orientation;

use super::Photo;

/// Pixels a side of a block that is turned at a time: reading down columns of a whole photo would miss the cache at
/// every pixel.
const BLOCK: usize = 32;

/// Applies an EXIF orientation.
pub(super) fn upright(photo: Photo, orientation: Orientation) -> Photo {
    // Where the pixel at (row, column) comes from: whether rows and columns change places, and which are then
    // counted from the far end.
    let (transposed, rows_reversed, columns_reversed) = match orientation {
        Orientation::NoTransforms => return photo,
        Orientation::FlipHorizontal => (false, false, true),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, true, false),
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, true, false),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, false, true),
    };
    let (width, height) = if transposed { (photo.height, photo.width) } else { (photo.width, photo.height) };
    let mut rgb = vec![0; photo.rgb.len()];
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            for y in top..height.min(top + BLOCK) {
                for x in left..width.min(left + BLOCK) {
                    let (mut row, mut column) = if transposed { (x, y) } else { (y, x) };
                    if rows_reversed {
                        row = photo.height - 1 - row;
                    }
                    if columns_reversed {
                        column = photo.width - 1 - column;
                    }
                    let (from, to) = ((row * photo.width + column) * 3, (y * width + x) * 3);
                    rgb[to..to + 3].copy_from_slice(&photo.rgb[from..from + 3]);
                }
            }
        }
    }
    Photo { width, height, rgb, truncated: photo.truncated }
}

#[cfg(test)]
mod tests {
    use super::{Orientation, Photo, upright};

    #[test]
    fn all_eight_orientations() {
        // 3 x 2 pixels as they lie in the file; what a viewer shows, by the EXIF specification's table.
        let stored = [1, 2, 3, 4, 5, 6];
        let cases: [(u8, usize, [u8; 6]); 8] = [
            (1, 3, [1, 2, 3, 4, 5, 6]),
            (2, 3, [3, 2, 1, 6, 5, 4]),
            (3, 3, [6, 5, 4, 3, 2, 1]),
            (4, 3, [4, 5, 6, 1, 2, 3]),
            (5, 2, [1, 4, 2, 5, 3, 6]),
            (6, 2, [4, 1, 5, 2, 6, 3]),
            (7, 2, [6, 3, 5, 2, 4, 1]),
            (8, 2, [3, 6, 2, 5, 1, 4]),
        ];
        for (exif, width, shown) in cases {
            let rgb = stored.iter().flat_map(|&value| [value; 3]).collect();
            let photo = Photo { width: 3, height: 2, rgb, truncated: false };
            let photo = upright(photo, Orientation::from_exif(exif).unwrap());
            assert_eq!((photo.width, photo.height), (width, 6 / width), "orientation {exif}");
            let got: Vec<u8> = photo.rgb.iter().step_by(3).copied().collect();
            assert_eq!(got, shown, "orientation {exif}");
        }
    }
}
