//! What a camera sees while nothing happens: one forest floor a site, in even light.

use pugmark_data::Random;

use super::canvas::{Canvas, Limb, Rgb, mix, noise, scale};

/// A kind of place; every site varies one.
struct Habitat {
    ground: Rgb,
    litter: [Rgb; 2],
    leaf: [Rgb; 2],
    bark: Rgb,
    /// How many of each thing: far trunks, near trunks, shrubs, ferns, grass tufts, rocks, logs.
    things: [usize; 7],
    /// Fallen leaves.
    leaves: usize,
    /// Share of sky between the leaves.
    sky: f32,
    /// How much lighter the trodden path is; below 0 it is water.
    path: f32,
}

const HABITATS: [Habitat; 6] = [
    // Old forest with a trail.
    Habitat {
        ground: [0.34, 0.26, 0.17],
        litter: [[0.50, 0.36, 0.20], [0.24, 0.17, 0.11]],
        leaf: [[0.08, 0.15, 0.06], [0.24, 0.38, 0.13]],
        bark: [0.33, 0.29, 0.23],
        things: [14, 2, 5, 4, 4, 1, 0],
        leaves: 900,
        sky: 0.05,
        path: 0.35,
    },
    // Stream bank.
    Habitat {
        ground: [0.42, 0.36, 0.27],
        litter: [[0.46, 0.40, 0.28], [0.29, 0.25, 0.17]],
        leaf: [[0.07, 0.17, 0.08], [0.30, 0.45, 0.17]],
        bark: [0.40, 0.37, 0.31],
        things: [6, 1, 6, 6, 8, 7, 0],
        leaves: 300,
        sky: 0.14,
        path: -0.5,
    },
    // Fern gully.
    Habitat {
        ground: [0.22, 0.22, 0.12],
        litter: [[0.30, 0.33, 0.15], [0.15, 0.13, 0.08]],
        leaf: [[0.06, 0.16, 0.05], [0.28, 0.47, 0.15]],
        bark: [0.25, 0.24, 0.17],
        things: [9, 2, 4, 13, 4, 2, 1],
        leaves: 500,
        sky: 0.03,
        path: 0.0,
    },
    // Grassy clearing.
    Habitat {
        ground: [0.40, 0.40, 0.19],
        litter: [[0.58, 0.53, 0.30], [0.30, 0.32, 0.14]],
        leaf: [[0.16, 0.22, 0.08], [0.50, 0.53, 0.24]],
        bark: [0.45, 0.40, 0.33],
        things: [5, 0, 6, 0, 55, 1, 0],
        leaves: 250,
        sky: 0.35,
        path: 0.2,
    },
    // Red laterite slope.
    Habitat {
        ground: [0.50, 0.29, 0.17],
        litter: [[0.60, 0.42, 0.25], [0.34, 0.19, 0.11]],
        leaf: [[0.13, 0.18, 0.07], [0.38, 0.43, 0.18]],
        bark: [0.38, 0.29, 0.22],
        things: [8, 1, 5, 0, 10, 8, 1],
        leaves: 600,
        sky: 0.2,
        path: 0.3,
    },
    // Windthrow: fallen trunks, dark humus.
    Habitat {
        ground: [0.20, 0.16, 0.12],
        litter: [[0.40, 0.27, 0.15], [0.15, 0.11, 0.08]],
        leaf: [[0.06, 0.12, 0.05], [0.21, 0.34, 0.15]],
        bark: [0.28, 0.23, 0.18],
        things: [10, 1, 4, 3, 3, 2, 3],
        leaves: 1100,
        sky: 0.08,
        path: 0.0,
    },
];

/// A site without animals.
pub(super) struct Scene {
    pub(super) canvas: Canvas,
    /// The row where the ground ends.
    pub(super) horizon: f32,
}

