use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;

use super::*;

/// The tensors of a fixture by name, as bytes.
fn fixture(name: &str) -> BTreeMap<String, Vec<u8>> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name);
    let bytes = std::fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    tensors.iter().map(|(name, tensor)| (name.to_owned(), tensor.data().to_vec())).collect()
}

/// What torchvision makes of a picture of 37 x 29 pixels.
pub(super) fn ops() -> BTreeMap<String, Vec<u8>> {
    fixture("augment_ops.safetensors")
}

fn numbers(bytes: &[u8]) -> Vec<f64> {
    bytes.as_chunks::<8>().0.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect()
}

fn photo(width: usize, height: usize) -> Photo {
    let mut random = Random::new(0, 0, "photo");
    let rgb = (0..width * height)
        .flat_map(|at| [at % width * 200 / width, at / width * 200 / height, 90].map(|v| v as u8))
        .map(|value| value + random.below(40) as u8)
        .collect();
    Photo { width, height, rgb, truncated: false }
}

#[test]
fn each_change_is_torchvisions() {
    let (width, height) = (33, 25);
    let mut changed = fixture("augment.safetensors");
    let input = changed.remove("input").unwrap();
    let mut kinds = BTreeMap::new();
    for (name, expected) in changed {
        let (kind, amount) = name.split_once('.').unwrap_or((&name, "0"));
        *kinds.entry(kind.to_owned()).or_insert(0) += 1;
        let mut rgb = input.clone();
        match kind {
            "hflip" => geometry::flip(&mut rgb, width),
            "grayscale" => colour::grayscale(&mut rgb),
            "brightness" => colour::brightness(&mut rgb, amount.parse().unwrap()),
            "contrast" => colour::contrast(&mut rgb, amount.parse().unwrap()),
            "saturation" => colour::saturation(&mut rgb, amount.parse().unwrap()),
            "rotate" => rgb = geometry::rotate(&rgb, width, height, amount.parse().unwrap()),
            _ => panic!("unknown change {name}"),
        }
        assert!(rgb == expected, "{name} differs");
    }
    let names: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(names, ["brightness", "contrast", "grayscale", "hflip", "rotate", "saturation"]);
}

#[test]
fn hue_vertical_flip_and_crops_are_torchvisions() {
    let tensors = ops();
    let input = &tensors["input"];
    let mut rgb = input.clone();
    geometry::vertical_flip(&mut rgb, 37);
    assert!(rgb == tensors["VerticalFlip"]);
    let (mut hues, mut crops) = (0, 0);
    for (name, expected) in &tensors {
        if let Some(factor) = name.strip_prefix("Hue.") {
            let mut rgb = input.clone();
            colour::hue(&mut rgb, factor.parse().unwrap());
            let wrong = rgb.iter().zip(expected).filter(|(a, b)| a != b).count();
            assert!(wrong == 0, "{name}: {wrong} of {} samples differ", rgb.len());
            hues += 1;
        }
        if let Some(crop) = name.strip_prefix("Crop.") {
            let [top, left, height, width, to] =
                crop.split('.').map(|n| n.parse().unwrap()).collect::<Vec<usize>>()[..]
            else {
                panic!("{name}")
            };
            let photo = Photo { width: 37, height: 29, rgb: input.clone(), truncated: false };
            let rgb = cut(&photo, Area { left, top, width, height }, to, to);
            assert!(&rgb == expected, "{name} differs");
            crops += 1;
        }
    }
    assert_eq!((hues, crops), (7, 3));
}

