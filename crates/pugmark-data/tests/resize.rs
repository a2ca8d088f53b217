//! Resizing against Pillow.

use std::path::{Path, PathBuf};

use pugmark_data::{Limits, decode_file, resize_bilinear};
use safetensors::SafeTensors;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

#[test]
fn equals_pillow_bit_for_bit() {
    let bytes = std::fs::read(fixture("resize.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut compared = 0;
    for (name, expected) in tensors.iter() {
        let (image, size) = name.rsplit_once('.').unwrap();
        let (width, height) = size.split_once('x').unwrap();
        let (width, height) = (width.parse().unwrap(), height.parse().unwrap());
        let photo = decode_file(&fixture(&format!("resize_{image}.png")), &Limits::default()).unwrap();
        let resized = resize_bilinear(&photo.rgb, photo.width, photo.height, width, height);
        let difference = resized.iter().zip(expected.data()).map(|(a, b)| a.abs_diff(*b)).max();
        println!("{name}: {difference:?}");
        assert!(
            resized.len() == expected.data().len() && difference == Some(0),
            "{name} differs by {difference:?}"
        );
        compared += 1;
    }
    assert!(compared >= 10, "only {compared} fixtures");
}

/// Decoding and resizing together: the resize is Pillow's, so what is left is the JPEG decoders' difference.
/// `bench/resize_pillow.py PHOTOS OUT.safetensors` makes what this reads.
#[test]
fn real_photos_are_close_to_pillows() {
    let variables = ["PUGMARK_PILLOW_PHOTOS", "PUGMARK_PILLOW_RESIZED"].map(std::env::var_os);
    let [Some(photos), Some(resized)] = variables else {
        println!(
            "skipped: PUGMARK_PILLOW_PHOTOS and PUGMARK_PILLOW_RESIZED do not name bench/resize_pillow.py's files"
        );
        return;
    };
    let bytes = std::fs::read(resized).unwrap();
    let (mut largest, mut equal, mut values) = (0, 0, 0);
    for (name, expected) in SafeTensors::deserialize(&bytes).unwrap().iter() {
        let [height, width, 3] = expected.shape()[..] else { panic!("{name}") };
        let photo = decode_file(&Path::new(&photos).join(name), &Limits::default()).unwrap();
        let found = resize_bilinear(&photo.rgb, photo.width, photo.height, width, height);
        for (a, b) in found.iter().zip(expected.data()) {
            largest = largest.max(a.abs_diff(*b));
            equal += usize::from(a == b);
        }
        values += found.len();
    }
    println!(
        "largest difference {largest}, {:.2} % of the values are equal",
        100.0 * equal as f64 / values as f64
    );
    assert!(largest <= 4);
}
