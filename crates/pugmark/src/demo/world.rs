//! The demo's data: a small camera-trap survey, drawn.
//!
//! Every site has a place, a camera and favourite animals of its own, as in the field. A classifier can therefore do
//! well by knowing the sites, and only photos from other sites show whether it knows the animals.

use std::fmt::{self, Write as _};
use std::io;
use std::ops::Range;
use std::path::Path;

use pugmark_data::Random;
use pugmark_model::write_atomic;
use rayon::prelude::*;

use super::animals::{Animal, BLANK, CLASSES, Individual};
use super::camera::{Camera, Clock, Moment, jpeg};
use super::canvas::{Canvas, Limb};
use super::scene::Scene;

#[cfg(test)]
mod tests;

/// What to draw. Equal settings give equal files.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WorldSettings {
    /// Another seed draws another world.
    pub(crate) seed: u64,
    /// Sites to train on, and other sites to test on.
    pub(crate) sites: [usize; 2],
    /// Photos from the former and from the latter.
    pub(crate) photos: [usize; 2],
    /// Width and height in pixels.
    pub(crate) size: [usize; 2],
    /// How large animals are, 1 as in the demo.
    pub(crate) animals: f32,
}

impl WorldSettings {
    /// Training sites with 50 photos each, as many as the demo has.
    pub(crate) fn with_sites(self, sites: usize) -> Self {
        Self { sites: [sites, self.sites[1]], photos: [sites * 50, self.photos[1]], ..self }
    }
}

/// What was drawn, in the world's README.txt.
impl fmt::Display for WorldSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, sites, photos, size, animals } = self;
        write!(f, "drawn with seed {seed}: {} + {} sites, ", sites[0], sites[1])?;
        write!(f, "{} + {} photos of {} x {}, ", photos[0], photos[1], size[0], size[1])?;
        write!(f, "animals {animals} times as large as in the demo")
    }
}

impl Default for WorldSettings {
    fn default() -> Self {
        Self { seed: 0, sites: [36, 24], photos: [1800, 480], size: [320, 240], animals: 1.0 }
    }
}

/// What came out broken, as it does in the field: ids, sorted.
#[derive(Debug, Default)]
pub(crate) struct Broken {
    /// Cut short.
    pub(crate) truncated: Vec<String>,
    /// Without a byte.
    pub(crate) empty: Vec<String>,
}

/// Share of the photos of a class that are taken at night, in the order of the classes.
const NIGHT: [f32; 8] = [0.25, 0.05, 0.4, 0.9, 0.4, 0.5, 0.1, 0.8];
/// From where an animal sets the camera off, on the way from the horizon (0) to the lower edge (1): the smaller, the
/// nearer.
const FARTHEST_TRIGGER: [f32; 8] = [0.12, 0.45, 0.0, 0.25, 0.10, 0.12, 0.3, 0.5];
const NEAREST_TRIGGER: f32 = 0.86;
/// How common a class is where it is nobody's favourite.
const COMMON: [f32; 8] = [1.5, 1.0, 1.2, 1.4, 0.7, 1.2, 1.5, 1.2];
/// How much more often a site sees its favourites.
const FAVOURITES: [f32; 2] = [11.0, 4.0];

/// One photo before it is drawn.
struct Frame {
    site: usize,
    animal: Option<Individual>,
    /// Where the animal stands: across the picture, and from the horizon (0) to the lower edge (1).
    place: [f32; 2],
    /// Which way it looks, times how much of its length shows.
    heading: f32,
    phase: f32,
    /// How far the camera has turned since the scene was drawn, in pixels.
    drift: [i32; 2],
    moment: Moment,
}

impl Frame {
    fn class(&self) -> usize {
        self.animal.map_or(BLANK, |animal| animal.class)
    }
}