/// Mean and deviation of area, ratio and place against 20,000 draws of torchvision's `get_params`.
#[test]
fn crops_and_rectangles_are_distributed_as_torchvisions() {
    let tensors = ops();
    let draws = 20_000;
    for (width, height) in [(400, 300), (90, 160)] {
        let mut random = Random::new(0, 0, "areas");
        for kind in ["crop", "erase"] {
            let expected = numbers(&tensors[&format!("{kind}.{width}x{height}")]);
            let (mut sums, mut squares) = ([0.0; 4], [0.0; 4]);
            for _ in 0..draws {
                let area = match kind {
                    "crop" => Area::crop(width, height, 0.08, 4.0 / 3.0, &mut random),
                    // torchvision's own answer where none fits is the whole picture.
                    _ => Area::erased(width, height, &mut random).unwrap_or(Area {
                        left: 0,
                        top: 0,
                        width,
                        height,
                    }),
                };
                assert!(area.left + area.width <= width && area.top + area.height <= height);
                let (w, h) = (area.width as f64, area.height as f64);
                let (whole_w, whole_h) = (width as f64, height as f64);
                let x = (area.left as f64 + w / 2.0) / whole_w;
                let y = (area.top as f64 + h / 2.0) / whole_h;
                for (at, value) in [w * h / whole_w / whole_h, (w / h).ln(), x, y].into_iter().enumerate() {
                    sums[at] += value;
                    squares[at] += value * value;
                }
            }
            for at in 0..4 {
                let mean = sums[at] / f64::from(draws);
                let deviation = (squares[at] / f64::from(draws) - mean * mean).sqrt();
                let (expected_mean, expected_deviation) = (expected[at], expected[4 + at]);
                // Five standard errors of the difference of two means of 20,000; deviations err less.
                let error = 5.0 * expected_deviation * (2.0 / f64::from(draws)).sqrt();
                assert!((mean - expected_mean).abs() < error, "{kind} {at}: {mean} for {expected_mean}");
                assert!(
                    (deviation - expected_deviation).abs() < error,
                    "{kind} {at}: {deviation} for {expected_deviation}"
                );
            }
        }
    }
    for (width, height) in [(1000, 10), (10, 1000)] {
        let bytes = &tensors[&format!("fallback.{width}x{height}")];
        let [top, left, h, w] = numbers_i64(bytes)[..] else { panic!("four numbers") };
        let area = Area::crop(width, height, 0.9, 4.0 / 3.0, &mut Random::new(0, 0, "strip"));
        assert_eq!((area.top, area.left, area.height, area.width), (top, left, h, w));
    }
}

fn numbers_i64(bytes: &[u8]) -> Vec<usize> {
    bytes.as_chunks::<8>().0.iter().map(|&bytes| i64::from_le_bytes(bytes) as usize).collect()
}

/// Everything on.
fn all() -> Augment {
    Augment {
        crop: 0.3,
        flip: true,
        vertical_flip: true,
        rotation: 10.0,
        auto: AutoAugment::RandAugment { ops: 2, magnitude: 9 },
        jitter: 0.2,
        hue: 0.1,
        grayscale: 0.2,
        erasing: 0.5,
        ..Augment::default()
    }
}

fn recipe() -> Recipe {
    Recipe::imagenet(32)
}

fn changed(augment: &Augment, saliency: Option<&Saliency>, epoch: u64, id: &str) -> Vec<u8> {
    let prepared = augment.prepare(photo(60, 40), &recipe());
    augment.apply(prepared, &recipe(), saliency, &mut Random::new(1, epoch, id)).rgb
}

#[test]
fn the_same_draw_gives_the_same_photo() {
    let plain = recipe().apply(&photo(60, 40));
    let earlier = Augment { flip: true, rotation: 10.0, jitter: 0.2, ..Augment::default() };
    for augment in [earlier, all()] {
        assert_eq!(changed(&augment, None, 3, "a/1.jpg"), changed(&augment, None, 3, "a/1.jpg"));
        assert_ne!(changed(&augment, None, 3, "a/1.jpg"), changed(&augment, None, 4, "a/1.jpg"));
        assert_ne!(changed(&augment, None, 3, "a/1.jpg"), changed(&augment, None, 3, "b/1.jpg"));
    }
    assert_eq!(changed(&Augment::default(), None, 3, "a/1.jpg"), plain);
}

/// What is off draws nothing and what is on changes as often as it should, within four standard deviations of 1000 throws.
#[test]
fn every_change_is_as_frequent_as_it_says() {
    let off = Augment::default();
    let plain = changed(&off, None, 0, "a");
    let cases = [
        ("flip", Augment { flip: true, ..off }, 0.5),
        ("vertical flip", Augment { vertical_flip: true, ..off }, 0.5),
        ("grayscale", Augment { grayscale: 0.2, ..off }, 0.2),
        ("erasing", Augment { erasing: 0.3, ..off }, 0.3),
        ("rotation", Augment { rotation: 90.0, ..off }, 1.0),
        ("jitter", Augment { jitter: 0.2, ..off }, 1.0),
        ("hue", Augment { hue: 0.1, ..off }, 1.0),
        ("crop", Augment { crop: 0.2, ..off }, 1.0),
        ("trivial", Augment { auto: AutoAugment::TrivialAugment, ..off }, 0.9),
    ];
    for (name, augment, share) in cases {
        let count = (0..1000).filter(|&epoch| changed(&augment, None, epoch, "a") != plain).count() as f64;
        // Some draws change nothing: a rotation by less than a pixel, an operation of magnitude 0.
        let room = if share < 0.9 { 4.0 * (1000.0_f64 * share * (1.0 - share)).sqrt() } else { 80.0 };
        assert!((count - 1000.0 * share).abs() < room, "{name}: {count} of 1000 changed");
    }
}

