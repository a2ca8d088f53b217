//! A painter of soft shapes on a picture that remembers where each thing stands.

/// Red, green, blue; 1 is white.
pub(super) type Rgb = [f32; 3];

pub(super) fn mix(a: Rgb, b: Rgb, share: f32) -> Rgb {
    std::array::from_fn(|c| a[c] + (b[c] - a[c]) * share)
}

pub(super) fn scale(colour: Rgb, factor: f32) -> Rgb {
    colour.map(|value| value * factor)
}

/// A uniform number in [0, 1) that belongs to one cell of a grid.
pub(super) fn cell(x: i32, y: i32, seed: u32) -> f32 {
    let mut bits = (x as u32).wrapping_mul(0x9E37_79B1)
        ^ (y as u32).wrapping_mul(0x85EB_CA77)
        ^ seed.wrapping_mul(0xC2B2_AE3D);
    bits = (bits ^ (bits >> 15)).wrapping_mul(0x2C1B_3C6D);
    bits = (bits ^ (bits >> 12)).wrapping_mul(0x297A_2D39);
    ((bits ^ (bits >> 15)) >> 8) as f32 / (1 << 24) as f32
}

/// Smooth noise in [0, 1): values on a unit grid, and `octaves - 1` finer and weaker ones on top.
pub(super) fn noise(x: f32, y: f32, seed: u32, octaves: u32) -> f32 {
    let (mut sum, mut total, mut weight, mut pitch) = (0.0, 0.0, 1.0, 1.0);
    for octave in 0..octaves {
        let (px, py) = (x * pitch, y * pitch);
        // Rounds down without a call; the arguments are small.
        let floor = |v: f32| v as i32 - i32::from(v < 0.0);
        let (ix, iy) = (floor(px), floor(py));
        let ease = |t: f32| t * t * (3.0 - 2.0 * t);
        let (fx, fy) = (ease(px - ix as f32), ease(py - iy as f32));
        let corner = |dx: i32, dy: i32| cell(ix + dx, iy + dy, seed.wrapping_add(octave));
        let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * fx;
        let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * fx;
        sum += weight * (top + (bottom - top) * fy);
        total += weight;
        weight *= 0.5;
        pitch *= 2.1;
    }
    sum / total
}

/// A tapered stroke with round ends: what leaves, trunks and animals are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limb {
    pub(super) from: [f32; 2],
    pub(super) to: [f32; 2],
    pub(super) radii: [f32; 2],
}

/// A point of a figure, as its paint sees it.
pub(super) struct Spot {
    pub(super) x: f32,
    pub(super) y: f32,
    /// Which of the figure's limbs it lies on.
    pub(super) limb: usize,
    /// Where on the limb, from 0 to 1.
    pub(super) along: f32,
    /// How much light the rounded surface takes from above, about 0.4 to 1.1.
    pub(super) light: f32,
}

/// A picture and, for each pixel, the row on which the thing shown there stands: the lower, the nearer.
#[derive(Clone)]
pub(super) struct Canvas {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgb: Vec<Rgb>,
    pub(super) base: Vec<f32>,
}

impl Canvas {
    pub(super) fn new(width: usize, height: usize, pixel: impl Fn(f32, f32) -> Rgb) -> Self {
        let at = |index: usize| ((index % width) as f32, (index / width) as f32);
        let rgb = (0..width * height).map(at).map(|(x, y)| pixel(x, y)).collect();
        let base = (0..width * height).map(|index| at(index).1).collect();
        Self { width, height, rgb, base }
    }

    /// Paints a figure that stands on row `base`; whatever stands lower stays in front of it.
    ///
    /// `blend` rounds the joints between limbs, in pixels; `soft` is the width of the edge: 1 is sharp.
    pub(super) fn figure(
        &mut self,
        limbs: &[Limb],
        base: f32,
        (blend, soft): (f32, f32),
        paint: impl Fn(&Spot) -> Rgb,
    ) {
        let reach = |limb: &Limb| limb.radii[0].max(limb.radii[1]) + soft + blend;
        let low = |axis: usize| {
            limbs.iter().map(|l| l.from[axis].min(l.to[axis]) - reach(l)).fold(f32::MAX, f32::min).max(0.0)
                as usize
        };
        let high = |axis: usize, end: usize| {
            let most = limbs.iter().map(|l| l.from[axis].max(l.to[axis]) + reach(l)).fold(0.0, f32::max);
            (most.ceil() as usize + 1).min(end)
        };
        let (columns, rows) = (low(0)..high(0, self.width), low(1)..high(1, self.height));
        for row in rows {
            for column in columns.clone() {
                let pixel = row * self.width + column;
                if self.base[pixel] > base {
                    continue;
                }
                let (x, y) = (column as f32, row as f32);
                let Some((distance, spot)) = nearest(limbs, x, y, blend) else { continue };
                let cover = (0.5 - distance / soft).clamp(0.0, 1.0);
                if cover > 0.0 {
                    self.rgb[pixel] = mix(self.rgb[pixel], paint(&spot), cover);
                    if cover > 0.5 {
                        self.base[pixel] = base;
                    }
                }
            }
        }
    }

    /// Darkens an ellipse on the ground: a soft shadow.
    pub(super) fn shadow(&mut self, [x, y]: [f32; 2], [across, down]: [f32; 2], strength: f32) {
        let rows = (y - down).max(0.0) as usize..((y + down).max(0.0) as usize + 1).min(self.height);
        let columns = (x - across).max(0.0) as usize..((x + across).max(0.0) as usize + 1).min(self.width);
        for row in rows {
            for column in columns.clone() {
                let pixel = row * self.width + column;
                let far = ((column as f32 - x) / across).powi(2) + ((row as f32 - y) / down).powi(2);
                if self.base[pixel] <= y + down && far < 1.0 {
                    self.rgb[pixel] = scale(self.rgb[pixel], 1.0 - strength * (1.0 - far));
                }
            }
        }
    }
}

/// The signed distance to the figure, and what lies there; none far outside.
fn nearest(limbs: &[Limb], x: f32, y: f32, blend: f32) -> Option<(f32, Spot)> {
    let mut best: Option<(f32, Spot)> = None;
    let mut joined = f32::MAX;
    for (index, limb) in limbs.iter().enumerate() {
        let [ax, ay] = limb.from;
        let (dx, dy) = (limb.to[0] - ax, limb.to[1] - ay);
        let length = dx * dx + dy * dy;
        let along =
            if length > 0.0 { (((x - ax) * dx + (y - ay) * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
        let (ox, oy) = (x - ax - along * dx, y - ay - along * dy);
        let radius = limb.radii[0] + (limb.radii[1] - limb.radii[0]) * along;
        let off = (ox * ox + oy * oy).sqrt();
        let distance = off - radius;
        // Polynomial smooth minimum (Quilez): limbs grow into one another instead of crossing.
        joined = if blend > 0.0 && joined < f32::MAX {
            let h = (0.5 + 0.5 * (distance - joined) / blend).clamp(0.0, 1.0);
            distance + (joined - distance) * h - blend * h * (1.0 - h)
        } else {
            joined.min(distance)
        };
        if best.as_ref().is_none_or(|(least, _)| distance < *least) {
            let up = -oy / radius.max(0.5);
            let front = (1.0 - (off / radius.max(0.5)).min(1.0).powi(2)).sqrt();
            best =
                Some((distance, Spot { x, y, limb: index, along, light: 0.62 + 0.28 * up + 0.22 * front }));
        }
    }
    best.map(|(_, spot)| (joined, spot))
}