impl Scene {
    pub(super) fn draw(random: &mut Random, width: usize, height: usize) -> Self {
        let habitat = &HABITATS[random.below(HABITATS.len())];
        let seed = random.next_u64() as u32;
        let (w, h) = (width as f32, height as f32);
        let horizon = h * (0.26 + 0.2 * random.uniform());
        let tilt = 0.16 * (random.uniform() - 0.5);
        let hue: Rgb = std::array::from_fn(|_| 0.85 + 0.3 * random.uniform());
        let tone = |colour: Rgb| -> Rgb { std::array::from_fn(|c| colour[c] * hue[c]) };
        let ground = scale(tone(habitat.ground), 0.8 + 0.4 * random.uniform());
        let path = (w * (0.25 + 0.5 * random.uniform()), w * (0.12 + 0.12 * random.uniform()));
        let bend = w * 0.25 * (random.uniform() - 0.5);
        let canvas = Canvas::new(width, height, |x, y| {
            let edge = horizon + tilt * (x - w / 2.0) + 9.0 * (noise(x / 30.0, 0.5, seed, 3) - 0.5);
            if y < edge {
                return backdrop(x, y / h, seed, tone(habitat.leaf[0]), tone(habitat.leaf[1]), habitat.sky);
            }
            // Seen flatly: `away` grows from 1 at the camera's foot towards the horizon.
            let away = (h - horizon) / (y - horizon + 12.0).max(6.0);
            let (across, along) = ((x - w / 2.0) * away / 26.0, away * 7.0);
            let mottle = noise(across, along, seed ^ 9, 4);
            let soil = scale(ground, 0.55 + 0.85 * mottle);
            let centre = path.0 + bend * (away - 1.0) * 0.4;
            let trodden = (1.3 - (x - centre).abs() * away / path.1).clamp(0.0, 1.0);
            if habitat.path < 0.0 {
                let ripple = noise(x / 50.0, away * 8.0, seed ^ 17, 3);
                return mix(soil, mix([0.15, 0.16, 0.14], [0.42, 0.46, 0.45], ripple), trodden);
            }
            scale(soil, 1.0 + habitat.path * trodden)
        });
        let mut scene = Self { canvas, horizon };
        for _ in 0..habitat.leaves {
            scene.litter(random, habitat.litter.map(tone));
        }
        let mut things: Vec<(f32, usize)> = Vec::new();
        for (kind, &count) in habitat.things.iter().enumerate() {
            for _ in 0..count {
                // From the horizon to the lower edge; only plants stand right before the camera.
                let reach = if kind == 0 {
                    0.1
                } else if kind == 1 {
                    0.55
                } else {
                    0.95
                };
                let near = if kind == 1 { 0.15 } else { 0.0 } + reach * random.uniform().powf(1.6);
                things.push((near, kind));
            }
        }
        things.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (near, kind) in things {
            let foot = [w * random.uniform(), horizon + near * (h - horizon)];
            let size = h / 240.0 * (0.25 + near);
            let haze = 0.45 * (1.0 - near).powi(3);
            let shade = |colour: Rgb| mix(tone(colour), [0.36, 0.42, 0.34], haze);
            let leaf = habitat.leaf.map(shade);
            match kind {
                0 | 1 => scene.trunk(random, foot, size, shade(habitat.bark), kind == 1),
                2 => scene.shrub(random, foot, size, leaf),
                3 => scene.fern(random, foot, size, leaf),
                4 => scene.grass(random, foot, size, leaf),
                5 => scene.rock(random, foot, size),
                _ => scene.log(random, foot, size, shade(habitat.bark)),
            }
        }
        // A plant so close to the lens that it is out of focus and in front of everything.
        if random.uniform() < 0.5 {
            let foot = [if random.uniform() < 0.5 { 0.0 } else { w }, h + 10.0];
            scene.sprig(random, foot, h / 240.0, tone(habitat.leaf[1]));
        }
        scene
    }

    fn litter(&mut self, random: &mut Random, colours: [Rgb; 2]) {
        let (w, h) = (self.canvas.width as f32, self.canvas.height as f32);
        let near = random.uniform().powf(0.8);
        let from = [w * random.uniform(), self.horizon + 6.0 + near * (h - self.horizon)];
        let length = h / 240.0 * (2.0 + 7.0 * near) * (0.5 + random.uniform());
        let angle = std::f32::consts::TAU * random.uniform();
        let to = [from[0] + length * angle.cos(), from[1] + 0.4 * length * angle.sin()];
        let colour = scale(mix(colours[0], colours[1], random.uniform()), 0.7 + 0.5 * random.uniform());
        let radii = [length * 0.17, length * 0.04];
        self.canvas.figure(&[Limb { from, to, radii }], from[1] + length, (0.0, 1.0), |_| colour);
    }

