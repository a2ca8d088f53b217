//! The animals: skeletons of tapered limbs, in metres.

use pugmark_data::Random;

use super::canvas::Limb;

/// The Conser-vision classes in their order.
pub(super) const CLASSES: [&str; 8] =
    ["antelope_duiker", "bird", "blank", "civet_genet", "hog", "leopard", "monkey_prosimian", "rodent"];
/// The class without an animal.
pub(super) const BLANK: usize = 2;

/// What a limb is part of; decides its colour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Part {
    Body,
    Head,
    Muzzle,
    Leg,
    /// A leg of the other side.
    FarLeg,
    /// A piece of tail, counted from the root.
    Tail(u8),
    Ear,
    Horn,
    Wing,
    Crest,
    Eye,
}

/// The measures of an animal on four legs, in metres.
struct Build {
    /// Height of the spine over the hip and the shoulder.
    hip: f32,
    shoulder: f32,
    /// From hip to shoulder.
    length: f32,
    /// Radius of the rump, the belly and the chest.
    girth: [f32; 3],
    /// Radius of a leg at its top and at the foot.
    leg: [f32; 2],
    /// From the shoulder to the head, and the head's radius.
    head: [f32; 3],
    /// Length of the muzzle, and its radius at the tip.
    muzzle: [f32; 2],
    ear: f32,
    /// Length, angle at the root (radians above backwards), curl, radius at the root and at the tip.
    tail: [f32; 5],
}

const BUILDS: [Option<Build>; 8] = [
    Some(Build {
        hip: 0.58,
        shoulder: 0.50,
        length: 0.48,
        girth: [0.145, 0.15, 0.135],
        leg: [0.062, 0.022],
        head: [0.24, 0.20, 0.068],
        muzzle: [0.15, 0.03],
        ear: 0.10,
        tail: [0.14, -1.1, -0.4, 0.025, 0.03],
    }),
    None,
    None,
    Some(Build {
        hip: 0.29,
        shoulder: 0.26,
        length: 0.44,
        girth: [0.095, 0.10, 0.085],
        leg: [0.05, 0.026],
        head: [0.18, 0.06, 0.062],
        muzzle: [0.11, 0.018],
        ear: 0.055,
        tail: [0.52, -0.15, 0.5, 0.045, 0.028],
    }),
    Some(Build {
        hip: 0.56,
        shoulder: 0.60,
        length: 0.58,
        girth: [0.21, 0.26, 0.24],
        leg: [0.085, 0.034],
        head: [0.32, -0.10, 0.15],
        muzzle: [0.28, 0.065],
        ear: 0.12,
        tail: [0.22, -1.2, 0.2, 0.018, 0.022],
    }),
    Some(Build {
        hip: 0.58,
        shoulder: 0.56,
        length: 0.80,
        girth: [0.155, 0.15, 0.165],
        leg: [0.085, 0.05],
        head: [0.29, 0.04, 0.115],
        muzzle: [0.11, 0.06],
        ear: 0.05,
        tail: [0.82, -0.75, 1.9, 0.045, 0.038],
    }),
    Some(Build {
        hip: 0.40,
        shoulder: 0.42,
        length: 0.36,
        girth: [0.095, 0.09, 0.10],
        leg: [0.052, 0.028],
        head: [0.15, 0.12, 0.085],
        muzzle: [0.05, 0.035],
        ear: 0.03,
        tail: [0.62, 0.7, 1.2, 0.024, 0.018],
    }),
    Some(Build {
        hip: 0.20,
        shoulder: 0.16,
        length: 0.24,
        girth: [0.12, 0.12, 0.095],
        leg: [0.035, 0.016],
        head: [0.14, -0.02, 0.065],
        muzzle: [0.075, 0.018],
        ear: 0.055,
        tail: [0.44, -0.3, 0.55, 0.02, 0.009],
    }),
];

/// A factor on the measures above.
const SIZES: [f32; 8] = [1.0, 1.3, 1.0, 1.0, 1.0, 1.0, 1.2, 1.0];

/// An animal in a pose: limbs in metres, forward and up from the ground below its hip.
pub(super) struct Animal {
    pub(super) limbs: Vec<Limb>,
    pub(super) parts: Vec<Part>,
    pub(super) class: usize,
    pub(super) seed: u32,
    pub(super) tone: f32,
    /// Which of three coats.
    pub(super) morph: usize,
}

/// What stays the same while an animal passes the camera.
#[derive(Clone, Copy)]
pub(super) struct Individual {
    pub(super) class: usize,
    size: f32,
    seed: u32,
    tone: f32,
    morph: usize,
    /// Head low, feeding.
    grazes: bool,
    /// A bird in the air, a monkey on its haunches.
    special: bool,
}

impl Individual {
    pub(super) fn new(class: usize, random: &mut Random) -> Self {
        Self {
            class,
            size: SIZES[class] * (0.85 + 0.3 * random.uniform()),
            seed: random.next_u64() as u32,
            tone: 0.8 + 0.4 * random.uniform(),
            morph: random.below(3),
            grazes: random.uniform() < 0.3,
            special: random.uniform() < 0.35,
        }
    }