/// Writes the world below `folder`. `on` hears of each photo, on several threads, and may end the work with an error.
pub(crate) fn write_world(
    folder: &Path,
    settings: &WorldSettings,
    on: &(dyn Fn() -> io::Result<()> + Sync),
) -> io::Result<Broken> {
    let [train_sites, test_sites] = settings.sites;
    let [width, height] = settings.size;
    let sites: Vec<(Scene, Camera)> = (0..train_sites + test_sites)
        .into_par_iter()
        .map(|site| {
            let random = &mut Random::new(settings.seed, site as u64, "site");
            (Scene::draw(random, width, height), Camera::new(random, width, height))
        })
        .collect();

    let mut broken = Broken::default();
    let parts =
        [("train", 0..train_sites, 0), ("test", train_sites..train_sites + test_sites, settings.photos[0])];
    for ((part, range, first_id), count) in parts.into_iter().zip(settings.photos) {
        let frames = plan(settings.seed, range, count);
        let photos = format!("{part}_features");
        std::fs::create_dir_all(folder.join(&photos))?;
        let id = |index: usize| format!("PM{:06}", first_id + index);
        // Files break in the field: one photo in 300 is cut short and one in 400 has no byte.
        let random = &mut Random::new(settings.seed, 0, &format!("{part} breaks"));
        let mut order: Vec<usize> = (0..count).collect();
        random.shuffle(&mut order);
        let (truncated, rest) = order.split_at((count / 300).max(1).min(count));
        let empty = &rest[..(count / 400).max(1).min(rest.len())];
        frames.par_iter().enumerate().try_for_each(|(index, frame)| {
            let (scene, camera) = &sites[frame.site];
            let mut bytes = if empty.contains(&index) {
                Vec::new()
            } else {
                shoot(scene, camera, frame, settings.animals)?
            };
            if truncated.contains(&index) {
                bytes.truncate(bytes.len() * 6 / 10);
            }
            std::fs::write(folder.join(&photos).join(format!("{}.jpg", id(index))), bytes)?;
            on()
        })?;
        let mut features = String::from("id,filepath,site\n");
        let mut labels = format!("id,{}\n", CLASSES.join(","));
        for (index, frame) in frames.iter().enumerate() {
            let id = id(index);
            // Writing into a String cannot fail.
            let _ = writeln!(features, "{id},{photos}/{id}.jpg,S{:04}", frame.site);
            let one_hot: Vec<_> =
                (0..CLASSES.len()).map(|c| if c == frame.class() { "1.0" } else { "0.0" }).collect();
            let _ = writeln!(labels, "{id},{}", one_hot.join(","));
        }
        std::fs::write(folder.join(format!("{part}_features.csv")), features)?;
        std::fs::write(folder.join(format!("{part}_labels.csv")), labels)?;
        let ids = |indices: &[usize]| indices.iter().map(|&index| id(index)).collect::<Vec<_>>();
        broken.truncated.extend(ids(truncated));
        broken.empty.extend(ids(empty));
    }
    broken.truncated.sort();
    broken.empty.sort();
    // It says that the world is whole, so it comes last and at once.
    write_atomic(&folder.join("README.txt"), readme(&broken, settings).as_bytes())?;
    Ok(broken)
}

/// Decides what `count` photos of the sites in `range` show: bursts of one to four frames, in shuffled order.
fn plan(seed: u64, range: Range<usize>, count: usize) -> Vec<Frame> {
    let mut favourites: Vec<usize> = range.clone().map(|site| site % CLASSES.len()).collect();
    Random::new(seed, range.start as u64, "favourites").shuffle(&mut favourites);
    let weights: Vec<[f32; 8]> = range
        .clone()
        .zip(favourites)
        .map(|(site, favourite)| {
            let random = &mut Random::new(seed, site as u64, "animals");
            let mut weights = COMMON.map(|weight| weight * (0.3 + 1.4 * random.uniform()));
            weights[favourite] *= FAVOURITES[0];
            weights[random.below(CLASSES.len())] *= FAVOURITES[1];
            weights
        })
        .collect();
    let mut frames = Vec::with_capacity(count + 3);
    for burst in 0.. {
        if frames.len() >= count {
            break;
        }
        let site = range.start + burst % range.len();
        let random = &mut Random::new(seed, burst as u64, &format!("burst at site {site}"));
        // The first bursts show each class once, so that no class is missing in a small world.
        let class = if burst < CLASSES.len() { burst } else { pick(&weights[site - range.start], random) };
        snap(site, class, random, &mut frames);
    }
    frames.truncate(count);
    Random::new(seed, range.start as u64, "order").shuffle(&mut frames);
    frames
}

fn pick(weights: &[f32; 8], random: &mut Random) -> usize {
    let mut left = random.uniform() * weights.iter().sum::<f32>();
    weights
        .iter()
        .position(|weight| {
            left -= weight;
            left < 0.0
        })
        // Rounding can leave a trace past the last weight.
        .unwrap_or(BLANK)
}

