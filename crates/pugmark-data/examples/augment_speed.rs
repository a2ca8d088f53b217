//! How long augmentation takes: `augment_speed FOLDER SIZE [PASSES]`.
//!
//! Decodes and prepares every photo below the folder first, as the loader's cache holds it, then changes each on one thread,
//! and prints the microseconds a photo that `bench/augment.py` reads.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

use pugmark_data::{Augment, AutoAugment, Limits, Photo, Random, Recipe, decode_file, photos_below};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|word| word.parse::<usize>().ok());
    let (Some(folder), Some(size)) = (arguments.first(), number(1)) else {
        eprintln!("usage: augment_speed FOLDER SIZE [PASSES]");
        std::process::exit(2);
    };
    let passes = number(2).unwrap_or(5);
    let photos: Vec<Photo> = photos_below(folder.as_ref())
        .unwrap_or_default()
        .iter()
        .filter_map(|path| decode_file(path, &Limits::default()).ok())
        .collect();
    if photos.is_empty() {
        eprintln!("error: no photo below {folder} can be decoded");
        std::process::exit(1);
    }
    let off = Augment::default();
    let rand = AutoAugment::RandAugment { ops: 2, magnitude: 9 };
    // The names and settings of `bench/augment.py`.
    let cases = [
        ("flip", Augment { flip: true, ..off }),
        ("rotation", Augment { rotation: 10.0, ..off }),
        ("jitter", Augment { jitter: 0.2, ..off }),
        ("hue", Augment { hue: 0.1, ..off }),
        ("crop", Augment { crop: 0.35, ..off }),
        ("erasing", Augment { erasing: 1.0, ..off }),
        ("randaugment", Augment { auto: rand, ..off }),
        ("trivialaugment", Augment { auto: AutoAugment::TrivialAugment, ..off }),
        ("originals", Augment { flip: true, rotation: 10.0, jitter: 0.2, ..off }),
        ("all", Augment { crop: 0.35, flip: true, auto: rand, jitter: 0.2, hue: 0.1, erasing: 0.25, ..off }),
    ];
    let mut micros = BTreeMap::new();
    for (name, augment) in cases {
        micros.insert(name, measure(&photos, &augment, size, passes));
    }
    let fields: Vec<String> = micros.iter().map(|(name, value)| format!("\"{name}\": {value:.1}")).collect();
    println!("{{{}}}", fields.join(", "));
}

/// Microseconds a photo, without those that copying a photo out of the cache takes.
fn measure(photos: &[Photo], augment: &Augment, size: usize, passes: usize) -> f64 {
    let recipe = Recipe::imagenet(size);
    let prepared: Vec<Photo> = photos.iter().map(|photo| augment.prepare(photo.clone(), &recipe)).collect();
    let mut seconds = 0.0;
    for pass in 0..=passes {
        for (number, photo) in prepared.iter().enumerate() {
            let photo = photo.clone();
            let mut random = Random::new(0, pass as u64, &number.to_string());
            let start = Instant::now();
            black_box(augment.apply(photo, &recipe, None, &mut random));
            // The first pass warms up.
            seconds += if pass > 0 { start.elapsed().as_secs_f64() } else { 0.0 };
        }
    }
    seconds * 1e6 / (photos.len() * passes.max(1)) as f64
}