    /// The animal at one moment of its stride (`phase` in turns).
    pub(super) fn pose(&self, phase: f32) -> Animal {
        let Self { class, seed, tone, morph, .. } = *self;
        let mut animal = Animal { class, limbs: Vec::new(), parts: Vec::new(), seed, tone, morph };
        match &BUILDS[class] {
            Some(build) if CLASSES[class] == "monkey_prosimian" && self.special => animal.sit(build),
            Some(build) => animal.walk(build, phase, self.grazes),
            None => animal.bird(phase, self.special),
        }
        for limb in &mut animal.limbs {
            for value in limb.from.iter_mut().chain(&mut limb.to).chain(&mut limb.radii) {
                *value *= self.size;
            }
        }
        animal
    }
}

impl Animal {
    fn limb(&mut self, part: Part, from: [f32; 2], to: [f32; 2], radii: [f32; 2]) {
        self.limbs.push(Limb { from, to, radii });
        self.parts.push(part);
    }

    fn walk(&mut self, build: &Build, phase: f32, grazes: bool) {
        let swing = |offset: f32| ((phase + offset) * std::f32::consts::TAU).sin();
        let (hip, shoulder) = ([0.0, build.hip], [build.length, build.shoulder]);
        let [rump, belly, chest] = build.girth;
        for (part, offsets) in [(Part::FarLeg, [0.5, 0.25]), (Part::Leg, [0.0, 0.75])] {
            self.leg(part, [hip[0] - 0.2 * rump, hip[1] - rump * 0.6], swing(offsets[0]), -1.0, build.leg);
            self.leg(part, [shoulder[0], shoulder[1] - chest * 0.7], swing(offsets[1]), 0.6, build.leg);
        }
        self.tail(hip, rump, build.tail);
        // The spine: the radii hang below it, so that the back stays level.
        let middle = [build.length * 0.5, (build.hip + build.shoulder) * 0.5 - belly * 0.95];
        let hip = [0.0, build.hip - rump * 0.8];
        let shoulder = [build.length, build.shoulder - chest * 0.8];
        self.limb(Part::Body, hip, middle, [rump, belly]);
        self.limb(Part::Body, middle, shoulder, [belly, chest]);
        let [forward, up, skull] = build.head;
        let up = if grazes { -0.55 * build.shoulder } else { up };
        let head = [shoulder[0] + forward, shoulder[1] + up];
        let neck = [shoulder[0] + 0.3 * chest, shoulder[1] + 0.3 * chest];
        self.limb(Part::Body, neck, head, [chest * 0.75, skull * 0.85]);
        self.face(build, head, if grazes { -0.9 } else { -0.35 });
        if CLASSES[self.class] == "hog" {
            self.limb(
                Part::Crest,
                [0.05, hip[1] + rump * 0.95],
                [build.length, shoulder[1] + chest * 0.95],
                [0.012, 0.022],
            );
        }
    }

    fn sit(&mut self, build: &Build) {
        let [rump, belly, chest] = build.girth;
        self.tail([-0.05, 0.08], rump * 0.4, [build.tail[0], -0.05, 0.7, build.tail[3], build.tail[4]]);
        let shoulder = [0.12, 0.40];
        self.limb(Part::FarLeg, [0.02, 0.1], [0.2, 0.16], [0.06, 0.04]);
        self.limb(Part::Body, [0.0, 0.11], [0.06, 0.24], [rump * 1.2, belly * 1.1]);
        self.limb(Part::Body, [0.06, 0.24], shoulder, [belly * 1.1, chest * 0.9]);
        self.limb(Part::Leg, [0.0, 0.08], [0.2, 0.18], [0.075, 0.045]);
        self.limb(Part::Leg, [0.2, 0.18], [0.19, 0.02], [0.04, 0.025]);
        self.limb(Part::Leg, [0.12, 0.38], [0.25, 0.24], [0.045, 0.03]);
        self.limb(Part::Leg, [0.25, 0.24], [0.27, 0.40], [0.03, 0.022]);
        self.face(build, [0.17, 0.54], -0.2);
    }