/// One trigger of the camera: an animal, or nothing, in one to four frames a second or two apart.
fn snap(site: usize, class: usize, random: &mut Random, frames: &mut Vec<Frame>) {
    let animal = (class != BLANK).then(|| Individual::new(class, random));
    let night = random.uniform() < NIGHT[class];
    let hour = if night { (19 + random.below(10)) % 24 } else { 6 + random.below(12) };
    let mut clock: Clock = [
        2023,
        1 + random.below(12) as u32,
        1 + random.below(28) as u32,
        hour as u32,
        random.below(60) as u32,
        random.below(50) as u32,
    ];
    let facing = if random.uniform() < 0.5 { -1.0 } else { 1.0 };
    let heading = facing * (0.7 + 0.3 * random.uniform());
    let mut x = 0.15 + 0.7 * random.uniform();
    let y = NEAREST_TRIGGER + (FARTHEST_TRIGGER[class] - NEAREST_TRIGGER) * random.uniform();
    let mut phase = random.uniform();
    let speed = if random.uniform() < 0.35 { 0.0 } else { 0.03 + 0.09 * random.uniform() };
    let drift = [random.below(5) as i32 - 2, random.below(5) as i32 - 2];
    let weather = 0.8 + 0.4 * random.uniform();
    let celsius = if night { 20 } else { 24 } + random.below(7) as u32;
    for _ in 0..1 + random.below(4) {
        let grain = random.next_u64() as u32;
        let moment = Moment { clock, night, weather, celsius, grain };
        frames.push(Frame { site, animal, place: [x, y], heading, phase, drift, moment });
        clock[5] += 1 + random.below(2) as u32;
        // It walks on, but not out of the picture: an empty frame would bear a wrong label.
        x = (x + facing * speed).clamp(0.1, 0.9);
        phase += 2.2 * speed + 0.07 * random.uniform();
    }
}

/// Draws one frame.
fn shoot(scene: &Scene, camera: &Camera, frame: &Frame, animals: f32) -> io::Result<Vec<u8>> {
    let mut canvas = scene.canvas.clone();
    let (w, h) = (canvas.width as f32, canvas.height as f32);
    if let Some(individual) = &frame.animal {
        let animal = individual.pose(frame.phase);
        let foot = [w * frame.place[0], scene.horizon + frame.place[1] * (h - scene.horizon)];
        // Pixels a metre: the nearer, the more.
        let metre = animals * h / 240.0 * (38.0 + 102.0 * frame.place[1]);
        stand(&mut canvas, &animal, foot, metre, frame);
    }
    shift(&mut canvas, frame.drift);
    let pixels = camera.expose(&canvas, scene.horizon, &frame.moment);
    jpeg(&pixels, canvas.width, canvas.height, frame.moment.clock)
}

fn stand(canvas: &mut Canvas, animal: &Animal, foot: [f32; 2], metre: f32, frame: &Frame) {
    // Centred on the middle of the body, which lies forward of the hip.
    let middle = animal.limbs.iter().map(|limb| limb.to[0]).sum::<f32>() / animal.limbs.len() as f32;
    let pixel = |[x, y]: [f32; 2]| [foot[0] + (x - middle) * metre * frame.heading, foot[1] - y * metre];
    let limbs: Vec<Limb> = animal
        .limbs
        .iter()
        .map(|limb| Limb {
            from: pixel(limb.from),
            to: pixel(limb.to),
            radii: limb.radii.map(|radius| (radius * metre).max(0.35)),
        })
        .collect();
    let night = frame.moment.night;
    canvas.shadow(
        [foot[0], foot[1] + 0.02 * metre],
        [0.55 * metre, 0.12 * metre],
        if night { 0.3 } else { 0.55 },
    );
    canvas.figure(&limbs, foot[1], (0.035 * metre, 1.0), |spot| {
        let x = (spot.x - foot[0]) / (metre * frame.heading) + middle;
        animal.coat(spot, x, (foot[1] - spot.y) / metre, night)
    });
}

/// Moves the picture by a few pixels; the edge is repeated.
fn shift(canvas: &mut Canvas, [dx, dy]: [i32; 2]) {
    let (width, height) = (canvas.width, canvas.height);
    let from = |at: usize, by: i32, end: usize| (at as i32 + by).clamp(0, end as i32 - 1) as usize;
    let source = |index: usize| from(index / width, dy, height) * width + from(index % width, dx, width);
    canvas.rgb = (0..width * height).map(|index| canvas.rgb[source(index)]).collect();
    canvas.base = (0..width * height).map(|index| canvas.base[source(index)]).collect();
}

fn readme(broken: &Broken, settings: &WorldSettings) -> String {
    format!(
        "A small camera-trap survey, drawn by `pugmark demo`. No photo is real.\n\n\
         train_features.csv, train_labels.csv  {} photos from {} sites\n\
         test_features.csv, test_labels.csv    {} photos from {} other sites\n\n\
         {settings}\n\n\
         Photos come in bursts of one to four; EXIF DateTimeOriginal tells when.\n\
         As in the field, some files are broken:\n\n\
         cut short: {}\n\
         empty: {}\n",
        settings.photos[0],
        settings.sites[0],
        settings.photos[1],
        settings.sites[1],
        broken.truncated.join(" "),
        broken.empty.join(" ")
    )
}
