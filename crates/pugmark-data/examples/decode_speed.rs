//! How fast photos become a network's input: `decode_speed FOLDER SIZE THREADS [PASSES]`.
//!
//! Decodes every JPEG below the folder and squashes it to SIZE x SIZE, with the functions the loader uses, and prints
//! what `bench/decode_resize.py` reads. One pass before the clock starts brings the files into memory.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use pugmark_data::{Limits, Recipe, decode_file, photos_below};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|word| word.parse::<usize>().ok());
    let (Some(folder), Some(size), Some(threads)) = (arguments.first(), number(1), number(2)) else {
        eprintln!("usage: decode_speed FOLDER SIZE THREADS [PASSES]");
        std::process::exit(2);
    };
    let passes = number(3).unwrap_or(1);
    let mut photos = photos_below(folder.as_ref()).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        std::process::exit(1);
    });
    let jpeg = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("jpg") || end.eq_ignore_ascii_case("jpeg"))
    };
    photos.retain(jpeg);
    run(&photos, size, threads, 1);
    let start = Instant::now();
    let done = run(&photos, size, threads, passes);
    let speed = done as f64 / start.elapsed().as_secs_f64();
    println!("{{\"photos_per_sec\": {speed:.2}, \"photos\": {}}}", done / passes.max(1));
}

/// How many photos were prepared, over all passes; one that cannot be decoded ends the program.
fn run(photos: &[PathBuf], size: usize, threads: usize, passes: usize) -> usize {
    let recipe = Recipe::imagenet(size);
    let next = AtomicUsize::new(0);
    let work = || {
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && at < photos.len() * passes
        {
            let path = &photos[at % photos.len()];
            match decode_file(path, &Limits::default()) {
                Ok(photo) => drop(std::hint::black_box(recipe.apply(&photo))),
                Err(error) => {
                    eprintln!("error: {}: {error}", path.display());
                    std::process::exit(1);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    photos.len() * passes
}