    fn trunk(&mut self, random: &mut Random, [x, y]: [f32; 2], size: f32, bark: Rgb, near: bool) {
        let radius = size * (4.0 + 12.0 * random.uniform()) * if near { 1.5 } else { 1.0 };
        let lean = self.canvas.height as f32 * 0.3 * (random.uniform() - 0.5);
        let top = [x + lean, -20.0];
        let mut limbs = vec![Limb { from: [x, y - radius], to: top, radii: [radius, radius * 0.75] }];
        for side in [-1.0, -0.3, 0.8] {
            let spread = radius * (1.2 + random.uniform());
            let (from, to) = ([x, y - 2.6 * radius], [x + side * spread, y + 0.1 * radius]);
            limbs.push(Limb { from, to, radii: [radius * 0.5, radius * 0.15] });
        }
        let seed = random.next_u64() as u32;
        let moss = [bark[0] * 0.7, bark[1] * 1.15, bark[2] * 0.6];
        let slope = lean / (y + 20.0);
        self.canvas.figure(&limbs, y, (radius * 0.5, 1.2), |spot| {
            // Grooves run along the trunk.
            let across = spot.x - x - slope * (y - spot.y);
            let groove = noise(across * 5.0 / radius.max(4.0), spot.y / 26.0, seed, 3);
            let mossy = (noise(spot.x / 14.0, spot.y / 14.0, seed ^ 5, 2) * 3.0 - 1.6).clamp(0.0, 0.8);
            scale(mix(bark, moss, mossy), spot.light * (0.5 + 0.85 * groove))
        });
    }

    fn shrub(&mut self, random: &mut Random, [x, y]: [f32; 2], size: f32, leaf: [Rgb; 2]) {
        let spread = size * (24.0 + 26.0 * random.uniform());
        for step in 0..70 {
            // From the back and dark to the front and light.
            let light = step as f32 / 70.0;
            let (dx, up) = (random.normal() * 0.4 * spread, random.uniform() * spread * 0.9);
            let from = [x + dx * (1.0 - 0.4 * up / spread), y - up];
            let angle = -1.1 + 2.2 * random.uniform() + if dx > 0.0 { 0.0 } else { std::f32::consts::PI };
            let length = size * (6.0 + 6.0 * random.uniform());
            let to = [from[0] + length * angle.cos(), from[1] + 0.7 * length * angle.sin().abs()];
            let colour = scale(mix(leaf[0], leaf[1], light), 0.7 + 0.6 * random.uniform());
            let radii = [length * 0.28, length * 0.03];
            self.canvas.figure(&[Limb { from, to, radii }], y, (0.0, 1.0), |spot| scale(colour, spot.light));
        }
    }

    fn fern(&mut self, random: &mut Random, [x, y]: [f32; 2], size: f32, leaf: [Rgb; 2]) {
        let fronds = 7 + random.below(6);
        for frond in 0..fronds {
            let side = 2.0 * (frond as f32 + 0.3 + 0.4 * random.uniform()) / fronds as f32 - 1.0;
            let length = size * (34.0 + 26.0 * random.uniform());
            let colour = scale(mix(leaf[0], leaf[1], 0.3 + 0.7 * random.uniform()), 1.05);
            // A parabola: up from the root, outward, and down at the tip.
            let at = |t: f32| {
                [x + side * length * t, y - length * (1.25 - 0.4 * side * side) * (t - 0.75 * t * t)]
            };
            for step in 1..14 {
                let t = step as f32 / 14.0;
                let (root, next) = (at(t), at(t + 0.05));
                let leaflet = length * 0.24 * (1.02 - t) * (t * 8.0).min(1.0);
                let (dx, dy) = (next[0] - root[0], next[1] - root[1]);
                let norm = (dx * dx + dy * dy).sqrt().max(0.01);
                for turn in [-1.0, 1.0] {
                    let out = [dx * 0.5 - turn * dy, dy * 0.5 + turn * dx];
                    let to = [root[0] + leaflet * out[0] / norm, root[1] + leaflet * out[1] / norm];
                    let blade = Limb { from: root, to, radii: [leaflet * 0.16 + 0.3, 0.3] };
                    let tone = if turn * side > 0.0 { 0.7 } else { 1.0 };
                    self.canvas.figure(&[blade], y, (0.0, 1.0), |_| scale(colour, tone));
                }
            }
        }
    }

