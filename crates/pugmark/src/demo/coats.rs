//! The animals' coats: a colour for each point of a body.

use super::animals::{Animal, CLASSES, Part};
use super::canvas::{Rgb, Spot, cell, mix, noise, scale};

impl Animal {
    /// The colour at a point: `spot` counts limbs as this animal does, (`x`, `y`) is in metres on the animal.
    pub(super) fn coat(&self, spot: &Spot, x: f32, y: f32, night: bool) -> Rgb {
        let part = self.parts[spot.limb];
        let fur = 0.85 + 0.3 * noise(x * 60.0, y * 60.0, self.seed, 2);
        let eye = if night && !matches!(CLASSES[self.class], "bird" | "hog") {
            [3.0; 3]
        } else {
            [0.03, 0.03, 0.03]
        };
        let colour = match (part, CLASSES[self.class]) {
            (Part::Eye, _) => return eye,
            (_, "antelope_duiker") => self.duiker(part, spot),
            (_, "bird") => self.plumage(part, x, y),
            (_, "civet_genet") => self.civet(part, spot, x, y),
            (_, "hog") => self.hog(part, spot),
            (_, "leopard") => self.leopard(part, spot, x, y),
            (_, "monkey_prosimian") => self.monkey(part, spot),
            _ => self.rodent(part, spot),
        };
        let side = if part == Part::FarLeg { 0.6 } else { 1.0 };
        scale(colour, fur * self.tone * spot.light * side)
    }

    fn duiker(&self, part: Part, spot: &Spot) -> Rgb {
        let coat = [[0.62, 0.34, 0.17], [0.50, 0.40, 0.29], [0.60, 0.40, 0.24]][self.morph];
        match part {
            Part::Horn => [0.14, 0.12, 0.11],
            Part::Tail(_) => [0.85, 0.80, 0.74],
            Part::Leg | Part::FarLeg => mix(scale(coat, 0.55), [0.14, 0.10, 0.08], 0.6),
            Part::Muzzle => scale(coat, 0.7),
            Part::Body if spot.light > 0.98 => scale(coat, 0.45),
            Part::Body if spot.light < 0.62 => mix(coat, [0.85, 0.76, 0.66], 0.6),
            _ => coat,
        }
    }

    fn leopard(&self, part: Part, spot: &Spot, x: f32, y: f32) -> Rgb {
        let tawny = mix([0.80, 0.57, 0.28], [0.92, 0.86, 0.76], ((0.72 - spot.light) * 3.0).clamp(0.0, 1.0));
        let pitch = if part == Part::Body { 0.09 } else { 0.06 };
        match (self.blotch(x / pitch, y / pitch), part) {
            (near, Part::Body) if (0.20..0.38).contains(&near) => [0.17, 0.12, 0.08],
            (near, Part::Body) if near < 0.20 => scale(tawny, 0.72),
            (near, Part::Head | Part::Leg | Part::FarLeg | Part::Tail(_)) if near < 0.24 => {
                [0.17, 0.12, 0.08]
            }
            (_, Part::Ear | Part::Horn) => [0.18, 0.14, 0.11],
            _ => tawny,
        }
    }

    fn civet(&self, part: Part, spot: &Spot, x: f32, y: f32) -> Rgb {
        let (grey, black) = ([0.53, 0.48, 0.39], [0.10, 0.09, 0.08]);
        match part {
            Part::Tail(piece) if piece % 2 == 1 => black,
            Part::Tail(_) => [0.62, 0.57, 0.48],
            Part::Leg | Part::FarLeg => scale(black, 1.6),
            Part::Head if spot.light < 0.95 => black,
            Part::Muzzle if spot.along > 0.45 => [0.82, 0.79, 0.73],
            Part::Muzzle => black,
            Part::Body if spot.light > 1.0 || self.blotch(x / 0.12, y / 0.055) < 0.30 => black,
            _ => grey,
        }
    }

    fn hog(&self, part: Part, spot: &Spot) -> Rgb {
        let coat = [[0.40, 0.19, 0.10], [0.17, 0.14, 0.13], [0.28, 0.18, 0.12]][self.morph];
        match part {
            Part::Crest | Part::Horn => [0.70, 0.66, 0.58],
            Part::Ear => scale(coat, 1.5),
            Part::Leg | Part::FarLeg => [0.13, 0.10, 0.09],
            Part::Muzzle if spot.along > 0.85 => [0.45, 0.33, 0.29],
            Part::Muzzle => scale(coat, 0.6),
            _ => coat,
        }
    }

    fn monkey(&self, part: Part, spot: &Spot) -> Rgb {
        let coat = [[0.20, 0.19, 0.19], [0.36, 0.31, 0.22], [0.27, 0.20, 0.17]][self.morph];
        match part {
            Part::Muzzle => [0.78, 0.70, 0.62],
            Part::Body if spot.light < 0.66 => [0.86, 0.83, 0.78],
            Part::Ear => [0.55, 0.45, 0.38],
            Part::Leg | Part::FarLeg | Part::Tail(_) => scale(coat, 0.7),
            _ => coat,
        }
    }

    fn rodent(&self, part: Part, spot: &Spot) -> Rgb {
        let coat = [[0.42, 0.33, 0.25], [0.34, 0.31, 0.28], [0.48, 0.35, 0.24]][self.morph];
        match part {
            Part::Tail(piece) if piece > 6 => [0.88, 0.84, 0.80],
            Part::Tail(_) | Part::Leg | Part::FarLeg => [0.55, 0.42, 0.37],
            Part::Ear => [0.62, 0.45, 0.40],
            Part::Body if spot.light < 0.62 => [0.78, 0.73, 0.66],
            _ => coat,
        }
    }

    fn plumage(&self, part: Part, x: f32, y: f32) -> Rgb {
        let coat = [[0.17, 0.18, 0.23], [0.42, 0.31, 0.20], [0.24, 0.26, 0.17]][self.morph];
        match part {
            Part::Head => [[0.30, 0.42, 0.62], [0.45, 0.34, 0.22], [0.62, 0.16, 0.12]][self.morph],
            Part::Horn => [0.75, 0.55, 0.22],
            Part::Leg | Part::FarLeg => [0.62, 0.38, 0.22],
            Part::Wing => {
                scale(coat, if cell((x * 50.0) as i32, (y * 30.0) as i32, 3) > 0.6 { 1.5 } else { 0.8 })
            }
            // Dots as on a guineafowl.
            Part::Body if self.blotch(x / 0.035, y / 0.035) < 0.22 => [0.85, 0.84, 0.80],
            _ => coat,
        }
    }

    /// The distance to the nearest of the points strewn one on each cell of a grid, in cells.
    fn blotch(&self, x: f32, y: f32) -> f32 {
        let (cx, cy) = (x.floor() as i32, y.floor() as i32);
        let mut least = f32::MAX;
        for (gx, gy) in (-1..=1).flat_map(|dy| (-1..=1).map(move |dx| (cx + dx, cy + dy))) {
            let px = gx as f32 + 0.25 + 0.5 * cell(gx, gy, self.seed);
            let py = gy as f32 + 0.25 + 0.5 * cell(gx, gy, self.seed ^ 1);
            least = least.min((px - x).powi(2) + (py - y).powi(2));
        }
        least.sqrt()
    }
}