#[test]
fn erasing_paints_the_mean_and_normalises_to_nothing() {
    let augment = Augment { erasing: 1.0, ..Augment::default() };
    let plain = changed(&Augment::default(), None, 0, "a");
    for epoch in 0..50 {
        let rgb = changed(&augment, None, epoch, "a");
        let painted: Vec<&[u8]> =
            rgb.chunks(3).zip(plain.chunks(3)).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
        assert!(painted.iter().all(|pixel| *pixel == [124, 116, 104]), "ImageNet's mean in 8 bits");
        let share = painted.len() as f64 / 1024.0;
        assert!((0.01..0.35).contains(&share), "{share} of the photo");
    }
}

#[test]
fn a_part_of_the_kept_photo_is_all_but_a_part_of_the_original() {
    // Smooth, as photos are after a camera's own resize; noise would measure the filter alone.
    let (width, height) = (320, 240);
    let wave = |x: usize, y: usize| ((x as f64 / 9.0).sin() * (y as f64 / 7.0).cos() * 100.0 + 128.0) as u8;
    let rgb = (0..width * height).flat_map(|at| [wave(at % width, at / width); 3]).collect();
    let original = Photo { width, height, rgb, truncated: false };
    let augment = Augment { crop: 0.25, ..Augment::default() };
    let kept = augment.prepare(original.clone(), &recipe());
    assert_eq!((kept.width, kept.height), (85, 64), "twice the recipe's side");
    let mut random = Random::new(0, 0, "crops");
    for _ in 0..20 {
        let area = Area::crop(kept.width, kept.height, 0.25, 4.0 / 3.0, &mut random);
        let up = |pixels: usize, from: usize, to: usize| {
            (pixels as f64 * to as f64 / from as f64).round() as usize
        };
        let (x, y) = (|pixels| up(pixels, 85, width), |pixels| up(pixels, 64, height));
        let (left, top) = (x(area.left), y(area.top));
        let (right, bottom) = (x(area.left + area.width), y(area.top + area.height));
        let of_original = Area { left, top, width: right - left, height: bottom - top };
        let (a, b) = (cut(&kept, area, 32, 32), cut(&original, of_original, 32, 32));
        let mean = a.iter().zip(&b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / a.len() as f64;
        assert!(mean < 6.0, "{mean} levels apart");
    }
    // What is small enough is kept as it is.
    let small = photo(60, 40);
    assert_eq!(augment.prepare(small.clone(), &recipe()), small);
}

#[test]
fn the_important_part_is_put_back_and_not_erased() {
    let mut cells = [0.001; 256];
    (4..6).for_each(|row| cells[row * 16 + 9] = 1.0);
    let saliency = Saliency::new(&cells).unwrap();
    // Columns 18 and 19 of rows 8 to 11.
    let spot = |rgb: &[u8]| -> Vec<u8> {
        (8..12).flat_map(|row| rgb[(row * 32 + 18) * 3..(row * 32 + 20) * 3].to_vec()).collect()
    };
    let plain = spot(&changed(&Augment::default(), None, 0, "a"));
    let strong = Augment {
        rotation: 90.0,
        auto: AutoAugment::RandAugment { ops: 3, magnitude: 20 },
        erasing: 1.0,
        ..Augment::default()
    };
    let unharmed = |augment: Augment, saliency: Option<&Saliency>| {
        (0..200).filter(|&epoch| spot(&changed(&augment, saliency, epoch, "a")) == plain).count()
    };
    let careful = Augment { keep: Some(0.6), ..strong };
    let (with, without) = (unharmed(careful, Some(&saliency)), unharmed(strong, Some(&saliency)));
    // To whole cells: at its border half of one may be lost.
    assert!(with > 130 && without < 20, "{with} and {without} of 200 are unharmed");
    assert_eq!(unharmed(careful, None), without, "without a saliency nothing can be kept");
}

#[test]
fn a_saliency_is_made_of_what_is_kept() {
    let (off, crop) = (Augment::default(), Augment { crop: 0.5, ..Augment::default() });
    let centre = Recipe { resize: Resize::CentreCrop { short_side: 256 }, ..Recipe::imagenet(224) };
    let small = off.saliency_recipe(&centre, 112);
    assert_eq!((small.width, small.height), (112, 112));
    assert_eq!(small.resize, Resize::CentreCrop { short_side: 128 });
    assert_eq!(crop.saliency_recipe(&centre, 112).resize, Resize::Squash);
    assert_eq!(off.saliency_recipe(&Recipe::imagenet(64), 112).width, 64, "never larger");
}
