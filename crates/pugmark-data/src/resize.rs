//! Antialiased bilinear resizing as Pillow does it.

/// Resizes 8-bit RGB (`h * w * 3` bytes, row by row) as Pillow's `BILINEAR` does.
pub fn resize_bilinear(_rgb: &[u8], _w: usize, _h: usize, to_w: usize, to_h: usize) -> Vec<u8> {
    vec![0; to_h * to_w * 3]
}
