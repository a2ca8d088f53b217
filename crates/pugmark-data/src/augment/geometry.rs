//! Where pixels go: flips, and affine changes to the nearest pixel with black where nothing comes from.

/// Mirrors left and right.
pub(super) fn flip(rgb: &mut [u8], width: usize) {
    for row in rgb.chunks_exact_mut(width * 3) {
        row.reverse();
        for pixel in row.chunks_exact_mut(3) {
            pixel.reverse();
        }
    }
}

/// Mirrors top and bottom.
pub(super) fn vertical_flip(rgb: &mut [u8], width: usize) {
    let pitch = width * 3;
    let rows = rgb.len() / pitch;
    let (upper, lower) = rgb.split_at_mut(rows.div_ceil(2) * pitch);
    for (above, below) in upper.chunks_exact_mut(pitch).zip(lower.chunks_exact_mut(pitch).rev()) {
        above.swap_with_slice(below);
    }
}

/// Rotates counter-clockwise by `angle` degrees about the centre: Pillow's `Image.rotate(angle, NEAREST)`.
pub(super) fn rotate(rgb: &[u8], width: usize, height: usize, angle: f64) -> Vec<u8> {
    // Pillow rounds the matrix to 15 digits, so that right angles are exact.
    let round = |value: f64| (value * 1e15).round() / 1e15;
    let (sin, cos) = (-angle.rem_euclid(360.0).to_radians()).sin_cos();
    let [a, b, d, e] = [round(cos), round(sin), round(-sin), round(cos)];
    let (x, y) = (width as f64 / 2.0, height as f64 / 2.0);
    affine(rgb, width, height, [a, b, -a * x - b * y + x, d, e, -d * x - e * y + y])
}

/// Shears along rows: `slope` columns a row, with the top left corner where it is.
pub(super) fn shear_x(rgb: &[u8], width: usize, height: usize, slope: f64) -> Vec<u8> {
    affine(rgb, width, height, [1.0, tangent(slope), 0.0, 0.0, 1.0, 0.0])
}

/// Shears along columns: `slope` rows a column, with the top left corner where it is.
pub(super) fn shear_y(rgb: &[u8], width: usize, height: usize, slope: f64) -> Vec<u8> {
    affine(rgb, width, height, [1.0, 0.0, 0.0, tangent(slope), 1.0, 0.0])
}

/// torchvision turns the slope into degrees and back.
fn tangent(slope: f64) -> f64 {
    slope.atan().to_degrees().to_radians().tan()
}

/// Moves the picture right and down by whole pixels.
pub(super) fn translate(rgb: &[u8], width: usize, height: usize, right: f64, down: f64) -> Vec<u8> {
    affine(rgb, width, height, [1.0, 0.0, -right, 0.0, 1.0, -down])
}

/// Pillow's `Image.transform(AFFINE, NEAREST)`: the pixel at (x, y) comes from (ax + by + c, dx + ey + f), stepped through
/// in 16.16 fixed point.
fn affine(rgb: &[u8], width: usize, height: usize, [a, b, c, d, e, f]: [f64; 6]) -> Vec<u8> {
    let fixed = |value: f64| (value * 65536.0 + 0.5).floor() as i64;
    let mut out = vec![0; rgb.len()];
    let [step_x, step_y] = [fixed(a), fixed(d)];
    for (row, pixels) in out.chunks_exact_mut(width * 3).enumerate() {
        let row = row as i64;
        let mut from_x = fixed(c + a * 0.5 + b * 0.5) + row * fixed(b);
        let mut from_y = fixed(f + d * 0.5 + e * 0.5) + row * fixed(e);
        for pixel in pixels.chunks_exact_mut(3) {
            let inside = |at: i64, size: usize| usize::try_from(at >> 16).ok().filter(|&at| at < size);
            if let (Some(x), Some(y)) = (inside(from_x, width), inside(from_y, height)) {
                let from = (y * width + x) * 3;
                pixel.copy_from_slice(&rgb[from..from + 3]);
            }
            from_x += step_x;
            from_y += step_y;
        }
    }
    out
}
