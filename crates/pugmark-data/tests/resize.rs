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
