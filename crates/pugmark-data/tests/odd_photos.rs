//! Real photos that are odd, broken, hostile or turned.

mod common;

use std::collections::{BTreeMap, HashSet};

use pugmark_data::{Limits, Photo, decode_file, photos_below};

#[test]
fn odd_images_load_where_pillow_loads_them() {
    let Some(data) = common::test_data("odd-images") else { return };
    let bad: HashSet<String> = std::fs::read_to_string(data.join("bad_files.csv"))
        .unwrap()
        .lines()
        .skip(1)
        .filter_map(|line| line.split(',').next()?.strip_prefix("Tests/images/").map(str::to_owned))
        .collect();
    let images = data.join("images");
    // Per extension: files, those that Pillow loads, and of those the ones that are not loaded here.
    let mut tally: BTreeMap<String, (usize, usize, Vec<String>)> = BTreeMap::new();
    for path in photos_below(&images).unwrap() {
        let name = path.strip_prefix(&images).unwrap().to_str().unwrap().to_owned();
        let extension = path.extension().unwrap().to_str().unwrap().to_lowercase().replace("tiff", "tif");
        let (files, loaded, failed) = tally.entry(extension).or_default();
        *files += 1;
        let result = decode_file(&path, &Limits::default());
        if let Err(error) = &result {
            assert!(!error.reason().is_empty(), "{name}");
        }
        if !bad.contains(&name) {
            *loaded += 1;
            if let Err(error) = result {
                failed.push(format!("{name}: {}", error.reason()));
            }
        }
    }
    // Measured: all PNG and WebP; all GIF but one without any palette; all JPEG but one whose Adobe segment is too
    // short; all BMP but three (two planes, OS/2's long header, a compressed one from the top down). TIFF, which no
    // camera trap writes, lacks palettes, YCbCr, CIELab, 2, 4 and 12 bits, signed samples and some compressions.
    let allowed = BTreeMap::from([("bmp", 3), ("gif", 1), ("jpg", 1), ("png", 0), ("tif", 46), ("webp", 0)]);
    for (extension, (files, loaded, failed)) in &tally {
        println!(
            "{extension}: of {loaded} files that Pillow loads (of {files}), {} fail: {failed:#?}",
            failed.len()
        );
        assert!(failed.len() <= allowed[extension.as_str()], "{extension}: {failed:#?}");
    }
    assert_eq!(
        tally.keys().map(String::as_str).collect::<Vec<_>>(),
        allowed.keys().copied().collect::<Vec<_>>()
    );
    // Linux keeps the largest memory this process had; measured: 66 MB.
    if let Ok(status) = std::fs::read_to_string("/proc/self/status") {
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let kilobytes: u64 = peak.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        assert!(kilobytes < 1 << 20, "{kilobytes} kB");
    }
}

#[test]
fn speciesnet_photos_load_and_the_cut_one_is_flagged() {
    let Some(data) = common::test_data("speciesnet") else { return };
    let load = |name: &str| decode_file(&data.join(name), &Limits::default()).unwrap();
    for path in photos_below(&data).unwrap() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(load(name).truncated, name.contains("truncated"), "{name}");
    }
    let whole = load("african_elephants.jpg");
    // CMYK went through another colour space and was compressed again; the cut photo's upper half is the original's.
    for (name, rows, tolerance) in
        [("african_elephants_cmyk.jpg", 1.0, 8.0), ("african_elephants_truncated_file.jpg", 0.5, 0.0)]
    {
        let other = load(name);
        assert_eq!((other.width, other.height), (whole.width, whole.height), "{name}");
        let samples = ((whole.height as f64 * rows) as usize) * whole.width * 3;
        let difference = mean_difference(&other.rgb[..samples], &whole.rgb[..samples]);
        assert!(difference <= tolerance, "{name} differs by {difference}");
    }
}

#[test]
fn every_orientation_gives_the_same_picture() {
    let Some(data) = common::test_data("exif-orientation") else { return };
    for kind in ["Landscape", "Portrait"] {
        let load = |n: usize| -> Photo {
            decode_file(&data.join(format!("{kind}_{n}.jpg")), &Limits::default()).unwrap()
        };
        let upright = load(1);
        assert_eq!(upright.width > upright.height, kind == "Landscape");
        for n in 0..=8 {
            let photo = load(n);
            assert_eq!((photo.width, photo.height), (upright.width, upright.height), "{kind}_{n}");
            // Each was compressed after it was turned (Pillow's differ by up to 3.7); a wrong turn differs by 42 and more.
            let difference = mean_difference(&photo.rgb, &upright.rgb);
            assert!(difference < 5.0, "{kind}_{n} differs by {difference}");
        }
    }
}

fn mean_difference(a: &[u8], b: &[u8]) -> f64 {
    let total: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    total as f64 / a.len() as f64
}