    /// Skull, muzzle, ears, eye, and what the species adds.
    fn face(&mut self, build: &Build, [x, y]: [f32; 2], droop: f32) {
        let skull = build.head[2];
        let [length, tip] = build.muzzle;
        let (dx, dy) = (droop.cos(), droop.sin());
        let at = |forward: f32, up: f32| [x + forward * dx - up * dy, y + forward * dy + up * dx];
        let ear = |side: f32| at(-skull * (0.35 + side), skull * 0.75);
        let ear_tip = |side: f32| at(-skull * (0.6 + side) - build.ear * 0.3, skull * 0.8 + build.ear);
        self.limb(Part::Ear, ear(-0.5), ear_tip(-0.5), [build.ear * 0.3, build.ear * 0.2]);
        self.limb(Part::Head, [x, y], at(skull * 0.3, -0.1 * skull), [skull, skull * 0.85]);
        self.limb(
            Part::Muzzle,
            at(skull * 0.4, -0.2 * skull),
            at(skull + length, -0.3 * skull),
            [skull * 0.62, tip],
        );
        self.limb(Part::Ear, ear(0.2), ear_tip(0.2), [build.ear * 0.34, build.ear * 0.22]);
        if CLASSES[self.class] == "antelope_duiker" {
            self.limb(
                Part::Horn,
                at(-skull * 0.1, skull * 0.8),
                at(-skull * 0.7, skull * 2.3),
                [0.016, 0.006],
            );
        }
        if CLASSES[self.class] == "hog" {
            self.limb(
                Part::Horn,
                at(skull + length * 0.6, -0.3 * skull),
                at(skull + length * 0.7, 0.03),
                [0.014, 0.006],
            );
        }
        let eye = skull * 0.14 + 0.008;
        self.limb(Part::Eye, at(skull * 0.55, skull * 0.3), at(skull * 0.55, skull * 0.3), [eye, eye]);
    }

    /// Thigh, shank and foot; the joint bends towards `bend`.
    fn leg(&mut self, part: Part, [x, y]: [f32; 2], swing: f32, bend: f32, [top, foot]: [f32; 2]) {
        let lift = 0.1 * y * swing.max(0.0);
        let end = [x + 0.32 * y * swing, foot + lift];
        let knee = [x + 0.2 * y * swing + 0.16 * y * bend, y * 0.48 + lift];
        self.limb(part, [x, y], knee, [top, (top + foot) * 0.45]);
        self.limb(part, knee, end, [(top + foot) * 0.45, foot]);
        self.limb(part, end, [end[0] + foot * 1.6, end[1]], [foot, foot * 0.8]);
    }

    fn tail(&mut self, [x, y]: [f32; 2], rump: f32, [length, angle, curl, root, tip]: [f32; 5]) {
        const PIECES: u8 = 10;
        let mut at = [x - rump * 0.8, y - rump * 0.35];
        for piece in 0..PIECES {
            let along = f32::from(piece) / f32::from(PIECES);
            let angle = angle + curl * along * along;
            let step = length / f32::from(PIECES);
            let next = [at[0] - step * angle.cos(), (at[1] + step * angle.sin()).max(tip)];
            let radius = |t: f32| root + (tip - root) * t;
            self.limb(Part::Tail(piece), at, next, [radius(along), radius(along + 0.1)]);
            at = next;
        }
    }

    fn bird(&mut self, phase: f32, flies: bool) {
        let swing = (phase * std::f32::consts::TAU).sin();
        if flies {
            let (up, beat) = (0.95, 0.14 + 0.16 * swing);
            self.limb(Part::Wing, [0.08, up], [0.02, up + beat + 0.12], [0.09, 0.05]);
            self.limb(Part::Tail(0), [-0.12, up - 0.02], [-0.30, up - 0.01], [0.05, 0.06]);
            self.limb(Part::Body, [-0.10, up - 0.02], [0.10, up], [0.075, 0.085]);
            self.limb(Part::Body, [0.14, up + 0.02], [0.26, up + 0.06], [0.05, 0.03]);
            self.head([0.29, up + 0.07]);
            self.limb(Part::Wing, [0.03, up + 0.03], [-0.04, up + beat + 0.10], [0.11, 0.09]);
            self.limb(Part::Wing, [-0.04, up + beat + 0.10], [-0.22, up + 2.1 * beat + 0.14], [0.09, 0.03]);
            return;
        }
        for (part, step) in [(Part::FarLeg, swing), (Part::Leg, -swing)] {
            let foot = [0.03 + 0.07 * step, 0.008];
            self.limb(part, [0.02, 0.16], foot, [0.025, 0.011]);
            self.limb(part, foot, [foot[0] + 0.05, 0.008], [0.011, 0.007]);
        }
        self.limb(Part::Tail(0), [-0.12, 0.24], [-0.30, 0.17], [0.07, 0.035]);
        self.limb(Part::Body, [-0.06, 0.24], [0.10, 0.27], [0.115, 0.105]);
        self.limb(Part::Body, [0.13, 0.32], [0.20, 0.43], [0.055, 0.03]);
        self.head([0.21, 0.45]);
        self.limb(Part::Wing, [0.06, 0.26], [-0.14, 0.22], [0.075, 0.04]);
    }

    fn head(&mut self, [x, y]: [f32; 2]) {
        self.limb(Part::Head, [x, y], [x + 0.01, y], [0.042, 0.04]);
        self.limb(Part::Horn, [x + 0.04, y - 0.005], [x + 0.09, y - 0.02], [0.016, 0.005]);
        self.limb(Part::Eye, [x + 0.015, y + 0.01], [x + 0.015, y + 0.01], [0.009, 0.009]);
    }
}