    fn grass(&mut self, random: &mut Random, [x, y]: [f32; 2], size: f32, leaf: [Rgb; 2]) {
        for _ in 0..18 {
            let from = [x + random.normal() * 7.0 * size, y + 2.0 * random.uniform()];
            let (lean, height) = (random.normal() * 0.35, size * (14.0 + 20.0 * random.uniform()));
            let middle = [from[0] + lean * height * 0.4, from[1] - height * 0.65];
            let to = [from[0] + lean * height * 1.2, from[1] - height];
            let colour = mix(leaf[0], leaf[1], random.uniform());
            let width = (0.9 * size).max(0.4);
            let blade = [
                Limb { from, to: middle, radii: [width, width * 0.8] },
                Limb { from: middle, to, radii: [width * 0.8, 0.2] },
            ];
            self.canvas
                .figure(&blade, y, (0.0, 1.0), |spot| scale(colour, 0.7 + 0.3 * (y - spot.y) / height));
        }
    }

    fn rock(&mut self, random: &mut Random, [x, y]: [f32; 2], size: f32) {
        let wide = size * (8.0 + 18.0 * random.uniform());
        let seed = random.next_u64() as u32;
        let stone = scale([0.46, 0.44, 0.41], 0.6 + 0.5 * random.uniform());
        let limbs = [
            Limb {
                from: [x - wide * 0.5, y - wide * 0.3],
                to: [x, y - wide * 0.42],
                radii: [wide * 0.4, wide * 0.5],
            },
            Limb {
                from: [x, y - wide * 0.3],
                to: [x + wide * 0.6, y - wide * 0.15],
                radii: [wide * 0.4, wide * 0.3],
            },
        ];
        self.canvas.shadow([x, y + wide * 0.1], [wide * 1.4, wide * 0.35], 0.5);
        self.canvas.figure(&limbs, y, (wide * 0.2, 1.0), |spot| {
            scale(stone, spot.light * (0.55 + 0.8 * noise(spot.x / 5.0, spot.y / 5.0, seed, 3)))
        });
    }

    fn log(&mut self, random: &mut Random, [x, y]: [f32; 2], size: f32, bark: Rgb) {
        let (radius, length) =
            (size * (8.0 + 7.0 * random.uniform()), size * (90.0 + 120.0 * random.uniform()));
        let slope = 0.5 * (random.uniform() - 0.5);
        let end = [x + length * slope.cos(), y - radius - length * slope.sin().abs() * 0.5];
        let limb = Limb { from: [x - length * 0.4, y - radius], to: end, radii: [radius, radius * 0.8] };
        let seed = random.next_u64() as u32;
        self.canvas.shadow([x + length * 0.3, y], [length * 0.7, radius * 0.7], 0.6);
        self.canvas.figure(&[limb], y, (0.0, 1.2), |spot| {
            let groove = noise(spot.along * length / 22.0, (spot.y - y) / radius * 2.5, seed, 3);
            let mossy = ((spot.light - 0.75) * 2.0).clamp(0.0, 0.6);
            scale(mix(bark, [0.22, 0.30, 0.11], mossy), spot.light * (0.5 + 0.9 * groove))
        });
    }

    fn sprig(&mut self, random: &mut Random, [x, y]: [f32; 2], size: f32, colour: Rgb) {
        for _ in 0..9 {
            let lean = random.normal() * 0.5;
            let length = size * (50.0 + 60.0 * random.uniform());
            let from = [x + random.normal() * 25.0 * size, y];
            let to = [from[0] + length * lean, y - length];
            let tone = scale(colour, 0.5 + 0.6 * random.uniform());
            let blade = Limb { from, to, radii: [size * 7.0, size * 2.0] };
            self.canvas.figure(&[blade], 2.0 * y, (0.0, 6.0 * size), |_| tone);
        }
    }
}

/// Leaves behind leaves, with sky in the gaps.
fn backdrop(x: f32, y: f32, seed: u32, dark: Rgb, light: Rgb, sky: f32) -> Rgb {
    let clump = noise(x / 26.0, y * 9.0, seed ^ 31, 4);
    let leaf = noise(x / 4.5, y * 55.0, seed ^ 47, 2);
    let green = mix(scale(dark, 0.7), light, (clump * 1.5 - 0.35 + 0.5 * (leaf - 0.5)).clamp(0.0, 1.0));
    // The sky shows where clump and leaf leave a gap, more of it higher up.
    let gap = noise(x / 17.0, y * 14.0, seed ^ 71, 3) + 0.3 * (leaf - 0.5) + 0.25 * (0.25 - y);
    let open = ((gap - 0.80 + 0.8 * sky) * 9.0).clamp(0.0, 1.0);
    mix(green, [0.80, 0.86, 0.86], open)
}
